package maildir

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// Delete moves a mailbox with all its messages to the retention area, as one
// directory; mailboxes below it stay. With nothing kept, it is removed for good
// after that. INBOX cannot be deleted.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.writable("delete", name); err != nil {
		return err
	}
	if name == inbox {
		return boxError("delete", name, mail.KindRefused, "", errors.New("INBOX cannot be deleted"))
	}
	if err := ctx.Err(); err != nil {
		return fail("delete", name, mail.ScopeMailbox, mail.Ref{}, err)
	}
	err := s.deleteBox(ctx, name)
	s.forget(name)
	return fail("delete", name, mail.ScopeMailbox, mail.Ref{}, err)
}

func (s *Store) deleteBox(ctx context.Context, name string) error {
	box, done, err := s.openBoxDir(name)
	if err != nil {
		return err
	}
	defer done()
	if is, err := s.isBox(box); err != nil {
		return err
	} else if !is {
		return &fs.PathError{Op: "delete", Path: name, Err: fs.ErrNotExist} // a directory above mailboxes
	}
	tag, err := s.tag()
	if err != nil {
		return err
	}
	dirs, err := s.openArea(trashDir, s.started.UTC().Format(trashTime), areaName(name))
	if err != nil {
		return err
	}
	defer closeAll(dirs)
	area := dirs[len(dirs)-1]
	entry := retained{File: "mailbox-" + tag, Mailbox: name, Removed: s.opts.Now().UTC(), Whole: true}
	if err := writeIndex(area, tag, []retained{entry}); err != nil {
		return err
	}
	kept, err := makeDir(area, entry.File)
	if err != nil {
		return err
	}
	defer kept.Close()
	if err := moveEntries(box, kept); err != nil {
		return err
	}
	if err := s.removeIfEmpty(name); err != nil {
		return err
	}
	if s.opts.KeepDeleted < 0 {
		var n int
		return removeTree(ctx, area, entry.File, 0, &n)
	}
	return nil
}

// moveEntries moves what belongs to one mailbox from its directory to another:
// everything but the mailboxes below. cur/ goes last, when all else has arrived
// for good: where it is, there is the mailbox.
func moveEntries(from, to Dir) error {
	all, err := entriesOf(from)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b string) int { return btoi(a == "cur") - btoi(b == "cur") })
	for _, name := range all {
		// The name of a shortened directory stays with the directory.
		if strings.HasSuffix(name, "postbag-name") {
			continue
		}
		if name == "cur" {
			if err := errors.Join(to.Sync(), from.Sync()); err != nil {
				return err
			}
		}
		if err := from.Rename(name, to, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errors.Join(to.Sync(), from.Sync())
}

// entriesOf are the entries of a directory that belong to its mailbox.
func entriesOf(d Dir) ([]string, error) {
	all, err := names(d, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	var own []string
	for _, name := range all {
		below := false
		if !isMaildirSub(name) {
			if below, err = hasDirs(d, name); err != nil {
				return nil, err
			}
		}
		if !below {
			own = append(own, name)
		}
	}
	return own, nil
}

// hasDirs reports whether an entry is a directory that holds others: a mailbox, or
// mailboxes.
func hasDirs(d Dir, name string) (bool, error) {
	sub, err := d.OpenDir(name)
	if err != nil {
		return false, ignoreGone(err)
	}
	defer sub.Close()
	found, err := dirs(sub)
	return len(found) > 0, err
}

// removeIfEmpty removes the directory of a mailbox that has no mailbox below it.
func (s *Store) removeIfEmpty(name string) error {
	parent, entry, done, err := s.openParent(name)
	if err != nil {
		return ignoreGone(err)
	}
	defer done()
	if sub, err := parent.OpenDir(entry); err == nil {
		if left, err := names(sub, func(string) bool { return true }); err == nil &&
			len(left) == 1 && left[0] == s.layout.nameFile() {
			sub.Remove(left[0])
		}
		sub.Close()
	}
	if err := parent.Remove(entry); err != nil {
		return nil // not empty: mailboxes below
	}
	return parent.Sync()
}

// openParent opens the directory that a mailbox's own directory is in.
func (s *Store) openParent(name string) (parent Dir, entry string, done func() error, err error) {
	parts := s.layout.pathParts(name)
	if len(parts) == 0 {
		return nil, "", nil, fs.ErrNotExist
	}
	parent, done = s.root, func() error { return nil }
	if len(parts) > 1 {
		if parent, done, err = s.openBoxDir(mail.JoinName(parts[:len(parts)-1]...)); err != nil {
			return nil, "", nil, err
		}
	}
	last := parts[len(parts)-1]
	if entry, err = s.find(parent, last, len(parts) == 1); err != nil {
		done()
		return nil, "", nil, err
	}
	return parent, entry, done, nil
}

// Rename renames a mailbox, with its identity; mailboxes below it follow. Where
// those are directories of their own (Maildir++, flat), a crash may leave some
// under the old name. The new name must be free, and INBOX stays where it is.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	if err := s.writable("rename", from); err != nil {
		return err
	}
	err := s.rename(ctx, from, to)
	return fail("rename", from, mail.ScopeMailbox, mail.Ref{}, err)
}

func (s *Store) rename(ctx context.Context, from, to string) error {
	refuse := func(why string) error {
		return boxError("rename", from, mail.KindRefused, "", errors.New(why))
	}
	switch {
	case from == inbox || to == inbox:
		return refuse("INBOX cannot be renamed or replaced")
	case from == to:
		return nil
	case to == "" || strings.HasPrefix(to, from+"/"):
		return refuse("the new name is empty or below the old one")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if box, done, err := s.openBoxDir(to); err == nil {
		taken, err := isDir(box, "cur")
		done()
		if err != nil {
			return err
		}
		if taken {
			return refuse("the new name is taken")
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	boxes, err := s.List(ctx)
	if err != nil {
		return err
	}
	var moved []string
	for _, b := range boxes {
		if b.Name == from || strings.HasPrefix(b.Name, from+"/") {
			moved = append(moved, b.Name)
		}
	}
	if len(moved) == 0 {
		return fs.ErrNotExist
	}
	for _, old := range moved {
		if s.layout == Verbatim && old != from {
			s.forget(old)
			continue
		}
		name := to + strings.TrimPrefix(old, from)
		if err := s.renameOne(old, name); err != nil {
			return err
		}
		s.forget(old, name)
	}
	return nil
}

// renameOne renames one directory. Where the new one exists already, because
// there are mailboxes below it, what is in the old one moves.
func (s *Store) renameOne(from, to string) error {
	parent, entry, done, err := s.openParent(from)
	if err != nil {
		return err
	}
	defer done()
	parts := s.layout.pathParts(to)
	target, targetDone := s.root, func() error { return nil }
	if len(parts) > 1 {
		if target, targetDone, err = s.makeBoxDir(mail.JoinName(parts[:len(parts)-1]...)); err != nil {
			return err
		}
	}
	defer targetDone()
	last := parts[len(parts)-1]
	if there, err := s.find(target, last, len(parts) == 1); err == nil {
		return s.mergeDirs(parent, entry, target, there)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range []escaper{s.esc, {portable: s.esc.portable, crowded: true}} {
		newEntry := s.layout.dirName(e, last)
		// The long name is in place before the short one stands for it.
		if isShortened(newEntry) {
			sub, err := parent.OpenDir(entry)
			if err != nil {
				return err
			}
			err = addName(sub, s.layout.nameFile(), last)
			sub.Close()
			if err != nil {
				return err
			}
		}
		err = parent.Rename(entry, target, newEntry)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(target.Sync(), parent.Sync())
}
