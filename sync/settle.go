package sync

import (
	"context"
	"errors"

	"postbag/internal/mail"
	"postbag/state"
)

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
			if b.again || b.unstamped(s) {
				b.look[s] = b.info[s] != nil
			}
		}
		if b.err == nil {
			if err := r.unpark(ctx, b); err != nil {
				return err
			}
		}
		if *b.rec != b.saved {
			tx.Mailboxes = append(tx.Mailboxes, b.rec)
		}
	}
	// What lies in between needs no flush of its own: nothing was deleted that
	// relies on it, and the last pass flushes it all.
	if err := commit(ctx, r.Journal, &tx, len(r.dirty()) == 0); err != nil {
		return err
	}
	for _, b := range boxes {
		b.saved = *b.rec
	}
	return nil
}

// unstamped reports whether a side told of something and could not vouch for
// itself at that moment, but can when there is nothing to tell.
func (b *box) unstamped(s int) bool {
	d := &b.delta[s]
	return b.err == nil && !b.unlike && b.info[s] != nil && b.info[s].Stamp != "" && b.rec.Stamp[s] == "" && b.heard[s] && d.Unsettled == ""
}

// errWaiting is the journal's note on a message that is copied as soon as the
// other side is known; without it a crash would leave the message where it is.
var errWaiting = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindOther, Err: errors.New("it waits to be compared with the other side")}

// unpark lines up, for the next pass, the messages that had to wait, and that
// turned out to be no message of the other side.
func (r *run) unpark(ctx context.Context, b *box) error {
	if b.again || len(b.waiting) == 0 {
		return nil
	}
	for _, s := range []state.Side{state.A, state.B} {
		for after := int64(0); ; {
			rows, err := r.Journal.AloneRows(ctx, b.rec.ID, s, after, 1000)
			if err != nil {
				return err
			}
			if len(rows) == 0 {
				break
			}
			for _, row := range rows {
				if after = row.ID; b.waiting[row.ID] {
					b.line(row)
				}
			}
		}
	}
	clear(b.waiting)
	return nil
}
