package sync

import (
	"context"
	"fmt"

	"postbag/internal/mail"
	"postbag/state"
)

// pretend counts what the plans would do.
func (r *run) pretend(ctx context.Context, boxes []*box) error {
	for _, b := range boxes {
		if b.err != nil {
			continue
		}
		r.pretendPlan(b, &b.known)
		for s, rows := range b.known.Removes {
			r.rep.count(b.name(), state.Side(s), Counts{Deleted: len(rows)})
		}
		if err := r.pretendNew(ctx, b); err != nil {
			if mail.AsError(err).Scope != mail.ScopeMailbox || ctx.Err() != nil {
				return err
			}
			b.err = err
			continue
		}
		r.rep.kept(b.name(), keptBy(&b.known))
		r.notes(b)
	}
	return nil
}

// pretendNew counts what would become of new messages. They come in windows; where
// side B's do, the first one stands for all, since nothing may be written down.
func (r *run) pretendNew(ctx context.Context, b *box) error {
	var open sides
	defer open.close()
	for {
		plan := PlanNew(r.input(b))
		r.pretendPlan(b, &plan)
		if !b.delta[state.A].More || b.delta[state.B].More {
			return nil
		}
		if open[state.A] == nil {
			mb, err := r.open(ctx, b, state.A)
			if err != nil {
				return err
			}
			open[state.A] = mb
		}
		b.rec.Cursor[state.A] = b.delta[state.A].Cursor
		b.delta[state.B].New, b.retry, b.rows, b.alone = nil, nil, nil, [2][]*state.Row{}
		if err := r.changes(ctx, b, state.A, open[state.A], r.share); err != nil {
			return err
		}
		if err := r.identify(ctx, b, &open); err != nil {
			return err
		}
	}
}

func (r *run) pretendPlan(b *box, plan *Plan) {
	for _, c := range plan.Copies {
		if most := r.Takes[c.To]; most > 0 && c.Msg.Size > most {
			r.rep.tooLarge(b.name(), c, most)
			continue
		}
		r.rep.count(b.name(), c.To, Counts{New: 1, Bytes: max(c.Msg.Size, 0)})
	}
	for _, f := range plan.Flags {
		for s := range f.Do {
			if !f.Do[s].IsZero() {
				r.rep.count(b.name(), state.Side(s), Counts{Flags: 1})
			}
		}
	}
}

// TooLarge are the messages that a side would refuse for their size, as far as
// their sizes are known.
type TooLarge struct {
	Messages int
	Largest  int64 // octets
	Limit    int64 // octets, of the side
}

func (r *reporter) tooLarge(mailbox string, c Copy, most int64) {
	r.problem(Problem{Mailbox: mailbox, Side: c.To.Other(), Ref: c.Msg.Ref, Date: c.Msg.Date, Size: c.Msg.Size, Kind: mail.KindTooLarge,
		Reason: fmt.Sprintf("the message has %d octets, the server takes at most %d", c.Msg.Size, most)})
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &r.report.TooLarge
	t.Messages++
	t.Largest, t.Limit = max(t.Largest, c.Msg.Size), most
}
