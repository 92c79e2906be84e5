package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
)

// Keywords are stored as Dovecot does it: the letters a to z of the info part,
// and a file beside cur/ with a line "NUMBER KEYWORD" for each, 0 for a
// (https://doc.dovecot.org/2.3/admin_manual/mailbox_formats/maildir/). Dovecot
// changes that file under the lock of its UID list, and so do we. A letter that
// has a meaning keeps it for good; a letter that stands in a file name without a
// meaning is never given one.
const (
	keywordFile     = "dovecot-keywords"
	keywordTempFile = "dovecot-keywords.lock"
	keywordLock     = "dovecot-uidlist.lock"
	keywordLockTemp = "dovecot-uidlist.lock.postbag"
	maxKeywords     = 26
	// Dovecot overrides a lock of this age.
	staleLock = 2 * time.Minute
	lockWait  = 5 * time.Second
)

// keywordTable says what the letters mean. A nil table knows none.
type keywordTable struct {
	words [maxKeywords]string // "" for a letter without a meaning
	// reserved are words that Storable has promised a letter, in memory only.
	reserved map[string]byte
	stray    uint32 // letters seen in file names that have no meaning
	looked   bool   // stray is known
	stamp    fileStamp
	loaded   bool
	extra    []string // lines that are not understood, kept when the file is written
}

// word is the keyword of a letter; "" when it has none or one that IMAP cannot
// have.
func (t *keywordTable) word(letter byte) string {
	if t == nil {
		return ""
	}
	if w := t.words[letter-'a']; mail.ValidKeyword(w) {
		return w
	}
	return ""
}

// letters are all letters of a keyword. More than one has the same keyword only
// in a file that somebody edited.
func (t *keywordTable) letters(word string) []byte {
	if t == nil {
		return nil
	}
	var out []byte
	for i, w := range t.words {
		if w != "" && strings.EqualFold(w, word) {
			out = append(out, 'a'+byte(i))
		}
	}
	return out
}

// free is a letter that means nothing yet and is not promised; 0 when there is
// none. Dovecot numbers upwards: so do we, as long as there is room.
func (t *keywordTable) free() byte {
	taken := t.stray
	next := 0
	for i, w := range t.words {
		if w != "" {
			taken |= 1 << i
			next = i + 1
		}
	}
	for _, c := range t.reserved {
		taken |= 1 << (c - 'a')
		next = max(next, int(c-'a')+1)
	}
	for n := range maxKeywords {
		if i := (next + n) % maxKeywords; taken&(1<<i) == 0 {
			return 'a' + byte(i)
		}
	}
	return 0
}

