package sync_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// What lies in several mailboxes of a tree is sent once to a server that can link, and
// is in each of them there, with its flags. A crash anywhere ends the same.
func TestEachMessageIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			const n = 30
			w := newWorld()
			w.store[0].Links = true
			labels := []string{"INBOX", "Work", "Zoo"}
			copies := 0
			for i := range n {
				content := fmt.Sprintf("Message-ID: <s%d@x>\r\n\r\nsent %02d\r\n", i, i)
				for _, name := range labels[:1+i%3] {
					w.store[1].AddBox(name)
					w.store[1].Put(name, flagSets[(i+copies)%len(flagSets)], dateOf(content), content)
					copies++
				}
			}
			before := w.clone(-1)
			restore := func(o *sync.Options) { o.Restore, o.Workers = true, workers }
			w.mustRun(t, sync.Restore(), restore)
			if got := w.store[0].Linked; got != copies-n {
				t.Errorf("%d messages were linked, want %d: of %d copies each message is sent once", got, copies-n, copies)
			}
			if got, want := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(got, want) {
				t.Fatalf("the server holds\n%v\nwant\n%v", got, want)
			}
			w.checkQuiet(t, sync.Push())
			if workers == 1 {
				crashEverywhere(t, before, sync.Push(), w, true)
			}
		})
	}
}

// The same with labels that come and go in the tree, and a server that cannot always
// link: what it refuses is sent.
func TestSendOnceModel(t *testing.T) {
	t.Parallel()
	histories(t, 30, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 12))
		w := newWorld()
		w.store[0].Links = true
		a := newActor(rng, w)
		for _, name := range boxNames {
			w.store[1].AddBox(name)
		}
		show := showWhenFailed(t)
		for range 3 {
			a.labels(int(state.B))
			for _, m := range w.store[1].Messages("INBOX") {
				if rng.IntN(8) == 0 { // another date: the server does not link it
					w.store[1].Put("Work", mail.Flags{}, m.Date.AddDate(0, 0, 1), string(m.Body))
				}
			}
			before := w.clone(-1)
			*show = rounds{before, w}
			w.mustRun(t, sync.TwoWay(), nil)
			checkEqual(t, w, a)
			w.checkQuiet(t, sync.TwoWay())
			crashEverywhere(t, before, sync.TwoWay(), w, true)
		}
	})
}

// canceller interrupts a run at the first line that holds a text.
type canceller struct {
	at     string
	cancel context.CancelFunc
}

func (canceller) Expect(int, int64) {}
func (canceller) Done(int, int64)   {}
func (c canceller) Note(format string, args ...any) {
	if strings.Contains(fmt.Sprintf(format, args...), c.at) {
		c.cancel()
	}
}

// A run that is interrupted stops, also while it sends what a server would not link, and
// the next run sends the rest, once.
func TestSendingWhatIsNotLinkedCanBeInterrupted(t *testing.T) {
	t.Parallel()
	const n = 20
	w := newWorld()
	w.store[0].Links = true
	// What the server holds is not what was sent: it links nothing.
	w.store[0].Alter = func(body []byte) []byte { return append(bytes.Clone(body), "altered\r\n"...) }
	for i := range n {
		content := fmt.Sprintf("Message-ID: <i%d@x>\r\n\r\nsent %02d\r\n", i, i)
		for _, name := range []string{"INBOX", "Work"} {
			w.store[1].AddBox(name)
			w.store[1].Put(name, mail.Flags{}, dateOf(content), content)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rep, err := sync.Run(ctx, sync.Options{A: w.store[0], B: w.store[1], Policy: sync.Push(), Journal: w.journal, Command: "test", Workers: 1,
		Guard: sync.Limits{Off: true}, Progress: canceller{"not linked", cancel}})
	if err == nil || rep.Outcome != sync.Interrupted {
		t.Fatalf("the run ends as %q, with %v", rep.Outcome, err)
	}
	first, second := len(w.store[0].Messages("INBOX")), len(w.store[0].Messages("Work"))
	if first != n || second != 0 {
		t.Errorf("the server has %d and %d messages, want %d and none that was sent after the interruption", first, second, n)
	}
	w.mustRun(t, sync.Push(), nil)
	if first, second := len(w.store[0].Messages("INBOX")), len(w.store[0].Messages("Work")); first != n || second != n {
		t.Errorf("after the next run the server has %d and %d messages, want %d of each", first, second, n)
	}
}
