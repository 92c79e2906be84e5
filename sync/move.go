package sync

import (
	"context"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// moves finds messages that one side moved between mailboxes, and moves them on
// the other. They are taken out of the deltas. A crash between a move and its
// record shows as the same move on both sides, which is paired by content.
func (r *run) moves(ctx context.Context, boxes []*box) error {
	if err := r.movedOnBoth(ctx, boxes); err != nil {
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

// movedOnBoth finds messages that both sides moved to the same mailbox, which is
// also what a crash between a move and its record leaves. They keep their base.
func (r *run) movedOnBoth(ctx context.Context, boxes []*box) error {
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
	var moves [2][]Moved
	for _, s := range []state.Side{state.A, state.B} {
		found, err := r.foundOn(ctx, boxes, s, lost)
		if err != nil {
			return err
		}
		moves[s] = findMovesLoosely(lost, found)
	}
	var tx state.Tx
	for _, a := range moves[state.A] {
		i := slices.IndexFunc(moves[state.B], func(m Moved) bool { return m.Row == a.Row && m.To == a.To })
		if i < 0 {
			continue
		}
		m := moves[state.B][i]
		from, to := findBox(boxes, a.Row.Mailbox), findBox(boxes, a.To)
		take(from, to, state.A, a)
		take(from, to, state.B, m)
		row := *a.Row
		row.ID, row.Mailbox = 0, to.rec.ID
		row.Ref = [2]mail.Ref{a.Msg.Ref, m.Msg.Ref}
		tx.Delete = append(tx.Delete, a.Row.ID)
		tx.Rows = append(tx.Rows, &row)
		to.rows = append(to.rows, &row)
		to.delta[0].Flags = append(to.delta[0].Flags, mail.FlagState{Ref: a.Msg.Ref, Flags: a.Msg.Flags})
		to.delta[1].Flags = append(to.delta[1].Flags, mail.FlagState{Ref: m.Msg.Ref, Flags: m.Msg.Flags})
	}
	if r.DryRun {
		return nil
	}
	return commit(ctx, r.Journal, &tx, false)
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
