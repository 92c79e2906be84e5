package repair

import (
	"bytes"
	"mime"
	"strings"
	"time"
)

// isField reports whether a line begins a field (RFC 5322, 2.2).
func isField(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// isFromLine reports whether a line is what mbox files put before a message.
func isFromLine(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

// noHeader is for a message whose first line begins no header: all of it is body.
// What is to be added gets a header of its own.
func (r *Reader) noHeader() {
	if add := r.added(nil); len(add) > 0 {
		r.out.Write(add)
		r.out.Write(crlf)
	}
	r.inHead, r.header, r.top = false, nil, false
	r.grown()
}

// endHeader is called when a part's header is complete, with the empty line that
// ends it, if there is one.
func (r *Reader) endHeader() {
	lines := splitLines(r.header)
	fields := fieldsOf(lines)
	closing := []byte(nil)
	if n := len(lines); n > 0 && len(bytes.TrimRight(lines[n-1], "\r\n")) == 0 {
		closing, lines = lines[n-1], lines[:n-1]
	}
	for _, line := range lines {
		r.fold(line)
	}
	if r.top && bytes.IndexByte(r.header, '\n') < 0 && bytes.IndexByte(r.header, '\r') >= 0 {
		r.fail("lines that end in CR alone")
	} else if r.top {
		if add := r.added(fields); len(add) > 0 {
			if n := len(lines); n > 0 && !bytes.HasSuffix(lines[n-1], []byte("\n")) {
				r.out.Write(crlf)
			}
			r.out.Write(add)
		}
	}
	r.out.Write(closing)
	r.header, r.inHead, r.top = nil, false, false
	r.enter(fields)
}

// splitLines cuts after each LF.
func splitLines(block []byte) (lines [][]byte) {
	for len(block) > 0 {
		n := bytes.IndexByte(block, '\n') + 1
		if n == 0 {
			n = len(block)
		}
		lines = append(lines, block[:n])
		block = block[n:]
	}
	return lines
}

// fieldsOf are the first values of the fields, unfolded, by their names in lower
// case.
func fieldsOf(lines [][]byte) map[string]string {
	fields := make(map[string]string)
	last := ""
	for _, line := range lines {
		text := string(bytes.TrimRight(line, "\r\n"))
		switch {
		case text != "" && (text[0] == ' ' || text[0] == '\t'):
			if last != "" {
				fields[last] += text
			}
		case isField(line):
			name, value, _ := strings.Cut(text, ":")
			last = strings.ToLower(strings.TrimRight(name, " \t"))
			if _, have := fields[last]; have {
				last = ""
				continue
			}
			fields[last] = strings.TrimSpace(value)
		default:
			last = ""
		}
	}
	return fields
}

// added are the fields that the message lacks.
func (r *Reader) added(fields map[string]string) []byte {
	var b []byte
	if _, have := fields["from"]; !have && r.want&From != 0 {
		r.did |= From
		b = append(b, "From: "+NoSender+"\r\n"...)
	}
	if _, have := fields["date"]; !have && r.want&Date != 0 {
		if r.date.IsZero() {
			r.fail("no Date field, and no INTERNALDATE to make one of")
			return b
		}
		r.did |= Date
		b = append(b, "Date: "+r.date.Format(time.RFC1123Z)+"\r\n"...)
	}
	return b
}

// fold writes one line of a header. The line is broken before white space: to
// unfold is to take line ends before white space away (RFC 5322, 2.2.3).
func (r *Reader) fold(line []byte) {
	for r.want&LongLines != 0 {
		text := bytes.TrimRight(line, "\r\n")
		if len(text) <= MaxLine {
			break
		}
		at := foldAt(text)
		if at < 0 {
			r.fail("a line of more than 998 octets without white space, in the header")
			break
		}
		r.did |= LongLines
		r.out.Write(line[:at])
		r.out.Write(crlf)
		line = line[at:]
	}
	r.out.Write(line)
}

// foldAt is the last white space that the line may be broken before: there is
// something else on either side of it, and the name of the field is whole. -1 for
// none.
func foldAt(text []byte) int {
	start := 0
	if text[0] != ' ' && text[0] != '\t' {
		if start = bytes.IndexByte(text, ':'); start < 0 {
			return -1
		}
	}
	rest := bytes.TrimRight(text, " \t")
	for i := min(MaxLine, len(rest)-1); i > start; i-- {
		if (text[i] == ' ' || text[i] == '\t') && len(bytes.TrimLeft(text[:i], " \t")) > 0 {
			return i
		}
	}
	return -1
}

// mediaType is what a Content-Type says; text/plain when it says nothing.
func mediaType(value string) (kind string, params map[string]string) {
	if strings.TrimSpace(value) == "" {
		return "text/plain", nil
	}
	kind, params, err := mime.ParseMediaType(value)
	if err != nil && kind == "" {
		kind, _, _ = strings.Cut(strings.ToLower(value), ";")
		kind = strings.TrimSpace(kind)
	}
	return kind, params
}
