package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"postbag/internal/config"
	"postbag/state"
	"postbag/sync"
)

// A run measures a pace when it copied this much.
const (
	measuredMessages = 50
	measuredTime     = time.Second
)

// measure is what a run copies in a second.
type measure struct {
	messages, bytes float64
	at              time.Time // when the run began
}

// lastPace is that of the newest run on record of a command that copied enough
// to one side; false when there is none.
func lastPace(ctx context.Context, db *state.DB, side state.Side) (m measure, ok bool, err error) {
	runs, err := db.Runs(ctx, 50)
	for _, r := range runs {
		var sum struct{ A, B sync.Counts }
		if r.Finished.IsZero() || json.Unmarshal([]byte(r.Summary), &sum) != nil {
			continue
		}
		c := [2]sync.Counts{sum.A, sum.B}[side]
		took := r.Finished.Sub(r.Started)
		if c.New < measuredMessages || took < measuredTime {
			continue
		}
		return measure{float64(c.New) / took.Seconds(), float64(c.Bytes) / took.Seconds(), r.Started}, true, err
	}
	return m, false, err
}

// estimate tells how long it would take to do what a dry run planned for one side:
// as the last run of the pair went, and no faster than the limits let it. Where
// neither is known nothing is said.
func (s *session) estimate(report *sync.Report, db *state.DB, side state.Side, accounts ...*config.Account) error {
	c := report.Side[side]
	if !report.DryRun || c.New == 0 {
		return nil
	}
	seconds := func(n, perSecond float64) time.Duration {
		if perSecond <= 0 {
			return 0
		}
		return time.Duration(n / perSecond * float64(time.Second))
	}
	m, ok, err := lastPace(s.ctx, db, side)
	if err != nil {
		return err
	}
	if ok {
		report.Estimate = max(seconds(float64(c.New), m.messages), seconds(float64(c.Bytes), m.bytes))
		report.EstimateBy = fmt.Sprintf("as the run of %s went", m.at.Format(time.DateOnly))
	}
	for i, a := range accounts {
		limits := map[string]time.Duration{"limit_rate": seconds(float64(c.Bytes), float64(a.LimitRate))}
		if i == len(accounts)-1 { // the one that is written to
			limits["limit_messages"] = seconds(float64(c.New), a.LimitMessages)
		}
		for key, d := range limits {
			if d > report.Estimate {
				report.Estimate, report.EstimateBy = d, "at the pace of "+key
			}
		}
	}
	return nil
}

// planned is what the text of a dry run adds to its counts.
func planned(r *sync.Report) string {
	if r.Estimate <= 0 {
		return ""
	}
	return fmt.Sprintf(", about %s %s", elapsed(r.Estimate), r.EstimateBy)
}

// tooLarge warns of messages that a dry run knows to be refused for their size.
func (o *output) tooLarge(prefix string, t sync.TooLarge) {
	if t.Messages > 0 {
		o.warn("%s%s larger than the %s that the server takes, up to %s: they would stay behind", prefix,
			isOrAre(t.Messages, "message"), size(t.Limit), size(t.Largest))
	}
}

func isOrAre(n int, what string) string {
	if n == 1 {
		return count(n, what) + " is"
	}
	return count(n, what) + " are"
}

// takes is the largest message that a server says it takes, for a dry run; 0 when it
// does not say.
func takes(ctx context.Context, o *options, dest interface {
	AppendLimit(context.Context) (int64, error)
}) (int64, error) {
	if !o.dryRun {
		return 0, nil
	}
	limit, err := dest.AppendLimit(ctx)
	return max(limit, 0), err
}
