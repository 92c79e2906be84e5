package state

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// noFollow has no counterpart here; checkFile has looked at the file before.
const noFollow = 0

// lockOffset is far behind the owner's record: a locked range cannot be read by
// others here.
const lockOffset = 1 << 30

func lockRange() *windows.Overlapped { return &windows.Overlapped{Offset: lockOffset} }

// tryLock locks f for this process alone, or answers errHeld.
func tryLock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, lockRange())
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errHeld
	}
	return err
}

func unlock(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, lockRange())
}

// alive reports whether there is a process with this ID.
func alive(pid int) bool {
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return !errors.Is(err, windows.ERROR_INVALID_PARAMETER)
	}
	var exit uint32
	err = errors.Join(windows.GetExitCodeProcess(h, &exit), windows.CloseHandle(h))
	const stillActive = 259
	return err != nil || exit == stillActive
}

// private accepts all: access lists are inherited from the user's profile.
func private(string, fs.FileInfo) error { return nil }

// syncDir does nothing: directories are not flushed here.
func syncDir(string) error { return nil }

// bootID is not known.
func bootID() string { return "" }

// remote reports whether path is on another machine.
func remote(path string) bool {
	full, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return true
	}
	root := make([]uint16, windows.MAX_LONG_PATH)
	if err := windows.GetVolumePathName(full, &root[0], uint32(len(root))); err != nil {
		return true
	}
	return windows.GetDriveType(&root[0]) == windows.DRIVE_REMOTE
}
