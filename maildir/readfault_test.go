package maildir

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/mail"
)

// untypedFS does not tell in a directory what its entries are, as some file systems.
type untypedFS struct{ FS }

type untypedDir struct{ Dir }

func (f untypedFS) OpenRoot(path string) (Dir, error) {
	d, err := f.FS.OpenRoot(path)
	return untypedDir{d}, err
}

func (d untypedDir) OpenDir(name string) (Dir, error) {
	sub, err := d.Dir.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return untypedDir{sub}, nil
}

func (d untypedDir) Names(fn func([]byte, fs.FileMode) error) error {
	return d.Dir.Names(func(name []byte, _ fs.FileMode) error { return fn(name, fs.ModeIrregular) })
}

func (d untypedDir) Rename(name string, to Dir, newName string) error {
	return d.Dir.Rename(name, to.(untypedDir).Dir, newName)
}

// readDisks are the file systems on which reading fails.
var readDisks = map[string]func(*memFS) FS{
	"all names":    func(f *memFS) FS { return f },
	"without type": func(f *memFS) FS { return untypedFS{f} },
	"folding":      func(f *memFS) FS { return foldFS{f} },
}

// failing is an ask that refuses the nth operation, and with stuck every later one
// that is the same.
type failing struct {
	nth    int
	stuck  bool
	reason error
	n      int
	failed string
}

func (f *failing) ask(op string) error {
	if f == nil {
		return nil
	}
	f.n++
	if f.n-1 == f.nth {
		f.failed = op
	} else if !f.stuck || f.failed != op {
		return nil
	}
	return fmt.Errorf("%s: %w", op, f.reason)
}

// reachedTree is a tree with what takes more than one look to read: names that
// another tool wrote, a name too long for a directory, and two files with one key.
type reachedTree struct {
	disk  func(*memFS) FS
	fs    *memFS
	known map[string]rows
	since map[string]mail.Cursor
}

func (r *reachedTree) open(t *testing.T, f *failing) (*Store, error) {
	t.Helper()
	later := func() time.Time { return time.Now().Add(time.Hour) } // timestamps have settled
	return Open("/mail", Options{FS: askFS{r.disk(r.fs), f.ask}, Create: true, Now: later})
}

