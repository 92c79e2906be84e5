package cli

import (
	"context"
	"path/filepath"

	"postbag/internal/config"
	"postbag/internal/history"
	"postbag/internal/mail"
	"postbag/internal/match"
	"postbag/state"
	"postbag/sync"
)

// A command that reads mail takes one SOURCE: a Maildir, a server, or an account
// of the configuration, which stands for its Maildir when it has one.

// source is mail to be read, and which of it is meant.
type source struct {
	store    mail.Store // lists roles, also those that only the state knows
	where    string     // names the place in errors
	account  *config.Account
	isTree   bool
	patterns *config.Patterns
	filter   sync.Filter // by what a listing tells
	rule     match.Rule  // by flags and header
	workers  int         // how many mailboxes of it may be open at a time
}

// openSource opens the place that arg names, for reading only. What it opens is
// added to open.
func (s *session) openSource(o *options, arg string, open *closers) (*source, error) {
	e, err := s.endpoints(o).parse(arg)
	if err != nil {
		return nil, err
	}
	a := o.accountOf(e)
	src := &source{account: a, isTree: e.maildir != "", filter: filter(a, s.env), rule: o.match, workers: 2}
	if src.patterns, err = config.ParsePatterns(a.Mailboxes); err != nil {
		return nil, err
	}
	if !o.past.isZero() {
		return src, s.pastSource(o, src, open)
	}
	if !src.isTree {
		server, err := s.openServer(a, o.trace, open)
		if err != nil {
			return nil, err
		}
		useLabelsToRead(server, o, a, src.patterns)
		src.store, src.where, src.workers = o.picked(server, true), a.Server.String(), server.Connections()
		return src, nil
	}
	tree, err := s.openToRead(a.Maildir, s.treeOptions(&config.Account{Layout: a.Layout}))
	if err != nil {
		return nil, err
	}
	open.add(tree)
	path := a.State
	if path == "" {
		path = filepath.Join(tree.StateDir(), stateFile)
	}
	src.store, src.where = o.picked(rolesStore{tree, s.knownRoles(path)}, false), a.Maildir
	return src, nil
}

// pastSource makes a source the account as it was at the moment that the flags name.
func (s *session) pastSource(o *options, src *source, open *closers) error {
	if !src.isTree {
		return usageError("--as-of", "name the account or its Maildir", "a server does not know what was")
	}
	past, err := s.openPast(o, src.account, open)
	if err != nil {
		return err
	}
	past.Only = func(m *history.Message) bool { return o.chosen(history.IDOf(m)) }
	src.store, src.where = past, src.account.Maildir
	return nil
}

// knownRoles are the roles of a tree's mailboxes as the state beside it has them,
// by name. Without a state there are none.
func (s *session) knownRoles(path string) map[string]mail.SpecialUse {
	db, err := state.Open(s.ctx, path, state.Options{ReadOnly: true})
	if err != nil {
		s.out.note("roles are not known: %v", err)
		return nil
	}
	defer db.Close()
	boxes, err := db.Mailboxes(s.ctx)
	if err != nil {
		s.out.note("roles are not known: %v", err)
		return nil
	}
	roles := map[string]mail.SpecialUse{}
	for _, b := range boxes {
		if b.Name[state.B] != "" && b.Use != "" {
			roles[b.Name[state.B]] = b.Use
		}
	}
	return roles
}

// rolesStore is a store that lists roles which it does not know itself.
type rolesStore struct {
	mail.Store
	roles map[string]mail.SpecialUse
}

// List implements mail.Store.
func (r rolesStore) List(ctx context.Context) ([]mail.MailboxInfo, error) {
	list, err := r.Store.List(ctx)
	for i := range list {
		if list[i].Use == "" {
			list[i].Use = r.roles[list[i].Name]
		}
	}
	return list, err
}
