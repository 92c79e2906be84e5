package imapconn

import (
	"bytes"
	"net"
	"slices"
)

// Write sends what the library writes, and follows it far enough to know its
// tags and where its commands end: only there may one of ours begin.
func (w *wire) Write(p []byte) (int, error) {
	if !w.libTurn {
		if err := w.takeTurn(); err != nil {
			return 0, net.ErrClosed // the library knows this one
		}
		w.libTurn = true
	}
	if w.isDead() {
		return 0, net.ErrClosed
	}
	rest := p
	for len(rest) > 0 {
		if w.libBody > 0 {
			n := min(w.libBody, int64(len(rest)))
			w.libBody -= n
			rest = rest[n:]
			continue
		}
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			w.libText = append(w.libText, rest...)
			break
		}
		w.libText = append(w.libText, rest[:i]...)
		rest = rest[i+1:]
		w.libLine(bytes.TrimSuffix(w.libText, []byte("\r")))
		w.libText = w.libText[:0]
	}
	_, err := w.dst.Write(p)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		w.fail(err)
		return 0, net.ErrClosed
	}
	if w.libBody == 0 && len(w.libText) == 0 && !w.libMid {
		w.libTurn = false
		w.giveTurn()
	}
	return len(p), nil
}

// libLine takes note of one line of the library's commands.
func (w *wire) libLine(line []byte) {
	w.trace.line("C", line)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.libMid {
		tag, _, _ := bytes.Cut(line, []byte(" "))
		w.libTags[string(tag)] = true
		w.beBusy()
	}
	n, _, literal := literalSuffix(line)
	w.libMid = literal
	if literal {
		w.libBody = max(n, 0)
		w.libWaits = !bytes.HasSuffix(line, []byte("+}"))
	}
}

// taggedToLibrary gives the library the reply to its command.
func (w *wire) taggedToLibrary(tag string, s Status) {
	w.mu.Lock()
	delete(w.libTags, tag)
	w.busy--
	w.libWaits = false
	w.mu.Unlock()
	w.out = append(w.out, tag...)
	w.out = append(w.out, ' ')
	w.out = appendStatus(w.out, s)
}

// toLibrary gives the library an untagged response in a form that it can read,
// and reports whether it was one of those that it knows. What it does not know
// would end the connection.
func (w *wire) toLibrary(kind []byte, num uint32, rest, resp []byte) bool {
	mark := len(w.out)
	ok := false
	switch name := upper(kind); name {
	case "OK", "NO", "BAD":
		w.out = append(w.out, "* "...)
		w.out = appendStatus(w.out, parseStatus(name, rest))
		return true
	case "FETCH":
		ok = w.fetchToLibrary(resp)
	case "EXISTS", "RECENT", "EXPUNGE":
		w.out = appendf(w.out, "* %d %s", num, name)
		ok = true
	case "LIST":
		ok = w.listToLibrary(resp)
	case "FLAGS":
		w.out = append(w.out, "* FLAGS "...)
		w.out = appendFlags(w.out, bytes.TrimSpace(rest))
		ok = true
	case "STATUS", "SEARCH", "ESEARCH", "CAPABILITY", "ENABLED", "ID",
		"NAMESPACE", "QUOTA", "QUOTAROOT", "METADATA", "ACL", "MYRIGHTS", "SORT", "THREAD":
		ok = w.tokensToLibrary(name, rest)
	}
	if !ok {
		w.out = w.out[:mark]
		return false
	}
	w.out = append(w.out, "\r\n"...)
	return true
}

// tokensToLibrary writes a response that is made of tokens, without those that
// the library chokes on.
func (w *wire) tokensToLibrary(name string, rest []byte) bool {
	tokens, ok := parseTokens(rest)
	if !ok {
		return false
	}
	switch name {
	case "STATUS":
		if len(tokens) != 2 || !libraryName(tokens[0].Data) {
			return false
		}
		tokens[1].List = cleanStatusItems(tokens[1].List)
	case "SEARCH", "SORT":
		tokens = slices.DeleteFunc(tokens, func(t Token) bool {
			n, ok := t.Uint32()
			return t.Kind != List && (!ok || n == 0)
		})
	case "ESEARCH":
		if !cleanESearch(tokens) {
			return false
		}
	case "CAPABILITY", "ENABLED":
		tokens = slices.DeleteFunc(tokens, func(t Token) bool { return t.Kind != Atom || !libraryAtom(t.Data) })
	case "ID":
		return false // ours goes out before the library exists; it dies of NIL values
	}
	w.out = append(w.out, "* "...)
	w.out = append(w.out, name...)
	for _, t := range tokens {
		w.out = append(w.out, ' ')
		w.out = appendToken(w.out, t)
	}
	return true
}

// cleanStatusItems keeps the pairs of STATUS that the library can read.
func cleanStatusItems(items []Token) []Token {
	var out []Token
	for i := 0; i+1 < len(items); i += 2 {
		name, val := items[i], items[i+1]
		ok := false
		switch upper(name.Data) {
		case "MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED":
			_, ok = val.Uint32()
		case "SIZE", "DELETED-STORAGE", "HIGHESTMODSEQ":
			n, isNum := val.Uint64()
			ok = isNum && n < 1<<63
		case "APPENDLIMIT":
			_, isNum := val.Uint32()
			ok = isNum || val.IsNIL()
		}
		if ok && val.Kind == Atom {
			out = append(out, name, val)
		}
	}
	return out
}

// cleanESearch reports whether the library can read the response, and puts its
// words into upper case.
func cleanESearch(tokens []Token) bool {
	for i := 0; i < len(tokens); i++ {
		t := &tokens[i]
		if t.Kind == List && i == 0 && len(t.List) == 2 && t.List[0].Is("TAG") && t.List[1].Kind == Quoted {
			t.List[0].Data = []byte("TAG")
			continue
		}
		t.Data = []byte(upper(t.Data))
		switch string(t.Data) {
		case "UID":
			continue
		case "ALL":
			if i+1 == len(tokens) {
				return false
			}
			if _, err := ParseUIDSet(tokens[i+1].Text()); err != nil {
				return false
			}
		case "MIN", "MAX", "COUNT", "MODSEQ":
			if i+1 == len(tokens) {
				return false
			}
			if _, ok := tokens[i+1].Uint64(); !ok {
				return false
			}
		default:
			return false
		}
		i++
	}
	return true
}
