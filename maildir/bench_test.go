package maildir

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// bigBox makes a mailbox of empty messages, quickly.
func bigBox(b *testing.B, n int) (*mailbox, rows) {
	b.Helper()
	s := openNewIn(b, b.TempDir(), Options{})
	m := selected(b, s, "INBOX")
	cur := boxPath(s, "INBOX", "cur")
	known := rows{}
	for i := range n {
		key := fmt.Sprintf("%d.%020x.postbag", 1700000000+i/100, i*7919)
		f, err := os.Create(cur + "/" + key + ":2,S")
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
		known[key] = mail.ParseFlags(`\Seen`)
	}
	settle()
	return m, known
}

// sorted is a Known that costs next to nothing.
type sorted struct{ keys []string }

func (s sorted) Count() int { return len(s.keys) }

func (s sorted) Each(_ context.Context, from, _ mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	seen := mail.ParseFlags(`\Seen`)
	for _, k := range s.keys {
		if k < from.Key {
			continue
		}
		if err := fn(mail.Ref{Key: k}, seen); err != nil {
			return err
		}
	}
	return nil
}

func sortedOf(known rows) sorted {
	var s sorted
	known.Each(context.Background(), mail.Ref{}, mail.Ref{}, func(r mail.Ref, _ mail.Flags) error {
		s.keys = append(s.keys, r.Key)
		return nil
	})
	return s
}

func benchSize() int {
	if os.Getenv("POSTBAG_LONG") != "" {
		return 1_000_000
	}
	return 100_000
}

func BenchmarkChanges(b *testing.B) {
	m, known := bigBox(b, benchSize())
	all := sortedOf(known)
	d := changes(b, m, "", all)
	if !d.Empty() {
		b.Fatalf("%d new, %d flags, %d gone", len(d.New), len(d.Flags), len(d.Gone))
	}
	c := parseCursor(d.Cursor)
	touched := d.Cursor[:3] + "x" + d.Cursor[4:] // another fingerprint, the same sum
	b.Run("stat", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			changes(b, m, d.Cursor, all)
		}
	})
	b.Run("names", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.pass(b.Context(), func(subdir, []byte, int) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sum", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got := changes(b, m, touched, all); got.Stamp == "" || parseCursor(got.Cursor).sum != c.sum {
				b.Fatal("no stamp")
			}
		}
	})
	b.Run("diff", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			changes(b, m, "", all)
		}
	})
	b.Run("scan-memory", func(b *testing.B) {
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			s, err := m.scanNames(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MB")
			runtime.KeepAlive(s)
		}
	})
	b.Run("one-by-key", func(b *testing.B) {
		i := 0
		for b.Loop() {
			ref := mail.Ref{Key: all.keys[i%len(all.keys)]}
			i += 7919
			if err := m.Fetch(b.Context(), []mail.Ref{ref}, func(mail.Fetched) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchDelivery(b *testing.B, flush bool) {
	s := openNewIn(b, b.TempDir(), Options{})
	s.slowSync = !flush
	m := selected(b, s, "INBOX")
	body := sampleMessage(1) + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 140)
	msg := outgoing{body: body, flags: `\Seen`}.message()
	b.SetBytes(int64(len(body)))
	n := 0
	for b.Loop() {
		batch, err := m.Batch(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		var pending []mail.Pending
		for range 500 {
			p, err := batch.Add(b.Context(), msg, strings.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			pending = append(pending, p)
		}
		if err := batch.Prepare(b.Context()); err != nil {
			b.Fatal(err)
		}
		if _, err := batch.Commit(b.Context(), pending); err != nil {
			b.Fatal(err)
		}
		n += 500
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(n), "µs/message")
}

func BenchmarkDelivery(b *testing.B) {
	b.Run("flush", func(b *testing.B) { benchDelivery(b, true) })
	b.Run("fsync", func(b *testing.B) { benchDelivery(b, false) })
}

func BenchmarkFetch(b *testing.B) {
	s := openNewIn(b, b.TempDir(), Options{})
	m := selected(b, s, "INBOX")
	body := sampleMessage(1) + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 140)
	var out []outgoing
	for range 500 {
		out = append(out, outgoing{body: body, flags: `\Seen`})
	}
	var refs []mail.Ref
	for _, key := range deliver(b, m, out...) {
		refs = append(refs, mail.Ref{Key: key})
	}
	b.SetBytes(int64(500 * len(body)))
	buf := make([]byte, 32<<10)
	for b.Loop() {
		err := m.Fetch(b.Context(), refs, func(f mail.Fetched) error {
			for {
				if _, err := f.Body.Read(buf); err != nil {
					return nil
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
