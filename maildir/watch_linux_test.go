package maildir

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"postbag/internal/mail"
)

// watchedFS counts how often directories are read, and has them watched.
type watchedFS struct{ countingFS }

func (watchedFS) watchNames() (nameWatch, error) {
	w, err := osFS{}.watchNames()
	return watchedDirs{w}, err
}

type watchedDirs struct{ nameWatch }

func (w watchedDirs) add(d Dir) (int, error) { return w.nameWatch.add(d.(countingDir).Dir) }

// knownBox is a mailbox with ten messages in each directory of which all is known.
func knownBox(t *testing.T) (s *Store, m *mailbox, known rows, cursor mail.Cursor, reads *atomic.Int64) {
	t.Helper()
	reads = new(atomic.Int64)
	s = openNew(t, Options{FS: watchedFS{countingFS{reads: reads}}})
	m = selected(t, s, "INBOX")
	if m.box.seen == nil {
		t.Skip("no directory can be watched here")
	}
	for i := range 10 {
		put(t, "c", boxPath(s, "INBOX", "cur", fmt.Sprintf("cur%d:2,S", i)))
		put(t, "n", boxPath(s, "INBOX", "new", fmt.Sprintf("new%d", i)))
	}
	settle()
	known = rows{}
	d := changes(t, m, "", known)
	known.take(d)
	return s, m, known, d.Cursor, reads
}

