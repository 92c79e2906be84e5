// Package imapstore is an IMAP account as a mail.Store: a small pool of
// connections, a listing in one round trip, changes found by the cheapest means
// that the server offers, and writing that is verified. What the protocol leaves
// open and servers do differently is decided here; what one connection does is
// package imapconn's business.
//
// A mailbox holds no connection of its own. Each call takes one from the pool,
// one on which the mailbox is selected already where there is one, and gives it
// back: so any number of mailboxes can be open with a single connection.
package imapstore

import (
	"context"
	"sync"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// DefaultConnections is how many connections an account has when nothing else is
// configured and no quirk says less.
const DefaultConnections = 4

// Config describes an account.
type Config struct {
	Conn imapconn.Config
	// Connections is the most connections to have at a time; 0 for
	// DefaultConnections. Quirks and the server may make it fewer.
	Connections int
	// MessagesPerSecond is the most messages to send to the account in a second, by
	// all connections; 0 for no bound.
	MessagesPerSecond float64
	// DayUp and DayDown are the most octets of messages to send to the account, and to
	// read from it, in a day, as Budget counts them; 0 for what the provider is known
	// to allow, negative for no bound.
	DayUp, DayDown int64
	Budget         Budget // nil: nothing is counted
	// Account is what Store.Account answers.
	Account string
	// Provider is the name of a preset whose row of the quirks table applies,
	// whatever the server looks like; "" for none.
	Provider string
	// Trash is where Remove puts messages: the name of a mailbox, or a role like
	// `\Trash`. "" expunges them.
	Trash string
	// Shared lists other users' and shared mailboxes as well.
	Shared bool
	// Prefix is the prefix of the personal namespace on the wire ("INBOX.") for
	// servers that do not tell it; "" asks the server.
	Prefix string
	// TempDir is where uploads that do not fit in memory wait; "" for the
	// system's.
	TempDir string
	// Log gets remarks for the user about how the account is used; nil for none.
	Log func(format string, args ...any)

	quirks []Quirk // in place of the table, for tests
}

// Store is an IMAP account.
type Store struct {
	cfg  Config
	pool *pool
	pace *pace
	now  func() time.Time
	// wait sleeps; tests make it short.
	wait   func(ctx context.Context, d time.Duration) error
	jitter func(time.Duration) time.Duration // of pauses

	listing sync.Mutex // held by who lists because nobody has
	losses  losses
	room    room
	memory  memory // of uploads
	sent    sent

	mu     sync.Mutex
	labels func(mail.MailboxInfo) bool // see UseLabels; nil: \All is as the server has it
	gmail  bool                        // the server has labels
	listed bool
	layout layout
	names  map[string]place // as last listed, with what was created since
}

var _ mail.Store = (*Store)(nil)

// place is where a mailbox is on the server.
type place struct {
	wire     string
	delim    byte
	use      mail.SpecialUse
	objectID string
	validity uint32 // 0: not told
	// labels are set for a mailbox \All that shows only what has no label.
	labels *labelSet
}

// Open logs in to the account. It makes one connection, to find out early what
// is wrong; others follow when they are needed. Where the server wants a pause, it
// waits, up to a minute.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := newStore(cfg)
	if err := s.login(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// newStore is an account without a connection.
func newStore(cfg Config) *Store {
	if cfg.Connections <= 0 {
		cfg.Connections = DefaultConnections
	}
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	s := &Store{cfg: cfg, now: time.Now, wait: sleep, jitter: jitter, names: make(map[string]place)}
	s.pool = newPool(cfg, func() time.Time { return s.now() })
	s.pace = newPace(cfg.MessagesPerSecond, func() time.Time { return s.now() },
		func(ctx context.Context, d time.Duration) error { return s.wait(ctx, d) })
	return s
}

// login makes the first connection.
func (s *Store) login(ctx context.Context) error {
	err := s.patiently(ctx, func() error {
		sess, err := s.pool.take(ctx, "", false)
		if err == nil {
			s.pool.give(sess)
		}
		return err
	})
	if err != nil {
		s.pool.close()
	}
	return err
}

// Account is Config.Account.
func (s *Store) Account() string { return s.cfg.Account }

// Close ends all connections, also those that are in use: their calls fail.
func (s *Store) Close() error {
	s.pool.close()
	return nil
}

// Quirks names the rows of the quirks table that apply to this server, for
// reports.
func (s *Store) Quirks() []string {
	effect := s.pool.quirks()
	return effect.names()
}

// Connections is how many connections the account may have by now.
func (s *Store) Connections() int { return s.pool.size() }

// Capabilities and the server's ID, for reports.
func (s *Store) Capabilities(ctx context.Context) (caps []string, id map[string]string, err error) {
	sess, err := s.pool.take(ctx, "", false)
	if err != nil {
		return nil, nil, err
	}
	defer s.pool.give(sess)
	return sess.conn.Caps(), sess.conn.ServerID(), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
