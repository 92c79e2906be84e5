package imapstore

import (
	"context"
	"slices"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// Storable is what PERMANENTFLAGS allows (RFC 9051, 7.1). A mailbox that tells
// none takes all (RFC 3501, 6.3.1); one that is read-only takes nothing.
func (m *mailbox) Storable(f mail.Flags) mail.Flags {
	if !m.write || m.sel.ReadOnly {
		return mail.Flags{}
	}
	f.Keywords = mail.NewKeywords(f.Keywords.Words()...)
	if !m.sel.HasPermanent {
		return f
	}
	allowed := m.sel.PermanentFlags
	if m.sel.PermanentAny {
		return mail.Flags{System: f.System & allowed.System, Keywords: f.Keywords}
	}
	return f.Intersect(allowed)
}

// readOnly is the error when something is to be written that cannot be; nil when
// it can.
func (m *mailbox) readOnly(op string) error {
	if m.write && !m.sel.ReadOnly {
		return nil
	}
	return mailboxError(op, m.name, mail.KindRefused, "the mailbox is read-only")
}

// SetFlags stores the deltas, messages with the same one together, and asks for
// the flags afterwards: servers answer OK to what they do not do.
func (m *mailbox) SetFlags(ctx context.Context, changes []mail.FlagChange) ([]mail.FlagState, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	if err := m.readOnly("store"); err != nil {
		return nil, err
	}
	sess, err := m.session(ctx, false)
	if err != nil {
		return nil, failed("store", m.name, err)
	}
	defer m.store.pool.give(sess)
	states, err := m.setFlags(ctx, sess, changes)
	return states, failed("store", m.name, err)
}

// flagGroup is the messages that get the same flags added, or taken away.
type flagGroup struct {
	add   bool
	flags mail.Flags
	uids  []uint32
}

// flagGroups sorts changes into groups, in the order in which they first occur.
func (m *mailbox) flagGroups(changes []mail.FlagChange) []*flagGroup {
	type key struct {
		add   bool
		flags mail.Flags
	}
	groups := make(map[key]*flagGroup)
	var order []*flagGroup
	put := func(add bool, flags mail.Flags, uid uint32) {
		if flags = m.Storable(flags); flags.IsZero() || uid == 0 {
			return
		}
		g := groups[key{add, flags}]
		if g == nil {
			g = &flagGroup{add: add, flags: flags}
			groups[key{add, flags}] = g
			order = append(order, g)
		}
		g.uids = append(g.uids, uid)
	}
	for _, c := range changes {
		put(true, c.Delta.Add, c.Ref.UID)
		put(false, c.Delta.Remove, c.Ref.UID)
	}
	return order
}

func (m *mailbox) setFlags(ctx context.Context, sess *session, changes []mail.FlagChange) ([]mail.FlagState, error) {
	m.store.pool.stale(m.wire)
	if err := sess.storeGroups(ctx, m.flagGroups(changes)); err != nil {
		return nil, err
	}
	uids := make([]uint32, len(changes))
	for i, c := range changes {
		uids[i] = c.Ref.UID
	}
	return sess.flagsOf(ctx, imapconn.NewUIDSet(uids...))
}

// flagsOf asks for the flags of the messages in set, sorted by UID.
func (s *session) flagsOf(ctx context.Context, set imapconn.UIDSet) ([]mail.FlagState, error) {
	var d mail.Delta
	for _, chunk := range s.chunks(set) {
		err := s.conn.FetchList(ctx, chunk, imapconn.Flags, 0, false, func(it imapconn.Item) error {
			if it.HasFlags && chunk.Contains(it.UID) {
				d.Flags = append(d.Flags, flagState(it.UID, it.Flags))
			}
			return nil
		}, nil)
		if err != nil {
			return nil, err
		}
	}
	sortFlags(&d)
	return d.Flags, nil
}

// storeGroups stores flags. When the server refuses them together it gets them one
// by one, so that a keyword that it does not like costs no other flag; what it
// refuses even so is seen by who asks for the flags afterwards.
func (s *session) storeGroups(ctx context.Context, groups []*flagGroup) error {
	var commands []string
	var of []*flagGroup
	for _, g := range groups {
		for _, command := range s.storeCommands(imapconn.NewUIDSet(g.uids...), g.add, g.flags.Names()) {
			commands, of = append(commands, command), append(of, g)
		}
	}
	again := make(map[*flagGroup]bool)
	err := s.inARow(ctx, commands, func(i int, err error) error {
		if !refused(err) {
			return err
		}
		again[of[i]] = true
		return nil
	})
	for _, g := range groups {
		names := g.flags.Names()
		if err != nil || !again[g] || len(names) == 1 {
			continue
		}
		for _, name := range names {
			one := s.storeCommands(imapconn.NewUIDSet(g.uids...), g.add, []string{name})
			err = s.inARow(ctx, one, func(_ int, err error) error {
				if refused(err) {
					return nil
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return err
}

// storeCommands add or take away flags, never replace them (RFC 4549, 4.2.3).
func (s *session) storeCommands(set imapconn.UIDSet, add bool, names []string) (commands []string) {
	item := "-FLAGS.SILENT"
	if add {
		item = "+FLAGS.SILENT"
	}
	for _, chunk := range s.chunks(set) {
		commands = append(commands, "UID STORE "+chunk.String()+" "+item+" ("+strings.Join(names, " ")+")")
	}
	return commands
}

// aheadOfReplies is how many commands of inARow may wait for their replies. With CONDSTORE
// a server tells the new MODSEQ of each message (RFC 7162, 3.1.3), which nobody
// reads while a command is written: so no more are on their way than any server
// can take in.
const aheadOfReplies = 4

// inARow runs commands that do not bear on each other, each sent before the reply
// to the one before it is there. done is called with the number of a command and
// what came of it, in their order; its first error is the end, once all replies
// to what was sent are in.
func (s *session) inARow(ctx context.Context, commands []string, done func(i int, err error) error) error {
	var waiting []*imapconn.Sent
	var first error
	next := 0 // whose reply is awaited
	take := func() {
		_, err := waiting[0].Reply()
		waiting = waiting[1:]
		if err = done(next, err); first == nil {
			first = err
		}
		next++
	}
	for _, command := range commands {
		if len(waiting) == s.ahead(aheadOfReplies) {
			take()
		}
		if first != nil {
			break
		}
		sent, err := s.conn.Send(ctx, imapconn.Raw(command))
		if err != nil {
			first = err
			break
		}
		waiting = append(waiting, sent)
	}
	for len(waiting) > 0 {
		take()
	}
	return first
}

// ahead is how many commands may wait for their replies: n, or fewer where the
// server wants that.
func (s *session) ahead(n int) int { return tighter(n, s.quirk.Ahead) }

// asIs is for inARow: whatever is refused ends it.
func asIs(_ int, err error) error { return err }

// Remove takes messages away: to the trash where one is configured, else with
// STORE \Deleted and UID EXPUNGE (RFC 4315), which leaves messages alone that
// others marked. Without UIDPLUS it can only mark them, and answers that nothing
// is removed.
func (m *mailbox) Remove(ctx context.Context, refs []mail.Ref) ([]mail.Ref, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	if err := m.readOnly("remove"); err != nil {
		return nil, err
	}
	trash, err := m.store.trash(ctx)
	if err != nil {
		return nil, err
	}
	if trash == "" && m.labels != nil { // nothing else takes a message out of \All
		trash = m.store.byUse(mail.UseTrash)
	}
	if trash != "" && trash != m.name {
		_, err := m.Move(ctx, refs, trash)
		if err != nil {
			return nil, err
		}
		return m.absent(ctx, refs)
	}
	sess, err := m.session(ctx, false)
	if err != nil {
		return nil, failed("remove", m.name, err)
	}
	defer m.store.pool.give(sess)
	m.store.pool.stale(m.wire)
	gone, err := sess.expunge(ctx, uidSet(refs))
	if err != nil {
		return nil, failed("remove", m.name, err)
	}
	if !sess.offers("UIDPLUS") {
		m.store.cfg.Log("%s: the server cannot expunge single messages; they are marked as deleted", m.name)
	}
	return uidsWithin(refs, gone), nil
}

// expunge marks and expunges, and answers what is not there afterwards.
func (s *session) expunge(ctx context.Context, set imapconn.UIDSet) (gone imapconn.UIDSet, err error) {
	if err := s.inARow(ctx, s.storeCommands(set, true, []string{`\Deleted`}), asIs); err != nil {
		return gone, err
	}
	if !s.offers("UIDPLUS") {
		return gone, nil
	}
	for _, chunk := range s.chunks(set) { // not in a row: nothing is deleted after a failure
		if _, err := s.conn.Command(ctx, nil, imapconn.Raw("UID EXPUNGE "+chunk.String())); err != nil {
			return gone, err
		}
	}
	return s.absent(ctx, set)
}

// absent are the UIDs of set that the server does not list.
func (s *session) absent(ctx context.Context, set imapconn.UIDSet) (gone imapconn.UIDSet, err error) {
	there, err := present(ctx, s, set)
	if err != nil {
		return gone, err
	}
	uids(set, func(uid uint32) {
		if !there.Contains(uid) {
			gone.Add(uid)
		}
	})
	return gone, nil
}

// absent answers those of refs that the server does not list.
func (m *mailbox) absent(ctx context.Context, refs []mail.Ref) ([]mail.Ref, error) {
	sess, err := m.session(ctx, false)
	if err != nil {
		return nil, failed("remove", m.name, err)
	}
	defer m.store.pool.give(sess)
	gone, err := sess.absent(ctx, uidSet(refs))
	if err != nil {
		return nil, failed("remove", m.name, err)
	}
	return uidsWithin(refs, gone), nil
}

// uidsWithin are those of refs that are in set, in their order.
func uidsWithin(refs []mail.Ref, set imapconn.UIDSet) []mail.Ref {
	return slices.DeleteFunc(slices.Clone(refs), func(r mail.Ref) bool { return !set.Contains(r.UID) })
}

// trash is the name of the mailbox that removed messages go to, "" for none.
func (s *Store) trash(ctx context.Context) (string, error) {
	name := s.cfg.Trash
	if name == "" {
		return "", nil
	}
	use := mail.ParseSpecialUse(name)
	if use == "" {
		return name, nil
	}
	if name = s.byUse(use); name == "" {
		if _, err := s.List(ctx); err != nil {
			return "", err
		}
		name = s.byUse(use)
	}
	if name == "" {
		e := mailboxError("remove", "", mail.KindGone, "the account has no mailbox for %s", s.cfg.Trash)
		e.Hint = "name the mailbox that removed messages go to"
		return "", e
	}
	return name, nil
}
