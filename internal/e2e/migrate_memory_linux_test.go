package e2e

import (
	"io"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// bulky are four mailboxes with so many messages of size each, all of them different,
// and a hundred of 150 KB, which no buffer should keep too many of.
func bulky(t testing.TB, each int, size int64) func(yield func(demo.Sample) bool) {
	date := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	return func(yield func(demo.Sample) bool) {
		for box := range 4 {
			for i := range each + 100 {
				n := size + int64(box*1000+i*4)
				if i >= each {
					n = int64(150_000 + box*1000 + i*4)
				}
				raw, err := io.ReadAll(demo.Large(n))
				if err != nil {
					t.Error(err)
					return
				}
				if !yield(demo.Sample{Mailbox: []string{"INBOX", "A", "B", "C"}[box], Date: date.Add(time.Duration(i) * time.Second), Raw: raw}) {
					return
				}
			}
		}
	}
}

// A migration from server to server with large messages on all of its connections at
// a time takes no more memory than any other run. With POSTBAG_LONG=1 they have 100 MB.
func TestMigrateMemory(t *testing.T) {
	if !long() {
		t.Parallel()
	}
	each, size := 1, int64(12<<20)
	if long() {
		each, size = 2, 100<<20
	}
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	to := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := from.NewUser()
	from.Fill(user, bulky(t, each, size))
	m := newMoving(t, from.Target(user), to.Target(to.NewUser()))
	m.runMeasured(t, m.args()...).want(t, 0)
	m.runMeasured(t, m.args("--json")...).want(t, 0).unchanged(t)
	v := m.args("--json")
	v[0] = "verify"
	m.runMeasured(t, v...).want(t, 0)
	if got, want := m.to.MustDump(t).Count(), 4*(each+100); got != want {
		t.Errorf("there are %d messages, want %d", got, want)
	}
}
