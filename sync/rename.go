package sync

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// renamed is a mailbox, and so its children, under a new name on one side.
type renamed struct {
	side     state.Side
	from, to string
}

// renameRounds bounds how often both sides are listed for renames of our own.
const renameRounds = 100

var errNames = errors.New("the names of mailboxes kept changing")

// settledTree plans the names, and renames what is to be renamed, until there is
// nothing left of that: a rename takes along what is below, also what nobody knew of,
// and makes room for the next.
func (r *run) settledTree(ctx context.Context) (in TreeInput, joins []Join, err error) {
	r.stuck = [2]map[int64]bool{{}, {}}
	for range renameRounds {
		if in, joins, err = r.plannedTree(ctx); err != nil {
			return in, nil, err
		}
		r.renames = nil
		// What all are called and are to be called is written down before any is renamed.
		if noted, err := r.noteNames(ctx, in, joins); err != nil {
			return in, nil, err
		} else if noted {
			continue
		}
		if err := r.renameJoins(ctx, in.Records, joins); err != nil {
			return in, nil, err
		}
		if len(r.renames) == 0 {
			break
		}
	}
	if !r.DryRun {
		keepApart(joins)
	}
	for i := range joins {
		j := &joins[i]
		for s := range j.Rename {
			if j.Rename[s] != "" && !r.DryRun && !r.stuck[s][j.Record.ID] {
				r.rep.fail(j.Rename[s], state.Side(s), &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindOther, Err: errNames, Hint: "the next run goes on with it"})
				r.stuck[s][j.Record.ID] = true
			}
			j.Failed = j.Failed || j.Record.ID != 0 && r.stuck[s][j.Record.ID]
		}
	}
	return in, joins, nil
}

// keepApart leaves out what is to be made under a name that another mailbox has still,
// because that one could not be renamed.
func keepApart(joins []Join) {
	var names [2]map[string]bool
	for s := range names {
		names[s] = make(map[string]bool, len(joins))
		for i := range joins {
			if info := joins[i].Info[s]; info != nil {
				names[s][info.Name] = true
			}
		}
	}
	for i := range joins {
		for s, create := range joins[i].Create {
			if create && names[s][joins[i].Record.Name[s]] {
				joins[i].Create[s], joins[i].Taken[s] = false, true
			}
		}
	}
}

// known are the mailboxes on record, as the state has them, and those of the run among
// them.
type known struct {
	records []*state.Mailbox
	joins   map[int64]*Join
}

