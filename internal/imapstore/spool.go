package imapstore

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"postbag/internal/mail"
)

// What uploads hold in memory, those of all mailboxes of an account together. Larger
// messages, and those beyond the budget, wait in a file that only this process can
// open.
const (
	memoryMessage = 1 << 20
	memoryBudget  = 16 << 20
)

// memory is how much of the budget is taken.
type memory struct {
	mu   sync.Mutex
	used int64
}

// take reports whether n octets may be held in memory.
func (m *memory) take(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used+n > memoryBudget {
		return false
	}
	m.used += n
	return true
}

func (m *memory) give(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
}

// spool holds the messages of one batch until they are sent.
type spool struct {
	dir    string
	memory *memory

	mu   sync.Mutex
	held int64    // of memory
	file *os.File // nil until needed
	end  int64    // of what is reserved in file
	path string   // of file, where it could not be unlinked while open
}

// piece is one message in a spool.
type piece struct {
	spool  *spool
	data   []byte // or
	offset int64  // in the file
	size   int64
}

// open reads the piece. It may be read several times.
func (p *piece) open() io.Reader {
	if p.data != nil || p.size == 0 {
		return bytes.NewReader(p.data)
	}
	return io.NewSectionReader(p.spool.file, p.offset, p.size)
}

// errLength is the reason when a body is not as long as it was said to be.
type errLength struct{ got, want int64 }

func (e *errLength) Error() string {
	return fmt.Sprintf("the message has %d octets where %d were announced", e.got, e.want)
}

// add reads body to its end; size is -1 when it is not known. Errors of body are
// returned as they are.
func (s *spool) add(size int64, body io.Reader) (*piece, error) {
	if size < 0 {
		return s.addUnknown(body)
	}
	if size <= memoryMessage && s.reserve(size) {
		data := make([]byte, size)
		n, err := io.ReadFull(body, data)
		if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
			err = atEnd(body, int64(n), size)
		}
		if err != nil {
			s.unreserve(size)
			return nil, err
		}
		return &piece{spool: s, data: data, size: size}, nil
	}
	offset, err := s.grow(size)
	if err != nil {
		return nil, err
	}
	w := &diskWriter{w: io.NewOffsetWriter(s.file, offset)}
	n, err := io.Copy(w, io.LimitReader(body, size))
	if w.err != nil {
		return nil, diskError(w.err)
	}
	if err == nil {
		err = atEnd(body, n, size)
	}
	if err != nil {
		return nil, err
	}
	return &piece{spool: s, offset: offset, size: size}, nil
}

// atEnd checks that body ends here, and that it gave as much as it should: only
// io.EOF is a proof that the message is complete.
func atEnd(body io.Reader, got, want int64) error {
	var one [1]byte
	for {
		n, err := body.Read(one[:])
		got += int64(n)
		switch {
		case err == io.EOF && got == want:
			return nil
		case err == io.EOF || err == nil && n > 0:
			return &errLength{got, want}
		case err != nil:
			return err
		}
	}
}

// addUnknown takes in a body of unknown size: into memory when it is short, else
// at the end of the file, one at a time.
func (s *spool) addUnknown(body io.Reader) (*piece, error) {
	head, err := io.ReadAll(io.LimitReader(body, memoryMessage+1))
	if err != nil {
		return nil, err
	}
	if len(head) <= memoryMessage {
		return s.add(int64(len(head)), bytes.NewReader(head))
	}
	if _, err := s.grow(0); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	offset := s.end
	w := &diskWriter{w: io.NewOffsetWriter(s.file, offset)}
	n, err := io.Copy(w, io.MultiReader(bytes.NewReader(head), body))
	if w.err != nil {
		return nil, diskError(w.err)
	}
	if err != nil {
		return nil, err
	}
	s.end = offset + n
	return &piece{spool: s, offset: offset, size: n}, nil
}

// diskWriter keeps errors of writing apart from those of reading.
type diskWriter struct {
	w   io.Writer
	err error
}

func (d *diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

func (s *spool) reserve(n int64) bool {
	if !s.memory.take(n) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += n
	return true
}

func (s *spool) unreserve(n int64) {
	s.memory.give(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held -= n
}

// grow makes the file if need be, and reserves n octets at its end.
func (s *spool) grow(n int64) (offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "postbag-*") // mode 0600
		if err != nil {
			return 0, diskError(err)
		}
		s.file = f
		if os.Remove(f.Name()) != nil {
			s.path = f.Name() // Windows does not unlink open files
		}
	}
	offset = s.end
	s.end += n
	return offset, nil
}

// close throws everything away.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.give(s.held)
	s.held = 0
	if s.file == nil {
		return
	}
	// Nothing in it is needed any more, so errors do not matter.
	s.file.Close()
	if s.path != "" {
		os.Remove(s.path)
	}
	s.file = nil
}

func diskError(err error) error {
	return &mail.Error{
		Scope: mail.ScopeAccount, Kind: mail.KindDisk, Op: "spool", Err: err,
		Hint: "uploads wait in the directory for temporary files: make room there, or name another one",
	}
}
