//go:build unix

package maildir

import "syscall"

func setUmask(mask int) (restore func()) {
	old := syscall.Umask(mask)
	return func() { syscall.Umask(old) }
}

func makeFIFO(path string) { syscall.Mkfifo(path, 0o600) }
