package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/internal/progress"
	"postbag/state"
	"postbag/sync"
)

func verifyCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "prove that a backup holds what it should",
		UsageText: "verify [ACCOUNT...]\nverify SERVER MAILDIR\nverify MAILDIR\nverify FROM TO",
		Description: `Reads every message in the Maildir and compares it with the digest that was
recorded when it came; then compares the Maildir with the server, message by
message, and names each one that is missing, extra, different, damaged, or has
other flags. With a MAILDIR alone the server is left out, and --deep makes no
difference: all of it is read anyway. Nothing is changed.

Between two servers, two Maildirs, or from a Maildir to a server, messages are
matched by Message-ID, size and date, with --deep by their content; mailboxes as
migrate maps them. "altered" is what the server made of a message as it took it.
Flags that begin with --to- are for the second server.

With --as-of or --run, and one account or Maildir: everything that the account
held at that time is in the Maildir or its trash, as it was. No server is asked.

Exit code 0 means that nothing was found, 3 that something was. Messages that
the server deleted and a backup keeps are not counted.`,
		ArgsUsage: `  postbag verify work
  postbag verify work --deep
  postbag verify ~/mail --json
  postbag verify ~/mail --as-of 30d
  postbag verify old new --deep`,
		Flags: flags(selectFlags(), filterFlags(), pastFlags(), []cli.Flag{gmailFlag()}, []cli.Flag{
			&cli.BoolFlag{Name: "deep", Category: catWhat, Usage: "fetch every message from the server again and compare its content"},
		}, mapFlags(), configFlags(), withoutPace(serverFlags()), secondFlags(), maildirFlags(), monitorFlags(), outputFlags(), quietFlags()),
		Action: s.action(func(o *options, args []string) error {
			if !o.past.isZero() {
				return s.verifyPast(o, args)
			}
			eps := s.endpoints(o)
			if len(args) == 2 {
				var ends []endpoint
				for _, arg := range args {
					e, err := eps.parse(arg)
					if err != nil {
						return err
					}
					ends = append(ends, e)
				}
				if unjoined(ends) {
					return s.compareEnds(o, ends)
				}
			}
			if len(args) == 1 && !isServer(args[0]) {
				e, err := eps.parse(args[0])
				if err != nil {
					return err
				}
				if !e.isServer() {
					return s.verifyTree(o, e)
				}
			}
			list, err := eps.pairs("verify", args)
			if err != nil {
				return err
			}
			return s.each(o, list, func(a *config.Account, label string) int { return s.verify(o, a, true, label) })
		}),
	}
}

// verifyTree checks a Maildir tree alone: every message of it is read, with --deep or
// without.
func (s *session) verifyTree(o *options, e endpoint) error {
	a := o.withFlags(&config.Account{Maildir: e.maildir})
	if code := s.watch.account(a, func() int { return s.verify(o, a, false, "") }); code != exitDone {
		return exitError(code)
	}
	return nil
}

// verify verifies one tree, against its server or alone, and reports.
func (s *session) verify(o *options, a *config.Account, server bool, label string) int {
	var open closers
	result, err := s.runVerify(o, a, server, label, &open)
	return s.verified(label, result, err, &open)
}

// verified closes what a verification opened, tells what came of it, and answers
// with the exit code.
func (s *session) verified(label string, result *sync.Verified, err error, open *closers) int {
	if closeErr := open.Close(); err == nil {
		err = closeErr
	}
	code := exitCode(err)
	report := &sync.Report{Command: "verify"}
	if result != nil {
		report.Mailboxes = sync.MailboxCounts{Total: result.Mailboxes, Failed: len(result.Problems)}
		report.Problems, report.Kept = result.Problems, result.Kept
		for _, p := range result.Problems {
			s.out.warn("%s%s", labelled(label), problemText(p))
			s.out.hint(p.Hint)
		}
		if err == nil && result.Findings+len(result.Problems) > 0 {
			code = exitPartial
		}
		s.out.addVerified(result)
	}
	if err != nil {
		code = s.out.fail(label, err)
	} else if !s.out.quiet || code != exitDone {
		s.out.result("%s%s in %s, %s: %s, %s", labelled(label), count(result.Messages, "message"), count(result.Mailboxes, "mailbox"),
			size(result.Bytes), verdict(result), elapsed(s.out.elapsed()))
	}
	s.out.account(label, report, code)
	return code
}

func labelled(label string) string {
	if label == "" {
		return ""
	}
	return label + ": "
}

