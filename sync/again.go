package sync

import (
	"context"
	"errors"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

var errLost = errors.New("it is not there any more")

// restore lines up every message that side B has and side A had once, or never: to
// be copied to A, or paired with what A has of it by content.
func (r *run) restore(ctx context.Context) error {
	for _, b := range r.boxes {
		if b.rec.ID == 0 || b.info[state.A] == nil || b.info[state.B] == nil || b.orphan {
			continue
		}
		if err := r.restoreBox(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) restoreBox(ctx context.Context, b *box) error {
	var rows []*state.Row
	chosen := func(row *state.Row) bool {
		return r.Filter.Pass(rowMessage(row, state.B)) && (r.RestoreOnly == nil || r.RestoreOnly(b.rec.Name[state.B], row))
	}
	err := r.Journal.Each(ctx, b.rec.ID, func(row *state.Row) error {
		if row.Status == state.Here && row.Alive(state.B) && !row.Alive(state.A) && chosen(row) {
			rows = append(rows, row)
		}
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	labelled, err := r.underLabels(ctx, b, state.A, rows)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(row *state.Row) bool { return labelled[row.ID] })
	var tx state.Tx
	for _, row := range rows {
		row.Ref[state.A], row.Flags[state.A], row.Gone[state.A] = mail.Ref{}, mail.Flags{}, 0
		tx.Rows = append(tx.Rows, row)
		tx.Problems = append(tx.Problems, problemOf(quarantined{row, state.A, &mail.Error{Kind: mail.KindOther, Err: errLost}}, b.tries[row.ID]))
		b.problems[row.ID] = true
		b.line(row)
	}
	b.look[state.A] = true
	if r.DryRun {
		return nil
	}
	return commit(ctx, r.Journal, &tx, true)
}
