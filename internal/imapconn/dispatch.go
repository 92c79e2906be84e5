package imapconn

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// next reads one response, or as much of it as there is before a literal that
// streams to the library, and sees that everybody gets what is theirs. An error
// is the end of the connection.
func (w *wire) next() error {
	line, err := w.readLine()
	if err != nil {
		return err
	}
	w.trace.line("S", line)
	if w.suspect {
		w.suspect = false
		if !w.plausible(line) {
			return protocolf("a literal's length was wrong")
		}
	}
	if line = bytes.TrimLeft(line, " "); len(line) == 0 && w.tail == nil {
		return w.nobody(line)
	}
	if !w.greeted {
		if line[0] != '*' {
			return protocolf("what came is no IMAP greeting")
		}
		w.greeted = true
	}
	_, _, literal := literalSuffix(line)
	if w.tail == nil && (!literal || !mayHoldLiteral(line)) {
		return w.dispatch(line)
	}
	w.resp = w.resp[:0]
	if cap(w.resp) > maxLine {
		w.resp = nil
	}
	streams, err := w.gather(line)
	if err != nil || streams {
		return err
	}
	if w.tail != nil {
		return w.endBody(w.resp)
	}
	return w.dispatch(w.resp)
}

// plausible reports whether line can be the start of a response.
func (w *wire) plausible(line []byte) bool {
	if bytes.HasPrefix(line, []byte("* ")) || bytes.HasPrefix(line, []byte("+")) {
		return true
	}
	tag, _, _ := bytes.Cut(line, []byte(" "))
	return w.knowsTag(string(tag))
}

// mayHoldLiteral reports whether a line that ends like the announcement of a
// literal is one: the text of a status response may end in anything.
func mayHoldLiteral(line []byte) bool {
	if line[0] != '*' {
		return false
	}
	kind, _, _, ok := splitUntagged(line)
	return ok && !isStatusKind(kind)
}

// What to do with a literal.
type literalFate uint8

const (
	keep   literalFate = iota // as part of the response
	skip                      // read it and put NIL in its place
	stream                    // to the library: the response's head is in out
)

// gather collects a response with literals in resp, line being its first line.
// It stops at a literal that streams.
func (w *wire) gather(line []byte) (streams bool, err error) {
	for range maxLiterals {
		n, at, literal := literalSuffix(line)
		if !literal {
			w.resp = append(w.resp, line...)
			return false, nil
		}
		w.resp = append(w.resp, line[:at]...)
		if n < 0 {
			return false, protocolf("a literal beyond all bounds")
		}
		switch w.fateOf(n) {
		case stream:
			return true, nil
		case skip:
			if n > maxSkip {
				return false, protocolf("a literal of %d octets where none is wanted", n)
			}
			w.resp = append(w.resp, "NIL"...)
			err = w.discard(n)
		case keep:
			w.resp = append(w.resp, '{')
			w.resp = strconv.AppendInt(w.resp, n, 10)
			w.resp = append(w.resp, "}\r\n"...)
			w.resp, err = w.readInto(w.resp, n)
		}
		if err != nil {
			return false, err
		}
		if line, err = w.readLine(); err != nil {
			return false, err
		}
		w.trace.line("S", line)
		if len(w.resp) > maxBuffered+2*maxString {
			return false, protocolf("a response of more than %d octets", len(w.resp))
		}
	}
	return false, protocolf("a response of more than %d literals", maxLiterals)
}

// fateOf decides on the literal of n octets that follows resp.
func (w *wire) fateOf(n int64) literalFate {
	if w.tail == nil {
		if s, seq, ok := fetchItems(w.resp); ok {
			if bf := w.bodies.Load(); bf != nil {
				return w.bodyFate(bf, s, seq, n)
			}
			if n > maxString && w.libraryBusy() && w.streamToLibrary(s, seq, n) {
				return stream
			}
		}
	}
	if int64(len(w.resp))+n > maxString {
		return skip
	}
	return keep
}

