package cli

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"postbag/state"
	"postbag/sync"
)

const (
	// runsShown is how many runs status tells of, out of the last runsRead: runs
	// that had nothing to do are left out.
	runsShown = 5
	runsRead  = 100
	// runsEver is more runs than there are, where all are wanted: one an hour for
	// a century.
	runsEver = 1 << 20
	// rowsRead is how many rows are read at a time.
	rowsRead = 500
)

// inspect reads from the state what status tells.
func (s *session) inspect(db *state.DB, e *statusEvent) error {
	names, err := s.inspectBoxes(db, e)
	if err != nil {
		return err
	}
	problems, rows, err := db.Problems(s.ctx)
	if err != nil {
		return err
	}
	for i, p := range problems {
		e.Problems = append(e.Problems, problemJSON(e.Account, storedProblem(p, rows[i], names[rows[i].Mailbox])))
	}
	if e.Runs, err = s.lastRuns(db); err != nil {
		return err
	}
	e.Damaged = db.Damage().Total()
	return nil
}

// inspectBoxes adds up what the mailboxes hold. For the verbose every row is
// read, which finds all damaged ones.
func (s *session) inspectBoxes(db *state.DB, e *statusEvent) (names map[int64]string, err error) {
	boxes, err := db.Mailboxes(s.ctx)
	if err != nil {
		return nil, err
	}
	counts, err := db.Counts(s.ctx)
	if err != nil {
		return nil, err
	}
	var started map[int64]time.Time
	names = map[int64]string{}
	for _, b := range boxes {
		names[b.ID] = cmp.Or(b.Name[state.A], b.Name[state.B])
		c := counts[b.ID]
		e.Pending += c.Pending
		one := boxStatus{Mailbox: valid(names[b.ID]), holding: holdingOf(c)}
		if b.Name[state.B] == "" || b.Gone[state.B] != 0 && one.Messages == 0 {
			continue
		}
		if one.Kept > 0 {
			if started == nil {
				if started, err = s.runTimes(db); err != nil {
					return nil, err
				}
			}
			if err := s.keptSince(db, b.ID, started, &one); err != nil {
				return nil, err
			}
		}
		if s.out.verbose {
			if err := db.Each(s.ctx, b.ID, func(*state.Row) error { return nil }); err != nil {
				return nil, err
			}
		}
		e.holding = e.plus(one.holding)
		e.Mailboxes = append(e.Mailboxes, one)
	}
	slices.SortFunc(e.Mailboxes, func(x, y boxStatus) int { return cmp.Compare(x.Mailbox, y.Mailbox) })
	return names, nil
}

func holdingOf(c state.Counts) holding {
	return holding{
		Messages: c.Paired + c.Gone[state.A] + c.Alone[state.B], Bytes: c.Bytes,
		Kept: c.Gone[state.A], Removed: c.Gone[state.B], OnlyA: c.Alone[state.A], OnlyB: c.Alone[state.B],
	}
}

func (h holding) plus(o holding) holding {
	return holding{h.Messages + o.Messages, h.Bytes + o.Bytes, h.Kept + o.Kept, h.Removed + o.Removed, h.OnlyA + o.OnlyA, h.OnlyB + o.OnlyB}
}

// runTimes says when each run began.
func (s *session) runTimes(db *state.DB) (map[int64]time.Time, error) {
	runs, err := db.Runs(s.ctx, runsEver)
	started := make(map[int64]time.Time, len(runs))
	for _, r := range runs {
		started[r.ID] = r.Started
	}
	return started, err
}

// keptSince finds the first and the last run that saw a message of the mailbox
// deleted on the server.
func (s *session) keptSince(db *state.DB, box int64, started map[int64]time.Time, to *boxStatus) error {
	for after := int64(0); ; {
		rows, err := db.GoneRows(s.ctx, box, state.A, after, rowsRead)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, r := range rows {
			after = r.ID
			t, ok := started[r.Gone[state.A]]
			if !ok {
				continue
			}
			if to.KeptSince == nil || t.Before(*to.KeptSince) {
				to.KeptSince = &t
			}
			if to.KeptUntil == nil || t.After(*to.KeptUntil) {
				to.KeptUntil = &t
			}
		}
	}
}

// lastRuns are the last runs that did something, the newest first.
func (s *session) lastRuns(db *state.DB) ([]runStatus, error) {
	shown := []runStatus{}
	runs, err := db.Runs(s.ctx, runsRead)
	for _, r := range runs {
		if len(shown) == runsShown {
			break
		}
		one := runStatus{Command: valid(r.Command), Started: r.Started, Outcome: valid(r.Outcome)}
		if r.Finished.IsZero() {
			one.Outcome = "cut off"
		} else {
			one.Finished = &r.Finished
		}
		if json.Valid([]byte(r.Summary)) {
			one.Summary = json.RawMessage(r.Summary)
		}
		if one.Outcome != string(sync.Done) || runCounts(one) != "" {
			shown = append(shown, one)
		}
	}
	return shown, err
}

// storedProblem is a problem of the state as a run reports it.
func storedProblem(p state.Problem, r *state.Row, mailbox string) sync.Problem {
	ref := r.Ref[p.Side.Other()] // the message itself is where it came from
	if ref.IsZero() {
		ref = r.Ref[p.Side]
	}
	return sync.Problem{Mailbox: mailbox, Side: p.Side, Ref: ref, Date: r.Date, Size: r.Size, Kind: p.Kind, Reason: p.Reason}
}

// knownSizes are the sizes of a tree's mailboxes as the state beside it has
// them, by name, with the number of messages that they are of. Without a state
// there are none.
func (s *session) knownSizes(path string) map[string]holding {
	db, err := state.Open(s.ctx, path, state.Options{ReadOnly: true})
	if err != nil {
		s.out.note("sizes are not known: %v", err)
		return nil
	}
	defer db.Close()
	boxes, err := db.Mailboxes(s.ctx)
	if err != nil {
		s.out.note("sizes are not known: %v", err)
		return nil
	}
	counts, err := db.Counts(s.ctx)
	if err != nil {
		s.out.note("sizes are not known: %v", err)
		return nil
	}
	sizes := make(map[string]holding, len(boxes))
	for _, b := range boxes {
		sizes[b.Name[state.B]] = holdingOf(counts[b.ID])
	}
	return sizes
}
