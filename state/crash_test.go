package state

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"postbag/internal/mail"
)

// crashRows is the number of rows that every commit of crashChild changes.
const crashRows = 40

// crashStep is the n-th commit of crashChild on a state that is at n-1: all
// rows get size n, one is replaced by a new one, and keys and flags change, so
// that every index does.
func crashStep(db *DB, n int64) error {
	ctx := context.Background()
	boxes, err := db.Mailboxes(ctx)
	if err != nil {
		return err
	}
	tx := &Tx{}
	if len(boxes) == 0 {
		tx.Mailboxes = []*Mailbox{{Name: [2]string{"INBOX", "INBOX"}}}
		if err := db.Commit(ctx, tx, true); err != nil {
			return err
		}
		boxes, tx = tx.Mailboxes, &Tx{}
	}
	var rows []*Row
	if err := db.Each(ctx, boxes[0].ID, func(r *Row) error { rows = append(rows, r); return nil }); err != nil {
		return err
	}
	for len(rows) < crashRows+1 {
		rows = append(rows, &Row{Mailbox: boxes[0].ID})
	}
	for i, r := range rows {
		r.Size = n
		r.Ref = [2]mail.Ref{{UID: uint32(n*100) + uint32(i)}, {Key: fmt.Sprintf("%d.%d", n, i)}}
		r.Flags[A] = mail.Flags{System: mail.System(n % 32)}
		r.Status = Status(n % 3)
		r.Gone[A] = n % 2
	}
	tx.Rows = rows
	if rows[0].ID != 0 {
		tx.Delete = []int64{rows[0].ID}
	}
	boxes[0].Cursor[A] = mail.Cursor(strconv.FormatInt(n, 10))
	tx.Mailboxes = boxes
	return db.Commit(ctx, tx, n%2 == 0)
}

// crashState reads at which step a state is, and fails when it is between two.
func crashState(db *DB) (int64, error) {
	ctx := context.Background()
	boxes, err := db.Mailboxes(ctx)
	if err != nil || len(boxes) == 0 {
		return 0, err
	}
	n, _ := strconv.ParseInt(string(boxes[0].Cursor[A]), 10, 64)
	count := 0
	err = db.Each(ctx, boxes[0].ID, func(r *Row) error {
		count++
		if r.Size != n || r.Status != Status(n%3) || r.Ref[A].UID/100 != uint32(n) {
			return fmt.Errorf("at step %d there is a row of step %d", n, r.Size)
		}
		return nil
	})
	if err == nil && n > 0 && count != crashRows && count != crashRows+1 {
		err = fmt.Errorf("at step %d there are %d rows", n, count)
	}
	if d := db.Damage(); err == nil && d.Total() > 0 {
		err = fmt.Errorf("damage at step %d: %+v", n, d)
	}
	return n, err
}

// crashChild commits for ever, and says which commit is done.
func crashChild(path string) int {
	db, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n, err := crashState(db)
	for err == nil {
		n++
		if err = crashStep(db, n); err == nil {
			fmt.Println(n)
		}
	}
	fmt.Println(err)
	return 1
}

// A process that is killed in the middle leaves one of the states that it
// committed, and none that is older than its last word.
func TestKilled(t *testing.T) {
	t.Parallel()
	rounds := 50
	if os.Getenv("POSTBAG_LONG") != "" {
		rounds = 1000
	}
	path := newPath(t)
	seed := drawn()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var at int64
	for round := range rounds {
		c := startChild(t, "crash", path)
		said := at
		hear := func() bool {
			s, err := c.out.ReadString('\n')
			if err != nil {
				return false // half a line is no word
			}
			n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
			if err != nil {
				t.Fatalf("round %d: the child failed: %s", round, s)
			}
			said = n
			return true
		}
		if round%10 > 0 { // else it may die before it has begun
			hear()
		}
		time.Sleep(time.Duration(rnd.IntN(20_000)) * time.Microsecond)
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for hear() {
		}
		_ = c.cmd.Wait() // "signal: killed"
		if _, err := os.Stat(path); err != nil || round%3 == 2 {
			at = said
			continue // the next child finds it as it is
		}
		db, err := Open(context.Background(), path, Options{NoLock: true})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		got, err := crashState(db)
		if err != nil || got < said || got > said+2 {
			t.Fatalf("round %d: got step %d, %v, after step %d", round, got, err, said)
		}
		at = got
		mustClose(t, db)
		mustBeSound(t, path)
	}
	t.Logf("%d steps", at)
}
