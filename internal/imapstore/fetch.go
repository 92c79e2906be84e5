package imapstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// Describe asks for Message-ID and size. Bodies are never moved, so there is no
// digest, whatever withDigest says.
func (m *mailbox) Describe(ctx context.Context, refs []mail.Ref, _ bool, fn func(mail.Message) error) error {
	if len(refs) == 0 {
		return nil
	}
	sess, err := m.session(ctx, false)
	if err != nil {
		return failed("describe", m.name, err)
	}
	defer m.store.pool.give(sess)
	set := uidSet(refs)
	var fromFn error
	err = describe1(ctx, sess, set, func(msg mail.Message) error {
		fromFn = fn(msg)
		return fromFn
	})
	if fromFn != nil {
		return fromFn
	}
	return failed("describe", m.name, err)
}

// Headers asks for the fields of headers that people choose by; bodies stay where
// they are.
func (m *mailbox) Headers(ctx context.Context, refs []mail.Ref, fn func(mail.Message, []byte) error) error {
	if len(refs) == 0 {
		return nil
	}
	sess, err := m.session(ctx, false)
	if err != nil {
		return failed("read headers", m.name, err)
	}
	defer m.store.pool.give(sess)
	var fromFn error
	for _, chunk := range sess.chunks(uidSet(refs)) {
		told := make(map[uint32]bool)
		if err := sess.conn.FetchList(ctx, chunk, sess.newItems()|imapconn.HeaderFields, 0, false, func(it imapconn.Item) error {
			if !chunk.Contains(it.UID) || told[it.UID] || !it.HasHeader {
				return nil
			}
			told[it.UID] = true
			fromFn = fn(listedMessage(&it), it.Header)
			return fromFn
		}, nil); err != nil {
			if fromFn != nil {
				return fromFn
			}
			return failed("read headers", m.name, err)
		}
	}
	return nil
}

