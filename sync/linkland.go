package sync

import (
	"context"

	"postbag/internal/mail"
	"postbag/state"
)

// linkAll links, a batch at a time. It answers with the copies that have to be made the
// ordinary way.
func (r *run) linkAll(ctx context.Context, b *box, to state.Side, dst mail.WritableMailbox, all []linkable) (left []Copy, err error) {
	for len(all) > 0 && err == nil {
		n := min(len(all), r.Batch.messages(to))
		var again []Copy
		again, err = r.linkSome(ctx, b, to, dst, all[:n])
		left, all = append(left, again...), all[n:]
	}
	return left, err
}

// linkSome links one batch.
func (r *run) linkSome(ctx context.Context, b *box, to state.Side, dst mail.WritableMailbox, some []linkable) (left []Copy, err error) {
	batch, err := dst.Batch(ctx)
	if err != nil {
		return nil, err
	}
	defer batch.Abort()
	c := &copier{r: r, b: b, to: to, from: to.Other(), dst: dst}
	fl := &flight{batch: batch}
	var copies []Copy
	for i := range some {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ok, err := c.linkOne(ctx, fl, &some[i])
		switch {
		case err != nil:
			return nil, err
		case ok == linked:
			copies = append(copies, some[i].cp)
		case ok == unlinked:
			left = append(left, some[i].cp)
		}
	}
	// What was begun is ended, also when the run is interrupted.
	ctx = context.WithoutCancel(ctx)
	again, err := c.landLinks(ctx, fl, copies)
	return append(left, again...), err
}

// What linkOne did.
type linkOutcome int

const (
	unlinked  linkOutcome = iota
	linked                // it is part of the flight
	looksLike             // it is not copied in this pass: see lateMoves
)

// linkOne puts one message into a flight.
func (c *copier) linkOne(ctx context.Context, fl *flight, l *linkable) (linkOutcome, error) {
	msg := l.cp.Msg
	msg.ID = l.id
	if l.cp.Row == nil && c.r.Policy.May[c.to].Moves && c.r.late.found(c.b, c.to, msg) {
		c.b.again = true
		return looksLike, nil
	}
	out := msg
	out.Flags = c.dst.Storable(msg.Flags)
	linker, ok := fl.batch.(mail.Linker)
	if !ok {
		return unlinked, nil
	}
	p, err := linker.Link(ctx, out, l.from)
	if isScope(err, mail.ScopeMessage) {
		c.r.Progress.Note("%s: %s is copied again, not linked: %s", c.b.name(), msg.Ref, reason(mail.AsError(err)))
		return unlinked, nil
	}
	if err != nil {
		return unlinked, err
	}
	row := c.row(&l.cp, msg)
	row.Ref[c.to], row.Flags[c.to], row.Gone[c.to] = p.Ref, out.Flags, 0
	row.Status, row.Mark = state.Toward(c.to), p.Mark
	p.Message.Size, p.Message.Date, p.Message.ID, p.Message.Flags = msg.Size, msg.Date, msg.ID, out.Flags
	fl.pending, fl.rows = append(fl.pending, p), append(fl.rows, row)
	return linked, nil
}

// landLinks makes a flight of links durable and visible, with the journal before and
// after. It answers with those of copies that did not land.
func (c *copier) landLinks(ctx context.Context, fl *flight, copies []Copy) (left []Copy, err error) {
	if len(fl.pending) == 0 {
		return nil, nil
	}
	c.b.wrote[c.to] = true
	flusher, ok := fl.batch.(mail.Flusher)
	durable := !ok || !flusher.FlushesWith(c.r.Journal.Path())
	if err := commit(ctx, c.r.Journal, &state.Tx{Rows: fl.rows}, durable); err != nil {
		return nil, err
	}
	if err := fl.batch.Prepare(ctx); err != nil {
		return nil, err
	}
	landed, err := fl.batch.Commit(ctx, fl.pending)
	if oerr := c.once(ctx, fl.rows, landed); err == nil {
		err = oerr
	}
	var tx state.Tx
	var bytes int64
	n := 0
	for i, l := range landed {
		row := fl.rows[i]
		switch {
		case !l.Ref.IsZero():
			row.Ref[c.to], row.Status, row.Mark = l.Ref, state.Here, ""
			n++
			bytes += row.Size
			c.noteUnheld(row, l)
			if c.b.problems[row.ID] {
				tx.Solved = append(tx.Solved, row.ID)
				delete(c.b.problems, row.ID)
			}
		case l.Err != nil:
			row.Ref[c.to], row.Flags[c.to], row.Status, row.Mark = mail.Ref{}, mail.Flags{}, state.Here, ""
			tx.Problems = append(tx.Problems, problemOf(quarantined{row, c.to, errElsewhere}, state.Problem{}))
			c.b.problems[row.ID] = true
			cp := copies[i]
			cp.Row = row
			left = append(left, cp)
			c.r.Progress.Note("%s: %s is copied again, not linked: %s", c.b.name(), row.Ref[c.from], reason(l.Err))
		default:
			continue // the next run, or the next try, finds out
		}
		tx.Rows = append(tx.Rows, row)
	}
	if !c.unheld.IsZero() {
		c.r.rep.problem(notHeld(c.b, c.to, c.lacking, c.unheld))
	}
	tx.Delete = c.deleted
	if cerr := commit(ctx, c.r.Journal, &tx, false); err == nil {
		err = cerr
	}
	c.b.taken(tx.Rows, nil)
	c.r.rep.count(c.b.name(), c.to, Counts{New: n, Bytes: bytes})
	c.r.expect(c.b, n, bytes)
	c.r.Progress.Done(n, bytes)
	return left, err
}