// load reads the file when it has changed.
func (t *keywordTable) load(d Dir) error {
	stamp, err := statWords(d)
	if err != nil {
		return err
	}
	if t.loaded && stamp == t.stamp {
		return nil
	}
	var data []byte
	if stamp != (fileStamp{}) {
		if data, err = readSmall(d, keywordFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	t.parse(string(data))
	t.stamp, t.loaded = stamp, true
	for word, c := range t.reserved {
		if t.words[c-'a'] != "" || len(t.letters(word)) > 0 {
			delete(t.reserved, word)
		}
	}
	return nil
}

// parse reads the lines of the file. The first meaning of a letter counts.
func (t *keywordTable) parse(data string) {
	t.words, t.extra = [maxKeywords]string{}, nil
	for line := range strings.Lines(data) {
		line = strings.TrimRight(line, "\r\n")
		number, word, ok := strings.Cut(line, " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n >= maxKeywords || word == "" || t.words[n] != "" {
			if line != "" {
				t.extra = append(t.extra, line)
			}
			continue
		}
		t.words[n] = word
	}
}

func (t *keywordTable) format() []byte {
	var b strings.Builder
	for i, w := range t.words {
		if w != "" {
			fmt.Fprintf(&b, "%d %s\n", i, w)
		}
	}
	for _, line := range t.extra {
		b.WriteString(line + "\n")
	}
	return []byte(b.String())
}

// promise gives each word a letter in memory and answers with those that have
// one.
func (t *keywordTable) promise(words []string) []string {
	var out []string
	for _, w := range passedLast(words) {
		if !mail.ValidKeyword(w) {
			continue
		}
		if len(t.letters(w)) > 0 || t.reservedFor(w) != 0 {
			out = append(out, w)
			continue
		}
		c := t.free()
		if c == 0 && strings.EqualFold(w, forwarded) { // it has P
			out = append(out, w)
		}
		if c != 0 {
			if t.reserved == nil {
				t.reserved = map[string]byte{}
			}
			t.reserved[strings.ToLower(w)] = c
			out = append(out, w)
		}
	}
	return out
}

func (t *keywordTable) reservedFor(word string) byte { return t.reserved[strings.ToLower(word)] }

// wanting are the words that have no letter in the file yet. What P stands for
// wants one as well, as long as there are some: Dovecot does not know P.
func (t *keywordTable) wanting(words []string) []string {
	return slices.DeleteFunc(passedLast(words), func(w string) bool {
		return len(t.letters(w)) > 0 || !mail.ValidKeyword(w) ||
			strings.EqualFold(w, forwarded) && t.reservedFor(w) == 0 && t.free() == 0
	})
}

// passedLast is words with the one that can do without a letter at the end.
func passedLast(words []string) []string {
	out := slices.Clone(words)
	slices.SortStableFunc(out, func(a, b string) int {
		switch {
		case strings.EqualFold(a, forwarded):
			return 1
		case strings.EqualFold(b, forwarded):
			return -1
		}
		return 0
	})
	return out
}

// assign gives words letters in the file, durably, as far as there are letters.
// It is called with the table's owner locked.
func (t *keywordTable) assign(ctx context.Context, d Dir, now func() time.Time, words []string) error {
	if len(t.wanting(words)) == 0 {
		return nil
	}
	unlock, err := lockKeywords(ctx, d, now)
	if err != nil {
		return err
	}
	defer unlock()
	t.loaded = false // read again, under the lock
	if err := t.load(d); err != nil {
		return err
	}
	before := t.words
	reserved := maps.Clone(t.reserved)
	for _, w := range t.wanting(words) {
		c := t.reservedFor(w)
		if c != 0 && t.words[c-'a'] != "" {
			c = 0
		}
		if delete(t.reserved, strings.ToLower(w)); c == 0 {
			c = t.free()
		}
		if c != 0 {
			t.words[c-'a'] = w
		}
	}
	if t.words == before {
		return nil
	}
	if err := t.write(d); err != nil {
		t.words, t.reserved, t.loaded = before, reserved, false
		return err
	}
	t.stamp, err = statWords(d)
	return err
}

// write replaces the file as Dovecot does, under the name of its own temporary
// file.
func (t *keywordTable) write(d Dir) error {
	if err := d.Remove(keywordTempFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeSmall(d, keywordTempFile, t.format()); err != nil {
		return err
	}
	if err := d.Replace(keywordTempFile, keywordFile); err != nil {
		d.Remove(keywordTempFile)
		return err
	}
	return d.Sync()
}

// lockKeywords takes Dovecot's lock: a file that only one can create. As in
// Dovecot's own it says "PID:HOST", so that neither waits for a process of this
// machine that was killed.
func lockKeywords(ctx context.Context, d Dir, now func() time.Time) (unlock func(), err error) {
	for waited := time.Duration(0); ; waited += 50 * time.Millisecond {
		err := makeLock(d)
		if err == nil {
			return func() { d.Remove(keywordLock) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		st, err := d.Lstat(keywordLock)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err == nil && (now().Sub(st.Mtime) > staleLock || abandoned(d)):
			if err := d.Remove(keywordLock); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		if waited >= lockWait {
			return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindLocked, Temporary: true, Op: "set keywords",
				Err: errors.New("another program holds dovecot-uidlist.lock"), Hint: "run again when it is done"}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// makeLock makes the lock with its content at once: a file that says nothing
// would be waited for.
func makeLock(d Dir) error {
	if err := d.Remove(keywordLockTemp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "" // then only the lock's age counts
	}
	f, err := d.Create(keywordLockTemp)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d:%s", os.Getpid(), host)
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Rename(keywordLockTemp, d, keywordLock)
	}
	if err != nil {
		d.Remove(keywordLockTemp)
	}
	return err
}

// abandoned reports whether the lock is that of a process of this machine that is
// not there any more.
func abandoned(d Dir) bool {
	data, err := readSmall(d, keywordLock)
	if err != nil {
		return false
	}
	number, owner, _ := strings.Cut(strings.TrimSpace(string(data)), ":")
	pid, err := strconv.Atoi(number)
	host, hostErr := os.Hostname()
	return err == nil && hostErr == nil && pid > 0 && owner == host && processGone(pid)
}
