package mail

import "bytes"

// MaxHeader is how much of a message is searched for its header. A Message-ID
// further on counts as absent.
const MaxHeader = 256 << 10

// MessageIDOf hashes the first Message-ID field of a header, which may be cut
// off, may have CRLF or LF line ends, and may be followed by a body. Zero when
// there is none before the first empty line.
func MessageIDOf(header []byte) MessageID {
	const name = "message-id"
	header = header[:min(len(header), MaxHeader)]
	for len(header) > 0 {
		field, rest := nextField(header)
		if len(bytes.TrimRight(field, "\r\n")) == 0 {
			return 0
		}
		header = rest
		key, value, ok := bytes.Cut(field, []byte(":"))
		if ok && bytes.EqualFold(bytes.TrimRight(key, " \t"), []byte(name)) {
			if id := HashMessageID(string(value)); id != 0 {
				return id
			}
		}
	}
	return 0
}

// nextField cuts the first field, with its folded lines, off a header.
func nextField(header []byte) (field, rest []byte) {
	end := 0
	for {
		i := bytes.IndexByte(header[end:], '\n')
		if i < 0 {
			return header, nil
		}
		end += i + 1
		empty := len(bytes.TrimRight(header[:end], "\r\n")) == 0
		if empty || end == len(header) || header[end] != ' ' && header[end] != '\t' {
			return header[:end], header[end:]
		}
	}
}

// AddedLine is the length, in octets of the wire form, of the line that mbsync adds
// to the header of each message that it copies: "X-TUID: " and 12 characters (isync,
// sync.c, TUIDL).
const AddedLine = 22

// AddedAt is where in a header, which may be followed by a body, such a line begins;
// -1 when there is none. The header is in the wire form, with CRLF.
func AddedAt(header []byte) int {
	const name = "X-TUID: "
	rest := header[:min(len(header), MaxHeader)]
	for at := 0; len(rest) > 0; {
		field, after := nextField(rest)
		if len(bytes.TrimRight(field, "\r\n")) == 0 {
			return -1
		}
		if len(field) == AddedLine && bytes.HasPrefix(field, []byte(name)) && bytes.HasSuffix(field, []byte("\r\n")) {
			return at
		}
		at += len(field)
		rest = after
	}
	return -1
}
