//go:build unix

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// noFollow makes an open fail on a symbolic link.
const noFollow = unix.O_NOFOLLOW

// tryLock locks f for this process alone, or answers errHeld. The lock belongs
// to the open file (flock), so that closing another descriptor of the file does
// not lose it, as it would a POSIX record lock.
func tryLock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errHeld
		default:
			return err
		}
	}
}

func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// alive reports whether there is a process with this ID.
func alive(pid int) bool {
	return pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// private refuses what other users could have put there or may change: they
// would decide what the next run believes.
func private(path string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	me := os.Geteuid()
	switch mode := info.Mode(); {
	case mode.IsDir():
		// Those who own a directory can replace what is in it. Root works in
		// directories of others at its own risk.
		if int(st.Uid) != me && st.Uid != 0 && me != 0 {
			return usage("", "the directory %s belongs to user %d", path, st.Uid)
		}
		if mode&0o002 != 0 {
			return usage("chmod o-w, or keep the state elsewhere", "everybody can write to the directory %s", path)
		}
	case int(st.Uid) != me:
		return usage("run as that user, or move it away", "%s belongs to user %d", path, st.Uid)
	case mode&0o022 != 0:
		return usage("chmod go-w, if you trust what is in it", "other users can write to %s", path)
	}
	return nil
}

// syncDir makes the names in a directory durable. A filesystem that cannot is
// left at that.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("sync %s: %w", dir, err)
	}
	return errors.Join(err, f.Close())
}
