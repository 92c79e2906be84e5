package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/maildir"
	"postbag/state"
	"postbag/sync"
)

func stateCheckCommand(s *session) *cli.Command {
	return &cli.Command{
		Name: "check", HelpName: "state check",
		Usage:     "check the state against itself, the Maildir and the server",
		UsageText: "state check ACCOUNT\nstate check SERVER MAILDIR\nstate check MAILDIR",
		Description: `Checks every row and index of the state, then lists each mailbox of the Maildir
and, of an account and without --offline, of the server, and tells what changed
there since the last run. No message is read, as verify does. Nothing is changed.

Exit code 0 means that the state is sound, 3 that something in it is damaged: the
next run finds out by content what that was. What changed since is no damage.`,
		ArgsUsage: "  postbag state check work\n  postbag state check work --offline --json\n  postbag state check ~/mail",
		Flags: flags(selectFlags(), []cli.Flag{gmailFlag(),
			&cli.BoolFlag{Name: "offline", Category: catWhat, Usage: "ask no server"},
		}, configFlags(), withoutRate(serverFlags()), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.opening(func(o *options, args []string, open *closers) error {
			a, server, err := s.stateAccount(o, "state check", args)
			if err != nil {
				return err
			}
			return s.checkState(o, a, server && !o.offline, open)
		}),
	}
}

// stateAccount is the account of a command that takes a Maildir, an account, or a
// server and its Maildir; server is true when there is one to ask.
func (s *session) stateAccount(o *options, command string, args []string) (a *config.Account, server bool, err error) {
	if len(args) == 1 {
		a, err = s.treeAccount(o, command, args)
		return a, err == nil && a.Server.Host != "", err
	}
	list, err := s.endpoints(o).pairs(command, args)
	if err != nil {
		return nil, false, err
	}
	if len(list) != 1 {
		return nil, false, usageError(command, "postbag help "+command, "takes one account, not %d", len(list))
	}
	a = o.withFlags(list[0].account)
	a.Maildir = list[0].maildir
	return a, true, nil
}

func (s *session) checkState(o *options, a *config.Account, server bool, open *closers) error {
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return err
	}
	store, err := s.openToRead(a.Maildir, s.treeOptions(a))
	if err != nil {
		return err
	}
	open.add(store)
	path := statePath(a, store)
	findings, missing, err := sound(s.ctx, path)
	if err != nil {
		return err
	}
	if missing {
		return usageError("state "+path, "postbag state rebuild makes one; so does the next run", "there is none")
	}
	for _, f := range findings {
		s.out.result("damaged: %s", f)
		s.out.event(damageEvent{"damage", valid(path), valid(f)})
	}
	t, err := s.withState(a, store, state.Options{ReadOnly: true}, open)
	if err != nil {
		if len(findings) > 0 && mail.AsError(err).Kind == mail.KindIntegrity {
			s.out.hint("postbag state rebuild makes a new one of what is there")
			return exitError(exitPartial)
		}
		return err
	}
	if err := s.checkRecorded(t, patterns); err != nil {
		return err
	}
	c := &stateChecker{s: s, t: t, match: patterns.Match}
	if server {
		server, err := s.openServer(a, o.trace, open)
		if err != nil {
			return err
		}
		if err := s.useLabelsOnRecord(server, o, a, t.state); err != nil {
			return err
		}
		c.server = server
	}
	return c.run(len(findings))
}

type stateChecker struct {
	s      *session
	t      *tree
	server mail.Store // nil: not asked
	match  func(mail.MailboxInfo) bool
}

func (c *stateChecker) run(findings int) error {
	records, err := c.t.state.Mailboxes(c.s.ctx)
	if err != nil {
		return err
	}
	boxes, changed := 0, 0
	for _, rec := range records {
		name := cmp.Or(rec.Name[state.A], rec.Name[state.B])
		if name == "" || !c.match(mail.MailboxInfo{Name: name, Use: rec.Use}) {
			continue
		}
		e := checkedEvent{Event: "checked", Mailbox: valid(name)}
		if e.B, err = c.side(rec, state.B, c.t.store); err != nil {
			return err
		}
		if e.A, err = c.side(rec, state.A, c.server); err != nil {
			return err
		}
		boxes++
		if text := checkedText(e); text != "" {
			changed++
			if !c.s.out.quiet {
				c.s.out.result("%s: since the last run: %s", name, text)
			}
		}
		c.s.out.event(e)
	}
	c.s.out.summary.Mailboxes.Total, c.s.out.summary.Mailboxes.Changed = boxes, changed
	if findings > 0 {
		c.s.out.result("%s", count(findings, "damaged part"))
		c.s.out.hint("the next run finds out by content what was damaged; postbag state rebuild makes a new state")
		return exitError(exitPartial)
	}
	if !c.s.out.quiet {
		c.s.out.result("the state is sound: %s, %d changed since the last run", count(boxes, "mailbox"), changed)
	}
	return nil
}

