package maildir

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strings"

	"postbag/internal/mail"
)

// Create makes a mailbox. Its directory cur/ comes last, and its identity says until
// then that it is being made: what a crash leaves is no mailbox yet, and none that lost
// its cur/ either, and the next Create completes it. A mailbox that exists is left as it
// is, apart from missing new/ and tmp/. use is ignored: a tree keeps no roles.
func (s *Store) Create(ctx context.Context, name string, use mail.SpecialUse) error {
	if err := s.writable("create", name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fail("create", name, mail.ScopeMailbox, mail.Ref{}, err)
	}
	dir, done, err := s.makeBoxDir(name)
	if err != nil {
		return fail("create", name, mail.ScopeMailbox, mail.Ref{}, err)
	}
	defer done()
	return fail("create", name, mail.ScopeMailbox, mail.Ref{}, s.fillBox(dir, name))
}

// makeBoxDir opens the directory of a mailbox and makes what is missing of it
// and above it.
func (s *Store) makeBoxDir(name string) (dir Dir, done func() error, err error) {
	parts := s.layout.pathParts(name)
	if name == "" || len(parts) > maxDepth {
		return nil, nil, boxError("create", name, mail.KindRefused, "", errors.New("the name is empty or nests too deep"))
	}
	dir, done = s.root, func() error { return nil }
	for i, part := range parts {
		entry, err := s.find(dir, part, i == 0 && len(parts) == 1)
		if errors.Is(err, fs.ErrNotExist) {
			entry, err = s.makePart(dir, part)
		}
		var sub Dir
		if err == nil {
			sub, err = dir.OpenDir(entry)
		}
		done()
		if err != nil {
			return nil, nil, err
		}
		dir, done = sub, sub.Close
	}
	return dir, done, nil
}

// makePart makes the directory for one part of a name. Where the file system
// takes its name for that of another mailbox, it is escaped throughout.
func (s *Store) makePart(d Dir, part string) (string, error) {
	var entry string
	var err error
	for _, e := range []escaper{s.esc, {portable: s.esc.portable, crowded: true}} {
		entry = s.layout.dirName(e, part)
		if err = d.Mkdir(entry); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", err
	}
	if err := s.noteName(d, entry, part); err != nil {
		return "", err
	}
	return entry, d.Sync()
}

// noteName writes the real name of a shortened directory into it. A directory
// may be on its way from one name to another: it keeps both.
func (s *Store) noteName(d Dir, entry, part string) error {
	if !isShortened(entry) {
		return nil
	}
	sub, err := d.OpenDir(entry)
	if err != nil {
		return err
	}
	defer sub.Close()
	return addName(sub, s.layout.nameFile(), part)
}

func addName(d Dir, file, part string) error {
	// Escaped, it is one line whatever it holds.
	line := escaper{}.escape(part)
	data, err := readSmall(d, file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.Contains("\n"+string(data), "\n"+line+"\n") {
		return nil
	}
	return replaceSmall(d, file, append(data, line+"\n"...))
}

// newID draws an identity for a mailbox.
func (s *Store) newID() (string, error) {
	var id [16]byte
	s.uniqueMu.Lock()
	defer s.uniqueMu.Unlock()
	_, err := io.ReadFull(s.opts.Rand, id[:])
	return hex.EncodeToString(id[:]), err
}

// fillBox makes the mailbox's identity and its three directories.
func (s *Store) fillBox(d Dir, name string) error {
	there, err := isDir(d, "cur")
	if err != nil {
		return err
	}
	isNew := !there
	if isNew {
		// One that is not finished may be that of a mailbox which was to be renamed to this.
		if id, unfinished, err := readIDFile(d, s.layout); err == nil && (id == "" || unfinished) {
			id, err := s.newID()
			if err != nil {
				return err
			}
			if err := replaceSmall(d, s.layout.idFile(), []byte(id+"\n"+making+"\n")); err != nil {
				return err
			}
		}
		if s.layout == MaildirPP && name != inbox {
			// https://www.courier-mta.org/imap/README.maildirquota.html: marks a folder.
			if err := writeSmall(d, "maildirfolder", nil); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	made := false
	for _, sub := range []string{"tmp", "new", "cur"} {
		err := d.Mkdir(sub)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = made || err == nil
		if err == nil {
			continue
		}
		if is, err := isDir(d, sub); err != nil {
			return err
		} else if !is {
			return &fs.PathError{Op: "mkdir", Path: sub, Err: errNotDir}
		}
	}
	if !made {
		return nil
	}
	if err := d.Sync(); err != nil || !isNew {
		return err
	}
	id, unfinished, err := readIDFile(d, s.layout)
	if err != nil || !unfinished {
		return nil // what is wrong with an identity, a listing says
	}
	return replaceSmall(d, s.layout.idFile(), []byte(id+"\n"))
}
