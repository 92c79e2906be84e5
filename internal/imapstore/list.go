package imapstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// maxMailboxes is how many mailboxes an account may have. A server that lists
// more is broken, or means harm.
const maxMailboxes = 100_000

// listed is one mailbox as LIST and STATUS told of it.
type listed struct {
	wire   string
	delim  byte
	attrs  []string // upper case
	status *status  // nil when STATUS did not come
}

func (m *listed) is(attr string) bool { return slices.Contains(m.attrs, attr) }

// noSelect reports whether the name holds no messages (RFC 9051, 7.3.1).
func (m *listed) noSelect() bool { return m.is(`\NOSELECT`) || m.is(`\NONEXISTENT`) }

// List lists the mailboxes of the personal namespace: in one round trip with
// LIST-STATUS (RFC 5819), else with one STATUS for each mailbox.
func (s *Store) List(ctx context.Context) (list []mail.MailboxInfo, err error) {
	err = s.patiently(ctx, func() error {
		list, err = s.listAll(ctx)
		return err
	})
	return list, err
}

func (s *Store) listAll(ctx context.Context) ([]mail.MailboxInfo, error) {
	var found *found
	var lay layout
	var foreign []string
	err := s.run(ctx, "", false, func(sess *session) (err error) {
		if found, err = sess.list(ctx); err != nil {
			return err
		}
		lay, foreign, err = s.findLayout(ctx, sess, found.mailboxes)
		return err
	})
	if err == nil && len(found.mailboxes) == 0 {
		err = errNothing
	}
	if err != nil {
		return nil, failed("list", "", err)
	}
	if !s.cfg.Shared {
		found.mailboxes = slices.DeleteFunc(found.mailboxes, func(m *listed) bool { return within(foreign, m) })
	}
	if err := s.statusOfRest(ctx, found.mailboxes); err != nil {
		return nil, failed("list", "", err)
	}
	s.mu.Lock()
	s.gmail = found.gmail
	s.mu.Unlock()
	return s.adopt(lay, found.mailboxes, found.condstore), nil
}

// errNothing is no state that an account can be in: INBOX is always there (RFC
// 9051, 5.1). Whoever took it for an empty account would call a backup of
// nothing a success.
var errNothing = &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindGuard, Err: errors.New("the server lists no mailbox at all, not even INBOX"),
	Hint: "nothing was changed; check that it is the right account and that it is all there"}

// found collects the answers to LIST and STATUS. Both come in any order.
type found struct {
	mailboxes []*listed
	byWire    map[string]*listed
	statuses  map[string]*status
	condstore bool
	gmail     bool // there are labels
}

func newFound() *found {
	return &found{byWire: make(map[string]*listed), statuses: make(map[string]*status)}
}

var errTooMany = errors.New("the server lists more than 100000 mailboxes")

// on takes in one untagged response. Of two for one mailbox the first counts.
func (f *found) on(r imapconn.Response) error {
	switch r.Kind {
	case "LIST", "XLIST":
		m, ok := imapconn.ParseList(r)
		if !ok {
			return nil
		}
		l := &listed{wire: string(m.Name)}
		if len(m.Delim) == 1 {
			l.delim = m.Delim[0]
		}
		for _, a := range m.Attrs {
			l.attrs = append(l.attrs, strings.ToUpper(a))
		}
		key := l.wire
		if l.is(`\INBOX`) { // XLIST shows it in the user's language
			l.wire = "INBOX"
		}
		if isInbox(l.wire) {
			key = "INBOX"
		}
		if f.byWire[key] != nil {
			return nil
		}
		if len(f.mailboxes) >= maxMailboxes {
			return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindProtocol, Err: errTooMany}
		}
		f.mailboxes = append(f.mailboxes, l)
		f.byWire[key] = l
	case "STATUS":
		if name, st, ok := parseStatus(r); ok && len(f.statuses) < maxMailboxes {
			f.statuses[name] = st
		}
	}
	return nil
}

// join gives the mailboxes their statuses. Some servers write the name in
// another case there.
func (f *found) join() {
	folded := make(map[string]*status)
	for name, st := range f.statuses {
		folded[strings.ToLower(name)] = st
	}
	lower := make(map[string]int)
	for _, m := range f.mailboxes {
		lower[strings.ToLower(m.wire)]++
	}
	for _, m := range f.mailboxes {
		if st := f.statuses[m.wire]; st != nil {
			m.status = st
		} else if key := strings.ToLower(m.wire); lower[key] == 1 {
			m.status = folded[key]
		}
	}
}

