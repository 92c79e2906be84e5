package sync

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	gosync "sync"

	"postbag/internal/mail"
	"postbag/state"
)

// Linking. A server that shows one message in several mailboxes (labels) tells so by
// its object ID. Such a message is fetched once and sent once: where the other side
// can take in what it holds already (mail.Linker), the further copies are made there,
// from a message that both sides are known to have. Invariants:
//
//   - Only side A's object IDs count: a row keeps one, which is side A's when it has
//     any, and what side B calls by the same ID is another message.
//   - What is linked is what was read once: the digest goes with it, and the store
//     compares it where it can.
//   - A link is journalled like a copy, before and after; a crash leaves what a crash
//     of a copy leaves.
//   - What cannot be linked is copied.
//   - When several mailboxes bring one message in one pass, the first does, and the
//     others wait for the next pass. Their rows say so: a crash lines them up again.

// links is what the mailboxes of a pass have to know of each other.
type links struct {
	seed maphash.Seed
	mu   gosync.Mutex
	// places are the mailboxes as the pass found them.
	places map[int64][2]mail.Place
	// claims are object IDs, hashed, of messages that are being copied to a side. That
	// two share a hash makes one of them wait for nothing.
	claims [2]map[uint64]bool
	// waited are the rows that have waited for another mailbox in this run: once is
	// enough.
	waited map[int64]bool
}

// begin takes down where the boxes' messages are, for a pass.
func (l *links) begin(boxes []*box) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waited == nil {
		l.seed, l.waited = maphash.MakeSeed(), make(map[int64]bool)
	}
	l.claims = [2]map[uint64]bool{{}, {}}
	l.places = make(map[int64][2]mail.Place, len(boxes))
	for _, b := range boxes {
		var at [2]mail.Place
		for s := range at {
			if b.info[s] != nil {
				at[s] = mail.Place{Mailbox: b.rec.Name[s], Validity: b.rec.Validity[s]}
			}
		}
		l.places[b.rec.ID] = at
	}
}

// claim makes the caller the one that copies a message to a side, unless somebody is.
func (l *links) claim(to state.Side, key uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claims[to][key] {
		return false
	}
	l.claims[to][key] = true
	return true
}

// release ends claims: what became of the messages is in the journal.
func (l *links) release(to state.Side, keys []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		delete(l.claims[to], key)
	}
}

// mayWait reports whether a row may wait for another mailbox, as it has not yet.
func (l *links) mayWait(row *state.Row) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return row == nil || !l.waited[row.ID]
}

func (l *links) wait(rows []*state.Row) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, row := range rows {
		l.waited[row.ID] = true
	}
}

// viewsLast puts mailboxes of which the others are a part (\All) at the end: what is
// in them comes with the others, and is there by then.
func viewsLast(boxes []*box) []*box {
	all := func(b *box) bool { return b.rec.Use == mail.UseAll }
	if !slices.ContainsFunc(boxes, all) {
		return boxes
	}
	boxes = slices.Clone(boxes)
	slices.SortStableFunc(boxes, func(a, b *box) int {
		switch {
		case all(a) == all(b):
			return 0
		case all(b):
			return -1
		}
		return 1
	})
	return boxes
}

// linkable is a copy that can be made from what the side has.
type linkable struct {
	cp   Copy
	from mail.Place
	id   mail.Identity
}

// linkAndCopy makes copies, those that can be linked first.
func (r *run) linkAndCopy(ctx context.Context, b *box, to state.Side, src, dst mail.Mailbox, copies []Copy) error {
	w, err := writable(dst)
	if err != nil {
		return err
	}
	copies, done, err := r.link(ctx, b, to, w, copies)
	defer done()
	if err != nil || len(copies) == 0 {
		return err
	}
	return r.copyAll(ctx, b, to, src, dst, copies, false)
}

