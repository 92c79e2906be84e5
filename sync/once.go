package sync

import (
	"context"
	"errors"

	"postbag/internal/mail"
	"postbag/state"
)

// Servers with labels keep one of equal messages: what is sent to a mailbox that has it
// is answered with the one that is there (mail.Landed.Old).

var errOneOfEqual = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindRefused,
	Err: errors.New("the server keeps one of equal messages, and this mailbox has it already")}

// once sorts out which of the messages that landed are ones that the side had before.
// A row that only knew of it there gives way; where it belongs to a pair, the message
// that was sent stays out.
func (c *copier) once(ctx context.Context, rows []*state.Row, landed []mail.Landed) error {
	var refs []mail.Ref
	taken := make(map[mail.Ref]bool)
	for i, l := range landed {
		switch {
		case l.Old && taken[l.Ref]:
			landed[i] = mail.Landed{Err: errOneOfEqual}
		case l.Old:
			refs = append(refs, l.Ref)
		}
		taken[l.Ref] = true
	}
	if len(refs) == 0 {
		return nil
	}
	there, err := c.r.Journal.ByRef(ctx, c.b.rec.ID, c.to, refs)
	if err != nil {
		return err
	}
	for i, l := range landed {
		for _, row := range there {
			if !l.Old || row.ID == rows[i].ID || row.Ref[c.to] != l.Ref || !row.Alive(c.to) {
				continue
			}
			if row.Alone(c.to) {
				c.mu.Lock()
				c.deleted = append(c.deleted, row.ID)
				c.mu.Unlock()
			} else {
				landed[i] = mail.Landed{Err: errOneOfEqual}
			}
		}
	}
	return nil
}

// underLabels are those of the rows of a mailbox \All, gone from side s, whose message
// is there in another mailbox, under a label: it is not to be put back.
func (r *run) underLabels(ctx context.Context, b *box, s state.Side, rows []*state.Row) (map[int64]bool, error) {
	there := make(map[int64]bool)
	if b.rec.Use != mail.UseAll {
		return there, nil
	}
	ids := make([]string, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.Ident.ObjectID)
	}
	found, err := r.Journal.ByObject(ctx, ids)
	if err != nil {
		return nil, err
	}
	labels := make(map[int64]bool)
	for _, o := range r.boxes {
		labels[o.rec.ID] = o != b && o.rec.Use != mail.UseTrash && o.rec.Use != mail.UseJunk
	}
	has := make(map[string]bool)
	for _, row := range found {
		if row.Alive(s) && labels[row.Mailbox] {
			has[row.Ident.ObjectID] = true
		}
	}
	for _, row := range rows {
		there[row.ID] = has[row.Ident.ObjectID]
	}
	return there, nil
}
