package imapconn

import (
	"bytes"
	"strings"
)

// Status is a status response (RFC 9051, 7.1), tagged or not.
type Status struct {
	Type     string // OK, NO, BAD, BYE, PREAUTH
	Code     string // response code in upper case; "" for none
	CodeArgs string // what follows the code within its brackets
	Text     string // for humans; hostile: escape before showing
}

// String is the type, the code and the text.
func (s Status) String() string {
	parts := []string{s.Type}
	switch {
	case s.Code != "" && s.CodeArgs != "":
		parts = append(parts, "["+s.Code+" "+s.CodeArgs+"]")
	case s.Code != "":
		parts = append(parts, "["+s.Code+"]")
	}
	if s.Text != "" {
		parts = append(parts, s.Text)
	}
	return strings.Join(parts, " ")
}

// StatusError is a tagged NO or BAD, or a BYE. Errors of this package wrap it.
type StatusError struct{ Status }

// Error is the status, its text cut at 500 octets.
func (e *StatusError) Error() string {
	text := e.Status.String()
	if len(text) > 500 {
		text = text[:500] + "..."
	}
	return text
}

// parseStatus parses what follows the type of a status response. Where the code
// is not closed there is none, and all of it is text: a server that forgets the
// bracket must not make us wait for one.
func parseStatus(kind string, rest []byte) Status {
	s := Status{Type: kind}
	rest = bytes.TrimLeft(rest, " ")
	if len(rest) > 0 && rest[0] == '[' {
		if end := codeEnd(rest); end > 0 {
			code, args, _ := bytes.Cut(bytes.TrimSpace(rest[1:end]), []byte(" "))
			s.Code, s.CodeArgs = upper(code), string(bytes.TrimSpace(args))
			rest = bytes.TrimLeft(rest[end+1:], " ")
		}
	}
	s.Text = string(rest)
	return s
}

// codeEnd finds the bracket that closes the code at the start of b. Flags may
// hold brackets although they must not (PERMANENTFLAGS (\Seen [Gmail])): those
// in a list that is closed do not count. -1 when there is none.
func codeEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case ']':
			return i
		case '(', '"':
			if end := skipValue(b, i); end > 0 {
				i = end - 1
			}
		}
	}
	return -1
}

// Response is one untagged response, parsed one level: Tokens is what follows
// the kind. It belongs to the receiver.
type Response struct {
	Kind string // upper case: LIST, STATUS, FETCH, SEARCH, OK, EXISTS, ...
	Num  uint32 // the number before the kind: * 3 EXISTS
	// Tokens is nil for status responses, and where the response is not made of
	// atoms, strings and lists: then only Raw tells.
	Tokens []Token
	Status Status // of OK, NO, BAD, PREAUTH and BYE
	// Raw is the response from the "*" on, without the line end, literals
	// included. A literal beyond the bounds of this package shows as NIL.
	Raw []byte
}

// TokenKind says what a token is.
type TokenKind uint8

// The kinds of tokens.
const (
	Atom TokenKind = iota
	Quoted
	LiteralString
	List
)

// Token is one element of a response.
type Token struct {
	Kind TokenKind
	Data []byte  // an atom as it is; the content of a string
	List []Token // of a List
}

// IsNIL reports whether the token is the atom NIL.
func (t Token) IsNIL() bool { return t.Kind == Atom && equalFold(t.Data, "NIL") }

// Is reports whether the token is the atom word, in any case.
func (t Token) Is(word string) bool {
	return t.Kind == Atom && strings.EqualFold(string(t.Data), word)
}

// Text is the content of an atom or string; "" for a list.
func (t Token) Text() string { return string(t.Data) }

// Uint64 is the value of a token made of decimal digits.
func (t Token) Uint64() (uint64, bool) { return parseUint64(t.Data) }

// Uint32 is Uint64 for values that fit into 32 bits.
func (t Token) Uint32() (uint32, bool) { return parseUint32(t.Data) }

// splitUntagged takes an untagged response apart: "* NUM KIND rest" or "* KIND
// rest". kind shares b's memory; ok is false when there is none.
func splitUntagged(b []byte) (kind []byte, num uint32, rest []byte, ok bool) {
	i := skipBlanks(b, 1)
	j := skipAtom(b, i)
	if j == i {
		return nil, 0, nil, false
	}
	kind = b[i:j]
	if kind[0]-'0' <= 9 {
		if num, ok = parseUint32(kind); !ok {
			return nil, 0, nil, false
		}
		i = skipBlanks(b, j)
		j = skipAtom(b, i)
		if j == i {
			return nil, 0, nil, false
		}
		kind = b[i:j]
	}
	return kind, num, b[j:], true
}

// isStatusKind reports whether an untagged response of this kind is a status
// response, whose text may end in anything.
func isStatusKind(kind []byte) bool {
	return equalFold(kind, "OK") || equalFold(kind, "NO") || equalFold(kind, "BAD") ||
		equalFold(kind, "BYE") || equalFold(kind, "PREAUTH")
}

// parseResponse parses an untagged response. raw is kept.
func parseResponse(raw []byte) (Response, bool) {
	kind, num, rest, ok := splitUntagged(raw)
	if !ok {
		return Response{}, false
	}
	r := Response{Kind: upper(kind), Num: num, Raw: raw}
	if isStatusKind(kind) {
		r.Status = parseStatus(r.Kind, rest)
		return r, true
	}
	r.Tokens, _ = parseTokens(rest)
	return r, true
}

// maxTokens bounds the tokens of one response: each takes as much memory as a
// line of text, and a line of a megabyte may hold half a million.
const maxTokens = 100_000

// parseTokens parses all of b.
func parseTokens(b []byte) ([]Token, bool) {
	room := maxTokens
	tokens, i := parseTokensAt(b, 0, 0, &room)
	if i != len(b) {
		return nil, false
	}
	return tokens, true
}

// parseTokensAt parses tokens from i on, up to the end or to the parenthesis that
// closes the list they are in. It gives the index where it stopped, -1 when what
// is there is malformed or more than room.
func parseTokensAt(b []byte, i, depth int, room *int) (tokens []Token, end int) {
	if depth > maxDepth {
		return nil, -1
	}
	for {
		if i = skipBlanks(b, i); i >= len(b) {
			return tokens, i
		}
		if *room--; *room < 0 {
			return nil, -1
		}
		var t Token
		j := i
		switch b[i] {
		case ')':
			return tokens, i
		case '(':
			t.Kind = List
			t.List, j = parseTokensAt(b, i+1, depth+1, room)
			if j < 0 || j >= len(b) {
				return nil, -1
			}
			j++
		case '"':
			if j = skipQuoted(b, i); j < 0 {
				return nil, -1
			}
			t.Kind, t.Data = Quoted, unquote(b[i:j])
		case '{':
			from, to := literalAt(b, i)
			if from < 0 {
				return nil, -1
			}
			t.Kind, t.Data, j = LiteralString, b[from:to], to
		default:
			j = skipAtomWithSection(b, i)
			t.Data = b[i:j]
		}
		tokens = append(tokens, t)
		i = j
	}
}

// skipAtomWithSection is skipAtom, but takes the section of BODY[HEADER.FIELDS
// (SUBJECT)] along.
func skipAtomWithSection(b []byte, i int) int {
	j := skipAtom(b, i)
	if !hasPrefixFold(b[i:], "BODY[") && !hasPrefixFold(b[i:], "BINARY[") {
		return j
	}
	if end := bytes.IndexByte(b[i:], ']'); end > 0 {
		return skipAtom(b, i+end)
	}
	return j
}
