package sync_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	gosync "sync"
	"sync/atomic"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// labelled is a world whose side A shows some messages in several mailboxes, as a
// server with labels does, and whose side B can link. n messages have one, two or
// three labels each.
func labelled(n int) *world {
	w := newWorld()
	w.store[0].EmailIDs, w.store[1].Links = true, true
	boxes := []string{"All", "INBOX", "Work"}
	for _, name := range boxes {
		w.store[0].AddBox(name)
	}
	for i := range n {
		content := fmt.Sprintf("Message-ID: <l%d@x>\r\n\r\nlabelled %02d\r\n", i, i)
		for _, name := range boxes[:1+i%3] {
			w.store[0].Put(name, flagSets[i%len(flagSets)], dateOf(content), content)
		}
	}
	return w
}

// numbered makes side B of a world a server.
func (w *world) numbered() {
	w.store[1] = storetest.NewStore(false)
	w.store[1].Links = true
}

// A message with several labels is fetched once, and is in each of its mailboxes
// afterwards with its flags. A second run does nothing, and a crash anywhere ends the
// same.
func TestEachMessageIsFetchedOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"maildir", "server"} {
		for _, workers := range []int{1, 4} {
			t.Run(fmt.Sprint(kind, workers), func(t *testing.T) {
				const n = 40
				w := labelled(n)
				if kind == "server" {
					w.numbered()
				}
				before := w.clone(-1)
				w.mustRun(t, sync.Backup(), func(o *sync.Options) { o.Workers = workers })
				if got := w.store[0].Fetched; got != n {
					t.Errorf("%d bodies were fetched, want %d", got, n)
				}
				if got, want := w.store[1].Content(true), w.store[0].Content(true); !slices.Equal(got, want) {
					t.Fatalf("side B is\n%v\nwant\n%v", got, want)
				}
				w.checkQuiet(t, sync.Backup())
				if workers == 1 {
					crashEverywhere(t, before, sync.Backup(), w, true)
				}
			})
		}
	}
}

// A label that is added later is one more mailbox that the message is in, and costs
// no body.
func TestLabelAddedLater(t *testing.T) {
	t.Parallel()
	w := labelled(9)
	w.mustRun(t, sync.Backup(), nil)
	w.store[0].AddBox("Later")
	for _, m := range w.store[0].Messages("All") {
		w.store[0].Copy("All", m.Ref, "Later")
	}
	w.store[0].Fetched = 0
	w.mustRun(t, sync.Backup(), nil)
	if w.store[0].Fetched != 0 {
		t.Errorf("%d bodies were fetched", w.store[0].Fetched)
	}
	if got, want := w.store[1].Content(true), w.store[0].Content(true); !slices.Equal(got, want) {
		t.Fatalf("side B is\n%v\nwant\n%v", got, want)
	}
}

// What cannot be linked is copied: a side that cannot link at all, messages whose
// dates differ on a server, and one that the side refuses to link in the end.
func TestWhatCannotBeLinkedIsCopied(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*world){
		"no links": func(w *world) { w.store[1].Links = false },
		"other dates": func(w *world) {
			w.numbered()
			for _, m := range w.store[0].Messages("INBOX") {
				w.store[0].Del("INBOX", m.Ref)
				w.store[0].Put("INBOX", m.Flags, m.Date.AddDate(0, 0, 1), string(m.Body))
			}
		},
		"refused once": func(w *world) {
			seen := make(map[string]bool)
			w.store[1].Refuse = func(body []byte) *mail.Error {
				if again := seen[string(body)]; !again || len(seen) > 100 {
					seen[string(body)] = true
					return nil
				}
				seen[string(body)] = false
				return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindRefused, Err: errors.New("not today")}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := labelled(12)
			change(w)
			w.mustRun(t, sync.Backup(), nil)
			if got, want := w.store[1].Content(true), w.store[0].Content(true); !slices.Equal(got, want) {
				t.Fatalf("side B is\n%v\nwant\n%v", got, want)
			}
			w.store[1].Refuse = nil
			w.checkQuiet(t, sync.Backup())
		})
	}
}

// A message that was damaged in the copy is not what is linked: the next mailbox that
// has it gets it from the server.
func TestDamagedCopyIsNotLinked(t *testing.T) {
	t.Parallel()
	w := labelled(1)
	w.mustRun(t, sync.Backup(), nil)
	w.store[1].Damage("All")
	m := w.store[0].Messages("All")[0]
	w.store[0].Copy("All", m.Ref, "Work")
	w.mustRun(t, sync.Backup(), nil)
	if got := w.store[1].Messages("Work"); len(got) != 1 || string(got[0].Body) != string(m.Body) {
		t.Fatalf("Work holds %q, want %q", got, m.Body)
	}
}

