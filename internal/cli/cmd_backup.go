package cli

import (
	"github.com/urfave/cli/v2"

	"postbag/internal/config"
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
		Flags: flags(selectFlags(), filterFlags(), []cli.Flag{gmailFlag()}, []cli.Flag{
			&cli.BoolFlag{Name: "mirror", Category: catWhat, Usage: "delete, too, what the source deleted (of backup: in the Maildir, into its trash, see keep_deleted; of migrate: on the second server)"},
			deleteMailboxesFlag(),
			subscriptionsFlag(),
			refusedFlag(),
			&cli.BoolFlag{Name: "refill", Category: catWhat, Usage: "check every file in the Maildir, and copy again what is missing or damaged"},
		}, guardFlags(), createFlags(), configFlags(), withoutPace(serverFlags()), maildirFlags(), monitorFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			list, err := s.endpoints(o).pairs("backup", args)
			if err != nil {
				return err
			}
			for _, e := range list {
				if o.delBoxes && !o.withFlags(e.account).Mirror {
					return usageError("--delete-mailboxes", "a backup deletes with --mirror only", "does not go without --mirror")
				}
			}
			return s.each(o, list, func(a *config.Account, label string) int {
				return s.runPair(backupJob(a), o, a, label)
			})
		}),
	}
}

func backupJob(a *config.Account) job {
	if a.Mirror {
		return job{"backup --mirror", withMailboxDeletion(sync.Mirror(), a)}
	}
	return job{"backup", sync.Backup()}
}
