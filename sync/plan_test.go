package sync

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

// One flag has two values in each of two bases and two sides: all sixteen rows,
// under every direction that a policy may allow.
func TestMergeFlagsOneFlag(t *testing.T) {
	t.Parallel()
	for _, flag := range []mail.Flags{mail.ParseFlags(`\Seen`), mail.ParseFlags("work")} {
		for bits := range 64 {
			on := func(i int) mail.Flags {
				if bits>>i&1 == 1 {
					return flag
				}
				return mail.Flags{}
			}
			base, now := [2]mail.Flags{on(0), on(1)}, [2]mail.Flags{on(2), on(3)}
			var p Policy
			p.May[0].Flags, p.May[1].Flags = bits>>4&1 == 1, bits>>5&1 == 1
			do, after := mergeFlags(p, [2]func(mail.Flags) mail.Flags{}, base, now)
			for s := range 2 {
				o := 1 - s
				want := now[s]
				changed, otherChanged := now[s] != base[s], now[o] != base[o]
				if p.May[s].Flags && otherChanged && (!changed || !now[o].IsZero()) {
					want = now[o] // the other side's change is done here; an addition beats a removal
				}
				if got := now[s].Apply(do[s]); got != want || after[s] != want {
					t.Errorf("base %v now %v allowed %v: side %d becomes %v, recorded %v, want %v", base, now, p.May, s, got, after[s], want)
				}
			}
		}
	}
}

func TestMergeFlagsKeepsWhatASideCannotHold(t *testing.T) {
	t.Parallel()
	noKeywords := func(f mail.Flags) mail.Flags { return mail.Flags{System: f.System} }
	now := [2]mail.Flags{mail.ParseFlags(`\Seen`, "work"), {}}
	do, after := mergeFlags(TwoWay(), [2]func(mail.Flags) mail.Flags{nil, noKeywords}, [2]mail.Flags{}, now)
	if want := mail.ParseFlags(`\Seen`); do[1].Add != want || after[1] != want {
		t.Errorf("side B is told to add %v and recorded with %v, want %v", do[1].Add, after[1], want)
	}
	do, _ = mergeFlags(TwoWay(), [2]func(mail.Flags) mail.Flags{nil, noKeywords}, after, [2]mail.Flags{now[0], after[1]})
	if !do[0].IsZero() || !do[1].IsZero() {
		t.Errorf("the next run changes %v, want nothing", do)
	}
}

func pairedRow(id int64) *state.Row {
	return &state.Row{ID: id, Mailbox: 1, Ref: [2]mail.Ref{{UID: uint32(id)}, {Key: fmt.Sprint("k", id)}}, Size: 10}
}

// What may happen to a pair's message on one side, as a delta says it.
func happen(d *mail.Delta, ref mail.Ref, what string) {
	switch what {
	case "flags":
		d.Flags = append(d.Flags, mail.FlagState{Ref: ref, Flags: mail.ParseFlags(`\Flagged`)})
	case "deleted":
		d.Flags = append(d.Flags, mail.FlagState{Ref: ref, Flags: mail.ParseFlags(`\Deleted`)})
	case "gone":
		d.Gone = append(d.Gone, ref)
	}
}

// The conflict matrix of one paired message, without moves (see FindMoves), for
// each policy. "=" is nothing, "F" flags set on that side, "R" removed there,
// "K" kept and marked, "X" the row is forgotten.
func TestPlanKnownMatrix(t *testing.T) {
	t.Parallel()
	tests := []struct{ a, b, sync, backup, mirror string }{
		{"", "", "=", "=", "="},
		{"", "flags", "FA", "rec", "rec"},
		{"", "deleted", "FA", "rec", "rec"},
		{"", "gone", "RA", "K", "K"},
		{"flags", "", "FB", "FB", "FB"},
		{"flags", "flags", "rec", "rec", "rec"},
		{"flags", "deleted", "FA FB", "FB", "FB"},
		{"flags", "gone", "RA note", "K", "K"},
		{"deleted", "", "FB", "FB", "FB"},
		{"deleted", "flags", "FA FB", "FB", "FB"},
		{"deleted", "deleted", "rec", "rec", "rec"},
		{"deleted", "gone", "RA", "K", "K"},
		{"gone", "", "RB", "K", "RB"},
		{"gone", "flags", "RB note", "K", "RB note"},
		{"gone", "deleted", "RB", "K", "RB"},
		{"gone", "gone", "X", "X", "X"},
	}
	for _, tt := range tests {
		for _, p := range []struct {
			policy Policy
			want   string
		}{{TwoWay(), tt.sync}, {Backup(), tt.backup}, {Mirror(), tt.mirror}} {
			in := Input{Mailbox: 1, Policy: p.policy, Rows: []*state.Row{pairedRow(7)}}
			happen(&in.Delta[0], mail.Ref{UID: 7}, tt.a)
			happen(&in.Delta[1], mail.Ref{Key: "k7"}, tt.b)
			if got := summarise(PlanKnown(in)); got != p.want {
				t.Errorf("%s: A %q, B %q: plan %q, want %q", p.policy.Name, tt.a, tt.b, got, p.want)
			}
		}
	}
}

