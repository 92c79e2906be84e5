package maildir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"postbag/internal/mail"
)

// DefaultKeepDeleted is how long removed messages are kept when nothing else is
// said.
const DefaultKeepDeleted = 30 * 24 * time.Hour

// Options says how to open a tree. The zero Options opens one that postbag made,
// for reading and writing.
type Options struct {
	Layout Layout // "": the tree's own; Verbatim for a new tree
	// Create makes the root when it is missing, and the marker when that is
	// missing. Adopt does only the latter, for a tree that another tool made.
	Create, Adopt bool
	// ReadOnly opens any tree, with or without a marker, and writes nothing.
	ReadOnly bool
	// Owner is the account that the tree belongs to; a tree of another account is
	// refused. "" does not look.
	Owner string
	// RootID is what the state has on record of the tree (see Store.RootID): a
	// root without a marker is then taken for one that is not mounted, even with
	// Create, and another tree is refused. "" when the state knows nothing.
	RootID string
	// AnyUser accepts a root that another user of the system owns.
	AnyUser bool
	// KeepDeleted is how long ExpireTrash keeps what was removed: 0 stands for
	// DefaultKeepDeleted, and with a negative value Remove unlinks at once.
	KeepDeleted time.Duration

	FS   FS               // nil: the real file system
	Now  func() time.Time // nil: time.Now
	Rand io.Reader        // nil: crypto/rand
	Log  *slog.Logger     // nil: silence. Told of foreign files and the like, once each
}

// FS makes and opens roots.
type FS interface {
	// OpenRoot opens the directory at path, which may lead through symbolic
	// links: fs.ErrNotExist when there is nothing, errNotDir when it is a file.
	OpenRoot(path string) (Dir, error)
	// MakeRoot makes a directory and its parents, durably.
	MakeRoot(path string) error
}

type osFS struct{}

func (osFS) OpenRoot(path string) (Dir, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNotDir}
	}
	return openOSRoot(path)
}

func (osFS) MakeRoot(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	// A umask may take away the owner's bits, too.
	if err := os.Chmod(path, 0o700); err != nil {
		return err
	}
	parent, err := openOSRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// Store is a tree of Maildirs.
type Store struct {
	path     string // absolute
	root     Dir
	opts     Options
	layout   Layout
	mark     marker
	esc      escaper
	fold     bool // the file system takes names for equal that differ in case or normalisation
	infoSep  byte // between key and info part, for names that have none yet
	started  time.Time
	uniqueMu sync.Mutex // guards opts.Rand
	watched  watched

	mu       sync.Mutex
	boxes    map[string]*box // by mailbox name
	reported map[string]bool // foreign files that the log was told of
	slowSync bool            // flushing the whole file system took too long once
	closed   bool
}

// Open opens the tree at root. Errors are *mail.Error of account scope: the
// root is missing, is no directory, belongs to another account or user, is of
// another layout, or looks like a mount point without its file system. A crash
// while a new tree is set up leaves a root without a marker, which the next Open
// with Create completes.
func Open(root string, o Options) (*Store, error) {
	path, err := filepath.Abs(root)
	if err != nil {
		return nil, openError(mail.KindUsage, err, "")
	}
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.KeepDeleted == 0 {
		o.KeepDeleted = DefaultKeepDeleted
	}
	switch o.Layout {
	case "", Verbatim, MaildirPP, Flat:
	default:
		return nil, openError(mail.KindUsage, fmt.Errorf("unknown layout %q", o.Layout), "use verbatim, maildir++ or flat")
	}
	dir, err := openOrMakeRoot(path, o)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, root: dir, opts: o, started: o.Now(), boxes: map[string]*box{}, reported: map[string]bool{}}
	if err := s.settle(); err != nil {
		dir.Close()
		return nil, err
	}
	return s, nil
}

func openOrMakeRoot(path string, o Options) (Dir, error) {
	dir, err := o.FS.OpenRoot(path)
	switch {
	case errors.Is(err, errNotDir):
		return nil, openError(mail.KindUsage, fmt.Errorf("%q is not a directory", path), "a Maildir tree is a directory")
	case errors.Is(err, fs.ErrNotExist) && o.RootID != "":
		return nil, openError(mail.KindGuard, fmt.Errorf("%q is gone or not mounted", path),
			"the state knows this tree: mount the disk or put the directory back")
	case errors.Is(err, fs.ErrNotExist) && (!o.Create || o.ReadOnly):
		return nil, openError(mail.KindUsage, fmt.Errorf("there is no directory %q", path),
			"check the path, and that the disk is mounted")
	case errors.Is(err, fs.ErrNotExist):
		if err := o.FS.MakeRoot(path); err != nil {
			return nil, fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
		}
		dir, err = o.FS.OpenRoot(path)
	}
	if err != nil {
		return nil, fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
	}
	if err := checkOwner(dir, o); err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// checkOwner refuses a root in which others could have laid traps.
func checkOwner(dir Dir, o Options) error {
	st, err := dir.Stat()
	if err != nil {
		return fail("open", "", mail.ScopeAccount, mail.Ref{}, err)
	}
	if o.ReadOnly || st.UID < 0 {
		return nil
	}
	if me := effectiveUID(); st.UID != me && me != 0 && !o.AnyUser {
		return openError(mail.KindUsage, fmt.Errorf("the tree belongs to user %d", st.UID), "run as its owner")
	}
	if st.Mode.Perm()&0o002 != 0 && st.Mode&fs.ModeSticky == 0 {
		return openError(mail.KindUsage, errors.New("anybody may write to the tree"), "take that right away: chmod o-w")
	}
	return nil
}

func openError(kind mail.Kind, err error, hint string) *mail.Error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: kind, Op: "open", Err: err, Hint: hint}
}

// Account is the identity of the tree's marker, or its path when it has none
// and is open for reading only.
func (s *Store) Account() string {
	if s.mark.ID == "" {
		return "maildir:" + s.path
	}
	return "maildir:" + s.mark.ID
}

// RootID is the random identity of the tree: 32 hexadecimal digits that stay
// when the tree is moved or copied as a whole. "" when it has no marker.
func (s *Store) RootID() string { return s.mark.ID }

// Owner is the account that the tree belongs to; "" when it never was told.
func (s *Store) Owner() string { return s.mark.Account }

// Layout is how mailbox names become directories in this tree.
func (s *Store) Layout() Layout { return s.layout }

// Path is the absolute path of the root.
func (s *Store) Path() string { return s.path }

// StateDir is the absolute path of the directory of the tree's own files: the
// place for the state beside the mail. It exists unless the tree is open for
// reading only.
func (s *Store) StateDir() string { return filepath.Join(s.path, s.layout.stateDir()) }

// Close closes the root. Mailboxes are closed before.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.watched.close(), s.root.Close())
}

// unique makes a key that nothing else has.
func (s *Store) unique() (string, error) {
	s.uniqueMu.Lock()
	defer s.uniqueMu.Unlock()
	return newKey(s.opts.Now(), s.opts.Rand)
}

// notice tells the log something once.
func (s *Store) notice(text, mailbox, file string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := text + "\x00" + mailbox + "\x00" + file
	if s.reported[id] || len(s.reported) >= 1000 {
		return
	}
	s.reported[id] = true
	s.opts.Log.Warn(text, "mailbox", mailbox, "file", fmt.Sprintf("%q", file))
}

// writable refuses to change a tree that is open for reading only.
func (s *Store) writable(op, mailbox string) error {
	if s.opts.ReadOnly {
		return boxError(op, mailbox, mail.KindUsage, "", errors.New("the tree is open for reading only"))
	}
	return nil
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
