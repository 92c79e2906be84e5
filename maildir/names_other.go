//go:build !linux

package maildir

import (
	"io"
	"io/fs"
	"os"
)

// readNames is Names where the system has nothing faster. It closes f.
func readNames(f *os.File, fn func([]byte, fs.FileMode) error) error {
	defer f.Close()
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if err := fn([]byte(e.Name()), e.Type()); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
