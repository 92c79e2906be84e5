//go:build !unix

package auth

import (
	"os"
	"os/exec"
)

func openSecret(path string) (*os.File, error) { return os.Open(path) }

// checkPrivate checks nothing: the permission bits say nothing here.
func checkPrivate(os.FileInfo, os.FileMode, string) error { return nil }

func prepare(cmd *exec.Cmd, inherit bool) {
	if inherit {
		cmd.Stdin = os.Stdin
	}
}
