package auth

import (
	"fmt"
	"io"
	"os"
	"time"

	"postbag/internal/mail"
)

// readFile reads a secret from a file that nobody else may read, or from a pipe
// (a shell's <(command) is one).
func readFile(path string, patience time.Duration) (string, error) {
	f, err := openSecret(path)
	if err != nil {
		if pathErr, ok := err.(*os.PathError); ok {
			err = pathErr.Err // the source's name holds the path
		}
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	switch {
	case info.Mode().IsRegular():
		if err := CheckPrivate(info, true); err != nil {
			return "", err
		}
	case info.Mode()&os.ModeNamedPipe != 0:
		// A pipe that cannot be given a deadline could hold us for ever.
		if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return "", fmt.Errorf("cannot be read with a time limit: %w", err)
		}
	default:
		return "", fmt.Errorf("is no regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxSecret+3))
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// CheckPrivate checks that a file belongs to this user (or to root), that
// nobody else can change it, and, when secret is set, that nobody else can read
// it. Where files have no such permissions it checks nothing.
func CheckPrivate(info os.FileInfo, secret bool) error {
	forbidden, what := os.FileMode(0o022), "be changed"
	if secret {
		forbidden, what = 0o077, "be read"
	}
	return checkPrivate(info, forbidden, what)
}

func private(why, hint string) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Err: fmt.Errorf("%s", why), Hint: hint}
}
