package imapstore

import (
	"fmt"
	"strconv"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// cursor is how far a mailbox has been looked at. The zero cursor is the
// beginning.
type cursor struct {
	validity uint32
	// next: each message with a smaller UID has been told as new, or was known.
	next uint32
	// modseq: each change of a flag up to it has been told for the messages below
	// next. 0: nobody knows, compare all flags.
	modseq uint64
}

// String is "v=UIDVALIDITY n=UIDNEXT m=MODSEQ".
func (c cursor) String() string {
	return fmt.Sprintf("v=%d n=%d m=%d", c.validity, c.next, c.modseq)
}

// parseCursor is the inverse of String. What String did not write, in every
// byte, and what was taken under another UIDVALIDITY, is the beginning: a cursor
// only saves work, and starting over is always right.
func parseCursor(s mail.Cursor, validity uint32) cursor {
	begin := cursor{validity: validity, next: 1}
	v, rest, ok := field(string(s), "v=", 32)
	n, rest, ok2 := field(rest, " n=", 32)
	m, rest, ok3 := field(rest, " m=", 64)
	c := cursor{validity: uint32(v), next: uint32(n), modseq: m}
	if !ok || !ok2 || !ok3 || rest != "" || c.String() != string(s) || c.validity != validity || c.next == 0 {
		return begin
	}
	return c
}

// field cuts "LABELnumber" off the front of s.
func field(s, label string, bits int) (value uint64, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, label)
	if !ok {
		return 0, "", false
	}
	end := strings.IndexByte(s, ' ')
	if end < 0 {
		end = len(s)
	}
	value, err := strconv.ParseUint(s[:end], 10, bits)
	return value, s[end:], err == nil
}

// counters are the numbers of a mailbox that tell whether anything happened in
// it, as STATUS or SELECT gave them. A zero validity, next or modseq means that
// the server did not tell.
type counters struct {
	validity, next, messages uint32
	modseq                   uint64
}

// selectedCounters are the counters of a mailbox that was just selected.
func selectedCounters(s imapconn.Selected) counters {
	c := counters{validity: s.UIDValidity, next: s.UIDNext, messages: s.Exists, modseq: s.HighestModSeq}
	if s.NoModSeq {
		c.modseq = 0
	}
	return c
}

// stamp proves that nothing happened as long as it stays the same: each arrival
// moves UIDNEXT, each departure MESSAGES (or, with an arrival, UIDNEXT), each
// change of a flag HIGHESTMODSEQ (RFC 7162, 3.1.2.1). "" when one of them is
// missing: without CONDSTORE flags change unseen.
func (c counters) stamp() string {
	if c.validity == 0 || c.next == 0 || c.modseq == 0 {
		return ""
	}
	return fmt.Sprintf("v=%d n=%d m=%d c=%d", c.validity, c.next, c.modseq, c.messages)
}

// validityString is a UIDVALIDITY as mail.MailboxInfo has it.
func validityString(v uint32) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(v), 10)
}
