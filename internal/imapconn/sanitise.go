package imapconn

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"postbag/internal/mail"
)

// What the library can read, and how to write it. It is strict, and ends the
// connection over one odd flag or date; and it treats codes in lower case as
// unknown.

func appendf(b []byte, format string, args ...any) []byte { return fmt.Appendf(b, format, args...) }

// libraryAtom reports whether the library takes b as an atom.
func libraryAtom(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return len(b) > 0
}

// appendToken writes a token so that the library can read it.
func appendToken(b []byte, t Token) []byte {
	switch {
	case t.Kind == List:
		b = append(b, '(')
		for i, e := range t.List {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendToken(b, e)
		}
		return append(b, ')')
	case t.Kind == Atom:
		return append(b, t.Data...)
	}
	return appendString(b, t.Data)
}

// appendString writes a string, quoted where that can be.
func appendString(b, s []byte) []byte {
	if bytes.ContainsAny(s, "\r\n\x00") {
		b = appendf(b, "{%d}\r\n", len(s))
		return append(b, s...)
	}
	return append(b, quote(string(s))...)
}

// appendStatus writes a status response and its line end. Codes whose arguments
// the library parses go with arguments that it can parse, or not at all; others
// without arguments.
func appendStatus(b []byte, s Status) []byte {
	b = append(b, s.Type...)
	b = append(b, ' ')
	mark := len(b)
	if s.Code != "" && libraryAtom([]byte(s.Code)) {
		b = append(b, '[')
		b = append(b, s.Code...)
		var ok bool
		if b, ok = appendCodeArgs(b, s); ok {
			b = append(b, "] "...)
		} else {
			b = b[:mark]
		}
	}
	text := strings.TrimLeft(s.Text, "[ ")
	if text == "" {
		text = "-"
	}
	b = append(b, text...)
	return append(b, "\r\n"...)
}

// appendCodeArgs writes the arguments of s's code; false when the library would
// choke on them.
func appendCodeArgs(b []byte, s Status) ([]byte, bool) {
	args := strings.Fields(s.CodeArgs)
	switch s.Code {
	case "PERMANENTFLAGS":
		return appendFlags(append(b, ' '), []byte(s.CodeArgs)), true
	case "CAPABILITY":
		for _, c := range args {
			if libraryAtom([]byte(c)) {
				b = append(b, ' ')
				b = append(b, c...)
			}
		}
		return b, true
	case "UIDNEXT", "UIDVALIDITY", "HIGHESTMODSEQ":
		if len(args) != 1 {
			return b, false
		}
		n, ok := parseUint64([]byte(args[0]))
		if !ok || s.Code != "HIGHESTMODSEQ" && n >= 1<<32 {
			return b, false
		}
		return appendf(b, " %d", n), true
	case "APPENDUID", "COPYUID":
		if len(args) != map[string]int{"APPENDUID": 2, "COPYUID": 3}[s.Code] {
			return b, false
		}
		if n, ok := parseUint32([]byte(args[0])); !ok || n == 0 {
			return b, false
		}
		for i, arg := range args[1:] {
			set, err := ParseUIDSet(arg)
			if err != nil || set.IsEmpty() || s.Code == "APPENDUID" && i == 0 && set.Count() != 1 {
				return b, false
			}
		}
		return appendf(b, " %s", strings.Join(args, " ")), true
	}
	return b, true
}

// appendFlags writes a list of flags without those that are none. `\*` stays.
func appendFlags(b, val []byte) []byte {
	b = append(b, '(')
	blank := ""
	for _, name := range bytes.Fields(inParens(val)) {
		if !libraryFlag(name) {
			continue
		}
		b = append(append(b, blank...), name...)
		blank = " "
	}
	return append(b, ')')
}

func libraryFlag(name []byte) bool {
	if name[0] == '\\' {
		return string(name) == `\*` || libraryAtom(name[1:])
	}
	return mail.ValidKeyword(string(name))
}

// libraryName reports whether the library can decode a mailbox name. It takes
// raw UTF-8 beside modified UTF-7.
func libraryName(name []byte) bool {
	ascii := make([]byte, 0, len(name))
	for _, c := range name {
		if c < 0x80 {
			ascii = append(ascii, c)
		}
	}
	_, err := DecodeName(ascii)
	return err == nil && utf8.Valid(name)
}