// list runs the best LIST that the server offers.
func (s *session) list(ctx context.Context) (*found, error) {
	// STATUS of the selected mailbox tells old numbers (RFC 9051, 6.3.11).
	if err := s.unselect(ctx); err != nil {
		return nil, err
	}
	var returns []string
	if s.offers("SPECIAL-USE") {
		returns = append(returns, "SPECIAL-USE")
	}
	if s.offers("LIST-STATUS") {
		returns = append(returns, "STATUS ("+s.statusItems()+")")
	}
	if len(returns) > 0 {
		f, err := s.runList(ctx, imapconn.Raw(`LIST "" "*" RETURN (`+strings.Join(returns, " ")+`)`))
		if !refused(err) || wantsPause(err) {
			return f, err
		}
		s.deny["LIST-STATUS"], s.deny["SPECIAL-USE"] = true, true
	}
	if s.offers("XLIST") && !s.conn.Has("SPECIAL-USE") {
		f, err := s.runList(ctx, imapconn.Raw(`XLIST "" "*"`))
		if !refused(err) || wantsPause(err) {
			return f, err
		}
		s.deny["XLIST"] = true
	}
	return s.runList(ctx, imapconn.Raw(`LIST "" "*"`))
}

func (s *session) runList(ctx context.Context, command imapconn.Part) (*found, error) {
	f := newFound()
	f.condstore, f.gmail = s.can.condstore, s.offers("X-GM-EXT-1")
	if _, err := s.conn.Command(ctx, f.on, command); err != nil {
		return nil, err
	}
	f.join()
	return f, nil
}

// adopt names the mailboxes, keeps the names for later calls, and describes
// them, sorted by name.
func (s *Store) adopt(lay layout, mailboxes []*listed, condstore bool) []mail.MailboxInfo {
	names := lay.names(mailboxes)
	uses := rolesOf(mailboxes, names)
	places := make(map[string]place, len(mailboxes))
	infos := make([]mail.MailboxInfo, 0, len(mailboxes))
	ids := make(map[string]int)
	for _, m := range mailboxes {
		if m.status != nil {
			ids[m.status.mailboxID]++
		}
	}
	for i, m := range mailboxes {
		info := describe(m, condstore)
		if ids[info.ObjectID] > 1 { // an ID of two mailboxes is that of none
			info.ObjectID = ""
		}
		info.Name, info.Use = names[i], uses[i]
		infos = append(infos, info)
		p := place{wire: m.wire, delim: usableDelim(m.delim), use: uses[i], objectID: info.ObjectID}
		if m.status != nil {
			p.validity = m.status.validity
		}
		places[names[i]] = p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.labels != nil && s.gmail {
		all, set := markViews(mailboxes, infos, s.labels)
		if p, ok := places[all]; ok {
			p.labels = set
			places[all] = p
			set.describe(&infos[slices.Index(names, all)])
		}
	}
	slices.SortFunc(infos, func(a, b mail.MailboxInfo) int { return strings.Compare(a.Name, b.Name) })
	s.listed, s.layout, s.names = true, lay, places
	return infos
}

// describe is what a listing tells of a mailbox, without name and role.
func describe(m *listed, condstore bool) mail.MailboxInfo {
	info := mail.MailboxInfo{Messages: -1, Bytes: -1, NoSelect: m.noSelect()}
	if strings.ContainsAny(m.wire, "\x00\r\n") {
		info.Err = fmt.Errorf("the name holds octets that cannot be sent to the server")
	}
	st := m.status
	if st == nil || info.NoSelect {
		return info
	}
	info.ObjectID = st.mailboxID
	info.Validity = validityString(st.validity)
	info.Bytes = st.size
	if st.hasMessages {
		info.Messages = int(st.messages)
	}
	if condstore && st.hasMessages {
		info.Stamp = st.stamp()
	}
	if st.hasValidity && st.validity == 0 {
		info.Err = errNoValidity
	}
	return info
}

var errNoValidity = errors.New("the server gives the mailbox no UIDVALIDITY: its messages have no lasting numbers")

// names are the names of mailboxes, each another one. Where two have one name,
// the one whose name on the wire is first in the order of octets keeps it,
// before all one that is spelt in the usual way.
func (l layout) names(mailboxes []*listed) []string {
	order := make([]int, len(mailboxes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(mailboxes[a].wire, mailboxes[b].wire) })
	names := make([]string, len(mailboxes))
	taken := make(map[string]bool, len(mailboxes))
	for _, usual := range []bool{true, false} {
		for _, i := range order {
			m := mailboxes[i]
			name := l.name(m.wire, m.delim)
			wire, err := l.wireName(name)
			if (err == nil && wire == m.wire) != usual {
				continue
			}
			if taken[name] {
				name = wireMark + escape(m.wire)
			}
			taken[name] = true
			names[i] = name
		}
	}
	return names
}
