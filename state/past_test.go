package state

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"postbag/internal/mail"
)

// view is what history tells of a row at one time.
type view struct {
	box   string
	there [2]bool
	flags [2]mail.Flags
	sum   mail.Digest
}

// now are the views of all rows as they are.
func viewsNow(t *testing.T, db *DB) map[int64]view {
	t.Helper()
	boxes, err := db.Mailboxes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	views := make(map[int64]view)
	for _, b := range boxes {
		for _, r := range allRows(t, db, b.ID) {
			views[r.ID] = view{b.Name[A], [2]bool{r.Alive(A), r.Alive(B)}, r.Flags, r.Ident.Digest}
		}
	}
	return views
}

// viewsAt are the views of all rows as they were when a run had ended, from the rows
// as they are and the entries of what was before.
func viewsAt(t *testing.T, db *DB, run int64) map[int64]view {
	t.Helper()
	ctx := context.Background()
	names := make(map[int64]string)
	boxes, err := db.Mailboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	past, err := db.PastMailboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boxes {
		names[b.ID] = b.Name[A]
		for _, p := range slices.Backward(past) {
			if p.ID == b.ID && p.Until > run {
				names[b.ID] = p.Name[A]
			}
		}
	}
	views := make(map[int64]view)
	seen := make(map[int64]bool)
	if err := db.PastAfter(ctx, run, func(p *Past) error {
		if seen[p.ID] {
			return nil
		}
		seen[p.ID] = true
		if p.Mailbox != 0 && p.Born <= run {
			views[p.ID] = view{names[p.Mailbox], p.There, p.Flags, p.Ident.Digest}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, b := range boxes {
		for _, r := range allRows(t, db, b.ID) {
			if !seen[r.ID] && r.Born <= run {
				views[r.ID] = view{names[b.ID], [2]bool{r.Alive(A), r.Alive(B)}, r.Flags, r.Ident.Digest}
			}
		}
	}
	return views
}

// history plays random runs on a state and answers with the views after each.
func history(t *testing.T, path string, seed uint64, runs int) map[int64]map[int64]view {
	t.Helper()
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(seed, 1))
	after := make(map[int64]map[int64]view)
	next := 0
	for range runs {
		db := mustOpen(t, path, Options{Command: "test"})
		run, err := db.Run(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + rnd.IntN(4) {
			boxes, err := db.Mailboxes(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var tx Tx
			if len(boxes) == 0 || rnd.IntN(4) == 0 {
				name := fmt.Sprint("box ", len(boxes))
				tx.Mailboxes = append(tx.Mailboxes, &Mailbox{Name: [2]string{name, name}})
			} else if b := boxes[rnd.IntN(len(boxes))]; rnd.IntN(4) == 0 {
				b.Name[A] = fmt.Sprint("renamed ", rnd.IntN(1000))
				b.Stamp[A] = fmt.Sprint(rnd.IntN(1000))
				tx.Mailboxes = append(tx.Mailboxes, b)
			}
			for _, b := range boxes {
				for range rnd.IntN(4) {
					next++
					tx.Rows = append(tx.Rows, &Row{Mailbox: b.ID, Ref: [2]mail.Ref{{UID: uint32(next)}, {Key: fmt.Sprint("k", next)}}, Born: run,
						Size: int64(next), Ident: mail.Identity{Digest: mail.Digest{byte(next), byte(next >> 8), 1}}})
				}
				for _, r := range allRows(t, db, b.ID) {
					switch rnd.IntN(12) {
					case 0:
						r.Gone[A] = run
					case 1:
						r.Flags[A] = oddFlags(rnd)
						r.Flags[B] = r.Flags[A]
					case 2:
						tx.Delete = append(tx.Delete, r.ID)
						continue
					case 3: // moved, as the engine writes it down
						tx.Delete = append(tx.Delete, r.ID)
						r.ID, r.Mailbox = 0, boxes[rnd.IntN(len(boxes))].ID
						next++
						r.Ref = [2]mail.Ref{{UID: uint32(next)}, {Key: fmt.Sprint("k", next)}}
					case 4:
						r.Mark = fmt.Sprint(rnd.IntN(5)) // nothing that history tells
					default:
						continue
					}
					tx.Rows = append(tx.Rows, r)
				}
			}
			mustCommit(t, db, &tx)
		}
		if err := db.Finish(ctx, "done", ""); err != nil {
			t.Fatal(err)
		}
		after[run] = viewsNow(t, db)
		mustClose(t, db)
	}
	return after
}

// What every mailbox held after each run can be told later, whatever happened since.
func TestHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		path := newPath(t)
		after := history(t, path, seed, 12)
		db := mustOpen(t, path, Options{ReadOnly: true})
		changed := 0
		for _, run := range slices.Sorted(maps.Keys(after)) {
			if got := viewsAt(t, db, run); !reflect.DeepEqual(got, after[run]) {
				t.Errorf("seed %d: as of run %d there are other messages than there were: got %d, want %d", seed, run, len(got), len(after[run]))
			}
			if err := db.PastOf(context.Background(), run, func(p *Past) error {
				if p.Until != run {
					t.Errorf("got an entry of run %d among those of run %d", p.Until, run)
				}
				changed++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if changed < 50 {
			t.Errorf("seed %d: only %d entries", seed, changed)
		}
		mustClose(t, db)
	}
}

// What is as it was when a run ends leaves no entry, and neither does what came and
// went within one run, or what is written outside of any.
func TestHistoryOfNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	box := newMailbox(t, db, "INBOX")
	old := &Row{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}, {Key: "k"}}, Born: 0}
	mustCommit(t, db, &Tx{Rows: []*Row{old}})
	old.Flags[A] = mail.ParseFlags(`\Seen`)
	mustCommit(t, db, &Tx{Rows: []*Row{old}}) // outside
	run, err := db.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	old.Flags[A] = mail.ParseFlags(`\Flagged`)
	fresh := &Row{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 2}}, Born: run}
	mustCommit(t, db, &Tx{Rows: []*Row{old, fresh}})
	old.Flags[A] = mail.ParseFlags(`\Seen`)
	mustCommit(t, db, &Tx{Rows: []*Row{old}, Delete: []int64{fresh.ID}})
	if err := db.Finish(ctx, "done", ""); err != nil {
		t.Fatal(err)
	}
	if n, err := db.CountPast(ctx, run); n != 0 || err != nil {
		t.Errorf("got %d entries, %v", n, err)
	}
	mustClose(t, db)
}

