package export

import (
	"bytes"
	"strings"

	"postbag/internal/mail"
)

// fields are the values of some header fields of a message, unfolded and not
// decoded, by name in lower case. A field that stands several times has several
// values.
type fields map[string][]string

// readFields finds the fields in wanted, which are in lower case, in the header at
// the beginning of head. Line ends may be CRLF or LF; the header may be cut off.
func readFields(head []byte, wanted ...string) fields {
	found := fields{}
	head = head[:min(len(head), mail.MaxHeader)]
	for len(head) > 0 {
		end := fieldEnd(head)
		field := head[:end]
		head = head[end:]
		if field[0] == '\n' || field[0] == '\r' {
			break
		}
		colon := bytes.IndexByte(field, ':')
		if colon < 0 {
			continue
		}
		name := bytes.TrimRight(field[:colon], " \t")
		for _, w := range wanted {
			if len(w) == len(name) && strings.EqualFold(w, string(name)) {
				found[w] = append(found[w], unfold(field[colon+1:]))
			}
		}
	}
	return found
}

// fieldEnd is where the first field of a header ends, with its folded lines.
func fieldEnd(head []byte) int {
	for end := 0; ; {
		i := bytes.IndexByte(head[end:], '\n')
		if i < 0 {
			return len(head)
		}
		end += i + 1
		empty := i == 0 || i == 1 && head[end-2] == '\r'
		if empty || end == len(head) || head[end] != ' ' && head[end] != '\t' {
			return end
		}
	}
}

// unfold makes one line of a field's value.
func unfold(value []byte) string {
	value = bytes.TrimSpace(value)
	if bytes.IndexByte(value, '\n') < 0 {
		return string(value)
	}
	var b strings.Builder
	for line := range bytes.Lines(value) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.Write(bytes.TrimSpace(line))
	}
	return b.String()
}

// first is the first value of a field, "" when there is none.
func (f fields) first(name string) string {
	if len(f[name]) == 0 {
		return ""
	}
	return f[name][0]
}
