package imapstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// Move moves messages with MOVE (RFC 6851). Without it they are copied, and a
// message is removed here, with UIDPLUS, only when its copy is proved to be
// there. A message is answered only when it is gone here; where the server does
// not tell the new UIDs, only when as many arrived there. Without either
// extension nothing moves.
func (m *mailbox) Move(ctx context.Context, refs []mail.Ref, to string) ([]mail.Moved, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	if err := m.readOnly("move"); err != nil {
		return nil, err
	}
	target, err := m.store.resolve(ctx, "move", to)
	if err != nil {
		return nil, err
	}
	sess, err := m.session(ctx, false)
	if err != nil {
		return nil, failed("move", m.name, err)
	}
	defer m.store.pool.give(sess)
	m.store.pool.stale(m.wire)
	m.store.pool.stale(target.wire)
	defer m.store.pool.arrived(target.wire, nil)
	var moved []mail.Moved
	for _, chunk := range sess.chunks(uidSet(refs)) {
		some, err := m.moveSome(ctx, sess, chunk, target)
		moved = append(moved, some...)
		if err != nil {
			return moved, failed("move", m.name, m.store.vanishedTarget(ctx, sess, err, to, target.wire))
		}
	}
	return moved, nil
}

// vanishedTarget says so when the server refused because there is no such
// mailbox to move to.
func (s *Store) vanishedTarget(ctx context.Context, sess *session, err error, to, wire string) error {
	status := statusOf(err)
	if status == nil || status.Code != "TRYCREATE" && status.Code != "NONEXISTENT" {
		return err
	}
	return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindGone, Op: "move", Err: fmt.Errorf("to %q: %w", to, status)}
}

func (m *mailbox) moveSome(ctx context.Context, sess *session, set imapconn.UIDSet, to place) ([]mail.Moved, error) {
	uidplus := sess.offers("UIDPLUS")
	switch {
	case m.labels != nil:
		return m.moveFromView(ctx, sess, set, to)
	case sess.offers("MOVE"):
		return m.moveByMove(ctx, sess, set, to, uidplus)
	case uidplus:
		return m.moveByCopy(ctx, sess, set, to)
	}
	m.store.cfg.Log("%s: the server can neither move messages nor expunge single ones", m.name)
	return nil, nil
}

func (m *mailbox) moveByMove(ctx context.Context, sess *session, set imapconn.UIDSet, to place, uidplus bool) ([]mail.Moved, error) {
	// Without UIDPLUS only the number of messages there tells whether they
	// arrived, so it has to be known from before.
	var before *status
	if !uidplus {
		var err error
		if before, err = sess.status(ctx, to.wire); err != nil {
			return nil, err
		}
	}
	there, err := present(ctx, sess, set)
	if err != nil || there.IsEmpty() {
		return nil, err
	}
	pairs, err := sess.copyOrMove(ctx, "UID MOVE", there, to)
	if err != nil && statusOf(err) == nil {
		return nil, err
	}
	refused := err // some may have moved all the same: MOVE is one message at a time (RFC 6851, 3.3)
	gone, err := sess.absent(ctx, there)
	if err != nil {
		return nil, m.unsure(err)
	}
	if refused == nil && pairs == nil && before != nil && before.hasMessages {
		return m.movedBlind(ctx, sess, gone, to, before)
	}
	var moved []mail.Moved
	uids(gone, func(uid uint32) {
		if dest, ok := pairs[uid]; ok {
			moved = append(moved, mail.Moved{From: mail.Ref{UID: uid}, To: mail.Ref{UID: dest}})
		}
	})
	if gone.Count() > len(moved) {
		refused = m.unsure(refused)
	}
	return moved, refused
}

// unsure makes of an error that says what was refused one that says that nobody knows
// what has moved: it came after the messages were on their way.
func (m *mailbox) unsure(err error) error {
	if err == nil || statusOf(err) == nil {
		return err
	}
	switch mail.AsError(err).Kind {
	case mail.KindRefused, mail.KindQuota, mail.KindTooLarge, mail.KindGone:
		return mailboxError("move", m.name, mail.KindProtocol, "nobody knows what has moved: %v", err)
	}
	return err
}

// movedBlind answers for messages that are gone and of which nobody said where
// they are: they moved when at least as many arrived.
func (m *mailbox) movedBlind(ctx context.Context, sess *session, gone imapconn.UIDSet, to place, before *status) ([]mail.Moved, error) {
	if gone.IsEmpty() {
		return nil, nil
	}
	after, err := sess.status(ctx, to.wire)
	if err != nil {
		return nil, m.unsure(err)
	}
	if after == nil || int64(after.messages) < int64(before.messages)+int64(gone.Count()) {
		return nil, nil
	}
	var moved []mail.Moved
	uids(gone, func(uid uint32) { moved = append(moved, mail.Moved{From: mail.Ref{UID: uid}}) })
	return moved, nil
}

