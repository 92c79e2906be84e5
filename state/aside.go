package state

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// SetAside gives a state file, damaged or not, another name beside its own, with
// what belongs to it, and answers with that name; "" when there was none. Nothing is
// deleted. It takes the lock for that, so that no run has the file open. What belongs
// to it goes first: a log that stayed behind would be taken for that of a new file. A
// crash in between leaves the file without its last commits.
func SetAside(ctx context.Context, path string, o Options) (string, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	name, err := setAside(ctx, path, o)
	if err != nil {
		return "", openError(path, err)
	}
	return name, nil
}

func setAside(ctx context.Context, path string, o Options) (name string, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err := checkDir(filepath.Dir(path)); err != nil {
		return "", err
	}
	lock, err := takeLock(ctx, path+lockSuffix, newOwner(o))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	name = path + "." + o.Now().UTC().Format("20060102T150405Z")
	for {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			break
		}
		name += "+"
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal", ""} {
		if err := os.Rename(path+suffix, name+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return name, syncDir(filepath.Dir(path))
}
