package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
)

// BenchmarkUpload uploads 2,000 messages of 10 KB on average from a Maildir with
// one mailbox into an account that has nothing, beside mbsync.
func BenchmarkUpload(b *testing.B) { upload(b, 1, 0) }

// BenchmarkUpload40ms is the same over a line of 40 ms.
func BenchmarkUpload40ms(b *testing.B) { upload(b, 1, 40*time.Millisecond) }

// BenchmarkUploadBoxes40ms is the same with five mailboxes, of which four have to
// be made.
func BenchmarkUploadBoxes40ms(b *testing.B) { upload(b, 5, 40*time.Millisecond) }

func upload(b *testing.B, boxes int, rtt time.Duration) {
	s := newScene(b, imaptest.DovecotOptions{})
	n := s.fill(spread(2000, boxes))
	full := s.tree("full")
	s.mbsync(full, false).must(b)
	s.holds(full, n)
	if rtt > 0 {
		far := imaptest.StartProxy(b, s.dovecot.TLSAddr())
		far.RTT(rtt)
		s.addr = far.Addr()
	}
	contest(b, nil, contender{
		name: "postbag",
		run: func() command {
			return s.push(full, func(tree string) command {
				c := s.backup(tree)
				c.Args[0] = "sync"
				return c
			})
		},
		check: func(result) { s.received(n) },
	}, contender{
		name:  "mbsync",
		run:   func() command { return s.push(full, s.mbsyncPush) },
		check: func(result) { s.received(n) },
	})
}

// push makes a program's own copy of the messages of a tree, and an account for
// them.
func (s *scene) push(full string, program func(tree string) command) command {
	s.b.Helper()
	tree := s.tree("push")
	boxes, err := filepath.Glob(filepath.Join(full, "*", "cur"))
	nested, nestedErr := filepath.Glob(filepath.Join(full, "*", "*", "cur"))
	if err != nil || nestedErr != nil {
		s.b.Fatal(err, nestedErr)
	}
	for _, cur := range append(boxes, nested...) {
		rel, err := filepath.Rel(full, filepath.Dir(cur))
		if err != nil {
			s.b.Fatal(err)
		}
		s.copyBox(filepath.Join(full, rel), filepath.Join(tree, rel))
	}
	s.user = s.dovecot.NewUser()
	return program(tree)
}

// copyBox copies the messages of a Maildir, each under a name without the UID
// that mbsync puts into it, and with its time.
func (s *scene) copyBox(from, to string) {
	s.b.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(to, sub), 0o700); err != nil {
			s.b.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join(from, sub))
		if err != nil {
			s.b.Fatal(err)
		}
		for i, e := range entries {
			body, err := os.ReadFile(filepath.Join(from, sub, e.Name()))
			if err != nil {
				s.b.Fatal(err)
			}
			info, err := e.Info()
			if err != nil {
				s.b.Fatal(err)
			}
			key, flags, _ := strings.Cut(e.Name(), ":")
			key, _, _ = strings.Cut(key, ",")
			name := filepath.Join(to, sub, key)
			if sub == "cur" {
				name += ":" + flags
			}
			if err := os.WriteFile(name, body, 0o600); err != nil {
				s.b.Fatal(i, err)
			}
			if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
				s.b.Fatal(err)
			}
		}
	}
}

// received checks how many messages the account has.
func (s *scene) received(want int) {
	s.b.Helper()
	c, err := imaptest.Dial(s.dovecot.Target(s.user))
	if err != nil {
		s.b.Fatal(err)
	}
	defer c.Close()
	names, err := c.Mailboxes()
	if err != nil {
		s.b.Fatal(err)
	}
	got := 0
	for _, name := range names {
		lines, err := c.Do(fmt.Sprintf("STATUS %s (MESSAGES)", imaptest.Quote(imaptest.EncodeName(name))))
		if err != nil {
			continue // \Noselect
		}
		for _, l := range lines {
			var n int
			if _, count, ok := strings.Cut(l.Text, "(MESSAGES "); ok {
				if _, err := fmt.Sscanf(count, "%d", &n); err != nil {
					s.b.Fatal(err)
				}
				got += n
			}
		}
	}
	if got != want {
		s.b.Fatalf("the account holds %d messages, want %d", got, want)
	}
}

// mbsyncPush is mbsync's upload of a tree.
func (s *scene) mbsyncPush(tree string) command {
	s.b.Helper()
	return s.mbsyncWith(tree, true, "Sync Pull", "Sync Push", "Create Near", "Create Far")
}