func newReachedTree(t *testing.T, disk func(*memFS) FS) *reachedTree {
	t.Helper()
	r := &reachedTree{disk: disk, fs: newMemFS(), known: map[string]rows{}, since: map[string]mail.Cursor{}}
	s, err := r.open(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Work", "Work/Sub", strings.Repeat("long ", 100) + "name", strings.Repeat("long ", 100) + "name/Sub"} {
		deliver(t, selected(t, s, name), outgoing{body: "1", flags: `\Seen Word`}, outgoing{body: "2"})
	}
	for _, dir := range []string{"inbox", "Caf%C3%A9"} {
		root := &memDir{r.fs, 1}
		box, err := makeDir(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, sub := range []string{"cur", "new", "tmp"} {
			d, err := makeDir(box, sub)
			if err != nil {
				t.Fatal(err)
			}
			if sub != "cur" {
				continue
			}
			for _, name := range []string{"1.one.host:2,", "2.same.host:2,S", "2.same.host:2,F"} {
				if err := writeSmall(d, name, []byte("body "+name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	list, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		if info.Err != nil {
			t.Fatalf("%.40q: %v", info.Name, info.Err)
		}
		m, err := s.Examine(t.Context(), info.Name)
		if err != nil {
			t.Fatal(err)
		}
		d := changes(t, m, "", rows{})
		r.known[info.Name] = rows{}
		r.known[info.Name].take(d)
		m.Close()
		if len(d.New) < 2 {
			t.Fatalf("%.40q holds %d messages", info.Name, len(d.New))
		}
	}
	if len(r.known) != 6 {
		t.Fatalf("%d mailboxes: %.60q", len(r.known), slices.Sorted(maps.Keys(r.known)))
	}
	return r
}

// look lists the tree and looks through every mailbox, as a run does, and answers
// with what reads as a loss or a change.
func (r *reachedTree) look(t *testing.T, s *Store, write bool) (bad []string) {
	t.Helper()
	gone := func(what string, err error) {
		if err != nil && mail.AsError(err).Kind == mail.KindGone {
			bad = append(bad, fmt.Sprintf("%s: %v reads as gone", what, err))
		}
	}
	list, err := s.List(t.Context())
	gone("List", err)
	listed := map[string]bool{}
	sure := err == nil
	for _, info := range list {
		gone(info.Name, info.Err)
		if listed[info.Name] = true; info.Err == nil && r.known[info.Name] == nil {
			bad = append(bad, fmt.Sprintf("%.60q is listed", info.Name))
		}
		sure = sure && info.Err == nil
	}
	for name, known := range r.known {
		if !listed[name] && sure {
			bad = append(bad, fmt.Sprintf("%.60q is not listed, and nothing failed", name))
		}
		var m mail.Mailbox
		if write {
			m, err = s.Select(t.Context(), name)
		} else {
			m, err = s.Examine(t.Context(), name)
		}
		if gone(name, err); err != nil {
			continue
		}
		d, err := m.Changes(t.Context(), r.since[name], known, 100)
		gone(name, err)
		if len(d.Gone)+len(d.Flags)+len(d.New) > 0 {
			bad = append(bad, fmt.Sprintf("%.60q: gone %v, flags %v, new %v", name, d.Gone, d.Flags, d.New))
		}
		m.Close()
	}
	return bad
}

// Whatever call fails while a tree is looked through, once or again and again, nothing
// that is there reads as gone, changed or new.
func TestWhatCannotBeReadIsNotGone(t *testing.T) {
	t.Parallel()
	for disk, make := range readDisks {
		t.Run(disk, func(t *testing.T) {
			t.Parallel()
			r := newReachedTree(t, make)
			whole := r.fs
			for n, reason := range []error{syscall.EIO, syscall.EACCES, syscall.ESTALE, syscall.EMFILE} {
				write, stuck := n&1 != 0, n&2 != 0
				for nth := 0; ; nth++ {
					r.fs = whole.clone()
					f := &failing{nth: nth, stuck: stuck, reason: reason}
					s, err := r.open(t, f)
					var bad []string
					if err == nil {
						bad = r.look(t, s, write)
					} else if mail.AsError(err).Kind == mail.KindGone {
						bad = []string{err.Error()}
					}
					if bad != nil {
						t.Errorf("%v at operation %d (%s), stuck %v, write %v:\n%s", reason, nth, f.failed, stuck, write, strings.Join(bad, "\n"))
					}
					if f.failed == "" {
						t.Logf("%v: %d operations", reason, nth)
						break
					}
				}
			}
		})
	}
}

// A mailbox that is deleted takes none of those below it along, whatever cannot be
// read.
func TestDeletionThatCannotReadSparesWhatIsBelow(t *testing.T) {
	t.Parallel()
	for disk, make := range readDisks {
		t.Run(disk, func(t *testing.T) {
			t.Parallel()
			r := newReachedTree(t, make)
			whole := r.fs
			for _, reason := range []error{syscall.EIO, syscall.EACCES} {
				for nth := 0; ; nth++ {
					r.fs = whole.clone()
					f := &failing{nth: nth, stuck: true, reason: reason}
					if s, err := r.open(t, f); err == nil {
						s.Delete(t.Context(), "Work")
					}
					s, err := r.open(t, nil)
					if err != nil {
						t.Fatal(err)
					}
					m, err := s.Examine(t.Context(), "Work/Sub")
					if err != nil {
						t.Fatalf("%v at operation %d (%s): %v", reason, nth, f.failed, err)
					}
					if d := changes(t, m, "", r.known["Work/Sub"]); len(d.Gone)+len(d.New) > 0 {
						t.Errorf("%v at operation %d (%s): gone %v, new %v", reason, nth, f.failed, d.Gone, d.New)
					}
					m.Close()
					if f.failed == "" {
						break
					}
				}
			}
		})
	}
}
