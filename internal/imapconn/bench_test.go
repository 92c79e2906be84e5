package imapconn

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// manyFlags is a FETCH response for each of n messages.
func manyFlags(n int, tail string) string {
	var b strings.Builder
	flags := []string{``, `\Seen`, `\Seen \Answered`, `\Seen $Forwarded NonJunk`}
	for i := range n {
		fmt.Fprintf(&b, "* %d FETCH (UID %d FLAGS (%s)%s)\r\n", i+1, i+1, flags[i%len(flags)], tail)
	}
	return b.String()
}

// BenchmarkParseList is the cost of one line of a listing, without a network.
func BenchmarkParseList(b *testing.B) {
	for name, tail := range map[string]string{"flags": "", "flags+modseq": " MODSEQ (1234567)", "all": ` RFC822.SIZE 12345 INTERNALDATE "17-Jul-2024 02:44:25 +0200" MODSEQ (1234567)`} {
		b.Run(name, func(b *testing.B) {
			lines := strings.SplitAfter(manyFlags(1000, tail), "\r\n")[:1000]
			raw := make([][]byte, len(lines))
			for i, line := range lines {
				raw[i] = []byte(strings.TrimSuffix(line, "\r\n"))
			}
			n := 0
			lf := &listFetch{parser: newItemParser(EmailID | GmailMsgID), room: 1 << 30, fn: func(it Item) error {
				n++
				return nil
			}}
			lf.want.AddRange(1, 1000)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !lf.take(raw[i%1000]) {
					b.Fatal("not taken")
				}
			}
			if n != b.N {
				b.Fatalf("%d of %d", n, b.N)
			}
		})
	}
}

// benchPeer serves the same answer again and again.
func benchPeer(b *testing.B, answer string) *Conn {
	raw := []byte(answer)
	return dialPeer(b, testCaps, func(p *peer) {
		for p.command() != "" {
			_, _ = p.conn.Write(raw)
			p.send("TAG OK done")
		}
	})
}

// BenchmarkFetchList is a listing over loopback; an operation is one message.
func BenchmarkFetchList(b *testing.B) {
	const n = 100_000
	c := benchPeer(b, manyFlags(n, ""))
	var set UIDSet
	set.AddRange(1, n)
	b.ReportAllocs()
	for done := 0; b.Loop(); done++ {
		if done%n > 0 {
			continue
		}
		got := 0
		err := c.FetchList(b.Context(), set, Flags, 0, false, func(Item) error {
			got++
			return nil
		}, nil)
		if err != nil || got != n {
			b.Fatal(got, err)
		}
	}
}

// BenchmarkLibraryList is the same through the library, for comparison.
func BenchmarkLibraryList(b *testing.B) {
	const n = 100_000
	c := benchPeer(b, manyFlags(n, ""))
	var set imap.UIDSet
	set.AddRange(1, n)
	b.ReportAllocs()
	for done := 0; b.Loop(); done++ {
		if done%n > 0 {
			continue
		}
		cmd := c.Client().Fetch(set, &imap.FetchOptions{UID: true, Flags: true})
		got := 0
		for cmd.Next() != nil {
			got++
		}
		if err := cmd.Close(); err != nil || got != n {
			b.Fatal(got, err)
		}
	}
}

// BenchmarkFetchBodies streams messages over loopback; an operation is one
// message.
func BenchmarkFetchBodies(b *testing.B) {
	for _, size := range []int{1 << 10, 8 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := min(2000, 64<<20/size)
			var answer strings.Builder
			body := strings.Repeat("x", size)
			for i := range n {
				fmt.Fprintf(&answer, "* %d FETCH (UID %d FLAGS (\\Seen) INTERNALDATE \"17-Jul-2024 02:44:25 +0200\" BODY[] {%d}\r\n%s)\r\n", i+1, i+1, size, body)
			}
			c := benchPeer(b, answer.String())
			var set UIDSet
			set.AddRange(1, uint32(n))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			buf := make([]byte, 64<<10)
			for done := 0; b.Loop(); done++ {
				if done%n > 0 {
					continue
				}
				got := 0
				err := c.FetchBodies(b.Context(), set, func(_ Item, _ int64, body io.Reader) error {
					got++
					for {
						if _, err := body.Read(buf); err == io.EOF {
							return nil
						} else if err != nil {
							return err
						}
					}
				})
				if err != nil || got != n {
					b.Fatal(got, err)
				}
			}
		})
	}
}

// BenchmarkDovecot uploads, lists and downloads 5,000 messages of 8 KiB over TLS
// from a real server; an operation is all of one of them.
func BenchmarkDovecot(b *testing.B) {
	const n, perCommand = 5000, 100
	d := startDovecot(b)
	body := "From: a@example.org\r\nSubject: x\r\n\r\n" + strings.Repeat("0123456789012345678901234567890123456789\r\n", 194)
	cfg := d.settings(TLSImplicit, "bench")
	cfg.IdleTimeout = time.Minute
	c := d.dial(b, cfg)
	start := time.Now()
	for range n / perCommand {
		parts := []Part{Raw("APPEND INBOX")}
		for range perCommand {
			parts = append(parts, Raw(`(\Seen)`), Literal(int64(len(body)), strings.NewReader(body)))
		}
		if s, err := c.Command(b.Context(), nil, parts...); err != nil || s.Code != "APPENDUID" {
			b.Fatal(s, err)
		}
	}
	b.Logf("MULTIAPPEND: %.0f messages a second", n/time.Since(start).Seconds())
	if _, err := c.Select(b.Context(), []byte("INBOX"), true); err != nil {
		b.Fatal(err)
	}
	var all UIDSet
	all.AddRange(1, n)
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			got := 0
			if err := c.FetchList(b.Context(), all, Flags, 0, false, func(Item) error {
				got++
				return nil
			}, nil); err != nil || got != n {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("bodies", func(b *testing.B) {
		b.SetBytes(int64(n * len(body)))
		buf := make([]byte, 32<<10)
		for b.Loop() {
			got := 0
			if err := c.FetchBodies(b.Context(), all, func(_ Item, _ int64, body io.Reader) error {
				got++
				_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, buf)
				return err
			}); err != nil || got != n {
				b.Fatal(got, err)
			}
		}
	})
}
