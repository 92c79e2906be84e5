package imapstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// Uploading. Invariants:
//
//   - A message's Mark holds a UIDNEXT from before it was sent: wherever a run
//     is cut off, the message has landed at that UID or above, or not at all.
//   - Nothing is believed of an APPENDUID that cannot be; then the message is
//     looked for among the arrivals.
//   - What the server said OK to is never answered as "lost": it would be sent
//     again in each run.
//   - An argument of APPEND is one that no server refuses with BAD: where the
//     literal does not wait for the server's leave, one that refuses an argument
//     may execute the message as commands.

// mark is what Recover needs to know of a message.
type mark struct {
	validity uint32
	next     uint32 // UIDNEXT before the upload
	index    int    // in its batch
}

func (m mark) String() string { return fmt.Sprintf("v=%d n=%d i=%d", m.validity, m.next, m.index) }

// parseMark is the inverse of String.
func parseMark(s string) (mark, bool) {
	v, rest, ok := field(s, "v=", 32)
	n, rest, ok2 := field(rest, " n=", 32)
	i, rest, ok3 := field(rest, " i=", 31)
	m := mark{uint32(v), uint32(n), int(i)}
	return m, ok && ok2 && ok3 && rest == "" && m.String() == s
}

// batch is a group of messages to be appended.
type batch struct {
	box   *mailbox
	spool spool
	limit int64 // APPENDLIMIT, -1 for none

	mu      sync.Mutex
	uploads []*upload
}

var _ mail.Batch = (*batch)(nil)

// upload is one message of a batch.
type upload struct {
	mark  mark
	msg   mail.Message
	body  *piece
	later mail.Flags // to be stored after the APPEND
	want  wanted
}

// Batch begins an upload.
func (m *mailbox) Batch(ctx context.Context) (mail.Batch, error) {
	if err := m.readOnly("append"); err != nil {
		return nil, err
	}
	if err := m.findFloor(ctx); err != nil {
		return nil, failed("append", m.name, err)
	}
	return &batch{box: m, limit: m.limit, spool: spool{dir: m.store.cfg.TempDir}}, nil
}

// appendLimit is the most octets that a message may have (RFC 7889), -1 when the
// server does not say.
func (s *session) appendLimit() int64 {
	for _, c := range s.conn.Caps() {
		if text, ok := strings.CutPrefix(c, "APPENDLIMIT="); ok {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
				return n
			}
		}
	}
	return -1
}

// findFloor asks for UIDNEXT where SELECT did not tell it.
func (m *mailbox) findFloor(ctx context.Context) error {
	if m.floorNow() > 0 {
		return nil
	}
	return m.store.run(ctx, "", false, func(sess *session) error {
		st, err := sess.status(ctx, m.wire)
		if err != nil {
			return err
		}
		next := uint32(1) // the arrivals are then everything
		if st != nil && st.next > 0 && st.validity == m.sel.UIDValidity {
			next = st.next
		}
		m.raiseFloor(next)
		return nil
	})
}

// Add takes one message in. It holds it in memory or in a temporary file; the
// server hears of it in Commit.
func (b *batch) Add(ctx context.Context, m mail.Message, body io.Reader) (mail.Pending, error) {
	if err := ctx.Err(); err != nil {
		return mail.Pending{}, err
	}
	if b.limit >= 0 && m.Size > b.limit {
		return mail.Pending{}, b.tooLarge(m.Size)
	}
	p, err := b.spool.add(m.Size, body)
	if length, ok := errors.AsType[*errLength](err); ok {
		return mail.Pending{}, b.refusal(mail.KindIntegrity, length)
	}
	if err != nil {
		return mail.Pending{}, err
	}
	if b.limit >= 0 && p.size > b.limit {
		return mail.Pending{}, b.tooLarge(p.size)
	}
	m.Size, m.Ref = p.size, mail.Ref{}
	u := &upload{msg: m, body: p}
	u.mark = mark{validity: b.box.sel.UIDValidity, next: b.box.floorNow()}
	b.mu.Lock()
	u.mark.index = len(b.uploads)
	b.uploads = append(b.uploads, u)
	b.mu.Unlock()
	return mail.Pending{Mark: u.mark.String(), Message: m}, nil
}

func (m *mailbox) floorNow() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.floor
}

func (b *batch) tooLarge(size int64) error {
	return b.refusal(mail.KindQuota, fmt.Errorf("the message has %d octets, the server takes at most %d", size, b.limit))
}

func (b *batch) refusal(kind mail.Kind, err error) *mail.Error {
	return &mail.Error{Scope: mail.ScopeMessage, Kind: kind, Op: "append", Mailbox: b.box.name, Err: err}
}

// Prepare does nothing: until Commit all that there is of the messages is where
// they come from, and it is safe there.
func (b *batch) Prepare(ctx context.Context) error { return ctx.Err() }

