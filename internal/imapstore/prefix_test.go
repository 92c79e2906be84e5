package imapstore

import (
	"maps"
	"slices"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// The old face of Courier and Cyrus: everything below INBOX, with dots.
func TestDovecotWithPrefix(t *testing.T) {
	t.Parallel()
	d := imaptest.StartDovecot(t, imaptest.DovecotOptions{Delimiter: ".", Prefix: "INBOX."})
	a := newAccount(t, d, nil)
	ctx := t.Context()
	for _, name := range []string{"Work/a", "Sent", "INBOX/x"} {
		if err := a.store.Create(ctx, name, ""); err != nil {
			t.Errorf("create %q: %v", name, err)
		}
	}
	if err := a.store.Create(ctx, "a.b", ""); err == nil || mail.AsError(err).Kind != mail.KindUsage {
		t.Errorf("got %v for a name with the delimiter in it", err)
	}
	all := a.list()
	var names []string
	for name, info := range all {
		if !info.NoSelect {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if want := []string{"INBOX", "INBOX/x", "Sent", "Work/a"}; !slices.Equal(names, want) {
		t.Errorf("got %q (of %v), want %q", names, slices.Sorted(maps.Keys(all)), want)
	}
	if all["Sent"].Use != mail.UseSent {
		t.Errorf("got role %q for Sent", all["Sent"].Use)
	}
	a.put("INBOX.Work.a", "", message(1))
	for name, want := range map[string]int{"Work/a": 1, "INBOX/x": 0, "INBOX": 0} {
		m, err := a.store.Examine(ctx, name)
		if err != nil || m.Info().Messages != want {
			t.Errorf("%q: got %+v, %v, want %d messages", name, m, err, want)
		}
	}
	m := a.selectMailbox("Work/a")
	if moved, err := m.Move(ctx, refsOf(1), "INBOX/x"); err != nil || len(moved) != 1 {
		t.Errorf("move: %v, %v", moved, err)
	}
	if err := a.store.Rename(ctx, "Work/a", "Play/b"); err != nil {
		t.Errorf("rename: %v", err)
	}
	if err := a.store.Delete(ctx, "INBOX/x"); err != nil {
		t.Errorf("delete: %v", err)
	}
	all = a.list()
	if _, ok := all["Play/b"]; !ok {
		t.Errorf("got %v after a rename", slices.Sorted(maps.Keys(all)))
	}
	if _, ok := all["INBOX/x"]; ok {
		t.Error("INBOX/x is still there")
	}
}
