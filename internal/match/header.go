package match

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"

	netmail "net/mail"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"

	"postbag/internal/mail"
)

// Header is what the header of a message says, decoded (RFC 2047) and unfolded.
// Fields that a message lacks are empty. All texts are valid UTF-8, without control
// characters.
type Header struct {
	From      string
	To        string // To, Cc and Bcc, with commas between them
	Subject   string
	MessageID string
	Date      time.Time // of the Date field; zero when it has none that can be read
}

// MaxValue bounds, in octets, what is kept of one field.
const MaxValue = 4 << 10

// Read reads a header from the beginning of a message in the wire form or with LF
// line ends, no further than it goes and no more than mail.MaxHeader octets. The
// error is that of r, if any but io.EOF; what was read counts all the same.
func Read(r io.Reader) (Header, error) {
	lines := bufio.NewReaderSize(io.LimitReader(r, mail.MaxHeader), 4<<10)
	var head []byte
	for {
		line, err := lines.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == io.EOF:
			return Parse(head), nil
		case err != nil:
			return Parse(head), err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 && (len(head) == len(line) || head[len(head)-len(line)-1] == '\n') {
			return Parse(head), nil
		}
	}
}

// Parse reads a header, which may be cut off and may be followed by a body.
func Parse(head []byte) Header {
	var h Header
	head = head[:min(len(head), mail.MaxHeader)]
	for len(head) > 0 {
		field, rest := next(head)
		if len(bytes.TrimRight(field, "\r\n")) == 0 {
			break
		}
		head = rest
		name, value, ok := bytes.Cut(field, []byte(":"))
		if !ok {
			continue
		}
		h.take(string(bytes.ToLower(bytes.TrimRight(name, " \t"))), value)
	}
	return h
}

const subject = "subject"

// Subject is the Subject of what Parse reads, alone.
func Subject(head []byte) string {
	head = head[:min(len(head), mail.MaxHeader)]
	for len(head) > 0 {
		field, rest := next(head)
		if len(bytes.TrimRight(field, "\r\n")) == 0 {
			break
		}
		head = rest
		name, value, ok := bytes.Cut(field, []byte(":"))
		if name = bytes.TrimRight(name, " \t"); ok && len(name) == len(subject) && strings.EqualFold(string(name), subject) {
			if text := decode(value); text != "" {
				return text
			}
		}
	}
	return ""
}

// take notes one field. Of a field that may occur once, the first one counts.
func (h *Header) take(name string, value []byte) {
	first := func(to *string, decode func([]byte) string) {
		if *to == "" {
			*to = decode(value)
		}
	}
	switch name {
	case "from":
		first(&h.From, decode)
	case "to", "cc", "bcc":
		if text := decode(value); text != "" && len(h.To) < MaxValue {
			if h.To != "" {
				h.To += ", "
			}
			h.To += text
		}
	case "subject":
		first(&h.Subject, decode)
	case "message-id":
		first(&h.MessageID, func(v []byte) string { return clean(unfold(v)) })
	case "date":
		if h.Date.IsZero() {
			if t, err := netmail.ParseDate(textproto.TrimString(unfold(value))); err == nil {
				h.Date = t
			}
		}
	}
}

// next cuts the first field, with its folded lines, off a header.
func next(head []byte) (field, rest []byte) {
	end := 0
	for {
		i := bytes.IndexByte(head[end:], '\n')
		if i < 0 {
			return head, nil
		}
		end += i + 1
		empty := len(bytes.TrimRight(head[:end], "\r\n")) == 0
		if empty || end == len(head) || head[end] != ' ' && head[end] != '\t' {
			return head[:end], head[end:]
		}
	}
}

// unfold joins the lines of a value (RFC 5322, 2.2.3).
func unfold(value []byte) string {
	if len(value) > MaxValue {
		value = value[:MaxValue]
	}
	s := string(bytes.TrimSpace(value))
	if strings.ContainsAny(s, "\r\n") {
		s = strings.NewReplacer("\r\n", "", "\n", "", "\r", "").Replace(s)
	}
	return s
}

var words = mime.WordDecoder{CharsetReader: charset.Reader}

// decode is a value for people: encoded words in any character set that is known,
// and octets above 127, which no standard but UTF-8 allows, as UTF-8 where they are
// that and as Windows-1252 where not.
func decode(value []byte) string {
	s := unfold(value)
	if !utf8.ValidString(s) {
		if text, err := charmap.Windows1252.NewDecoder().String(s); err == nil {
			s = text
		}
	}
	if strings.Contains(s, "=?") {
		// Words of a character set that nobody knows stay as they are, the others
		// are decoded: the decoder gives up at the first of those.
		if text, err := words.DecodeHeader(s); err == nil {
			s = text
		} else {
			s = decodeSome(s)
		}
	}
	return clean(s)
}

// decodeSome decodes the words that can be, one by one.
func decodeSome(s string) string {
	parts := strings.Split(s, " ")
	for i, p := range parts {
		if strings.HasPrefix(p, "=?") && strings.HasSuffix(p, "?=") {
			if text, err := words.Decode(p); err == nil {
				parts[i] = text
			}
		}
	}
	return strings.Join(parts, " ")
}

// clean makes text valid, on one line, and bounded.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\r' || r == '\n' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	if len(s) > MaxValue {
		s = strings.ToValidUTF8(s[:MaxValue], "")
	}
	return strings.TrimSpace(s)
}
