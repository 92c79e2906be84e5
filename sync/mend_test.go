package sync_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/repair"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// strict refuses what no repaired message has: NUL octets, and lines that end in LF
// alone.
func strict(body []byte) *mail.Error {
	if bytes.IndexByte(body, 0) >= 0 || bytes.Contains(bytes.ReplaceAll(body, []byte("\r\n"), nil), []byte("\n")) {
		return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindRefused, Err: errors.New("NO malformed message")}
	}
	return nil
}

// fixing makes a run repair what is refused.
func fixing(o *sync.Options) { o.Fix = repair.All }

func clean(i int) string {
	return fmt.Sprintf("From: a\r\nDate: x\r\nMessage-ID: <%d@mend>\r\n\r\nbody %d\r\n", i, i)
}

// malformed are messages that strict refuses, and what the repairs make of them.
var malformed = map[string]string{
	"From: a\nMessage-ID: <lf@mend>\n\nlines":            "From: a\r\nMessage-ID: <lf@mend>\r\nDate: Fri, 02 Jan 2026 03:04:05 +0000\r\n\r\nlines\r\n",
	"Message-ID: <m@mend>\r\nDate: x\r\n\r\nN\x00UL\r\n": "Message-ID: <m@mend>\r\nDate: x\r\nFrom: unknown@unknown.invalid\r\n\r\nNUL\r\n",
	"From: a\nDate: x\nMessage-ID: <n@mend>\n\n\x00" + strings.Repeat("x", 900) + " \x00" + strings.Repeat("y", 900): "From: a\r\nDate: x\r\nMessage-ID: <n@mend>\r\n\r\n" +
		strings.Repeat("x", 900) + " \r\n" + strings.Repeat("y", 900) + "\r\n",
}

// mendWorld is a world in which some of the messages of a side are refused by the
// other; want is what the other is to hold.
func mendWorld(from state.Side) (w *world, want map[string]int) {
	w = newWorld()
	w.store[state.B] = storetest.NewStore(from == state.B) // what refuses is a server
	want = make(map[string]int)
	w.store[from].AddBox("INBOX")
	for i := range 8 {
		w.store[from].Put("INBOX", mail.Flags{}, day, clean(i))
		want[clean(i)] = 1
	}
	for _, raw := range slices.Sorted(maps.Keys(malformed)) {
		w.store[from].Put("INBOX", mail.Flags{System: mail.Seen}, day, raw)
		want[malformed[raw]]++
	}
	// Twice the same, and one like the others that is not refused.
	raw := slices.Sorted(maps.Keys(malformed))[0]
	w.store[from].Put("INBOX", mail.Flags{}, day, raw)
	want[malformed[raw]]++
	untouched := "Message-ID: <none@mend>\r\n\r\nno From, no Date, no line end"
	w.store[from].Put("INBOX", mail.Flags{}, day, untouched)
	want[untouched]++
	w.store[from.Other()].Refuse = strict
	return w, want
}

