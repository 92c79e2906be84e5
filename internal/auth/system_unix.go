//go:build unix

package auth

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// openSecret opens without waiting for the writer of a pipe.
func openSecret(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func checkPrivate(info os.FileInfo, forbidden os.FileMode, what string) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return private(fmt.Sprintf("belongs to another user (uid %d)", stat.Uid), "")
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return private(fmt.Sprintf("can %s by other users (mode %04o)", what, mode), "chmod 600 it")
	}
	return nil
}

// prepare gives the command our terminal, or a process group of its own that
// can be ended as a whole.
func prepare(cmd *exec.Cmd, inherit bool) {
	if inherit {
		cmd.Stdin = os.Stdin
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
