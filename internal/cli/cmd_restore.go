package cli

import (
	"cmp"
	"errors"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/mapping"
	"postbag/maildir"
	"postbag/state"
	"postbag/sync"
)

func restoreCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "put mail from a Maildir back on a server",
		UsageText: "restore MAILDIR SERVER\nrestore ACCOUNT",
		Description: `Uploads what the Maildir has and the server lacks, with flags, keywords and
dates: also what was deleted on the server since it was backed up. What the
server has is found by its content and left as it is; nothing is deleted or
changed, and a second restore copies nothing. The Maildir is only read.

The server may be another one than the mail came from. --mailbox, --since and the
like choose what is restored, --map and --under where it goes. ACCOUNT is a
Maildir and its server in the configuration.

With --as-of or --run, what the account held at that time and has lost since is
put back where it was, with the flags of then, from the Maildir and its trash.`,
		ArgsUsage: `  postbag restore ~/mail/work imaps://me@imap.example.org \
    --password-command "pass show mail"
  postbag restore work --mailbox INBOX --since 30d
  postbag restore work --ids chosen.txt
  postbag restore work --as-of "2024-01-31 14:30" --dry-run
  postbag restore ~/mail/work imaps://me@new.example.net --under Old --dry-run`,
		Flags: flags(selectFlags(), filterFlags(), pastFlags(), idsFlags(), []cli.Flag{gmailFlag()}, mapFlags(), []cli.Flag{dryRunFlag(), refusedFlag(), fixFlag()}, configFlags(), serverFlags(), maildirFlags(), monitorFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			a, err := s.restoreEnds(o, args)
			if err != nil {
				return err
			}
			code := s.watch.account(a, func() int {
				var open closers
				report, err := s.runRestore(o, a, &open)
				return s.reported("", report, err, &open)
			})
			if code != exitDone {
				return exitError(code)
			}
			return nil
		}),
	}
}

// restoreEnds reads the arguments: a tree and a server, or an account that names
// both.
func (s *session) restoreEnds(o *options, args []string) (*config.Account, error) {
	usage := func() error {
		return usageError("restore", "postbag restore MAILDIR SERVER, or the name of an account", "takes a Maildir and a server")
	}
	eps := s.endpoints(o)
	switch len(args) {
	case 1:
		e, err := eps.parse(args[0])
		if err != nil {
			return nil, err
		}
		if !e.isServer() || e.maildir == "" {
			return nil, usage()
		}
		a := o.withFlags(e.account)
		a.Maildir = e.maildir
		return a, nil
	case 2:
		tree, err := eps.parse(args[0])
		if err != nil {
			return nil, err
		}
		server, err := eps.parse(args[1])
		if err != nil {
			return nil, err
		}
		if !server.isServer() || tree.maildir == "" {
			return nil, usage()
		}
		a := o.withFlags(server.account)
		a.Maildir = tree.maildir
		return a, nil
	}
	return nil, usage()
}

func (s *session) runRestore(o *options, a *config.Account, open *closers) (*sync.Report, error) {
	patterns, err := config.ParsePatterns(a.Mailboxes)
	if err != nil {
		return nil, err
	}
	o.gmail = cmp.Or(o.gmail, a.Gmail)
	if !o.past.isZero() {
		return s.restorePast(o, a, patterns, open)
	}
	store, err := s.openToRead(a.Maildir, s.treeOptions(&config.Account{Layout: a.Layout}))
	if err != nil {
		return nil, err
	}
	open.add(store)
	db, own, err := s.restoreState(o, a, store, open)
	if err != nil {
		return nil, err
	}
	server, err := s.openServer(a, o.trace, open)
	if err != nil {
		return nil, err
	}
	useLabels(server, o.gmail, nil)
	listed := &remembering{Store: server}
	routes, err := s.restoreRoutes(o, store, listed, server, own, patterns)
	if err != nil {
		return nil, err
	}
	s.showRoutes(o, routes)
	dest := mail.Store(listed)
	if !own || o.rules != nil || o.under != "" {
		dest = mapping.New(listed, routes)
	}
	most, err := takes(s.ctx, o, server)
	if err != nil {
		return nil, err
	}
	from, only := o.onlyChosen(store)
	display := s.display()
	defer display.Close()
	report, err := sync.Run(s.ctx, sync.Options{
		A: dest, B: from, RestoreOnly: only, Policy: sync.Restore(), Journal: db, Command: "restore", Restore: true,
		Match: matchRoutes(patterns, routes), Filter: filter(a, s.env), DryRun: o.dryRun, Takes: [2]int64{state.A: most},
		FailRefused: a.Refused == config.RefusedFail, Fix: a.Fix, Batch: paced(a, state.A),
		Workers: server.Connections(), Progress: display, Now: s.env.Now,
	})
	if err == nil {
		err = s.estimate(report, db, state.A, a)
	}
	return report, err
}

// restoreState is the state for a restore: the tree's own when the mail goes back to
// the account that it came from, under its names, so that the next backup knows it;
// else one for this tree and this server. own tells which.
func (s *session) restoreState(o *options, a *config.Account, store *maildir.Store, open *closers) (db *state.DB, own bool, err error) {
	if o.rules == nil && o.under == "" && store.Owner() == a.Server.Identity() {
		so := state.Options{Command: "restore", ReadOnly: o.dryRun}
		t, err := s.withState(a, store, so, open)
		if err == nil {
			return t.state, true, nil
		}
		if !errors.Is(err, state.ErrNoState) {
			return nil, false, err
		}
	}
	db, err = s.pairState(o, "restore", restoreIDs(o, a.Server.Identity(), store), open)
	return db, false, err
}

// under tells apart restores of one tree to several places of one server.
func under(o *options) string {
	text := ""
	if o.under != "" {
		text = " under " + o.under
	}
	for _, r := range o.rules {
		text += " " + r.From + "=" + r.To
	}
	return text
}

// restoreRoutes plans which mailbox of the tree becomes which on the server. The
// tree's own state knows roles, which a tree does not tell; back to its own account
// everything keeps its name.
func (s *session) restoreRoutes(o *options, store *maildir.Store, listed *remembering, server *imapstore.Store, own bool, patterns *config.Patterns) ([]mapping.Route, error) {
	list, err := store.List(s.ctx)
	if !own {
		list, err = s.listRoles(store)
	}
	if err != nil {
		return nil, err
	}
	if err := patterns.Check(list); err != nil {
		return nil, err
	}
	there, err := listed.ListNow(s.ctx)
	if err != nil {
		return nil, err
	}
	var chosen []mail.MailboxInfo
	for _, info := range list {
		if patterns.Match(info) {
			chosen = append(chosen, info)
		}
	}
	return s.planRoutes(o, chosen, server, there)
}
