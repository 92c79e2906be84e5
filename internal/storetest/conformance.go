package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// Config says how a store is tested.
type Config struct {
	// Open makes a store for one test, closed by the test's cleanup. It may hold
	// mailboxes already; the suite makes its own.
	Open func(t *testing.T) mail.Store
	// Local stores give digests when asked to describe.
	Local bool
	// Stamps says that the store can vouch for a mailbox.
	Stamps bool
}

// Run tests that a store keeps the promises of package mail.
func Run(t *testing.T, c Config) {
	for name, test := range map[string]func(*testing.T, Config, mail.Store){
		"Mailboxes": testMailboxes, "RoundTrip": testRoundTrip, "Changes": testChanges, "Windows": testWindows,
		"Flags": testFlags, "Remove": testRemove, "Move": testMove, "Abort": testAbort, "Recover": testRecover,
		"Subscriptions": testSubscriptions, "Links": testLinks, "LinksRefused": testLinksRefused,
	} {
		t.Run(name, func(t *testing.T) { test(t, c, c.Open(t)) })
	}
}

// KnownMap is a mail.Known for tests.
type KnownMap map[mail.Ref]mail.Flags

// Count implements mail.Known.
func (k KnownMap) Count() int { return len(k) }

// Each implements mail.Known.
func (k KnownMap) Each(_ context.Context, from, to mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	for _, ref := range slices.SortedFunc(maps.Keys(k), mail.Ref.Compare) {
		if ref.Compare(from) < 0 || !to.IsZero() && ref.Compare(to) > 0 {
			continue
		}
		if err := fn(ref, k[ref]); err != nil {
			return err
		}
	}
	return nil
}

// apply records a delta as handled.
func (k KnownMap) apply(d mail.Delta) {
	for _, m := range d.New {
		k[m.Ref] = m.Flags
	}
	for _, f := range d.Flags {
		k[f.Ref] = f.Flags
	}
	for _, ref := range d.Gone {
		delete(k, ref)
	}
}

// sample is the n-th message of the suite. They differ in length and content.
func sample(n int) string {
	return fmt.Sprintf("From: a@example.org\r\nMessage-ID: <sample-%d@example.org>\r\nSubject: %d\r\n\r\n%s\r\n", n, n, strings.Repeat("line\r\n", n))
}

// sampleDate has whole seconds, all that IMAP keeps.
func sampleDate(n int) time.Time { return time.Date(2025, 3, 4, 5, 6, n, 0, time.UTC) }

