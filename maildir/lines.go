package maildir

import (
	"bytes"
	"io"
)

// A message travels with CRLF line ends (its wire form) and lies in a Maildir
// with LF, which is what every reader of Maildirs expects. The change is made
// only where it can be undone from the file and its name alone:
//
//   - A message in which every LF follows a CR, and no CR LF follows a CR, is
//     stored with LF for CRLF. The file then holds no CRLF.
//   - Any other message is stored as it is ("raw"). Most often its file holds a
//     CRLF; where it does not (only bare LF), its key is marked (rawKey).
//
// Reading is the inverse: a file with a CRLF in it, or a marked key, is the wire
// form; any other gets a CR before each LF. That also reads what other tools
// store: LF throughout, or CRLF throughout.

var crlf = []byte("\r\n")

// invertible tracks whether a message, seen piece by piece, may be stored with
// LF.
type invertible struct {
	last [2]byte // the two octets before the piece; 0 where there is none
}

// look takes a piece and answers with the offset of the first LF that forbids
// the change, or -1.
func (v *invertible) look(p []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			break
		}
		i += from
		if v.before(p, i, 1) != '\r' || v.before(p, i, 2) == '\r' {
			return i
		}
		from = i + 1
	}
	switch n := len(p); {
	case n >= 2:
		v.last = [2]byte{p[n-2], p[n-1]}
	case n == 1:
		v.last = [2]byte{v.last[1], p[0]}
	}
	return -1
}

// before is the octet n places before p[i].
func (v *invertible) before(p []byte, i, n int) byte {
	if i >= n {
		return p[i-n]
	}
	return v.last[2-(n-i)]
}

// toLF takes the CR out of each CRLF in p, in place. Every LF in p follows a CR,
// which may be the last octet of the piece before: then *held, a CR that was not
// written yet, is dropped. A CR at the end of p is held back.
func toLF(p []byte, held *bool) (out []byte, lead bool) {
	if len(p) == 0 {
		return p, false
	}
	lead = *held && p[0] != '\n' // the held CR stands for itself after all
	*held = false
	w := 0
	for from := 0; from < len(p); {
		i := bytes.IndexByte(p[from:], '\r')
		if i < 0 {
			w += copy(p[w:], p[from:])
			break
		}
		w += copy(p[w:], p[from:from+i])
		switch next := from + i + 1; {
		case next == len(p):
			*held = true
		case p[next] != '\n':
			p[w] = '\r'
			w++
		}
		from += i + 1
	}
	return p[:w], lead
}

// stored tells what reading a file needs to know before the first octet.
type stored struct {
	size int64 // octets of the file
	lf   int64 // LFs in it
	crlf bool  // it holds a CRLF
}

// look takes a piece. last is the octet before it.
func (s *stored) look(p []byte, last byte) {
	s.size += int64(len(p))
	s.lf += int64(bytes.Count(p, crlf[1:]))
	if !s.crlf {
		s.crlf = bytes.Contains(p, crlf) || last == '\r' && len(p) > 0 && p[0] == '\n'
	}
}

// wireSize is the size of the message's wire form.
func (s *stored) wireSize(raw bool) int64 {
	if raw || s.crlf {
		return s.size
	}
	return s.size + s.lf
}

// wireReader gives the wire form of a file without CRLF.
type wireReader struct {
	from io.Reader
	buf  []byte // read and not yet given
	mem  []byte
	owed bool // the LF of a CR that was given
	err  error
}

func newWireReader(from io.Reader) *wireReader {
	return &wireReader{from: from, mem: make([]byte, 32<<10)}
}

func (r *wireReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if r.owed {
			p[n] = '\n'
			n++
			r.owed = false
			continue
		}
		if len(r.buf) == 0 {
			if r.err != nil || n > 0 {
				break
			}
			var k int
			k, r.err = r.from.Read(r.mem)
			r.buf = r.mem[:k]
			continue
		}
		i := bytes.IndexByte(r.buf, '\n')
		if i < 0 {
			i = len(r.buf)
		}
		k := copy(p[n:], r.buf[:i])
		n += k
		r.buf = r.buf[k:]
		if n < len(p) && len(r.buf) > 0 && r.buf[0] == '\n' {
			p[n] = '\r'
			n++
			r.owed = true
			r.buf = r.buf[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, r.err
	}
	return n, nil
}

// appendWire appends the wire form of a file without CRLF to out.
func appendWire(out, file []byte) []byte {
	for {
		i := bytes.IndexByte(file, '\n')
		if i < 0 {
			return append(out, file...)
		}
		out = append(append(out, file[:i]...), '\r', '\n')
		file = file[i+1:]
	}
}
