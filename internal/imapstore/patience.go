package imapstore

import (
	"context"
	"math/rand/v2"
	"time"

	"postbag/internal/mail"
)

// What a server asks to have put off is waited for here where nothing but the one
// command is at stake: at the login, for lists, for mailboxes and subscriptions. In
// the mailboxes themselves the engine waits, since it has to look again.
const (
	firstPause   = 8 * time.Second // when the server does not say how long
	longestPause = time.Minute     // a longer one ends the run
	maxPauses    = 4               // in a row
)

// pauseFor is how long to wait before a command is tried again that failed with err,
// after so many pauses; false when that is no use.
func pauseFor(err error, pauses int) (time.Duration, bool) {
	e := mail.AsError(err)
	if e == nil || !wantsPause(err) || e.RetryAfter > longestPause || pauses >= maxPauses {
		return 0, false
	}
	if e.RetryAfter > 0 {
		return e.RetryAfter, true
	}
	return min(firstPause<<pauses, longestPause), true
}

// wantsPause reports whether a server said that it may do later what it did not do
// now (RFC 5530: UNAVAILABLE, INUSE, LIMIT; THROTTLED, and what means the same).
func wantsPause(err error) bool {
	e := mail.AsError(err)
	if e == nil || !e.Temporary {
		return false
	}
	status := statusOf(err)
	return status != nil && (e.Kind == mail.KindThrottled || status.Code == "UNAVAILABLE" || status.Code == "INUSE")
}

// patiently calls fn, and again after each pause that the server wants. fn may be
// repeated after such an error.
func (s *Store) patiently(ctx context.Context, fn func() error) error {
	for pauses := 0; ; pauses++ {
		err := fn()
		wait, ok := pauseFor(err, pauses)
		if !ok || ctx.Err() != nil {
			return err
		}
		wait = s.jitter(wait)
		s.cfg.Log("%v; trying again in %v", err, wait.Round(time.Millisecond))
		if err := s.wait(ctx, wait); err != nil {
			return err
		}
	}
}

// jitter makes a pause up to a quarter longer, so that not all that were told to wait
// come back at once.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/4+1) }
