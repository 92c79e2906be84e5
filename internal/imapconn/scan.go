package imapconn

import "bytes"

// A response that holds literals is kept in one piece, each literal as
// "{n}\r\n" and its octets, whatever its spelling on the wire. The functions of
// this file walk over such bytes. An index of -1 means malformed.

// maxDepth is how deep lists may be nested: BODYSTRUCTURE, which we never ask
// for, is the only one that goes beyond five.
const maxDepth = 100

// literalSuffix reports whether line ends in the announcement of a literal, and
// of how many octets: {n}, and the forms that some servers send although they
// are a client's, {n+} and ~{n} (RFC 7888, RFC 3516). start is where it begins.
// ok with n < 0 means a length beyond all bounds.
func literalSuffix(line []byte) (n int64, start int, ok bool) {
	end := len(line) - 1
	if end < 2 || line[end] != '}' {
		return 0, 0, false
	}
	if line[end-1] == '+' {
		end--
	}
	i := end
	for i > 0 && line[i-1]-'0' <= 9 {
		i--
	}
	if i == end || i == 0 || line[i-1] != '{' {
		return 0, 0, false
	}
	start = i - 1
	if start > 0 && line[start-1] == '~' {
		start--
	}
	size, fits := parseUint64(line[i:end])
	if !fits || size > 1<<62 {
		return -1, start, true
	}
	return int64(size), start, true
}

// literalAt gives the bounds of the content of the literal that begins at i.
func literalAt(b []byte, i int) (from, to int) {
	j := bytes.IndexByte(b[i:], '}')
	if b[i] != '{' || j < 2 || i+j+3 > len(b) || b[i+j+1] != '\r' {
		return -1, -1
	}
	n, ok := parseUint64(b[i+1 : i+j])
	from = i + j + 3
	if !ok || n > uint64(len(b)-from) {
		return -1, -1
	}
	return from, from + int(n)
}

// skipQuoted gives the index behind the quoted string that begins at i.
func skipQuoted(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// skipAtom gives the index behind the run of octets that begins at i and that
// no blank and no parenthesis ends. It may be empty.
func skipAtom(b []byte, i int) int {
	for i < len(b) && b[i] != ' ' && b[i] != '(' && b[i] != ')' {
		i++
	}
	return i
}

// skipValue gives the index behind the value that begins at i: a quoted string,
// a literal, a list, or an atom.
func skipValue(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '(':
			if depth++; depth > maxDepth {
				return -1
			}
			i++
			continue
		case ')':
			if depth--; depth < 0 {
				return -1
			}
			i++
		case ' ':
			if depth == 0 {
				return -1
			}
			i++
			continue
		case '"':
			if i = skipQuoted(b, i); i < 0 {
				return -1
			}
		case '{':
			if _, i = literalAt(b, i); i < 0 {
				return -1
			}
		default:
			i = skipAtom(b, i)
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

// skipBlanks gives the index of the first octet from i on that is no blank.
func skipBlanks(b []byte, i int) int {
	for i < len(b) && b[i] == ' ' {
		i++
	}
	return i
}

// unquote is the content of a string value: quoted, literal, or an atom as it
// is. It shares b's memory unless an escape had to be taken out.
func unquote(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	switch b[0] {
	case '"':
		b = b[1:]
		if n := len(b); n > 0 && b[n-1] == '"' {
			b = b[:n-1]
		}
		if bytes.IndexByte(b, '\\') < 0 {
			return b
		}
		out := make([]byte, 0, len(b))
		for i := 0; i < len(b); i++ {
			if b[i] == '\\' && i+1 < len(b) {
				i++
			}
			out = append(out, b[i])
		}
		return out
	case '{':
		if from, to := literalAt(b, 0); from >= 0 {
			return b[from:to]
		}
	}
	return b
}

// equalFold reports whether b is word, which is in upper case, in any case.
func equalFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range len(b) {
		c := b[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// hasPrefixFold reports whether b begins with word, which is in upper case.
func hasPrefixFold(b []byte, word string) bool {
	return len(b) >= len(word) && equalFold(b[:len(word)], word)
}

// upper is b in upper case, without regard to anything but ASCII.
func upper(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		out[i] = c
	}
	return string(out)
}
