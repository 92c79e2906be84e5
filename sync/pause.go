package sync

import (
	"context"
	"math/rand/v2"
	"time"

	"postbag/internal/mail"
)

// firstPause is how long to wait for a server that wants a pause and does not say
// how long; each one after it, without anything done between, is twice as long.
const firstPause = 8 * time.Second

// pauseAfter reports whether err is a server's wish for a pause that is worth
// waiting for, after so many failures in a row, and how long it is.
func pauseAfter(err error, failures int) (time.Duration, bool) {
	e := mail.AsError(err)
	if e == nil || e.Kind != mail.KindThrottled || !e.Temporary || e.RetryAfter > longestWait || failures+1 >= maxFailures {
		return 0, false
	}
	if e.RetryAfter > 0 {
		return e.RetryAfter, true
	}
	return min(firstPause<<failures, longestWait), true
}

// jitter makes a wait up to a quarter longer, so that not all that were told to wait
// come back at once.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/4+1) }

// paused makes a pass that a server's wish for a pause ended one to be tried again:
// an account that is asked to wait is left alone by all of its mailboxes.
func (r *run) paused(ctx context.Context, boxes []*box, err error, failures int) bool {
	if _, ok := pauseAfter(err, failures); !ok || ctx.Err() != nil || r.DryRun {
		return false
	}
	for _, b := range boxes {
		b.err = err
	}
	return true
}

// recoverAgain is recover, again after each pause that a server wants.
func (r *run) recoverAgain(ctx context.Context) error {
	for failures := 0; ; failures++ {
		err := r.recover(ctx)
		wait, ok := pauseAfter(err, failures)
		if !ok {
			return err
		}
		wait = r.Jitter(wait)
		r.Progress.Note("%v; trying again in %v", err, wait.Round(time.Millisecond))
		if err := r.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}
