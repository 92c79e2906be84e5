//go:build linux || darwin

package maildir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// syncBeforeClose says that only a file open for writing can be made durable.
const syncBeforeClose = false

// openRegular opens without following a symbolic link and without waiting for
// the other end of a FIFO.
func (d *osDir) openRegular(name string) (File, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := retryEINTR(func() (int, error) {
		return unix.Openat(int(d.self.Fd()), name, flags, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := &readFile{fd: fd, name: name}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, errors.Join(f.fail("stat", err), f.Close())
	}
	if f.stat = unixStat(&st); !f.stat.Mode.IsRegular() {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	return f, nil
}

// readFile is a regular file open for reading. It takes half of the system calls of
// an os.File, which asks whether it can be waited for, and stats it on its own.
type readFile struct {
	fd   int
	name string
	stat Stat // when it was opened
}

func (f *readFile) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func (f *readFile) Read(p []byte) (int, error) {
	n, err := retryEINTR(func() (int, error) { return unix.Read(f.fd, p) })
	if err == nil && n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return max(n, 0), f.fail("read", err)
}

func (f *readFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = retryEINTR(func() (int, error) { return unix.Pread(f.fd, p[n:], off+int64(n)) })
		if err == nil && k == 0 {
			err = io.EOF
		}
		n += max(k, 0)
	}
	return n, f.fail("read", err)
}

func (f *readFile) Seek(offset int64, whence int) (int64, error) {
	at, err := unix.Seek(f.fd, offset, whence)
	return at, f.fail("seek", err)
}

func (f *readFile) Stat() (Stat, error) { return f.stat, nil }

func (f *readFile) Sync() error {
	_, err := retryEINTR(func() (int, error) { return 0, syncFD(f.fd) })
	return f.fail("sync", err)
}

func (f *readFile) Close() error {
	if f.fd < 0 {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	err := unix.Close(f.fd)
	f.fd = -1
	return f.fail("close", err)
}

func (f *readFile) Write([]byte) (int, error)          { return 0, f.fail("write", unix.EBADF) }
func (f *readFile) WriteAt([]byte, int64) (int, error) { return 0, f.fail("write", unix.EBADF) }
func (f *readFile) Truncate(int64) error               { return f.fail("truncate", unix.EBADF) }

func (d *osDir) Lstat(name string) (Stat, error) {
	if err := checkName(name); err != nil {
		return Stat{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(d.self.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Stat{}, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return unixStat(&st), nil
}

func (d *osDir) Stat() (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.self.Fd()), &st); err != nil {
		return Stat{}, &fs.PathError{Op: "stat", Path: d.self.Name(), Err: err}
	}
	out := unixStat(&st)
	out.Local = isLocal(int(d.self.Fd()))
	return out, nil
}

// Sync passes over file systems that cannot sync a directory: some network and
// user-space ones say so with EINVAL, and no other call would do more.
func (d *osDir) Sync() error {
	err := d.self.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// reopen opens the directory anew: with its own reading position, and its own
// memory of write errors.
func (d *osDir) reopen() (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := retryEINTR(func() (int, error) {
		return unix.Openat(int(d.self.Fd()), ".", flags, 0)
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: d.self.Name(), Err: err}
	}
	return fd, nil
}

// linkRename renames in two steps: link fails when the target exists. A
// directory cannot be linked; it is renamed, which never replaces a directory
// that holds something.
func linkRename(d *osDir, name string, to *osDir, newName string) error {
	from, dst := int(d.self.Fd()), int(to.self.Fd())
	st, err := d.Lstat(name)
	if err != nil {
		return err
	}
	if st.Mode.IsDir() {
		if _, err := to.Lstat(newName); err == nil {
			return &fs.PathError{Op: "rename", Path: newName, Err: fs.ErrExist}
		}
		err = unix.Renameat(from, name, dst, newName)
	} else if err = unix.Linkat(from, name, dst, newName, 0); err == nil {
		err = unix.Unlinkat(from, name, 0)
	}
	if err == unix.EXDEV {
		return errCrossDevice
	}
	if err != nil {
		return &fs.PathError{Op: "rename", Path: name, Err: err}
	}
	return nil
}

// link says errNoLink for every reason that a copy does not share: the file may
// belong to somebody else, have too many names, or be on another device.
func (d *osDir) link(name string, to *osDir, newName string) error {
	err := unix.Linkat(int(d.self.Fd()), name, int(to.self.Fd()), newName, 0)
	switch err {
	case nil:
		return nil
	case unix.EXDEV, unix.EPERM, unix.EACCES, unix.EMLINK, unix.ENOSYS, unix.ENOTSUP, unix.EINVAL:
		return errNoLink
	}
	return &fs.PathError{Op: "link", Path: name, Err: err}
}

func retryEINTR(fn func() (int, error)) (int, error) {
	for {
		n, err := fn()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func unixStat(st *unix.Stat_t) Stat {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	if st.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return Stat{
		Dev: uint64(st.Dev), Ino: uint64(st.Ino), Size: st.Size, Mode: mode, UID: int(st.Uid),
		Mtime: time.Unix(st.Mtim.Unix()), Ctime: time.Unix(st.Ctim.Unix()),
	}
}

func statOf(info os.FileInfo) Stat {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Stat{Size: info.Size(), Mode: info.Mode(), Mtime: info.ModTime(), UID: -1}
	}
	return Stat{
		Dev: uint64(st.Dev), Ino: st.Ino, Size: info.Size(), Mode: info.Mode(), Mtime: info.ModTime(), UID: int(st.Uid),
	}
}

func effectiveUID() int { return os.Geteuid() }
