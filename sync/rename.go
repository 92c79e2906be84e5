package sync

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"postbag/internal/mail"
	"postbag/state"
)

// planTree plans the names, and looks into mailboxes that may be ones on record
// under a new name until none is a guess.
func (r *run) planTree(ctx context.Context, in TreeInput) ([]Join, error) {
	in.NotRenamed = [2]map[Guess]bool{{}, {}}
	proved := [2]map[Guess]bool{{}, {}}
	for {
		joins := PlanTree(in)
		wrong := false
		for i := range joins {
			for s, guess := range joins[i].Guess {
				g := Guess{joins[i].Record.ID, joins[i].Record.Name[s]}
				if !guess || proved[s][g] {
					continue
				}
				same, err := r.sameMailbox(ctx, g.Record, state.Side(s), g.Name)
				if err != nil {
					return nil, err
				}
				if proved[s][g], in.NotRenamed[s][g] = same, !same; !same {
					wrong = true
				}
			}
		}
		if !wrong {
			return joins, nil
		}
	}
}

// renameProof is how many known messages must be found in a mailbox that is
// taken for a renamed one, or all when there are fewer.
const renameProof = 16

var errEnough = errors.New("enough")

// sameMailbox looks for the messages that the state knows of a mailbox in the one
// that is now called name. Each that is there must be what the state says, and
// there must be one.
func (r *run) sameMailbox(ctx context.Context, id int64, s state.Side, name string) (bool, error) {
	var refs []mail.Ref
	err := r.Journal.Known(id, s).Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, _ mail.Flags) error {
		if refs = append(refs, ref); len(refs) == renameProof {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || len(refs) == 0 {
		return false, err
	}
	rows, err := r.Journal.ByRef(ctx, id, s, refs)
	if err != nil {
		return false, err
	}
	byRef := make(map[mail.Ref]*state.Row, len(rows))
	for _, row := range rows {
		byRef[row.Ref[s]] = row
	}
	mb, err := r.store[s].Examine(ctx, name)
	if err != nil {
		if mail.AsError(err).Scope == mail.ScopeAccount {
			return false, err
		}
		return false, nil
	}
	defer mb.Close()
	found, same := 0, true
	err = mb.Describe(ctx, refs, false, func(m mail.Message) error {
		row := byRef[m.Ref]
		found++
		if same = same && row != nil; same {
			known := rowMessage(row, s)
			same = known.Size == m.Size && (!known.ID.Described || known.ID.MessageID == m.ID.MessageID)
		}
		return nil
	})
	return found > 0 && same, err
}

// renamed is a mailbox, and so its children, under a new name on one side.
type renamed struct {
	side     state.Side
	from, to string
}

// renameJoins renames what joins want renamed, in the order of the new names: a
// mailbox before those that go below it.
func (r *run) renameJoins(ctx context.Context, joins []Join) error {
	if r.DryRun {
		return nil
	}
	for s := range r.store {
		var todo []*Join
		for i := range joins {
			if joins[i].Rename[s] != "" {
				todo = append(todo, &joins[i])
			}
		}
		slices.SortFunc(todo, func(a, b *Join) int { return cmp.Compare(a.Rename[s], b.Rename[s]) })
		for _, j := range todo {
			if err := r.renameJoin(ctx, j, state.Side(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

// renameJoin renames one mailbox on a side. What fails here spoils this mailbox
// only.
func (r *run) renameJoin(ctx context.Context, j *Join, s state.Side) error {
	to := j.Rename[s]
	if err := r.rename(ctx, j.Record, s, to); err != nil {
		if mail.AsError(err).Scope == mail.ScopeAccount {
			return err
		}
		j.Failed = true
		r.rep.fail(to, s, err)
		return nil
	}
	info := *j.Info[s]
	info.Name = to
	if info.Stamp != "" { // it has another one now
		info.Stamp = "renamed"
	}
	j.Info[s] = &info
	if j.Record.ID == 0 {
		return nil
	}
	if err := r.renumbered(ctx, j.Record, s, ""); err != nil {
		return err
	}
	// At once: nothing else tells the old name from the new.
	if err := commit(ctx, r.Journal, &state.Tx{Mailboxes: []*state.Mailbox{j.Record}}, false); err != nil {
		return err
	}
	j.Saved = *j.Record
	return nil
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
	from := rec.Name[s]
	for _, done := range r.renames {
		if rest, ok := strings.CutPrefix(from, done.from+"/"); ok && done.side == s {
			from = done.to + "/" + rest
		}
	}
	if from != to {
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
