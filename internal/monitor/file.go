package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxFile bounds the size of a file that is read to be updated, in octets.
const maxFile = 64 << 20

// patience is how long to wait for another process that updates the same file. It
// takes milliseconds; one that is stopped in the middle must not stop this one.
const patience = 5 * time.Second

// update replaces the file at path by what change makes of its content, which is
// nil when there is none. A new file gets the permissions that the umask leaves of
// 0666, one that is replaced keeps its own. The new content is on the disk before
// it gets the name; a crash leaves the old file or the new one, and at most a
// hidden file beside it, which the next update removes.
func update(path string, change func(old []byte) ([]byte, error)) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir, base := filepath.Split(path)
	dir = filepath.Clean(dir)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	unlock, err := lockDir(ctx, dir)
	if err != nil {
		return bare(err)
	}
	defer unlock()
	old, mode, err := readOld(path)
	if err != nil {
		return err
	}
	text, err := change(old)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "."+base+".new") // no *.prom, which node_exporter would read
	if err := write(temp, text, mode); err != nil {
		return bare(err)
	}
	if err := os.Rename(temp, path); err != nil {
		_ = os.Remove(temp) // the error that counts is told
		return bare(err)
	}
	return bare(syncDir(dir))
}

// write makes a file that is on the disk, in place of one that a crash left. A mode
// of 0 is what the umask leaves.
func write(temp string, text []byte, mode fs.FileMode) (err error) {
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil && mode != 0 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(temp) // the error that counts is told
	}
	return err
}

// readOld reads a file and its permissions; both are zero when there is none.
func readOld(path string) ([]byte, fs.FileMode, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, bare(err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, bare(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, bare(err)
	}
	if len(text) > maxFile {
		return nil, 0, fmt.Errorf("is larger than %d octets", maxFile)
	}
	return text, info.Mode().Perm(), nil
}

// bare takes the path out of a file error: the caller shows it.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
