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
  postbag sync --dry-run
  postbag sync work --policy push --to-server new,flags`,
		Flags: flags(selectFlags(), filterFlags(), []cli.Flag{gmailFlag()}, policyFlags(), []cli.Flag{refusedFlag(), fixFlag()}, guardFlags(), createFlags(), configFlags(), serverFlags(), maildirFlags(), monitorFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			list, err := s.endpoints(o).pairs("sync", args)
			if err != nil {
				return err
			}
			for _, e := range list {
				what := "sync"
				if e.account.Name != "" {
					what = "account " + e.account.Name
				}
				if p := syncPolicy(o.withFlags(e.account)); p.May == ([2]sync.Allow{}) {
					return usageError(what, "name an operation in to_server or to_maildir (--to-server, --to-maildir)", "nothing may be done on either side")
				}
			}
			return s.each(o, list, func(a *config.Account, label string) int {
				return s.runPair(job{"sync", syncPolicy(a)}, o, a, label)
			})
		}),
	}
}

// syncPolicy is what an account says that a sync may do: the words for one side
// refine the preset. mirror is a word of backup only.
func syncPolicy(a *config.Account) sync.Policy {
	p := map[string]func() sync.Policy{"": sync.TwoWay, "sync": sync.TwoWay, "backup": sync.Backup, "mirror": sync.Mirror, "push": sync.Push}[a.Policy]()
	for s, o := range []*config.Operations{a.ToServer, a.ToMaildir} {
		if o != nil {
			p.May[s] = sync.Allow{New: o.New, Flags: o.Flags, Deletes: o.Deletes, Moves: o.Moves, Mailboxes: o.Mailboxes, DeleteMailboxes: o.DeleteMailboxes}
		}
	}
	return withMailboxDeletion(p, a)
}

// withMailboxDeletion makes a policy follow the deletion of mailboxes where it
// follows that of messages, when the account wants it.
func withMailboxDeletion(p sync.Policy, a *config.Account) sync.Policy {
	for s := range p.May {
		p.May[s].DeleteMailboxes = p.May[s].DeleteMailboxes || a.DelMailboxes && p.May[s].Deletes
	}
	return p
}
