package maildir

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"postbag/internal/mail"
)

// Move renames messages into another mailbox. A key that is taken there gives
// way to a new one. Keywords are written with the letters of the other mailbox. A
// crash leaves each message in one of the two mailboxes, or, when they lie on
// different devices, in both.
func (m *mailbox) Move(ctx context.Context, refs []mail.Ref, to string) ([]mail.Moved, error) {
	if to == m.info.Name {
		return nil, boxError("move", to, mail.KindUsage, "", errors.New("source and destination are one mailbox"))
	}
	dst, err := m.store.openMailbox(ctx, "move", to, true)
	if err != nil {
		return nil, err
	}
	defer dst.Close()
	moved, err := m.move(ctx, refs, dst)
	if err != nil {
		return nil, m.fail("move", err)
	}
	return moved, nil
}

func (m *mailbox) move(ctx context.Context, refs []mail.Ref, dst *mailbox) ([]mail.Moved, error) {
	words, err := m.words()
	if err != nil {
		return nil, err
	}
	f, taken := m.finder(), dst.finder()
	if err := f.prepare(ctx, refs); err != nil {
		return nil, err
	}
	if err := taken.prepare(ctx, plainRefs(refs)); err != nil {
		return nil, err
	}
	var touched [2][2]bool
	var out []mail.Moved
	for _, ref := range refs {
		if err = ctx.Err(); err != nil {
			break
		}
		var key string
		err = f.follow(ctx, ref, func(l location) error {
			var err error
			key, err = m.moveOne(ctx, l, dst, words, taken, &touched)
			return err
		})
		if errors.Is(err, errGone) {
			err = nil
			continue
		}
		if err != nil {
			break
		}
		delete(f.where, ref.Key)
		delete(m.hints, ref.Key)
		out = append(out, mail.Moved{From: ref, To: mail.Ref{Key: key}})
	}
	// The new names first: a name that is lost on both sides would be a message
	// lost.
	return out, errors.Join(err, dst.syncSubs(touched[1]), m.syncSubs(touched[0]))
}

func plainRefs(refs []mail.Ref) []mail.Ref {
	out := make([]mail.Ref, len(refs))
	for i, ref := range refs {
		key, _, _ := splitDouble(ref.Key)
		out[i] = mail.Ref{Key: key}
	}
	return out
}

// moveOne moves the message at l and answers with its new key.
func (m *mailbox) moveOne(ctx context.Context, l location, dst *mailbox, words *keywordTable, taken *finder, touched *[2][2]bool) (string, error) {
	name, ok := parseName(l.name)
	if !ok {
		return "", errGone
	}
	flags := flagsOf(name.letters, words)
	if err := dst.assign(ctx, flags.Keywords.Words()); err != nil {
		return "", err
	}
	theirs, err := dst.words()
	if err != nil {
		return "", err
	}
	for try := 0; ; try++ {
		if _, is := taken.where[name.key]; is || try > 0 {
			if name.key, err = m.newKeyLike(name.key); err != nil {
				return "", err
			}
		}
		to := movedName(name, l.where, flags, words, theirs, dst.store.infoSep)
		err := moveFile(m.sub[l.where], l.name, dst.sub[to.where], to.name)
		if errors.Is(err, fs.ErrExist) && try < 10 {
			continue
		}
		if err != nil {
			return "", err
		}
		dst.box.mu.Lock()
		dst.box.words.looked = false // a letter without a meaning may have come along
		dst.box.mu.Unlock()
		m.box.renamed(&l, nil)
		dst.box.renamed(nil, &to)
		taken.where[name.key] = to
		touched[0][l.where], touched[1][to.where] = true, true
		return name.key, nil
	}
}

// newKeyLike makes a key for a message that has one: the mark of a raw message
// goes with it.
func (m *mailbox) newKeyLike(old string) (string, error) {
	key, err := m.store.unique()
	if err == nil && isRawKey(old) {
		key = rawKey(key)
	}
	return key, err
}

// movedName is the place of a message in another mailbox. A letter that means
// nothing here goes along unless it means something there.
func movedName(name fileName, where subdir, flags mail.Flags, ours, theirs *keywordTable, sep byte) location {
	kept := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' && ours.words[r-'a'] != "" {
			return -1
		}
		return r
	}, name.letters)
	letters := lettersOf(flags, kept, theirs)
	if name.sep == 0 && letters == "" {
		return location{where, name.key}
	}
	to := location{where, name.withLetters(letters, sep)}
	if letters != "" {
		to.where = inCur
	}
	return to
}