// dispatch hands one whole response out.
func (w *wire) dispatch(resp []byte) error {
	switch resp[0] {
	case '*':
		return w.untagged(resp)
	case '+':
		return w.continuation(resp)
	}
	return w.tagged(resp)
}

// nobody counts a response that nobody wanted: no server may keep us busy for
// ever.
func (w *wire) nobody(resp []byte) error {
	limit := w.patience
	if w.solo {
		limit = min(limit, maxEarly)
	}
	if w.useless += int64(len(resp)) + 2; w.useless > limit {
		return protocolf("%d octets that nobody asked for", w.useless)
	}
	return nil
}

func (w *wire) untagged(resp []byte) error {
	if lf := w.list.Load(); lf != nil && lf.take(resp) {
		w.useless = 0
		return nil
	}
	kind, num, rest, ok := splitUntagged(resp)
	if !ok {
		return w.nobody(resp)
	}
	if equalFold(kind, "BYE") {
		w.sawBye(parseStatus("BYE", rest))
	}
	if equalFold(kind, "FETCH") {
		if bf := w.bodies.Load(); bf != nil {
			return w.bodyResponse(bf, resp)
		}
	}
	wanted := false
	for _, c := range *w.commands.Load() {
		if c.on != nil && c.on(resp) {
			wanted = true
		}
	}
	if w.libraryBusy() && w.toLibrary(kind, num, rest, resp) {
		wanted = true
	}
	if !wanted {
		return w.nobody(resp)
	}
	w.useless = 0
	return nil
}

// sawBye keeps the reason, and ends the connection soon when the server does
// not (RFC 9051, 7.1.5).
func (w *wire) sawBye(s Status) {
	s.Text = w.trace.redact(s.Text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bye == nil && w.err == nil {
		w.bye = &s
		w.byeTimer = time.AfterFunc(byeGrace, func() { w.fail(errEOF) })
	}
}

// continuation hands a "+" to whoever waits for one; a stray one is dropped.
func (w *wire) continuation(resp []byte) error {
	for _, c := range *w.commands.Load() {
		if c.awaits.CompareAndSwap(true, false) {
			c.proceed <- string(bytes.TrimLeft(resp[1:], " "))
			return nil
		}
	}
	w.mu.Lock()
	wanted := w.libWaits
	w.libWaits = false
	w.mu.Unlock()
	if !wanted {
		return w.nobody(resp)
	}
	w.out = append(w.out, "+ OK\r\n"...)
	return nil
}

// knowsTag reports whether a command with this tag waits for its reply.
func (w *wire) knowsTag(tag string) bool {
	for _, c := range *w.commands.Load() {
		if c.tag == tag {
			return true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.libTags[tag]
}

func (w *wire) tagged(resp []byte) error {
	tag, rest, _ := bytes.Cut(resp, []byte(" "))
	rest = bytes.TrimLeft(rest, " ")
	kind, rest, _ := bytes.Cut(rest, []byte(" "))
	if !w.knowsTag(string(tag)) {
		return w.nobody(resp)
	}
	if !equalFold(kind, "OK") && !equalFold(kind, "NO") && !equalFold(kind, "BAD") {
		return protocolf("a tagged reply that is neither OK nor NO nor BAD")
	}
	w.useless = 0
	s := parseStatus(upper(kind), rest)
	s.Text = w.trace.redact(s.Text) // it ends up in errors
	for _, c := range *w.commands.Load() {
		if c.tag == string(tag) {
			c.status = s
			why := distrusted(c)
			w.settle(c, why)
			return why
		}
	}
	if bf := w.bodies.Load(); bf != nil {
		bf.status = &s
	}
	w.taggedToLibrary(string(tag), s)
	return nil
}

// distrusted is why the connection must end when a command was refused that went
// with a literal: having refused the arguments, some servers execute the literal,
// and what they answer from now on is not to our commands.
func distrusted(c *command) error {
	if !c.risky.Load() || c.status.Type != "BAD" {
		return nil
	}
	return fmt.Errorf("a command with a literal was refused: %w", &StatusError{c.status})
}

// libraryBusy reports whether the library waits for a reply.
func (w *wire) libraryBusy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.libTags) > 0
}
