package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/maildir"
)

func mailboxesCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "mailboxes",
		Usage:     "list the mailboxes of a server or a Maildir",
		UsageText: "mailboxes ACCOUNT\nmailboxes SERVER\nmailboxes MAILDIR",
		Description: `Lists messages, size, role and name of each mailbox; "-" is not known. The sizes
of a Maildir are those that the last run saw. Nothing is changed.`,
		ArgsUsage: `  postbag mailboxes work
  postbag mailboxes imaps://me@imap.example.org --password-file ~/.secret
  postbag mailboxes ~/mail --mailbox 'Archive/*' --json`,
		Flags: flags(selectFlags(), configFlags(), withoutRate(serverFlags()), layoutFlags(), outputFlags()),
		Action: s.action(func(o *options, args []string) error {
			if len(args) != 1 {
				return usageError("mailboxes", "postbag help mailboxes", "takes one account, server or Maildir, not %d", len(args))
			}
			e, err := s.endpoints(o).parse(args[0])
			if err != nil {
				return err
			}
			return s.mailboxes(o, e)
		}),
	}
}

func (s *session) mailboxes(o *options, e endpoint) (err error) {
	var open closers
	defer func() {
		if closeErr := open.Close(); err == nil {
			err = closeErr
		}
	}()
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return err
	}
	store, where, err := s.openForReading(o, e, &open)
	if err != nil {
		return err
	}
	list, err := store.List(s.ctx)
	if err != nil {
		return at(where, err)
	}
	if err := patterns.Check(list); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(info mail.MailboxInfo) bool { return !patterns.Match(info) })
	if tree, ok := store.(*maildir.Store); ok {
		sizes := s.knownSizes(filepath.Join(tree.StateDir(), stateFile))
		for i := range list {
			if err := s.count(store, &list[i], sizes); err != nil {
				return at(where, err)
			}
		}
	}
	s.list(list)
	return nil
}

// count looks into a mailbox of a Maildir tree, whose listing counts nothing. The
// size is the state's, which costs no look at any file. A mailbox that cannot be
// read is listed with the reason.
func (s *session) count(store mail.Store, info *mail.MailboxInfo, sizes map[string]holding) error {
	if info.Messages >= 0 || info.NoSelect || info.Err != nil {
		return nil
	}
	messages, bytes, err := countIn(s.ctx, store, info.Name)
	if err != nil && (mail.AsError(err).Scope != mail.ScopeMailbox || s.ctx.Err() != nil) {
		return err
	}
	if info.Err = err; err != nil {
		return nil
	}
	info.Messages, info.Bytes = messages, bytes
	// What the state says is true of as many messages as it counts.
	if known, ok := sizes[info.Name]; ok && bytes < 0 && known.Messages == messages {
		info.Bytes = known.Bytes
	}
	return nil
}

func countIn(ctx context.Context, store mail.Store, name string) (messages int, bytes int64, err error) {
	box, err := store.Examine(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	defer box.Close()
	err = mail.Windows(ctx, box, 20000, func(d *mail.Delta) error {
		for _, m := range d.New {
			messages++
			if m.Size < 0 || bytes < 0 {
				bytes = -1
			} else {
				bytes += m.Size
			}
		}
		return nil
	})
	return messages, bytes, err
}

// openForReading opens whatever the endpoint names; where names it in errors.
func (s *session) openForReading(o *options, e endpoint, open *closers) (store mail.Store, where string, err error) {
	if e.isServer() {
		a := o.withFlags(e.account)
		server, err := s.openServer(a, o.trace, open)
		return server, a.Server.String(), err
	}
	a := o.withFlags(&config.Account{Maildir: e.maildir})
	tree, err := s.openToRead(e.maildir, s.treeOptions(a))
	if err != nil {
		return nil, "", err
	}
	open.add(tree)
	return tree, e.maildir, nil
}

// list writes the mailboxes, and their sum where all of it is known.
func (s *session) list(list []mail.MailboxInfo) {
	messages, bytes := 0, int64(0)
	counted, measured := true, true
	sized := slices.ContainsFunc(list, func(info mail.MailboxInfo) bool { return info.Bytes >= 0 })
	for _, info := range list {
		s.mailboxLine(info, sized)
		s.mailboxEvent(info)
		if info.NoSelect || info.Err != nil {
			continue
		}
		counted, measured = counted && info.Messages >= 0, measured && info.Bytes >= 0
		messages += info.Messages
		bytes += info.Bytes
	}
	s.out.summary.Mailboxes.Total = len(list)
	sum := count(len(list), "mailbox")
	if counted {
		sum += ", " + count(messages, "message")
	}
	if measured && sized {
		sum += ", " + size(bytes)
	}
	s.out.result("%s", sum)
}

// mailboxLine writes one mailbox, with the column of sizes when there are any.
func (s *session) mailboxLine(info mail.MailboxInfo, sized bool) {
	messages, bytes := "-", "-"
	if info.Messages >= 0 && !info.NoSelect {
		messages = fmt.Sprint(info.Messages)
	}
	if info.Bytes >= 0 && !info.NoSelect {
		bytes = size(info.Bytes)
	}
	note := ""
	switch {
	case info.Err != nil:
		note = fmt.Sprintf(" (cannot be used: %v)", info.Err)
	case info.NoSelect:
		note = " (holds no messages)"
	case info.ReadOnly:
		note = " (read-only)"
	}
	line := fmt.Sprintf("%8s", messages)
	if sized {
		line += fmt.Sprintf("  %7s", bytes)
	}
	s.out.result("%s  %-9s %s%s", line, info.Use, info.Name, note)
}

func (s *session) mailboxEvent(info mail.MailboxInfo) {
	event := listEvent{Event: "mailbox", Mailbox: valid(info.Name), Role: string(info.Use), Selectable: !info.NoSelect && info.Err == nil, ReadOnly: info.ReadOnly}
	if info.Messages >= 0 && !info.NoSelect {
		event.Messages = &info.Messages
	}
	if info.Bytes >= 0 && !info.NoSelect {
		event.Bytes = &info.Bytes
	}
	if info.Err != nil {
		event.Error = valid(info.Err.Error())
	}
	s.out.event(event)
}
