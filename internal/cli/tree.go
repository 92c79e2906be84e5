package cli

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"postbag/internal/config"
	"postbag/maildir"
	"postbag/state"
)

// stateFile is the name of the state in a tree's own directory.
const stateFile = "state.db"

// tree is a Maildir tree with the state beside it.
type tree struct {
	store *maildir.Store
	state *state.DB
}

// openTree opens a tree for a run that writes to it. A new one is made, where
// none has been yet.
func (s *session) openTree(a *config.Account, o *options, command string, open *closers) (*tree, error) {
	to := s.treeOptions(a)
	to.Create = true
	record := s.readRecord(a.Maildir)
	store, err := s.openRecorded(a, to, record, o.create)
	if err != nil {
		return nil, err
	}
	open.add(store)
	t, err := s.withState(a, store, state.Options{Command: command}, open)
	if err == nil && !o.unrecorded {
		s.record(record, store)
	}
	return t, err
}

// readTree opens a tree for a command that changes nothing.
func (s *session) readTree(a *config.Account, open *closers) (*tree, error) {
	store, err := s.openToRead(a.Maildir, s.treeOptions(a))
	if err != nil {
		return nil, err
	}
	open.add(store)
	return s.withState(a, store, state.Options{ReadOnly: true}, open)
}

// changeTree opens a tree that is there, for a command that changes it and asks
// no server.
func (s *session) changeTree(a *config.Account, command string, open *closers) (*tree, error) {
	store, err := maildir.Open(a.Maildir, s.treeOptions(a))
	if err != nil {
		if s.isGone(a.Maildir) {
			return nil, goneError(a.Maildir, "mount it")
		}
		return nil, at(a.Maildir, err)
	}
	open.add(store)
	return s.withState(a, store, state.Options{Command: command}, open)
}

// pretendTree opens a tree for a dry run. What is missing, the tree or its state,
// is made anew in a temporary directory, so that nothing is written to the place
// itself.
func (s *session) pretendTree(a *config.Account, o *options, open *closers) (*tree, error) {
	scratch, err := os.MkdirTemp("", "postbag-")
	if err != nil {
		return nil, err
	}
	open.add(removal(scratch))
	b := *a
	to := s.treeOptions(a)
	record := s.readRecord(a.Maildir)
	_, err = os.Stat(a.Maildir)
	if errors.Is(err, fs.ErrNotExist) && (o.create || record.root() == "") {
		b.Maildir, to.Create = filepath.Join(scratch, "tree"), true
	} else {
		to.ReadOnly = true
	}
	store, err := s.openRecorded(&b, to, record, o.create)
	if err != nil {
		return nil, err
	}
	open.add(store)
	t, err := s.withState(&b, store, state.Options{ReadOnly: true}, open)
	if !errors.Is(err, state.ErrNoState) {
		return t, err
	}
	b.State = filepath.Join(scratch, stateFile)
	return s.withState(&b, store, state.Options{}, open)
}

// removal removes a directory when it is closed.
type removal string

func (r removal) Close() error { return os.RemoveAll(string(r)) }

// withState opens the state that belongs to a tree.
func (s *session) withState(a *config.Account, store *maildir.Store, o state.Options, open *closers) (*tree, error) {
	path := a.State
	if path == "" {
		path = filepath.Join(store.StateDir(), stateFile)
	}
	o.RootID = store.RootID()
	o.Now = s.env.Now
	if a.Server.Host != "" {
		o.Accounts[state.A] = a.Server.Identity()
	}
	if o.RootID != "" {
		o.Accounts[state.B] = store.Account()
	}
	db, err := state.Open(s.ctx, path, o)
	if err != nil {
		return nil, err
	}
	open.add(db)
	s.out.note("the state is %s", path)
	return &tree{store: store, state: db}, nil
}

// rootOf is the tree that a state belongs to; "" when there is no state yet.
func (s *session) rootOf(path string) (string, error) {
	db, err := state.Open(s.ctx, path, state.Options{ReadOnly: true})
	if errors.Is(err, state.ErrNoState) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	id, err := db.Meta(s.ctx, "root")
	return id, errors.Join(err, db.Close())
}

// treeOptions are the options that every way to open a tree has in common.
func (s *session) treeOptions(a *config.Account) maildir.Options {
	o := maildir.Options{Layout: maildir.Layout(a.Layout), Now: s.env.Now, Log: slog.New(noteLog{s.out})}
	if a.Server.Host != "" {
		o.Owner = a.Server.Identity()
	}
	if a.KeepDeleted.Set {
		o.KeepDeleted = a.KeepDeleted.Duration()
		if o.KeepDeleted == 0 {
			o.KeepDeleted = -1
		}
	}
	return o
}

// noteLog makes lines for the verbose of what a store logs.
type noteLog struct{ out *output }

// Enabled is true of everything, for the verbose.
func (l noteLog) Enabled(context.Context, slog.Level) bool { return l.out.verbose }

// Handle writes one line: the message, then its attributes.
func (l noteLog) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.out.note("%s", line)
	return nil
}

// WithAttrs drops attributes of the logger itself: stores set none.
func (l noteLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup does nothing: stores use no groups.
func (l noteLog) WithGroup(string) slog.Handler { return l }
