package sync

import (
	"context"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// sides holds the open mailboxes of a box.
type sides [2]mail.Mailbox

func (o *sides) close() {
	for s, mb := range o {
		if mb != nil {
			mb.Close()
			o[s] = nil
		}
	}
}

// openSide opens a side when it is not open yet.
func (r *run) openSide(ctx context.Context, b *box, o *sides, s state.Side) (mail.Mailbox, error) {
	if o[s] == nil {
		mb, err := r.open(ctx, b, s)
		if err != nil {
			return nil, err
		}
		if v := mb.Info().Validity; v != b.rec.Validity[s] {
			mb.Close()
			return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindProtocol, Temporary: true, Mailbox: b.name(), Err: errVoid}
		}
		o[s] = mb
	}
	return o[s], nil
}

// add does everything in a box that takes nothing away: rows, copies, flags.
// New messages come in windows. Side B's are only written down until all of it is
// listed, so that side A's can be compared with all of them; and they are not
// copied to side A before all of that is listed, too.
func (r *run) add(ctx context.Context, b *box) error {
	var open sides
	defer open.close()
	plan := b.known
	for round := 0; ; round++ {
		in := r.input(b)
		partial := b.delta[state.B].More
		if partial {
			in.Delta[state.A].New, in.Retry, in.Ghosts = nil, nil, [2][]*state.Row{}
		}
		in.Park[state.B] = partial || b.delta[state.A].More
		fresh := PlanNew(in)
		fresh.Records = append(fresh.Records, plan.Records...)
		fresh.Flags = append(fresh.Flags, plan.Flags...)
		fresh.Forget = append(fresh.Forget, plan.Forget...)
		fresh.Unlike = fresh.Unlike || plan.Unlike
		if !partial { // the plan has them now
			b.delta[state.A].New, b.delta[state.B].New = nil, nil
		}
		if err := r.apply(ctx, b, &fresh, &open); err != nil {
			return err
		}
		for _, row := range fresh.Waiting {
			b.waiting[row.ID] = true
		}
		if !partial {
			b.unline()
			b.ghost = [2][]*state.Row{}
		}
		more, err := r.nextWindow(ctx, b, &open)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		plan = PlanKnown(Input{Mailbox: b.rec.ID, Policy: additive(r.Policy), Delta: flagsOnly(b.delta), Rows: b.rows})
	}
	r.rep.kept(b.name(), keptBy(&b.known))
	r.notes(b)
	return r.cursors(ctx, b)
}

// nextWindow lists the next new messages of the side that has more: side B first.
func (r *run) nextWindow(ctx context.Context, b *box, open *sides) (bool, error) {
	for _, s := range []state.Side{state.B, state.A} {
		if !b.delta[s].More {
			continue
		}
		b.rec.Cursor[s], b.rec.Stamp[s] = b.delta[s].Cursor, ""
		if err := r.save(ctx, b); err != nil {
			return false, err
		}
		mb, err := r.openSide(ctx, b, open, s)
		if err != nil {
			return false, err
		}
		if s == state.A { // what B has was dealt with in the first window
			b.delta[state.B].New = nil
		}
		b.rows, b.alone = nil, [2][]*state.Row{}
		b.delta[s].New, b.delta[s].Flags = nil, nil
		if err := r.changes(ctx, b, s, mb, r.share); err != nil {
			return false, err
		}
		if len(b.delta[s].Gone) > 0 { // the guard has not seen these: next pass
			b.again = true
		}
		if err := r.touched(ctx, b); err != nil {
			return false, err
		}
		return true, r.identify(ctx, b, open)
	}
	return false, nil
}

// additive is p without deletions.
func additive(p Policy) Policy {
	for s := range p.May {
		p.May[s].Deletes = false
	}
	return p
}

// flagsOnly is a delta pair without what is gone.
func flagsOnly(d [2]mail.Delta) [2]mail.Delta {
	for s := range d {
		d[s].Gone = nil
	}
	return d
}

