package sync

import (
	"context"
	"maps"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// moves finds messages that one side moved between mailboxes, and moves them on
// the other. They are taken out of the deltas. A crash between a move and its
// record shows as the same move on both sides; the intent, which the row keeps
// from before the move, tells it from a like one that somebody else made.
func (r *run) moves(ctx context.Context, boxes []*box) error {
	if err := r.jointMoves(ctx, boxes); err != nil {
		return err
	}
	if err := r.rekeyed(ctx, boxes); err != nil {
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
		sizes[rowMessage(l.Row, s).Size] = true
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
			if unclear(err) {
				to.err = err
			}
		}
	}
	return nil
}

// unclear reports whether a move that failed may have been carried out all the
// same: then what is new where it leads to must not be copied before another look.
func unclear(err error) bool {
	k := mail.AsError(err).Kind
	return k != mail.KindRefused && k != mail.KindQuota && k != mail.KindTooLarge && k != mail.KindGone
}

// moveGroup moves messages from one mailbox to another on the side that has not
// moved them yet. What did not move stays in the deltas, as deleted and new.
func (r *run) moveGroup(ctx context.Context, from, to *box, s state.Side, moves []Moved) error {
	o := s.Other()
	taken := refSet(to.delta[o].Gone)
	moves = slices.DeleteFunc(moves, func(m Moved) bool { return claimed(taken, m.Row.Ref[o]) })
	if len(moves) == 0 {
		return nil
	}
	if r.DryRun {
		takeMoved(from, to, s, moves)
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
	now := flagsNow(from, o)
	byRef, refs, err := r.intend(ctx, s, moves, now)
	if err != nil {
		return err
	}
	from.wrote[o], to.wrote[o] = true, true
	moved, err := w.Move(ctx, refs, to.rec.Name[o])
	tx, done := landMoves(to, s, moved, byRef, now)
	if err == nil && len(byRef) > 0 {
		for _, m := range byRef {
			m.Row.Mark = ""
			tx.Rows = append(tx.Rows, m.Row)
		}
		var late []Moved
		if late, err = notThere(ctx, mb, byRef); len(late) > 0 {
			// Somebody moved or removed them there meanwhile: the next look tells where
			// they are. Until then their copies on side s are left alone.
			from.again, to.again = true, true
			done = append(done, late...)
		}
	}
	takeMoved(from, to, s, done)
	r.rep.count(to.name(), o, Counts{Moved: len(tx.Delete)})
	if cerr := commit(context.WithoutCancel(ctx), r.Journal, &tx, false); cerr != nil {
		return cerr
	}
	return err
}

// claimed reports whether a message cannot be moved yet to a mailbox from which gone
// is known to be missing. In a Maildir a message keeps its key when it moves; one that
// left this mailbox, and comes back as what another row says it is, would be there
// under its old row too, which calls it deleted. That row has to go first.
func claimed(gone map[mail.Ref]bool, ref mail.Ref) bool {
	return ref.Key != "" && gone[ref]
}

// intend puts moves of side s on record before side o makes them. It answers with
// them by their refs on side o, and with those refs, sorted.
func (r *run) intend(ctx context.Context, s state.Side, moves []Moved, now func(*state.Row) mail.Flags) (map[mail.Ref]Moved, []mail.Ref, error) {
	o := s.Other()
	byRef := make(map[mail.Ref]Moved, len(moves))
	var refs []mail.Ref
	var tx state.Tx
	for _, m := range moves {
		byRef[m.Row.Ref[o]] = m
		refs = append(refs, m.Row.Ref[o])
		m.Row.Mark = intent{s, m.To, m.Msg.Ref, now(m.Row)}.String()
		tx.Rows = append(tx.Rows, m.Row)
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	return byRef, refs, commit(ctx, r.Journal, &tx, false)
}

// landMoves is what to write down of messages that side o moved after side s: their
// rows go to the mailbox that they are in now. They are taken out of byRef, and
// their flags on both sides put into the deltas.
func landMoves(to *box, s state.Side, moved []mail.Moved, byRef map[mail.Ref]Moved, now func(*state.Row) mail.Flags) (tx state.Tx, done []Moved) {
	o := s.Other()
	for _, mv := range moved {
		m, ok := byRef[mv.From]
		if !ok {
			continue
		}
		delete(byRef, mv.From)
		done = append(done, m)
		tx.Delete = append(tx.Delete, m.Row.ID)
		if mv.To.IsZero() { // it is there, nobody knows where: the next look pairs it
			to.again = true
			continue
		}
		row := movedRow(m, s, mv.To, now(m.Row))
		tx.Rows = append(tx.Rows, row)
		to.rows = append(to.rows, row)
		to.delta[s].Flags = append(to.delta[s].Flags, mail.FlagState{Ref: m.Msg.Ref, Flags: m.Msg.Flags})
		to.delta[o].Flags = append(to.delta[o].Flags, mail.FlagState{Ref: mv.To, Flags: now(m.Row)})
	}
	return tx, done
}

// notThere are those of moves whose message is not in the mailbox that it was to
// leave.
func notThere(ctx context.Context, mb mail.Mailbox, moves map[mail.Ref]Moved) ([]Moved, error) {
	left := maps.Clone(moves)
	refs := slices.SortedFunc(maps.Keys(left), mail.Ref.Compare)
	if err := mb.Describe(ctx, refs, false, func(m mail.Message) error {
		delete(left, m.Ref)
		return nil
	}); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Values(left)), nil
}

// movedRow is the row of a message that side s moved, and side o after it, where
// it is to now. A client that cannot move copies, and marks what it leaves behind
// as deleted: that mark does not follow the copy. As part of the base it is taken
// away from the side that has it.
func movedRow(m Moved, s state.Side, to mail.Ref, now mail.Flags) *state.Row {
	o := s.Other()
	row := *m.Row
	row.ID, row.Mailbox, row.Mark = 0, m.To, ""
	row.Ref[s], row.Ref[o] = m.Msg.Ref, to
	if gone := now.System & mail.Deleted &^ m.Msg.Flags.System; gone != 0 {
		row.Flags[s].System |= gone
		row.Flags[o].System |= gone
	}
	return &row
}

// flagsNow gives the flags that side s of a box's row has now, as far as is known.
func flagsNow(b *box, s state.Side) func(*state.Row) mail.Flags {
	changed := make(map[mail.Ref]mail.Flags, len(b.delta[s].Flags))
	for _, f := range b.delta[s].Flags {
		changed[f.Ref] = f.Flags
	}
	return func(r *state.Row) mail.Flags {
		if f, ok := changed[r.Ref[s]]; ok {
			return f
		}
		return r.Flags[s]
	}
}

// takeMoved takes moves of side s out of the deltas, and their rows out of the
// mailbox that they left.
func takeMoved(from, to *box, s state.Side, moves []Moved) {
	rows := make(map[int64]bool, len(moves))
	left := make(map[mail.Ref]bool, len(moves))
	came := make(map[mail.Ref]bool, len(moves))
	stale := make(map[mail.Ref]bool, len(moves))
	for _, m := range moves {
		rows[m.Row.ID], left[m.Row.Ref[s]], came[m.Msg.Ref], stale[m.Row.Ref[s.Other()]] = true, true, true, true
	}
	from.rows = slices.DeleteFunc(from.rows, func(r *state.Row) bool { return rows[r.ID] })
	from.delta[s].Gone = slices.DeleteFunc(from.delta[s].Gone, func(ref mail.Ref) bool { return left[ref] })
	to.delta[s].New = slices.DeleteFunc(to.delta[s].New, func(n mail.Message) bool { return came[n.Ref] })
	o := s.Other()
	from.delta[o].Flags = slices.DeleteFunc(from.delta[o].Flags, func(f mail.FlagState) bool { return stale[f.Ref] })
}
