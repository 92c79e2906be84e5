//go:build !unix

package maildir

import "os"

// processGone reports whether no process has this number.
func processGone(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return true
	}
	_ = p.Release() // nothing was done with it
	return false
}
