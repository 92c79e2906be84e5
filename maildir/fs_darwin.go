package maildir

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// renameNoReplace is renameatx_np with RENAME_EXCL, or link and unlink on file
// systems that do not know it.
func (d *osDir) renameNoReplace(name string, to *osDir, newName string) error {
	err := unix.RenameatxNp(int(d.self.Fd()), name, int(to.self.Fd()), newName, unix.RENAME_EXCL)
	switch {
	case err == nil:
		return nil
	case err == unix.EXDEV:
		return errCrossDevice
	case err == unix.ENOTSUP || err == unix.EINVAL || err == unix.ENOSYS:
		return linkRename(d, name, to, newName)
	}
	return &fs.PathError{Op: "rename", Path: name, Err: err}
}

// Names reads the directory in chunks.
func (d *osDir) Names(fn func([]byte, fs.FileMode) error) error {
	fd, err := d.reopen()
	if err != nil {
		return err
	}
	return readNames(os.NewFile(uintptr(fd), d.self.Name()), fn)
}

// isLocal cannot tell here: the timestamps themselves must.
func isLocal(int) bool { return true }

// Flush is not available: sync(2) does not wait and tells of no error.
func (d *osDir) Flush() error { return errNoFlush }

// syncFD makes a file durable, as os.File.Sync does it: fsync(2) of macOS leaves the
// drive's cache as it is. A file system that knows only that has to do with it.
func syncFD(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
	if err == unix.ENOTSUP || err == unix.ENOTTY {
		err = unix.Fsync(fd)
	}
	return err
}
