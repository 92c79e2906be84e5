package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// An orphan is a mailbox that one side had and has no more, while the other still
// has it. What was moved out of it before is moved on the other side; the rest is
// kept there, and its rows say that it is gone. Only where the policy deletes
// mailboxes, and every message in it was on both sides, is it deleted in the end.
// New mail in an orphan makes the mailbox again on the side that lost it, for that
// mail alone.

var errHidden = errors.New("the mailbox is not listed any more, and can still be opened")

// enterOrphan makes a box that side s lost part of the run, unless nothing happened
// in it since that was written down. A mailbox counts as lost only when it cannot be
// opened either: a listing may miss one.
func (r *run) enterOrphan(ctx context.Context, b *box, s state.Side) error {
	o := s.Other()
	name := b.rec.Name[s]
	seen := b.rec.Gone[s] != 0
	idle := seen && b.info[o].Stamp != "" && b.info[o].Stamp == b.rec.Stamp[o]
	if b.rec.ID == 0 || name == "" || name == "INBOX" || r.broken[s][name] || r.Policy.reads(o) || idle && !r.Policy.May[o].DeleteMailboxes {
		r.rep.skipped()
		return nil
	}
	if !seen && !b.replaced {
		mb, err := r.store[s].Examine(ctx, name)
		if err == nil {
			mb.Close()
			err = &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindProtocol, Mailbox: name, Err: errHidden, Hint: "nothing was done in it; the next run looks again"}
		}
		if e := mail.AsError(err); e.Kind != mail.KindGone {
			if e.Scope == mail.ScopeAccount {
				return err
			}
			r.rep.fail(b.name(), s, err)
			return nil
		}
		r.Progress.Note("%s: the mailbox is gone from %s", name, r.store[s].Account())
	}
	b.orphan, b.lost = true, s
	b.rec.Subscribed = state.Unknown // the loss unsubscribed, nobody else
	b.look = [2]bool{}
	b.look[o] = true
	r.boxes = append(r.boxes, b)
	return nil
}

// newlyLost reports whether the loss of one of boxes is not on record yet. Then no
// orphan is made again in this pass, also one that was on record before: a run that
// is cut off with only some of them on record must not find moves between them
// that it would not have found at once.
// One that is not made again waits for those: what was moved out of it may be in them.
func newlyLost(boxes []*box) bool {
	return slices.ContainsFunc(boxes, func(b *box) bool { return b.orphan && b.rec.Gone[b.lost] == 0 && !b.waited })
}

// lookOrphan finds what the loss of a box's mailbox means for its messages, after
// the side that has it was looked at.
func (r *run) lookOrphan(ctx context.Context, b *box) error {
	if hasMail := r.orphanHasMail(b) && !r.DryRun; hasMail && b.rec.Gone[b.lost] != 0 && !r.losing {
		return r.makeAgain(ctx, b)
	} else if hasMail {
		b.again, b.remake = true, true
		b.delta[b.lost.Other()].New = nil
	}
	if b.rec.Gone[b.lost] != 0 {
		return nil
	}
	return r.knownOf(b, b.lost).Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, _ mail.Flags) error {
		b.delta[b.lost].Gone = append(b.delta[b.lost].Gone, ref)
		return nil
	})
}

// orphansFirst are the boxes that a pass acts in: all, unless an orphan has to be
// made again. Then it is that and its like alone, for what was moved out of them: the
// next pass sees all mailboxes that there will be, and what was moved into them.
func (r *run) orphansFirst(boxes []*box) []*box {
	if !slices.ContainsFunc(boxes, func(b *box) bool { return b.remake && b.err == nil && b.orphan }) {
		return boxes
	}
	var first []*box
	for _, b := range boxes {
		if b.orphan && b.remake {
			first = append(first, b)
		} else {
			b.again, b.known, b.waited = true, Plan{}, b.orphan
		}
	}
	return first
}

// orphanHasMail reports whether there is mail in an orphan that the side that lost
// it is to have.
func (r *run) orphanHasMail(b *box) bool {
	may := r.Policy.May[b.lost]
	fresh := func(m mail.Message) bool { return r.Filter.Pass(m) }
	return may.New && may.Mailboxes && (len(b.problems) > 0 || slices.ContainsFunc(b.delta[b.lost.Other()].New, fresh))
}