// moveByCopy copies, and removes here what is proved to be there.
func (m *mailbox) moveByCopy(ctx context.Context, sess *session, set imapconn.UIDSet, to place) ([]mail.Moved, error) {
	wants := make(map[uint32]*wanted)
	before, err := sess.status(ctx, to.wire)
	if err != nil {
		return nil, err
	}
	err = describe1(ctx, sess, set, func(msg mail.Message) error {
		w := &wanted{size: msg.Size, id: msg.ID.MessageID, described: true, accepted: true}
		if before != nil {
			w.floor = before.next
		}
		wants[msg.Ref.UID] = w
		return nil
	})
	if err != nil || len(wants) == 0 {
		return nil, err
	}
	pairs, err := sess.copyOrMove(ctx, "UID COPY", set, to)
	if err != nil {
		return nil, err
	}
	if pairs == nil {
		pairs, err = m.findCopies(ctx, sess, wants, to)
	}
	if err != nil || len(pairs) == 0 {
		return nil, m.unsure(err)
	}
	copied := make([]uint32, 0, len(pairs))
	for uid := range pairs {
		copied = append(copied, uid)
	}
	gone, err := sess.expunge(ctx, imapconn.NewUIDSet(copied...))
	var moved []mail.Moved
	uids(gone, func(uid uint32) {
		moved = append(moved, mail.Moved{From: mail.Ref{UID: uid}, To: mail.Ref{UID: pairs[uid]}})
	})
	return moved, m.unsure(err)
}

// findCopies looks for copies whose UIDs the server did not tell, and comes back
// to this mailbox.
func (m *mailbox) findCopies(ctx context.Context, sess *session, wants map[uint32]*wanted, to place) (map[uint32]uint32, error) {
	if err := sess.selectMailbox(ctx, to.wire, false, true, m.store.now()); err != nil {
		return nil, err
	}
	f := &search{box: m, sess: sess, claimed: make(map[uint32]bool)}
	list := make([]*wanted, 0, len(wants))
	for _, uid := range slices.Sorted(maps.Keys(wants)) {
		if w := wants[uid]; w.floor > 0 { // without UIDNEXT a copy could be an old message
			list = append(list, w)
		}
	}
	if err := f.list(ctx, list); err != nil {
		return nil, err
	}
	if err := f.match(ctx, list); err != nil {
		return nil, err
	}
	if err := sess.selectMailbox(ctx, m.wire, true, false, m.store.now()); err != nil {
		return nil, err
	}
	if sess.sel.UIDValidity != m.sel.UIDValidity {
		return nil, m.newValidity(sess.sel.UIDValidity)
	}
	pairs := make(map[uint32]uint32)
	for uid, w := range wants {
		if w.uid != 0 {
			pairs[uid] = w.uid
		}
	}
	return pairs, nil
}

// copyOrMove runs UID COPY or UID MOVE, and answers which UID became which, also
// with an error: nil when the server did not tell, or told what cannot be.
func (s *session) copyOrMove(ctx context.Context, command string, set imapconn.UIDSet, to place) (map[uint32]uint32, error) {
	var pairs map[uint32]uint32
	take := func(st imapconn.Status) {
		if st.Code == "COPYUID" {
			pairs = parseCopyUID(st.CodeArgs, set, to.validity)
		}
	}
	status, err := s.conn.Command(ctx, func(r imapconn.Response) error {
		// MOVE tells it in an untagged OK, before what is expunged (RFC 6851, 4.3).
		if r.Kind == "OK" {
			take(r.Status)
		}
		return nil
	}, imapconn.Raw(command+" "+set.String()), imapconn.Mbox([]byte(to.wire)))
	if err != nil {
		return pairs, err
	}
	take(*status)
	return pairs, nil
}

// parseCopyUID parses the arguments of COPYUID (RFC 4315, 3): UIDVALIDITY, the
// UIDs here, the UIDs there, the n-th becoming the n-th. It answers nil when
// something is wrong with them. validity is that of the destination as listed,
// 0 when it is not known.
func parseCopyUID(args string, asked imapconn.UIDSet, validity uint32) map[uint32]uint32 {
	parts := strings.Fields(args)
	if len(parts) != 3 {
		return nil
	}
	v, _, ok := field(parts[0], "", 32)
	from, okFrom := expandSet(parts[1], asked.Count())
	to, okTo := expandSet(parts[2], asked.Count())
	if !ok || v == 0 || !okFrom || !okTo || len(from) != len(to) || validity != 0 && uint32(v) != validity {
		return nil
	}
	pairs := make(map[uint32]uint32, len(from))
	for i, uid := range from {
		if !asked.Contains(uid) || pairs[uid] != 0 {
			return nil
		}
		pairs[uid] = to[i]
	}
	return pairs
}

// expandSet lists the UIDs of a set in the order in which it is written, which
// is what COPYUID and APPENDUID pair by. false when there are more than most.
func expandSet(text string, most int) ([]uint32, bool) {
	var all []uint32
	for _, part := range strings.Split(text, ",") {
		set, err := imapconn.ParseUIDSet(part)
		if err != nil || set.IsEmpty() || set.Count() > most-len(all) {
			return nil, false
		}
		uids(set, func(uid uint32) { all = append(all, uid) })
	}
	return all, true
}
