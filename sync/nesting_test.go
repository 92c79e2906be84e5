package sync_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
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

// The matrix of nested mailboxes, in the words of boxMatrix: what happened here and
// there, and what both sides hold afterwards when deletions of mailboxes are followed.
// Before it is INBOX:0 Other:4 Work:1,2 Work/Sub:3 Work/Sub/Deep:5 on both.
// keptHere and keptThere are what a side holds when they are not, where that differs.
type nestedCell struct {
	id, here, there, want, keptHere, keptThere string
	// oneWay: both sides want something for one mailbox. Then here is the server,
	// whose way wins.
	oneWay bool
}

var nestedMatrix = []nestedCell{
	{id: "parent renamed, child deleted before", here: "delete Work/Sub/Deep, rename Work New",
		want: "INBOX:0 New:1,2 New/Sub:3 Other:4", keptThere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4"},
	{id: "parent renamed, child deleted after", here: "rename Work New, delete New/Sub",
		want: "INBOX:0 New:1,2 New/Sub/Deep:5 Other:4", keptThere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4"},
	{id: "parent renamed, child deleted on both", here: "delete Work/Sub/Deep, rename Work New", there: "delete Work/Sub/Deep",
		want: "INBOX:0 New:1,2 New/Sub:3 Other:4"},
	{id: "parent renamed, child deleted there", here: "rename Work New", there: "delete Work/Sub/Deep",
		want: "INBOX:0 New:1,2 New/Sub:3 Other:4", keptHere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4"},
	{id: "parent renamed, all below deleted there", here: "rename Work New", there: "delete Work/Sub/Deep, delete Work/Sub",
		want: "INBOX:0 New:1,2 Other:4", keptHere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4"},
	{id: "parent renamed, child deleted, with new mail there", here: "rename Work New, delete New/Sub/Deep", there: "put Work/Sub/Deep 9",
		want: "", keptHere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:9 Other:4", keptThere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5,9 Other:4"},
	{id: "parent renamed, with new mail in the child, deleted there", here: "rename Work New, put New/Sub/Deep 9", there: "delete Work/Sub/Deep",
		keptHere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5,9 Other:4", keptThere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:9 Other:4"},
	{id: "parent renamed, child deleted and made again", here: "rename Work New, delete New/Sub/Deep, create New/Sub/Deep, put New/Sub/Deep 9",
		want: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5,9 Other:4"},
	{id: "parent renamed, child renamed there", here: "rename Work New", there: "rename Work/Sub/Deep Work/Sub/Low",
		want: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Low:5 Other:4"},
	{id: "parent renamed, child moved out there", here: "rename Work New", there: "rename Work/Sub Out",
		want: "INBOX:0 New:1,2 Other:4 Out:3 Out/Deep:5"},
	{id: "parent renamed, another moved into it there", here: "rename Work New", there: "rename Other Work/Other",
		want: "INBOX:0 New:1,2 New/Other:4 New/Sub:3 New/Sub/Deep:5"},
	{id: "parent renamed, child changed there", here: "rename Work New", there: "put Work/Sub 9, take Work/Sub 3",
		want: "INBOX:0 New:1,2 New/Sub:9 New/Sub/Deep:5 Other:4"},
	{id: "parent renamed, child made there", here: "rename Work New", there: "create Work/More, put Work/More 9",
		want: "INBOX:0 New:1,2 New/More:9 New/Sub:3 New/Sub/Deep:5 Other:4"},
	{id: "parent renamed, child moved elsewhere below it there", here: "rename Work New", there: "rename Work/Sub/Deep Work/Deep",
		want: "INBOX:0 New:1,2 New/Deep:5 New/Sub:3 Other:4"},
	{id: "parent renamed, child moved out on both", here: "rename Work New, rename New/Sub Out", there: "rename Work/Sub/Deep Work/Sub/Low",
		want: "INBOX:0 New:1,2 Other:4 Out:3 Out/Low:5"},
	{id: "parent renamed, child renamed on both apart", here: "rename Work New, rename New/Sub New/X", there: "rename Work/Sub Work/Y",
		want: "INBOX:0 New:1,2 New/X:3 New/X/Deep:5 Other:4", oneWay: true},
	{id: "every level renamed, in turns", here: "rename Work/Sub Work/Low", there: "rename Work/Sub/Deep Work/Sub/Bottom, rename Work New",
		want: "INBOX:0 New:1,2 New/Low:3 New/Low/Bottom:5 Other:4"},
	{id: "parent renamed on both apart, child renamed there", here: "rename Work New", there: "rename Work Else, rename Else/Sub Else/Low",
		want: "INBOX:0 New:1,2 New/Low:3 New/Low/Deep:5 Other:4", oneWay: true},
	{id: "parent renamed on both apart, child deleted there", here: "rename Work New", there: "rename Work Else, delete Else/Sub/Deep",
		want: "INBOX:0 New:1,2 New/Sub:3 Other:4", keptHere: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4", oneWay: true},
	{id: "parent renamed, and deleted there", here: "rename Work New", there: "delete Work",
		want: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4"},
	{id: "parent renamed, all of it deleted there", here: "rename Work New", there: "delete Work/Sub/Deep, delete Work/Sub, delete Work",
		want: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4"},
	{id: "child renamed out, parent deleted", here: "rename Work/Sub Out, delete Work",
		want: "INBOX:0 Other:4 Out:3 Out/Deep:5", keptThere: "INBOX:0 Other:4 Out:3 Out/Deep:5 Work:1,2"},
	{id: "child renamed out, parent deleted there", here: "rename Work/Sub Out", there: "delete Work",
		want: "INBOX:0 Other:4 Out:3 Out/Deep:5", keptHere: "INBOX:0 Other:4 Out:3 Out/Deep:5 Work:1,2"},
	{id: "child renamed out, all of it deleted there", here: "rename Work/Sub/Deep Out", there: "delete Work/Sub/Deep, delete Work/Sub, delete Work",
		want: "INBOX:0 Other:4 Out:5", keptHere: "INBOX:0 Other:4 Out:5 Work:1,2 Work/Sub:3"},
	{id: "renamed, and another in its place", here: "rename Work New, create Work, put Work 9",
		want: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4 Work:9"},
	{id: "renamed, and others in their places", here: "rename Work New, create Work, create Work/Sub, put Work/Sub 9",
		want: "INBOX:0 New:1,2 New/Sub:3 New/Sub/Deep:5 Other:4 Work: Work/Sub:9"},
	{id: "renamed, another in its place, and the child back in it", here: "rename Work New, create Work, rename New/Sub Work/Sub",
		want: "INBOX:0 New:1,2 Other:4 Work: Work/Sub:3 Work/Sub/Deep:5"},
	{id: "into a former child", here: "rename Work/Sub Sub, rename Other Work/Sub",
		want: "INBOX:0 Sub:3 Sub/Deep:5 Work:1,2 Work/Sub:4"},
	{id: "into a deleted child", here: "delete Work/Sub/Deep, rename Other Work/Sub/Deep",
		want: "INBOX:0 Work:1,2 Work/Sub:3 Work/Sub/Deep:4", keptThere: "INBOX:0 Work:1,2 Work/Sub:3 Work/Sub/Deep:4 Work/Sub/Deep (deleted):5"},
	{id: "into a deleted one", here: "delete Other, rename Work Other",
		want: "INBOX:0 Other:1,2 Other/Sub:3 Other/Sub/Deep:5", keptThere: "INBOX:0 Other:1,2 Other (deleted):4 Other/Sub:3 Other/Sub/Deep:5"},
	{id: "into one deleted there", here: "rename Work/Sub New", there: "delete Other, rename Work Other",
		want: "INBOX:0 New:3 New/Deep:5 Other:1,2", keptHere: "INBOX:0 New:3 New/Deep:5 Other:1,2 Other (deleted):4"},
	{id: "child and parent in each other's place", here: "rename Work/Sub Sub, rename Work Sub/Work",
		want: "INBOX:0 Other:4 Sub:3 Sub/Deep:5 Sub/Work:1,2"},
	{id: "swapped", here: "rename Other T, rename Work Other, rename T Work",
		want: "INBOX:0 Other:1,2 Other/Sub:3 Other/Sub/Deep:5 Work:4"},
	{id: "swapped with one below another", here: "rename Other T, rename Work/Sub/Deep Other, rename T Work/Sub/Deep",
		want: "INBOX:0 Other:5 Work:1,2 Work/Sub:3 Work/Sub/Deep:4"},
	{id: "swapped with its child", here: "rename Work/Sub/Deep T, rename Work/Sub T/Deep, rename T Work/Sub",
		want: "INBOX:0 Other:4 Work:1,2 Work/Sub:5 Work/Sub/Deep:3"},
	{id: "below what is new in its place", here: "rename Other T, create Other, rename T Other/Old",
		want: "INBOX:0 Other: Other/Old:4 Work:1,2 Work/Sub:3 Work/Sub/Deep:5"},
	{id: "to a name that is new there", here: "rename Work New", there: "create New, put New 9",
		want: "INBOX:0 New:9 Other:4 Work:1,2 Work/Sub:3 Work/Sub/Deep:5"},
	{id: "over one that is new there", here: "rename Work New", there: "create New/Sub, put New/Sub 9",
		want: "INBOX:0 New/Sub:9 Other:4 Work:1,2 Work/Sub:3 Work/Sub/Deep:5"},
	{id: "two to one name", here: "rename Other New", there: "rename Work New",
		want: "INBOX:0 New:4 Work:1,2 Work/Sub:3 Work/Sub/Deep:5", oneWay: true},
	{id: "over the place of a deleted one, and elsewhere", here: "delete Work, rename Other Work/Else", there: "delete Work, rename Other Work",
		want: "INBOX:0 Work/Else:4 Work/Sub:3 Work/Sub/Deep:5", oneWay: true},
	{id: "over the place of one with a deleted child, and elsewhere", here: "rename Other Out, put Work/Sub/Deep 9",
		there:    "delete Work/Sub/Deep, rename Work/Sub Low, rename Other Work/Sub",
		keptHere: "INBOX:0 Low:3 Low/Deep:5,9 Out:4 Work:1,2", keptThere: "INBOX:0 Low:3 Low/Deep:9 Out:4 Work:1,2", oneWay: true},
	{id: "into a deleted one with a deleted child, with new mail in both there", here: "delete Work/Sub, delete Work, rename Other Work",
		there:    "put Work 8, put Work/Sub 9",
		keptHere: "INBOX:0 Work:4 Work (deleted):8 Work (deleted)/Sub:9 Work/Sub/Deep:5", keptThere: "INBOX:0 Work:4 Work (deleted):1,2,8 Work (deleted)/Sub:3,9 Work/Sub/Deep:5"},
	{id: "deleted on both and made anew, while another gets its name there", here: "delete Work/Sub, create Work/Sub, put Work/Sub 9",
		there: "delete Work/Sub, rename Work/Sub/Deep Work/Sub, rename Other Else",
		want:  "Else:4 INBOX:0 Work:1,2 Work/Sub:5 Work/Sub (deleted):9", oneWay: true},
	{id: "to a name that is new there, while another is renamed", here: "create New, put New 9, rename Work/Sub/Deep Low", there: "rename Other New",
		want: "INBOX:0 Low:5 New:9 Other:4 Work:1,2 Work/Sub:3"},
	{id: "to a name above its own that is new there", here: "rename Other New/Other, create New, put New 9, rename Work/Sub/Deep Low", there: "rename Other New",
		want: "INBOX:0 Low:5 New:9 New/Other:4 Work:1,2 Work/Sub:3", oneWay: true},
	{id: "three in a circle", here: "rename Other T, rename Work/Sub/Deep Other, rename Work/Sub Work/Deep, rename T Work/Sub",
		want: "INBOX:0 Other:5 Work:1,2 Work/Deep:3 Work/Sub:4"},
}

func nestedBoxes(t *testing.T, ids bool) *world {
	t.Helper()
	w := newWorld()
	w.store[0].ObjectIDs, w.store[1].ObjectIDs = ids, ids
	for i, box := range []string{"INBOX", "Work", "Work", "Work/Sub", "Other", "Work/Sub/Deep"} {
		w.store[0].AddBox(box)
		w.store[0].Put(box, mail.Flags{}, day, text(i))
	}
	w.mustRun(t, sync.TwoWay(), nil)
	w.mustRun(t, sync.TwoWay(), nil)
	return w.clone(-1)
}

// Each line holds on either side, whether deletions are followed or not, with an
// identity of mailboxes and with the numbers of their messages alone.
func TestNestedMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range nestedMatrix {
		for n := range 8 {
			s, p, ids := state.Side(n&1), sync.TwoWay(), n&4 == 0
			if n&2 != 0 {
				p = deleting()
			}
			if c.oneWay && s == state.B {
				continue
			}
			t.Run(fmt.Sprintf("%s/on %v/followed %v/ids %v", c.id, s, p.May[0].DeleteMailboxes, ids), func(t *testing.T) {
				t.Parallel()
				w := nestedBoxes(t, ids)
				happenToBoxes(t, w.store[s], c.here)
				happenToBoxes(t, w.store[s.Other()], c.there)
				before := w.clone(-1)
				w.mustRun(t, p, nil)
				here, there := cmp.Or(c.keptHere, c.want), cmp.Or(c.keptThere, c.want)
				if p.May[0].DeleteMailboxes && c.want != "" {
					here, there = c.want, c.want
				}
				if got := shownBoxes(w.store[s]); got != here {
					t.Errorf("the side where it happened holds %q, want %q", got, here)
				}
				if got := shownBoxes(w.store[s.Other()]); got != there {
					t.Errorf("the other side holds %q, want %q", got, there)
				}
				w.checkQuiet(t, p)
				crashEverywhere(t, before, p, w, true)
			})
		}
	}
}

// refusesRenames is a store that renames no mailbox.
type refusesRenames struct{ mail.Store }

func (refusesRenames) Rename(_ context.Context, from, _ string) error {
	return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindRefused, Op: "rename", Mailbox: from, Err: errors.New("no")}
}

// A mailbox that cannot be put aside keeps its name to itself: what is to be made under
// that waits, and the run says so.
func TestTwoMailboxesAreNeverOne(t *testing.T) {
	t.Parallel()
	w := nestedBoxes(t, true)
	happenToBoxes(t, w.store[0], "delete Other, rename Work Other")
	happenToBoxes(t, w.store[1], "delete Work")
	rep, err := w.run(sync.TwoWay(), func(o *sync.Options) { o.B = refusesRenames{w.store[1]} })
	if err != nil || rep.Outcome != sync.Partial {
		t.Errorf("the run ends with %v, %s", err, rep.Outcome)
	}
	if got := w.store[1].Messages("Other"); len(got) != 1 || string(got[0].Body) != text(4) {
		t.Errorf("the mailbox that could not be put aside holds %d messages, want its own", len(got))
	}
	w.mustRun(t, sync.TwoWay(), nil)
	w.checkQuiet(t, sync.TwoWay())
	if got := len(w.store[1].Messages("Other")); got != 2 {
		t.Errorf("in the end the mailbox that lives on holds %d messages, want 2", got)
	}
}