// makeAgain makes an orphan's mailbox on the side that lost it. That it was lost is
// on record before: then what was in it is not taken for mail that is to be copied.
func (r *run) makeAgain(ctx context.Context, b *box) error {
	s := b.lost
	if b.rec.Gone[s] == 0 {
		b.rec.Gone[s] = thisRun
	}
	b.rec.Cursor[s], b.rec.Stamp[s] = "", ""
	if err := r.save(ctx, b); err != nil {
		return err
	}
	if err := r.store[s].Create(ctx, b.rec.Name[s], b.rec.Use); err != nil {
		return err
	}
	r.rep.problem(Problem{Mailbox: b.name(), Side: s, Size: -1, Kind: mail.KindGone, Warning: true,
		Reason: fmt.Sprintf("the mailbox was deleted from %s, and was made again for new mail", r.store[s].Account())})
	b.info[s] = &mail.MailboxInfo{Name: b.rec.Name[s]}
	b.orphan, b.look[s] = false, true
	return nil
}

// orphanPolicy is the policy for an orphan: nothing goes to the side that lost it,
// and nothing is deleted one by one.
func (b *box) orphanPolicy(p Policy) Policy {
	p = additive(p)
	p.May[b.lost] = Allow{}
	return p
}

// comesBack is called for a mailbox that side s has under its old validity. When it
// was on record as lost, its messages are alive again, and all are looked at.
func (r *run) comesBack(ctx context.Context, b *box, s state.Side) error {
	lost := b.rec.Gone[s]
	if lost == 0 || r.DryRun {
		return nil
	}
	var rows []*state.Row
	if err := r.Journal.Each(ctx, b.rec.ID, func(row *state.Row) error {
		if row.Gone[s] == lost && !row.Ref[s].IsZero() {
			row.Gone[s] = 0
			rows = append(rows, row)
		}
		return nil
	}); err != nil {
		return err
	}
	for chunk := range slices.Chunk(rows, rowsAtOnce) {
		if err := commit(ctx, r.Journal, &state.Tx{Rows: chunk}, false); err != nil {
			return err
		}
	}
	b.rec.Gone[s], b.rec.Cursor[s], b.rec.Stamp[s] = 0, "", ""
	b.look[s], b.counted[s] = true, false
	return r.save(ctx, b)
}

// deleteMailboxes deletes the orphans of this run, the innermost first, after all
// else is done.
func (r *run) deleteMailboxes(ctx context.Context) error {
	var doomed []*box
	for _, b := range r.boxes {
		if b.orphan && b.err == nil && !b.again && r.Policy.May[b.lost.Other()].DeleteMailboxes && (b.rec.Gone[b.lost] != 0 || r.DryRun) {
			doomed = append(doomed, b)
		}
	}
	if len(doomed) == 0 {
		return nil
	}
	slices.SortFunc(doomed, func(a, b *box) int { return cmp.Compare(b.name(), a.name()) })
	var losses []Loss
	for _, b := range r.boxes {
		for _, s := range []state.Side{state.A, state.B} {
			l := Loss{Mailbox: b.name(), Side: s, Held: r.held(b, s)}
			if slices.Contains(doomed, b) && s == b.lost.Other() {
				l.Delete, l.Whole = l.Held, true
			}
			losses = append(losses, l)
		}
	}
	if err := Guard(losses, r.Guard); err != nil {
		return err
	}
	for _, b := range doomed {
		if err := r.deleteMailbox(ctx, b); err != nil {
			if mail.AsError(err).Scope != mail.ScopeMailbox {
				return err
			}
			r.rep.fail(b.name(), b.lost.Other(), err)
		}
	}
	return nil
}

