package bench

import (
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

const seed = 1

// spread puts the corpus of that many messages into few mailboxes, each a fifth.
func spread(n, boxes int) iter.Seq[demo.Sample] {
	return func(yield func(demo.Sample) bool) {
		i := 0
		for s := range demo.Corpus(seed, n) {
			s.Mailbox = boxName(i % boxes)
			if i++; !yield(s) {
				return
			}
		}
	}
}

func boxName(i int) string {
	if i == 0 {
		return "INBOX"
	}
	return fmt.Sprintf("Archive/%d", 2000+i)
}

// small are messages of 600 octets or so, from the first to the last number, for
// what depends on their number only.
func small(first, last int) iter.Seq[demo.Sample] {
	return func(yield func(demo.Sample) bool) {
		date := time.Date(2020, time.May, 4, 9, 0, 0, 0, time.UTC)
		for i := first; i <= last; i++ {
			at := date.Add(time.Duration(i) * time.Minute)
			var b []byte
			b = fmt.Appendf(b, "From: Ada <ada@example.org>\r\nTo: Grace <grace@example.org>\r\nDate: %s\r\n", at.Format(time.RFC1123Z))
			b = fmt.Appendf(b, "Subject: note %d\r\nMessage-ID: <%d.note@example.org>\r\n\r\n", i, i)
			for line := range 6 {
				b = fmt.Appendf(b, "Line %d of note %d, which says no more than the one before it.\r\n", line, i)
			}
			s := demo.Sample{Mailbox: "INBOX", Date: at, Raw: b}
			if i%4 != 0 {
				s.Flags.System = mail.Seen
			}
			if !yield(s) {
				return
			}
		}
	}
}

// first compares first backups of what is on the server. The trees stay until
// the end: some file systems are slow to make files where others were removed
// just now.
func (s *scene) first(n int, more ...contender) {
	var tree string
	contest(s.b, nil, append([]contender{{
		name: "postbag",
		run: func() command {
			tree = s.tree("postbag")
			return s.backup(tree)
		},
		check: func(r result) { s.changed(r, n, 0); s.holds(tree, n) },
	}, {
		name: "mbsync",
		run: func() command {
			tree = s.tree("mbsync")
			return s.mbsync(tree, true)
		},
		check: func(result) { s.holds(tree, n) },
	}}, more...)...)
}

// BenchmarkFirstBackup10k is the first backup of 10,000 messages of 10 KB on
// average in five mailboxes, beside mbsync and the floor.
func BenchmarkFirstBackup10k(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	spool := filepath.Join(s.dir, "spool")
	n := s.fill(spooled(b, spool, spread(10_000, 5)))
	var tree string
	s.first(n, contender{
		name: "floor",
		run: func() command {
			tree = s.tree("floor")
			return role("floor", spool, tree, strconv.Itoa(5))
		},
		check: func(result) { s.holds(tree, n) },
	})
}

// BenchmarkFirstBackup100k is the first backup of 100,000 messages of 10 KB on
// average, 1 GB, in five mailboxes.
func BenchmarkFirstBackup100k(b *testing.B) {
	long(b)
	s := newScene(b, imaptest.DovecotOptions{})
	s.first(s.fill(spread(100_000, 5)))
}

// backedUp makes a tree for each program, and lets each look at it once more.
func (s *scene) backedUp(n int) (postbag, mbsync string) {
	s.b.Helper()
	postbag, mbsync = s.tree("postbag"), s.tree("mbsync")
	s.changed(s.backup(postbag).must(s.b), n, 0)
	s.mbsync(mbsync, false).must(s.b)
	s.holds(mbsync, n)
	settle(s.b)
	s.changed(s.backup(postbag).must(s.b), 0, 0)
	s.mbsync(mbsync, true).must(s.b)
	return postbag, mbsync
}

// nothing compares runs that find nothing to do.
func (s *scene) nothing(n int) {
	postbag, mbsync := s.backedUp(n)
	contest(s.b, nil, contender{
		name:  "postbag",
		run:   func() command { return s.backup(postbag) },
		check: func(r result) { s.changed(r, 0, 0) },
	}, contender{
		name:  "mbsync",
		run:   func() command { return s.mbsync(mbsync, true) },
		check: func(result) {},
	})
	s.holds(postbag, n)
	s.holds(mbsync, n)
}

// BenchmarkNothing100k looks for changes among 100,000 messages of one mailbox,
// and there are none.
func BenchmarkNothing100k(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	s.nothing(s.fill(small(1, 100_000)))
}

// BenchmarkNothing200Boxes40ms looks for changes in 200 mailboxes of an account
// that is 40 ms away, and there are none.
func BenchmarkNothing200Boxes40ms(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	n := s.fill(spread(1000, 200))
	far := imaptest.StartProxy(b, s.dovecot.TLSAddr())
	far.RTT(40 * time.Millisecond)
	s.addr = far.Addr()
	s.nothing(n)
}

// BenchmarkChanges100k fetches ten new messages and five changes of flags among
// 100,000 messages of one mailbox. The server's next changes are made when both
// programs have seen the last.
func BenchmarkChanges100k(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	n := s.fill(small(1, 100_000))
	postbag, mbsync := s.backedUp(n)
	const messages, flags = 10, 5
	changes := 0
	contest(b, func() {
		s.change(n, messages, changes, flags)
		n += messages
		changes += flags
	}, contender{
		name:  "postbag",
		run:   func() command { return s.backup(postbag) },
		check: func(r result) { s.changed(r, messages, flags); s.holds(postbag, n) },
	}, contender{
		name:  "mbsync",
		run:   func() command { return s.mbsync(mbsync, true) },
		check: func(result) { s.holds(mbsync, n) },
	})
}

// change appends messages to the n that the mailbox has, and changes the flags of
// others, spread over it, through a connection of its own. done changes were made
// before.
func (s *scene) change(n, messages, done, flags int) {
	s.b.Helper()
	s.fill(small(n+1, n+messages))
	c, err := imaptest.Dial(s.dovecot.Target(s.user))
	if err != nil {
		s.b.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do("SELECT INBOX"); err != nil {
		s.b.Fatal(err)
	}
	for i := range flags {
		uid := 1 + (done+i)*997%100_000
		if _, err := c.Do(fmt.Sprintf("UID STORE %d +FLAGS.SILENT (\\Flagged)", uid)); err != nil {
			s.b.Fatal(err)
		}
	}
}

// BenchmarkMillion is the first backup of 1,000,000 small messages in one
// mailbox, and then a look that finds nothing. There is nobody beside it.
func BenchmarkMillion(b *testing.B) {
	long(b)
	s := newScene(b, imaptest.DovecotOptions{Extra: "mail_location = mdbox:~/mdbox"})
	n := s.fill(small(1, 1_000_000))
	tree := s.tree("postbag")
	first := s.backup(tree).must(b)
	s.changed(first, n, 0)
	s.holds(tree, n)
	settle(b)
	s.changed(s.backup(tree).must(b), 0, 0)
	contest(b, nil, contender{
		name:  "postbag",
		run:   func() command { return s.backup(tree) },
		check: func(r result) { s.changed(r, 0, 0) },
	})
	b.ReportMetric(first.Wall.Seconds(), "first-s")
	b.ReportMetric(first.CPU.Seconds(), "first-cpu-s")
	b.ReportMetric(float64(first.RSS)/1e6, "first-RSS-MB")
}
