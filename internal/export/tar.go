package export

import (
	"archive/tar"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"postbag/internal/mail"
)

// tarrer writes a tar, through a compressor or none.
type tarrer struct {
	out      *output
	compress io.WriteCloser // nil for none
	t        *tar.Writer
	paths    *paths
	path     string
}

// gzipBlock is what gzip compresses as one: blocks are compressed side by side, and
// the result does not depend on how many cores there are.
const gzipBlock = 256 << 10

func newTar(f Format, out *output) (*tarrer, error) {
	t := &tarrer{out: out, paths: newPaths()}
	switch f {
	case TarGz:
		z, err := pgzip.NewWriterLevel(out.w, zipLevel)
		if err == nil {
			err = z.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0)+1, 8))
		}
		if err != nil {
			return nil, err
		}
		t.compress = z
	case TarZst:
		t.compress = newFrames(out.w)
	}
	t.t = tar.NewWriter(out.w)
	if t.compress != nil {
		t.t = tar.NewWriter(t.compress)
	}
	return t, nil
}

func (t *tarrer) box(info mail.MailboxInfo) error {
	t.path = t.paths.of(info.Name, "")
	return nil
}

func (t *tarrer) prepare(_ *item, enc []byte) ([]byte, error) { return enc, nil }

func (t *tarrer) add(it *item) (record, error) {
	name := t.path + "/" + it.base
	if err := t.header(name, it.body.size, it.msg.Date); err != nil {
		return record{}, err
	}
	var err error
	if it.body.file == nil {
		_, err = t.t.Write(it.body.mem)
	} else {
		_, err = io.Copy(t.t, it.body.reader())
	}
	return record{Name: name}, err
}

// header begins a member. Nothing of the machine is in it, neither users nor times
// but the message's.
func (t *tarrer) header(name string, size int64, at time.Time) error {
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	return t.t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: at})
}

func (t *tarrer) finish(m *manifestWriter) error {
	size, from, err := m.end()
	if err == nil {
		err = t.header(ManifestName, size, time.Time{})
	}
	if err == nil {
		_, err = io.Copy(t.t, from)
	}
	if err == nil {
		err = t.t.Close()
	}
	if err == nil && t.compress != nil {
		err = t.compress.Close()
		t.compress = nil
	}
	if err != nil {
		return err
	}
	return t.out.finish()
}

func (t *tarrer) abort() {
	if t.compress != nil { // it has goroutines
		t.compress.Close()
		t.compress = nil
	}
	t.out.abort()
}

// frameSize is what is compressed as one frame of zstd. A file of several frames is
// one stream to every reader (RFC 8878, 3.1); here they are compressed side by side.
const frameSize = 1 << 20

// frames compresses to zstd on several cores. The result does not depend on how
// many there are.
type frames struct {
	to    io.Writer
	enc   *zstd.Encoder
	buf   []byte
	order chan *frame
	free  chan []byte // compressed, to be used again
	raw   chan []byte // not compressed, likewise
	wait  sync.WaitGroup
	mu    sync.Mutex
	err   error
	over  bool
}

type frame struct {
	out  []byte
	done chan struct{}
}

func newFrames(to io.Writer) *frames {
	n := min(runtime.GOMAXPROCS(0), 8)
	f := &frames{to: to, buf: make([]byte, 0, frameSize), order: make(chan *frame, n), free: make(chan []byte, n), raw: make(chan []byte, n+1)}
	for range n {
		f.free <- nil
	}
	f.enc, f.err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(n), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	f.wait.Go(f.flushAll)
	return f
}

// flushAll writes frames in their order.
func (f *frames) flushAll() {
	for one := range f.order {
		<-one.done
		if f.failed() == nil {
			if _, err := f.to.Write(one.out); err != nil {
				f.fail(err)
			}
		}
		f.free <- one.out[:0]
	}
}

func (f *frames) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *frames) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// Write implements io.Writer.
func (f *frames) Write(p []byte) (int, error) {
	n := 0
	for len(p) > 0 {
		k := min(len(p), frameSize-len(f.buf))
		f.buf = append(f.buf, p[:k]...)
		p, n = p[k:], n+k
		if len(f.buf) == frameSize {
			if err := f.send(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// send gives a frame to be compressed.
func (f *frames) send() error {
	if err := f.failed(); err != nil {
		return err
	}
	one := &frame{out: <-f.free, done: make(chan struct{})}
	in := f.buf
	select {
	case f.buf = <-f.raw:
	default:
		f.buf = make([]byte, 0, frameSize)
	}
	f.order <- one
	f.wait.Go(func() {
		defer close(one.done)
		one.out = f.enc.EncodeAll(in, one.out)
		select {
		case f.raw <- in[:0]:
		default:
		}
	})
	return nil
}

// Close writes what is left. It does not close what it writes to.
func (f *frames) Close() error {
	if f.over {
		return f.failed()
	}
	f.over = true
	var err error
	if f.failed() == nil && len(f.buf) > 0 {
		err = f.send()
	}
	close(f.order)
	f.wait.Wait()
	if f.enc != nil {
		err = errors.Join(err, f.enc.Close())
	}
	return errors.Join(f.failed(), err)
}
