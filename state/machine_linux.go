package state

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// bootID differs after each start of the machine; "" when it is not known.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// remoteTypes are the filesystems whose files other machines may have open:
// those of statfs(2), and FUSE, which is sshfs more often than not.
var remoteTypes = []uint32{
	unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.AFS_SUPER_MAGIC,
	unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.NCP_SUPER_MAGIC, unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC,
	unix.FUSE_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC, 0x01161970, // GFS2
}

// remote reports whether path is on a network filesystem. When that cannot be
// found out it is taken for one: rollback mode is right everywhere.
func remote(path string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return true
	}
	return slices.Contains(remoteTypes, uint32(st.Type))
}
