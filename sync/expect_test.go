package sync_test

import (
	gosync "sync"
	"testing"

	"postbag/internal/mail"
	"postbag/sync"
)

// meter is a Progress that adds up.
type meter struct {
	notes
	mu             gosync.Mutex
	expected, done [2]int64 // messages, octets
	first          [2]int64 // what was expected when the first message was done
}

func (m *meter) Expect(messages int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expected[0] += int64(messages)
	m.expected[1] += bytes
}

func (m *meter) Done(messages int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done[0] == 0 {
		m.first = m.expected
	}
	m.done[0] += int64(messages)
	m.done[1] += bytes
}

// What there is to be done is known before the first message is done, and right
// in the end: also when mailboxes come in windows, and when a message is left out
// or there already.
func TestProgressAddsUp(t *testing.T) {
	t.Parallel()
	for _, window := range []int{0, 100} {
		w := newWorld()
		for box, n := range map[string]int{"INBOX": 2477, "Work": 12, "Archive": 11} {
			w.store[0].AddBox(box)
			for i := range n {
				w.store[0].Put(box, mail.Flags{}, day, text(i))
			}
		}
		var m meter
		w.mustRun(t, sync.Backup(), func(o *sync.Options) { o.Progress, o.Window = &m, window })
		if m.first[0] != 2500 || m.done[0] != 2500 || m.done != m.expected {
			t.Errorf("window %d: expected %v at first, %v in the end, did %v; want 2500 messages", window, m.first, m.expected, m.done)
		}
		// Without the state everything is listed again, and nothing is to be done.
		w.journal = newWorld().journal
		m = meter{}
		w.mustRun(t, sync.Backup(), func(o *sync.Options) { o.Progress, o.Window = &m, window })
		if m.done != m.expected {
			t.Errorf("window %d: there already: expected %v, did %v", window, m.expected, m.done)
		}
	}
}
