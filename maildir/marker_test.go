package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"testing"

	"postbag/internal/mail"
)

// askFS calls ask ahead of every operation that reads names, which may refuse it.
type askFS struct {
	FS
	ask func(op string) error
}

func (f askFS) OpenRoot(path string) (Dir, error) {
	d, err := f.FS.OpenRoot(path)
	return askDir{d, f.ask}, err
}

type askDir struct {
	Dir
	ask func(op string) error
}

func (d askDir) OpenDir(name string) (Dir, error) {
	if err := d.ask("open " + name); err != nil {
		return nil, err
	}
	sub, err := d.Dir.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return askDir{sub, d.ask}, nil
}

func (d askDir) Open(name string) (File, error) {
	if err := d.ask("open " + name); err != nil {
		return nil, err
	}
	return d.Dir.Open(name)
}

func (d askDir) Lstat(name string) (Stat, error) {
	if err := d.ask("lstat " + name); err != nil {
		return Stat{}, err
	}
	return d.Dir.Lstat(name)
}

func (d askDir) Stat() (Stat, error) {
	if err := d.ask("stat"); err != nil {
		return Stat{}, err
	}
	return d.Dir.Stat()
}

// Names asks ahead, and after the last name.
func (d askDir) Names(fn func([]byte, fs.FileMode) error) error {
	if err := d.ask("names"); err != nil {
		return err
	}
	if err := d.Dir.Names(fn); err != nil {
		return err
	}
	return d.ask("more names")
}

func (d askDir) Rename(name string, to Dir, newName string) error {
	return d.Dir.Rename(name, to.(askDir).Dir, newName)
}

// decided is what a tree is taken for, and what lies in its state directory.
func decided(s *Store, f *memFS) string {
	dir := f.nodes[f.nodes[1].entries[s.layout.stateDir()]]
	return fmt.Sprintf("layout %s, portable %v, separator %c, fold %v: %q",
		s.layout, s.esc.portable, s.infoSep, s.fold, slices.Sorted(maps.Keys(dir.entries)))
}

// Whatever fails while a tree is set up, for once or for the whole run, ends the run
// with a word about it, and the next one takes the tree for what it is, on a disk
// that takes all names and on one that does not: the flags are where mail readers look.
func TestSetUpThatFails(t *testing.T) {
	t.Parallel()
	plain := func(f *memFS) FS { return f }
	folding := func(f *memFS) FS { return foldFS{f} }
	for _, test := range []struct {
		name    string
		disk    func(*memFS) FS
		maildir bool
		want    string
	}{
		{"all names", plain, false, `layout verbatim, portable false, separator :, fold false: [".noindex" "probe-é" "root"]`},
		{"Windows names", folding, false, `layout verbatim, portable true, separator ;, fold true: [".noindex" "probe-é" "root"]`},
		{"a Maildir", plain, true, `layout maildir++, portable false, separator :, fold false: [".noindex" "probe-é" "root"]`},
	} {
		for _, reason := range []error{syscall.EMFILE, syscall.ENOSPC, syscall.EIO, syscall.ENOMEM, syscall.EDQUOT} {
			for _, once := range []bool{true, false} {
				failed := true
				for nth := 0; failed; nth++ {
					failed = failSetUp(t, test.disk, test.maildir, reason, nth, once, test.want)
				}
			}
		}
	}
}

// failSetUp sets a tree up with the nth operation failing, or that and all after
// it, then again undisturbed; and tells whether there was such an operation.
func failSetUp(t *testing.T, disk func(*memFS) FS, maildir bool, reason error, nth int, once bool, want string) bool {
	t.Helper()
	f := newMemFS()
	if maildir {
		if err := (&memDir{f, 1}).Mkdir("cur"); err != nil {
			t.Fatal(err)
		}
	}
	n, failed := 0, ""
	ask := func(op string) error {
		n++
		if n-1 < nth || once && n-1 > nth {
			return nil
		}
		if failed == "" {
			failed = op
		}
		return fmt.Errorf("%s: %w", op, reason)
	}
	f.before = ask
	open := func(ask func(string) error) (*Store, error) {
		return Open("/mail", Options{FS: askFS{disk(f), ask}, Create: true})
	}
	s, err := open(ask)
	f.before = nil
	what := fmt.Sprintf("%v at operation %d (%s), once %v", reason, nth, failed, once)
	switch e, _ := errors.AsType[*mail.Error](err); {
	case err == nil:
		// What fails when a file is closed that was only read has changed nothing.
		if failed != "" && failed != "close" {
			t.Errorf("%s: no word about it", what)
		}
		if got := decided(s, f); got != want {
			t.Errorf("%s: the run takes the tree for\n%s, want\n%s", what, got, want)
		}
	case failed == "":
		t.Fatalf("undisturbed: %v", err)
	case e == nil || e.Kind != mail.KindDisk || e.Scope != mail.ScopeAccount || e.Hint == "":
		t.Errorf("%s: %v, want a failed disk and a hint", what, err)
	}
	if s, err = open(func(string) error { return nil }); err != nil {
		t.Fatalf("%s: the next run: %v", what, err)
	}
	if got := decided(s, f); got != want {
		t.Errorf("%s: the next run takes the tree for\n%s, want\n%s", what, got, want)
	}
	return failed != ""
}

// A run that is stopped while it makes a mailbox leaves nothing that the next one would
// complain of: it makes the mailbox, and that is one like any other.
func TestCreateIsCutOff(t *testing.T) {
	t.Parallel()
	for nth, failed := 0, true; failed; nth++ {
		f := newMemFS()
		s, err := Open("/mail", Options{FS: f, Create: true})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		failed = false
		f.before = func(string) error {
			if n++; n <= nth {
				return nil
			}
			failed = true
			return syscall.EIO
		}
		err = s.Create(t.Context(), "Projets/Été", "")
		f.before = nil
		if failed == (err == nil) {
			t.Errorf("operation %d: failed %v, and Create says %v", nth, failed, err)
		}
		if s, err = Open("/mail", Options{FS: f, Create: true}); err != nil {
			t.Fatal(err)
		}
		list, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range list {
			if info.Err != nil {
				t.Errorf("operation %d: %q: %v", nth, info.Name, info.Err)
			}
		}
		if err := s.Create(t.Context(), "Projets/Été", ""); err != nil {
			t.Errorf("operation %d: again: %v", nth, err)
		}
		list, err = s.List(t.Context())
		if i := slices.IndexFunc(list, func(i mail.MailboxInfo) bool { return i.Name == "Projets/Été" }); err != nil || i < 0 || list[i].Err != nil || list[i].ObjectID == "" {
			t.Errorf("operation %d: in the end there is %+v, %v", nth, list, err)
		}
	}
}