// Labels come and go at random, on a server with object IDs: whatever the other side
// can do, and wherever a run is cut off, it ends with what the server shows, and
// nothing is fetched that the copy had.
func TestLinksModel(t *testing.T) {
	t.Parallel()
	histories(t, 40, linksHistory)
}

func linksHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	w := newWorld()
	if seed%3 == 0 {
		w.numbered()
	}
	w.store[0].EmailIDs, w.store[1].Links = true, seed%4 != 3
	a := newActor(rng, w)
	for _, name := range boxNames {
		w.store[0].AddBox(name)
	}
	show := showWhenFailed(t)
	p := sync.Backup()
	if seed%2 == 0 {
		p = sync.Mirror()
	}
	for range 3 {
		a.labels(0)
		before := w.clone(-1)
		*show = rounds{before, w}
		had := bodies(w.store[1])
		w.store[0].Fetched = 0
		w.mustRun(t, p, nil)
		if p.Name == "mirror" {
			checkEqual(t, w, a)
		} else {
			for _, line := range w.store[0].Content(true) {
				if !slices.Contains(w.store[1].Content(true), line) {
					t.Fatalf("%s is on the server and not like that in the copy", line)
				}
			}
		}
		fresh := 0
		for content := range bodies(w.store[0]) {
			if had[content] == 0 {
				fresh++
			}
		}
		if w.store[1].Links && w.store[0].Fetched > fresh {
			t.Fatalf("%d bodies were fetched, %d messages are new", w.store[0].Fetched, fresh)
		}
		w.checkQuiet(t, p)
		crashEverywhere(t, before, p, w, true)
	}
}

// labels makes 1 to 12 changes such as the user of a server with labels makes.
func (a *actor) labels(side int) {
	st, rng := a.w.store[side], a.rng
	for range rng.IntN(12) + 1 {
		box := boxNames[rng.IntN(len(boxNames))]
		to := boxNames[rng.IntN(len(boxNames))]
		msgs := st.Messages(box)
		if len(msgs) == 0 || rng.IntN(4) == 0 {
			content := fmt.Sprintf("Message-ID: <u%d@x>\r\n\r\nunique\r\n", rng.Uint32())
			st.Put(box, flagSets[rng.IntN(len(flagSets))], dateOf(content), content)
			continue
		}
		m := msgs[rng.IntN(len(msgs))]
		has := slices.ContainsFunc(st.Messages(to), func(o storetest.Msg) bool { return string(o.Body) == string(m.Body) })
		switch rng.IntN(6) {
		case 0:
			st.Del(box, m.Ref)
		case 1:
			if !has {
				st.MoveMsg(box, m.Ref, to)
			}
		case 2:
			st.Flag(box, m.Ref, flagSets[rng.IntN(len(flagSets))])
		default:
			if !has {
				st.Copy(box, m.Ref, to)
			}
		}
	}
}

// lateAnswers is a journal whose second answer about object IDs comes when something
// was written down meanwhile.
type lateAnswers struct {
	*storetest.Journal
	calls   atomic.Int32
	once    gosync.Once
	written chan struct{}
}

func (j *lateAnswers) ByObject(ctx context.Context, ids []string) ([]*state.Row, error) {
	n := j.calls.Add(1)
	rows, err := j.Journal.ByObject(ctx, ids)
	if n == 2 {
		<-j.written
	}
	return rows, err
}

func (j *lateAnswers) Commit(ctx context.Context, tx *state.Tx, durable bool) error {
	err := j.Journal.Commit(ctx, tx, durable)
	here := func(r *state.Row) bool { return r.Status == state.Here && r.Alive(state.A) && r.Alive(state.B) }
	if j.calls.Load() > 0 && (len(tx.Problems) > 0 || slices.ContainsFunc(tx.Rows, here)) {
		j.once.Do(func() { close(j.written) })
	}
	return err
}

// A mailbox that hears late that another one has brought its messages does not fetch
// them again.
func TestLateAnswerFetchesNothingTwice(t *testing.T) {
	t.Parallel()
	for range 30 {
		w := newWorld()
		w.store[0].EmailIDs, w.store[1].Links = true, true
		for _, name := range []string{"INBOX", "Work"} {
			w.store[0].AddBox(name)
			for i := range 3 {
				content := fmt.Sprintf("Message-ID: <l%d@x>\r\n\r\nlate\r\n", i)
				w.store[0].Put(name, mail.Flags{}, dateOf(content), content)
			}
		}
		j := &lateAnswers{Journal: w.journal, written: make(chan struct{})}
		w.mustRun(t, sync.Backup(), func(o *sync.Options) { o.Journal, o.Workers = j, 2 })
		if w.store[0].Fetched != 3 {
			t.Fatalf("%d bodies were fetched, want 3", w.store[0].Fetched)
		}
	}
}