// Abort throws away what was not sent.
func (b *batch) Abort() {
	b.mu.Lock()
	b.uploads = nil
	b.mu.Unlock()
	b.spool.close()
}

// Commit appends the messages. With an error, the answers are good for those
// that have a Ref or an Err; what became of the others Recover finds out.
func (b *batch) Commit(ctx context.Context, added []mail.Pending) ([]mail.Landed, error) {
	defer b.Abort()
	landed := make([]mail.Landed, len(added))
	c := commit{batch: b, landed: landed, claimed: make(map[uint32]bool)}
	for i, p := range added {
		mk, ok := parseMark(p.Mark)
		b.mu.Lock()
		if ok = ok && mk.index < len(b.uploads) && b.uploads[mk.index].mark == mk; ok {
			c.todo = append(c.todo, sending{b.uploads[mk.index], &landed[i]})
		}
		b.mu.Unlock()
		if !ok {
			return landed, mailboxError("append", b.box.name, mail.KindUsage, "%q is not of this batch", p.Mark)
		}
	}
	if len(c.todo) == 0 {
		return landed, nil
	}
	defer c.release()
	err := c.run(ctx)
	return landed, failed("append", b.box.name, err)
}

// sending is an upload and where its answer goes.
type sending struct {
	*upload
	answer *mail.Landed
}

// commit is one Commit under way.
type commit struct {
	*batch
	sess    *session
	todo    []sending
	landed  []mail.Landed
	claimed map[uint32]bool // UIDs that are taken
	lost    []sending       // OK without a UID that can be believed
	losses  int             // connections that a BAD cost
}

func (c *commit) release() {
	if c.sess != nil {
		c.box.store.pool.give(c.sess)
		c.sess = nil
	}
}

func (c *commit) run(ctx context.Context) error {
	c.box.store.pool.stale(c.box.wire)
	defer c.box.store.pool.stale(c.box.wire)
	var err error
	for _, s := range c.todo {
		if err = c.send(ctx, s); err != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := c.findLost(ctx); err != nil {
		return err
	}
	var highest uint32
	for uid := range c.claimed {
		highest = max(highest, uid)
	}
	if highest < math.MaxUint32 {
		c.box.raiseFloor(highest + 1)
	}
	return c.storeLater(ctx)
}

// commitLosses is how many connections one Commit may lose to messages that the
// server answers with BAD.
const commitLosses = 8

// send appends one message.
func (c *commit) send(ctx context.Context, s sending) error {
	if c.sess == nil {
		var err error
		if c.sess, err = c.box.store.ready(ctx, c.box.wire, true); err != nil {
			return err
		}
	}
	status, err := c.sess.append(ctx, c.box.wire, s.upload)
	if err == nil {
		c.arrived(s, status)
		return nil
	}
	refusal := statusOf(err)
	if refusal == nil || !onlyThis(err, refusal) {
		return err
	}
	e := c.refusal(mail.AsError(err).Kind, refusal)
	e.Hint = mail.AsError(err).Hint
	s.answer.Err = e
	if c.sess.conn.Err() != nil {
		c.release()
		if c.losses++; c.losses > commitLosses {
			return err
		}
	}
	return nil
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

// arrived notes the UID of a message that the server took (RFC 4315, 3).
func (c *commit) arrived(s sending, status *imapconn.Status) {
	if status.Code == "APPENDUID" {
		parts := strings.Fields(status.CodeArgs)
		if len(parts) == 2 {
			v, rest, ok := field(parts[0], "", 32)
			uid, rest2, ok2 := field(parts[1], "", 32)
			valid := ok && ok2 && rest == "" && rest2 == "" && uint32(v) == s.mark.validity &&
				uid != 0 && uint32(uid) >= s.mark.next && !c.claimed[uint32(uid)]
			if valid {
				c.claimed[uint32(uid)] = true
				s.answer.Ref = mail.Ref{UID: uint32(uid)}
				return
			}
		}
	}
	c.lost = append(c.lost, s)
}

// append sends one APPEND.
func (s *session) append(ctx context.Context, wire string, u *upload) (*imapconn.Status, error) {
	send, later := splitFlags(u.msg.Flags, s.appendFlags)
	u.later = later
	parts := []imapconn.Part{imapconn.Raw("APPEND"), imapconn.Mbox([]byte(wire))}
	if !send.IsZero() {
		parts = append(parts, imapconn.Raw("("+send.String()+")"))
	}
	if date := appendDate(u.msg.Date); date != "" {
		parts = append(parts, imapconn.Raw(date))
	}
	parts = append(parts, imapconn.Literal(u.body.size, u.body.open()))
	return s.conn.Command(ctx, nil, parts...)
}
