package maildir

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"postbag/internal/mail"
)

// linkInto links a message of Box into Other and answers with its key there.
func linkInto(t *testing.T, s *Store, key, body string, date time.Time) string {
	t.Helper()
	src := selected(t, s, "Box")
	m := selected(t, s, "Other")
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatalf("Batch: %v", err)
	}
	defer b.Abort()
	msg := mail.Message{Size: int64(len(body)), Date: date, Flags: mail.ParseFlags(`\Seen`), ID: mail.Identity{Digest: sha256.Sum256([]byte(body))}}
	p, err := b.(mail.Linker).Link(t.Context(), msg, mail.Place{Mailbox: "Box", Validity: src.Info().Validity, Ref: mail.Ref{Key: key}})
	if err != nil {
		t.Fatalf("Link: %v", err)
	}
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	landed, err := b.Commit(t.Context(), []mail.Pending{p})
	if err != nil || landed[0].Ref != p.Ref {
		t.Fatalf("Commit: %+v, %v", landed, err)
	}
	if got := contents(t, m)[p.Ref.Key]; got == "" {
		t.Fatalf("%s is not there: %v", p.Ref.Key, contents(t, m))
	}
	return p.Ref.Key
}

// A message in two mailboxes is one file with two names where both have one date, and
// two files where they do not, or where the first is not ours alone. Messages that are
// stored as they are keep being so.
func TestLinkIsASecondName(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("messages are copied there")
	}
	date := time.Unix(1700000000, 0)
	for name, test := range map[string]struct {
		body  string
		later time.Duration
		mode  os.FileMode
		one   bool
	}{
		"one":        {"Subject: x\r\n\r\none\r\n", 0, 0o600, true},
		"as it is":   {"Subject: x\n\r\none", 0, 0o600, true},
		"other date": {"Subject: x\r\n\r\none\r\n", time.Hour, 0o600, false},
		"other mode": {"Subject: x\r\n\r\none\r\n", 0, 0o644, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(filepath.Join(t.TempDir(), "mail"), Options{Create: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			key := deliver(t, selected(t, s, "Box"), outgoing{body: test.body, flags: `\Seen`, date: date})[0]
			first := boxPath(s, "Box", "cur", key+":2,S")
			if err := os.Chmod(first, test.mode); err != nil {
				t.Fatal(err)
			}
			second := linkInto(t, s, key, test.body, date.Add(test.later))
			a, err := os.Stat(first)
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.Stat(boxPath(s, "Other", "cur", second+":2,S"))
			if err != nil {
				t.Fatal(err)
			}
			if os.SameFile(a, b) != test.one {
				t.Errorf("one file: %v, want %v", os.SameFile(a, b), test.one)
			}
			if !a.ModTime().Equal(date) || !b.ModTime().Equal(date.Add(test.later)) || b.Mode().Perm() != 0o600 {
				t.Errorf("the first is of %v, the second of %v and mode %v", a.ModTime(), b.ModTime(), b.Mode())
			}
			bodyOf := func(box, key string) (got string) {
				m := selected(t, s, box)
				if err := m.Fetch(t.Context(), []mail.Ref{{Key: key}}, func(f mail.Fetched) error {
					body, err := io.ReadAll(f.Body)
					got = string(body)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				return got
			}
			if got := bodyOf("Other", second); got != test.body {
				t.Errorf("the second is %q, want %q", got, test.body)
			}
		})
	}
}

// A file that was damaged is not linked.
func TestDamagedFileIsNotLinked(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "mail"), Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	src := selected(t, s, "Box")
	key := deliver(t, src, outgoing{body: "Subject: x\r\n\r\none\r\n", flags: `\Seen`})[0]
	names, err := filepath.Glob(boxPath(s, "Box", "cur", "*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	if err := os.WriteFile(names[0], []byte("Subject: x\n\nTWO\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := selected(t, s, "Other").Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	msg := outgoing{body: "Subject: x\r\n\r\none\r\n"}.message()
	_, err = b.(mail.Linker).Link(t.Context(), msg, mail.Place{Mailbox: "Box", Validity: src.Info().Validity, Ref: mail.Ref{Key: key}})
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMessage {
		t.Errorf("link: %v, want an error of this message", err)
	}
}
