//go:build unix

package maildir

import (
	"errors"
	"syscall"
)

// processGone reports whether no process has this number.
func processGone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
