package maildir

import (
	"io"
	"io/fs"
	"time"
)

// The file system is reached through the three interfaces below and nowhere
// else, so that tests can fail any operation and replay every power loss.
// Every name that they take is one path component, never empty, "." or "..",
// and no symbolic link is ever followed: nothing that a server or a file name
// says leads out of the root.

// Dir is a directory that is held open: it stays the same directory when it is
// renamed meanwhile. It may be used from several goroutines at once.
type Dir interface {
	DirReader
	DirWriter
}

// DirReader is the reading half of Dir.
type DirReader interface {
	// OpenDir opens a subdirectory. A symbolic link or anything else that is no
	// directory is an error that is fs.ErrNotExist or errNotDir.
	OpenDir(name string) (Dir, error)
	// Open opens a regular file for reading, without waiting for anybody (a FIFO
	// fails) and, where the system allows, without touching its access time.
	Open(name string) (File, error)
	// Lstat describes an entry; Stat the directory itself.
	Lstat(name string) (Stat, error)
	Stat() (Stat, error)
	// Names calls fn for each entry, "." and ".." left out, in no order, in one
	// pass that reads the directory anew. name is valid during the call only. typ
	// is fs.ModeIrregular where the directory does not tell. An error of fn ends
	// the pass and is returned.
	Names(fn func(name []byte, typ fs.FileMode) error) error
	Close() error
}

// DirWriter is the writing half of Dir. None of it is durable before Sync,
// Flush or File.Sync.
type DirWriter interface {
	// Create makes a new file of mode 0600, whatever the umask; fs.ErrExist when
	// the name is taken by anything.
	Create(name string) (File, error)
	// Mkdir makes a directory of mode 0700, whatever the umask.
	Mkdir(name string) error
	// Rename moves an entry and never replaces one: fs.ErrExist when the new name
	// is taken. errCrossDevice when the two directories lie on different devices.
	Rename(name string, to Dir, newName string) error
	// Link gives a file a second name: fs.ErrExist when that is taken, errNoLink
	// where files cannot have two, or not in these two directories.
	Link(name string, to Dir, newName string) error
	// Replace renames within the directory and replaces a file. It serves control
	// files only, never a message.
	Replace(name, newName string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// SetTime sets the modification time and leaves the access time.
	SetTime(name string, mtime time.Time) error
	// Sync makes the entries of the directory durable.
	Sync() error
	// Flush makes the whole file system durable. errNoFlush where that cannot be
	// done or cannot be trusted to report errors.
	Flush() error
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	Stat() (Stat, error)
	Truncate(size int64) error
	// Sync makes the file's content and size durable. After an error nothing
	// that was written before can be trusted, not even when a later Sync succeeds.
	Sync() error
}

// Stat is what is known of a file or directory. Dev and Ino identify it where
// the system has such numbers, else both are 0.
type Stat struct {
	Dev, Ino uint64
	Size     int64
	Mode     fs.FileMode
	Mtime    time.Time
	Ctime    time.Time // zero where the system has none
	UID      int       // the owner; -1 where the system has none
	// Local says that the entry is known to lie on a file system of this machine
	// whose timestamps are as fine as they look. It is set by Dir.Stat only.
	Local bool
}

// fsError is a reason that the real file system and those of tests share.
type fsError string

func (e fsError) Error() string { return string(e) }

const (
	errNotDir      = fsError("not a directory")
	errNotRegular  = fsError("not a regular file")
	errCrossDevice = fsError("on another device")
	errNoLink      = fsError("this file cannot have a second name")
	errNoFlush     = fsError("this file system cannot be flushed as a whole")
	errBadName     = fsError("not a single path component")
)

// checkName refuses what is no single path component.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." {
		return &fs.PathError{Op: "open", Path: name, Err: errBadName}
	}
	for i := range len(name) {
		if c := name[i]; c == '/' || c == 0 || c == pathSeparator {
			return &fs.PathError{Op: "open", Path: name, Err: errBadName}
		}
	}
	return nil
}
