package imapconn

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// take takes one untagged response in.
func (sel *Selected) take(r Response) {
	switch r.Kind {
	case "EXISTS":
		sel.Exists = r.Num
	case "OK":
		sel.takeCode(r.Status)
	}
}

func (sel *Selected) takeCode(s Status) {
	args := []byte(s.CodeArgs)
	switch s.Code {
	case "CLOSED": // all before it was of the mailbox that was open before
		*sel = Selected{Name: sel.Name, ReadOnly: sel.ReadOnly}
	case "UIDVALIDITY":
		sel.UIDValidity, _ = parseUint32(args)
	case "UIDNEXT":
		sel.UIDNext, _ = parseUint32(args)
	case "HIGHESTMODSEQ":
		sel.HighestModSeq, _ = parseUint64(args)
	case "NOMODSEQ":
		sel.NoModSeq = true
	case "MAILBOXID":
		sel.MailboxID = string(inParens(args))
	case "READ-ONLY":
		sel.ReadOnly = true
	case "PERMANENTFLAGS":
		sel.HasPermanent = true
		sel.PermanentFlags = parseFlags(args)
		sel.PermanentAny = slices.ContainsFunc(bytes.Fields(inParens(args)), func(f []byte) bool { return string(f) == `\*` })
	}
}

// Select opens a mailbox, with EXAMINE when readOnly, and with CONDSTORE where
// the server has it. When the server answers NO, none is open afterwards.
func (c *Conn) Select(ctx context.Context, mbox []byte, readOnly bool) (Selected, error) {
	sel := Selected{Name: string(mbox), ReadOnly: readOnly}
	name := "SELECT"
	if readOnly {
		name = "EXAMINE"
	}
	parts := []Part{Raw(name), Mbox(mbox)}
	if c.Has("CONDSTORE") {
		parts = append(parts, Raw("(CONDSTORE)"))
	}
	s, err := c.Command(ctx, func(r Response) error {
		sel.take(r)
		return nil
	}, parts...)
	if err != nil {
		if s == nil || s.Type == "NO" {
			c.selected, c.readOnly = false, false
		}
		if e, ok := errors.AsType[*mail.Error](err); ok {
			e.Mailbox = sel.Name
			e.Op = strings.ToLower(name)
			if status, ok := errors.AsType[*StatusError](err); ok && status.Code == "" && saysGone(status.Text) {
				e.Kind = mail.KindGone
			}
		}
		return Selected{}, err
	}
	sel.takeCode(*s)
	c.selected, c.readOnly = true, sel.ReadOnly
	return sel, nil
}

// saysGone reports whether the text of a NO to SELECT, which Dovecot and others
// send without the code, says that there is no such mailbox.
func saysGone(text string) bool {
	text = strings.ToLower(text)
	for _, words := range []string{"doesn't exist", "does not exist", "no such mailbox", "unknown mailbox", "nonexistent", "non-existent", "not found"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// Unselect closes the mailbox that is open, if any, without expunging anything:
// with UNSELECT; else with CLOSE, where it was opened for reading only (RFC 9051,
// 6.4.1); else by opening one that does not exist, which closes the other (RFC
// 3501, 6.3.1).
func (c *Conn) Unselect(ctx context.Context) error {
	if !c.selected {
		return nil
	}
	part := Raw("UNSELECT")
	switch {
	case c.Has("UNSELECT"):
	case c.readOnly:
		part = Raw("CLOSE")
	default:
		part = Raw("EXAMINE postbag-none-" + rand.Text())
	}
	_, err := c.Command(ctx, nil, part)
	if status, ok := errors.AsType[*StatusError](err); ok && status.Type == "NO" && strings.HasPrefix(part.text, "EXAMINE") {
		err = nil
	}
	if err == nil {
		c.selected = false
	}
	return err
}

// Search runs UID SEARCH with criteria, which must be printable ASCII, and
// answers with the UIDs found, as ranges: with ESEARCH (RFC 4731) where the
// server has it.
func (c *Conn) Search(ctx context.Context, criteria string) (UIDSet, error) {
	var found []UIDRange
	var bad error
	on := func(resp []byte) bool {
		kind, _, rest, ok := splitUntagged(resp)
		var err error
		switch {
		case !ok:
			return false
		case equalFold(kind, "SEARCH"):
			found, err = appendSearch(found, rest)
		case equalFold(kind, "ESEARCH"):
			found, err = appendESearch(found, rest)
		default:
			return false
		}
		if err != nil {
			bad = err
		}
		return true
	}
	command := "UID SEARCH "
	if c.Has("ESEARCH") {
		command += "RETURN (ALL) "
	}
	if _, err := c.roundTrip(ctx, "search", on, Raw(command+criteria)); err != nil {
		return UIDSet{}, err
	}
	if bad != nil {
		return UIDSet{}, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindProtocol, Op: "search", Err: bad}
	}
	return UIDSet{normalise(found)}, nil
}

// appendSearch takes the numbers of a SEARCH response, and joins neighbours at
// once: a line may hold millions.
func appendSearch(found []UIDRange, rest []byte) ([]UIDRange, error) {
	for i := skipBlanks(rest, 0); i < len(rest); i = skipBlanks(rest, i) {
		if rest[i] == '(' { // (MODSEQ n)
			if i = skipValue(rest, i); i < 0 {
				return found, errSet
			}
			continue
		}
		end := skipAtom(rest, i)
		uid, ok := parseUint32(rest[i:end])
		if !ok || uid == 0 {
			return found, errSet
		}
		if n := len(found); n > 0 && uint64(found[n-1].Hi)+1 == uint64(uid) {
			found[n-1].Hi = uid
		} else {
			found = append(found, UIDRange{uid, uid})
		}
		i = end
	}
	return found, nil
}

// appendESearch takes the set of ALL of an ESEARCH response.
func appendESearch(found []UIDRange, rest []byte) ([]UIDRange, error) {
	tokens, ok := parseTokens(rest)
	if !ok {
		return found, errSet
	}
	for i := 0; i+1 < len(tokens); i++ {
		if tokens[i].Is("ALL") {
			set, err := ParseUIDSet(tokens[i+1].Text())
			return append(found, set.Ranges()...), err
		}
	}
	return found, nil
}
