package sync_test

import (
	"slices"
	"testing"

	"postbag/internal/mail"
	"postbag/sync"
)

// nested is a synced world with the mailboxes P and W, one message in each, whose
// stores know mailboxes again under new names.
func nested(t *testing.T) *world {
	t.Helper()
	w := newWorld()
	w.store[0].ObjectIDs, w.store[1].ObjectIDs = true, true
	for i, box := range []string{"INBOX", "P", "W"} {
		w.store[0].AddBox(box)
		w.store[0].Put(box, mail.Flags{}, day, text(i))
	}
	w.mustRun(t, sync.TwoWay(), nil)
	return w
}

// Somebody tidies up: a mailbox gets a new name, and another goes below it.
func TestRenameBelowARenamedMailbox(t *testing.T) {
	t.Parallel()
	for s := range 2 {
		w := nested(t)
		w.store[s].RenameBox("W", "New")
		w.store[s].RenameBox("P", "New/Below")
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		want := []string{"INBOX", "New", "New/Below"}
		for o, st := range w.store {
			if got := st.Boxes(); !slices.Equal(got, want) {
				t.Errorf("renamed on side %d, side %d has %q, want %q", s, o, got, want)
			}
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}

// Each side moves one mailbox below the other's. The server's way wins, and that
// is the end of it.
func TestMailboxesMovedBelowEachOther(t *testing.T) {
	t.Parallel()
	w := nested(t)
	w.store[0].RenameBox("P", "W/X")
	w.store[1].RenameBox("W", "P/Y")
	before := w.clone(-1)
	w.mustRun(t, sync.TwoWay(), nil)
	want := []string{"INBOX", "W", "W/X"}
	for o, st := range w.store {
		if got := st.Boxes(); !slices.Equal(got, want) {
			t.Errorf("side %d has %q, want %q", o, got, want)
		}
	}
	w.checkQuiet(t, sync.TwoWay())
	crashEverywhere(t, before, sync.TwoWay(), w, true)
}