// A row's number is not given again while history speaks of it.
func TestHistoryKeepsNumbers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	var last *Row
	for range 3 {
		db := mustOpen(t, path, Options{})
		run, err := db.Run(ctx)
		if err != nil {
			t.Fatal(err)
		}
		boxes, _ := db.Mailboxes(ctx)
		if boxes == nil {
			boxes = []*Mailbox{newMailbox(t, db, "INBOX")}
		}
		r := &Row{Mailbox: boxes[0].ID, Ref: [2]mail.Ref{{UID: uint32(run)}}, Born: run}
		tx := &Tx{Rows: []*Row{r}}
		if last != nil {
			mustCommit(t, db, &Tx{Delete: []int64{last.ID}})
		}
		mustCommit(t, db, tx)
		if last != nil && r.ID <= last.ID {
			t.Errorf("row %d was made after row %d", r.ID, last.ID)
		}
		last = r
		mustClose(t, db)
	}
}

// A damaged entry is left out, told of, and gone after the next commit; the others
// stay.
func TestHistoryDamaged(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	after := history(t, path, 3, 6)
	c, err := connect(ctx, path, false, false)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := c.number(`SELECT count(*) FROM past`)
	for _, sql := range []string{
		`UPDATE past SET flags_a = 'x' WHERE (message, until) = (SELECT message, until FROM past LIMIT 1)`,
		`UPDATE past_mailbox SET name_a = 'x' WHERE (mailbox, until) = (SELECT mailbox, until FROM past_mailbox LIMIT 1)`,
	} {
		if err := c.once(sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if findings, err := Check(ctx, path); err != nil || len(findings) != 2 {
		t.Errorf("Check found %q, %v", findings, err)
	}
	db := mustOpen(t, path, Options{})
	read := func() (n int64) {
		if err := db.PastAfter(ctx, 0, func(*Past) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := db.PastMailboxes(ctx); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := read(); n != all-1 || db.Damage().Past != 2 {
		t.Errorf("got %d entries of %d, and damage %+v", n, all, db.Damage())
	}
	mustCommit(t, db, &Tx{Mailboxes: []*Mailbox{{Name: [2]string{"x", "x"}}}})
	if n := read(); n != all-1 || db.Damage().Past != 2 {
		t.Errorf("after the repair: got %d entries of %d, and damage %+v", n, all, db.Damage())
	}
	if len(after) != 6 {
		t.Errorf("got %d runs", len(after))
	}
	mustClose(t, db)
}

// What is forgotten is gone, and the state says since when all is on record.
func TestForgetPast(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	after := history(t, path, 5, 8)
	db := mustOpen(t, path, Options{})
	runs := slices.Sorted(maps.Keys(after))
	limit := runs[3]
	want, err := db.CountPast(ctx, limit)
	if err != nil || want == 0 {
		t.Fatalf("got %d, %v", want, err)
	}
	if n, err := db.ForgetPast(ctx, limit); n != want || err != nil {
		t.Errorf("forgot %d entries, %v, want %d", n, err, want)
	}
	if from, err := db.HistoryFrom(ctx); from != limit || err != nil {
		t.Errorf("got history from run %d, %v", from, err)
	}
	if _, err := db.ForgetPast(ctx, runs[1]); err != nil {
		t.Error(err)
	}
	if from, _ := db.HistoryFrom(ctx); from != limit {
		t.Errorf("history grew again, to run %d", from)
	}
	for _, run := range runs[3:] {
		if got := viewsAt(t, db, run); !reflect.DeepEqual(got, after[run]) {
			t.Errorf("run %d is not what it was any more", run)
		}
	}
	mustClose(t, db)
}

// The state that an older postbag left is taken on: what it has is kept, and what
// happens from now on leaves a history.
func TestVersion3(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	unpack(t, "version3.db.gz", path)
	db := mustOpen(t, path, Options{Accounts: someAccounts, RootID: "r", Now: func() time.Time { return time.Unix(1800000000, 0) }})
	if from, err := db.HistoryFrom(ctx); from != 2 || err != nil {
		t.Errorf("got history from run %d, %v, want 2", from, err)
	}
	before := viewsNow(t, db)
	boxes, err := db.Mailboxes(ctx)
	if err != nil || len(boxes) != 2 || boxes[0].Subscribed != Subscribed || len(sentOf(t, db, boxes[0].ID)) != 1 {
		t.Fatalf("got %d mailboxes, %v", len(boxes), err)
	}
	if len(before) != 6 {
		t.Errorf("got %d rows, want 6", len(before))
	}
	if problems, _, err := db.Problems(ctx); len(problems) != 1 || err != nil {
		t.Errorf("got problems %v, %v", problems, err)
	}
	run, err := db.Run(ctx)
	if run != 3 || err != nil {
		t.Fatalf("got run %d, %v", run, err)
	}
	mustCommit(t, db, &Tx{Delete: []int64{allRows(t, db, boxes[0].ID)[0].ID}})
	if got := viewsAt(t, db, 2); !reflect.DeepEqual(got, before) {
		t.Errorf("as of run 2 there are %d messages, want all of them", len(got))
	}
	mustClose(t, db)
}
