//go:build !unix

package maildir

import "os/exec"

func setUmask(int) (restore func()) { return func() {} }

func makeFIFO(string) {}

func dropRoot(*exec.Cmd, ...string) error { return nil }
