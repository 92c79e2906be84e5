package imapstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// rungs are the ladder's rungs, from the top.
var rungs = []struct {
	name string
	can  abilities
}{
	{"QRESYNC", abilities{condstore: true, qresync: true, search: true}},
	{"CONDSTORE", abilities{condstore: true, search: true}},
	{"CONDSTORE without SEARCH", abilities{condstore: true}},
	{"plain", abilities{search: true}},
	{"plain without SEARCH", abilities{}},
}

// side is one side of a mailbox as the engine has it.
type side struct {
	t      *testing.T
	box    *fakeMailbox
	can    abilities
	known  *knownMap
	cursor mail.Cursor
	limit  int
}

func (s *side) changes() (mail.Delta, error) {
	can := s.can
	l := &look{
		conn: s.box, known: s.known, limit: s.limit, can: &can, before: s.box.counters(),
		again: func(context.Context) (counters, error) { return s.box.counters(), nil },
	}
	s.box.noCondstore = !s.can.condstore
	l.before = s.box.counters()
	return l.changes(s.t.Context(), s.cursor)
}

// sync takes deltas until there is no more, and checks each.
func (s *side) sync() mail.Delta {
	s.t.Helper()
	for range 10_000 {
		d, err := s.changes()
		if err != nil {
			s.t.Fatalf("changes: %v", err)
		}
		for _, r := range d.Gone {
			if _, there := s.box.messages[r.UID]; there {
				s.t.Fatalf("%v is told to be gone, and is there", r)
			}
		}
		if d.More && (len(d.Gone) > 0 || d.Stamp != "") {
			s.t.Fatalf("More with Gone or Stamp: %+v", d)
		}
		if d.Unsettled != "" && (len(d.Gone) > 0 || d.Stamp != "") {
			s.t.Fatalf("Unsettled with Gone or Stamp: %+v", d)
		}
		s.known.apply(s.t, d)
		s.cursor = d.Cursor
		if !d.More {
			return d
		}
		if s.box.during != nil {
			s.box.during()
		}
	}
	s.t.Fatal("More does not end")
	return mail.Delta{}
}

// edit does something at random to the mailbox.
func edit(f *fakeMailbox, rnd *rand.Rand) {
	uids := f.uids()
	switch n := rnd.IntN(10); {
	case n < 4 || len(uids) == 0:
		if rnd.IntN(4) == 0 {
			f.next += uint32(rnd.IntN(5000)) // messages that came and went
		}
		f.add(randomFlags(rnd).Names()...)
	case n < 7:
		f.store(uids[rnd.IntN(len(uids))], randomFlags(rnd))
	default:
		f.expunge(uids[rnd.IntN(len(uids))])
	}
}

func randomFlags(rnd *rand.Rand) mail.Flags {
	f := mail.Flags{System: mail.System(rnd.IntN(32))}
	if rnd.IntN(3) == 0 {
		f.Keywords = mail.NewKeywords("Junk", "$Label1")
	}
	return f
}

func rounds() int {
	if os.Getenv("POSTBAG_LONG") != "" {
		return 3000
	}
	return 120
}

// Whatever happens in a mailbox, also while it is looked at, and whatever the
// server offers: in the end the deltas add up to what is there, and nothing that
// is there was ever told to be gone.
func TestChangesEqualModel(t *testing.T) {
	t.Parallel()
	for _, rung := range rungs {
		for _, variant := range []string{"", "shuffled", "no UIDNEXT", "refusing"} {
			t.Run(rung.name+" "+variant, func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(rounds()) {
					changesEqualModel(t, rung.can, variant, seed)
					if t.Failed() {
						t.Fatalf("seed %d", seed)
					}
				}
			})
		}
	}
}

