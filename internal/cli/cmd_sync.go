package cli

import (
	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/sync"
)

func syncCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "sync",
		Usage:     "make a server and a Maildir agree, both ways",
		UsageText: "sync [ACCOUNT...]\nsync SERVER MAILDIR",
		Description: `Brings what is new, changed, moved or deleted on either side to the other. Flags
are merged one by one; a deletion wins over a change of flags, and is refused
where it looks like an accident. The first run only adds: what both sides have is
paired by content, and nothing is deleted. A run that is cut off is finished by
the next one. Without arguments all accounts of the configuration are synced, one
after another; the exit code is the worst of theirs, in the order 130, 2, 1, 4,
5, 7, 8, 6, 3, 0.

SERVER is imaps://USER@HOST[:PORT], or imap://USER@HOST[:PORT] for STARTTLS; an
"@" in USER may stand as it is. MAILDIR is a directory, made when it is missing.`,
		ArgsUsage: `  postbag sync imaps://me@example.org@imap.example.org ~/mail \
    --password-command "pass show mail"
  postbag sync work --mailbox INBOX --mailbox 'Archive/*'
  postbag sync --dry-run`,
		Flags: flags(selectFlags(), filterFlags(), guardFlags(), configFlags(), serverFlags(), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			list, err := s.endpoints(o).pairs("sync", args)
			if err != nil {
				return err
			}
			return s.each(o, list, func(a *config.Account, label string) int {
				return s.runPair(job{"sync", sync.TwoWay()}, o, a, label)
			})
		}),
	}
}
