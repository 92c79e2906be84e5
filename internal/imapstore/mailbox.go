package imapstore

import (
	"context"
	"sync"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// mailbox is an open mailbox: its name, and what it was like when it was opened.
type mailbox struct {
	store *Store
	name  string
	wire  string
	write bool
	info  mail.MailboxInfo
	sel   imapconn.Selected // of the opening

	limits limits // of the messages that it takes
	// labels: only messages without one of these are shown.
	labels *labelSet

	mu sync.Mutex
	// floor is a UID that all messages that come from now on are above or equal
	// to: UIDNEXT, as far as we have heard.
	floor uint32
}

var _ mail.WritableMailbox = (*mailbox)(nil)

// Examine opens a mailbox with EXAMINE. A mailbox that vanished is an error of
// KindGone.
func (s *Store) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	m, err := s.openMailbox(ctx, name, false)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Select opens a mailbox with SELECT.
func (s *Store) Select(ctx context.Context, name string) (mail.WritableMailbox, error) {
	m, err := s.openMailbox(ctx, name, true)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *Store) openMailbox(ctx context.Context, name string, write bool) (*mailbox, error) {
	op := "examine"
	if write {
		op = "select"
	}
	p, err := s.resolve(ctx, op, name)
	if err != nil {
		return nil, err
	}
	sess, err := s.open(ctx, p.wire, write, true)
	if err != nil {
		if statusOf(err) != nil {
			if other, takeErr := s.pool.take(ctx, "", false); takeErr == nil {
				err = s.vanished(ctx, other, failed(op, name, err), p.wire)
				s.pool.give(other)
			}
		}
		return nil, failed(op, name, err)
	}
	sel, can, limits := sess.sel, sess.can, sess.limits()
	s.pool.give(sess)
	if sel.UIDValidity == 0 {
		return nil, mailboxError(op, name, mail.KindProtocol, "%w", errNoValidity)
	}
	m := &mailbox{store: s, name: name, wire: p.wire, write: write, sel: sel, limits: limits, labels: p.labels, floor: sel.UIDNext}
	m.info = mail.MailboxInfo{
		Name: name, Use: p.use, ObjectID: p.objectID,
		Validity: validityString(sel.UIDValidity), Messages: int(sel.Exists), Bytes: -1,
		ReadOnly: write && sel.ReadOnly,
	}
	if id := objectID(sel.MailboxID); id != "" {
		m.info.ObjectID = id
	}
	if can.condstore {
		m.info.Stamp = selectedCounters(sel).stamp()
	}
	m.labels.describe(&m.info)
	return m, nil
}

// Info is the mailbox as it was opened.
func (m *mailbox) Info() mail.MailboxInfo { return m.info }

// Close does nothing: a mailbox holds no connection. Nothing is expunged.
func (m *mailbox) Close() error { return nil }

// session takes a session with the mailbox selected, under the UIDVALIDITY that
// it was opened with. With fresh, the session's counters are of now.
func (m *mailbox) session(ctx context.Context, fresh bool) (*session, error) {
	sess, err := m.store.open(ctx, m.wire, m.write, fresh)
	if err != nil {
		return nil, err
	}
	sess.fresh.Store(false)
	if sess.sel.UIDValidity != m.sel.UIDValidity {
		m.store.pool.give(sess)
		return nil, m.newValidity(sess.sel.UIDValidity)
	}
	return sess, nil
}

// newValidity is the error when the mailbox was made anew while it was open:
// every UID that we hold is void (RFC 9051, 2.3.1.1).
func (m *mailbox) newValidity(v uint32) error {
	e := mailboxError("select", m.name, mail.KindOther, "the mailbox's UIDVALIDITY changed from %d to %d", m.sel.UIDValidity, v)
	e.Temporary = true
	return e
}

// Changes says what happened since the cursor.
func (m *mailbox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	sess, err := m.session(ctx, true)
	if err != nil {
		return mail.Delta{}, failed("changes", m.name, err)
	}
	defer m.store.pool.give(sess)
	l := &look{
		conn: sess.conn, known: known, limit: limit, can: &sess.can, before: selectedCounters(sess.sel),
		items: sess.newItems(), shows: sess.quirk.ShowsAtMost,
	}
	l.altered = func(listed []mail.SizeState) []mail.SizeState {
		return m.store.sent.altered(m.wire, m.sel.UIDValidity, listed)
	}
	if sess.sel.NoModSeq || sess.sel.HighestModSeq == 0 {
		can := sess.can
		can.condstore, can.qresync = false, false
		l.can = &can
	}
	l.again = func(ctx context.Context) (counters, error) {
		if err := sess.selectMailbox(ctx, m.wire, m.write, true, m.store.now()); err != nil {
			return counters{}, err
		}
		sess.fresh.Store(false)
		if sess.sel.UIDValidity != m.sel.UIDValidity {
			return counters{}, m.newValidity(sess.sel.UIDValidity)
		}
		return selectedCounters(sess.sel), nil
	}
	changes := l.changes
	if m.labels != nil {
		changes = func(ctx context.Context, since mail.Cursor) (mail.Delta, error) {
			return l.viewChanges(ctx, since, m.labels)
		}
	}
	delta, err := changes(ctx, since)
	if err != nil {
		return mail.Delta{}, failed("changes", m.name, err)
	}
	m.raiseFloor(l.before.next)
	return delta, nil
}

// newItems are the items to ask of new messages.
func (s *session) newItems() imapconn.Items {
	items := imapconn.Flags | imapconn.Date | imapconn.Size
	switch {
	case s.offers("X-GM-EXT-1"):
		items |= imapconn.GmailMsgID
	case s.offers("OBJECTID"):
		items |= imapconn.EmailID
	}
	return items
}

// raiseFloor notes a UIDNEXT that was told.
func (m *mailbox) raiseFloor(next uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.floor = max(m.floor, next)
}
