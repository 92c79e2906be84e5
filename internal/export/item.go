package export

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"postbag/internal/mail"
)

// item is one message on its way into an archive.
type item struct {
	mailbox string
	msg     mail.Message // with Size and Digest
	base    string       // its name, without what tells equal ones apart
	sender  string       // for the From_ line of mbox
	body    part         // the wire form
	enc     part         // what the format made of it ahead of time
	form    form
	open    bool // the last line has no end
	crc     uint32
	stored  bool // enc is not compressed
}

// part is a piece of a chunk's memory, or of its file.
type part struct {
	mem  []byte
	file io.ReaderAt // nil: mem has it
	off  int64
	size int64
}

func (p *part) reader() io.Reader {
	if p.file == nil {
		return bytes.NewReader(p.mem)
	}
	return io.NewSectionReader(p.file, p.off, p.size)
}

// Bounds of what one chunk holds: of the known sizes of its messages, and of its
// memory. What does not fit into the memory goes to a file.
const (
	chunkMessages = 256
	chunkUnsized  = 48 // of a size that is not known: most mail then fits into the memory
	chunkBytes    = 512 << 10
	chunkMemory   = 1 << 20
)

// chunk is a number of messages that are read together and written in order. Its
// memory is used again for another one.
type chunk struct {
	want  []listed
	items []*item // in the order of want; nil for one that is gone
	bad   []Problem
	arena []byte
	enc   []byte
	spill *tempFile
	end   int64 // of what is in spill
	err   error
	done  chan struct{}
	sum   hash.Hash
	piece []byte
}

func newChunk() *chunk {
	return &chunk{arena: make([]byte, 0, chunkMemory), sum: sha256.New(), piece: make([]byte, 64<<10)}
}

// reset makes the chunk ready for other messages.
func (c *chunk) reset(want []listed) error {
	c.want, c.items, c.bad, c.err, c.done = want, make([]*item, len(want)), nil, nil, make(chan struct{})
	c.arena, c.enc, c.end = c.arena[:0], c.enc[:0], 0
	if c.spill != nil {
		return outError(c.spill.Truncate(0))
	}
	return nil
}

func (c *chunk) close() error {
	if c.spill == nil {
		return nil
	}
	return c.spill.Close()
}

// take reads a body to its end, and answers with where it is and its digest. An
// error of writing is of account scope, any other is the reader's.
func (c *chunk) take(dir string, body io.Reader) (part, mail.Digest, error) {
	c.sum.Reset()
	start := len(c.arena)
	for {
		room := c.arena[len(c.arena):cap(c.arena)]
		if len(room) == 0 {
			break
		}
		n, err := body.Read(room)
		c.sum.Write(room[:n])
		c.arena = c.arena[:len(c.arena)+n]
		if err == io.EOF {
			p := part{mem: c.arena[start:len(c.arena):len(c.arena)], size: int64(len(c.arena) - start)}
			return p, c.digest(), nil
		}
		if err != nil {
			c.arena = c.arena[:start]
			return part{}, mail.Digest{}, err
		}
	}
	begun := c.arena[start:]
	c.arena = c.arena[:start]
	return c.spillOver(dir, begun, body)
}

// spillOver puts a body of which the beginning is in memory into the file.
func (c *chunk) spillOver(dir string, begun []byte, body io.Reader) (part, mail.Digest, error) {
	if c.spill == nil {
		f, err := newTemp(dir)
		if err != nil {
			return part{}, mail.Digest{}, err
		}
		c.spill = f
	}
	p := part{file: c.spill, off: c.end}
	if _, err := c.spill.WriteAt(begun, c.end); err != nil {
		return part{}, mail.Digest{}, outError(err)
	}
	p.size = int64(len(begun))
	for {
		n, err := body.Read(c.piece)
		c.sum.Write(c.piece[:n])
		if _, werr := c.spill.WriteAt(c.piece[:n], c.end+p.size); werr != nil {
			return part{}, mail.Digest{}, outError(werr)
		}
		p.size += int64(n)
		if err == io.EOF {
			c.end += p.size
			return p, c.digest(), nil
		}
		if err != nil {
			return part{}, mail.Digest{}, err
		}
	}
}

func (c *chunk) digest() (d mail.Digest) {
	c.sum.Sum(d[:0])
	return d
}

// head is the beginning of a message, as far as a header may reach.
func (p *part) head() ([]byte, error) {
	if p.file == nil {
		return p.mem[:min(len(p.mem), mail.MaxHeader)], nil
	}
	head := make([]byte, min(p.size, mail.MaxHeader))
	_, err := p.file.ReadAt(head, p.off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head, outError(err)
}