func summarise(p Plan) string {
	var parts []string
	for _, f := range p.Flags {
		for s := range f.Do {
			if !f.Do[s].IsZero() {
				parts = append(parts, "F"+state.Side(s).String())
			}
		}
	}
	for s := range p.Removes {
		if len(p.Removes[s]) > 0 {
			parts = append(parts, "R"+state.Side(s).String())
		}
	}
	for _, r := range p.Records {
		if r.Gone != [2]int64{} {
			parts = append(parts, "K")
		} else {
			parts = append(parts, "rec")
		}
	}
	if len(p.Forget) > 0 {
		parts = append(parts, "X")
	}
	if len(p.Notes) > 0 {
		parts = append(parts, "note")
	}
	if len(parts) == 0 {
		return "="
	}
	out := parts[0]
	for _, s := range parts[1:] {
		out += " " + s
	}
	return out
}

func msg(uid uint32, key, id string, size int64, digest byte) mail.Message {
	m := mail.Message{Ref: mail.Ref{UID: uid, Key: key}, Size: size, Date: time.Unix(1000, 0)}
	m.ID = mail.Identity{MessageID: mail.HashMessageID(id), Described: true}
	if digest != 0 {
		m.ID.Digest[0] = digest
	}
	return m
}

// New on both sides: what is paired, what is copied, and what must be read
// before anybody knows.
func TestPlanNewPairs(t *testing.T) {
	t.Parallel()
	later := msg(2, "", "<a>", 5, 0)
	later.Date = time.Unix(2000, 0)
	draft := msg(1, "", "<a>", 5, 0)
	draft.Flags.System = mail.Draft
	tests := []struct {
		name          string
		trust         Trust
		a, b          []mail.Message
		pairs, copies int
		unclear       int // copies with a candidate
	}{
		{"equal digests", TrustDigest, []mail.Message{msg(1, "", "<a>", 5, 1)}, []mail.Message{msg(0, "k", "<a>", 5, 1)}, 1, 0, 0},
		{"other digests", TrustID, []mail.Message{msg(1, "", "<a>", 5, 1)}, []mail.Message{msg(0, "k", "<b>", 6, 2)}, 0, 2, 0},
		{"other digests, a server may have altered it", TrustID, []mail.Message{msg(1, "", "<a>", 5, 1)}, []mail.Message{msg(0, "k", "<a>", 5, 2)}, 0, 1, 1},
		{"another size, too", TrustID, []mail.Message{msg(1, "", "<a>", 6, 1)}, []mail.Message{msg(0, "k", "<a>", 5, 2)}, 0, 1, 1},
		{"unknown digest never pairs by itself", TrustDigest, []mail.Message{msg(1, "", "<a>", 5, 0)}, []mail.Message{msg(0, "k", "<a>", 5, 2)}, 0, 1, 1},
		{"by date", TrustDate, []mail.Message{msg(1, "", "<a>", 5, 0)}, []mail.Message{msg(0, "k", "<a>", 5, 2)}, 1, 0, 0},
		{"other date", TrustDate, []mail.Message{later}, []mail.Message{msg(0, "k", "<a>", 5, 2)}, 0, 1, 1},
		{"other date, adopted", TrustID, []mail.Message{later}, []mail.Message{msg(0, "k", "<a>", 5, 2)}, 1, 0, 0},
		{"a draft is read", TrustID, []mail.Message{draft}, []mail.Message{msg(0, "k", "<a>", 5, 2)}, 1, 0, 0},
		{"no Message-ID, by date", TrustDate, []mail.Message{msg(1, "", "", 5, 0)}, []mail.Message{msg(0, "k", "", 5, 2)}, 1, 0, 0},
		{"other size", TrustID, []mail.Message{msg(1, "", "<a>", 5, 0)}, []mail.Message{msg(0, "k", "<a>", 6, 2)}, 0, 2, 0},
		{"multiset", TrustDigest, []mail.Message{msg(1, "", "<a>", 5, 1), msg(2, "", "<a>", 5, 1), msg(3, "", "<a>", 5, 1)},
			[]mail.Message{msg(0, "k", "<a>", 5, 1)}, 1, 2, 0},
		{"multiset of unknown, all equal on one side", TrustDate, []mail.Message{msg(1, "", "<a>", 5, 0), msg(2, "", "<a>", 5, 0)},
			[]mail.Message{msg(0, "k", "<a>", 5, 1), msg(0, "l", "<a>", 5, 1), msg(0, "m", "<a>", 5, 1)}, 2, 1, 0},
		{"multiset of unknown, not equal", TrustDate, []mail.Message{msg(1, "", "<a>", 5, 0), msg(2, "", "<a>", 5, 0)},
			[]mail.Message{msg(0, "k", "<a>", 5, 1), msg(0, "l", "<a>", 5, 2)}, 0, 2, 2},
	}
	for _, tt := range tests {
		in := Input{Mailbox: 1, Policy: TwoWay(), Trust: tt.trust}
		in.Delta[0].New, in.Delta[1].New = tt.a, tt.b
		p := PlanNew(in)
		pairs, unclear := 0, 0
		for _, r := range p.Records {
			if !r.Ref[0].IsZero() && !r.Ref[1].IsZero() {
				pairs++
			}
		}
		for _, f := range p.Flags {
			if !f.Row.Ref[0].IsZero() && !f.Row.Ref[1].IsZero() {
				pairs++
			}
		}
		for _, c := range p.Copies {
			if len(c.Maybe) > 0 {
				unclear++
			}
		}
		if pairs != tt.pairs || len(p.Copies) != tt.copies || unclear != tt.unclear {
			t.Errorf("%s: %d pairs, %d copies, %d of them unclear; want %d, %d, %d", tt.name, pairs, len(p.Copies), unclear, tt.pairs, tt.copies, tt.unclear)
		}
	}
}

