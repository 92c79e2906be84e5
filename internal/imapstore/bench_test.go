package imapstore

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// benchMessages is the size of the mailbox of BenchmarkDovecot.
func benchMessages() int {
	if n, err := strconv.Atoi(os.Getenv("POSTBAG_BENCH_MESSAGES")); err == nil {
		return n
	}
	return 100_000
}

// BenchmarkDovecot looks at a large mailbox of a real server: for the first
// time, and again when nothing happened, on each rung of the ladder.
func BenchmarkDovecot(b *testing.B) {
	d := imaptest.StartDovecot(b, imaptest.DovecotOptions{})
	user, n := d.NewUser(), benchMessages()
	d.Fill(user, func(yield func(demo.Sample) bool) {
		for i := range n {
			if !yield(demo.Sample{Mailbox: "INBOX", Raw: fmt.Appendf(nil, "Message-ID: <%d@x>\r\n\r\nx\r\n", i)}) {
				return
			}
		}
	})
	for _, rung := range []struct {
		name   string
		noCaps []string
	}{
		{"QRESYNC", nil}, {"CONDSTORE", []string{"QRESYNC"}}, {"plain", []string{"QRESYNC", "CONDSTORE"}},
	} {
		s, err := Open(b.Context(), Config{Conn: imapconn.Config{
			Addr: d.Addr(), TLS: imapconn.TLSNone, NoCaps: rung.noCaps,
			Auth: imapconn.Auth{User: user, Secret: func(context.Context) (string, error) { return imaptest.DovecotPassword, nil }},
		}})
		if err != nil {
			b.Fatal(err)
		}
		m, err := s.Examine(b.Context(), "INBOX")
		if err != nil {
			b.Fatal(err)
		}
		known := &sortedKnown{}
		var cursor mail.Cursor
		b.Run("first/"+rung.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				known, cursor = &sortedKnown{}, ""
				for more := true; more; {
					delta, err := m.Changes(b.Context(), cursor, known, 5000)
					if err != nil {
						b.Fatal(err)
					}
					for _, msg := range delta.New {
						known.uids = append(known.uids, msg.Ref.UID)
					}
					cursor, more = delta.Cursor, delta.More
				}
			}
			if known.Count() != n {
				b.Fatalf("got %d messages, want %d", known.Count(), n)
			}
		})
		b.Run("nothing/"+rung.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if delta, err := m.Changes(b.Context(), cursor, known, 5000); err != nil || !delta.Empty() || delta.Unsettled != "" {
					b.Fatal(delta, err)
				}
			}
		})
		b.Run("list/"+rung.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.List(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
		s.Close()
	}
}
