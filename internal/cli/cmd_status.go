package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

func statusCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "tell what the last runs did and what is left",
		UsageText: "status [ACCOUNT...]\nstatus MAILDIR",
		Description: `Reads the state beside a Maildir: how much is there, the last runs that changed
something, and the messages that could not be copied, with the reason. No server
is asked, and nothing is changed.`,
		ArgsUsage: "  postbag status\n  postbag status work --json\n  postbag status ~/mail",
		Flags:     flags(configFlags(), maildirFlags(), outputFlags()),
		Action: s.action(func(o *options, args []string) error {
			eps := s.endpoints(o)
			var list []endpoint
			if len(args) == 1 && !isServer(args[0]) {
				e, err := eps.parse(args[0])
				if err != nil {
					return err
				}
				if !e.isServer() {
					list = []endpoint{{&config.Account{}, e.maildir}}
				}
			}
			if list == nil {
				for _, arg := range args {
					if isServer(arg) {
						return usageError("status", "name the account or the Maildir", "asks no server")
					}
				}
				var err error
				if list, err = eps.pairs("status", args); err != nil {
					return err
				}
			}
			return s.each(o, list, s.status)
		}),
	}
}

// status tells of one tree. It answers with the exit code.
func (s *session) status(a *config.Account, label string) int {
	var open closers
	err := s.readStatus(a, &open)
	if closeErr := open.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return s.out.fail(label, err)
	}
	return exitDone
}

func (s *session) readStatus(a *config.Account, open *closers) error {
	event := statusEvent{Event: "status", Account: a.Name, Maildir: valid(a.Maildir),
		Mailboxes: []boxStatus{}, Runs: []runStatus{}, Problems: []problem{}}
	if a.Name != "" {
		event.Server = a.Server.Identity()
	}
	if _, err := os.Stat(a.Maildir); a.Name != "" && errors.Is(err, fs.ErrNotExist) && !s.isGone(a.Maildir) {
		s.out.result("%s: no backup yet: there is no %s", statusName(a), a.Maildir)
		s.out.event(event)
		return nil
	}
	t, err := s.readTree(a, open)
	if errors.Is(err, state.ErrNoState) {
		s.out.result("%s: no backup yet", statusName(a))
		s.out.event(event)
		return nil
	}
	if err != nil {
		return err
	}
	if owner := t.store.Owner(); owner != "" {
		event.Server = valid(owner)
	}
	event.State = valid(t.state.Path())
	if err := s.inspect(t.state, &event); err != nil {
		return err
	}
	s.out.summary.Mailboxes.Total += len(event.Mailboxes)
	s.out.summary.Problems = append(s.out.summary.Problems, event.Problems...)
	s.out.event(event)
	s.statusText(a, event)
	return nil
}

func statusName(a *config.Account) string {
	if a.Name == "" {
		return a.Maildir
	}
	return a.Name
}

// statusText writes what status tells, for people.
func (s *session) statusText(a *config.Account, e statusEvent) {
	line := func(what, format string, args ...any) {
		s.out.result("  %-8s %s", what, fmt.Sprintf(format, args...))
	}
	s.out.result("%s: %s in %s, %s", statusName(a), count(e.Messages, "message"), count(len(e.Mailboxes), "mailbox"), size(e.Bytes))
	if e.Server != "" {
		line("of", "%s", e.Server)
	}
	if a.Name != "" {
		line("in", "%s", a.Maildir)
	}
	what := "changed"
	for _, r := range e.Runs {
		line(what, "%s  %s: %s%s", s.local(r.Started), r.Command, r.Outcome, runCounts(r))
		what = ""
	}
	for _, part := range []struct {
		what string
		n    int
		text string
	}{
		{"kept", e.Kept, "that the server deleted"},
		{"removed", e.Removed, "deleted here and not on the server; backup --refill brings back"},
		{"left out", e.OnlyA, "on the server only, by a filter or a problem"},
		{"foreign", e.OnlyB, "that did not come from the server"},
		{"pending", e.Pending, "on the way when the last run was cut off; the next one finishes"},
	} {
		if part.n > 0 {
			line(part.what, "%s %s", count(part.n, "message"), part.text)
		}
	}
	if e.Damaged > 0 {
		line("damaged", "%s of the state; the next run finds out by content what it was", count(e.Damaged, "row"))
	}
	if s.out.verbose {
		for _, b := range e.Mailboxes {
			line("mailbox", "%s: %s", b.Mailbox, s.boxText(b))
		}
	}
	if n := len(e.Problems); n > 0 {
		line("problems", "%d", n)
	}
	for i, p := range e.Problems {
		if i == maxProblems {
			line("", "%d more; --json lists them all", len(e.Problems)-maxProblems)
			break
		}
		date, _ := time.Parse(time.RFC3339, p.Date)
		bytes := int64(-1)
		if p.Size != nil {
			bytes = *p.Size
		}
		line("", "%s: %s: %s", p.Mailbox, messageText(mail.Ref{UID: p.UID, Key: p.Key}, date, bytes), p.Reason)
	}
}

// boxText is what there is in one mailbox.
func (s *session) boxText(b boxStatus) string {
	parts := []string{count(b.Messages, "message"), size(b.Bytes)}
	if b.Kept > 0 {
		text := keptText(b.Kept)
		switch {
		case b.KeptSince == nil:
		case b.KeptSince.Equal(*b.KeptUntil):
			text += ", seen " + s.local(*b.KeptSince)
		default:
			text += fmt.Sprintf(", seen %s to %s", s.local(*b.KeptSince), s.local(*b.KeptUntil))
		}
		parts = append(parts, text)
	}
	for _, part := range []struct {
		n    int
		what string
	}{{b.Removed, "removed"}, {b.OnlyA, "left out"}, {b.OnlyB, "foreign"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return strings.Join(parts, ", ")
}

// local is a time as people here read it.
func (s *session) local(t time.Time) string {
	return t.In(s.env.Now().Location()).Format(time.DateTime)
}

// runCounts is what a run changed, as its summary has it.
func runCounts(r runStatus) string {
	var counts struct {
		A, B           sync.Counts
		Kept, Problems int
	}
	if err := json.Unmarshal(r.Summary, &counts); err != nil {
		return ""
	}
	text := both([2]sync.Counts{counts.A, counts.B}, counts.Kept, !strings.HasPrefix(r.Command, "backup"))
	if counts.Problems > 0 {
		if text != "" {
			text += ", "
		}
		text += count(counts.Problems, "problem")
	}
	if text == "" {
		return ""
	}
	return ", " + text
}
