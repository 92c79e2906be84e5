//go:build unix && !solaris && !aix

package monitor

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lockDir keeps other processes from updating files in a directory until unlock is
// called. When ctx ends first it goes on without.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break // taken, or the filesystem has no locks
		}
		select {
		case <-ctx.Done():
			return func() { f.Close() }, nil
		case <-time.After(10 * time.Millisecond):
		}
	}
	return func() { f.Close() }, nil // which lets go of the lock
}

// syncDir makes a rename in a directory durable. Some filesystems cannot.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
