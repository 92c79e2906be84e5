package imapstore

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

var _ mail.Subscriber = (*Store)(nil)

// Subscribed asks the server for its list of subscriptions. Names on it that are
// no mailboxes do not matter.
func (s *Store) Subscribed(ctx context.Context, names []string) (map[string]bool, error) {
	wires := make(map[string]string, len(names))
	for _, name := range names {
		p, err := s.resolve(ctx, "subscriptions", name)
		if err != nil {
			return nil, err
		}
		wires[p.wire] = name
	}
	var answer map[string]bool
	err := s.patiently(ctx, func() error {
		return s.run(ctx, "", false, func(sess *session) error {
			answer = make(map[string]bool)
			return sess.subscriptions(ctx, func(wire string) {
				if name, ok := wires[wire]; ok {
					answer[name] = true
				}
			})
		})
	})
	if err != nil {
		return nil, failed("subscriptions", "", err)
	}
	return answer, nil
}

// subscriptions calls fn for each name on the list: by LIST with LIST-EXTENDED
// (RFC 5258), else by LSUB (RFC 3501, 6.3.9).
func (s *session) subscriptions(ctx context.Context, fn func(wire string)) error {
	kind := ""
	on := func(r imapconn.Response) error {
		m, ok := imapconn.ParseList(r)
		// LSUB shows as \Noselect what is only above a name on the list.
		if r.Kind != kind || !ok || kind == "LSUB" && slices.ContainsFunc(m.Attrs, func(a string) bool { return strings.EqualFold(a, `\Noselect`) }) {
			return nil
		}
		if wire := string(m.Name); isInbox(wire) {
			fn("INBOX")
		} else {
			fn(wire)
		}
		return nil
	}
	if s.offers("LIST-EXTENDED") || s.conn.Has("IMAP4REV2") {
		kind = "LIST"
		_, err := s.conn.Command(ctx, on, imapconn.Raw(`LIST (SUBSCRIBED) "" "*"`))
		if !refused(err) {
			return err
		}
		s.deny["LIST-EXTENDED"] = true
	}
	kind = "LSUB"
	_, err := s.conn.Command(ctx, on, imapconn.Raw(`LSUB "" "*"`))
	return err
}

// subscribedBelow are the names on the wire of a mailbox and of those below it, as
// far as they are on the list. Where that is not told the mailbox counts as such,
// as a new one does.
func (s *session) subscribedBelow(ctx context.Context, p place) (wires []string, err error) {
	err = s.subscriptions(ctx, func(wire string) {
		if wire == p.wire || p.delim != 0 && strings.HasPrefix(wire, p.wire+string(p.delim)) {
			wires = append(wires, wire)
		}
	})
	if refused(err) {
		return []string{p.wire}, nil
	}
	return wires, err
}

// subscribeAtOnce is how many commands are on their way together.
const subscribeAtOnce = 50

// Subscribe subscribes and unsubscribes.
func (s *Store) Subscribe(ctx context.Context, changes map[string]bool) (refusals map[string]*mail.Error, err error) {
	refusals = make(map[string]*mail.Error)
	wires := make(map[string]string, len(changes))
	var names []string
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		p, err := s.resolve(ctx, "subscribe", name)
		if e := mail.AsError(err); err == nil {
			wires[name] = p.wire
			names = append(names, name)
		} else if e.Scope == mail.ScopeAccount {
			return refusals, err
		} else {
			refusals[name] = e
		}
	}
	for chunk := range slices.Chunk(names, subscribeAtOnce) {
		var later error // of a server that may do it after a pause
		err := s.patiently(ctx, func() error {
			later = nil
			for _, name := range chunk {
				delete(refusals, name)
			}
			err := s.run(ctx, "", false, func(sess *session) error {
				return sess.subscribeAll(ctx, chunk, changes, wires, func(name string, err error) {
					if refusals[name] = mail.AsError(failed("subscribe", name, err)); wantsPause(err) {
						later = err
					}
				})
			})
			return cmp.Or(err, later)
		})
		if later != nil && errors.Is(err, later) { // refusals says of which
			err = nil
		}
		if err != nil {
			return refusals, failed("subscribe", "", err)
		}
	}
	return refusals, nil
}

// subscribeAll sends the commands for names and then reads all the replies.
func (s *session) subscribeAll(ctx context.Context, names []string, on map[string]bool, wires map[string]string, no func(name string, err error)) error {
	var sent []*imapconn.Sent
	var first error
	for _, name := range names {
		verb := "UNSUBSCRIBE"
		if on[name] {
			verb = "SUBSCRIBE"
		}
		cmd, err := s.conn.Send(ctx, imapconn.Raw(verb), imapconn.Mbox([]byte(wires[name])))
		if err != nil {
			first = err
			break
		}
		sent = append(sent, cmd)
	}
	for i, cmd := range sent {
		_, err := cmd.Reply()
		switch {
		case refused(err):
			no(names[i], err)
		case err != nil && first == nil:
			first = err
		}
	}
	return first
}