func open(t *testing.T, s mail.Store, name string) mail.WritableMailbox {
	t.Helper()
	if err := s.Create(t.Context(), name, ""); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	m, err := s.Select(t.Context(), name)
	if err != nil {
		t.Fatalf("select %s: %v", name, err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// stage adds messages lo..hi-1 to a batch.
func stage(t *testing.T, m mail.WritableMailbox, lo, hi int, flags mail.Flags) (mail.Batch, []mail.Pending) {
	t.Helper()
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatalf("batch: %v", err)
	}
	var added []mail.Pending
	for n := lo; n < hi; n++ {
		body := sample(n)
		msg := mail.Message{Flags: m.Storable(flags), Date: sampleDate(n), Size: int64(len(body))}
		p, err := b.Add(t.Context(), msg, strings.NewReader(body))
		if err != nil {
			t.Fatalf("add %d: %v", n, err)
		}
		p.Message = msg
		p.Message.ID = mail.Identity{MessageID: mail.MessageIDOf([]byte(body)), Described: true, Digest: sha256.Sum256([]byte(body))}
		added = append(added, p)
	}
	return b, added
}

// deliver adds messages lo..hi-1 and answers with their refs.
func deliver(t *testing.T, m mail.WritableMailbox, lo, hi int, flags mail.Flags) []mail.Ref {
	t.Helper()
	b, added := stage(t, m, lo, hi, flags)
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	landed, err := b.Commit(t.Context(), added)
	if err != nil || len(landed) != len(added) {
		t.Fatalf("commit: %d of %d landed, %v", len(landed), len(added), err)
	}
	b.Abort() // does nothing any more
	var refs []mail.Ref
	for i, l := range landed {
		if l.Ref.IsZero() || l.Err != nil {
			t.Fatalf("message %d did not land: %+v", lo+i, l)
		}
		if !added[i].Ref.IsZero() && added[i].Ref != l.Ref {
			t.Errorf("message %d was to be %v and is %v", lo+i, added[i].Ref, l.Ref)
		}
		refs = append(refs, l.Ref)
	}
	return refs
}

// contents fetches all messages of a mailbox.
func contents(t *testing.T, m mail.Mailbox) map[mail.Ref]string {
	t.Helper()
	refs := slices.SortedFunc(maps.Keys(listAll(t, m)), mail.Ref.Compare)
	got := make(map[mail.Ref]string)
	if len(refs) == 0 {
		return got
	}
	if err := m.Fetch(t.Context(), refs, func(f mail.Fetched) error {
		if f.Err != nil {
			return f.Err
		}
		body, err := io.ReadAll(f.Body)
		if err == nil && f.Size >= 0 && int64(len(body)) != f.Size {
			err = fmt.Errorf("%v has %d octets, announced were %d", f.Ref, len(body), f.Size)
		}
		got[f.Ref] = string(body)
		return err
	}); err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return got
}

// listAll lists a mailbox from the beginning.
func listAll(t *testing.T, m mail.Mailbox) map[mail.Ref]mail.Message {
	t.Helper()
	all := make(map[mail.Ref]mail.Message)
	for since := mail.Cursor(""); ; {
		d, err := m.Changes(t.Context(), since, KnownMap{}, 1000)
		if err != nil {
			t.Fatalf("changes: %v", err)
		}
		for _, msg := range d.New {
			all[msg.Ref] = msg
		}
		if since = d.Cursor; !d.More {
			return all
		}
	}
}

func testMailboxes(t *testing.T, _ Config, s mail.Store) {
	ctx := t.Context()
	has := func(name string) bool {
		infos, err := s.List(ctx)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		if !slices.IsSortedFunc(infos, func(a, b mail.MailboxInfo) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("the listing is not sorted by name: %v", infos)
		}
		i := slices.IndexFunc(infos, func(i mail.MailboxInfo) bool { return i.Name == name })
		return i >= 0 && !infos[i].NoSelect
	}
	for _, name := range []string{"Suite", "Suite/Été", "Suite/日本語/sub", "Suite/a b"} {
		for range 2 { // making it again is no error
			if err := s.Create(ctx, name, ""); err != nil {
				t.Fatalf("create %s: %v", name, err)
			}
		}
		if !has(name) {
			t.Errorf("%s was made and is not listed", name)
		}
	}
	if err := s.Rename(ctx, "Suite/Été", "Suite/Hiver"); err != nil {
		t.Fatalf("rename: %v", err)
	}
	if has("Suite/Été") || !has("Suite/Hiver") {
		t.Error("the rename does not show in the listing")
	}
	if err := s.Delete(ctx, "Suite/Hiver"); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if has("Suite/Hiver") || !has("Suite") {
		t.Error("the deletion does not show in the listing, or took more than its mailbox")
	}
	for what, try := range map[string]func() error{
		"examine": func() error { _, err := s.Examine(ctx, "Suite/none"); return err },
		"select":  func() error { _, err := s.Select(ctx, "Suite/none"); return err },
	} {
		e, ok := errors.AsType[*mail.Error](try())
		if !ok || e.Kind != mail.KindGone || e.Scope != mail.ScopeMailbox {
			t.Errorf("%s of a mailbox that is not there: %+v, want KindGone of ScopeMailbox", what, e)
		}
	}
}

func testRoundTrip(t *testing.T, c Config, s mail.Store) {
	m := open(t, s, "Suite")
	flags := mail.ParseFlags(`\Seen`, `\Flagged`, "$Forwarded")
	refs := deliver(t, m, 1, 6, flags)
	listed := listAll(t, m)
	if len(listed) != 5 {
		t.Fatalf("%d messages are listed, want 5", len(listed))
	}
	bodies := contents(t, m)
	described := make(map[mail.Ref]mail.Message)
	if err := m.Describe(t.Context(), refs, true, func(msg mail.Message) error {
		described[msg.Ref] = msg
		return nil
	}); err != nil {
		t.Fatalf("describe: %v", err)
	}
	for i, ref := range refs {
		body := sample(i + 1)
		if bodies[ref] != body {
			t.Errorf("%v is %q, want %q", ref, bodies[ref], body)
		}
		if got := listed[ref]; !got.Flags.Equal(m.Storable(flags)) || !got.Date.Equal(sampleDate(i+1)) {
			t.Errorf("%v is listed with [%v] of %v, want [%v] of %v", ref, got.Flags, got.Date, m.Storable(flags), sampleDate(i+1))
		}
		d := described[ref]
		if want := mail.MessageIDOf([]byte(body)); !d.ID.Described || d.ID.MessageID != want || d.Size != int64(len(body)) {
			t.Errorf("%v is described as %+v of %d octets, want Message-ID %d of %d", ref, d.ID, d.Size, want, len(body))
		}
		if c.Local && d.ID.Digest != sha256.Sum256([]byte(body)) {
			t.Errorf("%v has the digest %v, want that of its wire form", ref, d.ID.Digest)
		}
	}
}

// testChanges plays the engine: what it did itself it puts into known, and then
// there must be nothing left to tell, also when the mailbox was closed meanwhile.
func testChanges(t *testing.T, c Config, s mail.Store) {
	m := open(t, s, "Suite")
	known := KnownMap{}
	refs := deliver(t, m, 1, 8, mail.Flags{})
	first, err := m.Changes(t.Context(), "", known, 1000)
	if err != nil || len(first.New) != 7 || len(first.Gone)+len(first.Flags) > 0 || first.More {
		t.Fatalf("after 7 deliveries: %+v, %v", first, err)
	}
	known.apply(first)
	add := mail.ParseFlags(`\Answered`)
	states, err := m.SetFlags(t.Context(), []mail.FlagChange{{Ref: refs[2], Delta: mail.FlagDelta{Add: add}}})
	if err != nil || len(states) != 1 {
		t.Fatalf("set flags: %v, %v", states, err)
	}
	known[refs[2]] = states[0].Flags
	gone := slices.SortedFunc(slices.Values(refs[4:6]), mail.Ref.Compare)
	if _, err := m.Remove(t.Context(), gone); err != nil {
		t.Fatalf("remove: %v", err)
	}
	for _, ref := range gone {
		delete(known, ref)
	}
	for _, ref := range deliver(t, m, 20, 22, mail.ParseFlags(`\Seen`)) {
		known[ref] = mail.ParseFlags(`\Seen`)
	}
	m.Close()
	again, err := s.Select(t.Context(), "Suite")
	if err != nil {
		t.Fatalf("select: %v", err)
	}
	defer again.Close()
	last, err := again.Changes(t.Context(), first.Cursor, known, 1000)
	if err != nil || !last.Empty() || last.Unsettled != "" {
		t.Fatalf("all that happened is known, and the delta is %+v, %v", last, err)
	}
	if all := listAll(t, again); len(all) != 7 || !all[refs[2]].Flags.Equal(add) {
		t.Errorf("the mailbox lists %v, want 7 messages with \\Answered on %v", all, refs[2])
	}
	if !c.Stamps {
		return
	}
	infos, err := s.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	for _, info := range infos {
		if info.Name == "Suite" && (info.Stamp == "" || info.Stamp != last.Stamp) {
			t.Errorf("a quiet mailbox is listed with stamp %q, its delta has %q; want one and the same", info.Stamp, last.Stamp)
		}
	}
}

func testWindows(t *testing.T, _ Config, s mail.Store) {
	m := open(t, s, "Suite")
	refs := deliver(t, m, 1, 24, mail.Flags{})
	known := KnownMap{}
	seen := make(map[mail.Ref]int)
	var d mail.Delta
	var err error
	for range 40 {
		if d, err = m.Changes(t.Context(), d.Cursor, known, 5); err != nil {
			t.Fatalf("changes: %v", err)
		}
		if d.More && (d.Stamp != "" || len(d.Gone) > 0) {
			t.Errorf("a window that is not the last has stamp %q, gone %v", d.Stamp, d.Gone)
		}
		for _, msg := range d.New {
			seen[msg.Ref]++
		}
		known.apply(d)
		if !d.More {
			break
		}
	}
	for _, ref := range refs {
		if seen[ref] != 1 {
			t.Errorf("%v was listed %d times, want once", ref, seen[ref])
		}
	}
	if d.More || len(seen) != len(refs) {
		t.Errorf("%d messages were listed, more %v; want %d and an end", len(seen), d.More, len(refs))
	}
	again, err := s.Examine(t.Context(), "Suite")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	seen, calls := make(map[mail.Ref]int), 0
	if err := mail.Windows(t.Context(), again, 5, func(d *mail.Delta) error {
		if calls++; calls > 40 {
			return errors.New("there is no end of windows")
		}
		for _, msg := range d.New {
			seen[msg.Ref]++
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, ref := range refs {
		if seen[ref] != 1 {
			t.Errorf("of all, %v was listed %d times, want once", ref, seen[ref])
		}
	}
}

func testFlags(t *testing.T, _ Config, s mail.Store) {
	m := open(t, s, "Suite")
	refs := deliver(t, m, 1, 4, mail.ParseFlags(`\Seen`))
	missing := refs[2]
	if _, err := m.Remove(t.Context(), []mail.Ref{missing}); err != nil {
		t.Fatalf("remove: %v", err)
	}
	delta := mail.FlagDelta{Add: m.Storable(mail.ParseFlags(`\Flagged`, "work")), Remove: mail.ParseFlags(`\Seen`)}
	var changes []mail.FlagChange
	for _, ref := range refs {
		changes = append(changes, mail.FlagChange{Ref: ref, Delta: delta})
	}
	slices.SortFunc(changes, func(a, b mail.FlagChange) int { return a.Ref.Compare(b.Ref) })
	states, err := m.SetFlags(t.Context(), changes)
	if err != nil {
		t.Fatalf("set flags: %v", err)
	}
	for _, f := range states {
		if f.Ref == missing || !f.Flags.Equal(delta.Add) {
			t.Errorf("%v holds [%v] afterwards, want [%v], and nothing of %v", f.Ref, f.Flags, delta.Add, missing)
		}
	}
	for ref, msg := range listAll(t, m) {
		if !msg.Flags.Equal(delta.Add) {
			t.Errorf("%v is listed with [%v], want [%v]", ref, msg.Flags, delta.Add)
		}
	}
	if len(states) != 2 {
		t.Errorf("%d messages were answered for, want 2", len(states))
	}
}

func testRemove(t *testing.T, _ Config, s mail.Store) {
	m := open(t, s, "Suite")
	refs := deliver(t, m, 1, 6, mail.Flags{})
	gone := slices.SortedFunc(slices.Values(refs[1:3]), mail.Ref.Compare)
	removed, err := m.Remove(t.Context(), gone)
	if err != nil || !slices.Equal(removed, gone) {
		t.Fatalf("removed %v, %v; want %v", removed, err, gone)
	}
	left := listAll(t, m)
	if len(left) != 3 {
		t.Errorf("%d messages are left, want 3", len(left))
	}
	again, err := m.Remove(t.Context(), gone)
	if err != nil || !slices.Equal(again, gone) {
		t.Errorf("removing what is gone answers %v, %v; want that it is gone", again, err)
	}
}

func testMove(t *testing.T, _ Config, s mail.Store) {
	m := open(t, s, "Suite")
	refs := deliver(t, m, 1, 5, mail.ParseFlags(`\Answered`))
	before := contents(t, m)
	to := open(t, s, "Suite/Target")
	moving := slices.SortedFunc(slices.Values(refs[:2]), mail.Ref.Compare)
	src, err := s.Select(t.Context(), "Suite")
	if err != nil {
		t.Fatalf("select: %v", err)
	}
	defer src.Close()
	moved, err := src.Move(t.Context(), moving, "Suite/Target")
	if err != nil || len(moved) != 2 {
		t.Fatalf("moved %v, %v; want 2", moved, err)
	}
	there := contents(t, to)
	for _, mv := range moved {
		if !mv.To.IsZero() && there[mv.To] != before[mv.From] {
			t.Errorf("%v arrived as %q, want %q", mv, there[mv.To], before[mv.From])
		}
	}
	for ref, msg := range listAll(t, to) {
		if !msg.Flags.Equal(mail.ParseFlags(`\Answered`)) {
			t.Errorf("%v arrived with [%v]", ref, msg.Flags)
		}
	}
	if left := listAll(t, src); len(left) != 2 || len(there) != 2 {
		t.Errorf("%d messages stayed and %d arrived, want 2 and 2", len(left), len(there))
	}
}

func testAbort(t *testing.T, _ Config, s mail.Store) {
	m := open(t, s, "Suite")
	deliver(t, m, 1, 3, mail.Flags{})
	b, _ := stage(t, m, 10, 13, mail.Flags{})
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	b.Abort()
	b.Abort()
	if n := len(listAll(t, m)); n != 2 {
		t.Errorf("after an abort %d messages are there, want 2", n)
	}
}

// testRecover leaves batches where a crash would, before and after Commit, and
// expects that every message is found, or can be sent again, once.
func testRecover(t *testing.T, _ Config, s mail.Store) {
	m := open(t, s, "Suite")
	early, waiting := stage(t, m, 30, 33, mail.Flags{})
	if err := early.Prepare(t.Context()); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	owned := deliver(t, m, 1, 3, mail.Flags{})
	late, done := stage(t, m, 1, 4, mail.Flags{}) // equal to the owned ones, and one more
	if err := late.Prepare(t.Context()); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	landed, err := late.Commit(t.Context(), done)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	again, err := s.Select(t.Context(), "Suite")
	if err != nil {
		t.Fatalf("select: %v", err)
	}
	defer again.Close()
	known := KnownMap{}
	for _, ref := range owned {
		known[ref] = mail.Flags{}
	}
	answers, err := again.Recover(t.Context(), append(slices.Clone(waiting), done...), known)
	if err != nil || len(answers) != 6 {
		t.Fatalf("recover answers %v, %v; want 6", answers, err)
	}
	there := contents(t, again)
	claimed := make(map[mail.Ref]bool)
	for i, a := range answers {
		want := sample([]int{30, 31, 32, 1, 2, 3}[i])
		switch {
		case a.Ref.IsZero() && i >= 3:
			t.Errorf("message %d was committed and is not found", i)
		case a.Ref.IsZero():
		case there[a.Ref] != want || claimed[a.Ref] || slices.Contains(owned, a.Ref):
			t.Errorf("message %d is said to be %v, which holds %q (claimed %v)", i, a.Ref, there[a.Ref], claimed[a.Ref])
		case i >= 3 && a.Ref != landed[i-3].Ref:
			t.Errorf("message %d landed as %v and is found as %v", i, landed[i-3].Ref, a.Ref)
		}
		claimed[a.Ref] = true
	}
	lost := 0
	for _, a := range answers[:3] {
		if a.Ref.IsZero() {
			lost++
		}
	}
	if want := 2 + 3 + 3 - lost; len(there) != want {
		t.Errorf("%d messages are there, want %d: none that nobody answers for", len(there), want)
	}
}

// testSubscriptions: what is subscribed to is told, and nothing else.
func testSubscriptions(t *testing.T, _ Config, s mail.Store) {
	sub := mail.SubscriberOf(s)
	if sub == nil {
		t.Skip("the store keeps no subscriptions")
	}
	names := []string{"Subs", "Subs/Ünter & Co", "Subs/two"}
	for _, name := range names {
		if err := s.Create(t.Context(), name, ""); err != nil {
			t.Fatalf("Create(%q): %v", name, err)
		}
	}
	for _, want := range []map[string]bool{
		{names[0]: false, names[1]: true, names[2]: true},
		{names[0]: true, names[1]: false, names[2]: true},
		{names[0]: true, names[1]: false, names[2]: true},
	} {
		refused, err := sub.Subscribe(t.Context(), want)
		if err != nil || len(refused) > 0 {
			t.Fatalf("Subscribe: %v, refused %v", err, refused)
		}
		got, err := sub.Subscribed(t.Context(), names)
		if err != nil {
			t.Fatalf("Subscribed: %v", err)
		}
		for name, on := range want {
			if got[name] != on {
				t.Errorf("%s: subscribed %v, want %v", name, got[name], on)
			}
		}
	}
}
