package sync

import (
	"context"
	"strings"

	"postbag/internal/mail"
	"postbag/internal/repair"
	"postbag/state"
)

// Repairs is what Compare needs of a state to know repaired messages. *state.DB is
// one.
type Repairs interface {
	Mailboxes(ctx context.Context) ([]*state.Mailbox, error)
	// SentRows are all rows with a Sent.
	SentRows(ctx context.Context) ([]*state.Row, error)
}

// repairedFinding names a message that one side holds repaired.
func repairedFinding(r *state.Row) Finding {
	s := r.Sent.Side
	set, _ := repair.Parse(strings.Split(r.Sent.Repairs, ",")...)
	return Finding{Kind: Repaired, Side: s, Ref: r.Ref[s], Size: r.Sent.Size, Message: rowMessage(r, s),
		Text: "the server refused it as it is, and got it with " + set.Text()}
}

// loadRepairs reads which messages were sent repaired, by their mailboxes. Rows of a
// state with other sides are turned round.
func (c *comparer) loadRepairs(ctx context.Context) error {
	if c.Repairs == nil {
		return nil
	}
	rows, err := c.Repairs.SentRows(ctx)
	if err != nil || len(rows) == 0 {
		return err
	}
	records, err := c.Repairs.Mailboxes(ctx)
	if err != nil {
		return err
	}
	c.repaired = make(map[string][]*state.Row)
	c.valid = make(map[string][2]string)
	byID := make(map[int64]*state.Mailbox)
	for _, rec := range records {
		byID[rec.ID] = rec
	}
	for _, row := range rows {
		rec := byID[row.Mailbox]
		if rec == nil || !row.Alive(state.A) || !row.Alive(state.B) {
			continue
		}
		r, name, validity := *row, rec.Name[state.A], rec.Validity
		if c.Swapped {
			sent := *row.Sent
			sent.Side = sent.Side.Other()
			r.Sent, r.Ref, r.Flags = &sent, [2]mail.Ref{row.Ref[1], row.Ref[0]}, [2]mail.Flags{row.Flags[1], row.Flags[0]}
			name, validity = rec.Name[state.B], [2]string{rec.Validity[1], rec.Validity[0]}
		}
		c.repaired[name], c.valid[name] = append(c.repaired[name], &r), validity
	}
	return nil
}

// pairRepaired pairs what the state knows to be one message, where both sides hold
// what it says. What they hold otherwise is left to the rules.
func (c *comparer) pairRepaired(sides [2][]*arrival) {
	rows := c.repaired[c.mailbox]
	if len(rows) == 0 || c.validity != c.valid[c.mailbox] {
		return
	}
	var byRef [2]map[mail.Ref]*arrival
	for s, list := range sides {
		byRef[s] = make(map[mail.Ref]*arrival, len(list))
		for _, a := range list {
			byRef[s][a.msg.Ref] = a
		}
	}
	for _, row := range rows {
		a, b := byRef[0][row.Ref[0]], byRef[1][row.Ref[1]]
		if a == nil || b == nil || !is(a, rowMessage(row, state.A)) || !is(b, rowMessage(row, state.B)) {
			continue
		}
		c.pair(a, b)
		if c.Deep {
			c.found(repairedFinding(row))
		}
	}
}

// is reports whether an arrival is the message that it should be, as far as is known.
func is(a *arrival, want mail.Message) bool {
	return a.msg.Size == want.Size && (!a.msg.ID.Digest.Known() || a.msg.ID.Digest == want.ID.Digest) &&
		(!a.msg.ID.Described || a.msg.ID.MessageID == want.ID.MessageID)
}
