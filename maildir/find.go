package maildir

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"postbag/internal/mail"
)

// A file's name changes with the message's flags, so that a key does not lead to
// it. Three ways are tried: what the last delta saw, the names that most
// messages have, and a pass over all names.

// Names are guessed for so many keys, and for more in a large mailbox: a guess that
// fails costs as much as a pass over so many names.
const (
	fewGuesses  = 64
	namesAGuess = 50
)

// keepIndexAfter is the number of passes after which a mailbox keeps an index.
const keepIndexAfter = 2

// guess is what a name may be beside its key.
type guess struct {
	where subdir
	plain bool   // the key alone
	flags string // letters, unless plain
}

// usualGuesses are what most messages have, the most usual first.
func usualGuesses() []guess {
	var list []guess
	for _, flags := range []string{"S", "", "RS", "FS", "F", "PS", "FRS", "PRS", "R", "T", "ST", "RST", "D", "DS"} {
		list = append(list, guess{flags: flags})
	}
	return append(list, guess{where: inNew, plain: true}, guess{plain: true})
}

// finder looks up where messages are, for one call of the mailbox.
type finder struct {
	m       *mailbox
	guesses int                 // how many are left
	where   map[string]location // what is known of this call's keys
}

func (m *mailbox) finder() *finder {
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	return &finder{m: m, guesses: max(fewGuesses, m.box.names/namesAGuess), where: map[string]location{}}
}

// prepare finds as many of refs as it can at once.
func (f *finder) prepare(ctx context.Context, refs []mail.Ref) error {
	m := f.m
	want := map[string]bool{}
	for _, ref := range refs {
		if ref.Key == "" || strings.ContainsAny(ref.Key, "/\x00") {
			continue
		}
		if l, ok := m.hints[ref.Key]; ok && f.there(ref.Key, l) {
			f.where[ref.Key] = l
		} else if l, ok := f.indexed(ref.Key); ok {
			f.where[ref.Key] = l
		} else if l, ok := f.guess(ref.Key); ok {
			f.where[ref.Key] = l
		} else {
			want[ref.Key] = true
		}
	}
	if len(want) == 0 {
		return nil
	}
	return f.lookFor(ctx, want)
}

// there reports whether a file is where it was seen. A file that is one of
// several with its key needs a closer look.
func (f *finder) there(key string, l location) bool {
	st, err := f.m.sub[l.where].Lstat(l.name)
	if err != nil || !st.Mode.IsRegular() {
		return false
	}
	_, ino, double := splitDouble(key)
	return !double || st.Ino == ino
}

func (f *finder) indexed(key string) (location, bool) {
	if f.m.index == nil {
		return location{}, false
	}
	l, ok := f.m.index.find(key)
	return l, ok && f.there(key, l)
}

// guess tries the usual names, beginning with what was right last: messages that are
// asked for together are often alike.
func (f *finder) guess(key string) (location, bool) {
	if f.guesses <= 0 || isDouble(key) {
		return location{}, false
	}
	f.guesses--
	m := f.m
	if m.guesses == nil {
		m.guesses = usualGuesses()
	}
	for i, g := range m.guesses {
		l := location{g.where, key}
		if !g.plain {
			l.name = fileName{key: key}.withLetters(g.flags, m.store.infoSep)
		}
		if m.sub[l.where] != nil && f.there(key, l) {
			copy(m.guesses[1:i+1], m.guesses[:i])
			m.guesses[0] = g
			return l, true
		}
	}
	return location{}, false
}

// lookFor finds keys in a pass. From the third one on the mailbox keeps the
// names: somebody goes through all of it.
func (f *finder) lookFor(ctx context.Context, want map[string]bool) error {
	m := f.m
	m.passes++
	plain := len(want) > 0
	for key := range want {
		plain = plain && !isDouble(key)
	}
	if m.passes <= keepIndexAfter && plain {
		_, err := m.pass(ctx, func(where subdir, name []byte, keyLen int) error {
			if want[string(name[:keyLen])] {
				l := location{where, string(name)}
				if old, twice := f.where[string(name[:keyLen])]; !twice || !f.there("", old) {
					f.where[string(name[:keyLen])] = l
				}
			}
			return nil
		})
		return err
	}
	s, err := m.scanNames(ctx)
	if err != nil {
		return err
	}
	m.index = s
	for key := range want {
		if l, ok := s.find(key); ok {
			f.where[key] = l
		}
	}
	return nil
}

// maxTries is how often an operation follows a file that is renamed under it.
const maxTries = 4

// errGone says that a message is in none of the places it could be in.
var errGone = errors.New("the message is gone")

// follow calls fn with the place of a message until it does not fail with
// fs.ErrNotExist: then the file was renamed, and is looked for. errGone when it
// is nowhere.
func (f *finder) follow(ctx context.Context, ref mail.Ref, fn func(location) error) error {
	for range maxTries {
		l, ok := f.where[ref.Key]
		if !ok {
			return errGone
		}
		err := fn(l)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(f.where, ref.Key)
		delete(f.m.hints, ref.Key)
		if l, ok := f.guess(ref.Key); ok {
			f.where[ref.Key] = l
			continue
		}
		if err := f.lookFor(ctx, map[string]bool{ref.Key: true}); err != nil {
			return err
		}
	}
	return errGone
}

// moved notes that a file has another name now.
func (f *finder) moved(key string, to location) {
	f.where[key] = to
	if _, ok := f.m.hints[key]; ok {
		f.m.hints[key] = to
	}
}
