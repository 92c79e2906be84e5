package sync

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// What a server makes of the messages that it takes. Their bytes are sent as they
// are; what it stores may be something else. That is noticed at no cost where the
// size differs (see mail.Delta, Altered), and otherwise by reading back the few
// messages that servers are known to alter without changing their size.
//
// A message that was altered is one with its original, for ever by the pair in the
// state, and without one by the content of both: what is there is, octet for octet,
// what a known alteration makes of the original (see mail.Altering).

// meter reads a body that is copied; with what is needed to tell whether it is
// there already.
func (c *Copy) meter(body io.Reader) *meter {
	m := newMeter(body)
	if len(c.Maybe) > 0 {
		m.alter = mail.NewAltering()
	}
	return m
}

// sameFirst picks from rows those that have a message's content, and after them
// those that have what a server makes of it. Of each those of the message's date come
// first: another message may have become equal to it.
func sameFirst(rows []*state.Row, msg *mail.Message, alter *mail.Altering) []*state.Row {
	var same, made []*state.Row
	digest := msg.ID.Digest
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b *state.Row) int {
		return cmp.Compare(a.Date.Sub(msg.Date).Abs(), b.Date.Sub(msg.Date).Abs())
	})
	for _, row := range rows {
		if row.Ident.Digest == digest || row.Ident.Plain == digest {
			same = append(same, row)
		} else if alter != nil && row.Ident.Digest.Known() {
			if _, ok := alter.Find(row.Ident.Digest); ok {
				made = append(made, row)
			}
		}
	}
	return append(same, made...)
}

// sampled is how many delicate messages are read back from a side that keeps them
// all as they are.
const sampled = 3

// doubt is what is known of a side's delicate messages.
type doubt struct {
	read    int
	altered bool
}

// readBack reads messages that have just landed on a server, and notes those that
// are not what was sent. It stops to do so where the first few were kept. Nothing
// depends on it: when it fails, whatever failed fails again.
func (c *copier) readBack(ctx context.Context, rows []*state.Row) {
	byRef := make(map[mail.Ref]*state.Row)
	var refs []mail.Ref
	c.r.doubts.Lock()
	d := &c.r.doubt[c.to]
	for _, row := range rows {
		ref := row.Ref[c.to]
		if ref.UID != 0 && row.Status == state.Here && (d.altered || d.read < sampled) {
			d.read++
			byRef[ref], refs = row, append(refs, ref)
		}
	}
	c.r.doubts.Unlock()
	if len(refs) == 0 {
		return
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	_ = digest(ctx, c.dst, refs, func(m mail.Message) {
		row := byRef[m.Ref]
		if row == nil || m.ID.Digest == row.Ident.Digest {
			return
		}
		c.r.doubts.Lock()
		d.altered = true
		c.r.doubts.Unlock()
		if m.Size == row.Size { // else the next listing tells
			c.r.noteAltered(c.b, c.to, row, "other octets of the same number")
		}
	})
}

// altered notes what a side tells of messages that were sent to it.
func (r *run) altered(ctx context.Context, b *box, s state.Side, list []mail.SizeState) error {
	if len(list) == 0 {
		return nil
	}
	refs := make([]mail.Ref, len(list))
	size := make(map[mail.Ref]int64, len(list))
	for i, a := range list {
		refs[i], size[a.Ref] = a.Ref, a.Size
	}
	rows, err := r.Journal.ByRef(ctx, b.rec.ID, s, refs)
	if err != nil {
		return err
	}
	for _, row := range rows {
		sent := row.Size
		if row.Sent != nil && row.Sent.Side == s { // repaired
			sent = row.Sent.Size
		}
		r.noteAltered(b, s, row, fmt.Sprintf("%d octets there, and %d were sent", size[row.Ref[s]], sent))
	}
	return nil
}

// noteAltered tells of messages of a box that side s altered: one line for all, with
// the first of them.
func (r *run) noteAltered(b *box, s state.Side, row *state.Row, how string) {
	r.doubts.Lock()
	defer r.doubts.Unlock()
	a := &b.alters[s]
	if a.n++; a.n == 1 {
		a.row, a.how = row, how
	}
	n := "a message was"
	if a.n > 1 {
		n = fmt.Sprintf("%d messages were", a.n)
	}
	from := s.Other()
	r.rep.problem(Problem{Mailbox: b.name(), Side: from, Ref: a.row.Ref[from], Date: a.row.Date, Size: a.row.Size, Kind: mail.KindIntegrity,
		Warning: true, Reason: fmt.Sprintf("%s altered by the server that took it: %s", n, a.how),
		Hint: "they were sent as they are; verify --deep names each, and what was done to it"})
}

// alterations is what noteAltered knows of one side of a box.
type alterations struct {
	n   int
	row *state.Row // the first
	how string
}
