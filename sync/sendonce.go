package sync

import (
	"context"
	gosync "sync"

	"postbag/internal/mail"
	"postbag/state"
)

// A tree has no object IDs: that one message lies in several of its mailboxes shows
// when it is read, by its digest. Reading it is cheap there, sending it is not: what
// this run sent to side A it links the next time (see link.go).

// contentKey is half of a digest, enough to tell contents apart.
type contentKey [16]byte

func keyOf(d mail.Digest) (k contentKey) {
	copy(k[:], d[:])
	return k
}

// sentTo is where a message is that this run sent.
type sentTo struct {
	mailbox int64
	date    int64
	uid     uint32
}

// sendOnce is what this run has sent to side A, and is sending now.
type sendOnce struct {
	mu     gosync.Mutex
	sent   map[contentKey]sentTo
	claims map[contentKey]bool
}

// find looks a content up. When nobody has sent it and nobody is about to, the caller
// is.
func (s *sendOnce) find(key contentKey) (at sentTo, sent, busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, sent = s.sent[key]; sent {
		return at, true, false
	}
	if s.claims[key] {
		return at, false, true
	}
	if s.claims == nil {
		s.claims, s.sent = make(map[contentKey]bool), make(map[contentKey]sentTo)
	}
	s.claims[key] = true
	return at, false, false
}

// landed notes where a content is.
func (s *sendOnce) landed(row *state.Row, to state.Side) {
	if row.Ref[to].UID == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[keyOf(row.Ident.Digest)] = sentTo{row.Mailbox, row.Date.Unix(), row.Ref[to].UID}
}

// release ends claims.
func (s *sendOnce) release(keys []contentKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.claims, key)
	}
}

// aside is what a copier has not to send.
type aside struct {
	on     bool // the side can link
	claims []contentKey
	link   []linkable // it is there
	wait   []Copy     // another mailbox is sending it
}

// lookAside makes a copier find out what it has not to send, where its side can link.
func (c *copier) lookAside(ctx context.Context) error {
	if c.to != state.A {
		return nil
	}
	batch, err := c.dst.Batch(ctx)
	if err != nil {
		return err
	}
	defer batch.Abort()
	_, c.aside.on = batch.(mail.Linker)
	return nil
}

// setAside keeps a message that was read from being sent, when this run has sent it or
// is about to. It is called by several goroutines.
func (c *copier) setAside(cp *Copy, msg mail.Message) bool {
	if !c.aside.on {
		return false
	}
	key := keyOf(msg.ID.Digest)
	at, sent, busy := c.r.sent.find(key)
	ours := !sent && !busy
	c.mu.Lock()
	defer c.mu.Unlock()
	again := *cp
	again.Msg = msg
	place := c.r.links.places[at.mailbox][c.to]
	switch {
	case sent && place.Mailbox != "" && at.date == msg.Date.Unix():
		place.Ref, place.Date = mail.Ref{UID: at.uid}, msg.Date
		c.aside.link = append(c.aside.link, linkable{again, place, msg.ID})
	case busy && c.r.links.mayWait(cp.Row):
		c.aside.wait = append(c.aside.wait, again)
	default:
		if ours {
			c.aside.claims = append(c.aside.claims, key)
		}
		return false
	}
	c.r.Progress.Done(1, msg.Size)
	return true
}

// bringAside links what was set aside, once the rest has landed. What cannot be linked
// is sent after all. An interrupted run leaves it to the next one.
func (r *run) bringAside(ctx context.Context, c *copier, src mail.Mailbox) error {
	r.sent.release(c.aside.claims)
	if err := r.putOff(context.WithoutCancel(ctx), c.b, c.to, c.aside.wait); err != nil {
		return err
	}
	left, err := r.linkAll(ctx, c.b, c.to, c.dst, c.aside.link)
	if err != nil || len(left) == 0 {
		return err
	}
	return r.copyAll(ctx, c.b, c.to, src, c.dst, left, true)
}
