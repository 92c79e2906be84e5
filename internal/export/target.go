package export

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"postbag/internal/mail"
)

// An archive is written beside its final name, under one that begins with a dot,
// and gets its name when all of it is on the disk: a crash leaves the archive that
// was there before, and the part, which the next export to that name removes. Two
// exports to one name keep apart by a lock on the part.

const partEnding = ".postbag-part"

// staged is a file or a folder under way.
type staged struct {
	path string   // where it is to be
	part string   // where it is
	file *os.File // of a folder: the lock
	dir  bool
	over bool
}

func partOf(path string) string {
	base := filepath.Base(path)
	return filepath.Join(filepath.Dir(path), "."+base[:min(len(base), 200)]+partEnding)
}

// stageFile begins a file that shall be at path, in place of one that may be there.
func stageFile(path string) (*staged, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	s := &staged{path: path, part: partOf(path)}
	var err error
	if s.file, err = lockFile(s.part); err != nil {
		return nil, err
	}
	return s, outError(s.file.Truncate(0))
}

// lockFile opens a file, made when there is none, and holds the lock on it.
func lockFile(path string) (*os.File, error) {
	for range 10 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
		if err != nil {
			return nil, outError(err)
		}
		if err := lockPart(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if isAt(path, f) {
			return f, nil
		}
		f.Close() // another one had it, and is done
	}
	return nil, outError(fmt.Errorf("%s is taken again and again", path))
}

// isAt reports whether f is what lies at path.
func isAt(path string, f *os.File) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// Lock keeps two processes from doing one thing at the same time: until it is
// closed, another Lock of the path is an error of KindLocked. The file is removed
// with it. Where the system has no such locks nobody is kept from anything.
func Lock(path string) (io.Closer, error) {
	f, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	return lock{f}, nil
}

type lock struct{ *os.File }

// Close removes the file before it gives the lock back.
func (l lock) Close() error {
	if runtime.GOOS == "windows" {
		return errors.Join(l.File.Close(), os.Remove(l.Name()))
	}
	return errors.Join(os.Remove(l.Name()), l.File.Close())
}

// stageDir begins a folder that shall be at path, where there is nothing or an
// empty folder.
func stageDir(path string) (*staged, error) {
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return nil, usage("name a new folder, or empty this one", "the folder %s is not empty", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, outError(err)
	}
	s := &staged{path: path, part: partOf(path), dir: true}
	for range 10 {
		if err := os.Mkdir(s.part, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, outError(err)
		}
		f, err := os.Open(s.part)
		if err != nil {
			return nil, outError(err)
		}
		if err := lockPart(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if isAt(s.part, f) {
			s.file = f
			return s, s.clear()
		}
		f.Close()
	}
	return nil, outError(fmt.Errorf("%s is taken by another export again and again", s.part))
}

// clear removes what an export that was cut off left in the part.
func (s *staged) clear() error {
	entries, err := os.ReadDir(s.part)
	if err != nil {
		return outError(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.part, e.Name())); err != nil {
			return outError(err)
		}
	}
	return nil
}

// commit makes all of it durable and gives it its name.
func (s *staged) commit() error {
	var err error
	if s.dir {
		err = syncTree(s.part)
		if err == nil {
			if err = os.Remove(s.path); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	} else {
		err = s.file.Sync()
	}
	if err == nil && runtime.GOOS == "windows" { // which renames nothing that is open
		err = s.file.Close()
	}
	if err == nil {
		err = os.Rename(s.part, s.path)
	}
	if err != nil {
		s.abort()
		return outError(err)
	}
	s.over = true
	if err = s.file.Close(); errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return outError(errors.Join(err, syncDir(filepath.Dir(s.path))))
}

// abort removes what was written. It does nothing after commit.
func (s *staged) abort() {
	if s.over {
		return
	}
	s.over = true
	if runtime.GOOS == "windows" {
		s.file.Close()
	}
	if s.dir {
		os.RemoveAll(s.part)
	} else {
		os.Remove(s.part)
	}
	s.file.Close() // gives back the lock
}

// syncDir makes the names in a directory durable, where the system can.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrPermission) {
		err = nil // directories cannot be synced there
	}
	return errors.Join(err, d.Close())
}

// outError is what went wrong with the archive: it ends the export.
func outError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*mail.Error](err); ok {
		return e
	}
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindDisk, Op: "archive", Err: err,
		Hint: "nothing was left under the archive's name that is not whole"}
}

// tempFile is a file without a name, where the system allows that.
type tempFile struct{ *os.File }

// newTemp makes one in dir, or with "" where temporary files are.
func newTemp(dir string) (*tempFile, error) {
	f, err := os.CreateTemp(dir, ".postbag-temp-")
	if err != nil {
		return nil, outError(err)
	}
	os.Remove(f.Name()) // fails on Windows while it is open: then Close does it
	return &tempFile{f}, nil
}

// Close removes the file.
func (t *tempFile) Close() error {
	err := t.File.Close()
	os.Remove(t.Name())
	return err
}
