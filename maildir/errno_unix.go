//go:build unix

package maildir

import (
	"io/fs"
	"syscall"
)

// The system's reasons, by what they mean for a message on its way to disk.
var (
	errsFull     = []error{syscall.ENOSPC, syscall.EDQUOT}
	errsTooLarge = []error{syscall.EFBIG}
	errsIO       = []error{syscall.EIO, syscall.EROFS, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE}
	errsBusy     = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN}
	errsName     = []error{syscall.ENAMETOOLONG, syscall.EILSEQ}
	errsBadTime  = []error{syscall.EINVAL, syscall.ERANGE, syscall.EOVERFLOW}
	// errsOdd are how file systems refuse a character of a name: FAT, exFAT and NTFS
	// with EINVAL, a share of Windows with ENOENT, those that want UTF-8 with EILSEQ,
	// and those that are programs (FUSE) with a lack of permission.
	errsOdd = []error{fs.ErrInvalid, syscall.EINVAL, syscall.EILSEQ, fs.ErrNotExist, fs.ErrPermission}
)
