package imapstore

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// A mailbox has two names: the one on the wire, bytes in modified UTF-7 (RFC
// 3501, 5.1.3) with the server's delimiter and the prefix of its namespace, and
// the one that mail.JoinName describes. Invariants:
//
//   - What is sent to the server for a listed mailbox are the bytes that it
//     listed, whatever they are.
//   - Two mailboxes never share a name.
//   - Components that are no valid modified UTF-7 are shown as "=raw=" and their
//     bytes, of which all but plain ASCII is written "=XX". A component that
//     really begins like this is written the same way.
//   - A mailbox whose name another one has already is shown as "=wire=" and the
//     bytes of its whole name on the wire.

const (
	rawMark  = "=raw="
	wireMark = "=wire="
)

// layout is how a server writes names.
type layout struct {
	prefix string // of the personal namespace, with its delimiter: "" or "INBOX."
	delim  byte   // 0: the server has no hierarchy
}

// usableDelim is b when a name can be split at it: not when it may occur within
// a modified UTF-7 sequence.
func usableDelim(b byte) byte {
	switch {
	case b <= ' ' || b >= 0x7f, strings.IndexByte("&,+-=", b) >= 0,
		b >= '0' && b <= '9', b >= 'A' && b <= 'Z', b >= 'a' && b <= 'z':
		return 0
	}
	return b
}

func isInbox(s string) bool { return strings.EqualFold(s, "INBOX") }

// cutPrefix takes the namespace's prefix off a name on the wire. A prefix that
// is INBOX and the delimiter matches in any case.
func (l layout) cutPrefix(wire string) (rest string, ok bool) {
	if len(wire) < len(l.prefix) {
		return wire, false
	}
	head := wire[:len(l.prefix)]
	if head != l.prefix && !(isInbox(strings.TrimSuffix(l.prefix, string(l.delim))) && strings.EqualFold(head, l.prefix)) {
		return wire, false
	}
	return wire[len(l.prefix):], true
}

// name is the name of the mailbox that the server lists as wire with delim.
func (l layout) name(wire string, delim byte) string {
	if isInbox(wire) {
		return "INBOX"
	}
	rest, stripped := l.cutPrefix(wire)
	stripped = stripped && l.prefix != ""
	raw := []string{rest}
	if delim = usableDelim(delim); delim != 0 {
		raw = strings.Split(rest, string(delim))
	}
	components := make([]string, len(raw))
	for i, r := range raw {
		components[i] = componentName(r)
	}
	if isInbox(components[0]) {
		switch {
		case len(components) > 1:
			components[0] = "INBOX"
		case stripped: // "INBOX.INBOX" is not the INBOX
			components[0] = rawMark + escape(raw[0])
		}
	}
	return mail.JoinName(components...)
}

// wire is the name to send for a mailbox that the server has not listed: below
// base, which is a name on the wire with its delimiter, or a namespace's prefix.
func (l layout) wire(base string, components []string) (string, error) {
	raw := make([]string, len(components))
	for i, c := range components {
		r, err := componentWire(c)
		if err != nil {
			return "", err
		}
		if l.delim != 0 && strings.IndexByte(r, l.delim) >= 0 {
			return "", fmt.Errorf("%q holds %q, which divides mailboxes on this server", c, l.delim)
		}
		raw[i] = r
	}
	if l.delim == 0 && (len(raw) > 1 || base != l.prefix) {
		return "", fmt.Errorf("this server has no mailboxes within mailboxes")
	}
	return base + strings.Join(raw, string(l.delim)), nil
}

// wireName is the name to send for name when nothing like it was listed.
func (l layout) wireName(name string) (string, error) {
	components := mail.SplitName(name)
	if len(components) == 1 {
		if isInbox(name) {
			return "INBOX", nil
		}
		if rest, ok := strings.CutPrefix(components[0], wireMark); ok {
			return unescape(rest)
		}
	}
	return l.wire(l.prefix, components)
}

// nameError is why a server that has no mailbox of that name cannot have one; nil
// when nothing is known against it.
func (e effect) nameError(name string) error {
	components := mail.SplitName(name)
	if slices.Contains(e.BadNames, strings.ToLower(components[0])) {
		return fmt.Errorf("%q is a name that this server keeps for itself", components[0])
	}
	if e.NoInboxChildren && len(components) > 1 && isInbox(components[0]) {
		return fmt.Errorf("this server has no mailboxes below INBOX")
	}
	for _, c := range components {
		switch {
		case e.BadInNames != "" && strings.ContainsAny(c, e.BadInNames):
			return fmt.Errorf("%q holds one of %q, which names on this server cannot", c, e.BadInNames)
		case e.NoEdgeSpaces && strings.Trim(c, " ") != c:
			return fmt.Errorf("%q begins or ends with a space, which names on this server cannot", c)
		case e.NoDoubleSpaces && strings.Contains(c, "  "):
			return fmt.Errorf("%q holds two spaces in a row, which names on this server cannot", c)
		}
	}
	return nil
}

// componentName decodes one component of a name on the wire.
func componentName(raw string) string {
	text, err := imapconn.DecodeName([]byte(raw))
	if err != nil || strings.HasPrefix(text, rawMark) || strings.HasPrefix(text, wireMark) {
		return rawMark + escape(raw)
	}
	return text
}

// componentWire is the inverse of componentName.
func componentWire(c string) (string, error) {
	if rest, ok := strings.CutPrefix(c, rawMark); ok {
		return unescape(rest)
	}
	if strings.HasPrefix(c, wireMark) {
		return "", fmt.Errorf("%q cannot be the name of a new mailbox", c)
	}
	if !utf8.ValidString(c) {
		return "", fmt.Errorf("%q is not valid UTF-8", c)
	}
	return string(imapconn.EncodeName(c)), nil
}

// escape writes bytes as text that can be shown, without "/" and "%".
func escape(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		if c := raw[i]; c < ' ' || c >= 0x7f || c == '=' || c == '/' || c == '%' {
			fmt.Fprintf(&b, "=%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescape is the inverse of escape, and refuses what escape does not write.
func unescape(s string) (string, error) {
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		var c byte
		if len(s) < i+3 {
			return "", fmt.Errorf("%q is no escaped mailbox name", s)
		}
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02X", &c); err != nil {
			return "", fmt.Errorf("%q is no escaped mailbox name", s)
		}
		b.WriteByte(c)
		i += 2
	}
	if escape(b.String()) != s || strings.ContainsAny(b.String(), "\x00\r\n") {
		return "", fmt.Errorf("%q is no escaped mailbox name", s)
	}
	return b.String(), nil
}
