package maildir

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"postbag/internal/mail"
)

// The retention area is the directory "trash" in the state directory:
//
//	trash/20240501T120000Z/Work%2FProjects/TAG.KEY         a message
//	trash/20240501T120000Z/Work%2FProjects/.index-TAG.json what it was
//
// with a directory for the start of each run that removed something, one in it
// for each mailbox, and the messages under a name of their own with an index
// beside them. The time of a file stays that of the message. A mailbox that was
// deleted lies there as one directory, marked as whole in the index. The index is
// written first; entries without a file are left over from a crash or have been
// put back.

// Trashed is one message, or one whole mailbox, in the retention area.
type Trashed struct {
	ID      string // names it within the area
	Mailbox string // where it was
	Key     string // under which key; "" for a whole mailbox
	Flags   mail.Flags
	Date    time.Time // INTERNALDATE
	Removed time.Time
	Bytes   int64 // size of the file; 0 for a whole mailbox
	Whole   bool
	// Messages is how many are in a whole mailbox. Those that a run removed from it
	// before lie beside it, each by itself.
	Messages int
}

// Run is the first part of an ID: that of everything that one run removed.
func (t Trashed) Run() string {
	run, _, _ := strings.Cut(t.ID, "/")
	return run
}

// Trash lists the retention area, the oldest removals first.
func (s *Store) Trash(ctx context.Context) ([]Trashed, error) {
	var out []Trashed
	err := s.eachTrashed(ctx, func(_ Dir, t Trashed, _ retained) error {
		out = append(out, t)
		return nil
	})
	slices.SortStableFunc(out, func(a, b Trashed) int { return a.Removed.Compare(b.Removed) })
	return out, fail("list removed messages", "", mail.ScopeAccount, mail.Ref{}, err)
}

// TrashBefore lists what EmptyTrash would remove: a run's removals stay together
// until the last of them is old enough.
func (s *Store) TrashBefore(ctx context.Context, before time.Time) ([]Trashed, error) {
	all, err := s.Trash(ctx)
	stay := map[string]bool{}
	for _, t := range all {
		stay[t.Run()] = stay[t.Run()] || !before.IsZero() && !t.Removed.Before(before)
	}
	return slices.DeleteFunc(all, func(t Trashed) bool { return stay[t.Run()] }), err
}

// OpenTrashed opens the file of a message in the retention area, as it is stored.
func (s *Store) OpenTrashed(t Trashed) (io.ReadCloser, error) {
	f, err := s.openTrashed(t)
	return f, fail("open a removed message", t.Mailbox, mail.ScopeMessage, mail.Ref{Key: t.Key}, err)
}

func (s *Store) openTrashed(t Trashed) (io.ReadCloser, error) {
	path, file := t.split()
	if t.Whole {
		return nil, fs.ErrNotExist
	}
	d, done, err := s.openTrashDir(path)
	if err != nil {
		return nil, err
	}
	defer done()
	return d.Open(file)
}

// split is the directory and the file that an ID names.
func (t Trashed) split() (path, file string) {
	i := strings.LastIndex(t.ID, "/")
	return t.ID[:max(i, 0)], t.ID[i+1:]
}

