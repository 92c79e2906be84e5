package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"postbag/internal/demo"
)

// The floor is what a durable backup takes when there is no server, no state and
// nothing to find out: messages from memory into files, in batches of the size
// that postbag has.
const floorBatch = 500

// spooled writes the messages that pass to a file, for the floor: the octets of
// each, in the form in which a Maildir has them, behind their number.
func spooled(tb testing.TB, path string, samples iter.Seq[demo.Sample]) iter.Seq[demo.Sample] {
	return func(yield func(demo.Sample) bool) {
		f, err := os.Create(path)
		if err != nil {
			tb.Fatal(err)
		}
		w := bufio.NewWriterSize(f, 1<<20)
		for s := range samples {
			body := stored(s.Raw)
			err = errors.Join(binary.Write(w, binary.LittleEndian, uint32(len(body))), second(w.Write(body)))
			if err != nil {
				tb.Fatal(err)
			}
			if !yield(s) {
				break
			}
		}
		if err := errors.Join(w.Flush(), f.Close()); err != nil {
			tb.Fatal(err)
		}
	}
}

func second(_ int, err error) error { return err }

// stored is a message with line ends of one octet.
func stored(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i, c := range raw {
		if c == '\r' && i+1 < len(raw) && raw[i+1] == '\n' {
			continue
		}
		out = append(out, c)
	}
	return out
}

// floorRole writes a spool's messages into the mailboxes of a new tree, one
// after another, durably: files in tmp/, syncfs, renames, fsync of the directory.
func floorRole(args []string) error {
	spool, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	boxes, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	for box, rest := 0, spool; len(rest) > 0; box = (box + 1) % boxes {
		dir := filepath.Join(args[1], fmt.Sprint(box))
		if rest, err = floorWrite(dir, rest); err != nil {
			return err
		}
	}
	return nil
}

// floorWrite writes one batch, and answers with what is left of the spool.
func floorWrite(dir string, spool []byte) ([]byte, error) {
	tmp, cur := filepath.Join(dir, "tmp"), filepath.Join(dir, "cur")
	if err := errors.Join(os.MkdirAll(tmp, 0o700), os.MkdirAll(cur, 0o700)); err != nil {
		return nil, err
	}
	d, err := os.Open(cur)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	for len(spool) > 0 && len(names) < floorBatch {
		if len(spool) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := binary.LittleEndian.Uint32(spool)
		name := fmt.Sprintf("%d.bench:2,S", len(spool))
		if err := os.WriteFile(filepath.Join(tmp, name), spool[4:4+n], 0o600); err != nil {
			return nil, err
		}
		names, spool = append(names, name), spool[4+n:]
	}
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(tmp, name), filepath.Join(cur, name)); err != nil {
			return nil, err
		}
	}
	return spool, d.Sync()
}