// keptBy counts the messages that a plan keeps on side B after A deleted them.
func keptBy(p *Plan) int {
	n := 0
	for _, row := range p.Records {
		if row.Gone[state.A] != 0 && row.Alive(state.B) {
			n++
		}
	}
	return n
}

func (r *run) notes(b *box) {
	for _, n := range b.known.Notes {
		ref := n.Row.Ref[state.A]
		r.rep.problem(Problem{Mailbox: b.name(), Ref: ref, Date: n.Row.Date, Size: n.Row.Size, Reason: n.Text, Warning: true})
	}
}

// apply carries out a plan without its removals.
func (r *run) apply(ctx context.Context, b *box, p *Plan, open *sides) error {
	records := append(slices.Clone(p.Records), b.learned...)
	b.learned = nil
	tx := state.Tx{Rows: newest(records), Delete: p.Forget}
	for _, row := range tx.Rows {
		if b.problems[row.ID] && row.Alive(state.A) && row.Alive(state.B) {
			tx.Solved = append(tx.Solved, row.ID)
			delete(b.problems, row.ID)
		}
	}
	for _, row := range p.Waiting {
		tx.Problems = append(tx.Problems, problemOf(quarantined{row, state.B, errWaiting}, state.Problem{}))
	}
	if err := commit(ctx, r.Journal, &tx, false); err != nil {
		return err
	}
	b.taken(tx.Rows, tx.Delete)
	b.unlike = b.unlike || p.Unlike
	for _, row := range p.Waiting {
		b.problems[row.ID] = true
	}
	for _, to := range []state.Side{state.B, state.A} {
		copies := copiesTo(p.Copies, to)
		if len(copies) == 0 {
			continue
		}
		src, err := r.openSide(ctx, b, open, to.Other())
		if err != nil {
			return err
		}
		dst, err := r.openSide(ctx, b, open, to)
		if err != nil {
			return err
		}
		if err := r.linkAndCopy(ctx, b, to, src, dst, copies); err != nil {
			return err
		}
	}
	return r.setFlags(ctx, b, p.Flags, open)
}

// copiesTo are the copies to one side. There may be very many, and most often all
// are: then they are not copied.
func copiesTo(all []Copy, to state.Side) []Copy {
	other := func(c Copy) bool { return c.To != to }
	if !slices.ContainsFunc(all, other) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), other)
}

// newest keeps, of several values for one row, the first: what a plan decided
// goes before what was only learned.
func newest(rows []*state.Row) []*state.Row {
	have := make(map[int64]bool)
	return slices.DeleteFunc(rows, func(r *state.Row) bool {
		if r.ID == 0 {
			return false
		}
		dup := have[r.ID]
		have[r.ID] = true
		return dup
	})
}

// cursors records how far the box has been looked at, where everything up to
// there is done. What waits for a removal is recorded after it. Where flags are left to
// another policy nothing is recorded: it has to look at all of them.
func (r *run) cursors(ctx context.Context, b *box) error {
	if b.look[0] && b.look[1] && !b.again && b.left == 0 {
		b.rec.Filter = r.scope()
	}
	for s := range b.delta {
		switch {
		case !b.look[s]:
		case b.again || b.left > 0:
			b.again = true
		case b.loses(): // of both sides: a removal that is put off leaves flags to be seen again
		default:
			r.looked(b, state.Side(s))
		}
	}
	if b.unlike {
		b.rec.Cursor, b.rec.Stamp = [2]mail.Cursor{}, [2]string{}
	}
	if b.orphan && (b.remake || !b.again) && b.rec.Gone[b.lost] == 0 {
		b.rec.Gone[b.lost] = thisRun
	}
	return r.save(ctx, b)
}

// looked takes over a delta's cursor.
func (r *run) looked(b *box, s state.Side) {
	b.rec.Cursor[s], b.rec.Stamp[s] = b.delta[s].Cursor, b.delta[s].Stamp
	b.look[s] = false
}
