package maildir

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
)

func trashIDs(t testing.TB, s *Store) (ids []string) {
	t.Helper()
	list, err := s.Trash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

// Two messages that had the same name one after the other both come back.
func TestPutBackOfOneKeyTwice(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "Box")
	for _, body := range []string{"first", "second", "third"} {
		put(t, body, boxPath(s, "Box", "cur", "same:2,S"))
		settle()
		if body == "third" {
			break // and this one is still there
		}
		if gone, err := m.Remove(t.Context(), []mail.Ref{{Key: "same"}}); err != nil || len(gone) != 1 {
			t.Fatalf("Remove gives %v, %v", gone, err)
		}
	}
	ids := trashIDs(t, s)
	if back, err := s.PutBack(t.Context(), ids); err != nil || len(back) != 2 {
		t.Fatalf("PutBack gives %q, %v", back, err)
	}
	got := contents(t, m)
	if bodies := slices.Sorted(maps.Values(got)); len(got) != 3 || !slices.Equal(bodies, []string{"first", "second", "third"}) || got["same"] != "third" {
		t.Errorf("the mailbox holds %q", got)
	}
	if back, err := s.PutBack(t.Context(), ids); err != nil || len(back) != 0 {
		t.Errorf("once more, PutBack gives %q, %v", back, err)
	}
}

// A mailbox that was emptied and then deleted comes back in one call, and stays in
// the area when there is another one of its name.
func TestPutBackOfAMailboxWithItsMessages(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "A/B")
	keys := deliver(t, m, outgoing{body: "one", flags: "Word"}, outgoing{body: "two", flags: "Other Word"}, outgoing{body: "three"})
	if gone, err := m.Remove(t.Context(), []mail.Ref{{Key: keys[0]}, {Key: keys[1]}}); err != nil || len(gone) != 2 {
		t.Fatalf("Remove gives %v, %v", gone, err)
	}
	if err := s.Delete(t.Context(), "A/B"); err != nil {
		t.Fatal(err)
	}
	if back, err := s.PutBack(t.Context(), trashIDs(t, s)); err != nil || len(back) != 3 {
		t.Fatalf("PutBack gives %q, %v", back, err)
	}
	again := selected(t, s, "A/B")
	if got := contents(t, again); len(got) != 3 || got[keys[1]] != "two" {
		t.Errorf("the mailbox holds %q", got)
	}
	for _, msg := range changes(t, again, "", rows{}).New {
		if msg.Ref.Key == keys[1] && msg.Flags.String() != "Other Word" {
			t.Errorf("it came back with %s", msg.Flags)
		}
	}
	if err := s.Delete(t.Context(), "A/B"); err != nil {
		t.Fatal(err)
	}
	selected(t, s, "A/B")
	if back, err := s.PutBack(t.Context(), trashIDs(t, s)); err != nil || len(back) != 0 {
		t.Errorf("beside another one, PutBack gives %q, %v", back, err)
	}
	if ids := trashIDs(t, s); len(ids) != 1 {
		t.Errorf("in the area there are %q", ids)
	}
}

// After a loss of power at any point of putting back, each message is in the area
// or in its mailbox, and once more ends it.
func TestPowerLossWhilePuttingBack(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		s := newScene(t, false)
		m := selected(t, s.store, "Box")
		keys := slices.SortedFunc(maps.Keys(s.wire), func(a, b string) int { return -strings.Compare(s.wire[a], s.wire[b]) })
		removed := []mail.Ref{{Key: keys[0]}} // in new/ one stays, and in cur/
		if !whole {
			removed = append(removed, mail.Ref{Key: keys[1]}, mail.Ref{Key: keys[2]})
		}
		if gone, err := m.Remove(t.Context(), removed); err != nil || len(gone) != len(removed) {
			t.Fatalf("Remove gives %v, %v", gone, err)
		}
		if whole {
			if err := s.store.Delete(t.Context(), "Box"); err != nil {
				t.Fatal(err)
			}
		}
		s.base = s.fs.clone()
		s.fs.log = nil
		if back, err := s.store.PutBack(t.Context(), trashIDs(t, s.store)); err != nil || len(back) == 0 {
			t.Fatalf("PutBack gives %q, %v", back, err)
		}
		states := 0
		for end := 0; end <= len(s.fs.log); end++ {
			sure := durable(s.fs.log, end)
			for one := -2; one < end; one++ {
				for _, only := range []bool{false, true} {
					f := s.fs.crashed(s.base, func(i int) bool { return sure[i] || (i == one) == only }, end)
					s.checkBack(t, f, fmt.Sprintf("whole %v, after %d changes, %d kept %v", whole, end, one, only))
					states++
				}
			}
		}
		t.Logf("whole %v: %d changes, %d states", whole, len(s.fs.log), states)
	}
}

// checkBack puts back, after a crash, what is still in the area, and looks for all
// messages in the mailbox.
func (s *scene) checkBack(t *testing.T, f *memFS, what string) {
	t.Helper()
	if where, bad := s.seen(f); len(where) != len(s.wire) || bad != nil {
		t.Fatalf("%s: got %v, %q, want all of %d messages", what, where, bad, len(s.wire))
	}
	store := s.open(t, f, false)
	if _, err := store.PutBack(t.Context(), trashIDs(t, store)); err != nil {
		t.Fatalf("%s: PutBack: %v", what, err)
	}
	m, err := store.Examine(t.Context(), "Box")
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer m.Close()
	if got := contents(t, m); !maps.Equal(got, s.wire) {
		t.Fatalf("%s: the mailbox holds %q, want %q", what, got, s.wire)
	}
}
