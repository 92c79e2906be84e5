package sync_test

import (
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/sync"
)

// A tree with fewer messages than the server's mailbox, which comes in windows:
// what the tree has is in the last of them. A user saw each of those messages
// twice if they were compared with the first window only.
func TestFirstSyncComparesWithAllWindows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b int }{{1100, 200}, {200, 1100}, {1100, 1100}} {
		w := newWorld()
		for s, n := range []int{c.a, c.b} {
			w.store[s].AddBox("INBOX")
			for i := range n {
				k := max(c.a, c.b) - n + i // the last ones are the same on both sides
				w.store[s].Put("INBOX", mail.Flags{}, day.Add(time.Duration(k)*time.Second), text(k))
			}
		}
		w.mustRun(t, sync.TwoWay(), nil)
		for s, st := range w.store {
			if got, want := len(st.Messages("INBOX")), max(c.a, c.b); got != want {
				t.Errorf("%d and %d messages: side %d has %d after the first sync, want %d", c.a, c.b, s, got, want)
			}
		}
		w.checkQuiet(t, sync.TwoWay())
	}
}
