package maildir

import (
	"errors"
	"io/fs"
	"slices"
)

// mergeDirs moves everything in one directory into another that is there already, and
// never over anything. A mailbox arrives as one that is being made does, under an
// identity that is not finished (see fillBox): cut off in the middle, it is still the
// one that it was, or is already the new one, and what is left of it is no mailbox.
func (s *Store) mergeDirs(parent Dir, entry string, target Dir, there string) error {
	from, err := parent.OpenDir(entry)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := target.OpenDir(there)
	if err != nil {
		return err
	}
	defer to.Close()
	is, err := isDir(from, "cur")
	if err == nil && is {
		err = s.takeIdentity(from, to)
	}
	if err != nil {
		return err
	}
	own := []string{"cur", s.layout.nameFile(), s.layout.idFile()}
	all, err := names(from, func(n string) bool { return !slices.Contains(own, n) })
	if err != nil {
		return err
	}
	for _, name := range all {
		if err := s.mergeEntry(from, to, name); err != nil {
			return err
		}
	}
	if is {
		if err := s.takeMessages(from, to); err != nil {
			return err
		}
	}
	if err := errors.Join(to.Sync(), from.Sync()); err != nil {
		return err
	}
	from.Remove(s.layout.nameFile())
	if err := parent.Remove(entry); err != nil {
		return err
	}
	return parent.Sync()
}

// mergeEntry moves one entry; what is in a directory that both have, one by one.
func (s *Store) mergeEntry(from, to Dir, name string) error {
	err := from.Rename(name, to, name)
	if !errors.Is(err, fs.ErrExist) || name == "tmp" || name == "new" {
		return err
	}
	for _, d := range []Dir{from, to} {
		if is, dirErr := isDir(d, name); dirErr != nil || !is {
			return errors.Join(err, dirErr)
		}
	}
	return s.mergeDirs(from, name, to, name)
}

// takeIdentity gives to, which is no mailbox, the identity of the mailbox in from,
// unfinished. One that it has so already is of a run that was cut off here.
func (s *Store) takeIdentity(from, to Dir) error {
	if is, err := isDir(to, "cur"); err != nil || is {
		return errors.Join(err, fs.ErrExist)
	}
	id, _, err := readIDFile(from, s.layout)
	if err != nil {
		return err
	}
	had, unfinished, err := readIDFile(to, s.layout)
	switch {
	case err != nil:
		return err
	case had != "" && !unfinished:
		return fs.ErrExist // a mailbox that lost its messages
	case had == "" && id == "":
		if id, err = s.newID(); err != nil {
			return err
		}
	case id == "":
		return nil
	}
	return replaceSmall(to, s.layout.idFile(), []byte(id+"\n"+making+"\n"))
}

// takeMessages moves cur/, and with it the mailbox.
func (s *Store) takeMessages(from, to Dir) error {
	if err := ignoreGone(from.Remove(s.layout.idFile())); err != nil {
		return err
	}
	if err := errors.Join(to.Sync(), from.Sync()); err != nil {
		return err
	}
	if err := from.Rename("cur", to, "cur"); err != nil {
		return err
	}
	if err := to.Sync(); err != nil {
		return err
	}
	id, _, err := readIDFile(to, s.layout)
	if err != nil {
		return err
	}
	return replaceSmall(to, s.layout.idFile(), []byte(id+"\n"))
}