// With no base flags are only added, and \Deleted is not spread.
func TestPlanNewPairSpreadsNoDeletion(t *testing.T) {
	t.Parallel()
	a, b := msg(1, "", "<a>", 5, 1), msg(0, "k", "<a>", 5, 1)
	a.Flags, b.Flags = mail.ParseFlags(`\Deleted`, `\Seen`), mail.ParseFlags("work")
	in := Input{Mailbox: 1, Policy: TwoWay()}
	in.Delta[0].New, in.Delta[1].New = []mail.Message{a}, []mail.Message{b}
	p := PlanNew(in)
	if len(p.Flags) != 1 {
		t.Fatalf("%d flag actions, want 1", len(p.Flags))
	}
	do := p.Flags[0].Do
	if want := mail.ParseFlags(`\Seen`); do[1].Add != want || !do[1].Remove.IsZero() {
		t.Errorf("side B is told %+v, want to add %v", do[1], want)
	}
	if want := mail.ParseFlags("work"); do[0].Add != want || !do[0].Remove.IsZero() {
		t.Errorf("side A is told %+v, want to add %v", do[0], want)
	}
}

func TestPlanDoesNotDependOnOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 9))
		in := Input{Mailbox: 1, Policy: TwoWay(), Trust: Trust(rng.IntN(3))}
		for i := range 12 {
			in.Rows = append(in.Rows, pairedRow(int64(i+1)))
			happen(&in.Delta[0], mail.Ref{UID: uint32(i + 1)}, []string{"", "flags", "gone"}[rng.IntN(3)])
			happen(&in.Delta[1], mail.Ref{Key: fmt.Sprint("k", i+1)}, []string{"", "flags", "gone"}[rng.IntN(3)])
			in.Delta[0].New = append(in.Delta[0].New, msg(uint32(100+i), "", fmt.Sprintf("<%d>", rng.IntN(4)), 5, byte(rng.IntN(3))))
			in.Delta[1].New = append(in.Delta[1].New, msg(0, fmt.Sprint("n", i), fmt.Sprintf("<%d>", rng.IntN(4)), 5, byte(1+rng.IntN(3))))
		}
		known, fresh := PlanKnown(in), PlanNew(in)
		rng.Shuffle(len(in.Rows), reflect.Swapper(in.Rows))
		for s := range in.Delta {
			d := &in.Delta[s]
			d.New, d.Flags, d.Gone = slices.Clone(d.New), slices.Clone(d.Flags), slices.Clone(d.Gone)
			rng.Shuffle(len(d.New), reflect.Swapper(d.New))
			rng.Shuffle(len(d.Flags), reflect.Swapper(d.Flags))
			rng.Shuffle(len(d.Gone), reflect.Swapper(d.Gone))
		}
		if got := PlanKnown(in); !reflect.DeepEqual(got, known) {
			t.Fatalf("seed %d: PlanKnown depends on the order of its input", seed)
		}
		if got := PlanNew(in); !reflect.DeepEqual(got, fresh) {
			t.Fatalf("seed %d: PlanNew depends on the order of its input", seed)
		}
	}
}

