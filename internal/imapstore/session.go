package imapstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// session is one connection and what is selected on it. All but the atomic
// fields belong to the goroutine that took it from the pool.
type session struct {
	conn  *imapconn.Conn
	can   abilities
	deny  map[string]bool // capabilities that are offered and do not work
	quirk Quirk           // of the server, as far as it is known by now
	sel   imapconn.Selected
	used  time.Time // when it was last given back
	ran   bool      // a command was run, so the answers to those of the start are there
	// learned: can and deny are as the server's ID and ENABLE tell. Before, they
	// are good for listing mailboxes only.
	learned bool
	owner   context.Context // of who took it last

	wire     atomic.Pointer[string] // what is selected
	write    atomic.Bool
	selected atomic.Bool
	// fresh: nothing was done since sel was told, so that it may serve as the
	// counters from before a listing.
	fresh atomic.Bool
	// behind: messages arrived that the server may not have told this session of.
	// Until it does, commands by their UIDs find nothing, and say OK (RFC 9051,
	// 7.4.1; Courier).
	behind  atomic.Bool
	renamed atomic.Bool // some mailbox was renamed or deleted since
}

func newSession(conn *imapconn.Conn, noCaps []string) *session {
	s := &session{conn: conn, deny: make(map[string]bool)}
	for _, c := range noCaps {
		s.deny[c] = true
	}
	s.can = abilities{condstore: s.offers("CONDSTORE") || s.offers("QRESYNC"), search: true}
	return s
}

// heed takes the server's quirks into account.
func (s *session) heed(q *Quirk) {
	s.quirk = *q
	for _, c := range q.Deny {
		s.deny[c] = true
	}
	s.can.search = s.can.search && !q.NoSearch
	s.can.condstore = s.can.condstore && (s.offers("CONDSTORE") || s.offers("QRESYNC"))
}

// partOfRev2 are extensions that every IMAP4rev2 server has, whether it names
// them or not (RFC 9051, appendix E).
var partOfRev2 = map[string]bool{
	"LIST-STATUS": true, "MOVE": true, "NAMESPACE": true, "SPECIAL-USE": true, "STATUS=SIZE": true, "UIDPLUS": true,
}

// offers reports whether the server has a capability that works.
func (s *session) offers(capability string) bool {
	return !s.deny[capability] && (s.conn.Has(capability) || partOfRev2[capability] && s.conn.Has("IMAP4REV2"))
}

func (s *session) name() string {
	if w := s.wire.Load(); w != nil {
		return *w
	}
	return ""
}

// has reports whether the mailbox is selected in that mode.
func (s *session) has(wire string, write bool) bool {
	return s.selected.Load() && !s.renamed.Load() && s.name() == wire && s.write.Load() == write
}

// idleTrust is how long an idle connection counts as alive and its mailbox as
// selected: servers end sessions that are idle for long (RFC 9051, 5.4).
const idleTrust = 20 * time.Second

// selectMailbox makes the mailbox the selected one; with fresh its counters are
// of now.
func (s *session) selectMailbox(ctx context.Context, wire string, write, fresh bool, now time.Time) error {
	recent := s.used.IsZero() || now.Sub(s.used) < idleTrust
	if s.has(wire, write) && recent && (!fresh || s.fresh.Load()) {
		return s.catchUp(ctx)
	}
	s.selected.Store(false)
	s.behind.Store(false)
	s.renamed.Store(false)
	sel, err := s.conn.Select(ctx, []byte(wire), !write)
	if err != nil {
		return err
	}
	s.sel = sel
	s.wire.Store(&wire)
	s.write.Store(write)
	s.selected.Store(true)
	s.fresh.Store(true)
	return nil
}

// catchUp has the server tell of the messages that arrived.
func (s *session) catchUp(ctx context.Context) error {
	if !s.behind.Swap(false) {
		return nil
	}
	_, err := s.conn.Command(ctx, nil, imapconn.Raw("NOOP"))
	if err != nil {
		s.behind.Store(true)
	}
	return err
}

// unselect leaves the selected mailbox, if any.
func (s *session) unselect(ctx context.Context) error {
	if !s.selected.Load() {
		return nil
	}
	s.selected.Store(false)
	return s.conn.Unselect(ctx)
}

