package state

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postbag/internal/mail"
)

// TestTogether commits and reads from many goroutines: each Tx is there or
// rejected for its own reasons, and nothing gets mixed up.
func TestTogether(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	const workers, rounds = 8, 30
	var wg sync.WaitGroup
	boxes := make([]*Mailbox, workers)
	for w := range workers {
		wg.Go(func() {
			boxes[w] = &Mailbox{Name: [2]string{fmt.Sprint(w), ""}}
			if err := db.Commit(ctx, &Tx{Mailboxes: []*Mailbox{boxes[w]}}, true); err != nil {
				t.Error(err)
				return
			}
			id := boxes[w].ID
			for i := range uint32(rounds) {
				if _, err := db.Run(ctx); err != nil {
					t.Error(err)
				}
				good := &Tx{Rows: []*Row{{Mailbox: id, Ref: [2]mail.Ref{{UID: 2*i + 1}}}, {Mailbox: id, Ref: [2]mail.Ref{{UID: 2*i + 2}}}}}
				if err := db.Commit(ctx, good, i%4 == 0); err != nil {
					t.Error(err)
				}
				bad := &Tx{Rows: []*Row{{Mailbox: id, Ref: [2]mail.Ref{{UID: 1000 + i}}}, {Mailbox: id, Ref: [2]mail.Ref{{UID: 1}}}}}
				if err := db.Commit(ctx, bad, false); !errors.Is(err, ErrClaimed) || bad.Rows[0].ID != 0 {
					t.Errorf("got %v, want ErrClaimed", err)
				}
				if rows, err := db.ByRef(ctx, id, A, []mail.Ref{{UID: 2*i + 1}, {UID: 1000 + i}}); err != nil || len(rows) != 1 {
					t.Errorf("got %d rows, %v, want the good one", len(rows), err)
				}
				if got := db.Known(id, A).Count(); got != int(2*i+2) {
					t.Errorf("got a count of %d, want %d", got, 2*i+2)
				}
			}
		})
	}
	wg.Wait()
	mustClose(t, db)
	db = mustOpen(t, path, Options{})
	for _, box := range boxes {
		if got := len(allRows(t, db, box.ID)); got != 2*rounds {
			t.Errorf("got %d rows, want %d", got, 2*rounds)
		}
	}
	if runs, err := db.Runs(ctx, 10); err != nil || len(runs) != 1 {
		t.Errorf("got %d runs, %v, want 1", len(runs), err)
	}
}

// TestGroup puts several writes into one transaction.
func TestGroup(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, newPath(t), Options{})
	box := newMailbox(t, db, "INBOX")
	tx := func(uids ...uint32) *Tx {
		tx := &Tx{}
		for _, uid := range uids {
			tx.Rows = append(tx.Rows, &Row{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: uid}}})
		}
		return tx
	}
	txs := []*Tx{tx(1, 2), tx(3, 2), tx(3, 4), tx(5, 5), tx(6)}
	var group []*write
	for _, tx := range txs {
		group = append(group, &write{apply: func(ch *change) error { return db.apply(ch, tx) }})
	}
	db.gate <- struct{}{}
	db.writeGroup(group)
	db.release()
	for i, wantOK := range []bool{true, false, true, false, true} {
		if ok := group[i].err == nil; ok != wantOK || !group[i].done {
			t.Errorf("write %d: got %v", i, group[i].err)
		}
		for _, r := range txs[i].Rows {
			if (r.ID != 0) != wantOK {
				t.Errorf("write %d: its row has ID %d", i, r.ID)
			}
		}
	}
	var got []uint32
	for _, r := range allRows(t, db, box.ID) {
		got = append(got, r.Ref[A].UID)
	}
	if want := []uint32{1, 2, 3, 4, 6}; !slices.Equal(got, want) {
		t.Errorf("got UIDs %v, want %v", got, want)
	}
}

// An ID that was given once in a run is not given to another row.
func TestIDsAreNotReused(t *testing.T) {
	t.Parallel()
	db := mustOpen(t, newPath(t), Options{})
	box := newMailbox(t, db, "INBOX")
	seen := make(map[int64]bool)
	for range 5 {
		r := &Row{Mailbox: box.ID, Ref: [2]mail.Ref{{UID: 1}}}
		mustCommit(t, db, &Tx{Rows: []*Row{r}})
		if seen[r.ID] {
			t.Errorf("ID %d comes back", r.ID)
		}
		seen[r.ID] = true
		mustCommit(t, db, &Tx{Delete: []int64{r.ID}})
	}
}

// TestRollbackMode is how it works where the log cannot.
func TestRollbackMode(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	newMailbox(t, db, "INBOX")
	mustClose(t, db)
	db = mustOpen(t, path, Options{})
	db.journal.tried = true // as for a network filesystem
	fill(t, db, 1000, false)
	if _, err := os.Stat(path + "-wal"); err == nil || db.journal.wal {
		t.Error("the log is in use")
	}
	if db.journal.sync != "FULL" {
		t.Errorf("a commit is flushed %s, want FULL", db.journal.sync)
	}
	mustClose(t, db)
}

// TestNoSharedMemory is a filesystem where the log fails when it is used.
func TestNoSharedMemory(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	mustClose(t, mustOpen(t, path, Options{}))
	db := mustOpen(t, path, Options{})
	if err := os.Symlink("nowhere/at/all", path+"-shm"); err != nil { // where SQLite would put it
		t.Fatal(err)
	}
	box := fill(t, db, 1000, false)
	if db.journal.wal {
		t.Error("the log is in use")
	}
	if got := len(allRows(t, db, box.ID)); got != 1000 {
		t.Errorf("got %d rows, want 1000", got)
	}
	if err := os.Remove(path + "-shm"); err != nil {
		t.Fatal(err)
	}
	reader := mustOpen(t, path, Options{ReadOnly: true}) // not locked out
	if got := len(allRows(t, reader, box.ID)); got != 1000 {
		t.Errorf("got %d rows, want 1000", got)
	}
	mustClose(t, db)
}