// side compares one side of a mailbox with what is on record; nil when it is not
// asked, or never had the mailbox.
func (c *stateChecker) side(rec *state.Mailbox, x state.Side, store mail.Store) (*sideDrift, error) {
	if rec.Name[x] == "" || store == nil {
		return nil, nil
	}
	mb, err := store.Examine(c.s.ctx, rec.Name[x])
	if err != nil {
		e := mail.AsError(err)
		switch {
		case e.Kind == mail.KindGone && rec.Gone[x] != 0:
			return &sideDrift{}, nil
		case e.Kind == mail.KindGone:
			return &sideDrift{Note: "the mailbox is gone"}, nil
		case e.Scope == mail.ScopeMailbox:
			return &sideDrift{Note: valid(errors.Unwrap(e).Error())}, nil
		}
		return nil, err
	}
	defer mb.Close()
	if sync.Void(rec, x, mb.Info()) {
		return &sideDrift{Note: "the mailbox was made anew; the next run matches its messages by content"}, nil
	}
	d, err := sync.DriftOf(c.s.ctx, mb, c.t.state.Known(rec.ID, x))
	return &sideDrift{New: d.New, Gone: d.Gone, Flags: d.Flags}, err
}

func checkedText(e checkedEvent) string {
	var parts []string
	for _, side := range []struct {
		name string
		d    *sideDrift
	}{{"Maildir", e.B}, {"server", e.A}} {
		if text := side.d.text(); text != "" {
			parts = append(parts, side.name+": "+text)
		}
	}
	return strings.Join(parts, "; ")
}

func (d *sideDrift) text() string {
	if d == nil {
		return ""
	}
	if d.Note != "" {
		return d.Note
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{d.New, "new"}, {d.Gone, "gone"}, {d.Flags, "with other flags"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

func stateRebuildCommand(s *session) *cli.Command {
	return &cli.Command{
		Name: "rebuild", HelpName: "state rebuild",
		Usage:     "make a new state of what is on both sides",
		UsageText: "state rebuild ACCOUNT\nstate rebuild SERVER MAILDIR",
		Description: `For a state that is lost or damaged. The old file is kept beside the new one,
under another name. Messages are paired by Message-ID, size and date; what that
does not settle is read on both sides and compared. Nothing is stored, sent or
changed, and the next run goes on from there. History, and which messages a
backup keeps that the server deleted, is not known to the new state.`,
		ArgsUsage: "  postbag state rebuild work\n  postbag state rebuild imaps://me@imap.example.org ~/mail/work",
		Flags: flags([]cli.Flag{gmailFlag(),
			&cli.BoolFlag{Name: "force", Category: catSafety, Usage: "although the state is sound"},
		}, configFlags(), withoutRate(serverFlags()), maildirFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) (err error) {
			var open closers
			a, server, err := s.stateAccount(o, "state rebuild", args)
			if err == nil && !server {
				err = usageError("state rebuild", "name the account, or the server before the Maildir", "needs a server")
			}
			if err != nil {
				return err
			}
			report, err := s.rebuildState(o, a, &open)
			if code := s.reported("", report, err, &open); code != exitDone {
				return exitError(code)
			}
			return nil
		}),
	}
}

func (s *session) rebuildState(o *options, a *config.Account, open *closers) (*sync.Report, error) {
	store, err := maildir.Open(a.Maildir, s.treeOptions(a))
	if err != nil {
		if s.isGone(a.Maildir) {
			return nil, goneError(a.Maildir, "mount it")
		}
		return nil, at(a.Maildir, err)
	}
	open.add(store)
	path := statePath(a, store)
	findings, missing, err := sound(s.ctx, path)
	if err == nil && !missing && len(findings) == 0 && !o.anyway {
		err = usageError("state "+path, "to make it anew all the same, and lose its history, give --force", "it is sound")
	}
	if err != nil {
		return nil, err
	}
	server, err := s.openServer(a, o.trace, open)
	if err != nil {
		return nil, err
	}
	aside, err := state.SetAside(s.ctx, path, state.Options{Command: "state rebuild", Now: s.env.Now})
	if err != nil {
		return nil, err
	}
	if aside != "" && !s.out.quiet {
		s.out.result("the old state is kept as %s", aside)
	}
	t, err := s.withState(a, store, state.Options{Command: "state rebuild"}, open)
	if err != nil {
		return nil, err
	}
	patterns, err := config.ParsePatterns(a.Mailboxes)
	if err != nil {
		return nil, err
	}
	useLabels(server, a.Gmail, patterns)
	display := s.display()
	defer display.Close()
	report, err := sync.Rebuild(s.ctx, sync.Options{
		A: checked(server, t, patterns, a, sync.Nothing()), B: store, Journal: t.state, Command: "state rebuild",
		Match: patterns.Match, Workers: server.Connections(), Progress: display, Now: s.env.Now,
	})
	if err != nil {
		return report, err
	}
	return report, s.tellRebuilt(t, aside)
}

func (s *session) tellRebuilt(t *tree, aside string) error {
	boxes, err := s.stateBoxes(t.state, func(mail.MailboxInfo) bool { return true })
	if err != nil {
		return err
	}
	e := rebuiltEvent{Event: "rebuilt", State: valid(t.state.Path()), Aside: valid(aside)}
	for _, b := range boxes {
		e.Paired += b.Paired
		e.OnlyA += b.OnlyA
		e.OnlyB += b.OnlyB
		if !s.out.quiet {
			s.out.result("%s: %s", b.Mailbox, stateBoxText(b))
		}
	}
	s.out.event(e)
	return nil
}