// deleteMailbox deletes an orphan where it still is: its messages one by one, to
// where removed messages go, then the empty mailbox. One that holds a message which
// the other side never had stays.
func (r *run) deleteMailbox(ctx context.Context, b *box) error {
	o := b.lost.Other()
	if r.DryRun {
		r.rep.count(b.name(), o, Counts{Deleted: r.held(b, o)})
		return nil
	}
	refs, err := r.deletable(ctx, b)
	if err != nil || refs == nil {
		return err
	}
	if err := commit(ctx, r.Journal, &state.Tx{Mailboxes: []*state.Mailbox{b.rec}}, true); err != nil {
		return err
	}
	b.saved = *b.rec
	if empty, err := r.emptyOrphan(ctx, b, refs); err != nil || !empty {
		return err
	}
	// On record before it goes: it may be the last one that this side lists.
	b.rec.Gone[o] = thisRun
	if err := commit(ctx, r.Journal, &state.Tx{Mailboxes: []*state.Mailbox{b.rec}}, true); err != nil {
		return err
	}
	b.saved = *b.rec
	if err := r.store[o].Delete(ctx, b.rec.Name[o]); err != nil {
		return err
	}
	r.Progress.Note("%s: the mailbox was deleted from %s", b.name(), r.store[o].Account())
	b.orphan = false
	if err := r.unsubscribe(ctx, o, b.rec.Name[o]); err != nil {
		return err
	}
	return r.forgetMailbox(context.WithoutCancel(ctx), b.rec)
}

// deletable lists the messages of an orphan when all of them were on both sides;
// nil, and a word in the report, when one was not.
func (r *run) deletable(ctx context.Context, b *box) ([]mail.Ref, error) {
	refs := []mail.Ref{}
	alone := 0
	err := r.Journal.Each(ctx, b.rec.ID, func(row *state.Row) error {
		switch o := b.lost.Other(); {
		case row.Status != state.Here || row.Alive(o) && row.Gone[b.lost] == 0:
			alone++
		case row.Alive(o):
			refs = append(refs, row.Ref[o])
		}
		return nil
	})
	if err != nil || alone > 0 {
		r.keepOrphan(b, alone)
		return nil, err
	}
	return refs, nil
}

func (r *run) keepOrphan(b *box, messages int) {
	r.rep.problem(Problem{Mailbox: b.name(), Side: b.lost, Size: -1, Kind: mail.KindOther, Warning: true,
		Reason: fmt.Sprintf("deleted from %s, and kept: it holds mail that was never there (%d messages)", r.store[b.lost].Account(), messages)})
}

// emptyOrphan removes what is known of an orphan, and tells whether nothing is left.
func (r *run) emptyOrphan(ctx context.Context, b *box, refs []mail.Ref) (bool, error) {
	o := b.lost.Other()
	var open sides
	defer open.close()
	mb, err := r.openSide(ctx, b, &open, o)
	if err != nil {
		return false, err
	}
	w, err := writable(mb)
	if err != nil {
		return false, err
	}
	if err := r.changes(ctx, b, o, mb, r.share); err != nil {
		return false, err
	}
	if n := len(b.delta[o].New); n > 0 || b.delta[o].Unsettled != "" {
		r.keepOrphan(b, n)
		return false, nil
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	n := 0
	for chunk := range slices.Chunk(refs, rowsAtOnce) {
		removed, err := w.Remove(ctx, chunk)
		n += len(removed)
		if err != nil {
			r.rep.count(b.name(), o, Counts{Deleted: n})
			return false, err
		}
	}
	r.rep.count(b.name(), o, Counts{Deleted: n})
	if n < len(refs) {
		r.keepOrphan(b, len(refs)-n)
		return false, nil
	}
	if err := r.changes(ctx, b, o, mb, r.share); err != nil {
		return false, err
	}
	if n := len(b.delta[o].New); n > 0 || b.delta[o].Unsettled != "" {
		r.keepOrphan(b, n)
		return false, nil
	}
	return true, nil
}

// rowsAtOnce bounds the rows of one commit where a whole mailbox is gone through.
const rowsAtOnce = 2000

// forgetMailbox forgets a mailbox that no side has any more. Its record stays,
// without a name: numbers of mailboxes are never given twice.
func (r *run) forgetMailbox(ctx context.Context, rec *state.Mailbox) error {
	var ids []int64
	if err := r.Journal.Each(ctx, rec.ID, func(row *state.Row) error {
		ids = append(ids, row.ID)
		return nil
	}); err != nil {
		return err
	}
	for chunk := range slices.Chunk(ids, rowsAtOnce) {
		if err := commit(ctx, r.Journal, &state.Tx{Delete: chunk}, false); err != nil {
			return err
		}
	}
	*rec = state.Mailbox{ID: rec.ID}
	return commit(ctx, r.Journal, &state.Tx{Mailboxes: []*state.Mailbox{rec}}, false)
}
