package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	gosync "sync"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/progress"
	"postbag/sync"
)

func backupCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy mail from a server into a Maildir",
		UsageText: "backup [ACCOUNT...]\nbackup SERVER MAILDIR",
		Description: `Copies what is new and what changed; the server is only read. What was deleted
on the server stays in the Maildir, unless --mirror is given. A run that is cut
off is finished by the next one. Without arguments all accounts of the
configuration are backed up, one after another; the exit code is the worst of
theirs, in the order 130, 2, 1, 4, 5, 7, 8, 6, 3, 0.

SERVER is imaps://USER@HOST[:PORT], or imap://USER@HOST[:PORT] for STARTTLS; an
"@" in USER may stand as it is. MAILDIR is a directory, made when it is missing.`,
		ArgsUsage: `  postbag backup imaps://me@example.org@imap.example.org ~/mail \
    --password-command "pass show mail"
  postbag backup work --mailbox INBOX --mailbox 'Archive/*'
  postbag backup --mailbox '!\Junk' --since 90d work
  postbag backup --dry-run --mirror`,
		Flags: flags(selectFlags(), filterFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "mirror", Category: catWhat, Usage: "delete in the Maildir what was deleted on the server (into its trash, see keep_deleted)"},
			&cli.BoolFlag{Name: "refill", Category: catWhat, Usage: "check every file in the Maildir, and copy again what is missing or damaged"},
			&cli.BoolFlag{Name: "dry-run", Category: catSafety, Usage: "tell what would be done, and do nothing"},
			&cli.StringFlag{Name: "max-delete", Category: catSafety, Usage: "refuse to delete more than `N` messages (default: refuse what looks like an accident)"},
			&cli.BoolFlag{Name: "create", Category: catSafety, Usage: "make the Maildir anew although there was one before"},
			&cli.BoolFlag{Name: "force-deletes", Category: catSafety, Usage: "delete however much it is, this time"},
		}, configFlags(), serverFlags(), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			list, err := s.endpoints(o).pairs("backup", args)
			if err != nil {
				return err
			}
			return s.each(o, list, func(a *config.Account, label string) int { return s.backup(o, a, label) })
		}),
	}
}

// each runs a command for one account after another. What fails for one does
// not stop the others; an interruption does.
func (s *session) each(o *options, list []endpoint, run func(a *config.Account, label string) int) error {
	if err := s.checkShared(o, list); err != nil {
		return err
	}
	code := exitDone
	for _, e := range list {
		a := o.withFlags(e.account)
		a.Maildir = e.maildir
		label := ""
		if len(list) > 1 {
			label = a.Name
		}
		code = worse(code, run(a, label))
		if s.ctx.Err() != nil {
			break
		}
	}
	if code != exitDone {
		return exitError(code)
	}
	return nil
}

// checkShared refuses what makes sense for one account only.
func (s *session) checkShared(o *options, list []endpoint) error {
	if o.state != "" && len(list) > 1 {
		return usageError("--state", "set state in the configuration", "is for one account, and there are %d", len(list))
	}
	if !o.password.IsZero() && len(list) > 1 {
		return usageError("password flags", "set password in the configuration", "are for one account, and there are %d", len(list))
	}
	return nil
}

// backup backs one account up and reports. It answers with the exit code.
func (s *session) backup(o *options, a *config.Account, label string) int {
	var open closers
	report, err := s.runBackup(o, a, &open)
	if closeErr := open.Close(); err == nil {
		err = closeErr
	}
	code := reportCode(report, err)
	if report != nil {
		s.out.report(label, report, code)
	}
	if err != nil {
		code = s.out.fail(label, err)
	}
	s.out.account(label, report, code)
	return code
}

func (s *session) runBackup(o *options, a *config.Account, open *closers) (*sync.Report, error) {
	patterns, err := config.ParsePatterns(a.Mailboxes)
	if err != nil {
		return nil, err
	}
	server, local, err := s.openPair(o, a, open)
	if err != nil {
		return nil, err
	}
	display := s.display()
	defer display.Close()
	options := sync.Options{
		A: &checkedStore{Store: server, patterns: patterns}, B: local.store, Journal: local.state,
		Policy: sync.Backup(), Command: "backup", Match: patterns.Match, Filter: filter(a, s.env),
		DryRun: o.dryRun, Refill: o.refill, Guard: sync.Limits{Max: a.MaxDelete, Off: o.force},
		Workers: server.Connections(), Progress: display, Now: s.env.Now,
	}
	if a.Mirror {
		options.Policy, options.Command = sync.Mirror(), "backup --mirror"
	}
	report, err := sync.Run(s.ctx, options)
	if err == nil && !o.dryRun {
		// What was removed long ago goes at the end, when the copy is whole.
		var n int
		if n, err = local.store.ExpireTrash(s.ctx); n > 0 {
			s.out.note("removed %s from the trash for good", count(n, "old file"))
		}
	}
	return report, err
}

// display shows how a run goes on.
func (s *session) display() *progress.Display {
	d := progress.New(progress.Options{
		Out: s.env.Stderr, Verbose: s.out.verbose, Escape: s.out.stderr.escape, Width: s.env.Width, Now: s.env.Now,
		Bar: s.env.canDraw() && !s.out.quiet && !(s.out.json && s.env.StdoutTTY), ASCII: s.out.stderr.ascii,
	})
	s.out.beside(d)
	return d
}

// filter is an account's filter as of now.
func filter(a *config.Account, env *Env) sync.Filter {
	now := env.Now()
	return sync.Filter{Since: a.Since.At(now), Before: a.Before.At(now), Larger: a.Larger, Smaller: a.Smaller}
}

// checkedStore refuses, when it is first listed, mailbox patterns that choose
// nothing, before anything is done for those that do.
type checkedStore struct {
	mail.Store
	patterns *config.Patterns
	once     gosync.Once
}

func (c *checkedStore) List(ctx context.Context) ([]mail.MailboxInfo, error) {
	list, err := c.Store.List(ctx)
	if err == nil {
		c.once.Do(func() { err = c.patterns.Check(list) })
	}
	return list, err
}

// openPair opens both sides. A tree that exists comes first, since it costs
// nothing to find out that it is the wrong one, or locked; one that does not is
// made only after the server has let us in.
func (s *session) openPair(o *options, a *config.Account, open *closers) (server *imapstore.Store, local *tree, err error) {
	openLocal := func() {
		if err == nil && o.dryRun {
			local, err = s.pretendTree(a, o, open)
		} else if err == nil {
			local, err = s.openTree(a, o, "backup", open)
		}
	}
	_, statErr := os.Stat(a.Maildir)
	isNew := errors.Is(statErr, fs.ErrNotExist) && (o.create || !s.isGone(a.Maildir))
	if !isNew {
		openLocal()
	}
	if err == nil {
		server, err = s.openServer(a, o.trace, open)
	}
	if isNew {
		openLocal()
	}
	return server, local, err
}
