package sync_test

import (
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/sync"
)

// Two equal messages that change places, in both directions and by either side, one
// of them deleted on the way: in a Maildir a key comes to a mailbox that it, or the
// row that has it, is just leaving.
func TestEqualMessagesChangePlaces(t *testing.T) {
	t.Parallel()
	for bits := range 32 {
		bit := func(i int) int { return bits >> i & 1 }
		w := newWorld()
		for _, box := range []string{"X", "Y"} {
			w.store[0].AddBox(box)
		}
		w.store[0].Put("X", mail.ParseFlags(`\Seen`), day, original)
		w.store[0].Put("Y", mail.ParseFlags(`\Flagged`), day.Add(time.Duration(bit(4))*time.Hour), original)
		w.mustRun(t, sync.TwoWay(), nil)
		for s, st := range w.store {
			boxes := [2]string{"X", "Y"}
			from, to := boxes[bit(s)], boxes[1-bit(s)]
			gone, moved := st.Messages(to)[0].Ref, st.Messages(from)[0].Ref
			if bit(2+s) == 0 {
				st.Del(to, gone)
			} else {
				st.MoveMsg(to, gone, from)
			}
			st.MoveMsg(from, moved, to)
		}
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		for _, st := range w.store {
			if n := len(st.Messages("X")) + len(st.Messages("Y")); n == 0 {
				t.Errorf("nothing is left\nbefore\n%safter\n%s", before, w)
			}
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}
