package maildir

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"
)

const pathSeparator = os.PathSeparator

// osDir is a Dir of the real file system. root confines every operation; self
// is the same directory as a file, for the system calls that os.Root lacks.
type osDir struct {
	root *os.Root
	self *os.File
}

// openOSRoot opens the directory at path as a Dir. The path itself may lead
// through symbolic links: it is the user's word.
func openOSRoot(path string) (Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return newOSDir(root)
}

func newOSDir(root *os.Root) (*osDir, error) {
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &osDir{root: root, self: self}, nil
}

func (d *osDir) Close() error {
	return errors.Join(d.self.Close(), d.root.Close())
}

// OpenDir compares what was opened with what was there under the name: os.Root
// would follow a symbolic link that stays inside.
func (d *osDir) OpenDir(name string) (Dir, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotDir}
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	sub, err := newOSDir(root)
	if err != nil {
		return nil, err
	}
	after, err := sub.self.Stat()
	if err == nil && !os.SameFile(before, after) {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotDir}
	}
	if err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

func (d *osDir) Open(name string) (File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return d.openRegular(name)
}

func (d *osDir) Create(name string) (File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	// A umask may take away the owner's bits, too.
	if info, err := f.Stat(); err == nil && info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		if err := f.Chmod(0o600); err != nil {
			f.Close()
			d.root.Remove(name)
			return nil, err
		}
	}
	return osFile{f}, nil
}

func (d *osDir) Mkdir(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := d.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	if info, err := d.root.Lstat(name); err == nil && info.Mode().Perm() != 0o700 && runtime.GOOS != "windows" {
		return d.root.Chmod(name, 0o700)
	}
	return nil
}

func (d *osDir) Rename(name string, to Dir, newName string) error {
	dst, ok := to.(*osDir)
	if !ok {
		return errCrossDevice
	}
	if err := errors.Join(checkName(name), checkName(newName)); err != nil {
		return err
	}
	return d.renameNoReplace(name, dst, newName)
}

func (d *osDir) Link(name string, to Dir, newName string) error {
	dst, ok := to.(*osDir)
	if !ok {
		return errNoLink
	}
	if err := errors.Join(checkName(name), checkName(newName)); err != nil {
		return err
	}
	return d.link(name, dst, newName)
}

func (d *osDir) Replace(name, newName string) error {
	if err := errors.Join(checkName(name), checkName(newName)); err != nil {
		return err
	}
	return d.root.Rename(name, newName)
}

func (d *osDir) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return d.root.Remove(name)
}

func (d *osDir) SetTime(name string, mtime time.Time) error {
	if err := checkName(name); err != nil {
		return err
	}
	return d.root.Chtimes(name, time.Time{}, mtime)
}

// osFile is a File of the real file system.
type osFile struct{ *os.File }

func (f osFile) Stat() (Stat, error) {
	info, err := f.File.Stat()
	if err != nil {
		return Stat{}, err
	}
	return statOf(info), nil
}
