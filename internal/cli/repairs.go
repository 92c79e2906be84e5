package cli

import (
	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/maildir"
	"postbag/state"
	"postbag/sync"
)

// recordedRepairs is the state of a migration or a restore between two places, for
// what it says of messages that were sent repaired. swapped tells that its sides are
// the other way round. There may be none, and one that cannot be read is none: then
// such messages are named as different.
func (s *session) recordedRepairs(o *options, ends []endpoint, stores [2]mail.Store, open *closers) (r sync.Repairs, swapped bool) {
	to, ok := stores[1].(*imapstore.Store)
	if !ok {
		return nil, false
	}
	ids, command := [2]string{stores[0].Account(), to.Account()}, "migrate"
	var db *state.DB
	var err error
	if tree, isTree := stores[0].(*maildir.Store); isTree {
		command, swapped = "restore", true
		if o.rules == nil && o.under == "" && tree.Owner() == to.Account() {
			t, err := s.withState(&config.Account{Maildir: ends[0].maildir, State: o.state}, tree, state.Options{Command: "verify", ReadOnly: true}, open)
			if err == nil {
				return t.state, swapped
			}
		}
		ids = restoreIDs(o, to.Account(), tree)
	}
	path, err := s.pairPath(o, ids)
	if err == nil {
		db, err = state.Open(s.ctx, path, state.Options{Accounts: ids, Command: "verify", Now: s.env.Now, ReadOnly: true})
	}
	if err != nil {
		s.out.note("there is no state of a %s between them: %v", command, err)
		return nil, false
	}
	open.add(db)
	return db, swapped
}

// restoreIDs are the two places of a restore that has a state of its own.
func restoreIDs(o *options, server string, store *maildir.Store) [2]string {
	id := store.RootID()
	if id == "" {
		id = store.Account()
	}
	return [2]string{server, "maildir:" + id + under(o)}
}