// brief shows contents.
func brief(set map[string]int) string {
	var list []string
	for body, n := range set {
		if strings.Contains(body, "body ") && n == 1 {
			continue
		}
		list = append(list, fmt.Sprintf("%d x %.60q", n, body))
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// directions are policies under which messages go to B, or to A.
var directions = map[state.Side]sync.Policy{state.A: sync.Backup(), state.B: sync.TwoWay()}

// checkMended checks that a side holds what it should, the other all that it held,
// and that another run has nothing to do.
func checkMended(t *testing.T, what string, w *world, from state.Side, before, want map[string]int) {
	t.Helper()
	if got := bodies(w.store[from.Other()]); !maps.Equal(got, want) {
		t.Errorf("%s: the other side holds %s, want %s", what, brief(got), brief(want))
	}
	if got := bodies(w.store[from]); !maps.Equal(got, before) {
		t.Errorf("%s: the side that is read holds %s, and held %s", what, brief(got), brief(before))
	}
	again := w.clone(-1)
	rep := again.mustRun(t, directions[from], fixing)
	if n := again.store[0].Steps.Count(); n != 0 || rep.Changed() || len(rep.Problems) > 0 {
		t.Errorf("%s: a second run does %d steps, problems %+v", what, n, rep.Problems)
	}
}

// A message that is refused for its form arrives repaired, is named with what was
// done, and is not sent again. What was not refused arrives as it is, whatever could
// be repaired of it.
func TestMend(t *testing.T) {
	t.Parallel()
	for from, policy := range directions {
		w, want := mendWorld(from)
		before := bodies(w.store[from])
		rep := w.mustRun(t, policy, fixing)
		var named []string
		for _, p := range rep.Problems {
			if !p.Warning || p.Side != from || p.Ref.IsZero() || p.Date.IsZero() || p.Mailbox != "INBOX" || !strings.Contains(p.Reason, "NO malformed message") {
				t.Errorf("from %v: got %+v, want a warning about a message there", from, p)
			}
			named = append(named, strings.Join(p.Repaired, ","))
		}
		slices.Sort(named)
		if want := []string{"crlf,date", "crlf,nul,long-lines", "crlf,nul,long-lines", "nul,from"}; !slices.Equal(named, want) && !slices.Equal(named, repeatFirst(named)) {
			t.Errorf("from %v: named were %q, want %q", from, named, want)
		}
		if len(named) != 4 {
			t.Errorf("from %v: %d messages were named, want 4", from, len(named))
		}
		checkMended(t, fmt.Sprint("from ", from), w, from, before, want)
		if from == state.B {
			w.verifyMended(t)
		}
	}
}

// repeatFirst is list when it names each kind of repair and one of them twice.
func repeatFirst(list []string) []string {
	kinds := slices.Compact(slices.Clone(list))
	if len(kinds) == 3 && len(list) == 4 {
		return list
	}
	return nil
}

// verifyMended expects that nothing is wrong, and that with deep the four repaired
// messages are named.
func (w *world) verifyMended(t *testing.T) {
	t.Helper()
	for _, deep := range []bool{false, true} {
		var found []sync.Finding
		v, err := sync.Verify(t.Context(), sync.VerifyOptions{A: w.store[0], B: w.store[1], Journal: w.journal, Deep: deep,
			Found: func(f sync.Finding) { found = append(found, f) }})
		want := map[bool]int{true: 4}[deep]
		if err != nil || v.Findings != 0 || v.Repaired != want || len(found) != want {
			t.Errorf("deep %v: %v, %d wrong, %d repaired: %+v", deep, err, v.Findings, v.Repaired, found)
		}
	}
}

// Without the option, or where no repair helps, a message stays refused; the report
// says why.
func TestNotMended(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		fix    repair.Set
		body   string
		refuse func([]byte) *mail.Error
		reason string
	}{
		{"not asked for", 0, "A: b\n\nx", strict, "NO malformed message"},
		{"another repair", repair.NUL, "A: b\n\nx", strict, "there is nothing to repair"},
		{"half", repair.NUL, "A: b\n\nx\x00", strict, "repaired (nul), and refused again: NO malformed message"},
		{"nothing", repair.All, clean(1), func([]byte) *mail.Error {
			return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindRefused, Err: errors.New("NO virus")}
		}, "NO virus; there is nothing to repair"},
		{"stuck", repair.All, "A: b\n\n" + strings.Repeat("x", 2000), strict, "it cannot be repaired: a line of more than 998 octets"},
		{"too large", repair.All, "A: b\n\nx", func([]byte) *mail.Error {
			return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindTooLarge, Err: errors.New("NO [TOOBIG]")}
		}, "NO [TOOBIG]"},
	} {
		w := newWorld()
		w.store[0].AddBox("INBOX")
		w.store[0].Put("INBOX", mail.Flags{}, day, test.body)
		w.store[1].Refuse = test.refuse
		for range 2 {
			rep, err := w.run(sync.Backup(), func(o *sync.Options) { o.Fix = test.fix })
			if err != nil || rep.Outcome != sync.Partial || len(rep.Problems) != 1 || !strings.HasSuffix(rep.Problems[0].Reason, test.reason) &&
				!strings.Contains(rep.Problems[0].Reason, test.reason) || rep.Problems[0].Warning {
				t.Errorf("%s: %v, outcome %s, problems %+v", test.name, err, rep.Outcome, rep.Problems)
			}
			if n := len(w.store[1].Messages("INBOX")); n != 0 {
				t.Errorf("%s: %d messages were taken", test.name, n)
			}
		}
		rep, err := w.run(sync.Backup(), func(o *sync.Options) { o.Fix, o.FailRefused = test.fix, true })
		if err == nil || rep.Outcome != sync.Failed {
			t.Errorf("%s: a run that is to fail ends with %v, %s", test.name, err, rep.Outcome)
		}
	}
}

// A message that was left out is repaired by the first run that may, and one that is
// taken as it is meanwhile is not.
func TestMendLater(t *testing.T) {
	t.Parallel()
	w, want := mendWorld(state.A)
	before := bodies(w.store[0])
	if rep, err := w.run(sync.Backup(), nil); err != nil || len(rep.Problems) != 4 {
		t.Fatalf("%v, %+v", err, rep.Problems)
	}
	taken := w.clone(-1)
	w.mustRun(t, sync.Backup(), fixing)
	checkMended(t, "later", w, state.A, before, want)
	taken.store[1].Refuse = nil
	taken.mustRun(t, sync.Backup(), fixing)
	checkMended(t, "taken", taken, state.A, before, before)
}

