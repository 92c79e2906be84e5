package maildir

import (
	"context"
	"slices"

	"postbag/internal/mail"
)

// Storable is f without the keywords that find no letter: a mailbox has 26. A
// letter that is still free is kept for the keyword until the store is closed.
func (m *mailbox) Storable(f mail.Flags) mail.Flags {
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	words := f.Keywords.Words()
	if len(words) == 0 {
		return f
	}
	if err := m.knowStray(context.Background()); err != nil {
		// Only what has a letter already.
		f.Keywords = mail.NewKeywords(slices.DeleteFunc(words, func(w string) bool {
			return len(m.box.words.wanting([]string{w})) > 0
		})...)
		return f
	}
	f.Keywords = mail.NewKeywords(m.box.words.promise(words)...)
	return f
}

// assign gives keywords their letters, durably, before one stands in a name.
func (m *mailbox) assign(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return nil
	}
	b := m.box
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.words.load(m.dir); err != nil {
		return err
	}
	if len(b.words.wanting(words)) == 0 {
		return nil
	}
	if err := m.knowStray(ctx); err != nil {
		return err
	}
	before := b.words.stamp
	if err := b.words.assign(ctx, m.dir, m.store.opts.Now, words); err != nil {
		return err
	}
	if before != b.ownWords {
		b.ownWordsBase = before
	}
	b.ownWords = b.words.stamp
	return nil
}

// knowStray looks once for letters in file names that mean nothing: they stay
// meaningless. It is called with the box locked.
func (m *mailbox) knowStray(ctx context.Context) error {
	t := &m.box.words
	if t.looked {
		return nil
	}
	if err := t.load(m.dir); err != nil {
		return err
	}
	var stray uint32
	for _, where := range []subdir{inNew, inCur} {
		err := m.readSub(ctx, where, func(name []byte, keyLen int) error {
			for _, c := range strayLetters(name[keyLen:]) {
				if t.words[c-'a'] == "" {
					stray |= 1 << (c - 'a')
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.stray, t.looked = stray, true
	return nil
}

// strayLetters are the lower-case flags of an info part.
func strayLetters(info []byte) []byte {
	if len(info) < 4 || info[1] != '2' || info[2] != ',' {
		return nil
	}
	info = info[3:]
	end := 0
	for end < len(info) && isLetter(info[end]) {
		end++
	}
	var out []byte
	for _, c := range info[:end] {
		if c >= 'a' {
			out = append(out, c)
		}
	}
	return out
}
