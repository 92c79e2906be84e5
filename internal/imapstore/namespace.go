package imapstore

import (
	"context"
	"strings"

	"postbag/internal/imapconn"
)

// namespaces is the answer to NAMESPACE (RFC 2342).
type namespaces struct {
	personal, others, shared []namespace
}

type namespace struct {
	prefix string
	delim  byte
}

// findLayout finds out how the server writes names. NAMESPACE is asked only when
// the listing leaves a doubt: it costs a round trip.
func (s *Store) findLayout(ctx context.Context, sess *session, mailboxes []*listed) (layout, []string, error) {
	lay := layout{delim: commonDelim(mailboxes), prefix: s.cfg.Prefix}
	inbox := allBelowInbox(mailboxes, lay.delim)
	if !doubtful(mailboxes, lay.delim) || !sess.offers("NAMESPACE") {
		// GMX and others tell no namespace, and keep everything below INBOX.
		if lay.prefix == "" && inbox && lay.delim == '.' {
			lay.prefix = "INBOX."
		}
		return lay, nil, nil
	}
	ns, err := sess.namespaces(ctx)
	if err != nil && !refused(err) {
		return lay, nil, err
	}
	var foreign []string
	for _, n := range append(ns.others, ns.shared...) {
		if n.prefix != "" {
			foreign = append(foreign, n.prefix)
		}
	}
	if len(ns.personal) > 0 {
		own := ns.personal[0]
		if d := usableDelim(own.delim); d != 0 {
			lay.delim = d
		}
		if lay.prefix == "" {
			lay.prefix = own.prefix
		}
	} else if lay.prefix == "" && inbox && lay.delim == '.' {
		lay.prefix = "INBOX."
	}
	return lay, foreign, nil
}

// commonDelim is the delimiter of most mailboxes.
func commonDelim(mailboxes []*listed) byte {
	counts := make(map[byte]int)
	var best byte
	for _, m := range mailboxes {
		d := usableDelim(m.delim)
		if d == 0 {
			continue
		}
		counts[d]++
		if best == 0 || counts[d] > counts[best] || counts[d] == counts[best] && d < best {
			best = d
		}
	}
	return best
}

// doubtful reports whether the listing leaves open how the server writes names:
// nothing is beside INBOX, or something is below a name that is no mailbox
// itself, or the delimiters differ.
func doubtful(mailboxes []*listed, delim byte) bool {
	selectable, beside := make(map[string]bool), false
	for _, m := range mailboxes {
		beside = beside || !isInbox(m.wire)
		if d := usableDelim(m.delim); d != 0 && d != delim {
			return true
		}
		if !m.noSelect() {
			selectable[m.wire] = true
		}
	}
	for _, m := range mailboxes {
		top := m.wire
		if delim != 0 {
			top, _, _ = strings.Cut(top, string(delim))
		}
		if !selectable[top] && !isInbox(top) || strings.HasPrefix(top, "#") || strings.HasPrefix(top, "~") {
			return true
		}
	}
	return !beside || allBelowInbox(mailboxes, delim)
}

// allBelowInbox reports whether INBOX has children, and nothing is beside it.
func allBelowInbox(mailboxes []*listed, delim byte) bool {
	children := false
	for _, m := range mailboxes {
		if isInbox(m.wire) {
			continue
		}
		if delim == 0 || len(m.wire) < 6 || !isInbox(m.wire[:5]) || m.wire[5] != delim {
			return false
		}
		children = true
	}
	return children
}

func (s *session) namespaces(ctx context.Context) (namespaces, error) {
	var ns namespaces
	_, err := s.conn.Command(ctx, func(r imapconn.Response) error {
		if r.Kind == "NAMESPACE" && len(r.Tokens) >= 3 {
			ns.personal = parseNamespaces(r.Tokens[0])
			ns.others = parseNamespaces(r.Tokens[1])
			ns.shared = parseNamespaces(r.Tokens[2])
		}
		return nil
	}, imapconn.Raw("NAMESPACE"))
	return ns, err
}

// parseNamespaces parses one of the three lists, which may be NIL.
func parseNamespaces(t imapconn.Token) []namespace {
	var all []namespace
	for _, n := range t.List {
		if n.Kind != imapconn.List || len(n.List) < 2 || n.List[0].Kind == imapconn.List {
			continue
		}
		ns := namespace{prefix: n.List[0].Text()}
		if d := n.List[1]; !d.IsNIL() && len(d.Text()) == 1 {
			ns.delim = d.Text()[0]
		}
		all = append(all, ns)
	}
	return all
}

// within reports whether a mailbox belongs to one of the namespaces, or is the
// name that its prefix begins with.
func within(prefixes []string, m *listed) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(m.wire, p) || m.delim != 0 && m.wire+string(m.delim) == p {
			return true
		}
	}
	return false
}
