package maildir

import (
	"context"
	"errors"
	"strings"

	"postbag/internal/mail"
)

// PutBack puts things of the retention area back where they were, with date and
// flags (but \Deleted, with which a reader would remove them again), and answers
// with the IDs of those that are there now. A mailbox that is gone is made again. A
// message whose key is taken gets a new one; a whole mailbox whose name is taken
// stays in the area. Whole mailboxes come first, and then what was in them. A crash
// leaves each message in the area or in its mailbox.
func (s *Store) PutBack(ctx context.Context, ids []string) ([]string, error) {
	if err := s.writable("put back", ""); err != nil {
		return nil, err
	}
	done, err := s.putBack(ctx, ids)
	return done, fail("put back", "", mail.ScopeAccount, mail.Ref{}, err)
}

// kept is a message in the retention area.
type kept struct {
	t Trashed
	e retained
}

func (s *Store) putBack(ctx context.Context, ids []string) (done []string, err error) {
	want := map[string]bool{}
	for _, id := range ids {
		want[id] = true
	}
	var messages []kept
	err = s.eachTrashed(ctx, func(d Dir, t Trashed, e retained) error {
		if !want[t.ID] {
			return nil
		}
		if !t.Whole {
			messages = append(messages, kept{t, e})
			return nil
		}
		ok, err := s.putMailboxBack(ctx, d, t, e)
		if ok {
			done = append(done, t.ID)
		}
		return err
	})
	for len(messages) > 0 && err == nil {
		// Those of one mailbox that one run removed lie together.
		n := 1
		path, _ := messages[0].t.split()
		for n < len(messages) && strings.HasPrefix(messages[n].t.ID, path+"/") && messages[n].t.Mailbox == messages[0].t.Mailbox {
			n++
		}
		var some []string
		some, err = s.putMessagesBack(ctx, path, messages[:n])
		done = append(done, some...)
		messages = messages[n:]
	}
	return done, err
}

// putMessagesBack puts messages of one directory of the area back into one
// mailbox.
func (s *Store) putMessagesBack(ctx context.Context, path string, list []kept) (done []string, err error) {
	d, closeDir, err := s.openTrashDir(path)
	if err != nil {
		return nil, err
	}
	defer closeDir()
	box := list[0].t.Mailbox
	if err := s.Create(ctx, box, ""); err != nil {
		return nil, err
	}
	m, err := s.openMailbox(ctx, "put back", box, true)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	there, err := m.scanNames(ctx)
	if err != nil {
		return nil, err
	}
	var touched [2]bool
	put := map[string]bool{}
	taken := func(key string) bool {
		_, is := there.find(key)
		return is || put[key]
	}
	for _, one := range list {
		where, ok, putErr := m.putBack(ctx, d, one, taken)
		if err = putErr; err != nil {
			break
		}
		if ok {
			touched[where], put[one.t.Key] = true, true
			done = append(done, one.t.ID)
		}
	}
	// The mailbox first: a name that is lost on both sides would be a message lost.
	return done, errors.Join(err, m.syncSubs(touched), d.Sync())
}

// putBack puts one message back, under a key that is not taken.
func (m *mailbox) putBack(ctx context.Context, d Dir, one kept, taken func(key string) bool) (where subdir, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	flags := one.t.Flags
	if err := m.assign(ctx, flags.Keywords.Words()); err != nil {
		return 0, false, err
	}
	words, err := m.words()
	if err != nil {
		return 0, false, err
	}
	name, ok := parseName(one.e.Name)
	if !ok {
		return 0, false, nil
	}
	if taken(name.key) {
		if name.key, err = m.newKeyLike(name.key); err != nil {
			return 0, false, err
		}
	}
	flags.System &^= mail.Deleted
	// Here a letter of a keyword may mean another one: the index has the words.
	name.letters = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return -1
		}
		return r
	}, name.letters)
	to := movedName(name, inNew, flags, &keywordTable{}, words, m.store.infoSep)
	if name.sep != 0 {
		to.where = inCur
	}
	if err := moveFile(d, one.e.File, m.sub[to.where], to.name); err != nil {
		return 0, false, err
	}
	m.box.renamed(nil, &to)
	return to.where, true, nil
}

func (s *Store) putMailboxBack(ctx context.Context, d Dir, t Trashed, e retained) (bool, error) {
	box, done, err := s.makeBoxDir(t.Mailbox)
	if err != nil {
		return false, err
	}
	defer done()
	if there, err := isDir(box, "cur"); err != nil || there {
		return false, err
	}
	from, err := d.OpenDir(e.File)
	if err != nil {
		return false, err
	}
	defer from.Close()
	if err := moveEntries(from, box); err != nil {
		return false, err
	}
	s.forget(t.Mailbox)
	return true, errors.Join(d.Remove(e.File), d.Sync())
}
