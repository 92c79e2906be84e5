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
