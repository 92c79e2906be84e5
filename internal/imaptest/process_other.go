//go:build !linux

package imaptest

import (
	"errors"
	"os"
	"os/exec"
)

// Where there is no /proc, Dovecot's processes are left to notice that their
// master is gone, which they do.
func ownGroup(*exec.Cmd) {}

// Servers in a root of their own are started on Linux only.
func changeRoot(*exec.Cmd, string) {}

func makeDevices(string) error { return errors.ErrUnsupported }

func killTree(p *os.Process) { _ = p.Kill() }

func killRooted(string) {}

func killSessions(*os.Process) {}

func freeOctets(string) uint64 { return 0 }
