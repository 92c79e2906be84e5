package sync_test

import (
	"errors"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// failRefused makes a run end at a message that is refused.
func failRefused(o *sync.Options) { o.FailRefused = true }

// refusing is a world whose side B does not take one of ten messages.
func refusing(kind mail.Kind) *world {
	w := newWorld()
	w.store[0].AddBox("INBOX")
	for i := range 10 {
		w.store[0].Put("INBOX", mail.Flags{}, day, text(i))
	}
	w.store[1].Refuse = func(body []byte) *mail.Error {
		if strings.Contains(string(body), "body 4") {
			return &mail.Error{Scope: mail.ScopeMessage, Kind: kind, Err: errors.New("content filter")}
		}
		return nil
	}
	return w
}

// With FailRefused a run ends at the first message that its destination does not
// take, names it, and keeps what was copied. The next run tries it again, and when
// it is taken in nothing is there twice.
func TestFailRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range []mail.Kind{mail.KindRefused, mail.KindTooLarge} {
		w := refusing(kind)
		bad := w.store[0].Messages("INBOX")[4].Ref
		for round := range 3 {
			rep, err := w.run(sync.Backup(), failRefused)
			e := mail.AsError(err)
			if err == nil || e.Kind != mail.KindRefused || e.Mailbox != "INBOX" || e.Ref != bad || rep.Outcome != sync.Failed {
				t.Fatalf("round %d: error %v, outcome %s; want the refusal of %v", round, err, rep.Outcome, bad)
			}
			if p := rep.Problems; len(p) != 1 || p[0].Ref != bad || p[0].Reason != "content filter" || p[0].Kind != kind || p[0].Side != state.A {
				t.Fatalf("round %d: problems %+v, want one, of %v", round, p, bad)
			}
			if n := len(w.store[1].Messages("INBOX")); n < 5 || n > 9 {
				t.Fatalf("round %d: there are %d messages, want those that were sent with it or before", round, n)
			}
		}
		w.store[1].Refuse = nil
		w.mustRun(t, sync.Backup(), failRefused)
		for body, n := range bodies(w.store[1]) {
			if n != 1 {
				t.Errorf("%q is there %d times", body, n)
			}
		}
		if n := len(w.store[1].Messages("INBOX")); n != 10 {
			t.Fatalf("once it is taken in there are %d messages, want 10", n)
		}
		w.checkQuiet(t, sync.Backup())
	}
}

// A message that the source does not give is left out all the same: its
// destination had nothing to refuse.
func TestFailRefusedIsAboutTheDestination(t *testing.T) {
	t.Parallel()
	w := refusing(mail.KindRefused)
	w.store[0].Unreadable, w.store[1].Refuse = w.store[1].Refuse, nil
	rep, err := w.run(sync.Backup(), failRefused)
	if err != nil || rep.Outcome != sync.Partial || len(w.store[1].Messages("INBOX")) != 9 {
		t.Errorf("error %v, outcome %s, %d messages; want all but the one", err, rep.Outcome, len(w.store[1].Messages("INBOX")))
	}
}

// A batch holds no more messages than its side takes: with one a batch, nothing
// that comes after a refused message is there.
func TestBatchesOfASide(t *testing.T) {
	t.Parallel()
	for side, want := range []int{5, 4} {
		w := refusing(mail.KindRefused)
		if _, err := w.run(sync.Backup(), func(o *sync.Options) {
			failRefused(o)
			o.Batch.To[side] = 1
		}); err == nil {
			t.Fatal("the refusal did not end the run")
		}
		if got := len(w.store[1].Messages("INBOX")); got != want {
			t.Errorf("batches of one to side %v: %d messages were copied, want %d", state.Side(side), got, want)
		}
	}
}
