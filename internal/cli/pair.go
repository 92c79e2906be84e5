package cli

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/internal/progress"
	"postbag/state"
	"postbag/sync"
)

// each runs a command for one account after another. What fails for one does
// not stop the others; an interruption does.
func (s *session) each(o *options, list []endpoint, run func(a *config.Account, label string) int) error {
	if err := s.checkShared(o, list); err != nil {
		return err
	}
	code := exitDone
	for _, e := range list {
		a := o.withFlags(e.account)
		a.Maildir = e.maildir
		label := ""
		if len(list) > 1 {
			label = a.Name
		}
		code = worse(code, s.watch.account(a, func() int { return run(a, label) }))
		if s.ctx.Err() != nil {
			break
		}
	}
	if code != exitDone {
		return exitError(code)
	}
	return nil
}

// checkShared refuses what makes sense for one account only.
func (s *session) checkShared(o *options, list []endpoint) error {
	if o.state != "" && len(list) > 1 {
		return usageError("--state", "set state in the configuration", "is for one account, and there are %d", len(list))
	}
	if !o.password.IsZero() && len(list) > 1 {
		return usageError("password flags", "set password in the configuration", "are for one account, and there are %d", len(list))
	}
	return nil
}

// job is what a command that brings a server and a Maildir together makes of an
// account: the engine does the rest.
type job struct {
	command string // as the state, the report and the help call it
	policy  sync.Policy
}

// name is the command without its flags.
func (j job) name() string { name, _, _ := strings.Cut(j.command, " "); return name }

// runPair does a job for one account and reports. It answers with the exit code.
func (s *session) runPair(j job, o *options, a *config.Account, label string) int {
	var open closers
	report, err := s.syncPair(j, o, a, &open)
	return s.reported(label, report, err, &open)
}

// reported closes what a run opened, tells what came of it, and answers with the
// exit code.
func (s *session) reported(label string, report *sync.Report, err error, open *closers) int {
	if closeErr := open.Close(); err == nil {
		err = closeErr
	}
	code := reportCode(report, err)
	if report != nil {
		s.out.report(label, report, code)
	}
	if err != nil {
		code = s.out.fail(label, err)
	}
	s.out.account(label, report, code)
	return code
}

func (s *session) syncPair(j job, o *options, a *config.Account, open *closers) (*sync.Report, error) {
	patterns, err := config.ParsePatterns(a.Mailboxes)
	if err != nil {
		return nil, err
	}
	server, local, err := s.openPair(j, o, a, open)
	if err != nil {
		return nil, err
	}
	useLabels(server, a.Gmail, patterns)
	display := s.display()
	defer display.Close()
	source := checked(server, local, patterns, a, j.policy)
	source.listed = func(list []mail.MailboxInfo) { s.tellViews(o.dryRun, list, patterns) }
	options := sync.Options{
		A: source, B: local.store, Journal: local.state,
		Policy: j.policy, Command: j.command, Match: patterns.Match, Filter: filter(a, s.env),
		DryRun: o.dryRun, Refill: o.refill, Subscriptions: a.Subscriptions, Guard: sync.Limits{Max: a.MaxDelete, Off: o.force},
		FailRefused: a.Refused == config.RefusedFail, Fix: a.Fix, Batch: paced(a, state.A),
		Workers: server.Connections(), Progress: display, Now: s.env.Now,
	}
	report, err := sync.Run(s.ctx, options)
	if err == nil && !o.dryRun {
		// What was removed long ago goes at the end, when the copy is whole.
		var n int
		if n, err = local.store.ExpireTrash(s.ctx); n > 0 {
			s.out.note("removed %s from the trash for good", count(n, "old file"))
		}
	}
	return report, err
}

// display shows how a run goes on.
func (s *session) display() *progress.Display {
	d := progress.New(progress.Options{
		Out: s.env.Stderr, Verbose: s.out.verbose, Escape: s.out.stderr.escape, Width: s.env.Width, Now: s.env.Now,
		Bar: s.env.canDraw() && !s.out.quiet && !(s.out.json && s.env.StdoutTTY), ASCII: s.out.stderr.ascii,
	})
	s.out.beside(d)
	return d
}

// filter is an account's filter as of now.
func filter(a *config.Account, env *Env) sync.Filter {
	now := env.Now()
	return sync.Filter{Since: a.Since.At(now), Before: a.Before.At(now), Larger: a.Larger, Smaller: a.Smaller}
}

// openPair opens both sides. A tree that exists comes first, since it costs
// nothing to find out that it is the wrong one, or locked; one that does not is
// made only after the server has let us in.
func (s *session) openPair(j job, o *options, a *config.Account, open *closers) (server *imapstore.Store, local *tree, err error) {
	openLocal := func() {
		if err == nil && o.dryRun {
			local, err = s.pretendTree(a, o, open)
		} else if err == nil {
			local, err = s.openTree(a, o, j.name(), open)
		}
	}
	_, statErr := os.Stat(a.Maildir)
	isNew := errors.Is(statErr, fs.ErrNotExist) && (o.create || !s.isGone(a.Maildir))
	if !isNew {
		openLocal()
	}
	if err == nil {
		server, err = s.openServer(a, o.trace, open)
	}
	if isNew {
		openLocal()
	}
	return server, local, err
}
