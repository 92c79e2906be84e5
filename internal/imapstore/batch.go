package imapstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

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
//   - What was sent and not answered is not sent again before the mailbox was
//     searched for it; nothing else is ever sent twice.
//   - What is on its way on one connection is bounded: a server may go on storing
//     it for as long after the connection is gone.

// mark is what Recover needs to know of a message.
type mark struct {
	validity uint32
	next     uint32 // UIDNEXT before the upload
	index    int    // in its batch
	copied   bool   // within the account, so that its flags have to be looked at
}

func (m mark) String() string {
	text := fmt.Sprintf("v=%d n=%d i=%d", m.validity, m.next, m.index)
	if m.copied {
		text += copiedMark
	}
	return text
}

const copiedMark = " copy"

// parseMark is the inverse of String.
func parseMark(s string) (mark, bool) {
	text, copied := strings.CutSuffix(s, copiedMark)
	v, rest, ok := field(text, "v=", 32)
	n, rest, ok2 := field(rest, " n=", 32)
	i, rest, ok3 := field(rest, " i=", 31)
	m := mark{uint32(v), uint32(n), int(i), copied}
	return m, ok && ok2 && ok3 && rest == "" && m.String() == s
}

// batch is a group of messages to be appended.
type batch struct {
	box    *mailbox
	spool  spool
	limits limits

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
	told  uint32  // the UID that the server told
	from  *origin // nil, unless it is copied within the account
}

// Batch begins an upload.
func (m *mailbox) Batch(ctx context.Context) (mail.Batch, error) {
	if err := m.readOnly("append"); err != nil {
		return nil, err
	}
	if err := m.store.room.none(m.name); err != nil {
		return nil, err
	}
	if err := m.findFloor(ctx); err != nil {
		return nil, failed("append", m.name, err)
	}
	return &batch{box: m, limits: m.limits, spool: spool{dir: m.store.cfg.TempDir, memory: &m.store.memory}}, nil
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
	if kind, why := b.limits.size(m.Size); why != nil {
		return mail.Pending{}, b.refusal(kind, why)
	}
	var look *lines
	if b.limits.line > 0 || b.limits.finalCRLF {
		look = &lines{r: body}
		body = look
	}
	p, err := b.spool.add(m.Size, body)
	if length, ok := errors.AsType[*errLength](err); ok {
		return mail.Pending{}, b.refusal(mail.KindIntegrity, length)
	}
	if err != nil {
		return mail.Pending{}, err
	}
	kind, why := b.limits.size(p.size)
	if why == nil && look != nil {
		kind, why = b.limits.form(look)
	}
	if why != nil {
		return mail.Pending{}, b.refusal(kind, why)
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
	c := commit{batch: b, floor: b.box.floorNow(), claimed: make(map[uint32]bool)}
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
	if err := c.runCopies(ctx); err != nil || len(c.todo) == 0 {
		return landed, failed("copy", b.box.name, err)
	}
	err := c.run(ctx)
	b.box.store.sent.add(b.box.wire, b.box.sel.UIDValidity, c.todo)
	return landed, failed("append", b.box.name, err)
}
