package sync_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// deleting is a two-way sync that follows the deletion of mailboxes, too.
func deleting() sync.Policy {
	p := sync.TwoWay()
	for s := range p.May {
		p.May[s].DeleteMailboxes = true
	}
	return p
}

// twoBoxes is a synced world with three messages in each of two mailboxes.
func twoBoxes(t *testing.T, p sync.Policy) *world {
	t.Helper()
	w := newWorld()
	for i, box := range []string{"INBOX", "Work"} {
		w.store[0].AddBox(box)
		for k := range 3 {
			w.store[0].Put(box, mail.Flags{}, day, text(10*i+k))
		}
	}
	w.mustRun(t, p, nil)
	return w
}

func (w *world) has(s state.Side, box string) bool { return slices.Contains(w.store[s].Boxes(), box) }

// What a mailbox that is deleted on one side means for the other.
func TestMailboxDeleted(t *testing.T) {
	t.Parallel()
	for _, s := range []state.Side{state.A, state.B} {
		o := s.Other()
		for _, p := range []sync.Policy{sync.TwoWay(), deleting()} {
			follows := p.May[o].DeleteMailboxes
			t.Run(fmt.Sprintf("on %v, followed %v", s, follows), func(t *testing.T) {
				w := twoBoxes(t, p)
				w.store[s].DropBox("Work")
				before := w.clone(-1)
				w.mustRun(t, p, nil)
				if w.has(s, "Work") || w.has(o, "Work") == follows {
					t.Fatalf("afterwards A has %v, B %v", w.store[0].Boxes(), w.store[1].Boxes())
				}
				if got := len(w.store[o].Trashed); follows && got != 3 {
					t.Errorf("%d messages were put away, want the 3 of the mailbox", got)
				}
				w.checkQuiet(t, p)
				crashEverywhere(t, before, p, w, true)

				// Made again under its name, it is an ordinary mailbox.
				w.store[s].AddBox("Work")
				w.store[s].Put("Work", mail.Flags{}, day, text(77))
				w.mustRun(t, p, nil)
				if n := bodies(w.store[o])[text(77)]; n != 1 {
					t.Errorf("a message in the mailbox made again is %d times on the other side", n)
				}
				if n := len(w.store[s].Messages("Work")); n != 1 {
					t.Errorf("the mailbox made again has %d messages, want its one", n)
				}
				w.checkQuiet(t, p)
			})
		}
	}
}

// Mail that the side which deleted a mailbox never saw keeps it alive, and comes
// to a new mailbox there.
func TestMailboxDeletedWithNewMailInIt(t *testing.T) {
	t.Parallel()
	for _, s := range []state.Side{state.A, state.B} {
		for _, p := range []sync.Policy{sync.TwoWay(), deleting()} {
			w := twoBoxes(t, p)
			w.store[s].DropBox("Work")
			w.store[s.Other()].Put("Work", mail.Flags{}, day, text(99))
			before := w.clone(-1)
			w.mustRun(t, p, nil)
			if n := len(w.store[s.Other()].Messages("Work")); n != 4 {
				t.Errorf("%d messages are left in the mailbox with new mail, want all 4", n)
			}
			got := w.store[s].Messages("Work")
			if len(got) != 1 || string(got[0].Body) != text(99) {
				t.Errorf("the side that deleted it has %d messages in it, want the new one", len(got))
			}
			w.checkQuiet(t, p)
			crashEverywhere(t, before, p, w, true)
		}
	}
}

// What was moved out of a mailbox before it was deleted is moved on the other
// side: it is not copied, and not put away.
func TestMailboxEmptiedByMovesAndDeleted(t *testing.T) {
	t.Parallel()
	for _, s := range []state.Side{state.A, state.B} {
		w := twoBoxes(t, deleting())
		for _, m := range w.store[s].Messages("Work") {
			w.store[s].MoveMsg("Work", m.Ref, "INBOX")
		}
		w.store[s].DropBox("Work")
		before := w.clone(-1)
		fetched := w.store[0].Fetched + w.store[1].Fetched
		w.mustRun(t, deleting(), nil)
		if n := w.store[0].Fetched + w.store[1].Fetched - fetched; n != 0 {
			t.Errorf("%d bodies were transferred, want none", n)
		}
		if o := s.Other(); w.has(o, "Work") || len(w.store[o].Messages("INBOX")) != 6 || len(w.store[o].Trashed) != 0 {
			t.Errorf("the other side is\n%v", w)
		}
		w.checkQuiet(t, deleting())
		crashEverywhere(t, before, deleting(), w, true)
	}
}

