package sync

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"postbag/internal/mail"
)

// meter reads a message's wire form through and takes its digest, its length,
// and its Message-ID. It remembers a reading error, so that the writer's own
// errors can be told from it.
type meter struct {
	src  io.Reader
	sum  hash.Hash
	head []byte // up to headCapture octets
	n    int64
	nul  bool // there is one
	err  error
	// alter is set where an altered copy may be there already.
	alter *mail.Altering
}

// headCapture bounds what is kept of a streamed message to find its Message-ID.
const headCapture = 64 << 10

func newMeter(src io.Reader) *meter { return &meter{src: src, sum: sha256.New()} }

func newBytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.src.Read(p)
	m.sum.Write(p[:n])
	m.nul = m.nul || bytes.IndexByte(p[:n], 0) >= 0
	if m.alter != nil {
		m.alter.Write(p[:n])
	}
	if room := headCapture - len(m.head); room > 0 {
		m.head = append(m.head, p[:min(n, room)]...)
	}
	m.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
	}
	return n, err
}

// identity is id with what was read put in.
func (m *meter) identity(id mail.Identity) mail.Identity {
	m.sum.Sum(id.Digest[:0])
	id.MessageID, id.Described = mail.MessageIDOf(m.head), true
	return id
}

// delicate reports whether servers are known to store such a message with other
// octets of the same number, so that its size does not tell.
func (m *meter) delicate() bool {
	if m.nul {
		return true
	}
	head, _, _ := bytes.Cut(m.head, []byte("\r\n\r\n"))
	return bytes.ContainsFunc(head, func(r rune) bool { return r > 127 })
}
