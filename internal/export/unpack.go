package export

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"postbag/internal/mail"
)

// maxZstdWindow is the most memory that a zstd file may ask for: what the zstd
// program allows, too.
const maxZstdWindow = 128 << 20

// unpack decompresses a stream, of which size tells how much was read so far, into a
// temporary file. With an error there may be one all the same, which holds what came
// before it.
func (a *Archive) unpack(kind Format, packed io.Reader, size func() int64) (*tempFile, int64, error) {
	from := bufio.NewReaderSize(packed, 256<<10)
	var r io.Reader
	if kind == TarGz {
		z, err := pgzip.NewReaderN(from, gzipBlock, 4)
		if err != nil {
			return nil, 0, integrity("gzip: %w", err)
		}
		defer z.Close()
		r = z
	} else {
		z, err := zstd.NewReader(from, zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, 0, integrity("zstd: %w", err)
		}
		defer z.Close()
		r = z
	}
	return a.spool(r, func() int64 { return bombLimit(size()) })
}

var errBomb = fmt.Errorf("it becomes more than %d times as large when it is unpacked", bombRatio)

// bombLimit is how large something of a compressed size may become.
func bombLimit(compressed int64) int64 {
	return max(bombSize, min(compressed, 1<<50)*bombRatio)
}

// spool copies a stream into a temporary file. limit is how large that may be by now.
func (a *Archive) spool(r io.Reader, limit func() int64) (*tempFile, int64, error) {
	temp, err := newTemp(a.o.Temp)
	if err != nil {
		return nil, 0, err
	}
	a.close = append(a.close, temp)
	buf := make([]byte, 256<<10)
	size := int64(0)
	for {
		if err := a.ctx.Err(); err != nil {
			return nil, 0, err
		}
		n, err := r.Read(buf)
		if size+int64(n) > limit() {
			return temp, size, messageError(mail.KindRefused, errBomb, "what comes before that is read")
		}
		if _, werr := temp.WriteAt(buf[:n], size); werr != nil {
			return nil, 0, outErrorAt("unpacking", werr)
		}
		size += int64(n)
		if err == io.EOF {
			return temp, size, nil
		}
		if a.ctx.Err() != nil {
			return nil, 0, a.ctx.Err()
		}
		if err != nil {
			return temp, size, integrity("it cannot be read to its end: %w", err)
		}
	}
}

func outErrorAt(op string, err error) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindDisk, Op: op, Err: err, Hint: "TMPDIR names the place for temporary files"}
}

// zipPart gets at a compressed member of a zip.
func (a *Archive) zipPart(at *place) (part, error) {
	r, err := at.zip.Open()
	if err != nil {
		return part{}, err
	}
	defer r.Close()
	if at.n > maxSmall {
		temp, size, err := a.spool(r, func() int64 { return at.n })
		if err != nil {
			return part{}, err
		}
		*at = place{ra: temp, n: size}
		return part{file: temp, size: size}, nil
	}
	a.stored, err = readAll(a.stored[:0], r, at.n)
	return part{mem: a.stored, size: int64(len(a.stored))}, err
}

// readAll reads exactly n octets, and the end that follows them.
func readAll(buf []byte, r io.Reader, n int64) ([]byte, error) {
	if int64(cap(buf)) < n+1 {
		buf = make([]byte, 0, n+1)
	}
	k, err := io.ReadFull(r, buf[:n+1])
	switch {
	case err == nil:
		return buf[:k], errors.New("it is longer than the archive says")
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return buf[:k], err
	case int64(k) < n:
		return buf[:k], io.ErrUnexpectedEOF
	}
	return buf[:k], nil
}

// isBomb reports whether a member of a zip claims to be more than it can be.
func isBomb(f *zip.File) bool {
	return f.UncompressedSize64 > bombSize && f.UncompressedSize64/bombRatio > f.CompressedSize64
}
