package imapconn

import "bytes"

// Mailbox is one LIST response (RFC 9051, 7.3.1).
type Mailbox struct {
	Attrs    []string // as the server spells them
	Delim    string   // "" for NIL; more than one character where the server is broken
	Name     []byte   // as on the wire: decode it with DecodeName
	Extended []Token  // key and value in turn (RFC 5258): CHILDINFO, OLDNAME
}

// ParseList parses the response of LIST, or of LSUB. It takes what servers send
// although they must not: names with blanks or backslashes without quotes, any
// octet in a name. ok is false when no name can be made out.
func ParseList(r Response) (m Mailbox, ok bool) {
	_, _, rest, ok := splitUntagged(r.Raw)
	if !ok {
		return m, false
	}
	i := skipBlanks(rest, 0)
	if i >= len(rest) || rest[i] != '(' {
		return m, false
	}
	end := bytes.IndexByte(rest, ')')
	if end < 0 {
		return m, false
	}
	for _, attr := range bytes.Fields(rest[i+1 : end]) {
		m.Attrs = append(m.Attrs, string(attr))
	}
	i = skipBlanks(rest, end+1)
	if end = skipValue(rest, i); end < 0 {
		return m, false
	}
	if delim := rest[i:end]; !equalFold(delim, "NIL") {
		m.Delim = string(unquote(delim))
	}
	return m, m.parseName(rest[skipBlanks(rest, end):])
}

// parseName parses the name and the extended data behind it.
func (m *Mailbox) parseName(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0] != '"' && b[0] != '{' {
		// An unquoted name ends with the line: the extended data comes from
		// servers that know how to quote.
		if end := skipAtom(b, 0); end < len(b) && b[end] == ' ' && end+1 < len(b) && b[end+1] == '(' {
			if tokens, ok := parseTokens(b[end:]); ok && len(tokens) == 1 {
				m.Name, m.Extended = b[:end], tokens[0].List
				return true
			}
		}
		m.Name = bytes.TrimRight(b, " ")
		return len(m.Name) > 0
	}
	end := skipValue(b, 0)
	if end < 0 {
		return false
	}
	m.Name = unquote(b[:end])
	if tokens, ok := parseTokens(b[end:]); ok && len(tokens) == 1 {
		m.Extended = tokens[0].List
	}
	return true
}
