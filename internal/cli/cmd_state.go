package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/maildir"
	"postbag/state"
)

func stateCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "state",
		Usage:     "show, check or rebuild what is on record of a Maildir",
		UsageText: "state show ACCOUNT|MAILDIR\nstate check ACCOUNT|MAILDIR\nstate rebuild ACCOUNT\nstate rebuild SERVER MAILDIR",
		Description: `The state says which message of a Maildir is which on the server, what both held
at the last run, and what was before. It can be lost without losing mail.`,
		ArgsUsage:   "  postbag state show work\n  postbag state check work --offline\n  postbag state rebuild work",
		Subcommands: []*cli.Command{stateShowCommand(s), stateCheckCommand(s), stateRebuildCommand(s)},
	}
}

func stateShowCommand(s *session) *cli.Command {
	return &cli.Command{
		Name: "show", HelpName: "state show",
		Usage:     "show what is on record of a Maildir and its server",
		UsageText: "state show ACCOUNT\nstate show MAILDIR",
		Description: `Shows whose state it is, how much it holds, and each mailbox with its names and
validities, how far each side has been looked at, and its counts. Nothing is
changed.`,
		ArgsUsage: "  postbag state show work\n  postbag state show ~/mail --json",
		Flags:     flags(selectFlags(), configFlags(), maildirFlags(), outputFlags()),
		Action: s.opening(func(o *options, args []string, open *closers) error {
			t, err := s.recordedTree(o, "state show", args, open)
			if err != nil {
				return err
			}
			return s.showState(o, t)
		}),
	}
}

func (s *session) showState(o *options, t *tree) error {
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return err
	}
	if err := s.checkRecorded(t, patterns); err != nil {
		return err
	}
	e, err := s.stateEvent(t)
	if err != nil {
		return err
	}
	boxes, err := s.stateBoxes(t.state, patterns.Match)
	if err != nil {
		return err
	}
	e.Mailboxes = boxes
	s.out.summary.Mailboxes.Total = len(boxes)
	s.out.event(e)
	line := func(what, format string, args ...any) {
		s.out.result("  %-9s %s", what, fmt.Sprintf(format, args...))
	}
	s.out.result("%s: version %d, %s", e.State, e.Version, size(e.Bytes))
	line("server", "%s", cmp.Or(e.Server, "-"))
	line("Maildir", "%s (%s)", t.store.Path(), cmp.Or(e.Root, "no marker"))
	line("since", "%s", s.local(e.Created))
	last := ""
	if e.LastRun != nil {
		last = ", the last one began at " + s.local(*e.LastRun)
	}
	line("runs", "%d%s", e.Runs, last)
	history := "complete"
	if e.HistoryFrom > 0 {
		history = fmt.Sprintf("complete since run %d", e.HistoryFrom)
	}
	line("history", "%s, %s", history, entriesText(e.History))
	if e.Problems > 0 {
		line("problems", "%d", e.Problems)
	}
	for _, b := range boxes {
		s.out.result("%s: %s", b.Mailbox, stateBoxText(b))
		for _, side := range []struct {
			name, mailbox, validity, cursor string
		}{{"server", b.A.Name, b.A.Validity, b.A.Cursor}, {"Maildir", b.B.Name, b.B.Validity, b.B.Cursor}} {
			if side.mailbox != "" {
				line(side.name, "%s, validity %s, seen to %s", side.mailbox, cmp.Or(side.validity, "-"), cmp.Or(side.cursor, "-"))
			}
		}
	}
	return nil
}

func stateBoxText(b stateBox) string {
	text := fmt.Sprintf("%d paired", b.Paired)
	for _, p := range []struct {
		n    int
		what string
	}{{b.OnlyA, "on the server only"}, {b.OnlyB, "in the Maildir only"}, {b.Kept, "kept that the server deleted"}, {b.Removed, "removed from the Maildir"}, {b.Pending, "on their way"}} {
		if p.n > 0 {
			text += fmt.Sprintf(", %d %s", p.n, p.what)
		}
	}
	if b.A.Gone != 0 {
		text += fmt.Sprintf("; gone from the server since run %d", b.A.Gone)
	}
	if b.B.Gone != 0 {
		text += fmt.Sprintf("; gone from the Maildir since run %d", b.B.Gone)
	}
	return text
}

