package storetest

import (
	"crypto/sha256"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"postbag/internal/mail"
)

// linker begins a batch that can link; a store that cannot skips the test.
func linker(t *testing.T, m mail.WritableMailbox) (mail.Batch, mail.Linker) {
	t.Helper()
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatalf("batch: %v", err)
	}
	l, ok := b.(mail.Linker)
	if !ok {
		b.Abort()
		t.Skip("the store cannot link")
	}
	return b, l
}

// sampleAt is the n-th message of the suite and where it is.
func sampleAt(m mail.Mailbox, n int, ref mail.Ref) (mail.Message, mail.Place) {
	body := []byte(sample(n))
	return mail.Message{Date: sampleDate(n), Size: int64(len(body)),
			ID: mail.Identity{MessageID: mail.MessageIDOf(body), Described: true, Digest: sha256.Sum256(body)}},
		mail.Place{Mailbox: m.Info().Name, Validity: m.Info().Validity, Ref: ref, Date: sampleDate(n)}
}

// testLinks links messages into another mailbox: they are messages of their own, with
// the content of the first and the flags that they were given. What cannot be linked
// is refused by itself, and an abort leaves nothing.
func testLinks(t *testing.T, _ Config, s mail.Store) {
	from, to := open(t, s, "Suite"), open(t, s, "Suite/Linked")
	refs := deliver(t, from, 1, 6, mail.ParseFlags(`\Seen`))
	deliver(t, to, 20, 22, mail.Flags{})
	b, l := linker(t, to)
	flags := mail.ParseFlags(`\Flagged`)
	var added []mail.Pending
	for i, ref := range refs {
		msg, at := sampleAt(from, i+1, ref)
		msg.Flags = to.Storable(flags)
		p, err := l.Link(t.Context(), msg, at)
		if err != nil {
			t.Fatalf("link %d: %v", i, err)
		}
		p.Message = msg
		added = append(added, p)
	}
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatalf("prepare: %v", err)
	}
	if n := len(listAll(t, to)); n != 2 {
		t.Errorf("before the commit %d messages are there, want 2", n)
	}
	landed, err := b.Commit(t.Context(), added)
	if err != nil || len(landed) != len(added) {
		t.Fatalf("commit: %+v, %v", landed, err)
	}
	to2, err := s.Select(t.Context(), "Suite/Linked")
	if err != nil {
		t.Fatalf("select: %v", err)
	}
	defer to2.Close()
	listed, bodies := listAll(t, to2), contents(t, to2)
	for i, one := range landed {
		if one.Ref.IsZero() || one.Err != nil || !added[i].Ref.IsZero() && added[i].Ref != one.Ref {
			t.Fatalf("message %d did not land: %+v, was to be %v", i+1, one, added[i].Ref)
		}
		got := listed[one.Ref]
		if bodies[one.Ref] != sample(i+1) || !got.Flags.Equal(to.Storable(flags)) || !got.Date.Equal(sampleDate(i+1)) {
			t.Errorf("message %d is %q with [%v] of %v", i+1, bodies[one.Ref], got.Flags, got.Date)
		}
	}
	if len(listed) != 7 {
		t.Errorf("%d messages are there, want 7", len(listed))
	}
	for ref, m := range listAll(t, from) {
		if !m.Flags.Equal(mail.ParseFlags(`\Seen`)) {
			t.Errorf("the first of the two, %v, has [%v] now", ref, m.Flags)
		}
	}
	// A crash before the answer was written down: they are found again.
	again, err := to2.Recover(t.Context(), added, KnownMap{})
	if err != nil {
		t.Fatalf("recover: %v", err)
	}
	for i, one := range again {
		if one.Ref != landed[i].Ref {
			t.Errorf("message %d landed as %v and is found as %v", i+1, landed[i].Ref, one.Ref)
		}
	}
	// Flags and deletions of one are not those of the other.
	if _, err := from.Remove(t.Context(), slices.SortedFunc(slices.Values(refs), mail.Ref.Compare)); err != nil {
		t.Fatalf("remove: %v", err)
	}
	if left := contents(t, to2); !maps.Equal(left, bodies) {
		t.Errorf("after the first ones were removed, the others are %v", left)
	}
}

// testLinksRefused links what is not there, or not what it is said to be. Each is
// refused by itself, and the date is kept or refused.
func testLinksRefused(t *testing.T, _ Config, s mail.Store) {
	from, to := open(t, s, "Suite"), open(t, s, "Suite/Linked")
	refs := deliver(t, from, 1, 5, mail.Flags{})
	if _, err := from.Remove(t.Context(), refs[3:]); err != nil {
		t.Fatalf("remove: %v", err)
	}
	b, l := linker(t, to)
	defer b.Abort()
	gone, at := sampleAt(from, 4, refs[3])
	void, void2 := sampleAt(from, 1, refs[0])
	void2.Validity += "9"
	none, nowhere := sampleAt(from, 1, refs[0])
	nowhere.Mailbox = "Suite/none"
	for what, one := range map[string]struct {
		m  mail.Message
		at mail.Place
	}{"gone": {gone, at}, "void": {void, void2}, "nowhere": {none, nowhere}} {
		_, err := l.Link(t.Context(), one.m, one.at)
		if err == nil { // a server is asked in Commit only
			other, l2 := linker(t, to)
			p, err := l2.Link(t.Context(), one.m, one.at)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			landed, err := other.Commit(t.Context(), []mail.Pending{p})
			if err != nil {
				t.Fatalf("%s: commit: %v", what, err)
			}
			if landed[0].Err == nil {
				t.Errorf("%s: landed as %v", what, landed[0].Ref)
			} else if landed[0].Err.Scope != mail.ScopeMessage {
				t.Errorf("%s: %v, want an error of this message", what, landed[0].Err)
			}
			continue
		}
		if e := mail.AsError(err); e.Scope != mail.ScopeMessage {
			t.Errorf("%s: %v, want an error of this message", what, err)
		}
	}
	later, at2 := sampleAt(from, 2, refs[1])
	later.Date = later.Date.Add(48 * time.Hour)
	p, err := l.Link(t.Context(), later, at2)
	want := 0
	if err == nil {
		want = 1
		if err := b.Prepare(t.Context()); err != nil {
			t.Fatalf("prepare: %v", err)
		}
		landed, err := b.Commit(t.Context(), []mail.Pending{p})
		if err != nil || landed[0].Ref.IsZero() {
			t.Fatalf("commit: %+v, %v", landed, err)
		}
	} else if mail.AsError(err).Scope != mail.ScopeMessage {
		t.Errorf("another date: %v", err)
	}
	all := listAll(t, to)
	if len(all) != want {
		t.Errorf("%d messages are there, want %d", len(all), want)
	}
	for _, m := range all {
		if !m.Date.Equal(later.Date) {
			t.Errorf("a message that was to have the date %v has %v", later.Date, m.Date)
		}
	}
	for _, m := range listAll(t, from) {
		if m.Ref == refs[1] && !m.Date.Equal(sampleDate(2)) {
			t.Errorf("the first of the two has the date %v now", m.Date)
		}
	}
	err = from.Fetch(t.Context(), refs[1:2], func(f mail.Fetched) error {
		body, err := io.ReadAll(f.Body)
		if string(body) != sample(2) {
			t.Errorf("the first of the two is %q now", body)
		}
		return err
	})
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
}
