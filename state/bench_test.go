package state

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"postbag/internal/mail"
)

// likeMail makes the row of an ordinary message that is on its way to side B.
func likeMail(rnd *rand.Rand, box int64, uid uint32) *Row {
	flags := mail.Flags{}
	if rnd.IntN(2) == 0 {
		flags.System = mail.Seen
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d", box, uid))
	return &Row{
		Mailbox: box,
		Ref: [2]mail.Ref{
			{UID: uid},
			{Key: fmt.Sprintf("%d.M%dP%dQ%d.host.example", 1_700_000_000+uid/50, rnd.IntN(1_000_000), 4321, uid)},
		},
		Flags:  [2]mail.Flags{flags, flags},
		Size:   int64(1500 + rnd.IntN(60_000)),
		Date:   time.Unix(int64(1_600_000_000+uid*60), 0).UTC(),
		Ident:  mail.Identity{Described: true, MessageID: mail.MessageID(rnd.Uint64()), Digest: mail.Digest(sum)},
		Born:   1,
		Status: ToB,
	}
}

func openBench(b *testing.B) *DB {
	b.Helper()
	db, err := Open(context.Background(), filepath.Join(b.TempDir(), "state.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return db
}

// fill puts n messages into a new mailbox as a backup does: each batch first
// as arriving, then as here.
func fill(tb testing.TB, db *DB, n int, durable bool) *Mailbox {
	tb.Helper()
	ctx := context.Background()
	box := &Mailbox{Name: [2]string{"INBOX", "INBOX"}}
	if err := db.Commit(ctx, &Tx{Mailboxes: []*Mailbox{box}}, durable); err != nil {
		tb.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	for from := 0; from < n; from += 500 {
		tx := &Tx{}
		for i := from; i < min(n, from+500); i++ {
			tx.Rows = append(tx.Rows, likeMail(rnd, box.ID, uint32(i+1)))
		}
		if err := db.Commit(ctx, tx, false); err != nil {
			tb.Fatal(err)
		}
		for _, r := range tx.Rows {
			r.Status = Here
		}
		if err := db.Commit(ctx, tx, durable); err != nil {
			tb.Fatal(err)
		}
	}
	return box
}

// BenchmarkInsert is 100,000 rows in batches of 500, in one commit each.
func BenchmarkInsert(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		b.StopTimer()
		db := openBench(b)
		box := &Mailbox{Name: [2]string{"INBOX", "INBOX"}}
		if err := db.Commit(context.Background(), &Tx{Mailboxes: []*Mailbox{box}}, false); err != nil {
			b.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(1, 1))
		rows := make([]*Row, n)
		for i := range rows {
			rows[i] = likeMail(rnd, box.ID, uint32(i+1))
			rows[i].Status = Here
		}
		b.StartTimer()
		for from := 0; from < n; from += 500 {
			if err := db.Commit(context.Background(), &Tx{Rows: rows[from : from+500]}, false); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkArrive is the same as a backup does it: arriving, then here.
func BenchmarkArrive(b *testing.B) {
	const n = 100_000
	for _, durable := range []bool{false, true} {
		b.Run(fmt.Sprintf("durable=%v", durable), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				db := openBench(b)
				b.StartTimer()
				fill(b, db, n, durable)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkKnown(b *testing.B) {
	const n = 100_000
	db := openBench(b)
	box := fill(b, db, n, false)
	for _, side := range []Side{A, B} {
		b.Run("Each/"+side.String(), func(b *testing.B) {
			for b.Loop() {
				got := 0
				err := db.Known(box.ID, side).Each(context.Background(), mail.Ref{}, mail.Ref{}, func(mail.Ref, mail.Flags) error {
					got++
					return nil
				})
				if err != nil || got != n {
					b.Fatalf("got %d, %v", got, err)
				}
			}
		})
		b.Run("Count/"+side.String(), func(b *testing.B) {
			for b.Loop() {
				clear(db.counts)
				if got := db.Known(box.ID, side).Count(); got != n {
					b.Fatal(got)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	const n = 100_000
	ctx := context.Background()
	db := openBench(b)
	box := fill(b, db, n, false)
	b.Run("ByRef500", func(b *testing.B) {
		refs := make([]mail.Ref, 500)
		for i := range refs {
			refs[i].UID = uint32(i*199 + 1)
		}
		for b.Loop() {
			if rows, err := db.ByRef(ctx, box.ID, A, refs); err != nil || len(rows) != 500 {
				b.Fatalf("got %d rows, %v", len(rows), err)
			}
		}
	})
	b.Run("Each", func(b *testing.B) {
		for b.Loop() {
			got := 0
			if err := db.Each(ctx, box.ID, func(*Row) error { got++; return nil }); err != nil || got != n {
				b.Fatalf("got %d, %v", got, err)
			}
		}
	})
	b.Run("Counts", func(b *testing.B) {
		for b.Loop() {
			if c, err := db.Counts(ctx); err != nil || c[box.ID].Paired != n {
				b.Fatalf("got %v, %v", c, err)
			}
		}
	})
	b.Run("ByIdentity", func(b *testing.B) {
		r := likeMail(rand.New(rand.NewPCG(1, n)), box.ID, 1)
		for b.Loop() {
			if rows, err := db.ByIdentity(ctx, r.Ident, r.Size); err != nil || len(rows) != 1 {
				b.Fatalf("got %d rows, %v", len(rows), err)
			}
		}
	})
}

// BenchmarkOpen is what a run costs that finds nothing to do, and one that
// commits one row.
func BenchmarkOpen(b *testing.B) {
	ctx := context.Background()
	path := filepath.Join(b.TempDir(), "state.db")
	db, err := Open(ctx, path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	box := fill(b, db, 100_000, false)
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	if info, err := os.Stat(path); err == nil {
		b.Logf("%d octets a row", info.Size()/100_000)
	}
	for _, change := range []bool{false, true} {
		b.Run(fmt.Sprintf("commit=%v", change), func(b *testing.B) {
			for b.Loop() {
				db, err := Open(ctx, path, Options{})
				if err != nil {
					b.Fatal(err)
				}
				if rows, err := db.ByRef(ctx, box.ID, A, []mail.Ref{{UID: 1234}}); err != nil || len(rows) != 1 {
					b.Fatalf("got %d rows, %v", len(rows), err)
				} else if change {
					rows[0].Flags[A].System ^= mail.Flagged
					if err := db.Commit(ctx, &Tx{Rows: rows}, true); err != nil {
						b.Fatal(err)
					}
				}
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDelete forgets 1,000 messages, spread over a mailbox of 100,000, as a
// sync does when they were removed.
func BenchmarkDelete(b *testing.B) {
	const n, gone = 100_000, 1000
	var db *DB
	var rows []int64
	for b.Loop() {
		b.StopTimer()
		if len(rows) < gone {
			db = openBench(b)
			box := fill(b, db, n, false)
			ids, err := db.boxIDs(b.Context(), box.ID)
			if err != nil {
				b.Fatal(err)
			}
			rows = rows[:0]
			for i := range n / 10 { // every hundredth, and so again from the next
				rows = append(rows, ids[i%gone*100+i/gone])
			}
		}
		tx := &Tx{Delete: rows[:gone]}
		rows = rows[gone:]
		b.StartTimer()
		if err := db.Commit(b.Context(), tx, true); err != nil {
			b.Fatal(err)
		}
	}
}
