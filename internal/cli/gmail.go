package cli

import (
	"cmp"
	"errors"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/maildir"
	"postbag/state"
)

func gmailFlag() cli.Flag {
	return &cli.StringFlag{Name: "gmail", Category: catWhat, Usage: "of an account with labels: `WORD` labels has each message in the mailboxes of its labels, " +
		`and in \All only when it has none (default); plain has every mailbox as IMAP shows it, \All, \Flagged and \Important as well`}
}

// useLabels makes a server with labels show each message where its labels are. The
// labels of mailboxes that are left out by a pattern count: such mail stays out. Those
// of mailboxes that just were not chosen do not, so that \All has their mail when it is
// chosen.
func useLabels(server *imapstore.Store, mode string, patterns *config.Patterns) {
	if mode == config.GmailPlain {
		return
	}
	server.UseLabels(func(info mail.MailboxInfo) bool { return patterns.Match(info) || patterns.Excludes(info) })
}

// useLabelsToRead is useLabels for a command that reads mail. Those that an ID chooses
// are found in \All whatever labels they have.
func useLabelsToRead(server *imapstore.Store, o *options, a *config.Account, patterns *config.Patterns) {
	if o.ids != nil && a.Gmail != config.GmailPlain {
		server.UseLabels(func(mail.MailboxInfo) bool { return false })
		return
	}
	useLabels(server, a.Gmail, patterns)
}

// useLabelsOnRecord is useLabels for a look at what is on record of an account. Where a
// flag chooses mailboxes for that look only, the labels count that did in the runs
// before.
func (s *session) useLabelsOnRecord(server *imapstore.Store, o *options, a *config.Account, db *state.DB) error {
	patterns, err := config.ParsePatterns(a.Mailboxes)
	if err != nil {
		return err
	}
	if o.mailboxes == nil || a.Gmail == config.GmailPlain {
		useLabels(server, a.Gmail, patterns)
		return nil
	}
	usual, err := config.ParsePatterns(a.Usual)
	if err != nil {
		return err
	}
	records, err := db.Mailboxes(s.ctx)
	known := make(map[string]bool)
	for _, r := range records {
		known[r.Name[state.A]] = r.Gone[state.A] == 0
	}
	server.UseLabels(func(info mail.MailboxInfo) bool {
		return known[info.Name] || patterns.Match(info) || patterns.Excludes(info) || usual.Excludes(info)
	})
	return err
}

// tellViews tells which mailboxes are left out because they are views of others.
func (s *session) tellViews(dryRun bool, list []mail.MailboxInfo, patterns *config.Patterns) {
	for _, info := range list {
		if !info.View || patterns.Match(info) {
			continue
		}
		const text = "%s: left out: its messages are in other mailboxes, too (--mailbox names it, --gmail plain has all)"
		if dryRun && !s.out.quiet {
			s.out.result(text, info.Name)
		} else {
			s.out.note(text, info.Name)
		}
	}
}

// listRoles lists a place, a tree with the roles that are known of it.
func (s *session) listRoles(store mail.Store) ([]mail.MailboxInfo, error) {
	list, err := store.List(s.ctx)
	tree, ok := store.(*maildir.Store)
	if err != nil || !ok {
		return list, err
	}
	roles, err := s.treeRoles(tree)
	for i := range list {
		list[i].Use = cmp.Or(list[i].Use, roles[list[i].Name])
	}
	return list, err
}

// treeRoles are the roles of a tree's mailboxes, as the state beside it has them. Where
// there is none, there are none.
func (s *session) treeRoles(store *maildir.Store) (map[string]mail.SpecialUse, error) {
	db, err := state.Open(s.ctx, filepath.Join(store.StateDir(), stateFile), state.Options{ReadOnly: true})
	if errors.Is(err, state.ErrNoState) {
		return nil, nil
	}
	if err != nil {
		s.out.note("roles are not known: %v", err)
		return nil, nil
	}
	defer db.Close()
	records, err := db.Mailboxes(s.ctx)
	roles := make(map[string]mail.SpecialUse, len(records))
	for _, r := range records {
		roles[r.Name[state.B]] = r.Use
	}
	return roles, err
}
