package imaptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownGroup makes a command the leader of a process group, and lets the kernel
// kill it when the test dies. Processes that it leaves behind become children of
// the test, which can then wait for them: init may take its time.
func ownGroup(cmd *exec.Cmd) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // without it they are init's
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// changeRoot lets a command run with another root.
func changeRoot(cmd *exec.Cmd, root string) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Chroot = root
}

// makeDevices makes the devices that a server cannot do without.
func makeDevices(dir string) error {
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "random": 8, "urandom": 9} {
		path := filepath.Join(dir, name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// killTree kills a process and its descendants, wherever they moved to, and
// waits until the descendants are gone. The caller waits for the process.
func killTree(p *os.Process) {
	children := descendants(p.Pid)
	// A process that has ended meanwhile is what is wanted: errors say no more.
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
	children = append(children, descendants(p.Pid)...)
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range children {
		awaitEnd(pid)
	}
}

// killRooted kills the processes whose root is a directory, and waits until they are
// gone: servers start some that are no descendants of theirs any more.
func killRooted(root string) {
	links, err := filepath.Glob("/proc/[0-9]*/root")
	if err != nil {
		return
	}
	for _, link := range links {
		if at, err := os.Readlink(link); err != nil || at != root {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		awaitEnd(pid)
	}
}

// awaitEnd waits until a process is gone.
func awaitEnd(pid int) {
	for range 200 {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // fails until it is ours
		if state, _ := stat(pid); state == "" {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// killSessions kills the descendants whose program is imap.
func killSessions(p *os.Process) {
	for _, pid := range descendants(p.Pid) {
		if exe, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(string(exe)) == "imap" {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// descendants are the processes below pid, as /proc has them now.
func descendants(pid int) []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	below := map[int][]int{}
	for _, path := range stats {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		if _, parent := stat(child); parent > 0 {
			below[parent] = append(below[parent], child)
		}
	}
	var all []int
	for next := below[pid]; len(next) > 0; next = next[1:] {
		all = append(all, next[0])
		next = append(next, below[next[0]]...)
	}
	return all
}

// stat is the state and the parent of a process; "" when it is gone.
func stat(pid int) (state string, parent int) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name may hold blanks
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1]) // a number, as proc(5) has it
	return fields[0], parent
}

// freeOctets is the room on the filesystem of a directory; 0 when it cannot be
// told.
func freeOctets(dir string) uint64 {
	var fs unix.Statfs_t
	if unix.Access(dir, unix.W_OK|unix.X_OK) != nil || unix.Statfs(dir, &fs) != nil {
		return 0
	}
	return fs.Bavail * uint64(fs.Bsize)
}
