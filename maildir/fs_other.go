//go:build !linux && !darwin

package maildir

import (
	"io/fs"
	"os"
)

// syncBeforeClose says that only a file open for writing can be made durable.
const syncBeforeClose = true

// openRegular compares what was opened with what was there under the name:
// os.Root would follow a symbolic link that stays inside.
func (d *osDir) openRegular(name string) (File, error) {
	before, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	return osFile{f}, nil
}

func (d *osDir) Lstat(name string) (Stat, error) {
	if err := checkName(name); err != nil {
		return Stat{}, err
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return Stat{}, err
	}
	return statOf(info), nil
}

func (d *osDir) Stat() (Stat, error) {
	info, err := d.self.Stat()
	if err != nil {
		return Stat{}, err
	}
	st := statOf(info)
	st.Local = true // the timestamps themselves must tell
	return st, nil
}

// Names reads the directory in chunks.
func (d *osDir) Names(fn func([]byte, fs.FileMode) error) error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return readNames(f, fn)
}

// renameNoReplace links and unlinks: link fails when the target exists. A
// directory, and a file where there are no links, is renamed after a look.
func (d *osDir) renameNoReplace(name string, to *osDir, newName string) error {
	if d.root.Name() == to.root.Name() && linkable(d, name) {
		err := d.root.Link(name, newName)
		if err == nil {
			return d.root.Remove(name)
		}
		if os.IsExist(err) {
			return err
		}
	}
	if _, err := to.root.Lstat(newName); err == nil {
		return &fs.PathError{Op: "rename", Path: newName, Err: fs.ErrExist}
	}
	return os.Rename(d.self.Name()+string(pathSeparator)+name, to.self.Name()+string(pathSeparator)+newName)
}

// link leaves it to a copy.
func (d *osDir) link(string, *osDir, string) error { return errNoLink }

func linkable(d *osDir, name string) bool {
	st, err := d.Lstat(name)
	return err == nil && st.Mode.IsRegular()
}

// Sync does nothing: these systems cannot flush a directory, and order its
// changes themselves.
func (d *osDir) Sync() error { return nil }

// Flush is not available.
func (d *osDir) Flush() error { return errNoFlush }

func statOf(info os.FileInfo) Stat {
	return Stat{Size: info.Size(), Mode: info.Mode(), Mtime: info.ModTime(), UID: -1}
}

func effectiveUID() int { return -1 }
