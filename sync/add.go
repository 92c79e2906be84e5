package sync

import (
	"context"
	"errors"
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
// New messages come in windows; side B's windows are only written down until all
// of it is listed, so that side A's messages can be compared with all of them.
func (r *run) add(ctx context.Context, b *box) error {
	var open sides
	defer open.close()
	plan := b.known
	for round := 0; ; round++ {
		in := r.input(b)
		partial := b.delta[state.B].More
		if partial {
			in.Delta[state.A].New, in.Retry, in.Ghosts = nil, nil, [2][]*state.Row{}
			in.Park[state.B] = true
		}
		fresh := PlanNew(in)
		fresh.Records = append(fresh.Records, plan.Records...)
		fresh.Flags = append(fresh.Flags, plan.Flags...)
		fresh.Forget = append(fresh.Forget, plan.Forget...)
		if err := r.apply(ctx, b, &fresh, &open); err != nil {
			return err
		}
		b.waiting = append(b.waiting, fresh.Waiting...)
		if !partial {
			b.retry, b.ghost = nil, [2][]*state.Row{}
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
		if err := r.changes(ctx, b, s, mb, r.Window); err != nil {
			return false, err
		}
		if len(b.delta[s].Gone) > 0 { // the guard has not seen these: next pass
			b.again = true
		}
		if err := r.touched(ctx, b); err != nil {
			return false, err
		}
		return true, r.identify(ctx, b, *open)
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
	for _, row := range p.Waiting {
		tx.Problems = append(tx.Problems, problemOf(quarantined{row, state.B, errWaiting}, state.Problem{}))
	}
	if err := commit(ctx, r.Journal, &tx, false); err != nil {
		return err
	}
	for _, row := range p.Waiting {
		b.problems[row.ID] = true
	}
	for _, to := range []state.Side{state.B, state.A} {
		copies := slices.DeleteFunc(slices.Clone(p.Copies), func(c Copy) bool { return c.To != to })
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
		if err := r.copyAll(ctx, b, to, src, dst, copies); err != nil {
			return err
		}
	}
	return r.setFlags(ctx, b, p.Flags, open)
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

// setFlags changes flags side by side, and records each row once both sides hold
// what was planned. A flag that a side does not take is recorded as not held
// there, and not tried again until it changes.
func (r *run) setFlags(ctx context.Context, b *box, actions []SetFlags, open *sides) error {
	if len(actions) == 0 {
		return nil
	}
	done := make(map[*state.Row]bool, len(actions))
	for _, a := range actions {
		done[a.Row] = true
	}
	for _, s := range []state.Side{state.A, state.B} {
		if err := r.setFlagsOn(ctx, b, s, actions, open, done); err != nil {
			return err
		}
	}
	var tx state.Tx
	for _, a := range actions {
		if done[a.Row] {
			tx.Rows = append(tx.Rows, a.Row)
		}
	}
	return commit(ctx, r.Journal, &tx, false)
}

func (r *run) setFlagsOn(ctx context.Context, b *box, s state.Side, actions []SetFlags, open *sides, done map[*state.Row]bool) error {
	var changes []mail.FlagChange
	waiting := make(map[mail.Ref]SetFlags)
	for _, a := range actions {
		if !a.Do[s].IsZero() {
			changes = append(changes, mail.FlagChange{Ref: a.Row.Ref[s], Delta: a.Do[s]})
			waiting[a.Row.Ref[s]] = a
		}
	}
	if len(changes) == 0 {
		return nil
	}
	mb, err := r.openSide(ctx, b, open, s)
	if err != nil {
		return err
	}
	w, err := writable(mb)
	if err != nil {
		return err
	}
	b.wrote[s] = true
	for i := range changes {
		changes[i].Delta.Add = w.Storable(changes[i].Delta.Add)
	}
	states, err := w.SetFlags(ctx, changes)
	count := 0
	for _, f := range states {
		if a, ok := waiting[f.Ref]; ok {
			delete(waiting, f.Ref)
			a.Row.Flags[s] = achieved(a.Row.Flags[s], a.Do[s], f.Flags)
			count++
		}
	}
	for _, a := range waiting { // vanished: the next look tells
		done[a.Row] = false
	}
	r.rep.count(b.name(), s, Counts{Flags: count})
	return err
}

// achieved is what to record of a side that was to hold planned after do, and
// now holds now: planned, but for the part of do that was not taken. What
// somebody else changed meanwhile is not recorded, so that the next look sees it.
func achieved(planned mail.Flags, do mail.FlagDelta, now mail.Flags) mail.Flags {
	return planned.Minus(do.Add.Minus(now)).Union(do.Remove.Intersect(now))
}

// cursors records how far the box has been looked at, where everything up to
// there is done. What waits for a removal is recorded after it.
func (r *run) cursors(ctx context.Context, b *box) error {
	if b.look[0] && b.look[1] && !b.again && b.left == 0 {
		b.rec.Filter = r.Filter.Key()
	}
	for s := range b.delta {
		o := 1 - s
		switch {
		case !b.look[s]:
		case b.again || b.left > 0:
			b.again = true
		case len(b.known.Removes[o]) > 0:
		default:
			r.looked(b, state.Side(s))
		}
	}
	return r.save(ctx, b)
}

// looked takes over a delta's cursor.
func (r *run) looked(b *box, s state.Side) {
	b.rec.Cursor[s], b.rec.Stamp[s] = b.delta[s].Cursor, b.delta[s].Stamp
	b.look[s] = false
}

// remove does what the plan takes away in a box, after everything else. The
// journal is durable before the first message goes.
func (r *run) remove(ctx context.Context, b *box) error {
	for _, s := range []state.Side{state.A, state.B} {
		rows := b.known.Removes[s]
		if len(rows) == 0 || b.again {
			continue
		}
		if err := r.removeOn(ctx, b, s, rows); err != nil {
			return err
		}
		if o := s.Other(); b.look[o] {
			r.looked(b, o)
		}
	}
	return r.save(ctx, b)
}

func (r *run) removeOn(ctx context.Context, b *box, s state.Side, rows []*state.Row) error {
	var open sides
	defer open.close()
	mb, err := r.openSide(ctx, b, &open, s)
	if err != nil {
		return err
	}
	w, err := writable(mb)
	if err != nil {
		return err
	}
	if err := commit(ctx, r.Journal, &state.Tx{Mailboxes: []*state.Mailbox{b.rec}}, true); err != nil {
		return err
	}
	b.saved = *b.rec
	byRef := make(map[mail.Ref]*state.Row, len(rows))
	var refs []mail.Ref
	for _, row := range rows {
		byRef[row.Ref[s]] = row
		refs = append(refs, row.Ref[s])
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	b.wrote[s] = true
	removed, err := w.Remove(ctx, refs)
	var tx state.Tx
	for _, ref := range removed {
		if row := byRef[ref]; row != nil {
			tx.Delete = append(tx.Delete, row.ID)
			delete(byRef, ref)
		}
	}
	r.rep.count(b.name(), s, Counts{Deleted: len(tx.Delete)})
	if err := errors.Join(err, commit(context.WithoutCancel(ctx), r.Journal, &tx, false)); err != nil {
		return err
	}
	for ref, row := range byRef {
		r.rep.problem(Problem{Mailbox: b.name(), Side: s, Ref: ref, Date: row.Date, Size: row.Size, Kind: mail.KindRefused,
			Reason: "the message could not be removed"})
	}
	return nil
}

// settle ends a pass: records are committed, durably, and sides that were
// changed are looked at once more, to see that nothing is left to do and to be
// able to vouch for it at the next run.
func (r *run) settle(ctx context.Context, boxes []*box) error {
	var tx state.Tx
	for _, b := range boxes {
		for s := range b.wrote {
			if b.wrote[s] {
				b.look[s], b.rec.Stamp[s] = true, ""
			}
			if b.again {
				b.look[s] = b.info[s] != nil
			}
		}
		if b.err == nil {
			r.unpark(b)
		}
		if *b.rec != b.saved {
			tx.Mailboxes = append(tx.Mailboxes, b.rec)
		}
	}
	changed := r.rep.progress() > 0 || len(tx.Mailboxes) > 0
	if !changed {
		return nil
	}
	if err := commit(ctx, r.Journal, &tx, true); err != nil {
		return err
	}
	for _, b := range boxes {
		b.saved = *b.rec
	}
	return nil
}

// errWaiting is the journal's note on a message that is copied as soon as the
// other side is known; without it a crash would leave the message where it is.
var errWaiting = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindOther, Err: errors.New("it waits to be compared with the other side")}

// unpark lines up, for the next pass, the messages that had to wait.
func (r *run) unpark(b *box) {
	if b.again || len(b.waiting) == 0 {
		return
	}
	for _, row := range b.waiting {
		if !b.joined[row.ID] {
			b.retry = append(b.retry, row)
		}
	}
	b.waiting = nil
}

// pretend counts what the plans would do.
func (r *run) pretend(boxes []*box) {
	for _, b := range boxes {
		if b.err != nil {
			continue
		}
		in := r.input(b)
		plan := PlanNew(in)
		for _, c := range plan.Copies {
			r.rep.count(b.name(), c.To, Counts{New: 1, Bytes: max(c.Msg.Size, 0)})
		}
		for _, p := range []*Plan{&plan, &b.known} {
			for _, f := range p.Flags {
				for s := range f.Do {
					if !f.Do[s].IsZero() {
						r.rep.count(b.name(), state.Side(s), Counts{Flags: 1})
					}
				}
			}
		}
		for s, rows := range b.known.Removes {
			r.rep.count(b.name(), state.Side(s), Counts{Deleted: len(rows)})
		}
		r.rep.kept(b.name(), keptBy(&b.known))
		r.notes(b)
	}
}
