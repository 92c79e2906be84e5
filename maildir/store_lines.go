package maildir

import (
	"bytes"
	"io"
	"sync"
)

// pieceSize is how much of a message is in memory while it is stored or read.
// Most messages are smaller and are written with one system call.
const pieceSize = 256 << 10

var pieces = sync.Pool{New: func() any { b := make([]byte, pieceSize); return &b }}

// lineStorer writes a message in its stored form to a new file. It begins with
// LF for CRLF; when the message turns out not to allow that, what was written is
// expanded in place, and the rest follows as it is. Memory does not depend on the
// message's size.
type lineStorer struct {
	file File
	inv  invertible
	held bool  // a CR at the end of a piece that was not written yet
	size int64 // octets in the file
	lf   int64 // CRLFs that were written as LF
	wire int64 // octets taken
	raw  bool  // written as it is, from the beginning of the file
	crlf bool  // the raw file holds a CRLF
	last byte  // the last octet taken
}

// take stores a piece, which it may alter.
func (w *lineStorer) take(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	last := p[len(p)-1]
	w.wire += int64(len(p))
	if !w.raw && w.inv.look(p) >= 0 {
		if err := w.restore(); err != nil {
			return err
		}
	}
	var err error
	if w.raw {
		w.crlf = w.crlf || bytes.Contains(p, crlf) || w.last == '\r' && p[0] == '\n'
		err = w.write(p)
	} else {
		n := len(p)
		if w.held {
			n++
		}
		out, lead := toLF(p, &w.held)
		if lead {
			err = w.write(crlf[:1])
		}
		if err == nil {
			err = w.write(out)
		}
		n -= len(out)
		if lead {
			n--
		}
		if w.held {
			n--
		}
		w.lf += int64(n)
	}
	w.last = last
	return err
}

// finish writes what was held back. marked says that the key must tell that the
// file is raw, since its content does not.
func (w *lineStorer) finish() (marked bool, err error) {
	if w.held {
		w.held = false
		err = w.write(crlf[:1])
	}
	return w.raw && !w.crlf, err
}

func (w *lineStorer) write(p []byte) error {
	n, err := w.file.WriteAt(p, w.size)
	w.size += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}

// restore turns the LFs of the file back into CRLFs, from the end to the
// beginning, so that nothing is overwritten before it was read.
func (w *lineStorer) restore() error {
	w.raw = true
	src, dst := w.size, w.size+w.lf
	w.crlf = w.lf > 0
	in := make([]byte, 32<<10)
	out := make([]byte, 0, 2*len(in))
	for src > 0 && dst > src {
		k := min(src, int64(len(in)))
		if _, err := io.ReadFull(io.NewSectionReader(w.file, src-k, k), in[:k]); err != nil {
			return err
		}
		src -= k
		out = appendWire(out[:0], in[:k])
		dst -= int64(len(out))
		if n, err := w.file.WriteAt(out, dst); err != nil {
			return err
		} else if n < len(out) {
			return io.ErrShortWrite
		}
	}
	w.size += w.lf
	if w.held {
		w.held = false
		return w.write(crlf[:1])
	}
	return nil
}

// copyFrom stores all of body; at most limit octets when limit >= 0, and one
// more to tell that there are more. An error of the reader is told apart.
func (w *lineStorer) copyFrom(body io.Reader, limit int64) (readErr, writeErr error) {
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	for {
		n, err := fill(body, *buf)
		if limit >= 0 && w.wire+int64(n) > limit {
			w.wire += int64(n)
			return nil, nil
		}
		if werr := w.take((*buf)[:n]); werr != nil {
			return nil, werr
		}
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
	}
}

// fill reads until buf is full, the end, or an error.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	return n, err
}
