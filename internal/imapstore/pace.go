package imapstore

import (
	"context"
	"sync"
	"time"
)

// pace spaces out the messages that are sent to an account, over all of its
// connections. Nothing is saved up while nothing is sent. A nil pace is none.
type pace struct {
	perSecond float64
	now       func() time.Time
	wait      func(context.Context, time.Duration) error

	mu   sync.Mutex
	next time.Time // when the next message may be sent
}

// newPace is a pace of so many messages a second; 0 for none.
func newPace(perSecond float64, now func() time.Time, wait func(context.Context, time.Duration) error) *pace {
	if perSecond <= 0 {
		return nil
	}
	return &pace{perSecond: perSecond, now: now, wait: wait}
}

// most bounds the messages of one command to those of a second, and to n.
func (p *pace) most(n int) int {
	if p == nil {
		return n
	}
	return min(n, max(1, int(p.perSecond)))
}

// due reports whether a message may be sent now.
func (p *pace) due() bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.next.After(p.now())
}

// take waits until n messages may be sent together. It ends early, with the error
// of ctx, when ctx ends.
func (p *pace) take(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	now := p.now()
	at := p.next
	if at.Before(now) {
		at = now
	}
	p.next = at.Add(time.Duration(float64(n) / p.perSecond * float64(time.Second)))
	p.mu.Unlock()
	if d := at.Sub(now); d > 0 {
		return p.wait(ctx, d)
	}
	return ctx.Err()
}