func changesEqualModel(t *testing.T, can abilities, variant string, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	box := newFake(t)
	switch variant {
	case "shuffled":
		box.shuffle = rnd
	case "no UIDNEXT":
		box.noUIDNext = true
	case "refusing":
		box.refuse = func(command string) bool {
			return rnd.IntN(2) == 0 && (strings.Contains(command, "SINCE") || command == "SEARCH")
		}
	}
	s := &side{t: t, box: box, can: can, known: newKnown(), limit: 1 + rnd.IntN(30)}
	for range rnd.IntN(100) {
		edit(box, rnd)
	}
	for range 6 {
		quiet := rnd.IntN(2) == 0
		box.during = func() {
			for range rnd.IntN(3) {
				edit(box, rnd)
			}
		}
		if quiet {
			box.during = nil
		}
		s.sync()
		for range rnd.IntN(12) {
			edit(box, rnd)
		}
	}
	box.during, box.refuse = nil, nil
	d := s.sync()
	if d.Unsettled != "" {
		d = s.sync()
	}
	if d.Unsettled != "" {
		t.Errorf("unsettled although nothing happens: %s", d.Unsettled)
	}
	if err := s.known.equals(box); err != nil {
		t.Error(err)
	}
	if want := box.counters().stamp(); variant != "refusing" && d.Stamp != want {
		t.Errorf("got stamp %q, want %q", d.Stamp, want)
	}
	if d, err := s.changes(); err != nil || !d.Empty() {
		t.Errorf("got %+v, %v after everything was told", d, err)
	}
}

// A server that leaves messages out of its answers must not delete any, nor
// leave any out for good.
func TestChangesWhenServerForgets(t *testing.T) {
	t.Parallel()
	for _, rung := range rungs {
		t.Run(rung.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(rounds()) {
				rnd := rand.New(rand.NewPCG(seed, 2))
				box := newFake(t)
				s := &side{t: t, box: box, can: rung.can, known: newKnown(), limit: 1 + rnd.IntN(30)}
				for range 6 {
					for range rnd.IntN(30) {
						edit(box, rnd)
					}
					share := rnd.IntN(4) // 0: everything
					box.lose = func(uint32) bool { return share > 0 && rnd.IntN(4) <= share }
					if share == 3 {
						box.lose = func(uint32) bool { return true }
					}
					s.sync() // fails the test when it deletes what is there
				}
				box.lose = nil
				edit(box, rnd)
				s.sync()
				if err := s.known.equals(box); err != nil && s.can.condstore == false {
					t.Fatalf("seed %d: %v", seed, err)
				}
				// With CONDSTORE alone a message that was forgotten while another was
				// expunged cannot be missed: the count closes.
				for uid := range box.messages {
					if s.can.condstore && !s.can.qresync {
						break
					}
					if _, ok := s.known.flags[uid]; !ok {
						t.Fatalf("seed %d: UID %d is there, and was never told", seed, uid)
					}
				}
			}
		})
	}
}

