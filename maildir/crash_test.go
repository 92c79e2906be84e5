package maildir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/mail"
)

// scene is a mailbox with work going on, on a file system that remembers. What
// is promised at which point of the log is noted down.
type scene struct {
	fs    *memFS
	base  *memFS
	store *Store
	wire  map[string]string // by key: what a message is
	notes []note
}

// note is something that holds from a point of the log on.
type note struct {
	at      int
	pending []mail.Pending // these are in the journal
	landed  []string       // these are in the mailbox for good
	leaving []string       // these may be in the retention area
	landing []string       // these were in the journal and are settled
	flags   map[string]string
}

func (s *scene) note(n note) {
	n.at = len(s.fs.log)
	s.notes = append(s.notes, n)
}

func (s *scene) open(t testing.TB, f *memFS, create bool) *Store {
	t.Helper()
	now := time.Now
	if !create { // the next run comes when a lock that was left is out of date
		now = func() time.Time { return time.Now().Add(2 * staleLock) }
	}
	store, err := Open("/mail", Options{FS: f, Create: create, Now: now})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return store
}

// newScene sets a tree up with three messages, all of it durable.
func newScene(t testing.TB, flushes bool) *scene {
	s := &scene{fs: newMemFS(), wire: map[string]string{}}
	s.fs.flushes = flushes
	s.store = s.open(t, s.fs, true)
	keys := deliver(t, selected(t, s.store, "Box"), outgoing{body: "old 1\r\n"}, outgoing{body: "old 2\n", flags: `\Seen`}, outgoing{body: "old 3", flags: `\Flagged`})
	for i, key := range keys {
		s.wire[key] = []string{"old 1\r\n", "old 2\n", "old 3"}[i]
	}
	selected(t, s.store, "Other")
	s.base = s.fs.clone()
	s.fs.log = nil
	s.note(note{landed: keys})
	return s
}

// play delivers, links, changes flags, moves and removes.
func (s *scene) play(ctx context.Context, t testing.TB) error {
	w, err := s.store.Select(ctx, "Box")
	if err != nil {
		return err
	}
	m := w.(*mailbox)
	defer m.Close()
	old := slices.Sorted(maps.Keys(s.wire))
	b, err := m.Batch(ctx)
	if err != nil {
		return err
	}
	defer b.Abort()
	var pending []mail.Pending
	bodies := []string{"new 1\r\nx\r\n", "new 2\nx\r\n", "new 3\nx"}
	for i, body := range bodies {
		msg := outgoing{body: body, flags: []string{"", `\Seen Word`, `\Draft`}[i]}.message()
		p, err := b.Add(ctx, msg, strings.NewReader(body))
		if err != nil {
			return err
		}
		pending = append(pending, p)
		s.wire[p.Ref.Key] = body
	}
	for _, key := range old[:2] {
		msg := outgoing{body: s.wire[key], flags: `\Flagged`}.message()
		p, err := b.(mail.Linker).Link(ctx, msg, mail.Place{Mailbox: "Box", Validity: m.Info().Validity, Ref: mail.Ref{Key: key}})
		if err != nil {
			return err
		}
		pending = append(pending, p)
		s.wire[p.Ref.Key] = s.wire[key]
	}
	if b.(mail.Flusher).FlushesWith("/mail/state.db") {
		s.note(note{pending: pending}) // the journal is flushed with the batch, at the latest
	}
	if err := b.Prepare(ctx); err != nil {
		return err
	}
	s.note(note{pending: pending, landing: keysOf(pending)})
	if _, err := b.Commit(ctx, pending); err != nil {
		return err
	}
	s.note(note{landed: keysOf(pending)})
	states, err := m.SetFlags(ctx, []mail.FlagChange{change(old[0], `\Answered Other`, ""), change(pending[0].Ref.Key, `\Seen`, ""), change(old[1], `\Flagged`, "")})
	if err != nil {
		return err
	}
	flags := map[string]string{}
	for _, f := range states {
		flags[f.Ref.Key] = f.Flags.String()
	}
	s.note(note{flags: flags})
	s.note(note{leaving: []string{old[1], pending[1].Ref.Key}})
	if _, err := m.Remove(ctx, []mail.Ref{{Key: old[1]}, pending[1].Ref}); err != nil {
		return err
	}
	if _, err := m.Move(ctx, []mail.Ref{{Key: old[2]}, pending[0].Ref}, "Other"); err != nil {
		return err
	}
	return nil
}

func keysOf(pending []mail.Pending) []string {
	var out []string
	for _, p := range pending {
		out = append(out, p.Ref.Key)
	}
	return out
}

