package sync_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// world is two sides and what the state knows of them.
type world struct {
	store   [2]*storetest.Store
	journal *storetest.Journal
	window  int // of its runs; 7 when 0
}

func newWorld() *world {
	return &world{[2]*storetest.Store{storetest.NewStore(false), storetest.NewStore(true)}, storetest.NewJournal(), 0}
}

// clone is a copy that crashes before step stop, or never when stop is negative.
func (w *world) clone(stop int) *world {
	steps := storetest.NewSteps(stop)
	return &world{[2]*storetest.Store{w.store[0].Clone(steps), w.store[1].Clone(steps)}, w.journal.Clone(steps), w.window}
}

// String shows a world, for a test that fails.
func (w *world) String() string {
	var b strings.Builder
	for s, st := range w.store {
		for _, name := range st.Boxes() {
			for _, m := range st.Messages(name) {
				fmt.Fprintf(&b, "%v %s %v %q [%v]\n", state.Side(s), name, m.Ref, m.Body, m.Flags)
			}
		}
	}
	boxes, _ := w.journal.Mailboxes(context.Background())
	for _, m := range boxes {
		fmt.Fprintf(&b, "mailbox %d: %q, gone %v, cursors %q, stamps %q\n", m.ID, m.Name, m.Gone, m.Cursor, m.Stamp)
	}
	for _, r := range w.journal.Rows() {
		fmt.Fprintf(&b, "row %d of %d: %v | %v, gone %v, status %d\n", r.ID, r.Mailbox, r.Ref[0], r.Ref[1], r.Gone, r.Status)
	}
	return b.String()
}

func (w *world) run(p sync.Policy, edit func(*sync.Options)) (*sync.Report, error) {
	o := sync.Options{A: w.store[0], B: w.store[1], Policy: p, Journal: w.journal, Command: "test", Workers: 1, Window: cmp.Or(w.window, 7),
		Guard: sync.Limits{Off: true}, Batch: sync.BatchLimits{Messages: 3},
		Sleep: func(context.Context, time.Duration) error { return nil }, Jitter: func(d time.Duration) time.Duration { return d }}
	if edit != nil {
		edit(&o)
	}
	return sync.Run(context.Background(), o)
}

func (w *world) mustRun(t *testing.T, p sync.Policy, edit func(*sync.Options)) *sync.Report {
	t.Helper()
	rep, err := w.run(p, edit)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	if rep.Outcome != sync.Done {
		t.Fatalf("outcome %s, problems %+v", rep.Outcome, rep.Problems)
	}
	return rep
}

// checkQuiet runs again and expects that nothing happens, not even in the state.
func (w *world) checkQuiet(t *testing.T, p sync.Policy) {
	t.Helper()
	c := w.clone(-1)
	rep := c.mustRun(t, p, nil)
	if n := c.store[0].Steps.Count(); n != 0 || rep.Changed() {
		t.Fatalf("a second run does %d steps, report %+v\nbefore it\n%safter it\n%s", n, rep, w, c)
	}
}

// day is when the first messages of a test came.
var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// tablesOnly is set while a mutant is tried: then only the ends of the tables
// count, not the circumstances.
func tablesOnly() bool { return os.Getenv("POSTBAG_TABLES") != "" }

// histories plays n random histories, each as a test of its own that is named by its
// seed; a tenth of them in short runs. POSTBAG_SEEDS sets another number, and
// POSTBAG_SEED plays the history of that seed alone.
func histories(t *testing.T, n uint64, play func(t *testing.T, seed uint64)) {
	t.Helper()
	number := func(variable string, n *uint64) bool {
		text := os.Getenv(variable)
		if text == "" {
			return false
		}
		var err error
		if *n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
		return true
	}
	var first uint64
	if number("POSTBAG_SEED", &first) {
		n = 1
	} else if !number("POSTBAG_SEEDS", &n) && testing.Short() {
		n /= 10
	}
	test := t.Name()
	for seed := first; seed-first < n; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Logf("to play it again: POSTBAG_SEED=%d go test ./sync -run '^%s$'", seed, test)
			play(t, seed)
		})
	}
}

// bodies is the multiset of contents on a side, whatever mailbox they are in.
func bodies(st *storetest.Store) map[string]int {
	set := make(map[string]int)
	for _, box := range st.Boxes() {
		for _, m := range st.Messages(box) {
			set[string(m.Body)]++
		}
	}
	return set
}

// crashEverywhere runs p from before, stopped before each step in turn and then
// run to the end, and expects the content that an undisturbed run leaves. Where
// messages were matched anew, which of two equal ones has which flags is open.
func crashEverywhere(t *testing.T, before *world, p sync.Policy, after *world, withFlags bool) {
	t.Helper()
	if tablesOnly() {
		return
	}
	for stop := 0; ; stop++ {
		c := before.clone(stop)
		_, err := c.run(p, nil)
		if err == nil && c.store[0].Steps.Count() < stop {
			return
		}
		if err != nil && !errors.Is(err, storetest.ErrCrash) {
			t.Fatalf("crash before step %d: the run ends with %v", stop, err)
		}
		again := c.clone(-1)
		if rep, err := again.run(p, nil); err != nil || rep.Outcome != sync.Done {
			t.Fatalf("crash before step %d: the next run ends with %v, problems %+v\nbefore the crash\n%safter it\n%s", stop, err, rep.Problems, before, c)
		}
		for s, st := range again.store {
			want := after.store[s].Content(withFlags)
			if got := st.Content(withFlags); !slices.Equal(got, want) {
				t.Fatalf("crash before step %d: side %v is\n%s\nwant\n%s\nbefore the crash\n%safter it\n%safter the next run\n%s", stop, state.Side(s),
					strings.Join(got, "\n"), strings.Join(want, "\n"), before, c, again)
			}
		}
		again.checkQuiet(t, p)
		if err == nil {
			return
		}
	}
}
