package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postbag/internal/mail"
	"postbag/state"
)

// names lists both sides, joins them with the state, and makes and renames
// mailboxes. It decides which boxes need a look.
func (r *run) names(ctx context.Context) error {
	in, joins, err := r.settledTree(ctx)
	if err != nil {
		return err
	}
	r.rep.report.Mailboxes.Total = len(joins)
	for i := range joins {
		if err := r.enter(ctx, &joins[i]); err != nil {
			return err
		}
	}
	return r.vanished(ctx, in, joins)
}

// plannedTree lists both sides and plans the names.
func (r *run) plannedTree(ctx context.Context) (in TreeInput, joins []Join, err error) {
	in.Policy, in.Stuck = r.Policy, r.stuck
	if in.Records, err = r.Journal.Mailboxes(ctx); err != nil {
		return in, nil, err
	}
	if in.Listed, in.Excluded, err = r.list(ctx, in.Records); err != nil {
		return in, nil, err
	}
	if err := r.emptySide(in); err != nil {
		return in, nil, err
	}
	joins, err = r.planTree(ctx, in)
	return in, joins, err
}

// list lists both sides at once. Mailboxes that cannot be used are reported,
// those that are not selected left out. excluded tells the names that are in
// neither listing: not selected, or such that a side cannot say whether it has
// them.
func (r *run) list(ctx context.Context, records []*state.Mailbox) (listed [2][]mail.MailboxInfo, excluded func(string) bool, err error) {
	all, err := r.listAll(ctx)
	if err != nil {
		return listed, nil, err
	}
	selected := r.selected(records, all)
	var unusable [2][]string
	r.broken = [2]map[string]bool{{}, {}}
	for s, infos := range all {
		for _, info := range infos {
			switch {
			case !selected(info.Name) || info.NoSelect:
			case info.Err != nil:
				r.rep.fail(info.Name, state.Side(s), info.Err)
				r.broken[s][info.Name] = true
				if mail.AsError(info.Err).Kind != mail.KindGone { // else the side is sure: it was lost, or never quite made
					unusable[s] = append(unusable[s], info.Name)
				}
			default:
				listed[s] = append(listed[s], info)
			}
		}
	}
	unknown := unknownNames(listed, unusable)
	for s := range listed {
		listed[s] = slices.DeleteFunc(listed[s], func(i mail.MailboxInfo) bool { return unknown(i.Name) })
	}
	return listed, func(name string) bool { return !selected(name) || unknown(name) }, nil
}

// selected tells the names that the run works on. A role that one side tells of a
// name, or that is on record, is that of the name on both: a Maildir tells none.
func (r *run) selected(records []*state.Mailbox, listed [2][]mail.MailboxInfo) func(name string) bool {
	uses, views := make(map[string]mail.SpecialUse), make(map[string]bool)
	for _, rec := range records {
		for _, name := range rec.Name {
			uses[name] = cmp.Or(uses[name], rec.Use)
		}
	}
	for _, infos := range listed {
		for _, info := range infos {
			if info.Use != "" {
				uses[info.Name] = info.Use
			}
			views[info.Name] = views[info.Name] || info.View
		}
	}
	byID := make(map[int64]*state.Mailbox, len(records))
	for _, rec := range records {
		byID[rec.ID] = rec
	}
	return func(name string) bool {
		first, _, _ := strings.Cut(name, "/")
		if rec := byID[temporaryID(first)]; rec != nil {
			name = cmp.Or(rec.Renaming[0], rec.Name[0], rec.Name[1]) + name[len(first):]
		}
		return r.Match(mail.MailboxInfo{Name: name, Use: uses[name], View: views[name]})
	}
}

// listAll lists both sides as they are.
func (r *run) listAll(ctx context.Context) (all [2][]mail.MailboxInfo, err error) {
	type answer struct {
		side  state.Side
		infos []mail.MailboxInfo
		err   error
	}
	answers := make(chan answer)
	for s, store := range r.store {
		go func() {
			infos, err := store.List(ctx)
			answers <- answer{state.Side(s), infos, err}
		}()
	}
	for range r.store {
		a := <-answers
		if a.err != nil && (err == nil || a.side == state.A) {
			err = a.err
		}
		all[a.side] = a.infos
	}
	return all, err
}

