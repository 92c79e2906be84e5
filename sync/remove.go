package sync

import (
	"context"
	"errors"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// remove does what the plan takes away in a box, after everything else. The
// journal is durable before the first message goes.
func (r *run) remove(ctx context.Context, b *box) error {
	if b.again || !b.loses() {
		return r.save(ctx, b)
	}
	for _, s := range []state.Side{state.A, state.B} {
		if rows := b.known.Removes[s]; len(rows) > 0 {
			if err := r.removeOn(ctx, b, s, rows); err != nil {
				return err
			}
		}
	}
	for _, s := range []state.Side{state.A, state.B} {
		if b.look[s] {
			r.looked(b, s)
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
