package sync_test

import (
	"fmt"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// The matrix where messages are numbered anew: on one side, or on both, what was
// known of them is known of their content only. Nothing is taken away for that, but
// what else happened is seen: flags are brought together, a message that the other
// side deleted meanwhile comes back, \Deleted is not spread.
func TestNumberedAnewMatrix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		anew         string // the sides whose X is numbered anew
		a, b         string // what happened before that
		wantA, wantB string // "" when as on A
	}{
		{"nothing else", "A", "", "", "X:m[S]", ""},
		{"nothing else", "B", "", "", "X:m[S]", ""},
		{"nothing else", "AB", "", "", "X:m[S]", ""},
		{"flagged there", "A", "", "+F", "X:m[FS]", ""},
		{"flagged there", "B", "+F", "", "X:m[FS]", ""},
		{"flagged here", "A", "+F", "", "X:m[FS]", ""},
		{"flagged on both", "AB", "+F", "+R", "X:m[FRS]", ""},
		{"a flag taken away there comes back", "A", "", "-S", "X:m[S]", ""},
		{"marked there", "A", "", "+T", "X:m[S]", "X:m[ST]"},
		{"marked there", "B", "+T", "", "X:m[ST]", "X:m[S]"},
		{"deleted there", "A", "", "gone", "X:m[S]", ""},
		{"deleted there", "B", "gone", "", "X:m[S]", ""},
		{"deleted here", "A", "gone", "", "X:m[S]", ""},
		{"deleted here", "AB", "gone", "", "X:m[S]", ""},
		{"deleted on both", "AB", "gone", "gone", "", ""},
		{"renamed there", "A", "", "rekey", "X:m[S]", ""},
		{"renamed and flagged there", "A", "", "rekey, +F", "X:m[FS]", ""},
		{"edited there", "A", "", "edit", "X:e[S] X:m[S]", ""},
		{"moved there", "A", "", "to Y", "X:m[S] Y:m[S]", ""},
		{"moved here", "A", "to Y", "", "X:m[S] Y:m[S]", ""},
		{"copied here", "A", "copy X", "", "X:m[S] X:m[S]", ""},
	} {
		t.Run(c.name+" on "+c.anew, func(t *testing.T) {
			t.Parallel()
			w := paired(t, "S", nil)
			happen(t, w.store[0], "X", c.a)
			happen(t, w.store[1], "X", c.b)
			for s, st := range w.store {
				if c.anew == "AB" || c.anew == []string{"A", "B"}[s] {
					st.Renumber("X")
				}
			}
			before := w.clone(-1)
			w.mustRun(t, sync.TwoWay(), nil)
			if c.wantB == "" {
				c.wantB = c.wantA
			}
			for s, want := range []string{c.wantA, c.wantB} {
				if got := shown(w.store[s]); got != want {
					t.Errorf("side %d holds %q, want %q", s, got, want)
				}
			}
			if n := trashed(w.store); n != 0 {
				t.Errorf("%d messages are removed, want none", n)
			}
			w.checkQuiet(t, sync.TwoWay())
			crashEverywhere(t, before, sync.TwoWay(), w, true)
		})
	}
}

func trashed(stores [2]*storetest.Store) int {
	return len(stores[0].Trashed) + len(stores[1].Trashed)
}

// A server that numbers a mailbox anew when it is renamed, as Courier does: the sync
// that renames it there knows what happened, and brings over what both sides changed
// in the same interval, \Deleted too, as if the numbers had stayed.
func TestRenamedWhereThatNumbersAnew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		here, there string // where X is renamed to New, and where that numbers anew
		want        string
	}{
		{"nothing else", "", "", "New:m[S]"},
		{"marked there", "", "+T", "New:m[ST]"},
		{"marked here", "+T", "", "New:m[ST]"},
		{"flags taken away there", "", "-S", "New:m[]"},
		{"flags taken away here", "-S", "", "New:m[]"},
		{"changed on both", "+F, -S", "+R, +T", "New:m[FRT]"},
		{"deleted here", "gone", "", "New:m[S]"}, // nothing is taken away for it, as ever
		{"deleted there", "", "gone", "New:m[S]"},
		{"copied there", "", "copy X", "New:m[S] New:m[S]"},
	} {
		for _, s := range []state.Side{state.A, state.B} {
			t.Run(fmt.Sprintf("%s/on %v", c.name, s), func(t *testing.T) {
				t.Parallel()
				w := paired(t, "S", func(w *world) {
					w.store[s].Forgets = true
					w.store[s.Other()].ObjectIDs = true
				})
				happen(t, w.store[s.Other()], "X", c.here)
				happen(t, w.store[s], "X", c.there)
				w.store[s.Other()].RenameBox("X", "New")
				before := w.clone(-1)
				w.mustRun(t, sync.TwoWay(), nil)
				for s, st := range w.store {
					if got := shown(st); got != c.want {
						t.Errorf("side %v holds %q, want %q", state.Side(s), got, c.want)
					}
				}
				w.checkQuiet(t, sync.TwoWay())
				crashEverywhere(t, before, sync.TwoWay(), w, true)
			})
		}
	}
}

// The same of a mailbox below: the rename of the one above takes it along.
func TestTakenAlongWhereThatNumbersAnew(t *testing.T) {
	t.Parallel()
	for _, s := range []state.Side{state.A, state.B} {
		w := paired(t, "S", func(w *world) {
			w.store[s].Forgets = true
			w.store[s.Other()].ObjectIDs = true
			for _, st := range w.store {
				st.AddBox("X/Below")
			}
			w.store[0].Put("X/Below", mail.Flags{}, day, original)
		})
		happen(t, w.store[s.Other()], "X/Below", "+F")
		happen(t, w.store[s], "X/Below", "+T")
		w.store[s.Other()].RenameBox("X", "New")
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		for side, st := range w.store {
			if got, want := shown(st), "New/Below:m[FT] New:m[S]"; got != want {
				t.Errorf("renamed on %v: side %v holds %q, want %q", s.Other(), state.Side(side), got, want)
			}
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}
