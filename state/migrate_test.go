package state

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"postbag/internal/mail"
)

// unpack writes a file of an older version where a test's state goes.
func unpack(t *testing.T, name, path string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// The state that an older postbag left is taken on: mailboxes, messages and runs
// are what they were, and of subscriptions nothing is known.
func TestVersion1(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	unpack(t, "version1.db.gz", path)
	if _, err := Open(context.Background(), path, Options{ReadOnly: true}); mail.AsError(err).Kind != mail.KindUsage {
		t.Errorf("for reading: got %v, want a refusal", err)
	}
	db := mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r"})
	want := []*Mailbox{
		{ID: 2, Name: [2]string{"INBOX", "INBOX"}, ObjectID: [2]string{"M1", "d1"}, Validity: [2]string{"7", "v"},
			Cursor: [2]mail.Cursor{"3:9", "12:34"}, Stamp: [2]string{"7.3", "12 34"}, Filter: "since 2024"},
		{ID: 3, Name: [2]string{"Gesendet", "Sent"}, Use: mail.UseSent, Gone: [2]int64{0, 1}},
		{ID: 4, Name: [2]string{"", "Only here"}},
	}
	check := func(db *DB) {
		t.Helper()
		if got, err := db.Mailboxes(context.Background()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got mailboxes that differ from those written (%v)", err)
		}
		if got := len(allRows(t, db, 2)); got != 5 {
			t.Errorf("got %d messages, want 5", got)
		}
	}
	check(db)
	want[1].Subscribed, want[2].Subscribed = Subscribed, Unsubscribed
	mustCommit(t, db, &Tx{Mailboxes: want[1:]})
	mustClose(t, db)
	db = mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r"})
	check(db)
	if d := db.Damage(); d.Mailboxes != 0 {
		t.Errorf("got damage %+v", d)
	}
}

// A row that was damaged in the old file is still known to be damaged in the new
// one.
func TestVersion1Damaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "box", "state.db")
	unpack(t, "version1.db.gz", path)
	c, err := connect(context.Background(), path, false, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.once(`UPDATE mailbox SET name_a = 'INBOY' WHERE id = 2`), c.close()); err != nil {
		t.Fatal(err)
	}
	db := mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r"})
	got, err := db.Mailboxes(context.Background())
	if err != nil || len(got) != 2 || db.Damage().Mailboxes != 1 {
		t.Errorf("got %d mailboxes (%v) and damage %+v, want 2 and the damaged one", len(got), err, db.Damage())
	}
}

// The state of the version before mailboxes had names to come is taken on as it is,
// with its history.
func TestVersion4(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	unpack(t, "version4.db.gz", path)
	db := mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r"})
	boxes, err := db.Mailboxes(context.Background())
	if err != nil || len(boxes) != 2 || boxes[0].Subscribed != Subscribed || boxes[1].Name != [2]string{"Renamed", "Work"} {
		t.Fatalf("got mailboxes %+v, %v", boxes, err)
	}
	past, err := db.c.number(`SELECT count(*) FROM past_mailbox`)
	if rows := allRows(t, db, boxes[0].ID); len(rows) != 4 || past != 1 || err != nil || db.Damage().Total() != 0 {
		t.Errorf("got %d messages, %d mailboxes that were renamed, %v, damage %+v", len(rows), past, err, db.Damage())
	}
	boxes[1].Renaming = [2]string{"Work", "Work"}
	mustCommit(t, db, &Tx{Mailboxes: boxes[1:]})
	mustClose(t, db)
	db = mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r"})
	if got, err := db.Mailboxes(context.Background()); err != nil || !reflect.DeepEqual(got, boxes) {
		t.Errorf("got %+v, %v", got, err)
	}
}
