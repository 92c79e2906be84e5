package imapstore

import (
	"fmt"
	"sync"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// A server that has no room for one message may have some for a smaller one. To
// find that out costs a message each time, so it is tried a few times, and then the
// account counts as full until the store is opened again.
const (
	roomTries  = 3  // refusals, each of a smaller message than the one before
	roomBarred = 50 // messages that were too large in a row, and not sent
	roomTight  = 16
)

const hintFull = "make room there, or have its quota raised, and run it again: it goes on where it was"

// room is what is known of the room in an account.
type room struct {
	mu      sync.Mutex
	bound   int64 // messages of this size and larger are not sent; 0: none is
	tries   int
	barred  int
	refusal error // the server's last word; nil while it took everything
	// tight is how many messages go one by one, each after the reply to the one
	// before: after a refusal some do.
	tight int
}

func (r *room) isTight() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tight > 0
}

// groupRefused takes in that there was no room for several messages together.
func (r *room) groupRefused() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tight = roomTight
}

// refused takes in that there was no room for a message.
func (r *room) refused(size int64, status *imapconn.StatusError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == nil || size < r.bound {
		r.bound = size
		r.tries++
	} else {
		r.barred++ // it was on its way already
	}
	r.tight = roomTight
	if r.refusal = status; r.tries >= roomTries || r.barred >= roomBarred {
		r.bound = 0
	}
}

// took takes in that messages were taken.
func (r *room) took() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.barred, r.tight = 0, max(r.tight-1, 0)
}

// bars answers why a message is not worth sending; nil when it is.
func (r *room) bars(size int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == nil || size < r.bound {
		return nil
	}
	return r.refusal
}

// skipped takes in that a message was not sent.
func (r *room) skipped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.barred++; r.barred >= roomBarred {
		r.bound = 0
	}
}

// none answers why nothing is worth sending; nil when something may be.
func (r *room) none(mailbox string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal == nil || r.bound > 0 {
		return nil
	}
	e := mailboxError("append", mailbox, mail.KindQuota, "the account is full: %w", r.refusal)
	e.Hint = hintFull
	return e
}

// noRoom answers a message that there is no room for.
func (c *commit) noRoom(s sending, why error) {
	s.answer.Err = c.batch.refusal(mail.KindQuota, fmt.Errorf("there is no room for it: %w", why))
	s.answer.Err.Hint = hintFull
}

// skipBarred answers the messages at the head of the queue that are not worth
// sending. The caller holds the lock.
func (c *commit) skipBarred() {
	for c.err == nil && len(c.queue) > 0 {
		all := c.queue[0]
		for len(all) > 0 {
			if c.err = c.box.store.room.none(c.box.name); c.err != nil {
				return
			}
			why := c.box.store.room.bars(all[0].body.size)
			if why == nil {
				break
			}
			c.box.store.room.skipped()
			c.noRoom(all[0], why)
			all = all[1:]
		}
		if c.queue[0] = all; len(all) > 0 {
			return
		}
		c.queue = c.queue[1:]
	}
}

// overQuota deals with a command that there was no room for.
func (l *lane) overQuota(cmd command, status *imapconn.StatusError) {
	if len(cmd.group) > 1 {
		l.box.store.room.groupRefused()
		l.divide(cmd.group)
		return
	}
	l.box.store.room.refused(cmd.group[0].body.size, status)
	l.noRoom(cmd.group[0], status)
}
