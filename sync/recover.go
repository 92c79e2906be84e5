package sync

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// recover finds out what became of the messages that were on their way when the
// last run was cut off. What arrived is written down; what did not is lined up
// to be sent again.
func (r *run) recover(ctx context.Context) error {
	rows, err := r.Journal.Pending(ctx)
	if err != nil || len(rows) == 0 {
		return err
	}
	slices.SortFunc(rows, func(a, b *state.Row) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), cmp.Compare(a.Status, b.Status), cmp.Compare(a.ID, b.ID))
	})
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(o *state.Row) bool { return o.Mailbox != rows[0].Mailbox || o.Status != rows[0].Status })
		if n < 0 {
			n = len(rows)
		}
		if err := r.recoverBox(ctx, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// recoverBox does so for the rows of one mailbox on their way to one side.
func (r *run) recoverBox(ctx context.Context, rows []*state.Row) error {
	to := state.A
	if rows[0].Status == state.ToB {
		to = state.B
	}
	i := slices.IndexFunc(r.boxes, func(b *box) bool { return b.rec.ID == rows[0].Mailbox })
	if i < 0 {
		return nil // not part of this run, or gone: they wait
	}
	b := r.boxes[i]
	if r.Policy.reads(to) {
		return nil
	}
	landed, err := r.askRecover(ctx, b, to, rows)
	if err != nil {
		if e := mail.AsError(err); e.Scope == mail.ScopeMailbox {
			r.rep.fail(b.name(), to, err)
			r.boxes = slices.Delete(r.boxes, i, i+1)
			return nil
		}
		return err
	}
	var tx state.Tx
	for i, row := range rows {
		row.Status, row.Mark = state.Here, ""
		if l := landed[i]; !l.Ref.IsZero() {
			row.Ref[to], row.Flags[to] = l.Ref, row.Flags[to].Minus(l.Unheld)
			r.rep.count(b.name(), to, Counts{New: 1, Bytes: row.Size})
			tx.Solved = append(tx.Solved, row.ID)
			r.repaired(b, row, "")
		} else {
			row.Ref[to], row.Flags[to], row.Sent = mail.Ref{}, mail.Flags{}, nil
			err := l.Err
			if err == nil {
				err = &mail.Error{Kind: mail.KindOther, Err: errors.New("the run was cut off while it was copied")}
			}
			tx.Problems = append(tx.Problems, problemOf(quarantined{row, to, err}, state.Problem{}))
			r.lineUp(b, row)
		}
		tx.Rows = append(tx.Rows, row)
	}
	b.look[to] = true
	b.taken(tx.Rows, nil)
	return commit(ctx, r.Journal, &tx, false)
}

func (r *run) askRecover(ctx context.Context, b *box, to state.Side, rows []*state.Row) ([]mail.Landed, error) {
	if b.info[to] == nil { // lost meanwhile, with all that was on its way there
		return make([]mail.Landed, len(rows)), nil
	}
	var open sides
	defer open.close()
	mb, err := r.open(ctx, b, to)
	if err != nil {
		return nil, err
	}
	open[to] = mb
	w, err := writable(mb)
	if err != nil {
		return nil, err
	}
	pending := make([]mail.Pending, len(rows))
	for i, row := range rows {
		m := rowMessage(row, to)
		pending[i] = mail.Pending{Ref: row.Ref[to], Mark: row.Mark, Message: m}
	}
	landed, err := w.Recover(ctx, pending, r.Journal.Known(b.rec.ID, to))
	if err == nil && len(landed) != len(rows) {
		err = &mail.Error{Scope: mail.ScopeMailbox, Op: "recover", Mailbox: b.name(), Err: errors.New("the store did not answer for every message")}
	}
	return landed, err
}

// collectRetries lines up the messages that earlier runs had to leave out.
func (r *run) collectRetries(ctx context.Context) error {
	problems, rows, err := r.Journal.Problems(ctx)
	if err != nil {
		return err
	}
	for i, p := range problems {
		row := rows[i]
		n := slices.IndexFunc(r.boxes, func(b *box) bool { return b.rec.ID == row.Mailbox })
		if n < 0 || row.Status != state.Here {
			continue
		}
		b := r.boxes[n]
		b.tries[row.ID] = p
		r.lineUp(b, row)
	}
	if r.Restore {
		if err := r.restore(ctx); err != nil {
			return err
		}
	}
	if r.Refill {
		return r.refill(ctx)
	}
	return nil
}

// lineUp adds a row of one side, which has a problem on record, to those that
// are to be copied.
func (r *run) lineUp(b *box, row *state.Row) {
	b.problems[row.ID] = true
	for _, s := range []state.Side{state.A, state.B} {
		if row.Alone(s) && r.Policy.May[s.Other()].New && b.info[0] != nil && b.info[1] != nil {
			b.line(row)
		}
	}
}

// problemOf is the journal's note about a quarantined message.
func (b *box) problemOf(q quarantined) state.Problem { return problemOf(q, b.tries[q.row.ID]) }

func problemOf(q quarantined, before state.Problem) state.Problem {
	p := state.Problem{Row: q.row.ID, Of: q.row, Side: q.side, Kind: q.err.Kind, Reason: reason(q.err),
		Tries: before.Tries + 1, First: cmp.Or(before.First, thisRun), Last: thisRun}
	return p
}

// leftProblems reports every message that is left out when the run ends.
func (r *run) leftProblems(ctx context.Context) error {
	problems, rows, err := r.Journal.Problems(ctx)
	if err != nil {
		return err
	}
	var tx state.Tx
	for i, p := range problems {
		row := rows[i]
		n := slices.IndexFunc(r.boxes, func(b *box) bool { return b.rec.ID == row.Mailbox })
		if n < 0 {
			continue
		}
		if row.Alive(state.A) && row.Alive(state.B) && p.Kind != mail.KindIntegrity {
			tx.Solved = append(tx.Solved, row.ID)
			continue
		}
		ref, side := row.Ref[state.A], state.A
		if ref.IsZero() {
			ref, side = row.Ref[state.B], state.B
		}
		hint := "the next run tries again"
		if p.Kind == mail.KindQuota {
			hint = hintFull
		}
		r.rep.problem(Problem{Mailbox: r.boxes[n].name(), Side: side, Ref: ref, Date: row.Date, Size: row.Size, Kind: p.Kind,
			Reason: p.Reason, Hint: hint})
	}
	if r.DryRun {
		return nil
	}
	return commit(ctx, r.Journal, &tx, false)
}
