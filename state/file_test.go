//go:build unix

package state

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/mail"
)

// modes tells the modes of all files under dir.
func modes(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	found := make(map[string]fs.FileMode)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		found[strings.TrimPrefix(path, dir)] = info.Mode().Perm()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Not parallel: the umask is the process's. Parallel tests wait until it is
// back.
func TestPrivateWhateverUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	for _, umask := range []int{0, 0o022, 0o077} {
		syscall.Umask(umask)
		dir := t.TempDir()
		db := mustOpen(t, filepath.Join(dir, "x", "y", "state.db"), Options{})
		box := fill(t, db, 500, true)
		for name, mode := range modes(t, filepath.Join(dir, "x")) {
			want := fs.FileMode(0o600)
			if name == "" || name == "/y" {
				want = 0o700
			}
			if mode != want {
				t.Errorf("umask %#o: %q has mode %#o, want %#o", umask, name, mode, want)
			}
		}
		if n := len(modes(t, filepath.Join(dir, "x", "y"))); n != 5 { // with log, its index and lock
			t.Errorf("umask %#o: got %d files, want 5: %v", umask, n, modes(t, dir))
		}
		if got := len(allRows(t, db, box.ID)); got != 500 {
			t.Errorf("got %d rows, want 500", got)
		}
		mustClose(t, db)
	}
}

// snapshot tells the files of a directory, with their sizes and times.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := fmt.Sprintln(info.ModTime())
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(e.Name(), lockSuffix) {
			s += fmt.Sprintln(e.Name(), info.Size(), info.ModTime())
		}
	}
	return s
}

func TestNothingWrittenWhenNothingChanged(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := newPath(t)
	db := mustOpen(t, path, Options{Accounts: someAccounts})
	box := fill(t, db, 1000, true)
	mustClose(t, db)
	dir := filepath.Dir(path)
	before := snapshot(t, dir)
	if strings.Contains(before, "-wal") || strings.Contains(before, "-journal") {
		t.Errorf("there are files beside a state at rest: %s", before)
	}
	time.Sleep(20 * time.Millisecond)
	for _, readOnly := range []bool{false, true} {
		db := mustOpen(t, path, Options{Accounts: someAccounts, ReadOnly: readOnly})
		if got := len(allRows(t, db, box.ID)); got != 1000 {
			t.Errorf("got %d rows, want 1000", got)
		}
		if err := db.Commit(ctx, &Tx{}, true); err != nil {
			t.Errorf("an empty Tx: %v", err)
		}
		if err := db.Finish(ctx, "done", "{}"); err != nil {
			t.Errorf("Finish without Run: %v", err)
		}
		if _, _, err := db.Problems(ctx); err != nil {
			t.Error(err)
		}
		if during := snapshot(t, dir); during != before {
			t.Errorf("while open, read-only %v: got %s, want %s", readOnly, during, before)
		}
		mustClose(t, db)
		if after := snapshot(t, dir); after != before {
			t.Errorf("afterwards, read-only %v: got %s, want %s", readOnly, after, before)
		}
	}
}

// A state on a disk that is mounted read-only can be looked at.
func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	box := fill(t, db, 100, true)
	mustClose(t, db)
	dir := filepath.Dir(path)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700); os.Chmod(path, 0o600) })
	db = mustOpen(t, path, Options{ReadOnly: true})
	if got := len(allRows(t, db, box.ID)); got != 100 {
		t.Errorf("got %d rows, want 100", got)
	}
	mustClose(t, db)
}

func TestRefusesWhatOthersCanWrite(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for what, spoil := range map[string]func(path string) error{
		"the file":        func(path string) error { return os.Chmod(path, 0o602) },
		"its group":       func(path string) error { return os.Chmod(path, 0o620) },
		"the directory":   func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) },
		"a sticky one":    func(path string) error { return os.Chmod(filepath.Dir(path), 0o777|fs.ModeSticky) },
		"a journal":       func(path string) error { return plant(path+"-journal", 0o666) },
		"the lock":        func(path string) error { return os.Chmod(path+lockSuffix, 0o666) },
		"a link":          func(path string) error { return os.Rename(path, path+"2") },
		"a linked lock":   func(path string) error { return os.Remove(path + lockSuffix) },
		"a directory":     func(path string) error { return os.Remove(path) },
		"another owner":   func(path string) error { return os.Chown(path, 4711, 4711) },
		"the dir's owner": func(path string) error { return os.Chown(filepath.Dir(path), 4711, 4711) },
	} {
		path := filepath.Join(t.TempDir(), "box", "state.db")
		mustClose(t, mustOpen(t, path, Options{}))
		if err := spoil(path); err != nil {
			if os.IsPermission(err) {
				continue // only root can give files away
			}
			t.Fatal(err)
		}
		switch what {
		case "a link":
			if err := os.Symlink(path+"2", path); err != nil {
				t.Fatal(err)
			}
		case "a linked lock":
			if err := os.Symlink(path+"-elsewhere", path+lockSuffix); err != nil {
				t.Fatal(err)
			}
		case "a directory":
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		case "the dir's owner":
			if os.Geteuid() == 0 {
				continue // root works in anybody's directories
			}
		}
		db, err := Open(ctx, path, Options{})
		if e := mail.AsError(err); err == nil {
			db.Close()
			t.Errorf("%s: it is opened", what)
		} else if e.Kind != mail.KindUsage {
			t.Errorf("%s: got kind %d, %v, want a refusal", what, e.Kind, err)
		}
	}
}

// plant makes a file with a mode, whatever the umask.
func plant(path string, mode fs.FileMode) error {
	if err := os.WriteFile(path, nil, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func TestOddPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a?b#c%20d&e=f;\xff é", "sta te?.db")
	db := mustOpen(t, path, Options{})
	fill(t, db, 10, true)
	mustClose(t, db)
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("the state is not where it should be: %v", err)
	}
	mustBeSound(t, path)
}
