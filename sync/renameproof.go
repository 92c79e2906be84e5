package sync

import (
	"context"
	"errors"
	"time"

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
				same, err := r.proved(ctx, g, state.Side(s))
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

// proved is sameMailbox, again while an error may pass: what could not be asked is no
// answer.
func (r *run) proved(ctx context.Context, g Guess, s state.Side) (same bool, err error) {
	for failures := 0; ; failures++ {
		same, err = r.sameMailbox(ctx, g.Record, s, g.Name)
		e := mail.AsError(err)
		if e == nil || e.Scope == mail.ScopeAccount || failures+1 >= maxFailures || e.RetryAfter > longestWait {
			return same, err
		}
		if err := r.Sleep(ctx, r.Jitter(max(e.RetryAfter, min(time.Second<<failures, longestWait)))); err != nil {
			return false, err
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
		return false, passing(err)
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
	return err == nil && found > 0 && same, passing(err)
}

// passing is err, unless it is one of this mailbox alone that will be the same again: then
// the mailbox cannot be looked into.
func passing(err error) error {
	if e := mail.AsError(err); e == nil || !e.Temporary && e.Scope != mail.ScopeAccount {
		return nil
	}
	return err
}