func TestChangesCommands(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		can  abilities
		edit func(*fakeMailbox)
		want string
	}{
		{"nothing", rungs[0].can, func(*fakeMailbox) {}, ""},
		{"nothing, plain", rungs[3].can, func(*fakeMailbox) {}, "FETCH 1:4294967295"},
		{"new mail", rungs[0].can, func(f *fakeMailbox) { f.add() }, "FETCH 101; FETCH 1:100 CHANGEDSINCE 101 VANISHED"},
		{"flag", rungs[1].can, func(f *fakeMailbox) { f.store(5, mail.ParseFlags(`\Seen`)) }, "FETCH 1:100 CHANGEDSINCE 101"},
		{"expunge", rungs[0].can, func(f *fakeMailbox) { f.expunge(5) }, "FETCH 1:100 CHANGEDSINCE 101 VANISHED"},
		{"expunge", rungs[1].can, func(f *fakeMailbox) { f.expunge(5) }, "FETCH 1:100 CHANGEDSINCE 101; SEARCH"},
		{"expunge", rungs[2].can, func(f *fakeMailbox) { f.expunge(5) }, "FETCH 1:100 CHANGEDSINCE 101; FETCH 1:4294967295"},
		{"MODSEQ went back", rungs[0].can, func(f *fakeMailbox) { f.modseq = 50 }, "FETCH 1:4294967295"},
		{"all gone", rungs[3].can, func(f *fakeMailbox) { clear(f.messages) }, "SEARCH"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			box := newFake(t)
			for range 100 {
				box.add()
			}
			s := &side{t: t, box: box, can: test.can, known: newKnown(), limit: 1000}
			s.sync()
			test.edit(box)
			box.commands = nil
			s.sync()
			if got := strings.Join(box.commands, "; "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err := s.known.equals(box); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestChangesWhenUIDNextWentBack(t *testing.T) {
	t.Parallel()
	box := newFake(t)
	for range 100 {
		box.add()
	}
	s := &side{t: t, box: box, can: rungs[0].can, known: newKnown(), limit: 1000}
	s.sync()
	box.next = 60 // and messages with higher UIDs are known
	_, err := s.changes()
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindIntegrity || e.Scope != mail.ScopeMailbox {
		t.Errorf("got %v, want an integrity error", err)
	}
	// Nothing that is known has such a UID: nothing is wrong, but nothing is
	// proved either.
	for uid := uint32(60); uid <= 100; uid++ {
		delete(s.known.flags, uid)
		delete(box.messages, uid)
	}
	delete(box.messages, 7)
	d, err := s.changes()
	if err != nil || d.Unsettled == "" || len(d.Gone) > 0 || d.Stamp != "" {
		t.Errorf("got %+v, %v, want it unsettled", d, err)
	}
	s.cursor = d.Cursor
	s.sync()
	if err := s.known.equals(box); err != nil {
		t.Errorf("the next time: %v", err)
	}
}

// What happens to messages between two windows is told with the last one.
func TestChangesBetweenWindows(t *testing.T) {
	t.Parallel()
	for _, rung := range rungs {
		box := newFake(t)
		for range 10 {
			box.add()
		}
		s := &side{t: t, box: box, can: rung.can, known: newKnown(), limit: 4}
		d, err := s.changes()
		if err != nil || !d.More {
			t.Fatalf("%s: got %+v, %v, want more", rung.name, d, err)
		}
		s.known.apply(t, d)
		s.cursor = d.Cursor
		box.store(1, mail.ParseFlags(`\Flagged`))
		box.expunge(2)
		for range 9 {
			box.add()
		}
		s.sync()
		if err := s.known.equals(box); err != nil {
			t.Errorf("%s: %v", rung.name, err)
		}
	}
}

// Own writes come back by CHANGEDSINCE. The delta has to be empty, or no run
// would ever have nothing to do.
func TestChangesAfterOwnWrites(t *testing.T) {
	t.Parallel()
	for _, rung := range rungs {
		t.Run(rung.name, func(t *testing.T) {
			t.Parallel()
			box := newFake(t)
			for range 50 {
				box.add()
			}
			s := &side{t: t, box: box, can: rung.can, known: newKnown(), limit: 1000}
			s.sync()
			for uid := uint32(1); uid < 20; uid++ {
				f := mail.ParseFlags(`\Seen`, "$Done")
				box.store(uid, f)
				s.known.flags[uid] = mail.ParseFlags(`\seen`, "$DONE")
			}
			s.known.flags[box.add(`\Flagged`)] = mail.ParseFlags(`\Flagged`)
			box.expunge(30)
			delete(s.known.flags, 30)
			d, err := s.changes()
			if err != nil || !d.Empty() || d.Unsettled != "" {
				t.Errorf("got %+v, %v, want it empty", d, err)
			}
			if want := box.counters().stamp(); d.Stamp != want {
				t.Errorf("got stamp %q, want %q", d.Stamp, want)
			}
		})
	}
}

func TestWindowsWhenUIDsAreSparse(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 3))
	tests := []struct {
		name string
		uids func(i int) uint32
	}{
		{"dense", func(i int) uint32 { return uint32(i + 1) }},
		{"even", func(i int) uint32 { return uint32(i+1) * 2_000_000 }},
		{"at the end", func(i int) uint32 { return uint32(4_294_000_000 + i) }},
		{"two heaps", func(i int) uint32 { return uint32(i + 1 + i/1000*4_000_000_000) }},
		{"at random", func(i int) uint32 { return uint32(i)*2_000_000 + 1 + rnd.Uint32N(1_999_999) }},
		{"up to the last", func(i int) uint32 { return uint32(maxUID - 1999 + i) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			box := newFake(t)
			for i := range 2000 {
				box.next = test.uids(i)
				box.messages[box.next] = fakeMessage{modseq: 1}
			}
			if box.next < maxUID {
				box.next++
			} else {
				box.noUIDNext = true
			}
			s := &side{t: t, box: box, can: rungs[0].can, known: newKnown(), limit: 100}
			most := 0
			for {
				d, err := s.changes()
				if err != nil {
					t.Fatal(err)
				}
				most = max(most, len(d.New))
				s.known.apply(t, d)
				s.cursor = d.Cursor
				if !d.More {
					break
				}
			}
			if err := s.known.equals(box); err != nil {
				t.Error(err)
			}
			if most > 300 {
				t.Errorf("got %d new messages at a time, want about 100", most)
			}
			if n := len(box.commands); n > 80 {
				t.Errorf("got %d commands for 20 times 100 messages", n)
			}
		})
	}
}

// What a server sends without being asked is in no window.
func TestCollector(t *testing.T) {
	t.Parallel()
	w := collector{want: 3, span: uidSpan{10, 20}}
	for _, uid := range []uint32{9, 0, 21, 20, 12, 12, 10, 11, 13, 19, 18, 17} {
		if err := w.add(imapconn.Item{UID: uid, Size: -1}); err != nil {
			t.Fatal(err)
		}
	}
	found, covered := w.finish()
	var got []uint32
	for _, it := range found {
		got = append(got, it.UID)
	}
	if want := []uint32{10, 11, 12}; !slices.Equal(got, want) || covered != (uidSpan{10, 12}) {
		t.Errorf("got %v of %v, want %v of 10 to 12", got, covered, want)
	}
}

func TestCursor(t *testing.T) {
	t.Parallel()
	good := cursor{validity: 7, next: 12, modseq: 1 << 63}
	if got := parseCursor(mail.Cursor(good.String()), 7); got != good {
		t.Errorf("got %v, want %v", got, good)
	}
	begin := cursor{validity: 7, next: 1}
	for _, bad := range []string{
		"", "x", "v=7", "v=7 n=12", "v=7 n=12 m=", "v=7 n=12 m=-1", "v=7 n=12 m=1 ", " v=7 n=12 m=1", "v=07 n=12 m=1",
		"v=7 n=0 m=1", "v=7 n=4294967296 m=1", "v=8 n=12 m=1", "v=7 n=12 m=18446744073709551616", "v=7 n=+12 m=1", "n=12 v=7 m=1",
		"v=7 n=12 m=1 c=3",
	} {
		if got := parseCursor(mail.Cursor(bad), 7); got != begin {
			t.Errorf("%q: got %v, want %v", bad, got, begin)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("v=7 n=12 m=1")
	f.Add("v=1 n=4294967295 m=18446744073709551615")
	f.Fuzz(func(t *testing.T, s string) {
		c := parseCursor(mail.Cursor(s), 7)
		if again := parseCursor(mail.Cursor(c.String()), 7); again != c {
			t.Errorf("%q: got %v, then %v", s, c, again)
		}
	})
}

func TestStamp(t *testing.T) {
	t.Parallel()
	all := counters{validity: 1, next: 2, messages: 3, modseq: 4}
	if got, want := all.stamp(), "v=1 n=2 m=4 c=3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, c := range []counters{{next: 2, messages: 3, modseq: 4}, {validity: 1, messages: 3, modseq: 4}, {validity: 1, next: 2, messages: 3}} {
		if got := c.stamp(); got != "" {
			t.Errorf("%+v: got %q, want none", c, got)
		}
	}
	if (counters{validity: 1, next: 2, modseq: 4}).stamp() == "" {
		t.Error("an empty mailbox has no stamp")
	}
}

// lister over n messages that are dense and have no flags.
type bulk struct{ n uint32 }

func benchmarkKnown(n uint32) *sortedKnown {
	k := &sortedKnown{}
	for uid := uint32(1); uid <= n; uid++ {
		k.uids = append(k.uids, uid)
	}
	return k
}

// sortedKnown is many known messages without flags.
type sortedKnown struct{ uids []uint32 }

func (k *sortedKnown) Count() int { return len(k.uids) }

func (k *sortedKnown) Each(_ context.Context, from, to mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	i, _ := slices.BinarySearch(k.uids, from.UID)
	for ; i < len(k.uids) && (to.UID == 0 || k.uids[i] <= to.UID); i++ {
		if err := fn(mail.Ref{UID: k.uids[i]}, mail.Flags{}); err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkFullMerge(b *testing.B) {
	for _, n := range []uint32{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			known := benchmarkKnown(n)
			b.ReportAllocs()
			for b.Loop() {
				can := abilities{}
				l := &look{
					conn: bulk{n}, known: known, limit: 1000, can: &can,
					before: counters{validity: 1, next: n + 1, messages: n},
				}
				d, err := l.changes(b.Context(), mail.Cursor(cursor{validity: 1, next: n + 1}.String()))
				if err != nil || !d.Empty() {
					b.Fatal(d, err)
				}
			}
		})
	}
}
