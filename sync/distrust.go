package sync

import (
	"context"
	"fmt"

	"postbag/internal/mail"
	"postbag/state"
)

// distrust makes the mailboxes of the run be looked at from the beginning, once,
// when the journal turns out to be damaged: it forgets bad rows, and their
// messages, which no delta would tell of, have to be paired again by content. It
// tells whether that is so. The commit makes the journal forget first.
func (r *run) distrust(ctx context.Context) (bool, error) {
	journal, ok := r.Journal.(interface{ Damage() state.Damage })
	if !ok || r.DryRun {
		return false, nil
	}
	n := journal.Damage().Total()
	if n <= r.damage {
		return false, nil
	}
	r.damage = n
	r.rep.problem(Problem{Size: -1, Kind: mail.KindIntegrity, Warning: true,
		Reason: fmt.Sprintf("the state was damaged (%d entries): everything is compared anew, and nothing is deleted for it", n),
		Hint:   "check the disk"})
	var tx state.Tx
	for _, b := range r.boxes {
		b.rec.Cursor, b.rec.Stamp = [2]mail.Cursor{}, [2]string{}
		for s := range b.look {
			b.look[s] = b.info[s] != nil
		}
		tx.Mailboxes = append(tx.Mailboxes, b.rec)
	}
	if err := commit(ctx, r.Journal, &tx, false); err != nil {
		return true, err
	}
	for _, b := range r.boxes {
		b.saved = *b.rec
		b.counted = [2]bool{}
	}
	return true, nil
}
