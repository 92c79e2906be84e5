package sync_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// Histories: rounds of random changes by other programs, each followed by a run.
// After each run the promises are checked that hold whatever happened: nothing is
// lost that nobody deleted, no side is changed that the policy does not change,
// both sides agree as far as the policy and their abilities go, a second run does
// nothing, and a crash before any step, followed by one more run, ends the same.

func TestBackupModel(t *testing.T) {
	t.Parallel()
	histories(t, 60, backupHistory)
}

// backupHistory plays rounds of random edits on the server, with a backup after
// each. Everything that was ever seen by a run must be in the copy, the server
// must not be touched, and the copy of what the server has must have its flags.
func backupHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld()
	a := newActor(rng, w)
	w.store[0].AddBox("INBOX")
	w.store[0].EmailIDs, w.store[1].Links = seed%2 == 0, seed%4 == 0
	ever := make(map[string]int)
	show := showWhenFailed(t)
	for range 4 {
		a.acts(state.A)
		if rng.IntN(6) == 0 {
			w.store[0].Renumber(w.store[0].Boxes()[0])
			a.renumbered = true // from then on flags are only added where they may have been taken away meanwhile
		}
		before := w.clone(-1)
		*show = rounds{before, w}
		was := w.store[0].Content(true)
		w.mustRun(t, sync.Backup(), nil)
		if got := w.store[0].Content(true); !slices.Equal(got, was) {
			t.Fatalf("the backup changed the server:\n%v\nwas\n%v", got, was)
		}
		server, copied := bodies(w.store[0]), bodies(w.store[1])
		for content, n := range server {
			ever[content] = max(ever[content], n)
		}
		for content, n := range ever {
			if copied[content] < n {
				t.Fatalf("the copy has %d of %q, the server had %d", copied[content], content, n)
			}
		}
		for _, line := range was {
			if !a.renumbered && !slices.Contains(w.store[1].Content(true), line) {
				t.Fatalf("%s is on the server and not like that in the copy:\n%s", line, strings.Join(w.store[1].Content(true), "\n"))
			}
		}
		w.checkQuiet(t, sync.Backup())
		crashEverywhere(t, before, sync.Backup(), w, !a.renumbered)
	}
}

func TestMirrorModel(t *testing.T) {
	t.Parallel()
	histories(t, 60, func(t *testing.T, seed uint64) {
		w := newWorld()
		a := newActor(rand.New(rand.NewPCG(seed, 2)), w)
		w.store[0].ObjectIDs, w.store[1].ObjectIDs = true, true
		w.store[0].AddBox("INBOX")
		for range 4 {
			a.acts(state.A)
			before := w.clone(-1)
			w.mustRun(t, sync.Mirror(), nil)
			checkEqual(t, w, a)
			w.checkQuiet(t, sync.Mirror())
			crashEverywhere(t, before, sync.Mirror(), w, true)
		}
	})
}

// checkEqual expects that both sides hold the same, but for flags that one of them
// cannot hold, and for \Deleted where messages were matched anew.
func checkEqual(t *testing.T, w *world, a *actor) {
	t.Helper()
	var sides [2][]string
	for s, st := range w.store {
		for _, box := range st.Boxes() {
			for _, m := range st.Messages(box) {
				f := m.Flags
				for _, o := range w.store {
					if o.Holds != nil {
						f = o.Holds(f)
					}
				}
				if a.renumbered || a.met[string(m.Body)] {
					f.System &^= mail.Deleted
				}
				sides[s] = append(sides[s], fmt.Sprintf("%s | %q | %s", box, m.Body, strings.ToLower(f.String())))
			}
		}
		slices.Sort(sides[s])
	}
	if !slices.Equal(sides[0], sides[1]) {
		t.Fatalf("the sides differ: A\n%s\nB\n%s\n%s", strings.Join(sides[0], "\n"), strings.Join(sides[1], "\n"), w)
	}
}

// rounds shows the worlds before and after the last run when a history fails.
type rounds struct{ before, after *world }

func showWhenFailed(t *testing.T) *rounds {
	r := new(rounds)
	t.Cleanup(func() {
		if t.Failed() && r.before != nil {
			t.Logf("before the run\n%safter it\n%s", r.before, r.after)
		}
	})
	return r
}

