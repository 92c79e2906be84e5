//go:build !unix

package maildir

import (
	"io/fs"
	"syscall"
)

// The system's reasons, by what they mean for a message on its way to disk.
// 112 is ERROR_DISK_FULL, 39 ERROR_HANDLE_DISK_FULL, 19 ERROR_WRITE_PROTECT,
// 4 ERROR_TOO_MANY_OPEN_FILES, 223 ERROR_FILE_TOO_LARGE, 206
// ERROR_FILENAME_EXCED_RANGE, 123 ERROR_INVALID_NAME, 1117 ERROR_IO_DEVICE, 87
// ERROR_INVALID_PARAMETER.
var (
	errsFull     = []error{syscall.Errno(112), syscall.Errno(39)}
	errsTooLarge = []error{syscall.Errno(223)}
	errsIO       = []error{syscall.Errno(19), syscall.Errno(1117)}
	errsBusy     = []error{syscall.Errno(4)}
	errsName     = []error{syscall.Errno(206), syscall.Errno(123)}
	errsBadTime  = []error{syscall.Errno(87)}
	// errsOdd are how a file system refuses a character of a name.
	errsOdd = []error{fs.ErrInvalid, fs.ErrNotExist, syscall.Errno(123)}
)