// renameJoins renames what joins want renamed, in the order of the new names.
func (r *run) renameJoins(ctx context.Context, records []*state.Mailbox, joins []Join) error {
	if r.DryRun {
		return nil
	}
	all := known{records, make(map[int64]*Join, len(joins))}
	for i := range joins {
		all.joins[joins[i].Record.ID] = &joins[i]
	}
	for s := range r.store {
		var todo []*Join
		for i := range joins {
			if joins[i].Rename[s] != "" && !r.stuck[s][joins[i].Record.ID] {
				todo = append(todo, &joins[i])
			}
		}
		slices.SortFunc(todo, func(a, b *Join) int { return cmp.Compare(a.Rename[s], b.Rename[s]) })
		for _, j := range todo {
			if err := r.renameJoin(ctx, all, j, state.Side(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// renameJoin renames one mailbox on a side. What fails here spoils this mailbox
// only.
func (r *run) renameJoin(ctx context.Context, all known, j *Join, s state.Side) error {
	to := j.Rename[s]
	if err := r.rename(ctx, j.Record, s, to); err != nil {
		if mail.AsError(err).Scope == mail.ScopeAccount {
			return err
		}
		r.stuck[s][j.Record.ID] = true
		r.rep.fail(to, s, err)
		return nil
	}
	if o := s.Other(); j.Info[o] == nil && j.Saved.Name[o] != "" { // put aside
		j.Record.Name[o] = to
	} else if j.Info[o] == nil { // until it is made there
		j.Record.Name[o] = ""
	}
	validity := j.Record.Validity[s]
	if err := r.renumbered(ctx, j.Record, s, ""); err != nil {
		return err
	}
	tx := state.Tx{Mailboxes: []*state.Mailbox{j.Record}}
	if err := r.takeAlong(ctx, &tx, all, j, s, validity != j.Record.Validity[s]); err != nil {
		return err
	}
	// At once, and with what went along: nothing else tells the old names from the new.
	if err := commit(ctx, r.Journal, &tx, false); err != nil {
		return err
	}
	j.Saved = *j.Record
	for _, rec := range all.records {
		if rec.ID == j.Record.ID {
			*rec = *j.Record
		}
	}
	return nil
}

// takeAlong gives what is below a mailbox that was renamed on side s the names that it
// has now, and adds its records to tx; anew says that this side numbers what is renamed
// anew.
func (r *run) takeAlong(ctx context.Context, tx *state.Tx, all known, top *Join, s state.Side, anew bool) error {
	names := [2]map[string]string{{}, {}}
	for i, old := range top.Saved.Name {
		if old != "" && old != top.Record.Name[i] {
			names[i][old] = top.Record.Name[i]
		}
	}
	for _, below := range all.records {
		j := all.joins[below.ID]
		if j == nil {
			j = &Join{Record: &state.Mailbox{}, Info: top.Info}
		}
		var stays [2]bool
		for i := range stays { // what is not there has a place below what is not there
			stays[i] = j.left[i] || (j.Info[i] == nil) != (top.Info[i] == nil)
		}
		was := below.Name
		if j == top || !carried(below, names, stays) {
			continue
		}
		if below.Name[s] != was[s] {
			r.formerly[s] = append(r.formerly[s], was[s])
			if anew && all.joins[below.ID] != nil {
				if err := r.renumbered(ctx, below, s, ""); err != nil {
					return err
				}
			}
		}
		j.Saved, j.Record.Name, j.Record.Validity, j.Record.Stamp = *below, below.Name, below.Validity, below.Stamp
		tx.Mailboxes = append(tx.Mailboxes, below)
	}
	return nil
}

// noteNames writes down all at once what mailboxes are called now, and what they are to
// be called: what is on record of one tells whether those below it went along or were
// renamed themselves. noted reports whether anything was new.
func (r *run) noteNames(ctx context.Context, in TreeInput, joins []Join) (noted bool, err error) {
	if r.DryRun {
		return false, nil
	}
	var tx state.Tx
	names := [2]map[string]string{{}, {}}
	joined := make(map[int64]bool, len(joins))
	for i := range joins {
		j := &joins[i]
		// A new one that is to be renamed gets a record: what is below it goes along.
		if joined[j.Record.ID] = true; j.Record.ID == 0 && j.Rename == [2]string{} {
			continue
		}
		is := j.Saved
		is.Name, is.Subscribed, is.Renaming = j.Record.Name, j.Record.Subscribed, j.Record.Renaming
		for s := range j.Info {
			if j.Info[s] == nil && (j.anew[s] || j.Saved.Name[s] == "") { // until it is made
				is.Name[s], is.Cursor[s] = "", ""
			}
		}
		if is.Name == j.Saved.Name && is.Renaming == j.Saved.Renaming {
			continue
		}
		for s, info := range j.Info {
			if is.Name[s] != "" && j.Saved.Name[s] != "" {
				names[s][j.Saved.Name[s]] = is.Name[s]
			}
			if !j.moved(state.Side(s)) {
				continue
			}
			// Perhaps a run was cut off after it.
			if err := r.renumbered(ctx, j.Record, state.Side(s), info.Validity); err != nil {
				return false, err
			}
		}
		is.Validity, is.Stamp = j.Record.Validity, j.Record.Stamp
		j.Saved = is
		tx.Mailboxes = append(tx.Mailboxes, &is)
	}
	for _, rec := range in.Records {
		other := *rec
		if !joined[rec.ID] && carried(&other, names, [2]bool{}) {
			tx.Mailboxes = append(tx.Mailboxes, &other)
		}
	}
	if len(tx.Mailboxes) == 0 {
		return false, nil
	}
	return true, commit(ctx, r.Journal, &tx, false)
}

// renumbered looks whether a mailbox that has a new name, because this sync gave it
// that, is numbered anew for it, and notes it in the record: then the numbers mean
// nothing any more, and everything else that is on record does. validity is the one
// that it has now, "" when that is not known.
func (r *run) renumbered(ctx context.Context, rec *state.Mailbox, s state.Side, validity string) error {
	if was := rec.Validity[s]; r.DryRun || was == "" || was == voiding || was == voidingRenamed {
		return nil
	}
	if validity == "" {
		mb, err := r.store[s].Examine(ctx, rec.Name[s])
		if err != nil {
			if mail.AsError(err).Scope == mail.ScopeAccount {
				return err
			}
			return nil // the look tells
		}
		defer mb.Close()
		validity = mb.Info().Validity
	}
	if validity != rec.Validity[s] {
		rec.Validity[s], rec.Stamp[s] = voidingRenamed, ""
	}
	return nil
}

// rename renames a mailbox on one side as the other side did. Its parent may
// have taken it along.
func (r *run) rename(ctx context.Context, rec *state.Mailbox, s state.Side, to string) error {
	if from := rec.Name[s]; from != to {
		if err := r.store[s].Rename(ctx, from, to); err != nil {
			return err
		}
		r.renames = append(r.renames, renamed{s, from, to})
		r.Progress.Note("%s: renamed to %s", from, to)
	}
	r.formerly[s] = append(r.formerly[s], rec.Name[s])
	rec.Name[s] = to
	return nil
}
