package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// runsShown is how many runs status tells of, out of the last runsRead: runs that
// had nothing to do are left out.
const (
	runsShown = 5
	runsRead  = 100
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
			if len(args) == 1 && !config.IsURL(args[0]) {
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
					if config.IsURL(arg) {
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

// statusEvent is what status tells, as JSON.
type statusEvent struct {
	Event     string     `json:"event"`
	Account   string     `json:"account,omitempty"`
	Maildir   string     `json:"maildir"`
	Server    string     `json:"server,omitempty"`
	State     string     `json:"state,omitempty"`
	Mailboxes int        `json:"mailboxes"`
	Messages  int        `json:"messages"`
	Pending   int        `json:"pending"` // on their way when the last run was cut off
	Runs      []runEvent `json:"runs"`
	Problems  []problem  `json:"problems"`
}

// runEvent is one run of the past.
type runEvent struct {
	Command  string          `json:"command"`
	Started  time.Time       `json:"started"`
	Finished *time.Time      `json:"finished,omitempty"`
	Outcome  string          `json:"outcome"`
	Summary  json.RawMessage `json:"summary,omitempty"`
}

func (s *session) readStatus(a *config.Account, open *closers) error {
	event := statusEvent{Event: "status", Account: a.Name, Maildir: valid(a.Maildir), Runs: []runEvent{}, Problems: []problem{}}
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
	if err := s.countStatus(t.state, &event); err != nil {
		return err
	}
	s.out.summary.Mailboxes.Total += event.Mailboxes
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

// countStatus reads the state.
func (s *session) countStatus(db *state.DB, event *statusEvent) error {
	boxes, err := db.Mailboxes(s.ctx)
	if err != nil {
		return err
	}
	names := map[int64]string{}
	for _, b := range boxes {
		names[b.ID] = b.Name[state.A]
		if b.Name[state.A] == "" {
			names[b.ID] = b.Name[state.B]
		}
		if b.Name[state.B] != "" && b.Gone[state.B] == 0 {
			event.Mailboxes++
		}
		event.Messages += db.Known(b.ID, state.B).Count()
	}
	pending, err := db.Pending(s.ctx)
	if err != nil {
		return err
	}
	event.Pending = len(pending)
	problems, rows, err := db.Problems(s.ctx)
	if err != nil {
		return err
	}
	for i, p := range problems {
		event.Problems = append(event.Problems, problemJSON(event.Account, storedProblem(p, rows[i], names[rows[i].Mailbox])))
	}
	runs, err := db.Runs(s.ctx, runsRead)
	for _, r := range runs {
		if len(event.Runs) == runsShown {
			break
		}
		one := runEvent{Command: valid(r.Command), Started: r.Started, Outcome: valid(r.Outcome)}
		if r.Finished.IsZero() {
			one.Outcome = "cut off"
		} else {
			one.Finished = &r.Finished
		}
		if json.Valid([]byte(r.Summary)) {
			one.Summary = json.RawMessage(r.Summary)
		}
		if one.Outcome != string(sync.Done) || runCounts(one) != "" {
			event.Runs = append(event.Runs, one)
		}
	}
	return err
}

// storedProblem is a problem of the state as a run reports it.
func storedProblem(p state.Problem, r *state.Row, mailbox string) sync.Problem {
	ref := r.Ref[p.Side.Other()] // the message itself is where it came from
	if ref.IsZero() {
		ref = r.Ref[p.Side]
	}
	return sync.Problem{Mailbox: mailbox, Side: p.Side, Ref: ref, Date: r.Date, Size: r.Size, Kind: p.Kind, Reason: p.Reason}
}

// statusText writes what status tells, for people.
func (s *session) statusText(a *config.Account, e statusEvent) {
	s.out.result("%s: %s in %s", statusName(a), count(e.Messages, "message"), count(e.Mailboxes, "mailbox"))
	if e.Server != "" {
		s.out.result("  of       %s", e.Server)
	}
	if a.Name != "" {
		s.out.result("  in       %s", a.Maildir)
	}
	for i, r := range e.Runs {
		what := "        "
		if i == 0 {
			what = "changed "
		}
		s.out.result("  %s %s  %s: %s%s", what, r.Started.In(s.env.Now().Location()).Format(time.DateTime), r.Command, r.Outcome, runCounts(r))
	}
	if e.Pending > 0 {
		s.out.result("  pending  %s on the way when the last run was cut off: the next run finishes them", count(e.Pending, "message"))
	}
	for i, p := range e.Problems {
		if i == maxProblems {
			s.out.result("  problem  %d more; --json lists them all", len(e.Problems)-maxProblems)
			break
		}
		date, _ := time.Parse(time.RFC3339, p.Date)
		bytes := int64(-1)
		if p.Size != nil {
			bytes = *p.Size
		}
		s.out.result("  problem  %s: %s: %s", p.Mailbox, messageText(mail.Ref{UID: p.UID, Key: p.Key}, date, bytes), p.Reason)
	}
}

// runCounts is what a run changed, as its summary has it.
func runCounts(r runEvent) string {
	var counts struct {
		A, B     sync.Counts
		Problems int
	}
	if err := json.Unmarshal(r.Summary, &counts); err != nil {
		return ""
	}
	text := both([2]sync.Counts{counts.A, counts.B}, 0)
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