// seen is what is visible: for each key the directories it is in.
func (s *scene) seen(f *memFS) (where map[string][]string, bad []string) {
	where = map[string][]string{}
	var walk func(id int, path string)
	walk = func(id int, path string) {
		for name, child := range f.nodes[id].entries {
			n := f.nodes[child]
			if n.dir {
				walk(child, path+"/"+name)
				continue
			}
			key := name
			inBox := strings.HasSuffix(path, "/cur") || strings.HasSuffix(path, "/new")
			if parsed, ok := parseName(name); ok && inBox {
				key = parsed.key
			} else if strings.Contains(path, "/trash/") && !strings.HasPrefix(name, ".") {
				_, key, _ = strings.Cut(name, ".") // TAG.KEY
			} else {
				continue
			}
			want, ours := s.wire[key]
			if got := wireOf(n.data, isRawKey(key)); !ours || !bytes.Equal(got, []byte(want)) {
				bad = append(bad, fmt.Sprintf("%s/%s holds %q, want %q", path, name, got, want))
			}
			where[key] = append(where[key], path)
		}
	}
	walk(1, "")
	return where, bad
}

// check opens the tree after a crash, as the next run does.
func (s *scene) check(t *testing.T, f *memFS, end int, what string) {
	t.Helper()
	landed, settled, leaving := map[string]bool{}, map[string]bool{}, map[string]bool{}
	var pending []mail.Pending
	for _, n := range s.notes {
		if n.at > end {
			break
		}
		for _, k := range n.landed {
			landed[k] = true
		}
		for _, k := range n.landing {
			settled[k] = true
		}
		for _, k := range n.leaving {
			leaving[k] = true
		}
		if n.pending != nil {
			pending = n.pending
		}
	}
	where, bad := s.seen(f)
	for key := range landed {
		if len(where[key]) == 0 {
			bad = append(bad, key+" is lost")
		}
		for _, path := range where[key] {
			if strings.Contains(path, "/trash/") && !leaving[key] {
				bad = append(bad, key+" is in "+path)
			}
		}
	}
	store := s.open(t, f, false)
	w, err := store.Select(t.Context(), "Box")
	if err != nil {
		t.Fatalf("%s: Select: %v", what, err)
	}
	defer w.Close()
	answers, err := w.Recover(t.Context(), pending, rows{})
	if err != nil {
		t.Fatalf("%s: Recover: %v", what, err)
	}
	where, more := s.seen(f)
	bad = append(bad, more...)
	for i, p := range pending {
		there := len(where[p.Ref.Key]) > 0
		if is := !answers[i].Ref.IsZero(); is && !there {
			bad = append(bad, p.Ref.Key+" landed and is not there")
		} else if settled[p.Ref.Key] && !there {
			bad = append(bad, p.Ref.Key+" was durable and is lost")
		}
	}
	trash, err := store.Trash(t.Context())
	if err != nil {
		t.Fatalf("%s: Trash: %v", what, err)
	}
	for key, paths := range where {
		if strings.Contains(paths[0], "/trash/") && !slices.ContainsFunc(trash, func(t Trashed) bool { return t.Key == key && t.Mailbox == "Box" }) {
			bad = append(bad, key+" is in the retention area without a name")
		}
	}
	m := w.(*mailbox)
	tmp, _ := names(m.tmp, isOwnKey)
	for _, p := range pending {
		if slices.Contains(tmp, p.Ref.Key) {
			bad = append(bad, p.Ref.Key+" is still in tmp/")
		}
	}
	if bad != nil {
		var log []string
		for i, r := range s.fs.log[:end] {
			log = append(log, fmt.Sprint(i, " ", r.op, r.set))
		}
		t.Fatalf("%s:\n%s\nlog:\n%s", what, strings.Join(bad, "\n"), strings.Join(log, "\n"))
	}
}

// After a loss of power at any point, whatever was not synced lost or kept, no
// message is visible that is not whole, and none is lost that was reported.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for _, flushes := range []bool{true, false} {
		s := newScene(t, flushes)
		if err := s.play(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		states := 0
		seed := drawn()
		r := rand.New(rand.NewPCG(seed, 2))
		random := 10
		if os.Getenv("POSTBAG_LONG") != "" {
			random = 2000
		}
		for end := 0; end <= len(s.fs.log); end++ {
			sure := durable(s.fs.log, end)
			var open []int
			for i := range end {
				if !sure[i] && s.fs.log[i].syncDir == 0 && s.fs.log[i].syncFile == 0 && !s.fs.log[i].syncAll {
					open = append(open, i)
				}
			}
			try := func(what string, keep func(i int) bool) {
				states++
				f := s.fs.crashed(s.base, func(i int) bool { return sure[i] || keep(i) }, end)
				s.check(t, f, end, fmt.Sprintf("flush %v, after %d of %d changes, %s", flushes, end, len(s.fs.log), what))
			}
			try("all lost", func(int) bool { return false })
			try("all kept", func(int) bool { return true })
			for _, one := range open {
				try(fmt.Sprintf("only %d kept", one), func(i int) bool { return i == one })
				try(fmt.Sprintf("only %d lost", one), func(i int) bool { return i != one })
			}
			for range random {
				kept := r.Uint64()
				try(fmt.Sprintf("seed %d, %b kept", seed, kept), func(i int) bool { return kept>>(i%64)&1 == 1 })
			}
		}
		t.Logf("flush %v: %d changes, %d states", flushes, len(s.fs.log), states)
	}
}

