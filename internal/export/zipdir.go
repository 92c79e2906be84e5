package export

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/klauspost/compress/flate"
)

// A zip ends with a directory of its members, which archive/zip keeps in memory until
// then: half a kilobyte for each. So members are written by one zip.Writer after another,
// and the piece of the directory that each makes goes to a temporary file. What it says
// is what a single zip.Writer says.

// zipPiece is how many members one zip.Writer writes.
const zipPiece = 1000

// Lengths of the records at the end of a zip (APPNOTE 4.3.14 to 4.3.16).
const (
	zipEndLen   = 22
	zip64EndLen = 56 + 20
)

// zipStream writes members, and keeps the directory.
type zipStream struct {
	to    io.Writer // of the current zip.Writer: the archive, or what ends a piece
	out   io.Writer
	n     int64 // octets of members
	z     *zip.Writer
	inZ   int
	file  *tempFile
	w     *bufio.Writer
	size  int64 // of the directory
	count uint64
}

func newZipStream(out io.Writer, temp string) (*zipStream, error) {
	file, err := newTemp(temp)
	if err != nil {
		return nil, err
	}
	return &zipStream{to: out, out: out, file: file, w: bufio.NewWriterSize(file, 64<<10)}, nil
}

func (s *zipStream) Write(p []byte) (int, error) { return s.to.Write(p) }

// count counts what a zip.Writer writes into the archive.
type count struct {
	to io.Writer
	n  *int64
}

func (c count) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	*c.n += int64(n)
	return n, err
}

// next is the zip.Writer for one more member.
func (s *zipStream) next() (*zip.Writer, error) {
	if s.inZ == zipPiece {
		if err := s.endPiece(); err != nil {
			return nil, err
		}
	}
	if s.z == nil {
		s.to = count{s.out, &s.n}
		s.z, s.inZ = zip.NewWriter(s), 0
		s.z.SetOffset(s.n)
		s.z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, zipLevel) })
	}
	s.inZ++
	s.count++
	return s.z, nil
}

var errZipEnd = errors.New("the directory of the zip is not as it should be")

// endPiece ends a zip.Writer: what belongs to its last member goes to the archive, its
// directory to the file, and the end record nowhere.
func (s *zipStream) endPiece() error {
	if s.z == nil {
		return nil
	}
	if err := s.z.Flush(); err != nil {
		return err
	}
	var tail bytes.Buffer
	s.to = &tail
	err := s.z.Close()
	s.z, s.inZ = nil, 0
	if err != nil {
		return err
	}
	b := tail.Bytes()
	end := len(b) - zipEndLen
	if end < 0 {
		return errZipEnd
	}
	size := int64(binary.LittleEndian.Uint32(b[end+12:]))
	if size == math.MaxUint32 { // then the other record has it
		if end -= zip64EndLen; end < 0 {
			return errZipEnd
		}
		size = int64(binary.LittleEndian.Uint64(b[end+40:]))
	}
	begin := int64(end) - size
	if begin < 0 {
		return errZipEnd
	}
	s.size += size
	_, err = count{s.out, &s.n}.Write(b[:begin])
	_, werr := s.w.Write(b[begin:end])
	return errors.Join(err, outError(werr))
}

// finish writes the directory and the end.
func (s *zipStream) finish() error {
	err := errors.Join(s.endPiece(), s.w.Flush())
	if err == nil {
		_, err = s.file.Seek(0, io.SeekStart)
	}
	if err == nil {
		var n int64
		if n, err = io.Copy(s.out, s.file); err == nil && n != s.size {
			err = io.ErrUnexpectedEOF
		}
	}
	if err == nil {
		_, err = s.out.Write(zipEnd(s.count, uint64(s.size), uint64(s.n)))
	}
	return err
}

func (s *zipStream) close() error { return s.file.Close() }

// zipEnd is the end of a zip whose directory begins at offset.
func zipEnd(count, size, offset uint64) []byte {
	le, b := binary.LittleEndian, []byte(nil)
	if count >= math.MaxUint16 || size >= math.MaxUint32 || offset >= math.MaxUint32 {
		b = le.AppendUint64(le.AppendUint32(b, 0x06064b50), 56-12)
		b = le.AppendUint64(append(b, 45, 0, 45, 0), 0) // versions, disks
		b = le.AppendUint64(le.AppendUint64(b, count), count)
		b = le.AppendUint64(le.AppendUint64(b, size), offset)
		b = le.AppendUint64(le.AppendUint64(b, 0x07064b50), offset+size) // on disk 0
		b = le.AppendUint32(b, 1)
		count, size, offset = math.MaxUint16, math.MaxUint32, math.MaxUint32
	}
	b = le.AppendUint64(b, 0x06054b50) // on disk 0
	b = le.AppendUint16(le.AppendUint16(b, uint16(count)), uint16(count))
	b = le.AppendUint32(le.AppendUint32(b, uint32(size)), uint32(offset))
	return append(b, 0, 0)
}
