package export

import (
	"archive/zip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"

	"postbag/internal/mail"
)

// zipLevel compresses mail nearly as well as any, in a third of the time of the
// usual level.
const zipLevel = 5

// zipAhead is the size up to which a message is compressed ahead, and written with its
// sizes before it. What is larger has them behind it, whether it fits into memory or not:
// the same mail gives the same archive.
const zipAhead = 256 << 10

// deflaters are compressors that are not in use.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, zipLevel)
	if err != nil { // only for a level that there is not
		return nil
	}
	return w
}}

// zipper writes a zip. Messages are compressed ahead, side by side.
type zipper struct {
	out   *output
	z     *zipStream
	paths *paths
	path  string
}

func newZip(o *Options, out *output) (*zipper, error) {
	s, err := newZipStream(out.w, o.Temp)
	if err != nil {
		return nil, err
	}
	return &zipper{out: out, z: s, paths: newPaths()}, nil
}

func (z *zipper) box(info mail.MailboxInfo) error {
	z.path = z.paths.of(info.Name, "")
	return nil
}

// appender appends what is written to it.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func (z *zipper) prepare(it *item, enc []byte) ([]byte, error) {
	if it.body.size > zipAhead {
		return enc, nil
	}
	if it.body.file != nil { // there was no room for it
		mem := make([]byte, it.body.size)
		if _, err := io.ReadFull(it.body.reader(), mem); err != nil {
			return enc, err
		}
		it.body = part{mem: mem, size: it.body.size}
	}
	it.crc = crc32.ChecksumIEEE(it.body.mem)
	to := appender{enc}
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&to)
	if _, err := w.Write(it.body.mem); err != nil {
		return enc, err
	}
	if err := w.Close(); err != nil {
		return enc, err
	}
	it.enc = part{mem: to.b[len(enc):len(to.b):len(to.b)]}
	if it.stored = len(it.enc.mem) >= len(it.body.mem); it.stored {
		it.enc = it.body
		return enc, nil
	}
	return to.b, nil
}

func (z *zipper) add(it *item) (record, error) {
	name := z.path + "/" + it.base
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	setZipTime(h, it.msg.Date)
	one, err := z.z.next()
	if err != nil {
		return record{}, err
	}
	if it.body.size > zipAhead {
		h.Modified = clampZip(it.msg.Date)
		w, err := one.CreateHeader(h)
		if err == nil {
			_, err = io.Copy(w, it.body.reader())
		}
		return record{Name: name}, err
	}
	if it.stored {
		h.Method = zip.Store
	}
	h.CRC32, h.UncompressedSize64, h.CompressedSize64 = it.crc, uint64(it.body.size), uint64(len(it.enc.mem))
	h.Flags = 0x800 // the name is UTF-8
	w, err := one.CreateRaw(h)
	if err == nil {
		_, err = w.Write(it.enc.mem)
	}
	return record{Name: name}, err
}

// clampZip is the nearest time that a zip can say.
func clampZip(at time.Time) time.Time {
	first, last := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(math.MaxInt32, 0).UTC()
	switch at = at.UTC(); {
	case at.Before(first):
		return first
	case at.After(last):
		return last
	}
	return at
}

// setZipTime sets the time of a member twice, as zip does: in the form of DOS, which
// knows no zone, and in seconds since 1970 (Info-ZIP's extended timestamp).
func setZipTime(h *zip.FileHeader, at time.Time) {
	at = clampZip(at)
	//lint:ignore SA1019 CreateRaw writes these two, and not Modified
	h.ModifiedDate = uint16(at.Day() + int(at.Month())<<5 + (at.Year()-1980)<<9)
	//lint:ignore SA1019 likewise
	h.ModifiedTime = uint16(at.Second()/2 + at.Minute()<<5 + at.Hour()<<11)
	if h.UncompressedSize64 == 0 {
		h.Extra = binary.LittleEndian.AppendUint32([]byte{'U', 'T', 5, 0, 1}, uint32(at.Unix()))
	}
}

func (z *zipper) finish(m *manifestWriter) error {
	h := &zip.FileHeader{Name: ManifestName, Method: zip.Deflate}
	setZipTime(h, time.Time{})
	one, err := z.z.next()
	if err != nil {
		return err
	}
	w, err := one.CreateHeader(h)
	if err == nil {
		err = copyManifest(m, w)
	}
	if err == nil {
		err = z.z.finish()
	}
	if err != nil {
		return err
	}
	return z.out.finish()
}

func (z *zipper) abort() {
	z.z.close()
	z.out.abort()
}
