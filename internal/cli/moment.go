package cli

import (
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/history"
	"postbag/state"
)

// moment is a time in the past of an account, as it is written: a time, a day, which
// stands for its beginning, or a run. The zero moment is now.
type moment struct {
	at  func(now time.Time) time.Time
	run int64
}

func (m moment) isZero() bool { return m.at == nil && m.run == 0 }

// pastFlags choose a moment.
func pastFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "as-of", Category: catWhat, Usage: "the account as it was at `DATE`, such as 2024-01-31 (as that day began), \"2024-01-31 14:30\" or 7d (a week ago)"},
		&cli.StringFlag{Name: "run", Category: catWhat, Usage: "the account as it was after run `ID`, which history shows"},
	}
}

// moments are the forms of a time of day, in the zone of the machine.
var moments = []string{time.DateTime, "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"}

// parseMoment reads a time.
func parseMoment(s string) (moment, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return moment{at: func(time.Time) time.Time { return t }}, nil
	}
	for _, form := range moments {
		if _, err := time.Parse(form, s); err == nil {
			return moment{at: func(now time.Time) time.Time {
				t, _ := time.ParseInLocation(form, s, now.Location())
				return t
			}}, nil
		}
	}
	d, err := config.ParseDate(s)
	if err != nil {
		return moment{}, usageError("", `such as "2024-01-31", "2024-01-31 14:30", or "7d" for a week ago`, "%q is no time", s)
	}
	return moment{at: d.At}, nil
}

// parseRun reads the number of a run.
func parseRun(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, usageError("", "postbag history lists the runs", "%q is no number of a run", s)
	}
	return n, nil
}

// viewOf is the account of a state as it was at the moment that the flags name. It
// warns where not all of that time is on record.
func (s *session) viewOf(o *options, db *state.DB) (*history.View, error) {
	var p history.Point
	var err error
	if o.past.run != 0 {
		p, err = history.AtRun(s.ctx, db, o.past.run)
	} else {
		p, err = history.At(s.ctx, db, o.past.at(s.env.Now()))
	}
	if err != nil {
		return nil, err
	}
	s.out.note("as it was after run %d (%s), which began at %s", p.Run, p.Command, s.local(p.Started))
	if !p.Complete {
		s.out.warn("not all of what changed since run %d is on record: what was moved or deleted for good may be missing, and flags may be of later", p.Run)
	}
	return history.Open(s.ctx, db, p)
}

// openPast opens an account as it was at the moment that the flags name, for reading,
// from its Maildir: messages have the IDs that list shows for keys.
func (s *session) openPast(o *options, a *config.Account, open *closers) (*history.Store, error) {
	t, err := s.readTree(a, open)
	if err != nil {
		return nil, err
	}
	view, err := s.viewOf(o, t.state)
	if err != nil {
		return nil, err
	}
	return history.NewStore(view, t.store), nil
}
