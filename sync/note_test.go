package sync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	gosync "sync"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/sync"
)

// notes is a Progress that keeps its lines.
type notes struct {
	mu    gosync.Mutex
	lines []string
}

func (*notes) Expect(int, int64) {}
func (*notes) Done(int, int64)   {}

func (n *notes) Note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

// The verbose hear of each mailbox when it is done, of each message that is left
// out, and of each new try.
func TestNotes(t *testing.T) {
	t.Parallel()
	w := filled(t, 10)
	list := w.store[0].Messages("INBOX")
	w.store[0].Del("INBOX", list[0].Ref)
	w.store[0].Flag("INBOX", list[1].Ref, mail.ParseFlags(`\Flagged`))
	w.store[0].Put("INBOX", mail.Flags{}, day, text(100))
	bad := w.store[0].Put("INBOX", mail.Flags{}, day, text(101))
	w.store[0].Unreadable = func(body []byte) *mail.Error {
		if string(body) == text(101) {
			return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindRefused, Err: errors.New("corrupt item")}
		}
		return nil
	}
	var n notes
	failures := 1
	if _, err := w.run(sync.Backup(), func(o *sync.Options) {
		o.Progress, o.A = &n, flaky{o.A, &failures}
		o.Sleep = func(context.Context, time.Duration) error { return nil }
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"INBOX: connection reset; trying again in 1s",
		fmt.Sprintf("INBOX: %s is left out: corrupt item", bad),
		"INBOX: 1 new, 1 flag, 1 kept that the other side deleted",
	}
	if !slices.Equal(n.lines, want) {
		t.Errorf("got  %q\nwant %q", n.lines, want)
	}
	n.lines = nil
	w.store[0].Unreadable = nil
	w.store[0].Renumber("INBOX")
	w.mustRun(t, sync.Backup(), func(o *sync.Options) { o.Progress = &n })
	want = []string{"INBOX: numbered numbers its messages anew; matching them by content", "INBOX: 1 new"}
	if !slices.Equal(n.lines, want) {
		t.Errorf("got  %q\nwant %q", n.lines, want)
	}
}
