package sync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// busy is a store whose mailboxes want a pause in place of opening, as often as
// there are pauses; 0 is one that does not say how long.
type busy struct {
	mail.Store
	pauses *[]time.Duration
}

func (b busy) throttled() error {
	if len(*b.pauses) == 0 {
		return nil
	}
	d := (*b.pauses)[0]
	*b.pauses = (*b.pauses)[1:]
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindThrottled, Temporary: true, RetryAfter: d, Err: errors.New("request is throttled")}
}

func (b busy) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	if err := b.throttled(); err != nil {
		return nil, err
	}
	return b.Store.Examine(ctx, name)
}

func (b busy) Select(ctx context.Context, name string) (mail.WritableMailbox, error) {
	if err := b.throttled(); err != nil {
		return nil, err
	}
	return b.Store.Select(ctx, name)
}

// A run waits as long as a server wants it to, up to a minute, goes on, and ends
// as if nothing had been. A longer pause, or one too many without anything done
// between, ends it with the server's error.
func TestPauses(t *testing.T) {
	t.Parallel()
	s := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	for _, test := range []struct {
		name         string
		pauses, want []time.Duration
		ends         bool
	}{
		{"said", []time.Duration{s(0.2), s(30), s(60)}, []time.Duration{s(1), s(30), s(60)}, false},
		{"not said", []time.Duration{0, 0, 0, 0}, []time.Duration{s(8), s(16), s(32), s(60)}, false},
		{"too many", []time.Duration{0, 0, 0, 0, 0}, []time.Duration{s(8), s(16), s(32), s(60)}, true},
		{"too long", []time.Duration{s(5), s(61)}, []time.Duration{s(5)}, true},
	} {
		for side := range 2 {
			t.Run(fmt.Sprint(test.name, " on side ", state.Side(side)), func(t *testing.T) {
				t.Parallel()
				w := newWorld()
				for _, box := range []string{"INBOX", "Work", "Other"} {
					w.store[0].AddBox(box)
					w.store[1].AddBox(box)
					for i := range 10 {
						w.store[0].Put(box, mail.Flags{}, day, box+text(i))
					}
				}
				var slept []time.Duration
				pauses := slices.Clone(test.pauses)
				rep, err := w.run(sync.Backup(), func(o *sync.Options) {
					b := busy{w.store[side], &pauses}
					if side == 0 {
						o.A = b
					} else {
						o.B = b
					}
					o.Sleep = func(_ context.Context, d time.Duration) error {
						slept = append(slept, d)
						return nil
					}
				})
				if !slices.Equal(slept, test.want) {
					t.Errorf("the run waited %v, want %v", slept, test.want)
				}
				if test.ends {
					if mail.AsError(err).Kind != mail.KindThrottled || rep.Outcome != sync.Failed {
						t.Fatalf("error %v, outcome %s; want the server's wish", err, rep.Outcome)
					}
					w.mustRun(t, sync.Backup(), nil)
				} else if err != nil || rep.Outcome != sync.Done {
					t.Fatalf("error %v, outcome %s, problems %+v", err, rep.Outcome, rep.Problems)
				}
				if a, b := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(a, b) {
					t.Errorf("the copy is %v, want %v", b, a)
				}
				w.checkQuiet(t, sync.Backup())
			})
		}
	}
}

// Messages that one pass lined up and the next one copied, before it failed, are
// not copied once more by the third. A store that has what failed in its tmp/ delivers
// it from there; the other one has to be sent it again.
func TestTwoFailedPasses(t *testing.T) {
	t.Parallel()
	for to, p := range []sync.Policy{state.A: sync.Restore(), state.B: sync.Backup()} {
		w := newWorld()
		from, dst := w.store[1-to], w.store[to]
		from.AddBox("INBOX")
		for i := range 10 {
			from.Put("INBOX", mail.Flags{}, day, text(i))
		}
		dst.AddBox("INBOX")
		dst.PrepareFails = 1
		n := 0
		dst.Refuse = func([]byte) *mail.Error {
			if n++; n == 2 || n == 4 || n == 8 {
				dst.PrepareFails = 1
			}
			return nil
		}
		w.mustRun(t, p, nil)
		if got, want := dst.Content(true), from.Content(true); !slices.Equal(got, want) {
			t.Errorf("after failed landings side %v is %v, want %v", state.Side(to), got, want)
		}
		w.checkQuiet(t, p)
	}
}

// A message that the last run had to leave out, and whose landing fails in this one
// and is finished before the next try, is not copied once more by that.
func TestRetryThatLandsBeforeTheNextTry(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].AddBox("INBOX")
	w.store[0].Put("INBOX", mail.Flags{}, day, text(1))
	w.store[1].Refuse = func([]byte) *mail.Error {
		return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindRefused, Err: errors.New("too large")}
	}
	if rep, err := w.run(sync.Backup(), nil); err != nil || rep.Outcome != sync.Partial {
		t.Fatalf("a refused message: %v, %s", err, rep.Outcome)
	}
	w.store[1].Refuse, w.store[1].PrepareFails = nil, 1
	w.mustRun(t, sync.Backup(), nil)
	if got, want := w.store[1].Content(true), w.store[0].Content(true); !slices.Equal(got, want) {
		t.Errorf("the copy is %v, want %v", got, want)
	}
	w.checkQuiet(t, sync.Backup())
}