func TestFindMoves(t *testing.T) {
	t.Parallel()
	row := func(id, box int64, m mail.Message) Lost {
		return Lost{&state.Row{ID: id, Mailbox: box, Size: m.Size, Date: m.Date, Ident: m.ID}}
	}
	later := msg(9, "", "<a>", 5, 0)
	later.Date = time.Unix(2000, 0)
	tests := []struct {
		name  string
		lost  []Lost
		found []Found
		want  int
	}{
		{"by Message-ID, size and date", []Lost{row(1, 1, msg(1, "", "<a>", 5, 3))}, []Found{{2, msg(9, "", "<a>", 5, 0)}}, 1},
		{"the same mailbox is no move", []Lost{row(1, 1, msg(1, "", "<a>", 5, 3))}, []Found{{1, msg(9, "", "<a>", 5, 0)}}, 0},
		{"another date", []Lost{row(1, 1, msg(1, "", "<a>", 5, 3))}, []Found{{2, later}}, 0},
		{"another digest", []Lost{row(1, 1, msg(1, "", "<a>", 5, 3))}, []Found{{2, msg(9, "", "<a>", 5, 4)}}, 0},
		{"no Message-ID", []Lost{row(1, 1, msg(1, "", "", 5, 3))}, []Found{{2, msg(9, "", "", 5, 0)}}, 0},
		{"no Message-ID, digest", []Lost{row(1, 1, msg(1, "", "", 5, 3))}, []Found{{2, msg(9, "", "", 5, 3)}}, 1},
		{"each once", []Lost{row(1, 1, msg(1, "", "<a>", 5, 3)), row(2, 1, msg(2, "", "<a>", 5, 3))},
			[]Found{{2, msg(9, "", "<a>", 5, 0)}, {3, msg(9, "", "<a>", 5, 0)}, {3, msg(10, "", "<a>", 5, 0)}}, 2},
	}
	for _, tt := range tests {
		if got := FindMoves(tt.lost, tt.found); len(got) != tt.want {
			t.Errorf("%s: %d moves, want %d", tt.name, len(got), tt.want)
		}
	}
}

func TestGuardBounds(t *testing.T) {
	t.Parallel()
	big := Loss{Mailbox: "other", Held: 100000}
	loss := func(mailbox string, side state.Side, n, held int) Loss {
		return Loss{Mailbox: mailbox, Side: side, Delete: n, Held: held}
	}
	tests := []struct {
		name   string
		losses []Loss
		limits Limits
		stop   bool
	}{
		{"nothing", []Loss{loss("x", 0, 0, 100)}, Limits{}, false},
		{"19 of 95: 20 %, too few", []Loss{loss("x", 0, 19, 95), big}, Limits{}, false},
		{"20 of 100: 20 %", []Loss{loss("x", 0, 20, 100), big}, Limits{}, true},
		{"20 of 105: 19 %", []Loss{loss("x", 0, 20, 105), big}, Limits{}, false},
		{"21 of 100", []Loss{loss("x", 1, 21, 100), big}, Limits{}, true},
		{"all 4 of 4", []Loss{loss("x", 0, 4, 4), big}, Limits{}, false},
		{"all 5 of 5", []Loss{loss("x", 0, 5, 5), big}, Limits{}, true},
		{"account: 20 of 199", []Loss{loss("x", 0, 10, 100), loss("y", 0, 10, 99)}, Limits{}, true},
		{"account: 20 of 200", []Loss{loss("x", 0, 10, 100), loss("y", 0, 10, 100)}, Limits{}, false},
		{"account, two sides apart", []Loss{loss("x", 0, 10, 60), loss("y", 1, 10, 60)}, Limits{}, false},
		{"max", []Loss{loss("x", 0, 5, 5)}, Limits{Max: 5}, false},
		{"over max", []Loss{loss("x", 0, 3, 500), loss("y", 0, 3, 500)}, Limits{Max: 5}, true},
		{"a whole mailbox", []Loss{{Mailbox: "x", Delete: 30, Held: 30, Whole: true}, big}, Limits{}, false},
		{"a whole mailbox, most of the account", []Loss{{Mailbox: "x", Delete: 30, Held: 30, Whole: true}, loss("y", 0, 0, 100)}, Limits{}, true},
		{"a whole mailbox, over max", []Loss{{Mailbox: "x", Delete: 6, Held: 6, Whole: true}, big}, Limits{Max: 5}, true},
		{"off", []Loss{loss("x", 0, 100, 100)}, Limits{Off: true}, false},
	}
	for _, tt := range tests {
		err := Guard(tt.losses, tt.limits)
		if got := err != nil; got != tt.stop {
			t.Errorf("%s: %v, want a refusal: %v", tt.name, err, tt.stop)
		}
		if err != nil && mail.AsError(err).Kind != mail.KindGuard {
			t.Errorf("%s: kind %v, want the guard's", tt.name, mail.AsError(err).Kind)
		}
	}
}
