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

// Somebody renames a mailbox of a backup; then one of that name comes up on the
// server. Each of the two has its own mailbox in the copy, under its name on the server.
func TestNewMailboxOfTheNameThatACopyWasGiven(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].ObjectIDs, w.store[1].ObjectIDs = true, true
	w.store[0].AddBox("Work")
	w.store[0].Put("Work", mail.Flags{}, day, text(1))
	w.mustRun(t, sync.Backup(), nil)
	w.store[1].RenameBox("Work", "Old")
	w.mustRun(t, sync.Backup(), nil)
	w.store[0].AddBox("Old")
	w.store[0].Put("Old", mail.Flags{}, day, text(2))
	before := w.clone(-1)
	w.mustRun(t, sync.Backup(), nil)
	if a, b := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(a, b) {
		t.Errorf("the server holds %v, the copy %v", a, b)
	}
	w.checkQuiet(t, sync.Backup())
	crashEverywhere(t, before, sync.Backup(), w, true)

	// Where that name is not free, the new mailbox is left out, and the run says so.
	w = before.clone(-1)
	w.store[1].AddBox("Work")
	rep, err := w.run(sync.Backup(), nil)
	if err != nil || rep.Outcome != sync.Partial || len(rep.Problems) != 1 || rep.Problems[0].Mailbox != "Old" {
		t.Errorf("the run ends with %v, %s, %+v", err, rep.Outcome, rep.Problems)
	}
	if n := len(w.store[1].Messages("Old")); n != 1 {
		t.Errorf("the renamed copy holds %d messages, want its own one", n)
	}
}
