package sync

import (
	"context"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// moves finds messages that one side moved between mailboxes, and moves them on
// the other. They are taken out of the deltas. A crash between a move and its
// record shows as the same move on both sides.
func (r *run) moves(ctx context.Context, boxes []*box) error {
	if err := r.jointMoves(ctx, boxes); err != nil {
		return err
	}
	for _, s := range []state.Side{state.A, state.B} {
		if !r.Policy.May[s.Other()].Moves {
			continue
		}
		lost := lostOn(boxes, s)
		if len(lost) == 0 {
			continue
		}
		found, err := r.foundOn(ctx, boxes, s, lost)
		if err != nil {
			return err
		}
		if err := r.moveAll(ctx, boxes, s, FindMoves(lost, found)); err != nil {
			return err
		}
	}
	return nil
}

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
		take(from, findBox(boxes, f.Mailbox), state.Side(s), Moved{Row: m.Row, To: f.Mailbox, Msg: f.Msg})
	}
	row := *m.Row
	row.ID, row.Mailbox = 0, to.rec.ID
	row.Ref = [2]mail.Ref{a, b}
	tx.Delete = append(tx.Delete, m.Row.ID)
	tx.Rows = append(tx.Rows, &row)
	to.rows = append(to.rows, &row)
	for s, f := range m.Found {
		to.delta[s].Flags = append(to.delta[s].Flags, mail.FlagState{Ref: row.Ref[s], Flags: f.Msg.Flags})
	}
}

// findBox is the box of a mailbox that is among boxes.
func findBox(boxes []*box, id int64) *box {
	return boxes[slices.IndexFunc(boxes, func(b *box) bool { return b.rec.ID == id })]
}

// lostOn lists the rows whose message is gone from side s only.
func lostOn(boxes []*box, s state.Side) []Lost {
	var lost []Lost
	for _, b := range boxes {
		if b.err != nil || len(b.delta[s].Gone) == 0 {
			continue
		}
		gone := [2]map[mail.Ref]bool{refSet(b.delta[0].Gone), refSet(b.delta[1].Gone)}
		for _, row := range b.rows {
			if row.Status == state.Here && row.Alive(state.A) && row.Alive(state.B) && gone[s][row.Ref[s]] && !gone[1-s][row.Ref[1-s]] {
				lost = append(lost, Lost{row})
			}
		}
	}
	return lost
}

func refSet(refs []mail.Ref) map[mail.Ref]bool {
	set := make(map[mail.Ref]bool, len(refs))
	for _, ref := range refs {
		set[ref] = true
	}
	return set
}

// foundOn lists the new messages of side s that have the size of a lost one,
// described.
func (r *run) foundOn(ctx context.Context, boxes []*box, s state.Side, lost []Lost) ([]Found, error) {
	sizes := map[int64]bool{-1: true}
	for _, l := range lost {
		sizes[l.Row.Size] = true
	}
	var found []Found
	for _, b := range boxes {
		if b.err != nil || b.info[1-s] == nil && !r.DryRun {
			continue
		}
		var refs []mail.Ref
		for _, m := range b.delta[s].New {
			if sizes[m.Size] && !m.ID.Described {
				refs = append(refs, m.Ref)
			}
		}
		if len(refs) > 0 {
			mb, err := r.open(ctx, b, s)
			if err == nil {
				err = describe(ctx, b, s, mb, refs)
				mb.Close()
			}
			if err != nil {
				if b.err = err; mail.AsError(err).Scope == mail.ScopeMailbox {
					continue
				}
				return nil, err
			}
		}
		for _, m := range b.delta[s].New {
			if sizes[m.Size] {
				found = append(found, Found{Mailbox: b.rec.ID, Msg: m})
			}
		}
	}
	return found, nil
}

// moveAll carries out moves that side s made, on the other side, grouped by
// mailboxes.
func (r *run) moveAll(ctx context.Context, boxes []*box, s state.Side, moves []Moved) error {
	type route struct{ from, to int64 }
	var routes []route
	groups := make(map[route][]Moved)
	for _, m := range moves {
		k := route{m.Row.Mailbox, m.To}
		if groups[k] == nil {
			routes = append(routes, k)
		}
		groups[k] = append(groups[k], m)
	}
	for _, k := range routes {
		from, to := findBox(boxes, k.from), findBox(boxes, k.to)
		if from.err != nil || to.err != nil {
			continue
		}
		if err := r.moveGroup(ctx, from, to, s, groups[k]); err != nil {
			if from.err = err; mail.AsError(err).Scope != mail.ScopeMailbox {
				return err
			}
		}
	}
	return nil
}

// moveGroup moves messages from one mailbox to another on the side that has not
// moved them yet. What did not move stays in the deltas, as deleted and new.
func (r *run) moveGroup(ctx context.Context, from, to *box, s state.Side, moves []Moved) error {
	o := s.Other()
	if r.DryRun {
		for _, m := range moves {
			take(from, to, s, m)
		}
		r.rep.count(to.name(), o, Counts{Moved: len(moves)})
		return nil
	}
	var open sides
	defer open.close()
	mb, err := r.openSide(ctx, from, &open, o)
	if err != nil {
		return err
	}
	w, err := writable(mb)
	if err != nil {
		return err
	}
	byRef := make(map[mail.Ref]Moved, len(moves))
	var refs []mail.Ref
	for _, m := range moves {
		byRef[m.Row.Ref[o]] = m
		refs = append(refs, m.Row.Ref[o])
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	from.wrote[o], to.wrote[o] = true, true
	moved, err := w.Move(ctx, refs, to.rec.Name[o])
	var tx state.Tx
	n := 0
	for _, mv := range moved {
		m, ok := byRef[mv.From]
		if !ok {
			continue
		}
		take(from, to, s, m)
		n++
		if mv.To.IsZero() { // it is there, nobody knows where: the next look pairs it
			tx.Delete = append(tx.Delete, m.Row.ID)
			to.again = true
			continue
		}
		row := *m.Row
		row.ID, row.Mailbox = 0, to.rec.ID
		row.Ref[s], row.Ref[o] = m.Msg.Ref, mv.To
		tx.Delete = append(tx.Delete, m.Row.ID)
		tx.Rows = append(tx.Rows, &row)
		to.rows = append(to.rows, &row)
		to.delta[s].Flags = append(to.delta[s].Flags, mail.FlagState{Ref: m.Msg.Ref, Flags: m.Msg.Flags})
	}
	r.rep.count(to.name(), o, Counts{Moved: n})
	if cerr := commit(context.WithoutCancel(ctx), r.Journal, &tx, false); cerr != nil {
		return cerr
	}
	return err
}

// take takes a move out of the deltas.
func take(from, to *box, s state.Side, m Moved) {
	from.delta[s].Gone = slices.DeleteFunc(from.delta[s].Gone, func(ref mail.Ref) bool { return ref == m.Row.Ref[s] })
	to.delta[s].New = slices.DeleteFunc(to.delta[s].New, func(n mail.Message) bool { return n.Ref == m.Msg.Ref })
}
