package imapstore

import (
	"context"
	"math"
	"sync"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// sending is an upload and where its answer goes.
type sending struct {
	*upload
	answer *mail.Landed
}

// commit is one Commit under way.
type commit struct {
	*batch
	todo []sending
	// floor is a UID that all that this commit sends is above or equal to. It may
	// be above the marks', which were made while the batch before this one landed.
	floor uint32

	mu      sync.Mutex
	queue   [][]sending     // to be sent; no command takes from more than one element
	claimed map[uint32]bool // UIDs that are taken
	lost    []sending       // OK without a UID that can be believed
	unsure  []sending       // sent, and the connection ended over a BAD
	doubted [][]sending     // groups that were refused, and may have been stored in part
	atomic  bool            // the server keeps nothing of a group that it refuses (RFC 3502, 6.3.11)
	late    bool            // a connection was lost: what was sent on it may still be stored
	err     error           // ends the commit: nothing more is sent
	// careful, after a BAD: one message at a time, which the server asks for. It
	// tells a server that does not like a message from one that cannot do what it
	// offers.
	careful bool
	refusal error  // that BAD
	blame   string // the capability that was used
	guilty  bool   // a message was refused in the same way by itself
	losses  int    // connections that a BAD cost
}

func (c *commit) run(ctx context.Context) error {
	c.box.store.pool.stale(c.box.wire)
	defer c.box.store.pool.stale(c.box.wire)
	c.queue = [][]sending{c.todo}
	err := c.sendAll(ctx)
	c.box.store.pool.arrived(c.box.wire, nil)
	if err == nil {
		err = c.findLost(ctx)
	}
	var highest uint32
	for uid := range c.claimed {
		highest = max(highest, uid)
	}
	if highest > 0 && highest < math.MaxUint32 {
		c.box.raiseFloor(highest + 1)
	}
	// What has arrived keeps its flags, whatever became of the rest.
	if later := c.storeLater(ctx); err == nil {
		err = later
	}
	return err
}

// commitLosses is how many connections one Commit may lose to messages that the
// server answers with BAD.
const commitLosses = 8

// sendAll sends what is in the queue, and what a refusal puts back into it.
func (c *commit) sendAll(ctx context.Context) error {
	for len(c.queue) > 0 {
		c.sendQueue(ctx)
		switch {
		case c.err != nil:
			return c.err
		case c.losses > commitLosses:
			return c.refusal
		}
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	if c.careful && !c.guilty {
		c.box.store.pool.distrust(c.blame)
	}
	return nil
}

// Where each literal waits for the server, a connection sends one message a
// round trip, so that several of them are worth it.
const (
	mostLanes    = 4
	laneMessages = 8 // for each
)

// sendQueue sends the queue, over more than one connection where that helps.
func (c *commit) sendQueue(ctx context.Context) {
	sess, err := c.box.store.ready(ctx, c.box.wire, true)
	if err != nil {
		c.stop(err)
		return
	}
	lanes := min(c.waits(sess)/laneMessages, mostLanes)
	var others sync.WaitGroup
	for range lanes - 1 {
		spare := c.box.store.spare(ctx, c.box.wire)
		if spare == nil {
			break
		}
		others.Go(func() { newLane(c, spare).run(ctx) })
	}
	newLane(c, sess).run(ctx)
	others.Wait()
}

// waits is the number of messages that wait for the server's leave one by one.
func (c *commit) waits(sess *session) (n int) {
	if c.careful {
		return 0
	}
	free := sess.freeLiteral()
	for _, g := range c.queue {
		for _, s := range g {
			if s.body.size > free {
				n++
			}
		}
	}
	return n
}

// stop ends the commit with its first error.
func (c *commit) stop(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// Bounds of one APPEND with several messages (RFC 3502).
const (
	groupMessages = 100
	groupOctets   = 1 << 20
)

// next takes the messages of one command out of the queue.
func (c *commit) next(several bool) []sending {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipBarred()
	if c.err != nil || len(c.queue) == 0 {
		return nil
	}
	all := c.queue[0]
	n := 1
	if several && !c.careful && !c.box.store.room.isTight() && all[0].body.size > 0 {
		octets, most := all[0].body.size, c.box.store.pace.most(groupMessages)
		for n < len(all) && n < most {
			// An empty message cancels the command (RFC 3502, 6.3.11).
			size := all[n].body.size
			if c.box.store.room.bars(size) != nil {
				break
			}
			if octets += size; octets > groupOctets || size == 0 {
				break
			}
			n++
		}
	}
	if n == len(all) {
		c.queue = c.queue[1:]
	} else {
		c.queue[0] = all[n:]
	}
	return all[:n:n]
}

// divide puts a group of which the server did not like some message back, in
// two halves. Until it is known that the server keeps nothing of such a group
// that has to be found out first.
func (c *commit) divide(g []sending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.atomic {
		c.doubted = append(c.doubted, g)
		return
	}
	c.queue = append(halves(g), c.queue...)
}

func halves(g []sending) [][]sending {
	if len(g) < 2 {
		return [][]sending{g}
	}
	half := len(g) / 2
	return [][]sending{g[:half:half], g[half:]}
}

// refused answers a message that the server does not take.
func (c *commit) refused(s sending, err error, status *imapconn.StatusError) {
	e := mail.AsError(err)
	answer := c.batch.refusal(e.Kind, status)
	answer.Hint = e.Hint
	s.answer.Err = answer
}

// onlyThis reports whether a refusal is about the one message, so that the
// others may be sent.
func onlyThis(err error, refusal *imapconn.StatusError) bool {
	switch refusal.Type {
	case "NO", "BAD":
	default:
		return false
	}
	switch refusal.Code { // RFC 5530
	case "OVERQUOTA", "TRYCREATE", "NONEXISTENT", "NOPERM", "UNAVAILABLE", "INUSE", "SERVERBUG", "THROTTLED",
		"AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN", "CORRUPTION":
		return false
	}
	return mail.AsError(err).Kind != mail.KindThrottled
}

// arrived notes the UIDs of messages that the server took (RFC 4315, 3; RFC
// 3502, 6.3.11): all of them, or none when something is wrong with them.
func (c *commit) arrived(g []sending, status *imapconn.Status) {
	c.box.store.room.took()
	c.mu.Lock()
	defer c.mu.Unlock()
	var told []uint32
	if status.Code == "APPENDUID" {
		told = parseAppendUID(status.CodeArgs, c.box.sel.UIDValidity, len(g))
	}
	for i, uid := range told {
		g[i].told = uid
	}
	for i, uid := range told {
		if uid < c.floorOf(g[i].upload) || c.claimed[uid] {
			told = nil
			break
		}
	}
	if told == nil {
		c.lost = append(c.lost, g...)
		return
	}
	for i, s := range g {
		c.claimed[told[i]] = true
		s.answer.Ref = mail.Ref{UID: told[i]}
	}
}

// floorOf is the lowest UID that an upload may have got.
func (c *commit) floorOf(u *upload) uint32 { return max(c.floor, u.mark.next, 1) }