// describe1 asks for the identities of the messages in set, and calls fn once
// for each that is there.
func describe1(ctx context.Context, sess *session, set imapconn.UIDSet, fn func(mail.Message) error) error {
	items := sess.newItems() | imapconn.HeaderMessageID
	for _, chunk := range sess.chunks(set) {
		told := make(map[uint32]bool)
		err := sess.conn.FetchList(ctx, chunk, items, 0, false, func(it imapconn.Item) error {
			// Without header and size it is news about flags, not the answer.
			if !chunk.Contains(it.UID) || told[it.UID] || !it.HasHeader {
				return nil
			}
			told[it.UID] = true
			return fn(listedMessage(&it))
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// fetchLosses is how many connections one Fetch may lose to messages that break
// the protocol, or the connection itself.
const fetchLosses = 8

// fetchFailures is how many messages in a row may fail before the fault is taken
// for one of the mailbox.
const fetchFailures = 20

// fetch is one Fetch under way.
type fetch struct {
	box  *mailbox
	fn   func(mail.Fetched) error
	sess *session
	todo imapconn.UIDSet // asked for and not delivered
	lost int             // connections
	// failures is how many messages in a row did not come although they are there.
	failures int
	// fnErr is what fn answered, to tell it from errors of the connection.
	fnErr error
}

// Fetch reads messages. One that did not arrive with the others is asked for
// again, alone: an odd one must not cost those after it.
func (m *mailbox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	if err := m.store.spend(ctx, Down, 0); err != nil {
		return err
	}
	f := &fetch{box: m, fn: fn, todo: uidSet(refs)}
	defer f.release()
	if err := f.all(ctx); err != nil {
		if f.fnErr != nil {
			return f.fnErr
		}
		return failed("fetch", m.name, err)
	}
	return nil
}

func (f *fetch) release() {
	if f.sess != nil {
		f.box.store.pool.give(f.sess)
		f.sess = nil
	}
}

// all fetches everything in todo. Each round asks for all that is missing, then
// for the first that did not come alone, so it ends.
func (f *fetch) all(ctx context.Context) error {
	for !f.todo.IsEmpty() {
		if err := f.round(ctx); err != nil {
			return err
		}
		if f.todo.IsEmpty() {
			break
		}
		var err error
		if f.todo, err = f.present(ctx, f.todo); err != nil || f.todo.IsEmpty() {
			return err
		}
		if err := f.alone(ctx, f.todo.Ranges()[0].Lo); err != nil {
			return err
		}
	}
	return nil
}

// round asks for all that is in todo, and leaves there what did not come.
func (f *fetch) round(ctx context.Context) error {
	if err := f.open(ctx); err != nil {
		return f.fatal(err)
	}
	var missing imapconn.UIDSet
	var trouble error
	for _, chunk := range f.sess.chunks(f.todo) {
		if trouble == nil {
			chunk, trouble = f.some(ctx, chunk)
		}
		for _, r := range chunk.Ranges() {
			missing.AddRange(r.Lo, r.Hi)
		}
	}
	f.todo = missing
	return f.fatal(trouble)
}

// open takes a session, where the last one was lost.
func (f *fetch) open(ctx context.Context) (err error) {
	if f.sess == nil {
		f.sess, err = f.box.session(ctx, false)
	}
	return err
}

// some fetches the messages of set, and answers which of them did not come.
func (f *fetch) some(ctx context.Context, set imapconn.UIDSet) (missing imapconn.UIDSet, err error) {
	if err := f.open(ctx); err != nil {
		return set, err
	}
	came := make(map[uint32]bool)
	err = f.sess.conn.FetchBodies(ctx, set, func(it imapconn.Item, size int64, body io.Reader) error {
		if !set.Contains(it.UID) || came[it.UID] {
			return nil
		}
		if f.fnErr = f.box.store.spend(ctx, Down, size); f.fnErr != nil {
			return f.fnErr
		}
		came[it.UID] = true // also when fn fails: no message is given to it twice
		msg := listedMessage(&it)
		msg.Size = size
		f.fnErr = f.fn(mail.Fetched{Message: msg, Body: &bodyReader{box: f.box, uid: it.UID, r: body}})
		return f.fnErr
	})
	if len(came) > 0 {
		f.failures = 0
	}
	return without(set, came), err
}

// bodyReader says in its errors which message ended early.
type bodyReader struct {
	box *mailbox
	uid uint32
	r   io.Reader
	err error // what ended it
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if e, ok := errors.AsType[*mail.Error](err); ok {
		c := *mail.AsError(failed("fetch", b.box.name, e))
		c.Ref = mail.Ref{UID: b.uid}
		err = &c
		if lostConnection(err) && b.box.store.losses.deadly(b.box, b.uid) {
			err = b.box.cannotGive(b.uid, e)
		}
	}
	b.err = err
	return n, err
}

// fatal answers the error that ends the fetch, nil when it can go on: after a
// refusal on the same connection, after a broken protocol or a loss on a new one.
func (f *fetch) fatal(err error) error {
	if err == nil || f.fnErr == nil && refused(err) {
		return nil
	}
	if f.fnErr != nil || f.sess == nil || mail.AsError(err).Kind != mail.KindProtocol && !lostConnection(err) {
		return err
	}
	if f.sess.conn.Err() != nil {
		f.release()
		if f.lost++; f.lost > fetchLosses {
			return err
		}
	}
	return nil
}

// present are the messages of set that are in the mailbox.
func (f *fetch) present(ctx context.Context, set imapconn.UIDSet) (imapconn.UIDSet, error) {
	if err := f.open(ctx); err != nil {
		return set, err
	}
	return present(ctx, f.sess, set)
}

// present are the messages of set that the server lists.
func present(ctx context.Context, sess *session, set imapconn.UIDSet) (imapconn.UIDSet, error) {
	var there imapconn.UIDSet
	for _, chunk := range sess.chunks(set) {
		err := sess.conn.FetchList(ctx, chunk, imapconn.Flags, 0, false, func(it imapconn.Item) error {
			if chunk.Contains(it.UID) {
				there.Add(it.UID)
			}
			return nil
		}, nil)
		if err != nil {
			return there, err
		}
	}
	return there, nil
}

// alone fetches one message by itself. When it does not come although it is
// there, it is delivered with the reason.
func (f *fetch) alone(ctx context.Context, uid uint32) error {
	one := imapconn.NewUIDSet(uid)
	missing, err := f.some(ctx, one)
	if fatal := f.fatal(err); fatal != nil {
		return fatal
	}
	f.todo = without(f.todo, map[uint32]bool{uid: true})
	if missing.IsEmpty() {
		return nil
	}
	there, listErr := f.present(ctx, one)
	if listErr != nil {
		return listErr
	}
	if there.IsEmpty() {
		return nil
	}
	if f.failures++; f.failures > fetchFailures {
		return mailboxError("fetch", f.box.name, mail.KindProtocol, "%d messages in a row: %w", f.failures, f.box.cannotGive(uid, err))
	}
	f.fnErr = f.fn(mail.Fetched{
		Message: mail.Message{Ref: mail.Ref{UID: uid}, Size: -1},
		Body:    errorReader{io.ErrUnexpectedEOF},
		Err:     f.box.cannotGive(uid, err),
	})
	return f.fnErr
}

// cannotGive is the error of a message that the server has and does not give.
func (m *mailbox) cannotGive(uid uint32, reason error) *mail.Error {
	e := &mail.Error{
		Scope: mail.ScopeMessage, Kind: mail.KindProtocol, Op: "fetch", Mailbox: m.name, Ref: mail.Ref{UID: uid},
		Err: errNoBody,
	}
	if status := statusOf(reason); status != nil {
		e.Kind, e.Err = mail.KindRefused, status
	} else if reason != nil {
		e.Err = fmt.Errorf("%w (%w)", errNoBody, reason)
	}
	return e
}

var errNoBody = errors.New("the server has the message and does not give its content")

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// uidSet is the set of the UIDs of refs.
func uidSet(refs []mail.Ref) imapconn.UIDSet {
	uids := make([]uint32, len(refs))
	for i, r := range refs {
		uids[i] = r.UID
	}
	return imapconn.NewUIDSet(uids...)
}

// uids calls fn for each UID of a set that this package made of single UIDs. A
// set that a server wrote may hold four thousand million.
func uids(set imapconn.UIDSet, fn func(uint32)) {
	for _, r := range set.Ranges() {
		for uid := uint64(r.Lo); uid <= uint64(r.Hi); uid++ {
			fn(uint32(uid))
		}
	}
}

// without is set less some UIDs.
func without(set imapconn.UIDSet, less map[uint32]bool) imapconn.UIDSet {
	var rest imapconn.UIDSet
	uids(set, func(uid uint32) {
		if !less[uid] {
			rest.Add(uid)
		}
	})
	return rest
}