// unknownNames is true of the names that a side lists and cannot use, and of
// those below them that it does not list: a directory that cannot be read hides
// what is in it.
func unknownNames(listed [2][]mail.MailboxInfo, unusable [2][]string) func(string) bool {
	var has [2]map[string]bool
	for s := range has {
		has[s] = make(map[string]bool, len(listed[s]))
		for _, i := range listed[s] {
			has[s][i.Name] = true
		}
	}
	return func(name string) bool {
		for s, bad := range unusable {
			for _, b := range bad {
				if name == b || strings.HasPrefix(name, b+"/") && !has[s][name] {
					return true
				}
			}
		}
		return false
	}
}

// emptySide refuses to go on when a side that held mailboxes lists none at all:
// a wrong account, a server in trouble, a disk that is not mounted.
func (r *run) emptySide(in TreeInput) error {
	for s, infos := range in.Listed {
		if len(infos) > 0 {
			continue
		}
		for _, rec := range in.Records {
			if rec.Name[s] != "" && rec.Gone[s] == 0 && !in.Excluded(rec.Name[s]) {
				return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindGuard, Op: "list",
					Err:  fmt.Errorf("%s lists no mailbox at all, and had %q at the last run", r.store[s].Account(), rec.Name[s]),
					Hint: "nothing was changed; check that it is the right account and that it is all there"}
			}
		}
	}
	return nil
}

var errTaken = errors.New("this side has another mailbox of that name, which has another name on the other side")

// enter makes a box of a join. What fails here spoils this mailbox only.
func (r *run) enter(ctx context.Context, j *Join) error {
	b := newBox(j)
	for s := range j.Info {
		side := state.Side(s)
		if j.Taken[s] {
			r.rep.fail(b.name(), side, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindRefused, Op: "create", Mailbox: b.name(),
				Err: errTaken, Hint: "rename that one, on both sides"})
			return nil
		}
		if !j.Create[s] {
			continue
		}
		if r.DryRun {
			r.rep.made(b.name())
			continue
		}
		if j.Record.Validity[s] != "" { // on record before it is made, see void
			b.rec.Gone[s] = cmp.Or(b.rec.Gone[s], thisRun)
			if err := r.save(ctx, b); err != nil {
				return err
			}
		}
		err := r.store[s].Create(ctx, j.Record.Name[s], j.Record.Use)
		if err != nil {
			if e := mail.AsError(err); e.Scope == mail.ScopeAccount {
				return err
			}
			r.rep.fail(b.name(), side, err)
			return nil
		}
		if j.Record.Validity[s] != "" {
			r.rep.problem(Problem{Mailbox: b.name(), Side: side, Size: -1, Kind: mail.KindGone, Warning: true,
				Reason: "the mailbox was gone from the copy, and was made again for new mail", Hint: "--refill brings its messages back"})
		}
		r.rep.made(b.name())
		b.made[s] = true
		b.info[s] = &mail.MailboxInfo{Name: j.Record.Name[s]}
	}
	if b.info[0] == nil && b.info[1] == nil || j.Failed {
		return nil
	}
	if b.info[0] == nil || b.info[1] == nil {
		// The side that lacks it may not have it, or lost it.
		if !j.Create[0] && !j.Create[1] {
			lost := state.A
			if b.info[0] != nil {
				lost = state.B
			}
			return r.enterOrphan(ctx, b, lost)
		}
	}
	r.boxes = append(r.boxes, b)
	return r.enterState(ctx, b)
}

// enterState commits the record of a box that is new or renamed, and decides
// whether it needs a look.
func (r *run) enterState(ctx context.Context, b *box) error {
	fresh := b.rec.ID == 0
	for s, info := range b.info {
		if info != nil && info.ObjectID != "" {
			b.rec.ObjectID[s] = info.ObjectID
		}
	}
	if !fresh && *b.rec != b.saved || fresh {
		if err := r.save(ctx, b); err != nil {
			return err
		}
	}
	if r.DryRun && fresh { // a number that no row has
		b.rec.ID = -int64(len(r.boxes))
	}
	unchanged := !fresh && b.rec.Filter == r.scope()
	for s, info := range b.info {
		b.look[s] = info != nil && (info.Stamp == "" || info.Stamp != b.rec.Stamp[s] || fresh || b.rec.Gone[s] != 0)
	}
	if !unchanged {
		b.look = [2]bool{b.info[0] != nil, b.info[1] != nil}
	}
	if !b.look[0] && !b.look[1] && !r.Refill {
		r.rep.skipped()
	}
	return nil
}

