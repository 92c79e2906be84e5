package sync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// The matrix of whole mailboxes. What happened on a side is a list of "create X",
// "rename X Y" and "delete X"; "put X 9" delivers message 9, "take X 9" removes it. A state is a list of
// mailboxes with the numbers of their messages.

const boxesBefore = "INBOX:0 Other:4 Work:1,2 Work/Sub:3"

func shownBoxes(st *storetest.Store) string {
	var parts []string
	for _, box := range st.Boxes() {
		var numbers []string
		for _, m := range st.Messages(box) {
			for n := range 20 {
				if string(m.Body) == text(n) {
					numbers = append(numbers, fmt.Sprint(n))
				}
			}
		}
		slices.Sort(numbers)
		parts = append(parts, box+":"+strings.Join(numbers, ","))
	}
	return strings.Join(parts, " ")
}

func happenToBoxes(t *testing.T, st *storetest.Store, what string) {
	t.Helper()
	if what == "" {
		return
	}
	for _, op := range strings.Split(what, ", ") {
		var verb, x, y string
		if n, _ := fmt.Sscan(op, &verb, &x, &y); n < 2 {
			t.Fatalf("%q is not known", op)
		}
		switch verb {
		case "create":
			st.AddBox(x)
		case "rename":
			st.RenameBox(x, y)
		case "delete":
			st.DropBox(x)
		case "put":
			var n int
			fmt.Sscan(y, &n)
			st.Put(x, mail.Flags{}, day, text(n))
		case "take":
			var n int
			fmt.Sscan(y, &n)
			for _, m := range st.Messages(x) {
				if string(m.Body) == text(n) {
					st.Del(x, m.Ref)
				}
			}
		default:
			t.Fatalf("%q is not known", op)
		}
	}
}

// boxCell is one row: what happened on both sides, and what both hold afterwards;
// wantB when that is something else on B. Nothing but do is told to them.
type boxCell struct {
	id, a, b, want, wantB, do string
}

// With mailboxes that keep an identity through a rename. But INBOX is always INBOX:
// a server that renames it moves its mail away and goes on with an empty one, which
// is numbered anew (RFC 9051, 6.3.6): nothing is taken away for that.
var boxMatrix = []boxCell{
	{"B-01 created in the Maildir", "", "create New", "INBOX:0 New: Other:4 Work:1,2 Work/Sub:3", "", "A create"},
	{"B-02 created on the server", "create New", "", "INBOX:0 New: Other:4 Work:1,2 Work/Sub:3", "", "B create"},
	{"B-02 with mail", "create New, put New 9", "", "INBOX:0 New:9 Other:4 Work:1,2 Work/Sub:3", "", "B create, B new"},
	{"B-03 created on both", "create New, put New 9", "create New, put New 9, put New 8", "INBOX:0 New:8,9 Other:4 Work:1,2 Work/Sub:3", "", "A new"},
	{"B-08 renamed on the server", "rename Other New", "", "INBOX:0 New:4 Work:1,2 Work/Sub:3", "", "B rename"},
	{"B-09 renamed in the Maildir", "", "rename Other New", "INBOX:0 New:4 Work:1,2 Work/Sub:3", "", "A rename"},
	{"B-10 renamed on both alike", "rename Other New", "rename Other New", "INBOX:0 New:4 Work:1,2 Work/Sub:3", "", ""},
	{"B-10 renamed on both apart", "rename Other New", "rename Other Else", "INBOX:0 New:4 Work:1,2 Work/Sub:3", "", "B rename"},
	{"B-14 renamed with what is below", "rename Work New", "", "INBOX:0 New:1,2 New/Sub:3 Other:4", "", "B rename"},
	{"B-14 renamed in the Maildir with what is below", "", "rename Work New", "INBOX:0 New:1,2 New/Sub:3 Other:4", "", "A rename"},
	{"B-14 only what is below is renamed", "rename Work/Sub Work/New", "", "INBOX:0 Other:4 Work:1,2 Work/New:3", "", "B rename"},
	{"renamed, and below another", "rename Other Work/Other", "", "INBOX:0 Work:1,2 Work/Other:4 Work/Sub:3", "", "B rename"},
	{"renamed, and new mail in both", "rename Other New, put New 8", "put Other 9", "INBOX:0 New:4,8,9 Work:1,2 Work/Sub:3", "", "A new, B new, B rename"},
	{"names that differ in case", "create work, put work 9", "", "INBOX:0 Other:4 Work:1,2 Work/Sub:3 work:9", "", "B create, B new"},
	{"renamed to another case", "rename Other other", "", "INBOX:0 Work:1,2 Work/Sub:3 other:4", "", "B rename"},
	{"a slash in a name", "create a%2Fb, put a%2Fb 9", "", "INBOX:0 Other:4 Work:1,2 Work/Sub:3 a%2Fb:9", "", "B create, B new"},
	{"a slash in a new name", "", "rename Other a%2Fb", "INBOX:0 Work:1,2 Work/Sub:3 a%2Fb:4", "", "A rename"},
	{"renamed, and another in its place", "rename Other New, create Other, put Other 9", "", "INBOX:0 New:4 Other:9 Work:1,2 Work/Sub:3", "", "B create, B new, B rename"},
	{"B-15 what was in INBOX is renamed away", "rename INBOX old, create INBOX", "", "INBOX:0 Other:4 Work:1,2 Work/Sub:3 old:0", "", "A new, B create, B new"},
}

func syncedBoxes(t *testing.T, ids bool) *world {
	t.Helper()
	w := newWorld()
	w.store[0].ObjectIDs, w.store[1].ObjectIDs = ids, ids
	for i, box := range []string{"INBOX", "Work", "Work", "Work/Sub", "Other"} {
		w.store[0].AddBox(box)
		w.store[0].Put(box, mail.Flags{}, day, text(i))
	}
	w.mustRun(t, sync.TwoWay(), nil)
	w.mustRun(t, sync.TwoWay(), nil)
	return w.clone(-1)
}

func TestMailboxMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range boxMatrix {
		for _, p := range []sync.Policy{sync.TwoWay(), deleting()} {
			t.Run(fmt.Sprintf("%s/deletions followed %v", c.id, p.May[0].DeleteMailboxes), func(t *testing.T) {
				t.Parallel()
				w := syncedBoxes(t, true)
				happenToBoxes(t, w.store[0], c.a)
				happenToBoxes(t, w.store[1], c.b)
				before := w.clone(-1)
				w.mustRun(t, p, nil)
				for s, st := range w.store {
					want := c.want
					if s == 1 && c.wantB != "" {
						want = c.wantB
					}
					if got := shownBoxes(st); got != want {
						t.Errorf("side %v holds %q, want %q", state.Side(s), got, want)
					}
				}
				if got := done(w); got != c.do {
					t.Errorf("the run does %q, want %q", got, c.do)
				}
				w.checkQuiet(t, p)
				crashEverywhere(t, before, p, w, true)
			})
		}
	}
}

// Deletions: want is what both sides hold when the policy does not follow them
// (kept: what the other side keeps), followed when it does.
func TestMailboxDeletionMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ id, here, there, wantHere, wantThere, followed string }{
		{"B-04, B-05 deleted", "delete Other", "", "INBOX:0 Work:1,2 Work/Sub:3", boxesBefore, "INBOX:0 Work:1,2 Work/Sub:3"},
		{"B-06 deleted, new mail in it", "delete Other", "put Other 9", "INBOX:0 Other:9 Work:1,2 Work/Sub:3", "INBOX:0 Other:4,9 Work:1,2 Work/Sub:3", ""},
		{"deleted on both", "delete Other", "delete Other", "INBOX:0 Work:1,2 Work/Sub:3", "INBOX:0 Work:1,2 Work/Sub:3", "INBOX:0 Work:1,2 Work/Sub:3"},
		{"B-11 deleted, renamed there", "delete Other", "rename Other New", "INBOX:0 New:4 Work:1,2 Work/Sub:3", "INBOX:0 New:4 Work:1,2 Work/Sub:3", "INBOX:0 New:4 Work:1,2 Work/Sub:3"},
		{"B-12 deleted and made again", "delete Other, create Other", "", boxesBefore, boxesBefore, boxesBefore},
		{"B-12 with other mail in it", "delete Other, create Other, put Other 9", "", "INBOX:0 Other:4,9 Work:1,2 Work/Sub:3", "INBOX:0 Other:4,9 Work:1,2 Work/Sub:3", "INBOX:0 Other:4,9 Work:1,2 Work/Sub:3"},
		{"B-14 deleted, what is below stays", "delete Work", "", "INBOX:0 Other:4 Work/Sub:3", boxesBefore, "INBOX:0 Other:4 Work/Sub:3"},
		{"B-15 INBOX is never deleted", "delete INBOX", "", "Other:4 Work:1,2 Work/Sub:3", boxesBefore, ""},
	} {
		for _, s := range []state.Side{state.A, state.B} {
			for _, p := range []sync.Policy{sync.TwoWay(), deleting()} {
				t.Run(fmt.Sprintf("%s/on %v/followed %v", c.id, s, p.May[0].DeleteMailboxes), func(t *testing.T) {
					t.Parallel()
					w := syncedBoxes(t, true)
					happenToBoxes(t, w.store[s], c.here)
					happenToBoxes(t, w.store[s.Other()], c.there)
					before := w.clone(-1)
					w.mustRun(t, p, nil)
					here, there := c.wantHere, c.wantThere
					if p.May[0].DeleteMailboxes && c.followed != "" {
						here, there = c.followed, c.followed
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
}

// Without an identity a renamed mailbox is known by the numbers of its messages;
// one that cannot be known is new, and the old one is kept.
func TestMailboxMatrixWithoutIdentity(t *testing.T) {
	t.Parallel()
	for _, c := range boxMatrix {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			w := syncedBoxes(t, false)
			happenToBoxes(t, w.store[0], c.a)
			happenToBoxes(t, w.store[1], c.b)
			before := w.clone(-1)
			w.mustRun(t, deleting(), nil)
			for s, st := range w.store {
				if got := shownBoxes(st); got != c.want {
					t.Errorf("side %v holds %q, want %q", state.Side(s), got, c.want)
				}
			}
			w.checkQuiet(t, deleting())
			crashEverywhere(t, before, deleting(), w, true)
		})
	}
}

// Whether a mailbox is one on record under a new name is asked again where the
// connection breaks; what could not be asked is no answer.
func TestRenameIsAskedAgain(t *testing.T) {
	t.Parallel()
	for failures, renamed := range map[int]bool{2: true, 100: false} {
		w := twoBoxes(t, sync.TwoWay())
		w.store[0].RenameBox("Work", "Job")
		n := failures
		rep, err := w.run(sync.TwoWay(), func(o *sync.Options) { o.A = flaky{w.store[0], &n} })
		if renamed != (err == nil && rep.Outcome == sync.Done) {
			t.Errorf("after %d failures: %v, %+v", failures, err, rep)
		}
		if w.has(state.B, "Job") != renamed || w.has(state.B, "Work") == renamed {
			t.Errorf("after %d failures side B has %q", failures, w.store[1].Boxes())
		}
		w.mustRun(t, sync.TwoWay(), nil)
		if !w.has(state.B, "Job") || w.has(state.B, "Work") {
			t.Errorf("after %d failures and another run side B has %q", failures, w.store[1].Boxes())
		}
	}
}
