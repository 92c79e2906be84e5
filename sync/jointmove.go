package sync

import (
	"context"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// jointMoves joins messages that both sides moved to the same mailbox; they keep
// their base. Of those that went to different mailboxes, side B's follows side A's
// where it may: the server's place wins in a sync.
func (r *run) jointMoves(ctx context.Context, boxes []*box) error {
	var lost []Lost
	for _, b := range boxes {
		if b.err != nil || len(b.delta[0].Gone) == 0 || len(b.delta[1].Gone) == 0 {
			continue
		}
		gone := [2]map[mail.Ref]bool{refSet(b.delta[0].Gone), refSet(b.delta[1].Gone)}
		for _, row := range b.rows {
			if row.Status == state.Here && row.Alive(state.A) && row.Alive(state.B) && gone[0][row.Ref[0]] && gone[1][row.Ref[1]] {
				lost = append(lost, Lost{row})
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	var found [2][]Found
	for _, s := range []state.Side{state.A, state.B} {
		var err error
		if found[s], err = r.foundOn(ctx, boxes, s, lost); err != nil {
			return err
		}
	}
	var tx state.Tx
	for _, m := range FindJointMoves(lost, found, false) {
		r.join(boxes, m, m.Found[0].Msg.Ref, m.Found[1].Msg.Ref, &tx)
	}
	if !r.DryRun {
		if err := commit(ctx, r.Journal, &tx, false); err != nil {
			return err
		}
	}
	if !r.Policy.May[state.B].Moves {
		return nil
	}
	return r.followA(ctx, boxes, lost)
}

// followA moves, on side B, what both sides moved to different mailboxes.
func (r *run) followA(ctx context.Context, boxes []*box, lost []Lost) error {
	lost = slices.DeleteFunc(lost, func(l Lost) bool { return !goneStill(boxes, l.Row) })
	if len(lost) == 0 {
		return nil
	}
	var found [2][]Found
	for _, s := range []state.Side{state.A, state.B} {
		var err error
		if found[s], err = r.foundOn(ctx, boxes, s, lost); err != nil {
			return err
		}
	}
	for _, m := range FindJointMoves(lost, found, true) {
		from, to := findBox(boxes, m.Found[1].Mailbox), findBox(boxes, m.Found[0].Mailbox)
		own := to.rec.ID == m.Row.Mailbox && m.Found[1].Msg.Ref == m.Row.Ref[state.B]
		if !own && claimed(refSet(to.delta[state.B].Gone), m.Found[1].Msg.Ref) {
			continue
		}
		r.rep.problem(Problem{Mailbox: to.name(), Ref: m.Found[0].Msg.Ref, Date: m.Row.Date, Size: m.Row.Size, Warning: true,
			Reason: "moved to different mailboxes on both sides: this one wins over " + from.name()})
		if r.DryRun {
			r.rep.count(to.name(), state.B, Counts{Moved: 1})
			continue
		}
		if err := r.followOne(ctx, boxes, m, from, to); err != nil {
			if from.err = err; mail.AsError(err).Scope != mail.ScopeMailbox {
				return err
			}
			if unclear(err) {
				to.err = err
			}
		}
	}
	return nil
}

func (r *run) followOne(ctx context.Context, boxes []*box, m JointMove, from, to *box) error {
	var open sides
	defer open.close()
	mb, err := r.openSide(ctx, from, &open, state.B)
	if err != nil {
		return err
	}
	w, err := writable(mb)
	if err != nil {
		return err
	}
	from.wrote[state.B], to.wrote[state.B] = true, true
	moved, err := w.Move(ctx, []mail.Ref{m.Found[1].Msg.Ref}, to.rec.Name[state.B])
	if err != nil || len(moved) != 1 || moved[0].To.IsZero() {
		from.again, to.again = true, true
		return err
	}
	var tx state.Tx
	r.join(boxes, m, m.Found[0].Msg.Ref, moved[0].To, &tx)
	r.rep.count(to.name(), state.B, Counts{Moved: 1})
	return commit(context.WithoutCancel(ctx), r.Journal, &tx, false)
}

// goneStill reports whether a row's message is still listed as gone on side A: no
// move has taken it out.
func goneStill(boxes []*box, row *state.Row) bool {
	return slices.Contains(findBox(boxes, row.Mailbox).delta[state.A].Gone, row.Ref[state.A])
}

// join gives a joint move its row in the mailbox that side A moved it to, and
// takes it out of the deltas. Flags follow from the base that it had.
func (r *run) join(boxes []*box, m JointMove, a, b mail.Ref, tx *state.Tx) {
	from, to := findBox(boxes, m.Row.Mailbox), findBox(boxes, m.Found[0].Mailbox)
	for s, f := range m.Found {
		takeMoved(from, findBox(boxes, f.Mailbox), state.Side(s), []Moved{{Row: m.Row, To: f.Mailbox, Msg: f.Msg}})
	}
	row := *m.Row
	row.ID, row.Mailbox, row.Mark = 0, to.rec.ID, ""
	row.Ref = [2]mail.Ref{a, b}
	if i, ok := parseIntent(m.Row.Mark); ok { // a move of ours, see movedRow
		gone := i.flags.System & mail.Deleted &^ m.Found[i.moved].Msg.Flags.System
		row.Flags[state.A].System |= gone
		row.Flags[state.B].System |= gone
	}
	tx.Delete = append(tx.Delete, m.Row.ID)
	tx.Rows = append(tx.Rows, &row)
	to.rows = append(to.rows, &row)
	for s, f := range m.Found {
		to.delta[s].Flags = append(to.delta[s].Flags, mail.FlagState{Ref: row.Ref[s], Flags: f.Msg.Flags})
	}
}
