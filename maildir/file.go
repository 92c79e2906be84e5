package maildir

import (
	"crypto/sha256"
	"errors"
	"io"
	"slices"

	"postbag/internal/mail"
)

// moveFile moves a file and never replaces one. Across devices it copies, makes
// the copy durable, gives it its name, and removes the original last: a crash
// leaves both, or a hidden file that no reader takes for a message.
func moveFile(from Dir, name string, to Dir, newName string) error {
	err := from.Rename(name, to, newName)
	if !errors.Is(err, errCrossDevice) {
		return err
	}
	hidden := ".postbag-copy." + name
	if len(hidden) > 250 {
		hidden = hidden[:250]
	}
	if err := copyFile(from, name, to, hidden); err != nil {
		to.Remove(hidden)
		return err
	}
	if err := to.Rename(hidden, to, newName); err != nil {
		to.Remove(hidden)
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	return from.Remove(name)
}

// copyFile copies content and time, durably.
func copyFile(from Dir, name string, to Dir, newName string) error {
	in, err := from.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := to.Create(newName)
	if err != nil {
		return err
	}
	n, err := io.Copy(struct{ io.Writer }{out}, struct{ io.Reader }{in})
	if err == nil && n != st.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return to.SetTime(newName, st.Mtime)
}

// content is a message's file, open, and what was found out about it.
type content struct {
	file  File
	stat  Stat
	small []byte // the wire form, when the whole message fits
	buf   *[]byte
	conv  *[]byte // where small is when that is not the file
	wire  int64   // octets of the wire form
	asIs  bool    // the file is the wire form
}

// openContent opens a message and finds out its size. It reads all of the file
// once: only then is it known how its line ends are to be read. close must be
// called in the end.
func openContent(d Dir, name, key string) (*content, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	c := &content{file: f}
	if c.stat, err = f.Stat(); err == nil {
		err = c.look(isRawKey(key))
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *content) look(raw bool) error {
	c.buf = pieces.Get().(*[]byte)
	n, err := c.file.Read(*c.buf)
	switch {
	case err == nil && n < len(*c.buf) && int64(n) == c.stat.Size: // which saves asking for more
		err = io.EOF
	case err == nil:
		var k int
		k, err = fill(c.file, (*c.buf)[n:])
		n += k
	}
	if err != nil && err != io.EOF {
		return err
	}
	var s stored
	s.look((*c.buf)[:n], 0)
	if err == io.EOF {
		c.wire, c.asIs = s.wireSize(raw), raw || s.crlf || s.lf == 0
		c.small = (*c.buf)[:n]
		if !c.asIs {
			c.conv = pieces.Get().(*[]byte)
			c.small = appendWire(slices.Grow((*c.conv)[:0], int(c.wire)), c.small)
		}
		return nil
	}
	last := (*c.buf)[n-1]
	for err == nil {
		n, err = fill(c.file, *c.buf)
		s.look((*c.buf)[:n], last)
		if n > 0 {
			last = (*c.buf)[n-1]
		}
	}
	if err != io.EOF {
		return err
	}
	c.wire, c.asIs = s.wireSize(raw), raw || s.crlf || s.lf == 0
	_, err = c.file.Seek(0, io.SeekStart)
	return err
}

// reader gives the wire form, once.
func (c *content) reader(fail func(error) error) io.Reader {
	var from io.Reader
	switch {
	case c.small != nil:
		return &exactReader{from: &sliceReader{c.small}, left: c.wire, fail: fail}
	case c.asIs:
		from = c.file
	default:
		from = newWireReader(c.file)
	}
	return &exactReader{from: from, left: c.wire, fail: fail}
}

func (c *content) close() {
	c.file.Close()
	if c.buf != nil {
		pieces.Put(c.buf)
		c.buf, c.small = nil, nil
	}
	if c.conv != nil {
		pieces.Put(c.conv)
		c.conv = nil
	}
}

// digest reads the wire form and computes its SHA-256.
func (c *content) digest() (mail.Digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, c.reader(func(err error) error { return err })); err != nil {
		return mail.Digest{}, err
	}
	return mail.Digest(h.Sum(nil)), nil
}

type sliceReader struct{ rest []byte }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// errChanged says that a file is not what it was when it was opened.
var errChanged = errors.New("the file was changed while it was read")

// exactReader gives exactly the octets that were counted, or an error: io.EOF
// proves that all of the message came.
type exactReader struct {
	from io.Reader
	left int64
	fail func(error) error
}

func (r *exactReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		var one [1]byte
		if n, err := r.from.Read(one[:]); n > 0 || err == nil {
			return 0, r.fail(errChanged)
		} else if err != io.EOF {
			return 0, r.fail(err)
		}
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.from.Read(p)
	r.left -= int64(n)
	if err == io.EOF {
		if err = nil; r.left > 0 {
			err = r.fail(errChanged)
		}
	} else if err != nil {
		err = r.fail(err)
	}
	return n, err
}
