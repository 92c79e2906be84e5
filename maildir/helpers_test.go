package maildir

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// memoryDir is a temporary directory in memory where there is one: most tests
// need no disk, and do thousands of syncs.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "postbag")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// openNew makes a tree in a temporary directory, in memory where that can be.
func openNew(t testing.TB, o Options) *Store {
	t.Helper()
	return openNewIn(t, memoryDir(t), o)
}

func openNewIn(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	o.Create = true
	s, err := Open(filepath.Join(dir, "mail"), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// selected makes a mailbox and opens it for writing.
func selected(t testing.TB, s *Store, name string) *mailbox {
	t.Helper()
	if err := s.Create(t.Context(), name, ""); err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
	m, err := s.Select(t.Context(), name)
	if err != nil {
		t.Fatalf("Select(%q): %v", name, err)
	}
	t.Cleanup(func() { m.Close() })
	return m.(*mailbox)
}

// rows is a Known made of a map.
type rows map[string]mail.Flags

func (r rows) Count() int { return len(r) }

func (r rows) Each(ctx context.Context, from, to mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	for _, key := range slices.Sorted(maps.Keys(r)) {
		ref := mail.Ref{Key: key}
		if ref.Compare(from) < 0 || !to.IsZero() && ref.Compare(to) > 0 {
			continue
		}
		if err := fn(ref, r[key]); err != nil {
			return err
		}
	}
	return nil
}

// take brings r up to date with a delta.
func (r rows) take(d mail.Delta) {
	for _, m := range d.New {
		r[m.Ref.Key] = m.Flags
	}
	for _, f := range d.Flags {
		r[f.Ref.Key] = f.Flags
	}
	for _, ref := range d.Gone {
		delete(r, ref.Key)
	}
}

// deliver brings messages in and answers with their keys.
func deliver(t testing.TB, m *mailbox, msgs ...outgoing) []string {
	t.Helper()
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatalf("Batch: %v", err)
	}
	defer b.Abort()
	var pending []mail.Pending
	for _, msg := range msgs {
		p, err := b.Add(t.Context(), msg.message(), strings.NewReader(msg.body))
		if err != nil {
			t.Fatalf("Add(%.40q): %v", msg.body, err)
		}
		pending = append(pending, p)
	}
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	landed, err := b.Commit(t.Context(), pending)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	keys := make([]string, len(landed))
	for i, l := range landed {
		if l.Err != nil || l.Ref.IsZero() {
			t.Fatalf("Commit: message %d landed as %+v", i, l)
		}
		keys[i] = l.Ref.Key
	}
	return keys
}

type outgoing struct {
	body  string
	flags string
	date  time.Time
}

func (o outgoing) message() mail.Message {
	return mail.Message{Size: int64(len(o.body)), Date: o.date, Flags: mail.ParseFlags(strings.Fields(o.flags)...),
		ID: mail.Identity{Digest: mail.Digest(sha256.Sum256([]byte(o.body)))}}
}

// changes asks what happened, and fails the test when it cannot be told.
func changes(t testing.TB, m mail.Mailbox, since mail.Cursor, known mail.Known) mail.Delta {
	t.Helper()
	d, err := m.Changes(t.Context(), since, known, 0)
	if err != nil {
		t.Fatalf("Changes: %v", err)
	}
	return d
}

// contents reads all messages: body and flags by key.
func contents(t testing.TB, m mail.Mailbox) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := m.Fetch(t.Context(), refsOf(changes(t, m, "", rows{})), func(f mail.Fetched) error {
		if f.Err != nil {
			t.Fatalf("Fetch %s: %v", f.Ref, f.Err)
		}
		body, err := io.ReadAll(f.Body)
		if err != nil {
			return err
		}
		if int64(len(body)) != f.Size {
			t.Errorf("Fetch %s: body of %d octets, size %d", f.Ref, len(body), f.Size)
		}
		out[f.Ref.Key] = string(body)
		return nil
	})
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	return out
}

func refsOf(d mail.Delta) []mail.Ref {
	var refs []mail.Ref
	for _, m := range d.New {
		refs = append(refs, m.Ref)
	}
	return refs
}

// boxPath is the directory of a mailbox in the tree.
func boxPath(s *Store, parts ...string) string {
	return filepath.Join(append([]string{s.path}, parts...)...)
}

// put writes a file as another program would.
func put(t testing.TB, content string, path ...string) string {
	t.Helper()
	p := filepath.Join(path...)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// files lists the names in a directory.
func files(t testing.TB, path ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// settle lets the timestamps of a directory grow old enough to prove something.
func settle() { time.Sleep(fineGrain + 5*time.Millisecond) }

func sampleMessage(n int) string {
	return fmt.Sprintf("Message-ID: <%d@example.org>\r\nSubject: number %d\r\n\r\nbody %d\r\n", n, n, n)
}

// drawn is where random tests begin: anywhere in a long run, and at one place in all
// others, which then fail for a reason that is new.
func drawn() uint64 {
	if os.Getenv("POSTBAG_LONG") != "" {
		return rand.Uint64()
	}
	return 20261125
}