// most is, for each content, the larger of the numbers that two sides have.
func most(w *world) map[string]int {
	n := bodies(w.store[0])
	for content, k := range bodies(w.store[1]) {
		n[content] = max(n[content], k)
	}
	return n
}

func TestTwoWayModel(t *testing.T) {
	t.Parallel()
	histories(t, 50, twoWayHistory)
}

// circumstances makes a world whose stores have some of the abilities that stores
// may have, and an actor that does some of what others may do.
func circumstances(rng *rand.Rand) (*world, *actor) {
	w := newWorld()
	a := newActor(rng, w)
	ids := rng.IntN(2) == 0
	for _, st := range w.store {
		st.ObjectIDs, st.NoStamp = ids, rng.IntN(4) == 0
		if rng.IntN(4) == 0 {
			st.Holds = holds[rng.IntN(len(holds))].holds
		}
	}
	w.store[0].EmailIDs = rng.IntN(3) == 0
	w.store[1].Links = rng.IntN(2) == 0
	w.window = []int{1, 3, 7, 1000}[rng.IntN(4)]
	a.marks, a.renumbers = rng.IntN(2) == 0, rng.IntN(4) == 0
	a.believed = a.renumbers
	for _, name := range boxNames {
		w.store[rng.IntN(2)].AddBox(name)
	}
	return w, a
}

// twoWayHistory plays random edits on both sides. After a run both sides are
// equal, and nothing is lost that nobody deleted.
func twoWayHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	w, a := circumstances(rng)
	show := showWhenFailed(t)
	// With a base on record nothing but content pairs messages.
	w.mustRun(t, sync.TwoWay(), nil)
	for range 4 {
		have := most(w)
		clear(a.deleted)
		a.acts(state.A, state.B)
		before := w.clone(-1)
		*show = rounds{before, w}
		w.mustRun(t, sync.TwoWay(), nil)
		checkEqual(t, w, a)
		checkNothingLost(t, a, have, bodies(w.store[0]))
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, !a.renumbered)
	}
}

// checkNothingLost expects that of each content as many are left as there were
// before, less those that the actor deleted.
func checkNothingLost(t *testing.T, a *actor, have, now map[string]int) {
	t.Helper()
	for content, n := range have {
		if now[content] < n-a.deleted[content] {
			t.Fatalf("%d of %q are left of %d, %d were deleted", now[content], content, n, a.deleted[content])
		}
	}
}

// randomPolicy allows a random part of all on each side.
func randomPolicy(rng *rand.Rand) sync.Policy {
	p := sync.Policy{Name: "random"}
	some := func() bool { return rng.IntN(3) > 0 }
	for s := range p.May {
		if rng.IntN(4) > 0 {
			p.May[s] = sync.Allow{New: some(), Flags: some(), Deletes: some(), Moves: some(), Mailboxes: some(), DeleteMailboxes: !some()}
		}
	}
	return p
}

// Whatever a policy allows, no run does what it does not allow, takes away what
// only the other side may lose, or leaves anything to do for a second run.
func TestAnyPolicyModel(t *testing.T) {
	t.Parallel()
	histories(t, 50, policyHistory)
}

func policyHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	w, a := circumstances(rng)
	a.drops, a.believed = rng.IntN(3) == 0, true
	show := showWhenFailed(t)
	for range 4 {
		p := randomPolicy(rng)
		a.acts(state.A, state.B)
		if len(w.store[0].Boxes()) == 0 || len(w.store[1].Boxes()) == 0 {
			return // that may be refused
		}
		before := w.clone(-1)
		*show = rounds{before, w}
		w.told()
		had := [2]map[string]int{bodies(w.store[0]), bodies(w.store[1])}
		w.mustRun(t, p, nil)
		checkPolicy(t, w, p)
		for s, st := range w.store {
			now := bodies(st)
			for content, n := range had[s] {
				if may := p.May[s]; !may.Deletes && !may.DeleteMailboxes && now[content] < n {
					t.Fatalf("side %v may lose nothing, and has %d of %q, had %d, under %+v", state.Side(s), now[content], content, n, p.May)
				}
			}
		}
		w.checkQuiet(t, p)
		crashEverywhere(t, before, p, w, !a.renumbered)
	}
}

// told begins a new account of what the stores are told.
func (w *world) told() {
	for _, st := range w.store {
		st.Did = nil
	}
}
