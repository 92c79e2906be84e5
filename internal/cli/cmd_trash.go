package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/maildir"
	"postbag/state"
)

func trashCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "trash",
		Usage:     "list, put back or remove for good what runs deleted in a Maildir",
		UsageText: "trash list ACCOUNT|MAILDIR\ntrash restore ACCOUNT|MAILDIR ID...\ntrash empty ACCOUNT|MAILDIR",
		Description: `What a run deletes in a Maildir, because it was deleted on the server, stays in
the Maildir's trash for 30 days (keep_deleted in the configuration). No server
is asked. The mailbox that a server calls its trash is another thing: see trash
in the configuration of a sync.`,
		ArgsUsage: `  postbag trash list work
  postbag trash restore work --removed-since 2d --mailbox INBOX
  postbag trash empty work --older-than 30d`,
		Subcommands: []*cli.Command{trashListCommand(s), trashRestoreCommand(s), trashEmptyCommand(s)},
	}
}

func trashListCommand(s *session) *cli.Command {
	return &cli.Command{
		Name: "list", HelpName: "trash list",
		Usage:     "list what runs deleted in a Maildir",
		UsageText: "trash list ACCOUNT\ntrash list MAILDIR",
		Description: `Lists, the oldest first: the ID, when it was removed, where it was, the date and
the size of the message, its flags and subject. Nothing is changed.`,
		ArgsUsage: "  postbag trash list work\n  postbag trash list ~/mail --removed-since 2d --mailbox 'Archive/*'\n  postbag trash list work --json",
		Flags:     flags(removedFlags(), configFlags(), maildirFlags(), outputFlags()),
		Action:    s.trashAction("list", s.trashList),
	}
}

func trashRestoreCommand(s *session) *cli.Command {
	return &cli.Command{
		Name: "restore", HelpName: "trash restore",
		Usage:     "put back what runs deleted in a Maildir",
		UsageText: "trash restore ACCOUNT|MAILDIR ID...\ntrash restore ACCOUNT|MAILDIR --mailbox PATTERN --removed-since DATE\ntrash restore ACCOUNT|MAILDIR --all",
		Description: `Puts messages back where they were, with their date and their flags, but not
\Deleted. A mailbox that is gone is made again. For a sync they are new: the next
one copies them to the server. A backup leaves them as they are.

An ID is one that "trash list" shows. --json has it at full length; the first
part of that stands for all that one run removed.`,
		ArgsUsage: `  postbag trash restore work 3f8a01c2 77d0b5e9
  postbag trash restore work --mailbox INBOX --removed-since 2d --dry-run
  postbag trash restore ~/mail --all`,
		Flags: flags(removedFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "all", Category: catWhat, Usage: "everything that is there"},
			dryRunFlag(),
		}, configFlags(), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.trashAction("restore", s.trashRestore),
	}
}

