package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"postbag/internal/mail"
	"postbag/internal/repair"
	"postbag/state"
)

// Messages that their destination refused are read once more, repaired, and sent
// again (Options.Fix). Invariants:
//
//   - Nothing is repaired that was not refused as it is, and the side that it comes
//     from is only read.
//   - What is sent in place of a message is on record before it is sent (Row.Sent):
//     after a crash it is looked for as it was sent, and the row's own identity stays
//     that of the message, so that no run takes the pair for two.
//   - What the destination has already of an earlier repair is paired, not sent again.

// mendable reports whether repairs may make the destination take a message. The
// caller holds the lock.
func (c *copier) mendable(q quarantined) bool {
	return c.r.Fix != 0 && q.side == c.to && !c.mending && (q.err.Kind == mail.KindRefused || q.err.Kind == mail.KindProtocol)
}

// mendAll repairs and sends what was refused. What stays refused is left out. All
// that was started is written down, or left to harvest, when it returns.
func (c *copier) mendAll(ctx context.Context, src mail.Mailbox, fetchErr error) error {
	c.mu.Lock()
	all := c.mends
	c.mends, c.mending = nil, true
	c.mu.Unlock()
	for chunk := range slices.Chunk(all, c.r.Batch.messages(c.to)) {
		m := &mending{copier: c, waiting: make(map[mail.Ref]quarantined, len(chunk))}
		for _, q := range chunk {
			m.waiting[q.row.Ref[c.from]] = q
		}
		if fetchErr == nil && c.failed() == nil {
			fetchErr = m.run(ctx, src)
		}
		c.mu.Lock()
		for _, q := range m.waiting { // not reached, or not there any more
			c.leaveOut(q)
		}
		c.mu.Unlock()
	}
	return fetchErr
}

// mending is one batch of messages to be repaired.
type mending struct {
	*copier
	waiting map[mail.Ref]quarantined
	flight  flight
}

func (m *mending) run(ctx context.Context, src mail.Mailbox) error {
	landCtx := context.WithoutCancel(ctx)
	batch, err := m.dst.Batch(landCtx)
	if err != nil {
		return err
	}
	defer batch.Abort()
	m.flight.batch = batch
	fetchErr := src.Fetch(ctx, slices.SortedFunc(maps.Keys(m.waiting), mail.Ref.Compare), func(f mail.Fetched) error {
		q, ok := m.waiting[f.Ref]
		if !ok {
			return nil
		}
		if err := m.take(landCtx, q, f); err != nil {
			return err
		}
		delete(m.waiting, f.Ref)
		return nil
	})
	if err := m.adopt(landCtx); err != nil {
		m.drop()
		return errors.Join(fetchErr, err)
	}
	if err := m.land(landCtx, &m.flight); err != nil {
		m.fail(err)
	}
	return fetchErr
}

// drop leaves out what was taken in and not sent.
func (m *mending) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range m.flight.rows {
		row.Ref[m.to], row.Flags[m.to], row.Status, row.Mark, row.Sent = mail.Ref{}, mail.Flags{}, state.Here, "", nil
		m.leaveOut(quarantined{row, m.to, errCut})
	}
	m.flight.rows, m.flight.pending = nil, nil
}

var errCut = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindOther, Err: errors.New("it was refused, and not repaired yet")}

// take takes one message in, repaired. One that needs no repair, or that none
// helps, is left out for the reason that it was refused for.
func (m *mending) take(ctx context.Context, q quarantined, f mail.Fetched) error {
	out := func(side state.Side, err *mail.Error) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.leaveOut(quarantined{q.row, side, err})
		return nil
	}
	if f.Err != nil {
		return out(m.from, f.Err)
	}
	whole := newMeter(f.Body)
	fixed := repair.NewReader(whole, m.r.Fix, q.row.Date)
	sent := newMeter(fixed)
	msg := f.Message
	msg.Flags, msg.Date, msg.Size = m.dst.Storable(f.Flags), q.row.Date, -1
	p, err := m.flight.batch.Add(ctx, msg, sent)
	switch {
	case whole.err != nil && isScope(whole.err, mail.ScopeMessage):
		return out(m.from, mail.AsError(whole.err))
	case whole.err != nil:
		return whole.err
	case isScope(err, mail.ScopeMessage):
		return out(m.to, mail.AsError(err))
	case err != nil:
		return err
	case f.Size >= 0 && whole.n != f.Size:
		return out(m.from, mail.AsError(short(f.Ref, whole.n, f.Size)))
	case fixed.Stuck() != "":
		return out(m.to, because(q.err, "; it cannot be repaired: "+fixed.Stuck()))
	case fixed.Done() == 0:
		return out(m.to, because(q.err, "; there is nothing to repair"))
	}
	row := *q.row
	row.Size, row.Ident = whole.n, whole.identity(row.Ident)
	row.Flags[m.from] = f.Flags
	row.Ref[m.to], row.Flags[m.to], row.Gone[m.to] = p.Ref, msg.Flags, 0
	row.Status, row.Mark = state.Toward(m.to), p.Mark
	row.Sent = &state.Sent{Side: m.to, Size: sent.n, ID: sent.identity(mail.Identity{}), Repairs: fixed.Done().String()}
	p.Message.Size, p.Message.ID = sent.n, row.Sent.ID
	m.flight.pending, m.flight.rows = append(m.flight.pending, p), append(m.flight.rows, &row)
	m.reasons[row.Ref[m.from]] = reason(q.err)
	return nil
}

