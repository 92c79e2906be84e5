package export

import (
	"bytes"
	"io"

	"postbag/internal/mail"
)

// quoting says what is undone at the beginning of the lines of a message.
type quoting uint8

const (
	quotedNot  quoting = iota
	quotedRD           // one ">" less before "From ", if there are any
	quotedOnce         // ">From " stands for "From ", and nothing else is changed
)

// coding says how the octets of an archive become those of a message.
type coding struct {
	lf    bool // a CR before each LF
	open  bool // the last LF is none of the message's
	quote quoting
}

func (c coding) plain() bool { return c == coding{} }

// decoder turns what lies in an archive, piece by piece, into the wire form.
type decoder struct {
	coding
	out    []byte
	in     bool // in a line: past what can be quoted
	arrow  bool // a ">" of this line is held back
	arrows int  // of this line
	seen   int  // octets of "From " that are held back
	owed   bool // an LF that may be the last octet
}

// write takes a piece.
func (d *decoder) write(p []byte) {
	for len(p) > 0 {
		if d.owed {
			d.owed = false
			d.lineEnd()
		}
		if !d.in && d.quote != quotedNot {
			p = d.begin(p)
			continue
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			d.out, d.in = append(d.out, p...), true
			return
		}
		d.out = append(d.out, p[:end]...)
		p = p[end+1:]
		d.in, d.arrows = false, 0
		if d.open && len(p) == 0 {
			d.owed = true
			return
		}
		d.lineEnd()
	}
}

func (d *decoder) lineEnd() {
	if d.lf {
		d.out = append(d.out, '\r')
	}
	d.out = append(d.out, '\n')
}

// release writes what was held back at the beginning of a line.
func (d *decoder) release() {
	if d.arrow {
		d.out = append(d.out, '>')
	}
	d.out = append(d.out, fromLine[:d.seen]...)
	d.arrow, d.seen, d.in = false, 0, true
}

// begin takes the beginning of a line.
func (d *decoder) begin(p []byte) []byte {
	for i, c := range p {
		switch {
		case d.seen == 0 && c == '>' && d.arrows == 0:
			d.arrow, d.arrows = true, 1
		case d.seen == 0 && c == '>' && d.quote == quotedRD:
			d.out = append(d.out, '>')
			d.arrows++
		case d.arrows > 0 && c == fromLine[d.seen]:
			if d.seen++; d.seen == len(fromLine) {
				d.arrow = false
				d.release()
				return p[i+1:]
			}
		default:
			d.release()
			return p[i:]
		}
	}
	return nil
}

// decodeReader reads the wire form of a part.
type decodeReader struct {
	from io.Reader
	d    decoder
	in   []byte
	at   int // in d.out
	err  error
}

func newDecodeReader(from io.Reader, c coding) io.Reader {
	if c.plain() {
		return from
	}
	return &decodeReader{from: from, d: decoder{coding: c}, in: make([]byte, 32<<10)}
}

func (r *decodeReader) Read(p []byte) (int, error) {
	for r.at == len(r.d.out) {
		if r.err != nil {
			return 0, r.err
		}
		var n int
		n, r.err = r.from.Read(r.in)
		r.d.out, r.at = r.d.out[:0], 0
		r.d.write(r.in[:n])
		if r.err == io.EOF {
			r.d.finish()
		}
	}
	n := copy(p, r.d.out[r.at:])
	r.at += n
	return n, nil
}

// finish writes what is held back at the end, but for an LF that was added.
func (d *decoder) finish() {
	if !d.in {
		d.release()
	}
}

// decodeAll is the wire form of what is in memory, appended to out.
func decodeAll(out, stored []byte, c coding) []byte {
	d := decoder{coding: c, out: out}
	d.write(stored)
	d.finish()
	return d.out
}

// hasCRLF reports whether a part holds a CRLF.
func hasCRLF(p *part) (bool, error) {
	if p.file == nil {
		return bytes.Contains(p.mem, []byte("\r\n")), nil
	}
	buf, last := make([]byte, 64<<10), byte(0)
	for r := p.reader(); ; {
		n, err := r.Read(buf)
		if n > 0 && last == '\r' && buf[0] == '\n' || bytes.Contains(buf[:n], []byte("\r\n")) {
			return true, nil
		}
		if n > 0 {
			last = buf[n-1]
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// messageError is a problem with one message of an archive.
func messageError(kind mail.Kind, err error, hint string) *mail.Error {
	return &mail.Error{Scope: mail.ScopeMessage, Kind: kind, Err: err, Hint: hint}
}