// openTrashDir opens a directory of the area: that of one mailbox in one run.
func (s *Store) openTrashDir(path string) (d Dir, done func(), err error) {
	trash, closeTrash, err := s.openTrash()
	run, box, ok := strings.Cut(path, "/")
	if err == nil && (trash == nil || !ok || strings.Contains(box, "/")) {
		err = fs.ErrNotExist
	}
	if trash != nil {
		defer closeTrash()
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := trash.OpenDir(run)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	if d, err = r.OpenDir(box); err != nil {
		return nil, nil, err
	}
	return d, func() { d.Close() }, nil
}

// eachTrashed calls fn for everything in the area. The directory is the one that
// the file is in.
func (s *Store) eachTrashed(ctx context.Context, fn func(Dir, Trashed, retained) error) error {
	trash, done, err := s.openTrash()
	if err != nil || trash == nil {
		return err
	}
	defer done()
	runs, err := dirs(trash)
	if err != nil {
		return err
	}
	for _, run := range runs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.eachInRun(trash, run, fn); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) eachInRun(trash Dir, run string, fn func(Dir, Trashed, retained) error) error {
	dir, err := trash.OpenDir(run)
	if err != nil {
		return ignoreGone(err)
	}
	defer dir.Close()
	boxes, err := dirs(dir)
	if err != nil {
		return err
	}
	for _, box := range boxes {
		sub, err := dir.OpenDir(box)
		if err == nil {
			err = s.eachInBox(sub, run+"/"+box, fn)
			sub.Close()
		}
		if ignoreGone(err) != nil {
			return err
		}
	}
	return nil
}

func (s *Store) eachInBox(d Dir, path string, fn func(Dir, Trashed, retained) error) error {
	indexes, err := names(d, func(n string) bool { return strings.HasPrefix(n, indexMark) })
	if err != nil {
		return err
	}
	for _, index := range indexes {
		f, err := d.Open(index)
		if err != nil {
			return err
		}
		var list []retained
		err = json.NewDecoder(f).Decode(&list)
		f.Close()
		if err != nil {
			s.notice("an index of removed messages is damaged", "", path+"/"+index)
			continue
		}
		for _, e := range list {
			st, err := lstatEntry(d, e)
			if err != nil {
				continue
			}
			t := trashedOf(path, e, st)
			if t.Whole {
				t.Messages = countFiles(d, e.File)
			}
			if err := fn(d, t, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// countFiles counts the messages of a Maildir.
func countFiles(d Dir, name string) (n int) {
	box, err := d.OpenDir(name)
	if err != nil {
		return 0
	}
	defer box.Close()
	for _, part := range []string{"new", "cur"} {
		sub, err := box.OpenDir(part)
		if err != nil {
			continue
		}
		files, _ := names(sub, func(n string) bool { return !strings.HasPrefix(n, ".") })
		n += len(files)
		sub.Close()
	}
	return n
}

func lstatEntry(d Dir, e retained) (Stat, error) {
	st, err := d.Lstat(e.File)
	if err == nil && st.Mode.IsDir() != e.Whole {
		err = fs.ErrNotExist
	}
	return st, err
}

func trashedOf(path string, e retained, st Stat) Trashed {
	t := Trashed{ID: path + "/" + e.File, Mailbox: e.Mailbox, Date: st.Mtime, Removed: e.Removed, Bytes: st.Size, Whole: e.Whole}
	if e.Whole {
		t.Bytes = 0
		return t
	}
	name, _ := parseName(e.Name)
	t.Key = name.key
	t.Flags = flagsOf(name.letters, nil)
	t.Flags.Keywords = t.Flags.Keywords.Union(mail.NewKeywords(strings.Fields(e.Keywords)...))
	return t
}

// names lists the entries that a filter takes, sorted.
func names(d Dir, take func(string) bool) ([]string, error) {
	var all []string
	err := d.Names(func(name []byte, _ fs.FileMode) error {
		all = append(all, string(name))
		return nil
	})
	all = slices.DeleteFunc(all, func(n string) bool { return !take(n) })
	slices.Sort(all)
	return all, err
}

// dirs lists the subdirectories, sorted.
func dirs(d Dir) ([]string, error) {
	all, err := names(d, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range all {
		is, err := isDir(d, name)
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, name)
		}
	}
	return found, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) {
		return nil
	}
	return err
}

// openTrash opens the area; nil when there is none.
func (s *Store) openTrash() (Dir, func() error, error) {
	state, err := s.root.OpenDir(s.layout.stateDir())
	if err != nil {
		return nil, nil, ignoreGone(err)
	}
	defer state.Close()
	trash, err := state.OpenDir(trashDir)
	if err != nil {
		return nil, nil, ignoreGone(err)
	}
	return trash, trash.Close, nil
}

// ExpireTrash removes for good what has been in the retention area for longer
// than Options.KeepDeleted, and tells how many files that were.
func (s *Store) ExpireTrash(ctx context.Context) (int, error) {
	if s.opts.KeepDeleted < 0 {
		return 0, nil
	}
	return s.emptyTrash(ctx, s.opts.Now().Add(-s.opts.KeepDeleted))
}

// EmptyTrash removes for good what was removed before a time (see TrashBefore), or
// all of the retention area for the zero time, and tells how many files that were.
func (s *Store) EmptyTrash(ctx context.Context, before time.Time) (int, error) {
	return s.emptyTrash(ctx, before)
}

// emptyTrash removes the directories of runs before a time; the zero time stands
// for all.
func (s *Store) emptyTrash(ctx context.Context, before time.Time) (int, error) {
	if err := s.writable("empty", ""); err != nil {
		return 0, err
	}
	n := 0
	trash, done, err := s.openTrash()
	if err == nil && trash != nil {
		defer done()
		var runs []string
		runs, err = names(trash, func(n string) bool {
			at, err := time.Parse(trashTime, n)
			return err == nil && (before.IsZero() || at.Before(before))
		})
		if err == nil && len(runs) > 0 && !before.IsZero() {
			runs, err = s.allBefore(ctx, runs, before)
		}
		for _, run := range runs {
			if err == nil {
				err = removeTree(ctx, trash, run, 0, &n)
			}
		}
	}
	return n, fail("empty the retention area", "", mail.ScopeAccount, mail.Ref{}, err)
}

// allBefore are those of runs that removed nothing since a time.
func (s *Store) allBefore(ctx context.Context, runs []string, before time.Time) ([]string, error) {
	err := s.eachTrashed(ctx, func(_ Dir, t Trashed, _ retained) error {
		if i := slices.Index(runs, t.Run()); i >= 0 && !t.Removed.Before(before) {
			runs = slices.Delete(runs, i, i+1)
		}
		return nil
	})
	return runs, err
}

// removeTree removes an entry and all below it, and counts the files that are no
// index of ours.
func removeTree(ctx context.Context, d Dir, name string, depth int, n *int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sub, err := d.OpenDir(name)
	if errors.Is(err, errNotDir) {
		if err := d.Remove(name); err != nil {
			return ignoreGone(err)
		}
		if !strings.HasPrefix(name, ".") {
			*n++
		}
		return nil
	}
	if err != nil {
		return ignoreGone(err)
	}
	defer sub.Close()
	if depth > 2*maxDepth {
		return errors.New("the retention area nests too deep")
	}
	all, err := names(sub, func(string) bool { return true })
	for _, entry := range all {
		if err == nil {
			err = removeTree(ctx, sub, entry, depth+1, n)
		}
	}
	if err != nil {
		return err
	}
	return ignoreGone(d.Remove(name))
}
