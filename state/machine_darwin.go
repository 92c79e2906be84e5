package state

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// bootID differs after each start of the machine; "" when it is not known.
func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

// remote reports whether path is on a network filesystem. When that cannot be
// found out it is taken for one: rollback mode is right everywhere.
func remote(path string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return true
	}
	return st.Flags&unix.MNT_LOCAL == 0
}
