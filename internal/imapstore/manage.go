package imapstore

import (
	"context"
	"errors"
	"maps"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// resolve finds the name on the wire of a mailbox: as listed, else as the server
// would name it.
func (s *Store) resolve(ctx context.Context, op, name string) (place, error) {
	if err := s.listOnce(ctx); err != nil {
		return place{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.lookUp(name)
	if _, there := s.names[name]; err == nil && !there {
		err = s.pool.quirks().nameError(name)
	}
	if err == nil && (p.wire == "" || strings.ContainsAny(p.wire, "\x00\r\n")) {
		err = errors.New("the name cannot be sent to the server")
	}
	if err != nil {
		e := mailboxError(op, name, mail.KindUsage, "%w", err)
		e.Hint = "rename the mailbox on the side that has it"
		return place{}, e
	}
	return p, nil
}

// listOnce lists the mailboxes when nobody has done so yet: only the server
// knows how it writes names.
func (s *Store) listOnce(ctx context.Context) error {
	s.listing.Lock()
	defer s.listing.Unlock()
	s.mu.Lock()
	listed := s.listed
	s.mu.Unlock()
	if listed {
		return nil
	}
	_, err := s.List(ctx)
	return err
}

// lookUp is resolve under the lock. A new mailbox goes below its nearest parent
// that was listed, whose name may be spelt in a way of its own.
func (s *Store) lookUp(name string) (place, error) {
	if p, ok := s.names[name]; ok {
		return p, nil
	}
	components := mail.SplitName(name)
	for n := len(components) - 1; n > 0; n-- {
		parent, ok := s.names[mail.JoinName(components[:n]...)]
		// INBOX is no parent where the personal namespace is below it: there
		// "INBOX.x" is "x".
		if !ok || parent.delim == 0 || parent.wire+string(parent.delim) == s.layout.prefix {
			continue
		}
		lay := layout{delim: parent.delim}
		wire, err := lay.wire(parent.wire+string(parent.delim), components[n:])
		return place{wire: wire, delim: parent.delim}, err
	}
	wire, err := s.layout.wireName(name)
	return place{wire: wire, delim: s.layout.delim}, err
}

// wireByUse is the mailbox with a role, "" when there is none.
func (s *Store) byUse(use mail.SpecialUse) (name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, p := range s.names {
		if p.use == use && (name == "" || n < name) {
			name = n
		}
	}
	return name
}

// exists asks the server whether it has a mailbox of that name.
func (s *session) exists(ctx context.Context, wire string) (bool, error) {
	found := false
	// A "*" or "%" in the name matches itself among others.
	_, err := s.conn.Command(ctx, func(r imapconn.Response) error {
		if m, ok := imapconn.ParseList(r); ok && r.Kind == "LIST" && (string(m.Name) == wire || isInbox(wire) && isInbox(string(m.Name))) {
			found = true
			for _, a := range m.Attrs {
				if strings.EqualFold(a, `\NonExistent`) || strings.EqualFold(a, `\Noselect`) {
					found = false
				}
			}
		}
		return nil
	}, imapconn.Raw(`LIST ""`), imapconn.Mbox([]byte(wire)))
	return found, err
}

// Create makes a mailbox and subscribes to it, so that other clients show it.
// With CREATE-SPECIAL-USE (RFC 6154, 3) it gets its role.
func (s *Store) Create(ctx context.Context, name string, use mail.SpecialUse) error {
	p, err := s.resolve(ctx, "create", name)
	if err != nil {
		return err
	}
	s.pool.warm() // a mailbox that is made is one to be filled
	err = s.patiently(ctx, func() error {
		return s.run(ctx, "", false, func(sess *session) error { return sess.create(ctx, p.wire, use) })
	})
	if err != nil {
		return failed("create", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[name] = p
	s.labelled(name, p.wire)
	return nil
}

func (s *session) create(ctx context.Context, wire string, use mail.SpecialUse) error {
	command := []imapconn.Part{imapconn.Raw("CREATE"), imapconn.Mbox([]byte(wire))}
	if use != "" && s.offers("CREATE-SPECIAL-USE") {
		_, err := s.conn.Command(ctx, nil, append(command, imapconn.Raw("(USE ("+string(use)+"))"))...)
		if err == nil {
			return s.subscribe(ctx, "SUBSCRIBE", wire)
		}
		if !refused(err) {
			return err
		}
		// The role was a wish only.
	}
	subscribed, err := s.createAndSubscribe(ctx, wire, command)
	if refused(err) {
		there, listErr := s.exists(ctx, wire)
		switch {
		case listErr != nil:
			return listErr
		case !there && subscribed:
			return errors.Join(err, s.subscribe(ctx, "UNSUBSCRIBE", wire))
		case !there:
			return err
		}
	} else if err != nil {
		return err
	}
	if subscribed {
		return nil
	}
	return s.subscribe(ctx, "SUBSCRIBE", wire)
}

// createAndSubscribe sends both commands at once, for the sake of a round trip.
// Its error is that of the first.
func (s *session) createAndSubscribe(ctx context.Context, wire string, command []imapconn.Part) (subscribed bool, err error) {
	first, err := s.conn.Send(ctx, command...)
	if err != nil {
		return false, err
	}
	second, sendErr := s.conn.Send(ctx, imapconn.Raw("SUBSCRIBE"), imapconn.Mbox([]byte(wire)))
	_, err = first.Reply()
	if sendErr != nil {
		return false, errors.Join(err, sendErr)
	}
	if _, replyErr := second.Reply(); replyErr == nil {
		return true, err
	} else if err == nil && !refused(replyErr) {
		return false, replyErr
	}
	return false, err
}

// subscribe changes a subscription. It is a courtesy: a refusal does not matter.
func (s *session) subscribe(ctx context.Context, command, wire string) error {
	_, err := s.conn.Command(ctx, nil, imapconn.Raw(command), imapconn.Mbox([]byte(wire)))
	if refused(err) {
		return nil
	}
	return err
}

// Rename renames a mailbox and what is below it. INBOX cannot be renamed: RENAME
// would move its messages and leave it there (RFC 9051, 6.3.6).
func (s *Store) Rename(ctx context.Context, from, to string) error {
	if from == "INBOX" || to == "INBOX" {
		return mailboxError("rename", from, mail.KindUsage, "INBOX cannot be renamed, nor replaced")
	}
	old, err := s.resolve(ctx, "rename", from)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if _, taken := s.names[to]; taken {
		s.mu.Unlock()
		return mailboxError("rename", from, mail.KindUsage, "there is a mailbox %q already", to)
	}
	s.mu.Unlock()
	next, err := s.resolve(ctx, "rename", to)
	if err != nil {
		return err
	}
	next.use, next.objectID = old.use, old.objectID
	if err := s.patiently(ctx, func() error { return s.renameOnce(ctx, from, old, next) }); err != nil {
		return err
	}
	s.pool.forget()
	s.renamed(from, to, next)
	return nil
}

func (s *Store) renameOnce(ctx context.Context, from string, old, next place) error {
	s.pool.forget()
	sess, err := s.ready(ctx, "", false)
	if err != nil {
		return err
	}
	defer s.pool.give(sess)
	if err := sess.rename(ctx, old, next.wire); err != nil {
		return s.vanished(ctx, sess, failed("rename", from, err), old.wire)
	}
	return nil
}

// rename renames a mailbox. Most servers leave the subscriptions as they are (RFC
// 9051, 6.3.6, says nothing of them): they go with it, also those of what is below.
func (s *session) rename(ctx context.Context, from place, to string) error {
	if err := s.unselect(ctx); err != nil {
		return err
	}
	shown, err := s.subscribedBelow(ctx, from)
	if err != nil {
		return err
	}
	_, err = s.conn.Command(ctx, nil, imapconn.Raw("RENAME"), imapconn.Mbox([]byte(from.wire)), imapconn.Mbox([]byte(to)))
	if err != nil {
		return err
	}
	for _, wire := range shown {
		if err := s.subscribe(ctx, "UNSUBSCRIBE", wire); err != nil {
			return err
		}
		if err := s.subscribe(ctx, "SUBSCRIBE", to+strings.TrimPrefix(wire, from.wire)); err != nil {
			return err
		}
	}
	return nil
}

// renamed keeps the names up to date after a rename.
func (s *Store) renamed(from, to string, next place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.names[from]
	names := maps.Clone(s.names)
	delete(names, from)
	for name, p := range s.names {
		rest, below := strings.CutPrefix(name, from+"/")
		tail, ok := strings.CutPrefix(p.wire, old.wire)
		if below && ok {
			delete(names, name)
			p.wire = next.wire + tail
			names[to+"/"+rest] = p
		}
	}
	names[to] = next
	s.names = names
	s.labelled(to, next.wire)
}

// Delete deletes a mailbox; one that is not there is no error.
func (s *Store) Delete(ctx context.Context, name string) error {
	if name == "INBOX" {
		return mailboxError("delete", name, mail.KindUsage, "INBOX cannot be deleted")
	}
	p, err := s.resolve(ctx, "delete", name)
	if err != nil {
		return err
	}
	if err := s.patiently(ctx, func() error { return s.deleteOnce(ctx, name, p) }); err != nil {
		return err
	}
	s.pool.forget()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
	return nil
}

func (s *Store) deleteOnce(ctx context.Context, name string, p place) error {
	s.pool.forget()
	sess, err := s.ready(ctx, "", false)
	if err != nil {
		return err
	}
	defer s.pool.give(sess)
	if err := sess.remove(ctx, p.wire); err != nil {
		err = s.vanished(ctx, sess, failed("delete", name, err), p.wire)
		if mail.AsError(err).Kind != mail.KindGone {
			return err
		}
	}
	return nil
}

func (s *session) remove(ctx context.Context, wire string) error {
	if err := s.unselect(ctx); err != nil {
		return err
	}
	if _, err := s.conn.Command(ctx, nil, imapconn.Raw("DELETE"), imapconn.Mbox([]byte(wire))); err != nil {
		return err
	}
	return s.subscribe(ctx, "UNSUBSCRIBE", wire)
}

// vanished makes err one of KindGone when the server refused because it has no
// such mailbox (any more).
func (s *Store) vanished(ctx context.Context, sess *session, err error, wire string) error {
	status := statusOf(err)
	if status == nil || sess.conn.Err() != nil {
		return err
	}
	there := false
	switch status.Code {
	case "NONEXISTENT":
	case "NOPERM", "INUSE", "UNAVAILABLE", "SERVERBUG", "LIMIT", "THROTTLED", "CONTACTADMIN", "CORRUPTION":
		return err
	default:
		var listErr error
		if there, listErr = sess.exists(ctx, wire); listErr != nil {
			return err
		}
	}
	if there {
		return err
	}
	e := *mail.AsError(err)
	e.Scope, e.Kind = mail.ScopeMailbox, mail.KindGone
	return &e
}