// A server that hides a mailbox for a while takes nothing away, and when it shows
// it again nothing is copied.
func TestMailboxComesBack(t *testing.T) {
	t.Parallel()
	w := twoBoxes(t, sync.TwoWay())
	shown := w.store[0].Clone(nil)
	w.store[0].DropBox("Work")
	w.mustRun(t, sync.TwoWay(), nil)
	first := w.store[1].Messages("Work")[0]
	shown.Steps = w.store[0].Steps
	w.store[0] = shown
	w.store[0].Flag("Work", w.store[0].Messages("Work")[1].Ref, mail.ParseFlags(`\Seen`))
	w.store[1].Flag("Work", first.Ref, mail.ParseFlags(`\Flagged`))
	fetched := shown.Fetched
	w.mustRun(t, sync.TwoWay(), nil)
	if a, b := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(a, b) || len(a) != 6 || shown.Fetched != fetched {
		t.Errorf("%d bodies were fetched, the sides are\n%s\nand\n%s", shown.Fetched-fetched, strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	w.checkQuiet(t, sync.TwoWay())
}

func TestDeletedMailboxIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for i, box := range []string{"INBOX", "Work"} {
		w.store[0].AddBox(box)
		for k := range 30 {
			w.store[0].Put(box, mail.Flags{}, day, text(100*i+k))
		}
	}
	w.mustRun(t, deleting(), nil)
	w.store[0].DropBox("Work")
	rep, err := w.run(deleting(), func(o *sync.Options) { o.Guard = sync.Limits{} })
	if mail.AsError(err).Kind != mail.KindGuard || rep.Outcome != sync.Refused || len(w.store[1].Messages("Work")) != 30 {
		t.Fatalf("half of the account was let go: %v, %s, %d messages left", err, rep.Outcome, len(w.store[1].Messages("Work")))
	}
	w.mustRun(t, deleting(), nil)
	if w.has(state.B, "Work") {
		t.Error("forced, the mailbox is still there")
	}
}

// Random histories in which mailboxes are deleted, too. Where that is followed,
// both sides are equal after a run; nothing is ever lost that was not deleted, by
// itself or with its mailbox.
func TestMailboxModel(t *testing.T) {
	t.Parallel()
	histories(t, 60, func(t *testing.T, seed uint64) {
		p := sync.TwoWay()
		if seed%4 < 2 {
			p = deleting()
		}
		mailboxHistory(t, seed, p)
	})
}

func mailboxHistory(t *testing.T, seed uint64, p sync.Policy) {
	rng := rand.New(rand.NewPCG(seed, 4))
	w := newWorld()
	w.store[0].ObjectIDs, w.store[1].ObjectIDs = seed%2 == 0, seed%2 == 0
	for _, name := range boxNames {
		w.store[rng.IntN(2)].AddBox(name)
	}
	show := showWhenFailed(t)
	w.mustRun(t, p, nil)
	deleted := make(map[string]int) // ever: what was kept at first may go later
	for range 4 {
		have := bodies(w.store[0])
		for content, n := range bodies(w.store[1]) {
			have[content] = max(have[content], n)
		}
		for range rng.IntN(10) + 1 {
			side := state.Side(rng.IntN(2))
			if st := w.store[side]; rng.IntN(12) == 0 {
				boxes := st.Boxes()
				if box := boxes[rng.IntN(len(boxes))]; box != "INBOX" {
					for _, m := range st.Messages(box) {
						deleted[string(m.Body)]++
					}
					st.DropBox(box)
				}
			} else if content := w.edit(rng, side); content != "" {
				deleted[content]++
			}
		}
		if len(w.store[0].Boxes()) == 0 || len(w.store[1].Boxes()) == 0 {
			return // that is refused
		}
		before := w.clone(-1)
		*show = rounds{before, w}
		w.mustRun(t, p, nil)
		now := bodies(w.store[0])
		for content, n := range bodies(w.store[1]) {
			now[content] = max(now[content], n)
		}
		for content, n := range have {
			if now[content] < n-deleted[content] {
				t.Fatalf("%d of %q are left of %d, %d were deleted", now[content], content, n, deleted[content])
			}
		}
		w.checkQuiet(t, p)
		crashEverywhere(t, before, p, w, true)
	}
}

// A message that both sides moved, from a mailbox that one side then deleted and the
// other has new mail in, is in one place; one that was moved into that mailbox is
// moved there again.
func TestMovesAroundAMailboxMadeAgain(t *testing.T) {
	t.Parallel()
	for _, s := range []state.Side{state.A, state.B} {
		w := twoBoxes(t, sync.TwoWay())
		w.store[0].AddBox("Archive")
		w.store[0].AddBox("Later")
		w.mustRun(t, sync.TwoWay(), nil)
		o := s.Other()
		w.store[s].MoveMsg("Work", w.store[s].Messages("Work")[0].Ref, "Archive")
		w.store[s].DropBox("Work")
		first := slices.IndexFunc(w.store[o].Messages("Work"), func(m storetest.Msg) bool { return bodies(w.store[s])[string(m.Body)] == 1 })
		w.store[o].MoveMsg("Work", w.store[o].Messages("Work")[first].Ref, "Later")
		w.store[o].MoveMsg("INBOX", w.store[o].Messages("INBOX")[0].Ref, "Work")
		before := w.clone(-1)
		fetched := w.store[0].Fetched + w.store[1].Fetched
		w.mustRun(t, sync.TwoWay(), nil)
		if n := w.store[0].Fetched + w.store[1].Fetched - fetched; n != 0 {
			t.Errorf("deleted on %v: %d bodies were transferred, want none", s, n)
		}
		for content, n := range bodies(w.store[o]) {
			if n != 1 {
				t.Errorf("deleted on %v: %q is there %d times", s, content, n)
			}
		}
		if n := len(w.store[s].Messages("Work")); n != 1 {
			t.Errorf("deleted on %v: the mailbox made again has %d messages, want the one that was moved into it", s, n)
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}

// Each side deleted a mailbox in which the other has new mail, one of them after a
// copy out of it was made into the other. Both are made again; whether a run that
// was cut off had seen only one of the losses makes no difference.
func TestMailboxesDeletedOnBothSides(t *testing.T) {
	t.Parallel()
	for _, s := range []state.Side{state.A, state.B} {
		w := twoBoxes(t, sync.TwoWay())
		w.store[0].AddBox("Archive")
		w.store[0].Put("Archive", mail.Flags{}, day, text(50))
		w.mustRun(t, sync.TwoWay(), nil)
		o := s.Other()
		copied := w.store[o].Messages("Work")[0]
		w.store[o].Copy("Work", copied.Ref, "Archive")
		w.store[s].Put("Work", mail.Flags{}, day, text(51))
		w.store[s].DropBox("Archive")
		w.store[o].DropBox("Work")
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		want := most(before)
		want[string(copied.Body)] = 2 // the copy, and what is kept of a mailbox that was deleted
		if got := most(w); !maps.Equal(got, want) {
			t.Errorf("Archive deleted on %v: the sides hold %v, want %v", s, got, want)
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}

// A run that deletes the last mailbox of a side, and is cut off before it forgets it,
// is no reason to refuse the next one.
func TestLastMailboxDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].AddBox("Work")
	w.store[0].Put("Work", mail.Flags{}, day, original)
	p := deleting()
	p.May[state.B].Mailboxes = true
	w.mustRun(t, p, nil)
	w.store[0].AddBox("Later")
	w.store[0].DropBox("Work")
	p.May[state.B].Mailboxes = false
	before := w.clone(-1)
	w.mustRun(t, p, nil)
	if boxes := w.store[1].Boxes(); len(boxes) != 0 {
		t.Fatalf("B has still %v", boxes)
	}
	w.checkQuiet(t, p)
	crashEverywhere(t, before, p, w, true)
}
