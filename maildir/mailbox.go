package maildir

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"postbag/internal/mail"
)

// box is what all open mailboxes of one name share.
type box struct {
	mu sync.Mutex
	// own is what this process did to the file names since the store was opened:
	// names that appeared and names that went.
	own ops
	// issued remembers the newest cursor that was given out, and what own was
	// then: a pass that finds issued.sum + (own.sum - issued.own) shows that nobody
	// but us changed anything.
	issued issue
	words  keywordTable
	// ownWords is the version of the keyword file that we wrote over the version
	// ownWordsBase; letters that had a meaning before have it still.
	ownWords, ownWordsBase fileStamp
	// dated are the times that we gave cur/ and new/, in nanoseconds since 1970.
	dated [2]int64
	swept bool  // leftovers in tmp/ were removed
	names int   // how many the last pass met, 0 before the first
	seen  *seen // nil where nobody tells; guarded by Store.watched
}

type issue struct {
	sum, own nameSum
	valid    bool
}

// mailbox is an open Maildir. It holds its directories open, so that it stays
// the same Maildir when it is renamed meanwhile.
type mailbox struct {
	store *Store
	info  mail.MailboxInfo
	write bool
	dir   Dir
	done  func() error
	sub   [2]Dir // by subdir; new/ may be nil
	tmp   Dir    // nil when open for reading
	box   *box

	index   *scan // where files are, for look-ups; nil until one was worth making
	hints   map[string]location
	guesses []guess // at names, the likeliest first; nil until one is made
	passes  int     // that look-ups cost so far
	rest    *restOfNew
	closed  bool
}

// Examine opens a mailbox for reading. Nothing is written, not even a missing
// new/ is made.
func (s *Store) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	m, err := s.openMailbox(ctx, "open", name, false)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Select opens a mailbox for reading and writing. Missing new/ and tmp/ are
// made; a missing cur/ means that the mailbox is gone.
func (s *Store) Select(ctx context.Context, name string) (mail.WritableMailbox, error) {
	if err := s.writable("open", name); err != nil {
		return nil, err
	}
	m, err := s.openMailbox(ctx, "open", name, true)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *Store) openMailbox(ctx context.Context, op, name string, write bool) (*mailbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, fail(op, name, mail.ScopeAccount, mail.Ref{}, err)
	}
	dir, done, err := s.openBoxDir(name)
	if err != nil {
		return nil, fail(op, name, mail.ScopeMailbox, mail.Ref{}, err)
	}
	m := &mailbox{store: s, dir: dir, done: done, write: write, box: s.shared(name),
		info: mail.MailboxInfo{Name: name, Messages: -1, Bytes: -1, ReadOnly: s.opts.ReadOnly}}
	if err := m.openSubs(); err != nil {
		m.Close()
		return nil, fail(op, name, mail.ScopeMailbox, mail.Ref{}, err)
	}
	return m, nil
}

func (m *mailbox) openSubs() error {
	id, err := readID(m.dir, m.store.layout)
	if err != nil {
		return boxError("open", m.info.Name, mail.KindIntegrity, "", err)
	}
	m.info.ObjectID, m.info.Validity = id, validityOf(id)
	if m.sub[inCur], err = m.dir.OpenDir("cur"); err != nil {
		return err
	}
	open := m.dir.OpenDir
	if m.write {
		open = func(name string) (Dir, error) { return makeDir(m.dir, name) }
		if m.tmp, err = open("tmp"); err != nil {
			return err
		}
	}
	m.sub[inNew], err = open("new")
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && !m.write) {
		return err
	}
	if m.sub[inNew] == nil || err != nil {
		m.sub[inNew] = nil
	}
	begun := m.write && m.begin()
	fp, err := m.fingerprint()
	if err != nil {
		return err
	}
	if begun {
		m.from(fp)
	}
	m.info.Stamp = fp.String()
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	return m.box.words.load(m.dir)
}

// shared gives what all open mailboxes of one name share.
func (s *Store) shared(name string) *box {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[name]
	if b == nil {
		b = &box{}
		s.boxes[name] = b
	}
	return b
}

// forget drops what is shared of mailboxes that are no longer what they were.
func (s *Store) forget(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		delete(s.boxes, name)
	}
}

// fingerprint takes the mailbox's fingerprint, and refuses when cur/ or new/ was
// replaced by another directory since it was opened: a removed directory reads
// as an empty one.
func (m *mailbox) fingerprint() (fingerprint, error) {
	f, err := statBox(m.dir)
	if err != nil {
		return f, err
	}
	st, err := m.sub[inCur].Stat()
	if err != nil {
		return f, err
	}
	f.local = st.Local
	same := st.Dev == f.cur.dev && st.Ino == f.cur.ino
	if n := m.sub[inNew]; n == nil {
		same = same && f.new == fileStamp{} // else it was made since, and nobody reads it
	} else if same {
		if st, err = n.Stat(); err != nil {
			return f, err
		}
		same = st.Dev == f.new.dev && st.Ino == f.new.ino
	}
	if !same {
		return f, boxError("scan", m.info.Name, mail.KindGone, "", errors.New("the directory was replaced meanwhile"))
	}
	return f, nil
}

// Info is the mailbox as it was when opened.
func (m *mailbox) Info() mail.MailboxInfo { return m.info }

// Close closes the directories.
func (m *mailbox) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	var errs []error
	for _, d := range []Dir{m.sub[inCur], m.sub[inNew], m.tmp} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	if m.done != nil {
		errs = append(errs, m.done())
	}
	m.index, m.hints, m.rest = nil, nil, nil
	return fail("close", m.info.Name, mail.ScopeMailbox, mail.Ref{}, errors.Join(errs...))
}

// words loads the keyword table and gives a copy that stays as it is.
func (m *mailbox) words() (*keywordTable, error) {
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	if err := m.box.words.load(m.dir); err != nil {
		return nil, err
	}
	t := m.box.words
	t.reserved = nil
	return &t, nil
}

// renamed accounts for a name of our own making: from one place to another,
// either of which may be nil.
func (b *box) renamed(from, to *location) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if from != nil {
		b.own.note(from.where, []byte(from.name), -1)
	}
	if to != nil {
		b.own.note(to.where, []byte(to.name), 1)
	}
}

// doubleKey names one of several files with one key.
func doubleKey(key string, ino uint64) string {
	return key + doubleSep + strconv.FormatUint(ino, 36)
}

// splitDouble is the inverse of doubleKey.
func splitDouble(key string) (plain string, ino uint64, ok bool) {
	i := strings.LastIndex(key, doubleSep)
	if i < 0 {
		return key, 0, false
	}
	ino, err := strconv.ParseUint(key[i+len(doubleSep):], 36, 64)
	return key[:i], ino, err == nil
}
