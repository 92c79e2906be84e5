package sync

import (
	"context"
	"errors"

	"postbag/internal/mail"
	"postbag/state"
)

// Aside is implemented by a store that can put a damaged message away, where
// nothing is lost and nobody reads it. It tells whether the message was there.
type Aside interface {
	SetAside(ctx context.Context, mailbox string, ref mail.Ref, reason string) (bool, error)
}

var errMissing = errors.New("it was missing from the copy")
var errDamaged = errors.New("its copy was damaged")

// refill checks every message of side B against its digest, and lines up those
// that are missing, damaged or were removed there to be copied again. A damaged
// one is put away first.
func (r *run) refill(ctx context.Context) error {
	for _, b := range r.boxes {
		if b.rec.ID == 0 || b.info[state.B] == nil || b.orphan {
			continue
		}
		if err := r.refillBox(ctx, b); err != nil {
			if e := mail.AsError(err); e.Scope != mail.ScopeMailbox {
				return err
			}
			r.rep.fail(b.name(), state.B, err)
		}
	}
	return nil
}

func (r *run) refillBox(ctx context.Context, b *box) error {
	mb, err := r.open(ctx, b, state.B)
	if err != nil {
		return err
	}
	defer mb.Close()
	var chunk []*state.Row
	check := func() error {
		err := r.refillChunk(ctx, b, mb, chunk)
		chunk = chunk[:0]
		return err
	}
	var rows []*state.Row
	if err := r.Journal.Each(ctx, b.rec.ID, func(row *state.Row) error {
		if row.Status == state.Here && !row.Ref[state.B].IsZero() {
			rows = append(rows, row)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, row := range rows {
		if chunk = append(chunk, row); len(chunk) == 1000 {
			if err := check(); err != nil {
				return err
			}
		}
	}
	if err := check(); err != nil {
		return err
	}
	return r.aloneRows(ctx, b, state.A, true) // those of a mailbox that was gone
}

// refillChunk checks some rows that side B has or had.
func (r *run) refillChunk(ctx context.Context, b *box, mb mail.Mailbox, rows []*state.Row) error {
	if len(rows) == 0 {
		return nil
	}
	var refs []mail.Ref
	for _, row := range rows {
		refs = append(refs, row.Ref[state.B])
	}
	there := make(map[mail.Ref]mail.Message)
	if err := mb.Describe(ctx, refs, true, func(m mail.Message) error {
		there[m.Ref] = m
		return nil
	}); err != nil {
		return err
	}
	var tx state.Tx
	for _, row := range rows {
		m, ok := there[row.Ref[state.B]]
		bad := errMissing
		if ok {
			if !row.Alive(state.A) && !row.Alive(state.B) || !row.Ident.Digest.Known() || m.ID.Digest == rowMessage(row, state.B).ID.Digest {
				continue
			}
			bad = errDamaged
		}
		if !row.Alive(state.A) {
			r.rep.problem(Problem{Mailbox: b.name(), Side: state.B, Ref: row.Ref[state.B], Date: row.Date, Size: row.Size,
				Kind: mail.KindIntegrity, Reason: bad.Error() + ", and it is not on the other side any more"})
			continue
		}
		if ok {
			if aside, can := r.store[state.B].(Aside); can && !r.DryRun {
				if _, err := aside.SetAside(ctx, b.rec.Name[state.B], row.Ref[state.B], "its content is not what was stored"); err != nil {
					return err
				}
			}
		}
		row.Ref[state.B], row.Flags[state.B], row.Gone[state.B] = mail.Ref{}, mail.Flags{}, 0
		tx.Rows = append(tx.Rows, row)
		tx.Problems = append(tx.Problems, problemOf(quarantined{row, state.B, &mail.Error{Kind: mail.KindIntegrity, Err: bad}}, state.Problem{}))
		b.problems[row.ID] = true
		b.line(row)
		b.look[state.B] = true
	}
	if r.DryRun {
		return nil
	}
	return commit(ctx, r.Journal, &tx, true)
}