// save commits a box's record when it differs from what is committed.
func (r *run) save(ctx context.Context, b *box) error {
	if r.DryRun || b.rec.ID != 0 && *b.rec == b.saved {
		return nil
	}
	if err := commit(ctx, r.Journal, &state.Tx{Mailboxes: []*state.Mailbox{b.rec}}, false); err != nil {
		return err
	}
	b.saved = *b.rec
	return nil
}

// vanished forgets the mailboxes that both sides have no more.
func (r *run) vanished(ctx context.Context, in TreeInput, joins []Join) error {
	if r.DryRun {
		return nil
	}
	for _, rec := range Vanished(in, joins) {
		if err := r.forgetMailbox(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// voiding is the validity on record while the rows of a side lose their refs, and
// voidingRenamed while they do because the sync itself renamed the mailbox, on a
// server that numbers it anew for that. No store has them.
const (
	voiding        = "voiding"
	voidingRenamed = "voiding: renamed"
)

var errVoid = errors.New("the mailbox was made anew")

// void is called when a side's validity is not the one on record: every ref of
// that side is void. The rows stay, without it, to be paired again by identity;
// those that hold nothing else are forgotten. What is not found again counts as
// gone there; but where both sides may have new messages, and the mailbox was not
// lost before, as new on the other side: nobody saw it go. After a rename of our own
// they keep what both sides agreed on, too: it is known what happened. A crash in the
// middle leaves voiding on record, and the next run does it again.
func (r *run) void(ctx context.Context, b *box, s state.Side, validity string) error {
	o := s.Other()
	union := b.rec.Gone[s] == 0 && r.Policy.May[s].New && r.Policy.May[o].New
	if b.rec.Validity[s] != "" && b.rec.Validity[s] != voiding {
		r.Progress.Note("%s: %s numbers its messages anew; matching them by content", b.name(), r.store[s].Account())
	}
	renamed := b.rec.Validity[s] == voidingRenamed
	if !renamed {
		b.rec.Validity[s] = voiding
	}
	b.rec.Cursor[s], b.rec.Stamp[s] = "", ""
	if err := r.save(ctx, b); err != nil {
		return err
	}
	var tx state.Tx
	flush := func() error {
		err := commit(ctx, r.Journal, &tx, false)
		tx = state.Tx{}
		return err
	}
	var rows []*state.Row
	if err := r.Journal.Each(ctx, b.rec.ID, func(row *state.Row) error {
		if !row.Ref[s].IsZero() {
			rows = append(rows, row)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, row := range rows {
		if row.Status != state.Here {
			return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindProtocol, Mailbox: b.name(), Err: errVoid, Temporary: true}
		}
		switch {
		case row.Ref[o].IsZero():
			tx.Delete = append(tx.Delete, row.ID)
			b.forget(row.ID)
		case union && row.Alive(o) && row.Gone[s] == 0 && r.Filter.Pass(rowMessage(row, o)):
			if renamed && row.Mark == "" {
				row.Mark = markBase(row.Flags)
			}
			row.Ref[s], row.Flags[s] = mail.Ref{}, mail.Flags{}
			tx.Rows = append(tx.Rows, row)
			tx.Problems = append(tx.Problems, problemOf(quarantined{row, s, errWaiting}, state.Problem{}))
			b.problems[row.ID] = true
			b.line(row)
		default:
			row.Ref[s], row.Gone[s] = mail.Ref{}, cmp.Or(row.Gone[s], thisRun)
			tx.Rows = append(tx.Rows, row)
		}
		if len(tx.Rows)+len(tx.Delete) >= 2000 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	b.rec.Validity[s], b.rec.Gone[s] = validity, 0
	b.look[s], b.counted[s] = true, false
	return r.save(ctx, b)
}

// ghosts loads the rows that hold nothing but the memory of a message that was
// removed from side o, while side s is listed from the beginning.
func (r *run) ghosts(ctx context.Context, b *box, s state.Side) error {
	o := s.Other()
	b.ghost[o] = nil
	return r.Journal.Each(ctx, b.rec.ID, func(row *state.Row) error {
		if row.Ref[s].IsZero() && row.Gone[o] != 0 {
			b.ghost[o] = append(b.ghost[o], row)
		}
		return nil
	})
}
