package sync_test

import (
	"fmt"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// setFlag sets or takes away flags of the one message in X.
func setFlag(st *storetest.Store, f mail.Flags, on bool) {
	m := st.Messages("X")[0]
	now := m.Flags.Minus(f)
	if on {
		now = now.Union(f)
	}
	if !now.Equal(m.Flags) {
		st.Flag("X", m.Ref, now)
	}
}

// A flag has two values in the base and on each side: eight rows, for every flag
// that there is, and for a keyword that both sides spell differently. Where both
// agree nobody is told anything.
func TestEveryFlagMergesThreeWays(t *testing.T) {
	t.Parallel()
	for _, letter := range []string{"D", "F", "P", "R", "S", "T", "w", "wW"} {
		spelling := [2]mail.Flags{lettersToFlags(t, letter[:1]), lettersToFlags(t, letter[len(letter)-1:])}
		for bits := range 8 {
			base, a, b := bits&1 == 1, bits&2 == 2, bits&4 == 4
			t.Run(fmt.Sprintf("%s/base %v, A %v, B %v", letter, base, a, b), func(t *testing.T) {
				t.Parallel()
				flags := "R"
				if letter == "R" {
					flags = "S"
				}
				with := flags
				if base {
					with += letter[:1]
				}
				w := paired(t, with, nil)
				setFlag(w.store[0], spelling[0], a)
				setFlag(w.store[1], spelling[1], b)
				before := w.clone(-1)
				w.mustRun(t, sync.TwoWay(), nil)
				want, do := lettersToFlags(t, flags), ""
				if a == b && a || a != b && !base {
					want = want.Union(spelling[0])
				}
				switch {
				case a == b:
				case a == base:
					do = "A flags"
				default:
					do = "B flags"
				}
				for s, st := range w.store {
					if got := st.Messages("X")[0].Flags; !got.Equal(want) {
						t.Errorf("side %v has %v, want %v", state.Side(s), got, want)
					}
				}
				if got := done(w); got != do {
					t.Errorf("the run does %q, want %q", got, do)
				}
				w.checkQuiet(t, sync.TwoWay())
				crashEverywhere(t, before, sync.TwoWay(), w, true)
			})
		}
	}
}

// What a side can hold, as servers differ in what they keep for good.
var holds = []struct {
	name  string
	holds func(mail.Flags) mail.Flags
}{
	{"nothing", func(mail.Flags) mail.Flags { return mail.Flags{} }},
	{"no keywords", func(f mail.Flags) mail.Flags { return mail.Flags{System: f.System} }},
	{"one keyword, which it has", func(f mail.Flags) mail.Flags {
		return mail.Flags{System: f.System, Keywords: mail.NewKeywords("WORK").Minus(mail.NewKeywords("WORK").Minus(f.Keywords))}
	}},
	{"no draft, not answered", func(f mail.Flags) mail.Flags {
		return f.Minus(mail.ParseFlags(`\Draft`, `\Answered`))
	}},
}

// A flag that a side cannot hold stays on the other, through additions, removals
// and moves, and costs nothing: the next run is quiet.
func TestFlagsThatASideCannotHold(t *testing.T) {
	t.Parallel()
	steps := []struct {
		side  state.Side // where it happens; the other is the one that is limited
		what  string
		want  string // there afterwards
		moved bool
	}{
		{what: "+w", want: "Sw"}, {what: "+DFPR", want: "DFPRSw"}, {what: "-S", want: "DFPRw"}, {what: "-DPw", want: "FR"},
		{what: "+w, to Y", want: "FRw", moved: true}, {what: "+STW, -F", want: "RSTw", moved: true},
	}
	for limited := range 2 {
		for _, h := range holds {
			t.Run(fmt.Sprintf("side %v holds %s", state.Side(limited), h.name), func(t *testing.T) {
				t.Parallel()
				w := paired(t, "", nil)
				w.store[limited].Holds = h.holds
				full := w.store[1-limited]
				setFlag(full, lettersToFlags(t, "S"), true)
				w.mustRun(t, sync.TwoWay(), nil)
				for _, step := range steps {
					box, after := "X", "X"
					if step.moved {
						after = "Y"
						if len(full.Messages("X")) == 0 {
							box = "Y"
						}
					}
					happen(t, full, box, step.what)
					before := w.clone(-1)
					rep := w.mustRun(t, sync.TwoWay(), nil)
					want := lettersToFlags(t, step.want)
					if len(rep.Problems) > 1 || len(rep.Problems) == 1 && !rep.Problems[0].Warning {
						t.Fatalf("after %q the report says %+v, want one warning at most", step.what, rep.Problems)
					}
					if got := full.Messages(after)[0].Flags; !got.Equal(want) {
						t.Fatalf("after %q the side without limits has %v, want %v", step.what, got, want)
					}
					if got := w.store[limited].Messages(after)[0].Flags; !got.Equal(h.holds(want)) {
						t.Fatalf("after %q the limited side has %v, want %v", step.what, got, h.holds(want))
					}
					w.checkQuiet(t, sync.TwoWay())
					crashEverywhere(t, before, sync.TwoWay(), w, true)
				}
			})
		}
	}
}

// The user is told once, when it happens, which flags went nowhere.
func TestFlagNotHeldIsReportedOnce(t *testing.T) {
	t.Parallel()
	w := paired(t, "", nil)
	w.store[0].Put("X", mail.Flags{}, day, edited)
	w.mustRun(t, sync.TwoWay(), nil)
	w.store[0].Holds = holds[1].holds
	for _, m := range w.store[1].Messages("X") {
		w.store[1].Flag("X", m.Ref, lettersToFlags(t, "FPw"))
	}
	rep := w.mustRun(t, sync.TwoWay(), nil)
	want := "this side cannot hold: $Forwarded work"
	if len(rep.Problems) != 1 || rep.Problems[0].Reason != want || !rep.Problems[0].Warning {
		t.Errorf("problems %+v, want the warning %q", rep.Problems, want)
	}
	if rep := w.mustRun(t, sync.TwoWay(), nil); len(rep.Problems) != 0 {
		t.Errorf("the next run says it again: %+v", rep.Problems)
	}
}

// So it is with a message that is copied: it goes, and what goes nowhere is told
// with the first message, once.
func TestFlagNotHeldOfANewMessageIsReportedOnce(t *testing.T) {
	t.Parallel()
	w := paired(t, "", nil)
	w.store[1].Holds = holds[1].holds
	for _, letters := range []string{"S", "FPw", "Sw"} {
		w.store[0].Put("X", lettersToFlags(t, letters), day, edited+letters)
	}
	rep := w.mustRun(t, sync.Migrate(), nil)
	want := "this side cannot hold: $Forwarded work"
	if len(rep.Problems) != 1 || rep.Problems[0].Reason != want || !rep.Problems[0].Warning {
		t.Errorf("problems %+v, want the warning %q", rep.Problems, want)
	}
	if got, want := len(w.store[1].Messages("X")), len(w.store[0].Messages("X")); got != want || want < 3 {
		t.Errorf("the other side has %d messages, want %d", got, want)
	}
	if rep := w.mustRun(t, sync.Migrate(), nil); len(rep.Problems) != 0 {
		t.Errorf("the next run says it again: %+v", rep.Problems)
	}
}

// What a limited side can still say is heard: a flag set there, a flag taken away
// there, and a message moved there, keep on the other side what it cannot hold.
func TestChangesOnALimitedSide(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ what, want string }{
		{"+F", "Y:m[FSw]"}, {"-S", "Y:m[w]"}, {"to X", "X:m[Sw]"}, {"to X, +F", "X:m[FSw]"},
	} {
		w := paired(t, "", nil)
		w.store[1].Holds = holds[1].holds
		happen(t, w.store[0], "X", "+Sw, to Y")
		w.mustRun(t, sync.TwoWay(), nil)
		happen(t, w.store[1], "Y", tt.what)
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		if got := shown(w.store[0]); got != tt.want {
			t.Errorf("%q on a side without keywords: the other has %q, want %q", tt.what, got, tt.want)
		}
		if got, want := shown(w.store[1]), strings.Replace(tt.want, "w", "", 1); got != want {
			t.Errorf("%q on a side without keywords: it has %q, want %q", tt.what, got, want)
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}

// Without a base flags are only added, and \Deleted is not spread, unless both
// sides have it.
func TestFlagsWithoutABase(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ a, b, wantA, wantB string }{
		{"", "", "", ""}, {"S", "", "S", "S"}, {"", "S", "S", "S"}, {"FS", "RS", "FRS", "FRS"}, {"w", "W", "w", "w"},
		{"DFPRSw", "", "DFPRSw", "DFPRSw"}, {"T", "", "T", ""}, {"", "ST", "S", "ST"}, {"T", "T", "T", "T"},
	} {
		w := newWorld()
		for s, flags := range []string{tt.a, tt.b} {
			w.store[s].AddBox("X")
			w.store[s].Put("X", lettersToFlags(t, flags), day, original)
		}
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		for s, want := range []string{tt.wantA, tt.wantB} {
			if got := shown(w.store[s]); got != "X:m["+want+"]" {
				t.Errorf("A %q, B %q: side %v holds %q, want %q", tt.a, tt.b, state.Side(s), got, "X:m["+want+"]")
			}
		}
		if n := w.store[0].Fetched + w.store[1].Fetched; n != 0 {
			t.Errorf("A %q, B %q: %d bodies are read, want none", tt.a, tt.b, n)
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}

// Each flag, none and all of them arrive with a new message, from either side.
// \Deleted is one of them: a mark is no reason to lose a message.
func TestNewMessageBringsItsFlags(t *testing.T) {
	t.Parallel()
	for _, flags := range []string{"", "D", "F", "P", "R", "S", "T", "w", "DFPRSTw"} {
		for s := range 2 {
			w := paired(t, "S", nil)
			w.store[s].Put("Y", lettersToFlags(t, flags), day, edited)
			before := w.clone(-1)
			w.mustRun(t, sync.TwoWay(), nil)
			checkSides(t, w, "X:m[S] Y:e["+flags+"]")
			if got, want := done(w), fmt.Sprintf("%v new", state.Side(1-s)); got != want {
				t.Errorf("new on %v with %q: the run does %q, want %q", state.Side(s), flags, got, want)
			}
			if got := w.store[1-s].Messages("Y")[0].Date; !got.Equal(day) {
				t.Errorf("new on %v: its date is %v there, want %v", state.Side(s), got, day)
			}
			w.checkQuiet(t, sync.TwoWay())
			crashEverywhere(t, before, sync.TwoWay(), w, true)
		}
	}
}

// A message arrives on a server without a flag that the server said it would take. It
// keeps the flag where it comes from, also when the run is cut off after it was sent.
func TestFlagLostOnArrivalIsNotTakenForRemoved(t *testing.T) {
	t.Parallel()
	for s := range 2 {
		w := paired(t, "", nil)
		w.store[s].Loses = lettersToFlags(t, "F")
		w.store[1-s].Put("X", lettersToFlags(t, "FS"), day, edited)
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		for side, want := range map[int]string{s: "S", 1 - s: "FS"} {
			if got := w.store[side].Messages("X")[1].Flags; !got.Equal(lettersToFlags(t, want)) {
				t.Errorf("to side %v: side %v has it with %v, want %s", state.Side(s), state.Side(side), got, want)
			}
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}
