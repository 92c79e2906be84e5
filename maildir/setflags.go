package maildir

import (
	"context"
	"errors"
	"io/fs"

	"postbag/internal/mail"
)

// SetFlags renames each message to a name with the new flags. Letters that mean
// nothing to us and the rest of the info part stay. A message leaves new/ only
// when it gets a flag. The renames are made durable together, at the end: a crash
// leaves each message under its old or its new name.
//
// A name that is taken is never replaced: the message keeps its flags, which the
// answer shows. What was renamed meanwhile is followed, with the delta applied to
// the flags that it has then.
func (m *mailbox) SetFlags(ctx context.Context, changes []mail.FlagChange) ([]mail.FlagState, error) {
	out, err := m.setFlags(ctx, changes)
	if err != nil {
		return nil, m.fail("set flags", err)
	}
	return out, nil
}

func (m *mailbox) setFlags(ctx context.Context, changes []mail.FlagChange) ([]mail.FlagState, error) {
	var wanted mail.Keywords
	refs := make([]mail.Ref, len(changes))
	for i, c := range changes {
		refs[i] = c.Ref
		wanted = wanted.Union(c.Delta.Add.Keywords)
	}
	if err := m.assign(ctx, wanted.Words()); err != nil {
		return nil, err
	}
	words, err := m.words()
	if err != nil {
		return nil, err
	}
	f := m.finder()
	if err := f.prepare(ctx, refs); err != nil {
		return nil, err
	}
	var touched [2]bool
	var out []mail.FlagState
	for _, c := range changes {
		if err = ctx.Err(); err != nil {
			break
		}
		var now mail.Flags
		err = f.follow(ctx, c.Ref, func(l location) error {
			var err error
			now, err = m.setOne(f, c, l, words, &touched)
			return err
		})
		if errors.Is(err, errGone) {
			err = nil
			continue
		}
		if err != nil {
			break
		}
		out = append(out, mail.FlagState{Ref: c.Ref, Flags: now})
	}
	return out, errors.Join(err, m.syncSubs(touched))
}

// setOne changes the flags of the message at l.
func (m *mailbox) setOne(f *finder, c mail.FlagChange, l location, words *keywordTable, touched *[2]bool) (mail.Flags, error) {
	name, ok := parseName(l.name)
	if !ok {
		return mail.Flags{}, errGone
	}
	now := flagsOf(name.letters, words)
	letters := lettersOf(now.Apply(c.Delta), name.letters, words)
	after := flagsOf(letters, words)
	if after.Equal(now) {
		// It must be there all the same to be answered for.
		_, err := m.sub[l.where].Lstat(l.name)
		return now, err
	}
	to := location{inCur, name.withLetters(letters, m.store.infoSep)}
	if l.where == inNew && letters == "" {
		to.where = inNew
	}
	if len(to.name) > 255 {
		return now, nil
	}
	err := m.sub[l.where].Rename(l.name, m.sub[to.where], to.name)
	if errors.Is(err, errCrossDevice) {
		err = moveFile(m.sub[l.where], l.name, m.sub[to.where], to.name)
	}
	if errors.Is(err, fs.ErrExist) || isAny(err, errsName) || errors.Is(err, fs.ErrPermission) {
		return now, nil
	}
	if err != nil {
		return now, err
	}
	m.box.renamed(&l, &to)
	f.moved(c.Ref.Key, to)
	touched[l.where], touched[to.where] = true, true
	return after, nil
}