// A crash before any step, and another run, leave every message once.
func TestMendCrash(t *testing.T) {
	t.Parallel()
	for from, policy := range directions {
		first, want := mendWorld(from)
		before := bodies(first.store[from])
		for stop := 0; ; stop++ {
			c := first.clone(stop)
			c.store[from.Other()].Refuse = strict
			_, err := c.run(policy, fixing)
			if err != nil && !errors.Is(err, storetest.ErrCrash) {
				t.Fatalf("crash before step %d: %v", stop, err)
			}
			again := c.clone(-1)
			again.store[from.Other()].Refuse = strict
			again.mustRun(t, policy, fixing)
			checkMended(t, fmt.Sprintf("from %v, crash before step %d", from, stop), again, from, before, want)
			if from == state.B {
				again.verifyMended(t)
			}
			if err == nil || t.Failed() {
				break
			}
		}
	}
}

// What the destination has of a repair that no state knows of is found by its
// content, and not sent again.
func TestMendAfterLostState(t *testing.T) {
	t.Parallel()
	w, want := mendWorld(state.A)
	before := bodies(w.store[0])
	w.mustRun(t, sync.Backup(), fixing)
	w.journal = storetest.NewJournal()
	rep := w.mustRun(t, sync.Backup(), fixing)
	if n := rep.Side[1].New; n != 0 {
		t.Errorf("%d messages were sent again", n)
	}
	checkMended(t, "after a lost state", w, state.A, before, want)
}

// A mailbox whose messages are numbered anew still has the pairs that are not equal.
func TestMendRenumbered(t *testing.T) {
	t.Parallel()
	for from, policy := range directions {
		for side := range 2 {
			w, want := mendWorld(from)
			before := bodies(w.store[from])
			w.mustRun(t, policy, fixing)
			w.store[side].Renumber("INBOX")
			w.mustRun(t, policy, fixing)
			checkMended(t, fmt.Sprintf("from %v, side %d numbered anew", from, side), w, from, before, want)
		}
	}
}

// Flags, moves and deletions of a repaired message follow like those of any other.
func TestMendedIsAPair(t *testing.T) {
	t.Parallel()
	for side := range 2 {
		w, _ := mendWorld(state.B)
		w.store[side].AddBox("Work")
		w.mustRun(t, sync.TwoWay(), fixing)
		sent := [2]int{w.store[0].Fetched, w.store[1].Fetched}
		for i, m := range w.store[side].Messages("INBOX") {
			switch i % 3 {
			case 0:
				w.store[side].Flag("INBOX", m.Ref, mail.Flags{System: mail.Flagged})
			case 1:
				w.store[side].MoveMsg("INBOX", m.Ref, "Work")
			default:
				w.store[side].Del("INBOX", m.Ref)
			}
		}
		w.mustRun(t, sync.TwoWay(), fixing)
		if got := [2]int{w.store[0].Fetched, w.store[1].Fetched}; got != sent {
			t.Errorf("side %d: bodies were fetched: %v, want none beyond %v", side, got, sent)
		}
		for _, box := range []string{"INBOX", "Work"} {
			a, b := w.store[0].Messages(box), w.store[1].Messages(box)
			if len(a) != len(b) || len(a) == 0 {
				t.Errorf("side %d: %s has %d and %d messages", side, box, len(a), len(b))
			}
			for _, msgs := range [][]storetest.Msg{a, b} {
				for _, m := range msgs {
					if flagged := m.Flags.System&mail.Flagged != 0; flagged != (box == "INBOX") {
						t.Errorf("side %d: a message of %s has the flags %v", side, box, m.Flags)
					}
				}
			}
		}
		w.checkQuiet(t, sync.TwoWay())
	}
}

// Two places are compared with what the state knows of repaired messages; without it
// they differ.
func TestCompareMended(t *testing.T) {
	t.Parallel()
	for _, swapped := range []bool{false, true} {
		w, _ := mendWorld(state.A)
		w.mustRun(t, sync.Backup(), fixing)
		for _, deep := range []bool{false, true} {
			o := sync.CompareOptions{A: w.store[0], B: w.store[1], Deep: deep, Swapped: swapped}
			if swapped {
				o.A, o.B = o.B, o.A
			}
			if v, err := sync.Compare(t.Context(), o); err != nil || v.Findings == 0 {
				t.Errorf("without the state: %+v, %v", v, err)
			}
			o.Repairs = w.journal
			v, err := sync.Compare(t.Context(), o)
			if want := map[bool]int{true: 4}[deep]; err != nil || v.Findings != 0 || v.Repaired != want {
				t.Errorf("deep %v, swapped %v: %+v, %v", deep, swapped, v, err)
			}
		}
	}
}
