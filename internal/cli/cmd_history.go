package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/history"
)

func historyCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "tell what each run found changed, mailbox by mailbox",
		UsageText: "history ACCOUNT\nhistory MAILDIR",
		Description: `Lists the runs that found something changed, the newest first: their number, when
they began, and for each mailbox what came, was moved, was deleted or got other
flags. A run's number or time, given to --run or --as-of of other commands, is
the account as it was when that run had ended. No server is asked, and nothing is
changed.`,
		ArgsUsage: "  postbag history work\n  postbag history ~/mail --mailbox INBOX\n  postbag history work --json",
		Flags:     flags(selectFlags(), configFlags(), maildirFlags(), outputFlags()),
		Action: s.opening(func(o *options, args []string, open *closers) error {
			t, err := s.recordedTree(o, "history", args, open)
			if err != nil {
				return err
			}
			return s.history(o, t)
		}),
	}
}

// recordedTree opens the tree that the one argument of a command names, with its
// state, for reading.
func (s *session) recordedTree(o *options, command string, args []string, open *closers) (*tree, error) {
	a, err := s.treeAccount(o, command, args)
	if err != nil {
		return nil, err
	}
	return s.readTree(a, open)
}

// treeAccount is the account of a command that takes one Maildir, by itself or as
// that of an account, and asks no server.
func (s *session) treeAccount(o *options, command string, args []string) (*config.Account, error) {
	if len(args) != 1 {
		return nil, usageError(command, "postbag help "+command, "takes one account or Maildir, not %d", len(args))
	}
	if config.IsURL(args[0]) {
		return nil, usageError(command, "name the account or the Maildir", "asks no server")
	}
	e, err := s.endpoints(o).parse(args[0])
	if err != nil {
		return nil, err
	}
	if e.maildir == "" {
		return nil, usageError("account "+args[0], `add maildir = "..." to it in the configuration`, "has no Maildir")
	}
	return o.accountOf(e), nil
}

func (s *session) history(o *options, t *tree) error {
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return err
	}
	if err := s.checkRecorded(t, patterns); err != nil {
		return err
	}
	log, err := history.Log(s.ctx, t.state, patterns.Match)
	if err != nil {
		return err
	}
	boxes := map[string]bool{}
	for _, one := range log {
		event := runEvent{Event: "run", Run: one.Run.ID, runStatus: runStatus{Command: valid(one.Run.Command), Started: one.Run.Started, Outcome: valid(one.Run.Outcome)}}
		if one.Run.Finished.IsZero() {
			event.Outcome = "cut off"
		} else {
			event.Finished = &one.Run.Finished
		}
		if json.Valid([]byte(one.Run.Summary)) {
			event.Summary = json.RawMessage(one.Run.Summary)
		}
		s.out.result("run %d  %s  %s: %s", event.Run, s.local(event.Started), event.Command, event.Outcome)
		for _, c := range one.Mailboxes {
			boxes[c.Mailbox] = true
			s.out.result("  %s: %s", c.Mailbox, foundText(c))
			event.Changes = append(event.Changes, boxChanges{valid(c.Mailbox), c.New, c.MovedIn, c.MovedOut, c.Gone, c.Flags})
		}
		s.out.event(event)
	}
	s.out.summary.Mailboxes.Total, s.out.summary.Mailboxes.Changed = len(boxes), len(boxes)
	if len(log) == 0 {
		s.out.result("nothing is on record")
	}
	return nil
}

// foundText is what a run found in a mailbox.
func foundText(c history.Changes) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{c.New, "new"}, {c.MovedIn, "moved in"}, {c.MovedOut, "moved out"}, {c.Gone, "gone"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if c.Flags > 0 {
		parts = append(parts, count(c.Flags, "flag"))
	}
	return strings.Join(parts, ", ")
}
