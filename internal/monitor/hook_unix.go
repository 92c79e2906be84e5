//go:build unix

package monitor

import (
	"os/exec"
	"syscall"
)

// own makes the command the first of a process group, which ends as a whole: a
// Ctrl-C at the terminal is for the run, and a limit for all that a hook started.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