// stateEvent is what a state says of itself as a whole.
func (s *session) stateEvent(t *tree) (stateInfo, error) {
	e := stateInfo{Event: "state", State: valid(t.state.Path()), Maildir: valid(t.store.Path())}
	for key, to := range map[string]*string{"account_a": &e.Server, "root": &e.Root, "id": &e.ID} {
		text, err := t.state.Meta(s.ctx, key)
		if err != nil {
			return e, err
		}
		*to = valid(text)
	}
	version, err := t.state.Meta(s.ctx, "version")
	if err != nil {
		return e, err
	}
	e.Version, _ = strconv.Atoi(version)
	created, err := t.state.Meta(s.ctx, "created")
	if err != nil {
		return e, err
	}
	if n, err := strconv.ParseInt(created, 10, 64); err == nil {
		e.Created = time.Unix(n, 0).UTC()
	}
	if info, err := os.Stat(t.state.Path()); err == nil {
		e.Bytes = info.Size()
	}
	runs, err := t.state.Runs(s.ctx, runsEver)
	if err != nil {
		return e, err
	}
	e.Runs = len(runs)
	if len(runs) > 0 {
		e.LastRun = &runs[0].Started
	}
	if e.HistoryFrom, err = t.state.HistoryFrom(s.ctx); err != nil {
		return e, err
	}
	if e.History, err = t.state.CountPast(s.ctx, maxRun); err != nil {
		return e, err
	}
	problems, _, err := t.state.Problems(s.ctx)
	e.Problems = len(problems)
	return e, err
}

// maxRun is greater than the number of any run.
const maxRun = 1 << 53

// stateBoxes are the mailboxes of a state, by name.
func (s *session) stateBoxes(db *state.DB, match func(mail.MailboxInfo) bool) ([]stateBox, error) {
	records, err := db.Mailboxes(s.ctx)
	if err != nil {
		return nil, err
	}
	counts, err := db.Counts(s.ctx)
	if err != nil {
		return nil, err
	}
	list := []stateBox{}
	for _, r := range records {
		name := cmp.Or(r.Name[state.A], r.Name[state.B])
		if name == "" || !match(mail.MailboxInfo{Name: name, Use: r.Use}) {
			continue
		}
		side := func(x state.Side) stateSide {
			return stateSide{valid(r.Name[x]), valid(r.Validity[x]), valid(string(r.Cursor[x])), valid(r.Stamp[x]), r.Gone[x]}
		}
		c := counts[r.ID]
		list = append(list, stateBox{Mailbox: valid(name), Role: string(r.Use), A: side(state.A), B: side(state.B), Filter: valid(r.Filter),
			Paired: c.Paired, OnlyA: c.Alone[state.A], OnlyB: c.Alone[state.B], Kept: c.Gone[state.A], Removed: c.Gone[state.B], Pending: c.Pending})
	}
	slices.SortFunc(list, func(a, b stateBox) int { return cmp.Compare(a.Mailbox, b.Mailbox) })
	return list, nil
}

// statePath is where the state of a tree is.
func statePath(a *config.Account, store *maildir.Store) string {
	return cmp.Or(a.State, filepath.Join(store.StateDir(), stateFile))
}

// sound reports what is wrong with a state as a file: nil when nothing is. missing is
// true when there is none.
func sound(ctx context.Context, path string) (findings []string, missing bool, err error) {
	findings, err = state.Check(ctx, path)
	switch {
	case errors.Is(err, state.ErrNoState):
		return nil, true, nil
	case err == nil:
		return findings, false, nil
	case mail.AsError(err).Kind == mail.KindIntegrity:
		return []string{err.Error()}, false, nil
	}
	return nil, false, err
}