// link makes those of copies that the side can make of messages that it has already,
// and puts off those that another mailbox is bringing. It answers with the copies
// left, which nobody else makes before done is called.
func (r *run) link(ctx context.Context, b *box, to state.Side, dst mail.WritableMailbox, copies []Copy) (left []Copy, done func(), err error) {
	done = func() {}
	if to != state.B || !slices.ContainsFunc(copies, func(c Copy) bool { return c.Msg.ID.ObjectID != "" }) {
		return copies, done, nil
	}
	batch, err := dst.Batch(ctx)
	if err != nil {
		return nil, done, err
	}
	_, can := batch.(mail.Linker)
	batch.Abort()
	if !can {
		return copies, done, nil
	}
	// Claims first: who gets one that another mailbox has given back finds in the
	// journal what it brought.
	ours, claimed := r.claimAll(to, copies)
	done = func() { r.links.release(to, claimed) }
	have, err := r.donors(ctx, to, copies)
	if err != nil {
		return nil, done, err
	}
	var ready []linkable
	var later []Copy
	for i, c := range copies {
		l, there := r.donor(to, c, have[c.Msg.ID.ObjectID])
		switch {
		case !mayLink(c):
			left = append(left, c)
		case there:
			ready = append(ready, l)
		case !ours[i] && r.links.mayWait(c.Row):
			later = append(later, c)
		default:
			left = append(left, c)
		}
	}
	if err = r.putOff(ctx, b, to, later); err != nil {
		return nil, done, err
	}
	again, err := r.linkAll(ctx, b, to, dst, ready)
	return append(left, again...), done, err
}

// mayLink reports whether a copy may be a link: its ID is known, and what it is, too.
func mayLink(c Copy) bool { return c.Msg.ID.ObjectID != "" && len(c.Maybe) == 0 }

// claimAll claims what may be linked, and tells of each of copies whether it did.
func (r *run) claimAll(to state.Side, copies []Copy) (ours []bool, claimed []uint64) {
	ours = make([]bool, len(copies))
	for i, c := range copies {
		if !mayLink(c) {
			continue
		}
		key := maphash.String(r.links.seed, c.Msg.ID.ObjectID)
		if ours[i] = r.links.claim(to, key); ours[i] {
			claimed = append(claimed, key)
		}
	}
	return ours, claimed
}

// donors are the rows of messages that side to has, by object ID.
func (r *run) donors(ctx context.Context, to state.Side, copies []Copy) (map[string][]*state.Row, error) {
	var ids []string
	for _, c := range copies {
		if mayLink(c) {
			ids = append(ids, c.Msg.ID.ObjectID)
		}
	}
	rows, err := r.Journal.ByObject(ctx, ids)
	if err != nil {
		return nil, err
	}
	have := make(map[string][]*state.Row)
	for _, row := range rows {
		// The ID is side A's only where side A had the message. What was repaired for a
		// side is another message there.
		if row.Sent == nil && row.Status == state.Here && row.Alive(to) && !row.Ref[to.Other()].IsZero() && row.Ident.Digest.Known() {
			have[row.Ident.ObjectID] = append(have[row.Ident.ObjectID], row)
		}
	}
	return have, nil
}

// donor chooses among the rows of one object ID: the same size, the same date if
// there is one, in a mailbox of this run.
func (r *run) donor(to state.Side, c Copy, rows []*state.Row) (linkable, bool) {
	var best linkable
	for _, row := range rows {
		at := r.links.places[row.Mailbox][to]
		if at.Mailbox == "" || c.Msg.Size >= 0 && c.Msg.Size != row.Size || !sameContent(c.Msg.ID, row.Ident) {
			continue
		}
		at.Ref, at.Date = row.Ref[to], row.Date
		same := row.Date.Unix() == c.Msg.Date.Unix()
		if best.from.Mailbox == "" || same {
			best = linkable{c, at, joinIdentity(row.Ident, c.Msg.ID)}
			best.cp.Msg.Size = row.Size
		}
		if same {
			break
		}
	}
	return best, best.from.Mailbox != ""
}

// errElsewhere is the journal's note on a message that another mailbox is bringing.
var errElsewhere = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindOther, Err: errors.New("it comes with another mailbox that has it, too")}

// putOff writes down messages that another mailbox is bringing: they are lined up
// for the next pass, and for the next run when there is none.
func (r *run) putOff(ctx context.Context, b *box, to state.Side, copies []Copy) error {
	if len(copies) == 0 {
		return nil
	}
	var tx state.Tx
	c := &copier{r: r, b: b, to: to, from: to.Other()}
	for i := range copies {
		row := c.row(&copies[i], copies[i].Msg)
		row.Ref[to], row.Gone[to] = mail.Ref{}, 0
		tx.Rows = append(tx.Rows, row)
		tx.Problems = append(tx.Problems, problemOf(quarantined{row, to, errElsewhere}, state.Problem{}))
	}
	if err := commit(ctx, r.Journal, &tx, false); err != nil {
		return err
	}
	r.links.wait(tx.Rows)
	for _, row := range tx.Rows {
		b.problems[row.ID], b.waiting[row.ID] = true, true
	}
	return nil
}