// Every operation fails once, in every way: nothing incomplete becomes visible,
// nothing is lost, and the error says what to do.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	var short shortWrite = 3
	for _, reason := range []error{syscall.ENOSPC, syscall.EIO, syscall.EFBIG, syscall.EMFILE, short} {
		for _, flushes := range []bool{true, false} {
			for nth := 0; ; nth++ {
				if !failOnce(t, reason, flushes, nth) {
					break
				}
				if nth > 500 {
					t.Fatal("no end")
				}
			}
		}
	}
}

// failOnce plays the scene with the nth operation failing, and tells whether
// there was one.
func failOnce(t *testing.T, reason error, flushes bool, nth int) bool {
	s := newScene(t, flushes)
	n, failed := -1, ""
	s.fs.before = func(op string) error {
		if _, short := reason.(shortWrite); short && op != "write" {
			return nil
		}
		if op == "remove" {
			return nil // what cannot even be removed is left for Recover
		}
		if n++; n == nth {
			failed = op
			return fmt.Errorf("%s: %w", op, reason)
		}
		return nil
	}
	if _, short := reason.(shortWrite); short {
		s.fs.before = func(op string) error {
			if op != "write" {
				return nil
			}
			if n++; n == nth {
				failed = op
				return reason.(shortWrite)
			}
			return nil
		}
	}
	err := s.play(t.Context(), t)
	s.fs.before = nil
	what := fmt.Sprintf("%v at operation %d (%s), flush %v", reason, nth, failed, flushes)
	if failed == "" {
		if err != nil {
			t.Fatalf("undisturbed: %v", err)
		}
		return false
	}
	e, _ := errors.AsType[*mail.Error](err)
	if err != nil && e == nil {
		t.Errorf("%s: %v is no *mail.Error", what, err)
	}
	if e != nil && !errors.As(reason, new(shortWrite)) && (e.Kind != mail.KindDisk || e.Hint == "") {
		t.Errorf("%s: %+v, want a failed disk and a hint", what, e)
	}
	where, bad := s.seen(s.fs)
	landed := map[string]bool{}
	for _, n := range s.notes {
		for _, k := range n.landed {
			landed[k] = true
		}
	}
	for key := range landed {
		if len(where[key]) == 0 {
			bad = append(bad, key+" is lost")
		}
	}
	w, err := s.store.Select(t.Context(), "Box")
	if err != nil {
		t.Fatalf("%s: Select: %v", what, err)
	}
	m := w.(*mailbox)
	if tmp, _ := names(m.tmp, func(string) bool { return true }); len(tmp) > 0 && failed != "close" {
		bad = append(bad, fmt.Sprintf("tmp/ holds %q", tmp))
	}
	if slices.ContainsFunc(bad, func(string) bool { return true }) {
		t.Fatalf("%s, error %v:\n%s", what, err, strings.Join(bad, "\n"))
	}
	// With room again everything works.
	keys := deliver(t, m, outgoing{body: "later", flags: `\Seen Third`})
	got := ""
	m.Fetch(t.Context(), []mail.Ref{{Key: keys[0]}}, func(f mail.Fetched) error {
		body, err := io.ReadAll(f.Body)
		got = string(body)
		return err
	})
	if got != "later" {
		t.Errorf("%s: a later message reads %q", what, got)
	}
	w.Close()
	return true
}

// A batch whose flush failed is lost for good: a second try proves nothing.
func TestFailedFlushIsFinal(t *testing.T) {
	t.Parallel()
	for _, flushes := range []bool{true, false} {
		s := newScene(t, flushes)
		m := selected(t, s.store, "Box")
		b, err := m.Batch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		body := "x\r\n"
		p, err := b.Add(t.Context(), mail.Message{Size: 3, ID: mail.Identity{Digest: sha256.Sum256([]byte(body))}}, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		once := true
		s.fs.before = func(op string) error {
			if once && (op == "flush" || op == "sync") {
				once = false
				return syscall.EIO
			}
			return nil
		}
		for range 2 {
			if err := b.Prepare(t.Context()); mail.AsError(err).Scope != mail.ScopeAccount || mail.AsError(err).Kind != mail.KindDisk {
				t.Errorf("flush %v: Prepare gives %v", flushes, err)
			}
		}
		if _, err := b.Commit(t.Context(), []mail.Pending{p}); err == nil {
			t.Errorf("flush %v: Commit succeeds", flushes)
		}
		if landed, err := m.Recover(t.Context(), []mail.Pending{p}, rows{}); err != nil || !landed[0].Ref.IsZero() {
			t.Errorf("flush %v: Recover gives %+v, %v", flushes, landed, err)
		}
	}
}
