package e2e

import (
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// What a server refuses, alters or cannot hold is named, and costs nothing else:
// the rest is there once, the next run adds nothing, and a comparison of both tells.
func TestPairsOfWhatCannotBeHeld(t *testing.T) {
	eachOtherServer(t, func(t *testing.T, s otherServer, account func(string) imaptest.Target) {
		dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
		source, dest := dovecot.Target(dovecot.NewUser()), account("second")
		if _, err := source.Fill(into(demo.Corpus(133, 30), "INBOX", "v1.2", "a.b/c.d", "50% off", "<odd> & ~more~")); err != nil {
			t.Fatal(err)
		}
		if _, err := source.Fill(slices.Values(demo.Torture())); err != nil {
			t.Fatal(err)
		}
		do(t, client(t, source), "SELECT INBOX", "UID STORE 1:3 +FLAGS.SILENT (odd[1 odd}2 odd~3 Plain)")
		m := newMoving(t, source, dest)
		refusals, code := 0, 0
		for _, why := range s.habits.Odd {
			if strings.HasPrefix(why, "NO Message ") || strings.HasPrefix(why, "NO Zero") {
				refusals, code = 1, 3
			}
		}
		sum := m.migrate(t, "--json").want(t, code).summary(t)
		told := map[string]int{}
		for _, p := range sum.Problems {
			told[p.Kind]++
			if p.Reason == "" || p.Mailbox == "" {
				t.Errorf("a problem without a name: %+v", p)
			}
			if strings.HasPrefix(p.Reason, "this side cannot hold: ") {
				told["flags"]++
			}
			if strings.Contains(p.Reason, "altered by the server") {
				told["altered"]++
			}
		}
		if told["altered"] == 0 {
			t.Errorf("it does not say that messages were altered: %+v", sum.Problems)
		}
		if s.loud == (told["flags"] == 0) || refusals > 0 && told["refused"] == 0 {
			t.Errorf("it says %+v", sum.Problems)
		}
		once := dest.MustDump(t)
		if n := source.MustDump(t).Count(); once.Count() != sum.B.New || once.Count() < n/2 {
			t.Errorf("%d of %d messages are there, %d were told", once.Count(), n, sum.B.New)
		}
		again := m.migrate(t, "--json").want(t, code)
		again.unchanged(t)
		for _, p := range again.summary(t).Problems {
			if strings.HasPrefix(p.Reason, "this side cannot hold: ") {
				t.Errorf("it says again %+v", p)
			}
		}
		if diff := imaptest.Diff(once.String(), dest.MustDump(t).String()); diff != "" {
			t.Errorf("the second run changed the destination:\n%s", clip(diff))
		}
		m.explained(t, s, source.MustDump(t).Count()-once.Count())

		m.env = append(m.env, "XDG_STATE_HOME="+scratch(t))
		lost := m.migrate(t, "--json").want(t, code).summary(t)
		if cut := len(s.cutOff()); lost.B.New > cut {
			t.Errorf("without the state %d messages were sent again, want at most %d", lost.B.New, cut)
		}
		if got := dest.MustDump(t).Count(); got != once.Count()+lost.B.New {
			t.Errorf("there are %d messages, and there were %d", got, once.Count())
		}
	})
}

// cutOff are the samples of which a server keeps a part only: nothing tells what
// they were.
func (s otherServer) cutOff() []string {
	if s.name == "courier" {
		return []string{"1000 nested multiparts"}
	}
	return nil
}

// explained compares both sides: what the server altered is called so, and but for
// what it refused or cut off nothing else differs.
func (m *moving) explained(t *testing.T, s otherServer, left int) {
	t.Helper()
	kinds := map[string]int{}
	for _, e := range m.compare(t, "--deep").want(t, 3).events(t) {
		if e.Event == "finding" {
			kinds[e.Kind]++
		}
	}
	delete(kinds, "flags") // keywords that it cannot hold
	if kinds["altered"] < 4 || kinds["different"] != len(s.cutOff()) || kinds["missing"] != left || kinds["extra"] != 0 {
		t.Errorf("found %v, want some that it altered, %d that it cut off and %d that it did not take", kinds, len(s.cutOff()), left)
	}
}
