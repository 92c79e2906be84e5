package sync_test

import (
	"testing"

	"postbag/internal/storetest"
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
