//go:build unix

package maildir

import "syscall"

// The system's reasons, by what they mean for a message on its way to disk.
var (
	errsFull     = []error{syscall.ENOSPC, syscall.EDQUOT}
	errsTooLarge = []error{syscall.EFBIG}
	errsIO       = []error{syscall.EIO, syscall.EROFS, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE}
	errsBusy     = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN}
	errsName     = []error{syscall.ENAMETOOLONG, syscall.EILSEQ}
	errsBadTime  = []error{syscall.EINVAL, syscall.ERANGE, syscall.EOVERFLOW}
)
