//go:build unix && !solaris && !illumos && !aix

package export

import (
	"errors"
	"os"
	"syscall"

	"postbag/internal/mail"
)

// noFollow keeps the part from being a symbolic link that somebody else laid.
const noFollow = syscall.O_NOFOLLOW

// lockPart takes the lock on a part, and refuses one that is another user's.
func lockPart(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return outError(err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() || !info.Mode().IsRegular() && !info.IsDir() {
		return usage("remove it, or write elsewhere", "%s belongs to somebody else", f.Name())
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindLocked, Op: f.Name(), Err: errors.New("another postbag is at work there"), Hint: "wait until it is done"}
	}
	return nil // some network file systems have no locks: then nothing keeps two apart
}
