package sync_test

import (
	"slices"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// A message without a Message-ID that the server moved, while the reader flagged
// it: nothing shows the move before the message is read. The flags follow it.
func TestMoveThatShowsOnlyWhenRead(t *testing.T) {
	t.Parallel()
	const nameless = "Subject: no id\r\n\r\nbody\r\n"
	for _, moved := range []state.Side{state.A, state.B} {
		w := newWorld()
		w.store[0].AddBox("INBOX")
		w.store[0].AddBox("Work")
		// Not to be told by its date, either.
		w.store[0].Put("INBOX", mail.ParseFlags("work"), day, nameless)
		w.mustRun(t, sync.TwoWay(), nil)
		ref := w.store[moved].Messages("INBOX")[0].Ref
		other := w.store[moved.Other()].Messages("INBOX")[0].Ref
		w.store[moved].MoveMsg("INBOX", ref, "Work")
		w.store[moved.Other()].Flag("INBOX", other, mail.ParseFlags(`\Flagged`))
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		a, b := w.store[0].Content(true), w.store[1].Content(true)
		if !slices.Equal(a, b) || len(a) != 1 || len(w.store[0].Messages("Work")) != 1 || !w.store[0].Messages("Work")[0].Flags.Equal(mail.ParseFlags(`\Flagged`)) {
			t.Errorf("moved on %v, flagged on the other:\n%v", moved, w)
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}

// A mailbox of the Maildir was lost and made anew, while the server deleted, in
// another one, an equal of a message in it. That one is no move: the message is put
// back into its mailbox in this run, and the other is deleted.
func TestCopyOfAKnownMessageIsNoLateMove(t *testing.T) {
	t.Parallel()
	for _, lost := range []state.Side{state.A, state.B} {
		w := newWorld()
		for _, box := range []string{"INBOX", "Work"} {
			w.store[0].AddBox(box)
			w.store[0].Put(box, mail.Flags{}, day, text(1))
		}
		w.mustRun(t, sync.TwoWay(), nil)
		o := w.store[lost.Other()]
		o.Del("INBOX", o.Messages("INBOX")[0].Ref)
		w.store[lost].DropBox("Work")
		w.store[lost].AddBox("Work")
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		for s, st := range w.store {
			if inbox, work := len(st.Messages("INBOX")), len(st.Messages("Work")); inbox != 0 || work != 1 {
				t.Errorf("lost on %v: side %v has %d messages in INBOX and %d in Work, want 0 and 1", lost, state.Side(s), inbox, work)
			}
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}
