package export

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"

	"postbag/internal/mail"
)

// streamName is what a stream is called in what is wrong with it.
const streamName = "stdin"

// readStream reads an archive that comes as a stream, whatever it is. A message is
// looked at more than once, and the manifest comes last: so it goes to a temporary file,
// unpacked on its way.
func (a *Archive) readStream(name string) error {
	packed := &counted{}
	from, stop := interruptible(a.ctx, a.o.Stdin)
	defer stop()
	packed.from = bufio.NewReaderSize(from, 256<<10)
	head, err := packed.from.Peek(512)
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	if len(head) == 0 {
		if errors.Is(err, io.EOF) {
			err = errors.New("there is nothing in it")
		}
		return integrity("%w", err)
	}
	kind, depth := sniff(head), 0
	var temp *tempFile
	var size int64
	if kind == TarGz || kind == TarZst {
		temp, size, err = a.unpack(kind, packed, packed.n.Load)
		depth++
	} else {
		temp, size, err = a.spool(packed, func() int64 { return math.MaxInt64 })
	}
	if temp == nil {
		return err
	}
	if err != nil {
		a.problem("", name, packed.n.Load(), mail.AsError(err))
	}
	return a.readFile(file{ra: temp, size: size, name: name, box: "INBOX"}, depth)
}

// counted counts what is read.
type counted struct {
	from *bufio.Reader
	n    atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// interruptible reads r until ctx ends, also when r has nothing to give and no end.
// After stop, at most one Read of r is still waiting.
func interruptible(ctx context.Context, r io.Reader) (from io.Reader, stop func()) {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	off := context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	return out, func() {
		off()
		out.Close()
	}
}
