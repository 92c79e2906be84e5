package mail

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// Alteration is something that servers are known to do to a message as they take
// it. It is a function of the message's octets: what a server made of a message is
// recognised by its whole content, and by nothing less.
type Alteration uint8

// The alterations. Each was seen, with the message sets of package demo, on the
// server named.
const (
	// LineEnds: every line ends in CRLF, the last one too, and a CR elsewhere is
	// dropped. Courier 5.0.
	LineEnds Alteration = iota
	// BareLF: an LF without a CR before it gets one. Dovecot 2.3 on Maildir.
	BareLF
	// EightBitHeader: octets above 127 in the header become X. Cyrus 3.6, unless
	// munge8bit is no.
	EightBitHeader
	// NUL: it becomes the octet 0x80. Dovecot 2.3.
	NUL

	alterations
)

// String says what was done, for people.
func (a Alteration) String() string {
	return [...]string{
		"line ends were made CRLF",
		"bare line feeds were made CRLF",
		"octets above 127 in the header were replaced by X",
		"NUL was replaced",
	}[a]
}

// Altering takes the digests that a message has after each Alteration, as the
// message is written to it. Use NewAltering.
type Altering struct {
	sums [alterations]hash.Hash
	// changed tells which of them differ from the message.
	changed [alterations]bool
	buffer  []byte
	cr      bool // the octet before was CR, and LineEnds waits for the next one
	last    byte // the octet before
	empty   bool // nothing was written
	line    int  // octets of the header's current line; -1 in the body
}

// NewAltering begins with an empty message.
func NewAltering() *Altering {
	w := &Altering{empty: true}
	for i := range w.sums {
		w.sums[i] = sha256.New()
	}
	return w
}

// Write takes in the next part of the message. It never fails.
func (w *Altering) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.empty = false
	w.lineEnds(p)
	w.bareLF(p)
	w.header(p)
	w.nul(p)
	w.last = p[len(p)-1]
	return len(p), nil
}

func (w *Altering) lineEnds(p []byte) {
	out := w.buffer[:0]
	for _, c := range p {
		switch {
		case c == '\n':
			w.changed[LineEnds] = w.changed[LineEnds] || !w.cr
			out = append(out, '\r', '\n')
			w.cr = false
			continue
		case w.cr: // CR was before, and is dropped
			w.changed[LineEnds] = true
		}
		if w.cr = c == '\r'; !w.cr {
			out = append(out, c)
		}
	}
	w.sums[LineEnds].Write(out)
	w.buffer = out
}

func (w *Altering) bareLF(p []byte) {
	last := w.last
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			w.sums[BareLF].Write(rest)
			return
		}
		if i > 0 {
			last = rest[i-1]
		}
		w.sums[BareLF].Write(rest[:i])
		if last == '\r' {
			w.sums[BareLF].Write([]byte{'\n'})
		} else {
			w.changed[BareLF] = true
			w.sums[BareLF].Write([]byte{'\r', '\n'})
		}
		last, rest = '\n', rest[i+1:]
	}
}

// header does EightBitHeader: the header ends with the first empty line.
func (w *Altering) header(p []byte) {
	end := 0
	for end < len(p) && w.line >= 0 {
		switch c := p[end]; {
		case c == '\n' && w.line == 0:
			w.line = -1
		case c == '\n':
			w.line = 0
		case c != '\r':
			w.line++
		}
		end++
	}
	head := append(w.buffer[:0], p[:end]...)
	for i, c := range head {
		if c > 127 {
			head[i] = 'X'
			w.changed[EightBitHeader] = true
		}
	}
	w.buffer = head
	w.sums[EightBitHeader].Write(head)
	w.sums[EightBitHeader].Write(p[end:])
}

func (w *Altering) nul(p []byte) {
	if bytes.IndexByte(p, 0) < 0 {
		w.sums[NUL].Write(p)
		return
	}
	w.changed[NUL] = true
	out := append(w.buffer[:0], p...)
	for i, c := range out {
		if c == 0 {
			out[i] = 0x80
		}
	}
	w.buffer = out
	w.sums[NUL].Write(out)
}

// Find tells which alteration gives the message this digest. It is called when all
// of the message was written, and may be called again.
func (w *Altering) Find(d Digest) (Alteration, bool) {
	for a := range alterations {
		if sum, ok := w.digest(a); ok && sum == d {
			return a, true
		}
	}
	return 0, false
}

// Digests are those of the altered message that differ from the message's own.
func (w *Altering) Digests() map[Digest]Alteration {
	all := make(map[Digest]Alteration)
	for a := range alterations {
		if sum, ok := w.digest(a); ok {
			all[sum] = a
		}
	}
	return all
}

// SameSize reports whether a server may alter the message without changing its
// size, so that only its content can tell.
func (w *Altering) SameSize() bool { return w.changed[EightBitHeader] || w.changed[NUL] }

// digest is that of the message after a; false when a changes nothing in it.
func (w *Altering) digest(a Alteration) (d Digest, ok bool) {
	if a == LineEnds {
		if ended := !w.empty && w.last == '\n'; !ended {
			sum := w.ended()
			return sum, true
		}
	}
	if !w.changed[a] {
		return d, false
	}
	w.sums[a].Sum(d[:0])
	return d, true
}

// ended is the digest of LineEnds with the last line ended.
func (w *Altering) ended() (d Digest) {
	clone, err := w.sums[LineEnds].(hash.Cloner).Clone()
	if err != nil {
		return Digest{}
	}
	clone.Write([]byte{'\r', '\n'})
	clone.Sum(d[:0])
	return d
}
