package imapstore

import (
	"context"
	"fmt"
	"strings"

	"postbag/internal/mail"
)

// About is what a server is and offers, and how it is used: for a person to read.
type About struct {
	Greeting     string            // "" when it came before STARTTLS
	ID           map[string]string // the server's answer to ID; nil for none
	Capabilities []string          // after the login, sorted

	// Changes is how changes are found: "QRESYNC", "CONDSTORE", or "listing", which
	// lists the flags of all messages each time.
	Changes string
	// Listing is how mailboxes are listed: "LIST-STATUS", in one round trip, or
	// "STATUS", with one command for each of them.
	Listing string
	// Moves is how messages are moved: "MOVE", "COPY", or "" when they cannot be.
	Moves string
	// Expunges reports whether single messages can be removed.
	Expunges bool
	// Several reports whether one APPEND takes several messages.
	Several bool
	// Literals is how they are sent: "LITERAL+" and "LITERAL-" need not wait for the
	// server's leave, the latter for small ones; "" has to.
	Literals string
	Compress bool

	AppendLimit int64 // octets of a message; -1 when none is known
	MaxLine     int   // octets of a line; 0 when no limit is known
	Quota       Quota
	Connections int // that will be made at most

	Prefix    string // of the user's mailboxes on the wire, "" for none
	Delimiter string // between the parts of their names, "" for none

	// Rows of the table of quirks that apply, those of providers first.
	Rows []Quirk
}

// About asks the server about itself. The account has been listed before.
func (s *Store) About(ctx context.Context) (About, error) {
	var a About
	err := s.run(ctx, "", false, func(sess *session) error {
		s.pool.learn(sess)
		a = sess.about()
		return nil
	})
	if err != nil {
		return a, failed("capability", "", err)
	}
	if a.Quota, err = s.Quota(ctx); err != nil {
		return a, err
	}
	quirk := s.pool.quirks()
	a.Rows, a.Connections = quirk.rows, s.pool.size()
	s.pool.mu.Lock()
	a.Greeting = s.pool.peer.greeting
	s.pool.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Prefix = s.layout.prefix
	if s.layout.delim != 0 {
		a.Delimiter = string(s.layout.delim)
	}
	return a, nil
}

// about is what one session knows.
func (s *session) about() About {
	limits := s.limits()
	a := About{
		ID: s.conn.ServerID(), Capabilities: s.conn.Caps(),
		Changes: "listing", Listing: "STATUS", Expunges: s.offers("UIDPLUS"), Several: s.offers("MULTIAPPEND"),
		Compress: s.offers("COMPRESS=DEFLATE"), AppendLimit: limits.octets, MaxLine: limits.line,
	}
	switch {
	case s.can.qresync:
		a.Changes = "QRESYNC"
	case s.can.condstore:
		a.Changes = "CONDSTORE"
	}
	if s.offers("LIST-STATUS") {
		a.Listing = "LIST-STATUS"
	}
	switch {
	case s.offers("MOVE"):
		a.Moves = "MOVE"
	case a.Expunges:
		a.Moves = "COPY"
	}
	for _, c := range []string{"LITERAL-", "LITERAL+"} {
		if s.offers(c) {
			a.Literals = c
		}
	}
	return a
}

// Effects says in words, each a part of a sentence, what a row makes of its server.
func (q *Quirk) Effects() (list []string) {
	say := func(when bool, format string, args ...any) {
		if when {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	say(q.MaxConnections > 0, "at most %d connections", q.MaxConnections)
	say(q.Ahead == 1, "each command waits for the reply to the one before")
	say(q.Ahead > 1, "at most %d commands ahead of their replies", q.Ahead)
	for _, c := range q.Deny {
		say(true, "%s is not used", c)
	}
	say(q.NoSearch, "SEARCH is not used: messages are listed")
	say(q.FoldNames, "names of mailboxes that differ in case only are one")
	say(q.NoMailboxID, "STATUS is not asked for MAILBOXID")
	if n := len(q.ShowsAtMost); n > 0 {
		words := strings.Fields(strings.Trim(fmt.Sprint(q.ShowsAtMost), "[]"))
		last := words[n-1]
		if n > 1 {
			last = strings.Join(words[:n-1], ", ") + " or " + last
		}
		say(true, "a mailbox that shows exactly %s messages may hold more: nothing in it counts as deleted", last)
	}
	say(q.StoreAfterAppend != 0, "%s is set after an upload, not with it", mail.Flags{System: q.StoreAfterAppend})
	say(q.KeywordsAfterAppend, "keywords are set after an upload, not with it")
	say(q.AppendLimit > 0, "a message above %d MB is not sent", q.AppendLimit>>20)
	say(q.MaxLine > 0, "a message with a line above %d octets is not sent", q.MaxLine)
	say(q.DayUp > 0, "at most %d MB are sent in 24 hours", q.DayUp>>20)
	say(q.DayDown > 0, "at most %d MB are read in 24 hours", q.DayDown>>20)
	say(q.FinalCRLF, "a message that does not end in CRLF is not sent")
	for _, name := range q.BadNames {
		say(true, "no mailbox is made with the name %q", name)
	}
	say(q.BadInNames != "", "no mailbox is made with %q in its name", q.BadInNames)
	say(q.NoEdgeSpaces, "no mailbox is made whose name begins or ends with a space")
	say(q.NoDoubleSpaces, "no mailbox is made with two spaces in a row in its name")
	say(q.NoInboxChildren, "no mailbox is made below INBOX")
	return list
}
