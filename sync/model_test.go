package sync_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// world is two sides and what the state knows of them.
type world struct {
	store   [2]*storetest.Store
	journal *storetest.Journal
}

func newWorld() *world {
	return &world{[2]*storetest.Store{storetest.NewStore(false), storetest.NewStore(true)}, storetest.NewJournal()}
}

// clone is a copy that crashes before step stop, or never when stop is negative.
func (w *world) clone(stop int) *world {
	steps := storetest.NewSteps(stop)
	return &world{[2]*storetest.Store{w.store[0].Clone(steps), w.store[1].Clone(steps)}, w.journal.Clone(steps)}
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
	o := sync.Options{A: w.store[0], B: w.store[1], Policy: p, Journal: w.journal, Command: "test", Workers: 1, Window: 7,
		Guard: sync.Limits{Off: true}, Batch: sync.BatchLimits{Messages: 3},
		Sleep: func(context.Context, time.Duration) error { return nil }}
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

var (
	day      = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	flagSets = []mail.Flags{{}, mail.ParseFlags(`\Seen`), mail.ParseFlags(`\Seen`, `\Answered`), mail.ParseFlags(`\Flagged`, "work"),
		mail.ParseFlags(`\Draft`, "$Forwarded", "later")}
)

// body makes a message. Few distinct ones, so that duplicates and look-alikes are
// common: kinds without a Message-ID, with one shared by different contents of
// one size, and exact duplicates.
func body(rng *rand.Rand) string {
	n := rng.IntN(12)
	switch rng.IntN(4) {
	case 0:
		return fmt.Sprintf("Subject: none\r\n\r\nno id %02d\r\n", n)
	case 1:
		return fmt.Sprintf("Message-ID: <shared@x>\r\n\r\ncontent %02d\r\n", n)
	case 2:
		return fmt.Sprintf("Message-ID: <m%d@x>\r\n\r\n%s\r\n", n, strings.Repeat("x", n))
	}
	return fmt.Sprintf("Message-ID: <u%d@x>\r\n\r\nunique\r\n", rng.Uint32())
}

// dateOf gives different contents different dates, as messages have.
func dateOf(content string) time.Time {
	h := fnv.New32a()
	h.Write([]byte(content))
	return day.Add(time.Duration(h.Sum32()) * time.Second)
}

var boxNames = []string{"INBOX", "Work", "Archive/2024"}

// edit makes one random change on side s, as another program would. It answers
// with the content that it deleted, "" when none.
func (w *world) edit(rng *rand.Rand, s state.Side) (deleted string) {
	st := w.store[s]
	boxes := st.Boxes()
	if len(boxes) == 0 || rng.IntN(12) == 0 {
		st.AddBox(boxNames[rng.IntN(len(boxNames))])
		return ""
	}
	box := boxes[rng.IntN(len(boxes))]
	if st.ObjectIDs && box != "INBOX" && rng.IntN(16) == 0 {
		st.RenameBox(box, fmt.Sprintf("%s%d%v", boxNames[1+rng.IntN(2)], rng.IntN(10000), s))
		return ""
	}
	msgs := st.Messages(box)
	if len(msgs) == 0 || rng.IntN(3) == 0 {
		content := body(rng)
		st.Put(box, flagSets[rng.IntN(len(flagSets))], dateOf(content), content)
		return ""
	}
	m := msgs[rng.IntN(len(msgs))]
	switch rng.IntN(4) {
	case 0:
		st.Del(box, m.Ref)
		return string(m.Body)
	case 1:
		st.MoveMsg(box, m.Ref, boxes[rng.IntN(len(boxes))])
	default:
		st.Flag(box, m.Ref, flagSets[rng.IntN(len(flagSets))])
	}
	return ""
}

// seeds is how many random histories each model test plays; POSTBAG_SEEDS sets
// another number.
func seeds(t *testing.T, n int) int {
	if s := os.Getenv("POSTBAG_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		n = n / 10
	}
	return n
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

func TestBackupModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(seeds(t, 60)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { backupHistory(t, seed) })
	}
}

// backupHistory plays rounds of random edits on the server, with a backup after
// each. Everything that was ever seen by a run must be in the copy, the server
// must not be touched, and the copy of what the server has must have its flags.
func backupHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld()
	w.store[0].AddBox("INBOX")
	ever := make(map[string]int)
	renumbered := false // from then on flags are only added where they may have been taken away meanwhile
	for range 4 {
		for range rng.IntN(10) + 1 {
			w.edit(rng, state.A)
		}
		if rng.IntN(6) == 0 {
			w.store[0].Renumber(w.store[0].Boxes()[0])
			renumbered = true
		}
		before := w.clone(-1)
		was := w.store[0].Content(true)
		w.mustRun(t, sync.Backup(), nil)
		if got := w.store[0].Content(true); !slices.Equal(got, was) {
			t.Fatalf("the backup changed the server:\n%v\nwas\n%v", got, was)
		}
		a, b := bodies(w.store[0]), bodies(w.store[1])
		for content, n := range a {
			ever[content] = max(ever[content], n)
		}
		for content, n := range ever {
			if b[content] < n {
				t.Fatalf("the copy has %d of %q, the server had %d", b[content], content, n)
			}
		}
		for _, line := range was {
			if !renumbered && !slices.Contains(w.store[1].Content(true), line) {
				t.Fatalf("%s is on the server and not like that in the copy:\n%s", line, strings.Join(w.store[1].Content(true), "\n"))
			}
		}
		w.checkQuiet(t, sync.Backup())
		crashEverywhere(t, before, sync.Backup(), w, !renumbered)
	}
}

func TestMirrorModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(seeds(t, 60)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			w := newWorld()
			w.store[0].ObjectIDs, w.store[1].ObjectIDs = true, true
			w.store[0].AddBox("INBOX")
			for range 4 {
				for range rng.IntN(10) + 1 {
					w.edit(rng, state.A)
				}
				before := w.clone(-1)
				w.mustRun(t, sync.Mirror(), nil)
				a, b := w.store[0].Content(true), w.store[1].Content(true)
				if !slices.Equal(a, b) {
					t.Fatalf("the mirror is\n%s\nthe server\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
				}
				w.checkQuiet(t, sync.Mirror())
				crashEverywhere(t, before, sync.Mirror(), w, true)
			}
		})
	}
}

func TestTwoWayModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(seeds(t, 60)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { twoWayHistory(t, seed) })
	}
}

// twoWayHistory plays random edits on both sides. After a run both sides are
// equal, and nothing is lost that nobody deleted.
func twoWayHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 3))
	w := newWorld()
	w.store[0].ObjectIDs, w.store[1].ObjectIDs = seed%2 == 0, seed%2 == 0
	for _, name := range boxNames {
		w.store[rng.IntN(2)].AddBox(name)
	}
	// With a base on record nothing but content pairs messages.
	w.mustRun(t, sync.TwoWay(), nil)
	for range 4 {
		have := bodies(w.store[0])
		for content, n := range bodies(w.store[1]) {
			have[content] = max(have[content], n)
		}
		deleted := make(map[string]int)
		for range rng.IntN(10) + 1 {
			side := state.Side(rng.IntN(2))
			if content := w.edit(rng, side); content != "" {
				deleted[content]++
			}
		}
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		a, b := w.store[0].Content(true), w.store[1].Content(true)
		if !slices.Equal(a, b) {
			t.Fatalf("the sides differ: A\n%s\nB\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
		now := bodies(w.store[0])
		for content, n := range have {
			if now[content] < n-deleted[content] {
				t.Fatalf("%d of %q are left of %d, %d were deleted", now[content], content, n, deleted[content])
			}
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}
