package state

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"postbag/internal/mail"
)

// sentOf are what the rows of a mailbox say was sent, by their UIDs on side A.
func sentOf(t *testing.T, db *DB, box int64) map[uint32]*Sent {
	t.Helper()
	all := make(map[uint32]*Sent)
	for _, r := range allRows(t, db, box) {
		if r.Sent != nil {
			all[r.Ref[A].UID] = r.Sent
		}
	}
	return all
}

func someSent(side Side, n byte) *Sent {
	return &Sent{Side: side, Size: int64(n) * 100, Repairs: "crlf,nul",
		ID: mail.Identity{Digest: mail.Digest{n}, MessageID: mail.MessageID(n), Described: true}}
}

// What was sent in place of a message stays with its row, changes with it, and goes
// with it, in this process and in the next one.
func TestSent(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	box := newMailbox(t, db, "INBOX")
	rows := []*Row{
		{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}, {UID: 11}}, Sent: someSent(B, 1)},
		{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 2}, {UID: 12}}},
		{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 3}}, Status: ToB, Mark: "m", Sent: someSent(B, 3)},
		{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 4}, {UID: 14}}, Sent: someSent(A, 4)},
	}
	mustCommit(t, db, &Tx{Rows: rows})
	want := map[uint32]*Sent{1: someSent(B, 1), 3: someSent(B, 3), 4: someSent(A, 4)}
	check := func(what string) {
		t.Helper()
		if got := sentOf(t, db, box.ID); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
		mustClose(t, db)
		db = mustOpen(t, path, Options{})
		if got := sentOf(t, db, box.ID); !reflect.DeepEqual(got, want) {
			t.Errorf("%s, opened again: got %+v, want %+v", what, got, want)
		}
	}
	check("written")
	if pending, err := db.Pending(context.Background()); err != nil || len(pending) != 1 || *pending[0].Sent != *want[3] {
		t.Errorf("on their way: %+v, %v", pending, err)
	}
	rows[0].Sent, rows[1].Sent, rows[2].Status, rows[2].Ref[B] = nil, someSent(B, 2), Here, mail.Ref{UID: 13}
	mustCommit(t, db, &Tx{Rows: rows[:3], Delete: []int64{rows[3].ID}})
	want = map[uint32]*Sent{2: someSent(B, 2), 3: someSent(B, 3)}
	check("changed")
	// What is refused changes nothing.
	rows[1].Sent = someSent(B, 9)
	err := db.Commit(context.Background(), &Tx{Rows: []*Row{rows[1], {Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}}}}}, true)
	if !errors.Is(err, ErrClaimed) {
		t.Errorf("got %v", err)
	}
	if err := db.Commit(context.Background(), &Tx{Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 7}}, Sent: &Sent{}}}}, true); err == nil {
		t.Error("one without a digest was taken")
	}
	check("refused")
	mustClose(t, db)
}

// A note that is damaged counts as none, and is counted.
func TestSentDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "box", "state.db")
	db := mustOpen(t, path, Options{})
	box := newMailbox(t, db, "INBOX")
	mustCommit(t, db, &Tx{Rows: []*Row{
		{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}, {UID: 11}}, Sent: someSent(B, 1)},
		{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 2}, {UID: 12}}, Sent: someSent(B, 2)},
	}})
	mustClose(t, db)
	c, err := connect(context.Background(), path, false, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.once(`UPDATE sent SET size = 7 WHERE message = 1`), c.close()); err != nil {
		t.Fatal(err)
	}
	if found, err := Check(context.Background(), path); err != nil || len(found) != 1 {
		t.Errorf("the check finds %q, %v", found, err)
	}
	db = mustOpen(t, path, Options{})
	if got := sentOf(t, db, box.ID); len(got) != 1 || got[2] == nil || db.Damage().Sent != 1 || db.Damage().Total() != 1 {
		t.Errorf("got %+v, damage %+v", got, db.Damage())
	}
	mustCommit(t, db, &Tx{Rows: []*Row{{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 3}}}}}) // which repairs
	mustClose(t, db)
	if found, err := Check(context.Background(), path); err != nil || len(found) != 0 {
		t.Errorf("after a commit the check finds %q, %v", found, err)
	}
}

// The state of the version before this one is taken on as it is.
func TestVersion2(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	unpack(t, "version2.db.gz", path)
	db := mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r"})
	boxes, err := db.Mailboxes(context.Background())
	if err != nil || len(boxes) != 2 || boxes[0].Subscribed != Subscribed || boxes[1].Name[B] != "Sent" {
		t.Fatalf("got mailboxes %+v, %v", boxes, err)
	}
	rows := allRows(t, db, boxes[0].ID)
	problems, _, err := db.Problems(context.Background())
	if len(rows) != 5 || len(problems) != 1 || err != nil || db.Damage().Total() != 0 {
		t.Errorf("got %d messages, %d problems, %v, damage %+v", len(rows), len(problems), err, db.Damage())
	}
	rows[0].Sent = someSent(B, 5)
	mustCommit(t, db, &Tx{Rows: rows[:1]})
	mustClose(t, db)
	db = mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r"})
	if got := sentOf(t, db, boxes[0].ID); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}
