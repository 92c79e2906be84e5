package imapstore

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// limits are what a message must be like for the server to take it. What is outside
// of them is not sent: servers answer with BAD, or with the end of the connection.
type limits struct {
	octets    int64 // -1 for no limit
	line      int   // octets of a line without its CRLF; 0 for no limit
	finalCRLF bool
}

// limits are those that the server tells (RFC 7889), else those that are known.
func (s *session) limits() limits {
	l := limits{octets: -1, line: s.quirk.MaxLine, finalCRLF: s.quirk.FinalCRLF}
	if n := s.quirk.AppendLimit; n > 0 {
		l.octets = n
	}
	if n, ok := s.number("APPENDLIMIT"); ok {
		l.octets = n
	}
	return l
}

// chunks are the sets of UIDs to send for a set of messages that are there: none too
// long, nor of more messages than the server takes in one command (RFC 9738).
func (s *session) chunks(set imapconn.UIDSet) []imapconn.UIDSet {
	chunks := set.Chunks(setBytes)
	most, ok := s.number("MESSAGELIMIT")
	if !ok {
		return chunks
	}
	var parts []imapconn.UIDSet
	for _, c := range chunks {
		parts = append(parts, c.Split(int(min(most, 1<<20)))...)
	}
	return parts
}

// number is the value of a capability that has one, "APPENDLIMIT=1000".
func (s *session) number(capability string) (n int64, ok bool) {
	for _, c := range s.conn.Caps() {
		if text, found := strings.CutPrefix(c, capability+"="); found {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
				return n, true
			}
		}
	}
	return 0, false
}

// size is what is wrong with the size of a message; nil when nothing is.
func (l *limits) size(octets int64) (mail.Kind, error) {
	if l.octets < 0 || octets <= l.octets {
		return 0, nil
	}
	return mail.KindTooLarge, fmt.Errorf("the message has %d octets, the server takes at most %d", octets, l.octets)
}

// form is what is wrong with the lines of a message that was read.
func (l *limits) form(m *lines) (mail.Kind, error) {
	switch {
	case l.line > 0 && m.longest > l.line:
		return mail.KindRefused, fmt.Errorf("the message has a line of %d octets, the server takes at most %d", m.longest, l.line)
	case l.finalCRLF && m.total > 0 && !m.crlf:
		return mail.KindRefused, fmt.Errorf("the message does not end in CRLF, and the server wants that")
	}
	return 0, nil
}

// lines looks at the lines of a message on its way.
type lines struct {
	r       io.Reader
	total   int64
	longest int  // octets of the longest line without its CRLF
	line    int  // octets of the line that is not over
	prev    byte // the last octet
	crlf    bool // the last two octets
}

// Read reads on.
func (l *lines) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.take(p[:n])
	return n, err
}

func (l *lines) take(p []byte) {
	l.total += int64(len(p))
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		if len(part) > 0 {
			l.prev = part[len(part)-1]
		}
		l.line += len(part)
		length := l.line
		if l.prev == '\r' {
			length--
		}
		l.longest = max(l.longest, length)
		l.crlf = ended && l.prev == '\r'
		if ended {
			l.line, l.prev = 0, '\n'
		}
		p = rest
	}
}