// because is a refusal with more to say about it.
func because(err *mail.Error, more string) *mail.Error {
	e := *err
	e.Err = fmt.Errorf("%w%s", err.Err, more)
	return &e
}

// adopt pairs what the destination has already of an earlier repair, which a lost
// state may leave, and takes it out of the flight.
func (m *mending) adopt(ctx context.Context) error {
	var sizes []int64
	for _, row := range m.flight.rows {
		sizes = append(sizes, row.Sent.Size)
	}
	if len(sizes) == 0 {
		return nil
	}
	there, err := m.r.Journal.AloneBySize(ctx, m.b.rec.ID, m.to, sizes)
	if err != nil || len(there) == 0 {
		return err
	}
	if err := m.fathom(ctx, there); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var rows []*state.Row
	var pending []mail.Pending
	for i, row := range m.flight.rows {
		n := slices.IndexFunc(there, func(o *state.Row) bool {
			return o.Ident.Digest == row.Sent.ID.Digest && !slices.Contains(m.deleted, o.ID)
		})
		if n < 0 {
			rows, pending = append(rows, row), append(pending, m.flight.pending[i])
			continue
		}
		m.b.again = true // flags are brought together by another look
		pair := *row
		pair.Ref[m.to], pair.Status, pair.Mark = there[n].Ref[m.to], state.Here, ""
		base := row.Flags[m.from].Intersect(there[n].Flags[m.to])
		pair.Flags = [2]mail.Flags{base, base}
		m.joined, m.deleted = append(m.joined, &pair), append(m.deleted, there[n].ID)
		m.noteRepaired(&pair)
	}
	m.flight.rows, m.flight.pending = rows, pending
	return nil
}

// fathom reads messages of the destination whose digest is not known.
func (m *mending) fathom(ctx context.Context, rows []*state.Row) error {
	byRef := make(map[mail.Ref]*state.Row)
	for _, row := range rows {
		if !row.Ident.Digest.Known() {
			byRef[row.Ref[m.to]] = row
		}
	}
	if len(byRef) == 0 {
		return nil
	}
	return m.dst.Fetch(ctx, slices.SortedFunc(maps.Keys(byRef), mail.Ref.Compare), func(f mail.Fetched) error {
		row := byRef[f.Ref]
		if row == nil || f.Err != nil {
			return nil
		}
		body := newMeter(f.Body)
		if _, err := io.Copy(io.Discard, body); err != nil {
			if isScope(err, mail.ScopeMessage) {
				return nil
			}
			return err
		}
		row.Ident = body.identity(row.Ident)
		return nil
	})
}

// refusedAgain is the refusal of a message that was repaired.
func refusedAgain(row *state.Row, err *mail.Error) *mail.Error {
	if row.Sent == nil {
		return err
	}
	set, _ := repair.Parse(strings.Split(row.Sent.Repairs, ",")...)
	e := *err
	e.Err = fmt.Errorf("repaired (%s), and refused again: %w", set, err.Err)
	return &e
}

// noteRepaired reports a message that the destination holds with repairs.
func (c *copier) noteRepaired(row *state.Row) {
	c.r.repaired(c.b, row, c.reasons[row.Ref[c.from]])
}

// repaired reports a message that was sent with repairs, and why.
func (r *run) repaired(b *box, row *state.Row, why string) {
	if row.Sent == nil {
		return
	}
	from := row.Sent.Side.Other()
	set, _ := repair.Parse(strings.Split(row.Sent.Repairs, ",")...)
	text := "it was refused, and sent repaired: " + set.Text()
	if why != "" {
		text += " (" + why + ")"
	}
	r.rep.problem(Problem{Mailbox: b.name(), Side: from, Ref: row.Ref[from], Date: row.Date, Size: row.Size,
		Kind: mail.KindRefused, Reason: text, Warning: true, Repaired: set.Names()})
}
