package repair

import (
	"bytes"
	"strings"
)

// kind is how the lines of a body may be broken.
type kind uint8

const (
	opaque kind = iota // not at all
	text
	base64
	quotedPrintable
)

// Where something cannot be repaired.
const (
	inSigned  = "a part that is signed"
	inBinary  = "a part whose encoding is binary"
	inUnknown = "a part whose encoding is not known"
	inData    = "a part that is neither text nor encoded"
)

// content is what a part's header says of its body. noNUL, noCRLF and noBreak say
// why that repair would do harm; "" when it would not.
type content struct {
	kind                   kind
	boundary               string // of a multipart
	signed                 bool   // it is signed, with all that is in it
	noNUL, noCRLF, noBreak string
}

// maxDepth is how deep multiparts may lie in each other.
const maxDepth = 100

// longestBoundary is how long a line may be that is looked at for a boundary: RFC
// 2046, 5.1.1, allows 70 octets and white space after it.
const longestBoundary = 250

// enter begins the body whose header has these fields.
func (r *Reader) enter(fields map[string]string) {
	kind, params := mediaType(fields["content-type"])
	c := content{}
	if n := len(r.parents); n > 0 {
		c.signed = r.parents[n-1].signed
	}
	c.signed = c.signed || kind == "multipart/signed"
	switch strings.ToLower(strings.TrimSpace(fields["content-transfer-encoding"])) {
	case "base64":
		c.kind = base64
	case "quoted-printable":
		c.kind = quotedPrintable
	case "", "7bit", "8bit":
		if c.kind = text; !strings.HasPrefix(kind, "text/") && !strings.HasPrefix(kind, "multipart/") && !strings.HasPrefix(kind, "message/") {
			c.kind, c.noNUL, c.noBreak = opaque, inData, inData
		}
	case "binary":
		c.noNUL, c.noCRLF, c.noBreak = inBinary, inBinary, inBinary
	default:
		c.noNUL, c.noCRLF, c.noBreak = inUnknown, inUnknown, inUnknown
	}
	if c.signed {
		c.noNUL, c.noBreak = inSigned, inSigned
	}
	plain := c.kind == text
	switch {
	case strings.HasPrefix(kind, "multipart/") && (params["boundary"] == "" || len(r.parents) >= maxDepth):
		c.noNUL, c.noBreak = inUnknown, inUnknown
	case strings.HasPrefix(kind, "multipart/") && plain:
		c.boundary = params["boundary"]
		r.parents = append(r.parents, c)
	case (kind == "message/rfc822" || kind == "message/global") && plain && len(r.parents) < maxDepth:
		r.inHead, r.first = true, true
		if c.signed { // and so is the message within
			r.parents = append(r.parents, c)
		}
	}
	r.body = c
}

// isBoundary reports whether a line is a boundary of a multipart that is open.
func (r *Reader) isBoundary(line []byte) bool {
	if len(line) < 2 || len(line) > longestBoundary || line[0] != '-' || line[1] != '-' {
		return false
	}
	return r.level(line) >= 0
}

// level is which of the open multiparts a boundary belongs to, the innermost
// first; -1 for none.
func (r *Reader) level(line []byte) int {
	line = bytes.TrimRight(line[2:], " \t")
	for i := len(r.parents) - 1; i >= 0; i-- {
		if b := r.parents[i].boundary; b != "" && (string(line) == b || string(line) == b+"--") {
			return i
		}
	}
	return -1
}

// cross leaves a part at its boundary: into the next one, or out of the multipart.
func (r *Reader) cross(line []byte) {
	i := r.level(line)
	closing := string(bytes.TrimRight(line[2:], " \t")) != r.parents[i].boundary
	around := r.parents[i]
	if closing {
		r.parents = r.parents[:i]
		r.body = content{kind: text, signed: around.signed, noNUL: around.noNUL, noBreak: around.noBreak}
		return
	}
	r.parents = r.parents[:i+1]
	r.inHead, r.first, r.header = true, true, nil
}

// grown is called when a line got longer. Lines of a body that are too long are
// broken, or passed on, before their end is known.
func (r *Reader) grown() {
	if r.inHead {
		if len(r.header)+len(r.line) > maxHeader {
			r.header = append(r.header, r.line...)
			r.line = r.line[:0]
			r.overflow()
			r.broken = true
		}
		return
	}
	if len(r.line) <= encodedLine || len(r.line) <= MaxLine && !(r.long && r.body.kind != text) {
		return
	}
	if r.want&LongLines == 0 {
		r.pass()
		return
	}
	if r.body.noBreak != "" {
		r.fail(stuck("a line of more than 998 octets", r.body.noBreak))
		r.pass()
		return
	}
	switch r.body.kind {
	case base64:
		r.breakLine(encodedLine, atBase64)
	case quotedPrintable:
		r.breakLine(encodedLine, atQuotedPrintable)
	default:
		r.breakLine(MaxLine, atBlank)
	}
}

// pass passes on what there is of a line.
func (r *Reader) pass() {
	r.out.Write(r.line)
	r.line, r.broken = r.line[:0], true
}

// breakLine breaks a line while it is longer than most, where at says and with what
// it wants before the line end.
func (r *Reader) breakLine(most int, at func([]byte) (int, string)) {
	line := r.line
	for len(line) > most {
		n, mark := at(line)
		if n <= 0 {
			r.fail("a line of more than 998 octets without a place to break it")
			r.line = line
			r.pass()
			return
		}
		r.did |= LongLines
		r.long, r.broken = true, true
		r.out.Write(line[:n])
		r.out.WriteString(mark)
		r.out.Write(crlf)
		line = line[n:]
	}
	r.line = r.line[:copy(r.line, line)]
}

// starts reports whether a line that begins with rest could be taken for a
// boundary.
func starts(rest []byte) bool { return rest[0] == '-' }

func atBlank(line []byte) (int, string) {
	for i := MaxLine; i > 0; i-- {
		if c := line[i-1]; (c == ' ' || c == '\t') && !starts(line[i:]) && len(bytes.TrimLeft(line[:i], " \t")) > 0 {
			return i, ""
		}
	}
	return -1, ""
}

// encodedLine is how long lines are in base64 and quoted-printable, at most (RFC
// 2045, 6.7 and 6.8).
const encodedLine = 76

func atBase64(line []byte) (int, string) {
	for n := encodedLine; n > 0; n-- {
		if !starts(line[n:]) {
			return n, ""
		}
	}
	return -1, ""
}

// atQuotedPrintable breaks with a soft line break, and never within an octet that
// is written as three.
func atQuotedPrintable(line []byte) (int, string) {
	for n := encodedLine - 1; n > 2; n-- {
		if line[n-1] != '=' && line[n-2] != '=' && !starts(line[n:]) {
			return n, "="
		}
	}
	return -1, ""
}
