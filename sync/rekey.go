package sync

import (
	"context"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// rekeyed finds messages that got a new ref in the mailbox that they are in: a
// mail reader gave the file another name, a client moved a message into its own
// mailbox. They keep their rows, and nothing is done on the other side.
func (r *run) rekeyed(ctx context.Context, boxes []*box) error {
	for _, b := range boxes {
		for s := range b.delta {
			if b.err != nil || len(b.delta[s].Gone) == 0 || len(b.delta[s].New) == 0 {
				continue
			}
			if err := r.rekey(ctx, b, state.Side(s)); err != nil {
				if b.err = err; mail.AsError(err).Scope != mail.ScopeMailbox {
					return err
				}
			}
		}
	}
	return nil
}

func (r *run) rekey(ctx context.Context, b *box, s state.Side) error {
	gone := refSet(b.delta[s].Gone)
	var lost []Lost
	for _, row := range b.rows {
		if row.Status == state.Here && row.Alive(s) && gone[row.Ref[s]] {
			lost = append(lost, Lost{row})
		}
	}
	if len(lost) == 0 {
		return nil
	}
	found, err := r.foundOn(ctx, []*box{b}, s, lost)
	if err != nil || b.err != nil {
		return err
	}
	moves := FindRekeyed(lost, found)
	if len(moves) == 0 {
		return nil
	}
	var tx state.Tx
	for _, m := range moves {
		row := *m.Row
		row.Ref[s] = m.Msg.Ref
		if row.Sent == nil || row.Sent.Side != s { // it may be read by now, to be compared
			row.Ident = joinIdentity(row.Ident, m.Msg.ID)
		}
		tx.Rows = append(tx.Rows, &row)
	}
	if !r.DryRun {
		if err := commit(ctx, r.Journal, &tx, false); err != nil {
			return err
		}
	}
	takeRekeyed(b, s, moves)
	renew(b.retry, tx.Rows)
	renew(b.alone[s], tx.Rows)
	for i, m := range moves {
		b.rows = append(b.rows, tx.Rows[i])
		b.delta[s].Flags = append(b.delta[s].Flags, mail.FlagState{Ref: m.Msg.Ref, Flags: m.Msg.Flags})
	}
	return nil
}

// renew gives rows that were loaded before the values that they have now.
func renew(rows, now []*state.Row) {
	byID := make(map[int64]*state.Row, len(now))
	for _, row := range now {
		byID[row.ID] = row
	}
	for _, row := range rows {
		if v := byID[row.ID]; v != nil {
			row.Ref, row.Ident = v.Ref, joinIdentity(row.Ident, v.Ident)
		}
	}
}

// takeRekeyed takes messages that got a new ref out of a side's delta, and their
// rows as they were.
func takeRekeyed(b *box, s state.Side, moves []Moved) {
	rows := make(map[int64]bool, len(moves))
	left := make(map[mail.Ref]bool, len(moves))
	came := make(map[mail.Ref]bool, len(moves))
	for _, m := range moves {
		rows[m.Row.ID], left[m.Row.Ref[s]], came[m.Msg.Ref] = true, true, true
	}
	b.rows = slices.DeleteFunc(b.rows, func(r *state.Row) bool { return rows[r.ID] })
	d := &b.delta[s]
	d.Gone = slices.DeleteFunc(d.Gone, func(ref mail.Ref) bool { return left[ref] })
	d.New = slices.DeleteFunc(d.New, func(m mail.Message) bool { return came[m.Ref] })
}
