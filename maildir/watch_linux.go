package maildir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// inotify is nameWatch with inotify(7).
type inotify struct {
	fd  int
	buf []byte
}

const (
	nameCame = unix.IN_CREATE | unix.IN_MOVED_TO
	nameWent = unix.IN_DELETE | unix.IN_MOVED_FROM
)

// watchNames fails where a user has no more watches to give, or in a sandbox.
func (osFS) watchNames() (nameWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &inotify{fd: fd, buf: make([]byte, 16<<10)}, nil
}

var errNoWatch = errors.New("this directory cannot be watched")

// add takes the directory by its descriptor: its path may lead elsewhere by now.
func (w *inotify) add(d Dir) (int, error) {
	o, ok := d.(*osDir)
	if !ok || !isLocal(int(o.self.Fd())) {
		return 0, errNoWatch
	}
	n, err := unix.InotifyAddWatch(w.fd, "/proc/self/fd/"+strconv.Itoa(int(o.self.Fd())),
		nameCame|nameWent|unix.IN_ONLYDIR|unix.IN_DELETE_SELF)
	return n, os.NewSyscallError("inotify_add_watch", err)
}

func (w *inotify) read(fn func(dir int, name []byte, sign int64), lost func(dir int)) error {
	for {
		n, err := retryEINTR(func() (int, error) { return unix.Read(w.fd, w.buf) })
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		eachEvent(w.buf[:n], fn, lost)
		if n == 0 {
			return nil
		}
	}
}

// eachEvent walks struct inotify_event: watch (4), mask (4), cookie (4), length of the
// name (4), name, filled up with NUL.
func eachEvent(buf []byte, fn func(dir int, name []byte, sign int64), lost func(dir int)) {
	const header = 16
	for len(buf) >= header {
		dir := int(int32(binary.NativeEndian.Uint32(buf)))
		mask := binary.NativeEndian.Uint32(buf[4:])
		end := header + int(binary.NativeEndian.Uint32(buf[12:]))
		if end < header || end > len(buf) {
			break
		}
		name := buf[header:end]
		buf = buf[end:]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			lost(-1)
		case mask == mask&nameCame && mask != 0:
			fn(dir, name, 1)
		case mask == mask&nameWent && mask != 0:
			fn(dir, name, -1)
		default: // a directory in the directory, or the end of it
			lost(dir)
		}
	}
	if len(buf) > 0 {
		lost(-1)
	}
}

func (w *inotify) close() error { return os.NewSyscallError("close", unix.Close(w.fd)) }