// TestPlans wants no statement to sort, and none but those that have to to walk
// through a table.
func TestPlans(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	box := fill(t, db, identRows+100, false)
	row := allRows(t, db, box.ID)[5]
	mustCommit(t, db, &Tx{Rows: []*Row{row}, Delete: []int64{9}, Solved: []int64{3}, Problems: []Problem{{Row: 1}}})
	for _, side := range []Side{A, B} {
		_, _ = db.ByRef(ctx, box.ID, side, []mail.Ref{row.Ref[side]})
		_, _ = db.AloneBySize(ctx, box.ID, side, []int64{1})
		_, _ = db.AloneRows(ctx, box.ID, side, 0, 1)
		_, _ = db.GoneRows(ctx, box.ID, side, 0, 1)
		db.Known(box.ID, side).Count()
		_ = db.Known(box.ID, side).Each(ctx, row.Ref[side], mail.Ref{}, func(mail.Ref, mail.Flags) error { return nil })
	}
	_, _ = db.ByIdentity(ctx, mail.Identity{Described: true, MessageID: 5, Digest: mail.Digest{1}, ObjectID: "x"}, 7)
	_, _ = db.ByObject(ctx, []string{"x"})
	_, _ = db.Pending(ctx)
	_, _, _ = db.Problems(ctx)
	_, _ = db.Runs(ctx, 3)
	statements := make(map[string]bool)
	for s := range db.c.stmts {
		statements[s] = true
	}
	checked := 0
	for s := range statements {
		if !strings.HasPrefix(s, "SELECT") && !strings.HasPrefix(s, "UPDATE") && !strings.HasPrefix(s, "DELETE") {
			continue
		}
		checked++
		err := db.c.query("EXPLAIN QUERY PLAN "+s, make([]driver.Value, strings.Count(s, "?")), func(v []driver.Value) error {
			step, _ := v[3].(string)
			small := strings.Contains(step, "SCAN mailbox") || strings.Contains(step, "SCAN meta") || strings.Contains(step, "SCAN problem") ||
				strings.Contains(step, "SCAN run") || strings.Contains(step, "SCAN sent") || strings.Contains(step, "INDEX pending") || strings.Contains(step, "SCAN sqlite_")
			if strings.Contains(step, "TEMP B-TREE") || strings.Contains(step, "SCAN") && !small {
				t.Errorf("%s: %s", s, step)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if checked < 20 {
		t.Errorf("only %d statements were looked at", checked)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	newMailbox(t, db, "INBOX")
	steps := append(slices.Clone(migrations),
		func(c *conn) error { return c.once(`CREATE TABLE one (x)`) },
		func(c *conn) error { return c.once(`CREATE TABLE two (x)`) })
	if err := migrate(db.c, version(), steps); err != nil {
		t.Fatal(err)
	}
	newest := version() + 2
	if v, _ := db.c.number("PRAGMA user_version"); v != newest {
		t.Errorf("got version %d, want %d", v, newest)
	}
	failing := append(steps, func(c *conn) error { return errors.Join(c.once(`CREATE TABLE three (x)`), errors.New("no")) })
	if err := migrate(db.c, newest, failing); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("from version %d", newest)) {
		t.Errorf("got %v", err)
	}
	if n, _ := db.c.number(`SELECT count(*) FROM sqlite_schema WHERE name = 'three'`); n != 0 {
		t.Error("a migration that failed left something behind")
	}
	mustClose(t, db)
	_, err := Open(context.Background(), path, Options{})
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindUsage || !strings.Contains(err.Error(), "newer postbag") {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := os.Remove(path); err != nil { // Check at the end could not read it either
		t.Fatal(err)
	}
}

// memory is a line of this process's status in MiB, 0 where it cannot be read:
// VmRSS is what it uses, VmHWM the most that it ever used.
func memory(line string) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), line+":")
	kib, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kib / 1024
}

// TestMemory looks at the memory of a million rows. It is long, and alone.
func TestMemory(t *testing.T) {
	if os.Getenv("POSTBAG_LONG") == "" {
		t.Skip("writes 250 MB; set POSTBAG_LONG=1")
	}
	path := filepath.Join(t.TempDir(), "state.db")
	db := mustOpen(t, path, Options{})
	debug.FreeOSMemory()
	before := memory("VmRSS")
	start := time.Now()
	box := fill(t, db, 1_000_000, false)
	t.Logf("RSS grew by %d MiB with writing, which took %v", memory("VmHWM")-before, time.Since(start))
	start = time.Now()
	mustClose(t, db)
	t.Logf("RSS grew by %d MiB with closing, which took %v", memory("VmHWM")-before, time.Since(start))
	db = mustOpen(t, path, Options{})
	start = time.Now()
	n := 0
	err := db.Known(box.ID, B).Each(context.Background(), mail.Ref{}, mail.Ref{}, func(mail.Ref, mail.Flags) error { n++; return nil })
	if err != nil || n != 1_000_000 {
		t.Errorf("got %d, %v", n, err)
	}
	t.Logf("RSS grew by %d MiB with reading, which took %v", memory("VmHWM")-before, time.Since(start))
	start = time.Now()
	if n := db.Known(box.ID, A).Count(); n != 1_000_000 {
		t.Errorf("got a count of %d", n)
	}
	t.Logf("the count took %v", time.Since(start))
	if grown := memory("VmHWM") - before; grown > 40 {
		t.Errorf("RSS grew by %d MiB", grown)
	}
}
