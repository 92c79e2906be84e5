package imapstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postbag/internal/imaptest"
)

// clock is a clock that goes on when somebody waits.
type clock struct {
	mu    sync.Mutex
	since time.Duration
}

func (c *clock) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since
}

func (c *clock) now() time.Time { return time.Unix(1e9, 0).Add(c.elapsed()) }

func (c *clock) wait(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since += d
	return ctx.Err()
}

// Messages are as far apart as the pace wants it, groups count with all that is in
// them, and nothing is saved up while nothing is sent.
func TestPace(t *testing.T) {
	t.Parallel()
	var c clock
	p := newPace(4, c.now, c.wait)
	var got []string
	for _, n := range []int{1, 1, 4, 1} {
		if err := p.take(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		got = append(got, c.elapsed().String())
	}
	if p.due() {
		t.Error("a message may be sent at once after another")
	}
	c.since = time.Minute
	if !p.due() {
		t.Error("no message may be sent after a long time")
	}
	for range 2 {
		p.take(t.Context(), 1)
		got = append(got, c.elapsed().String())
	}
	if want := strings.Fields("0s 250ms 500ms 1.5s 1m0s 1m0.25s"); !slices.Equal(got, want) {
		t.Errorf("messages went at %v, want %v", got, want)
	}
	if got := [...]int{p.most(100), p.most(2), newPace(0.33, c.now, c.wait).most(100), newPace(0, c.now, c.wait).most(100)}; got != [...]int{4, 2, 1, 100} {
		t.Errorf("a command may have %v messages", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait in a run that was ended answers %v", err)
	}
}

// An upload keeps to the pace, with and without several messages in a command, and
// over several connections.
func TestUploadAtAPace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		perSecond   float64
		without     []string
		connections int
		least       time.Duration // from the first to the last command
		most        int           // messages of a command
	}{
		{"one by one", 1, nil, 1, 13 * time.Second, 1},
		{"groups", 4, nil, 1, 3 * time.Second, 4},
		{"slow", 0.5, nil, 1, 26 * time.Second, 1},
		{"no groups", 4, []string{"MULTIAPPEND"}, 1, 3250 * time.Millisecond, 1},
		{"lanes", 4, []string{"MULTIAPPEND", "LITERAL+"}, 4, 3250 * time.Millisecond, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var c clock
			var first, last time.Duration
			n := 0
			server, open := scripted(t, func(s *imaptest.Script) {
				s.Without(test.without...)
				s.OnCommand("APPEND", func(_ *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
					last = c.elapsed()
					if n == 0 {
						first = last
					}
					messages := strings.Count(cmd.Line, "{")
					if n += messages; messages > test.most {
						t.Errorf("a command has %d messages, want at most %d", messages, test.most)
					}
					// What was there at the start may go at once.
					if sent := float64(n - test.most); sent > test.perSecond*last.Seconds() {
						t.Errorf("after %v %d messages were sent", last, n)
					}
					return false
				})
			})
			all := parcels()
			errs := deliver(t, func() (*Store, error) {
				s, err := open()
				if err == nil {
					s.pool.most, s.now, s.wait = test.connections, c.now, c.wait
					s.pace = newPace(test.perSecond, c.now, c.wait)
				}
				return s, err
			}, all)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			checkDelivered(t, all, stored(server))
			if n != len(all) || last-first < test.least || test.connections == 1 && last-first != test.least {
				t.Errorf("%d messages took %v, want %d in %v", n, last-first, len(all), test.least)
			}
		})
	}
}

// A run that is ended while it waits sends nothing more, and what it sent is known:
// the next one sends the rest.
func TestPaceIsInterrupted(t *testing.T) {
	t.Parallel()
	var c clock
	server, open := scripted(t, nil)
	all := parcels()
	left := 5
	errs := deliver(t, func() (*Store, error) {
		s, err := open()
		if err == nil {
			s.pace = newPace(1, c.now, func(ctx context.Context, d time.Duration) error {
				if left--; left == 0 {
					if got := len(stored(server)); got != 5 {
						t.Errorf("%d messages were sent before the end, want 5", got)
					}
					return fmt.Errorf("waiting: %w", context.Canceled)
				}
				return c.wait(ctx, d)
			})
		}
		return s, err
	}, all)
	if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("got errors %v, want the one of the end", errs)
	}
	checkDelivered(t, all, stored(server))
	if got := len(appends(server)); got != len(all) {
		t.Errorf("%d messages were sent, want %d", got, len(all))
	}
}
