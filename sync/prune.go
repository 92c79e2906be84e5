package sync

import (
	"context"
	"errors"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// PruneOptions say what to remove for good.
type PruneOptions struct {
	B       mail.Store // opened so that Remove keeps nothing
	Journal Journal
	// Old reports whether a message that this run saw go from side A may be removed.
	Old    func(run int64) bool
	Match  func(mail.MailboxInfo) bool
	Guard  Limits
	DryRun bool
}

var (
	errMadeAnew  = errors.New("the mailbox was made anew in the Maildir since the last run")
	errUnmatched = errors.New("the server numbers its messages anew, and they have not been matched yet")
)

// Prune removes from side B, for good, the messages that side A deleted long ago and
// B keeps: those that the journal has on record as gone from A, and no others. It
// asks side A nothing. The guard looks at all of it before anything is removed. In
// each mailbox the journal is durable first, then the files go, then their rows: what
// a crash leaves is a row whose file is gone, which the next prune, or the next run,
// finishes. A mailbox that is in the middle of being matched anew is left alone.
func Prune(ctx context.Context, o PruneOptions) (*Report, error) {
	r := &run{Options: Options{B: o.B, Journal: o.Journal, DryRun: o.DryRun, Guard: o.Guard, Progress: silent{}}, store: [2]mail.Store{nil, o.B}}
	r.rep.report.Command, r.rep.report.DryRun = "prune", o.DryRun
	err := r.prune(ctx, o)
	r.rep.report.Outcome = outcomeOf(ctx, err)
	report := r.rep.finish()
	if !o.DryRun {
		end := r.Journal.Finish(context.WithoutCancel(ctx), string(report.Outcome), report.Summary())
		if err == nil && end != nil {
			report.Outcome, err = Failed, end
		}
	}
	return report, err
}

// pruned is what is to be removed of one mailbox.
type pruned struct {
	box  *box
	rows []*state.Row
	held int
}

func (r *run) prune(ctx context.Context, o PruneOptions) error {
	records, err := r.Journal.Mailboxes(ctx)
	if err != nil {
		return err
	}
	var todo []pruned
	var losses []Loss
	for _, rec := range records {
		b := newBox(&Join{Record: rec, Saved: *rec})
		if rec.Name[state.B] == "" || !o.Match(mail.MailboxInfo{Name: b.name(), Use: rec.Use}) {
			continue
		}
		r.boxes = append(r.boxes, b)
		p := pruned{box: b, held: r.Journal.Known(rec.ID, state.B).Count()}
		if err := r.Journal.Each(ctx, rec.ID, func(row *state.Row) error {
			if row.Status == state.Here && row.Gone[state.A] != 0 && row.Alive(state.B) && o.Old(row.Gone[state.A]) {
				p.rows = append(p.rows, row)
			}
			return nil
		}); err != nil {
			return err
		}
		if len(p.rows) > 0 && unmatched(rec) {
			r.rep.fail(b.name(), state.A, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindOther, Err: errUnmatched, Hint: "run the backup first"})
			p.rows = nil
		}
		losses = append(losses, Loss{Mailbox: b.name(), Side: state.B, Delete: len(p.rows), Held: p.held})
		if len(p.rows) > 0 {
			todo = append(todo, p)
		}
	}
	r.rep.report.Mailboxes.Total = len(losses)
	if err := Guard(losses, o.Guard); err != nil {
		return err
	}
	for _, p := range todo {
		if err := r.pruneBox(ctx, p); err != nil {
			if mail.AsError(err).Scope != mail.ScopeMailbox || ctx.Err() != nil {
				return err
			}
			r.rep.fail(p.box.name(), state.B, err)
		}
	}
	return nil
}

// unmatched reports whether side A's messages may be there under refs that nobody has
// seen yet: then that a row says "gone" means nothing.
func unmatched(rec *state.Mailbox) bool {
	return rec.Validity[state.A] == voiding || rec.Validity[state.A] == voidingRenamed || rec.Name[state.A] != "" && rec.Gone[state.A] == 0 && rec.Cursor[state.A] == ""
}

func (r *run) pruneBox(ctx context.Context, p pruned) error {
	if r.DryRun {
		r.rep.count(p.box.name(), state.B, Counts{Deleted: len(p.rows), Bytes: bytesOf(p.rows)})
		return nil
	}
	mb, err := r.B.Select(ctx, p.box.rec.Name[state.B])
	if err != nil {
		return err
	}
	defer mb.Close()
	if mb.Info().Validity != p.box.rec.Validity[state.B] {
		return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindOther, Mailbox: p.box.name(), Err: errMadeAnew, Hint: "run the backup first"}
	}
	// Whatever is on record must be so before what it is about goes.
	if err := commit(ctx, r.Journal, &state.Tx{Mailboxes: []*state.Mailbox{p.box.rec}}, true); err != nil {
		return err
	}
	for chunk := range slices.Chunk(p.rows, rowsAtOnce) {
		byRef := make(map[mail.Ref]*state.Row, len(chunk))
		var refs []mail.Ref
		for _, row := range chunk {
			byRef[row.Ref[state.B]] = row
			refs = append(refs, row.Ref[state.B])
		}
		slices.SortFunc(refs, mail.Ref.Compare)
		removed, err := mb.Remove(ctx, refs)
		var tx state.Tx
		var rows []*state.Row
		for _, ref := range removed {
			if row := byRef[ref]; row != nil {
				tx.Delete = append(tx.Delete, row.ID)
				rows = append(rows, row)
				delete(byRef, ref)
			}
		}
		r.rep.count(p.box.name(), state.B, Counts{Deleted: len(rows), Bytes: bytesOf(rows)})
		if err := errors.Join(err, commit(context.WithoutCancel(ctx), r.Journal, &tx, true)); err != nil {
			return err
		}
		for ref, row := range byRef {
			r.rep.problem(Problem{Mailbox: p.box.name(), Side: state.B, Ref: ref, Date: row.Date, Size: row.Size, Kind: mail.KindRefused,
				Reason: "the message could not be removed"})
		}
	}
	return nil
}

func bytesOf(rows []*state.Row) (n int64) {
	for _, row := range rows {
		n += max(row.Size, 0)
	}
	return n
}
