package sync_test

import (
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// onlyWrittenDown is a world with equal messages on both sides, which have these flags.
// They came after the first run, and one that may change nothing wrote each down as one
// of its side.
func onlyWrittenDown(t *testing.T, ids bool, flags [2][]mail.Flags) *world {
	t.Helper()
	w := newWorld()
	w.store[0].EmailIDs = ids
	for _, st := range w.store {
		st.AddBox("INBOX")
	}
	nothing := sync.Policy{Name: "nothing"}
	w.mustRun(t, nothing, nil)
	for s, list := range flags {
		for _, f := range list {
			w.store[s].Put("INBOX", f, day, original)
		}
	}
	w.mustRun(t, nothing, nil)
	return w
}

// ontoA brings what is new, and flags, to side A only.
func ontoA() sync.Policy {
	p := sync.Policy{Name: "onto A"}
	p.May[state.A] = sync.Allow{New: true, Flags: true}
	return p
}

// Of equal messages that a run without any right wrote down one by one, a later run
// pairs as many as there are on both sides. Cut off after the flags of a pair are set,
// and before it is on record, it pairs the same ones again.
func TestPairedAfterAnotherPolicy(t *testing.T) {
	t.Parallel()
	flagged := mail.ParseFlags(`\Flagged`)
	for _, onA := range [][]mail.Flags{{{}}, {{}, {}}, {mail.ParseFlags(`\Seen`)}} {
		for _, rekeyed := range []bool{false, true} {
			w := onlyWrittenDown(t, rekeyed, [2][]mail.Flags{onA, {flagged}})
			if rekeyed {
				w.store[0].Rekey("INBOX", w.store[0].Messages("INBOX")[0].Ref)
			}
			before := w.clone(-1)
			w.mustRun(t, ontoA(), nil)
			if n := bodies(w.store[0])[original]; n != len(onA) {
				t.Errorf("A has %d of the message, had %d, and B one\nbefore\n%safter\n%s", n, len(onA), before, w)
			}
			n := 0
			for _, m := range w.store[0].Messages("INBOX") {
				if m.Flags.System&flagged.System != 0 {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d messages of A got the flag of the one on B\n%s", n, w)
			}
			w.checkQuiet(t, ontoA())
			crashEverywhere(t, before, ontoA(), w, true)
		}
	}
}

// Flags that differ and that a policy leaves to another one are left to it by every run,
// not by the first alone.
func TestUnlikeStaysUnlike(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for s, f := range []string{`\Seen`, `\Flagged`} {
		w.store[s].AddBox("INBOX")
		w.store[s].Put("INBOX", mail.ParseFlags(f), day, original)
	}
	nothing := sync.Policy{Name: "nothing"}
	for range 2 {
		w.mustRun(t, nothing, nil)
		w.checkQuiet(t, nothing)
	}
	w.mustRun(t, sync.TwoWay(), nil)
	for _, st := range w.store {
		if f := st.Messages("INBOX")[0].Flags; !f.Equal(mail.ParseFlags(`\Seen`, `\Flagged`)) {
			t.Errorf("%s has the flags %v, want those of both", st.Account(), f)
		}
	}
}
