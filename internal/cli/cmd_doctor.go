package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
)

func doctorCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "tell what a server or a Maildir is, and how it is used",
		UsageText: "doctor ACCOUNT\ndoctor SERVER\ndoctor MAILDIR",
		Description: `Of a server: what it is and offers, how changes are found, how messages are
sent, moved and removed, its limits, the mailboxes with a role, what it is
known for, and what is done about that. Of a Maildir: its layout, what its file
system can do, and what in it is not as postbag leaves it. Of an account both.
Nothing is changed.`,
		ArgsUsage: `  postbag doctor work
  postbag doctor gmail:me@example.org --password-command "pass show mail"
  postbag doctor ~/mail --json`,
		Flags: flags(configFlags(), withoutRate(serverFlags()), maildirFlags(), outputFlags()),
		Action: s.action(func(o *options, args []string) error {
			if len(args) != 1 {
				return usageError("doctor", "postbag help doctor", "takes one account, server or Maildir, not %d", len(args))
			}
			e, err := s.endpoints(o).parse(args[0])
			if err != nil {
				return err
			}
			return s.doctor(o, e)
		}),
	}
}

func (s *session) doctor(o *options, e endpoint) (err error) {
	var open closers
	defer func() {
		if closeErr := open.Close(); err == nil {
			err = closeErr
		}
	}()
	a := &config.Account{Maildir: e.maildir}
	if e.isServer() {
		a = e.account
	}
	a = o.withFlags(a)
	if e.isServer() {
		if err := s.doctorServer(o, a, &open); err != nil {
			return err
		}
	}
	if e.maildir == "" {
		return nil
	}
	if _, err := os.Stat(e.maildir); e.isServer() && errors.Is(err, fs.ErrNotExist) {
		s.fact("maildir", "%s is not there yet: the first run makes it", e.maildir)
		return nil
	}
	return s.doctorTree(a, e.maildir, &open)
}

// fact writes one line of what doctor tells.
func (s *session) fact(about, format string, args ...any) {
	s.out.result("%-12s "+format, append([]any{about}, args...)...)
}

// doctorTree tells what a Maildir is.
func (s *session) doctorTree(a *config.Account, path string, open *closers) error {
	store, err := s.openToRead(path, s.treeOptions(a))
	if err != nil {
		return err
	}
	open.add(store)
	about, err := store.About()
	if err != nil {
		return at(path, err)
	}
	remarks, err := store.Check(s.ctx)
	if err != nil {
		return at(path, err)
	}
	event := treeEvent{
		Event: "maildir", Account: a.Name, Maildir: valid(path), Layout: string(about.Layout), ID: about.ID, Owner: valid(about.Owner),
		Folds: about.Folds, InfoSeparator: about.InfoSeparator, Flushes: about.Flushes, FineTimes: about.FineTimes, Remarks: []string{},
	}
	state := a.State
	if state == "" {
		state = filepath.Join(store.StateDir(), stateFile)
	}
	if _, err := os.Stat(state); err == nil {
		event.State = valid(state)
	}
	s.fact("maildir", "%s", path)
	s.fact("layout", "%s", about.Layout)
	s.fact("owner", "%s", ownerText(event))
	s.fact("state", "%s", either(event.State != "", event.State, "none: no run has been here, or it lies elsewhere"))
	s.fact("durability", "%s", either(about.Flushes, "one flush for a whole batch of messages", "each message is flushed by itself: this file system cannot be trusted to do all at once"))
	s.fact("times", "%s", either(about.FineTimes, "tell when a directory changed", "are not fine enough to tell when a directory changed: it is read again"))
	s.fact("names", "%s; flags are after %q", either(about.Folds, "differ in more than case, on this file system", "may differ in case only"), about.InfoSeparator)
	for _, remark := range remarks {
		event.Remarks = append(event.Remarks, valid(remark))
		s.fact("remark", "%s", remark)
	}
	s.out.event(event)
	return nil
}

func ownerText(e treeEvent) string {
	switch {
	case e.ID == "":
		return "none: postbag did not make this tree, and no run has taken it over"
	case e.Owner == "":
		return "no account"
	}
	return e.Owner
}

// either is one of two texts.
func either(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