func trashEmptyCommand(s *session) *cli.Command {
	return &cli.Command{
		Name: "empty", HelpName: "trash empty",
		Usage:     "remove for good what runs deleted in a Maildir",
		UsageText: "trash empty ACCOUNT\ntrash empty MAILDIR",
		Description: `Runs do this by themselves with what is older than keep_deleted. What one run
removed goes together, when the last of it is old enough.`,
		ArgsUsage: "  postbag trash empty work --older-than 30d\n  postbag trash empty ~/mail --dry-run",
		Flags: flags([]cli.Flag{
			&cli.StringFlag{Name: "older-than", Category: catWhat, Usage: "only what was removed longer ago than `AGE`, such as 30d, 2w or 1y (default: all)"},
			dryRunFlag(),
		}, configFlags(), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.trashAction("empty", s.trashEmpty),
	}
}

// trashAction makes the action of a command on the trash of one Maildir.
func (s *session) trashAction(name string, run func(o *options, a *config.Account, ids []string, open *closers) error) cli.ActionFunc {
	return s.opening(func(o *options, args []string, open *closers) error {
		name := "trash " + name
		if len(args) == 0 {
			return usageError(name, "postbag help "+name, "needs an account or a Maildir")
		}
		if isServer(args[0]) {
			return usageError(name, "name the account or the Maildir", "asks no server")
		}
		e, err := s.endpoints(o).parse(args[0])
		if err != nil {
			return err
		}
		if e.maildir == "" {
			return usageError("account "+args[0], `add maildir = "..." to it in the configuration`, "has no Maildir")
		}
		if len(args) > 1 && name != "trash restore" {
			return usageError(name, "postbag help "+name, "takes one account or Maildir, not %d", len(args))
		}
		s.out.summary.DryRun = o.dryRun
		return run(o, o.accountOf(e), args[1:], open)
	})
}

// openTrash opens a tree for its trash: to change it, under the lock that runs
// take, or only to look.
func (s *session) openTrash(a *config.Account, command string, change bool, open *closers) (*tree, error) {
	if change {
		return s.changeTree(a, command, open)
	}
	t, err := s.readTree(a, open)
	if !errors.Is(err, state.ErrNoState) {
		return t, err
	}
	store, err := s.openToRead(a.Maildir, s.treeOptions(a))
	if err == nil {
		open.add(store)
	}
	return &tree{store: store}, err
}

// inTrash lists what the flags choose of a tree's trash.
func (s *session) inTrash(o *options, t *tree) ([]maildir.Trashed, error) {
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return nil, err
	}
	all, err := t.store.Trash(s.ctx)
	if err != nil {
		return nil, at(t.store.Path(), err)
	}
	uses := map[string]mail.SpecialUse{}
	if t.state != nil && o.mailboxes != nil {
		records, err := t.state.Mailboxes(s.ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			uses[cmp.Or(r.Name[state.B], r.Name[state.A])] = r.Use
		}
	}
	since := o.removedSince.At(s.env.Now())
	var list []maildir.Trashed
	for _, one := range all {
		if patterns.Match(mail.MailboxInfo{Name: one.Mailbox, Use: uses[one.Mailbox]}) && !one.Removed.Before(since) {
			list = append(list, one)
		}
	}
	// What one run removed has no order of its own.
	slices.SortStableFunc(list, func(a, b maildir.Trashed) int {
		return cmp.Or(cmp.Compare(a.Run(), b.Run()), cmp.Compare(a.Mailbox, b.Mailbox), a.Date.Compare(b.Date), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

func (s *session) trashList(o *options, a *config.Account, _ []string, open *closers) error {
	t, err := s.openTrash(a, "trash list", false, open)
	if err != nil {
		return err
	}
	list, err := s.inTrash(o, t)
	if err != nil {
		return err
	}
	s.out.summary.Mailboxes.Total = len(mailboxesOf(list))
	width := 0
	for _, one := range list {
		width = max(width, len([]rune(one.Mailbox)))
	}
	for _, one := range list {
		subject := ""
		if f, err := t.store.OpenTrashed(one); err == nil {
			subject = readSubject(f)
			f.Close()
		}
		s.out.event(trashedOf("trashed", one, subject))
		what := fmt.Sprintf("%-10s  %7s  %-5s  %s", one.Date.Format(time.DateOnly), size(one.Bytes), flagLetters(one.Flags), clipText(subject, 40))
		if one.Whole {
			what = "the mailbox itself"
			if one.Messages > 0 {
				what += " with " + count(one.Messages, "message")
			}
		}
		s.out.result("%s  %s  %-*s  %s", shortID(one), s.local(one.Removed), width, one.Mailbox, what)
	}
	s.out.result("%s", trashSum(list))
	return nil
}

// shortID is an ID for people to type.
func shortID(t maildir.Trashed) string {
	sum := sha256.Sum256([]byte(t.ID))
	return hex.EncodeToString(sum[:4])
}

// mailboxesOf are the mailboxes of what is listed, in order, with the number of
// things in each.
func mailboxesOf(list []maildir.Trashed) map[string]int {
	n := map[string]int{}
	for _, one := range list {
		n[one.Mailbox]++
	}
	return n
}

// trashSum is "3 messages (4 kB)", with whole mailboxes told apart.
func trashSum(list []maildir.Trashed) string {
	messages, boxes, bytes := 0, 0, int64(0)
	for _, one := range list {
		if one.Whole {
			boxes++
			messages += one.Messages
			continue
		}
		messages++
		bytes += one.Bytes
	}
	var parts []string
	if messages > 0 || boxes == 0 {
		parts = append(parts, fmt.Sprintf("%s (%s)", count(messages, "message"), size(bytes)))
	}
	if boxes > 0 {
		parts = append(parts, count(boxes, "mailbox"))
	}
	return strings.Join(parts, " and ")
}

func trashedOf(event string, t maildir.Trashed, subject string) trashedEvent {
	e := trashedEvent{Event: event, ID: valid(t.ID), Short: shortID(t), Mailbox: valid(t.Mailbox), Removed: t.Removed, Whole: t.Whole}
	if t.Whole {
		e.Messages = &t.Messages
	} else {
		date := t.Date.UTC()
		e.Date, e.Bytes, e.Flags, e.Subject = &date, &t.Bytes, t.Flags.Names(), valid(subject)
	}
	return e
}