func verdict(v *sync.Verified) string {
	var parts []string
	if v.Findings > 0 {
		parts = append(parts, count(v.Findings, "finding"))
	} else {
		parts = append(parts, "nothing wrong")
	}
	if v.Repaired > 0 {
		parts = append(parts, fmt.Sprintf("%d repaired", v.Repaired))
	}
	if n := len(v.Problems); n > 0 {
		parts = append(parts, fmt.Sprintf("%s could not be looked at", count(n, "mailbox")))
	}
	if v.Kept > 0 {
		parts = append(parts, keptText(v.Kept))
	}
	return strings.Join(parts, ", ")
}

func (o *output) addVerified(v *sync.Verified) {
	if o.summary.Verified == nil {
		o.summary.Verified = &verified{}
	}
	sum := o.summary.Verified
	sum.Messages += v.Messages
	sum.Bytes += v.Bytes
	sum.Findings += v.Findings
	sum.Repaired += v.Repaired
	o.mu.Lock()
	defer o.mu.Unlock()
	o.checked = &verified{v.Messages, v.Bytes, v.Findings, v.Repaired}
}

func (s *session) runVerify(o *options, a *config.Account, server bool, label string, open *closers) (*sync.Verified, error) {
	patterns, err := config.ParsePatterns(a.Mailboxes)
	if err != nil {
		return nil, err
	}
	local, err := s.readTree(a, open)
	if err != nil {
		return nil, err
	}
	options := sync.VerifyOptions{
		B: local.store, Journal: local.state, Match: patterns.Match, Filter: filter(a, s.env), Deep: o.deep,
		Found: func(f sync.Finding) { s.finding(label, f) },
	}
	if server {
		store, err := s.openServer(a, o.trace, open)
		if err != nil {
			return nil, err
		}
		if err := s.useLabelsOnRecord(store, o, a, local.state); err != nil {
			return nil, err
		}
		options.A = &checkedStore{Store: store, patterns: patterns, more: nothingMore}
	} else if err := s.checkRecorded(local, patterns); err != nil {
		return nil, err
	}
	display := s.display()
	defer display.Close()
	options.Progress = display
	if err := s.expect(display, local.state, patterns, server && o.deep); err != nil {
		return nil, err
	}
	return sync.Verify(s.ctx, options)
}

// expect tells the display what is to be read: every message here, and with deep
// every one there.
func (s *session) expect(d *progress.Display, db *state.DB, patterns *config.Patterns, deep bool) error {
	records, err := db.Mailboxes(s.ctx)
	if err != nil {
		return err
	}
	counts, err := db.Counts(s.ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		c := counts[r.ID]
		here := holdingOf(c)
		if !patterns.Match(mail.MailboxInfo{Name: cmp.Or(r.Name[state.A], r.Name[state.B]), Use: r.Use}) {
			continue
		}
		d.Expect(here.Messages-here.OnlyB, here.Bytes)
		if deep && here.Messages > 0 {
			d.Expect(c.Paired, here.Bytes/int64(here.Messages)*int64(c.Paired))
		}
	}
	return nil
}

// checkRecorded refuses patterns that choose none of the mailboxes that the
// state knows.
func (s *session) checkRecorded(t *tree, patterns *config.Patterns) error {
	records, err := t.state.Mailboxes(s.ctx)
	if err != nil {
		return err
	}
	var list []mail.MailboxInfo
	for _, r := range records {
		list = append(list, mail.MailboxInfo{Name: cmp.Or(r.Name[state.A], r.Name[state.B]), Use: r.Use})
	}
	return patterns.Check(list)
}

// finding writes one finding, also with -q: something is not as it should be. A
// repaired message is as it should be.
func (s *session) finding(label string, f sync.Finding) {
	if f.Kind != sync.Repaired || !s.out.quiet {
		s.out.result("%s%s: %s: %s: %s", labelled(label), f.Kind, f.Mailbox, messageText(f.Ref, f.Message.Date, f.Size), f.Text)
	}
	event := findingEvent{Event: "finding", Account: label, Kind: string(f.Kind), Mailbox: valid(f.Mailbox), Side: strings.ToLower(f.Side.String()),
		UID: f.Ref.UID, Key: valid(f.Ref.Key), Reason: valid(f.Text)}
	if !f.Message.Date.IsZero() {
		event.Date = f.Message.Date.UTC().Format(time.RFC3339)
	}
	if f.Size >= 0 {
		event.Size = &f.Size
	}
	s.out.event(event)
}