// open takes a session with the mailbox selected.
func (s *Store) open(ctx context.Context, wire string, write, fresh bool) (*session, error) {
	for {
		sess, err := s.pool.take(ctx, wire, write)
		if err != nil {
			return nil, err
		}
		idled := !sess.used.IsZero()
		s.pool.learn(sess)
		sess.ran = true
		err = sess.selectMailbox(ctx, wire, write, fresh, s.now())
		if err == nil {
			if fresh { // what it is told of is news to others that have it selected
				s.pool.arrived(wire, sess)
			}
			return sess, nil
		}
		dead := sess.conn.Err() != nil
		s.pool.give(sess)
		// A connection that the server ended while it was idle says nothing
		// about the mailbox. There are only so many of them.
		if dead && idled && ctx.Err() == nil {
			continue
		}
		return nil, err
	}
}

// run calls fn with a session, and once more with another one when it turns out
// that the server had ended the first while it was idle. fn selects nothing and
// may be repeated. wire and write say which session would be best.
func (s *Store) run(ctx context.Context, wire string, write bool, fn func(*session) error) error {
	for {
		sess, err := s.pool.take(ctx, wire, write)
		if err != nil {
			return err
		}
		idled := !sess.used.IsZero()
		sess.ran = true
		err = fn(sess)
		dead := sess.conn.Err() != nil
		s.pool.give(sess)
		if err == nil || !dead || !idled || ctx.Err() != nil {
			return err
		}
	}
}

// ready takes a session for something that cannot be repeated: one that was idle
// for long proves first that it is alive.
func (s *Store) ready(ctx context.Context, wire string, write bool) (*session, error) {
	for {
		sess, err := s.pool.take(ctx, wire, write)
		if err != nil {
			return nil, err
		}
		if err := s.prove(ctx, sess); err == nil {
			return sess, nil
		} else if ctx.Err() != nil {
			return nil, err
		}
	}
}

// spare is ready without waiting for another's session; nil when there is none.
func (s *Store) spare(ctx context.Context, wire string) *session {
	sess := s.pool.spare(ctx, wire, true)
	if sess == nil || s.prove(ctx, sess) != nil {
		return nil
	}
	return sess
}

// prove makes a session that was idle for long prove that it is alive. One that
// is not goes back.
func (s *Store) prove(ctx context.Context, sess *session) error {
	s.pool.learn(sess)
	sess.ran = true
	if sess.used.IsZero() || s.now().Sub(sess.used) < idleTrust {
		return nil
	}
	_, err := sess.conn.Command(ctx, nil, imapconn.Raw("NOOP"))
	if err == nil || sess.conn.Err() == nil {
		return nil
	}
	s.pool.give(sess)
	return err
}

// failed puts an error of a session into the words of the store: what went wrong
// on one connection ends one mailbox, unless it concerns the account.
func failed(op, mailbox string, err error) error {
	e, ok := errors.AsType[*mail.Error](err)
	if !ok {
		return err
	}
	c := *e
	if c.Op == "" {
		c.Op = op
	}
	if c.Mailbox == "" {
		c.Mailbox = mailbox
	}
	switch c.Kind {
	case mail.KindUnreachable, mail.KindProtocol:
		c.Scope, c.Temporary = min(c.Scope, mail.ScopeMailbox), true
	case mail.KindLogin, mail.KindThrottled, mail.KindOther: // KindOther: cancelled, or closed
	default:
		c.Scope = min(c.Scope, mail.ScopeMailbox)
	}
	return &c
}

// mailboxError is an error of this package about a mailbox.
func mailboxError(op, mailbox string, kind mail.Kind, format string, args ...any) *mail.Error {
	return &mail.Error{Scope: mail.ScopeMailbox, Kind: kind, Op: op, Mailbox: mailbox, Err: fmt.Errorf(format, args...)}
}

// statusOf is the server's refusal within err, nil when it is none.
func statusOf(err error) *imapconn.StatusError {
	status, _ := errors.AsType[*imapconn.StatusError](err)
	return status
}