func TestOwnWritesNeedNoPass(t *testing.T) {
	t.Parallel()
	s, m, _, cursor, reads := knownBox(t)
	selected(t, s, "Other")
	ours := func(m *mailbox, round int) {
		t.Helper()
		deliver(t, m, outgoing{body: "e", flags: `\Flagged Word`}, outgoing{body: "f"})
		flag(t, m, fmt.Sprintf("cur%d", round), `\Answered`)
		flag(t, m, fmt.Sprintf("new%d", round), `\Seen`)
		if _, err := m.Remove(t.Context(), []mail.Ref{{Key: fmt.Sprintf("cur%d", 9-round)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Move(t.Context(), []mail.Ref{{Key: fmt.Sprintf("new%d", 9-round)}}, "Other"); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		ours(m, round)
		before := reads.Load()
		d := changes(t, m, cursor, refusing{t})
		if n := reads.Load() - before; !d.Empty() || d.Stamp == "" || n != 0 {
			t.Fatalf("round %d: Changes gives %+v, and reads directories %d times", round, d, n)
		}
		cursor = d.Cursor
	}
	// What was said is what is there.
	settle()
	fresh, err := Open(s.path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	mb, err := fresh.Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer mb.Close()
	scan, err := mb.(*mailbox).readNames(t.Context())
	if sum := parseCursor(cursor).sum; err != nil || scan.sum != sum {
		t.Errorf("the names have the sum %+v, %v, said was %+v", scan.sum, err, sum)
	}
}

func flag(t *testing.T, m *mailbox, key, flags string) {
	t.Helper()
	change := mail.FlagChange{Ref: mail.Ref{Key: key}, Delta: mail.FlagDelta{Add: mail.ParseFlags(flags)}}
	if _, err := m.SetFlags(t.Context(), []mail.FlagChange{change}); err != nil {
		t.Fatal(err)
	}
}

// What others do between two looks is seen, also where it looks like nothing.
func TestOthersAreSeenByTheWatch(t *testing.T) {
	t.Parallel()
	for name, theirs := range map[string]func(cur, fresh string){
		"delivery":       func(_, fresh string) { os.WriteFile(filepath.Join(fresh, "x"), nil, 0o600) },
		"flag":           func(cur, _ string) { os.Rename(filepath.Join(cur, "cur3:2,S"), filepath.Join(cur, "cur3:2,FS")) },
		"read":           func(cur, fresh string) { os.Rename(filepath.Join(fresh, "new3"), filepath.Join(cur, "new3:2,S")) },
		"removal":        func(cur, _ string) { os.Remove(filepath.Join(cur, "cur3:2,S")) },
		"moved out":      func(cur, _ string) { os.Rename(filepath.Join(cur, "cur3:2,S"), filepath.Join(cur, "../../x")) },
		"hard link":      func(cur, _ string) { os.Link(filepath.Join(cur, "cur3:2,S"), filepath.Join(cur, "x:2,")) },
		"replaced, gone": func(cur, _ string) { replaceAndRemove(cur) },
		"one for another": func(cur, _ string) {
			os.Remove(filepath.Join(cur, "cur3:2,S"))
			os.WriteFile(filepath.Join(cur, "x:2,S"), nil, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, m, known, cursor, _ := knownBox(t)
			before := maps.Clone(known)
			deliver(t, m, outgoing{body: "ours"})
			theirs(boxPath(s, "INBOX", "cur"), boxPath(s, "INBOX", "new"))
			flag(t, m, "cur5", `\Flagged`)
			known.take(changes(t, m, cursor, known))
			if truth := looked(t, s); !maps.EqualFunc(known, truth, mail.Flags.Equal) {
				t.Errorf("known is %v\nthere is %v\nthere was %v", known, truth, before)
			}
		})
	}
}

func replaceAndRemove(cur string) {
	os.WriteFile(filepath.Join(cur, "../../y"), nil, 0o600)
	os.Rename(filepath.Join(cur, "../../y"), filepath.Join(cur, "cur3:2,S"))
	os.Remove(filepath.Join(cur, "cur3:2,S"))
}

// looked is what somebody else finds who looks for the first time.
func looked(t *testing.T, s *Store) rows {
	t.Helper()
	settle()
	fresh, err := Open(s.path, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	mb, err := fresh.Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	defer mb.Close()
	all := rows{}
	all.take(changes(t, mb, "", rows{}))
	return all
}

// Random writes of ours and of others: what is told is what is there.
func TestWatchRandomly(t *testing.T) {
	t.Parallel()
	rounds := 0
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		s, m, known, cursor, reads := knownBox(t)
		for round := range 8 {
			for range rng.IntN(4) {
				randomly(t, rng, s, m, known)
			}
			before := reads.Load()
			d := changes(t, m, cursor, known)
			known.take(d)
			if cursor = d.Cursor; reads.Load() == before && d.Stamp != "" {
				rounds++
			}
			if truth := looked(t, s); !maps.EqualFunc(known, truth, mail.Flags.Equal) {
				t.Fatalf("seed %d, round %d: known is %v\nthere is %v", seed, round, known, truth)
			}
		}
	}
	if rounds == 0 {
		t.Error("not one look went without a pass")
	}
}

// randomly does one thing: ours goes into known, as in a run of the engine.
func randomly(t *testing.T, rng *rand.Rand, s *Store, m *mailbox, known rows) {
	t.Helper()
	cur, fresh := boxPath(s, "INBOX", "cur"), boxPath(s, "INBOX", "new")
	keys := slices.Sorted(maps.Keys(known))
	key := keys[rng.IntN(len(keys))]
	switch rng.IntN(12) {
	case 0, 1, 2:
		known[deliver(t, m, outgoing{body: fmt.Sprint(rng.Uint64()), flags: `\Seen`})[0]] = mail.ParseFlags(`\Seen`)
	case 3, 4, 5:
		change := mail.FlagChange{Ref: mail.Ref{Key: key}, Delta: mail.FlagDelta{Add: mail.ParseFlags(`\Flagged`)}}
		states, err := m.SetFlags(t.Context(), []mail.FlagChange{change})
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range states {
			known[state.Ref.Key] = state.Flags
		}
	case 6, 7:
		gone, err := m.Remove(t.Context(), []mail.Ref{{Key: key}})
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range gone {
			delete(known, ref.Key)
		}
	case 8:
		put(t, "x", fresh, fmt.Sprintf("theirs%d", rng.Uint64()))
	case 9:
		if names := files(t, cur); len(names) > 0 {
			os.Remove(filepath.Join(cur, names[rng.IntN(len(names))]))
		}
	case 10:
		if names := files(t, fresh); len(names) > 0 {
			name := names[rng.IntN(len(names))]
			os.Rename(filepath.Join(fresh, name), filepath.Join(cur, name+":2,S"))
		}
	case 11:
		replaceAndRemove(cur)
	}
}

// A queue that runs over proves nothing any more, and the next look is a pass.
func TestWatchOverflows(t *testing.T) {
	t.Parallel()
	s, m, known, cursor, reads := knownBox(t)
	cur := boxPath(s, "INBOX", "cur")
	a, b := filepath.Join(cur, "cur1:2,S"), filepath.Join(cur, "cur1:2,FS")
	for range 10_000 { // 16,384 events is the kernel's usual limit
		if err := errors.Join(os.Rename(a, b), os.Rename(b, a)); err != nil {
			t.Fatal(err)
		}
	}
	os.Rename(a, b)
	before := reads.Load()
	d := changes(t, m, cursor, known)
	if reads.Load() == before || len(d.Flags) != 1 {
		t.Errorf("after an overflow Changes gives %+v", d)
	}
}

// Whatever the kernel says, nothing is read beyond it, and what makes no sense counts
// as lost.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00name\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff\xff\xffname"))
	f.Fuzz(func(t *testing.T, data []byte) {
		told := 0
		eachEvent(data, func(_ int, name []byte, sign int64) {
			if told += 16 + len(name); sign != 1 && sign != -1 {
				t.Errorf("sign %d", sign)
			}
		}, func(int) { told += 16 })
		if len(data) > 0 && told == 0 {
			t.Error("nothing was told")
		}
		if told > len(data)+16 {
			t.Errorf("%d octets tell of %d", len(data), told)
		}
	})
}
