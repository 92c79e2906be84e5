//go:build unix

package maildir

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

func setUmask(mask int) (restore func()) {
	old := syscall.Umask(mask)
	return func() { syscall.Umask(old) }
}

func makeFIFO(path string) { syscall.Mkfifo(path, 0o600) }

// dropRoot lets a command run as nobody, who then owns dir: Dovecot refuses to
// read root's mail.
func dropRoot(cmd *exec.Cmd, dirs ...string) error {
	const nobody = 65534
	if os.Geteuid() != 0 {
		return nil
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				err = os.Lchown(path, nobody, nobody)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