// listToLibrary writes a LIST response. A name that the library cannot decode
// shows as "=raw=" and its octets in hexadecimal: good to look at, not to open.
func (w *wire) listToLibrary(resp []byte) bool {
	m, ok := ParseList(Response{Raw: resp})
	if !ok {
		return false
	}
	w.out = append(w.out, "* LIST "...)
	w.out = appendFlags(w.out, []byte(strings.Join(m.Attrs, " ")))
	if r, size := utf8.DecodeRuneInString(m.Delim); size > 0 && size == len(m.Delim) && r != utf8.RuneError {
		w.out = append(append(w.out, ' '), quote(m.Delim)...)
	} else {
		w.out = append(w.out, " NIL"...)
	}
	name := m.Name
	if !libraryName(name) {
		name = []byte("=raw=" + hex.EncodeToString(name))
	}
	w.out = appendString(append(w.out, ' '), name)
	return true
}

// fetchToLibrary writes a whole FETCH response for a command of the library that
// is not FetchBodies.
func (w *wire) fetchToLibrary(resp []byte) bool {
	s, seq, ok := fetchItems(resp)
	if !ok {
		return false
	}
	w.out = appendf(w.out, "* %d FETCH (", seq)
	w.out = appendItems(w.out, &s)
	w.out = append(w.out, ')')
	return s.closed
}

// streamToLibrary begins a FETCH response with a literal too large to be held,
// for a command of the library that is not FetchBodies. It answers false when
// the literal is no body: then it is not wanted.
func (w *wire) streamToLibrary(s fetchScanner, seq uint32, n int64) bool {
	mark := len(w.out)
	w.out = appendf(w.out, "* %d FETCH (", seq)
	w.out = appendItems(w.out, &s)
	if !s.open || !hasPrefixFold(s.name, "BODY[") && !hasPrefixFold(s.name, "BINARY[") {
		w.out = w.out[:mark]
		return false
	}
	if w.out[len(w.out)-1] != '(' {
		w.out = append(w.out, ' ')
	}
	w.out = appendf(w.out, "%s {%d}\r\n", upper(s.name), n)
	w.body, w.tail = n, &bodyTail{}
	return true
}

// appendItems writes the items of a FETCH response that the library knows,
// separated by blanks.
func appendItems(b []byte, s *fetchScanner) []byte {
	blank := ""
	for s.next() {
		mark := len(b)
		b = append(b, blank...)
		var ok bool
		if b, ok = appendItem(b, s.name, s.val); !ok {
			b = b[:mark]
			continue
		}
		blank = " "
	}
	return b
}

func appendItem(b, rawName, val []byte) ([]byte, bool) {
	name := upper(rawName)
	b = append(append(b, name...), ' ')
	switch {
	case name == "UID":
		n, ok := parseUint32(val)
		return strconv.AppendUint(b, uint64(n), 10), ok
	case name == "RFC822.SIZE":
		n, ok := parseUint64(val)
		return strconv.AppendUint(b, n, 10), ok && n < 1<<63
	case name == "MODSEQ":
		n, ok := parseUint64(inParens(val))
		return appendf(b, "(%d)", n), ok
	case name == "FLAGS":
		return appendFlags(b, val), val[0] == '('
	case name == "INTERNALDATE":
		t := parseDate(unquote(val))
		return append(b, t.Format(`"_2-Jan-2006 15:04:05 -0700"`)...), !t.IsZero()
	case name == "ENVELOPE", name == "BODYSTRUCTURE", name == "BODY":
		return append(b, val...), val[0] == '('
	case strings.HasPrefix(name, "BODY["), strings.HasPrefix(name, "BINARY["):
		if equalFold(val, "NIL") {
			return append(b, "NIL"...), true
		}
		return appendBody(b, unquote(val)), val[0] == '{' || val[0] == '"'
	case strings.HasPrefix(name, "BINARY.SIZE["):
		n, ok := parseUint32(val)
		return strconv.AppendUint(b, uint64(n), 10), ok
	}
	return b, false
}

// appendBody writes a literal.
func appendBody(b, content []byte) []byte {
	b = appendf(b, "{%d}\r\n", len(content))
	return append(b, content...)
}
