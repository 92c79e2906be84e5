// Package history tells what an account held at an earlier time, from the state of
// its Maildir: which messages were where, with which flags, and where their content
// is now. The account is side A of the state: what the server held, as the runs saw
// it. Nothing here changes the state, the Maildir or a server.
//
// A time is told by runs: what is on record is how things were when a run had ended.
package history

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

// Point is the end of a run.
type Point struct {
	Run      int64
	Command  string
	Started  time.Time
	Complete bool // all that happened since is on record
}

// allRuns is more runs than there are.
const allRuns = math.MaxInt32

// At is the last run that began at t or before.
func At(ctx context.Context, db *state.DB, t time.Time) (Point, error) {
	return find(ctx, db, func(runs []state.Run) (*state.Run, error) {
		for i := range runs { // the newest first
			if !runs[i].Started.After(t) {
				return &runs[i], nil
			}
		}
		return nil, usage(fmt.Sprintf("the first run began at %s", runs[len(runs)-1].Started.In(t.Location()).Format(time.DateTime)),
			"nothing is on record of %s", t.Format(time.DateTime))
	})
}

// AtRun is the run of that number.
func AtRun(ctx context.Context, db *state.DB, id int64) (Point, error) {
	return find(ctx, db, func(runs []state.Run) (*state.Run, error) {
		if i := slices.IndexFunc(runs, func(r state.Run) bool { return r.ID == id }); i >= 0 {
			return &runs[i], nil
		}
		return nil, usage("postbag history lists the runs", "there is no run %d that changed anything", id)
	})
}

func find(ctx context.Context, db *state.DB, choose func([]state.Run) (*state.Run, error)) (Point, error) {
	runs, err := db.Runs(ctx, allRuns)
	if err != nil {
		return Point{}, err
	}
	if len(runs) == 0 {
		return Point{}, usage("it begins with the first backup or sync", "there is no history yet")
	}
	run, err := choose(runs)
	if err != nil {
		return Point{}, err
	}
	from, err := db.HistoryFrom(ctx)
	return Point{Run: run.ID, Command: run.Command, Started: run.Started, Complete: run.ID >= from}, err
}

func usage(hint, format string, args ...any) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "history", Err: fmt.Errorf(format, args...), Hint: hint}
}
