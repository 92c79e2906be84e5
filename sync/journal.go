package sync

import (
	"context"

	"postbag/internal/mail"
	"postbag/state"
)

// Journal is what the engine needs of the state; *state.DB is one. A Commit
// reaches it whole or not at all, and survives a crash when durable (or when the
// caller makes the filesystem durable afterwards).
type Journal interface {
	Path() string
	Mailboxes(ctx context.Context) ([]*state.Mailbox, error)
	Known(box int64, side state.Side) mail.Known
	ByRef(ctx context.Context, box int64, side state.Side, refs []mail.Ref) ([]*state.Row, error)
	Pending(ctx context.Context) ([]*state.Row, error)
	Each(ctx context.Context, box int64, fn func(*state.Row) error) error
	ByObject(ctx context.Context, ids []string) ([]*state.Row, error)
	AloneBySize(ctx context.Context, box int64, side state.Side, sizes []int64) ([]*state.Row, error)
	AloneRows(ctx context.Context, box int64, side state.Side, after int64, limit int) ([]*state.Row, error)
	Problems(ctx context.Context) ([]state.Problem, []*state.Row, error)
	Run(ctx context.Context) (int64, error)
	Commit(ctx context.Context, tx *state.Tx, durable bool) error
	Finish(ctx context.Context, outcome, summary string) error
}

// thisRun stands for the number of the run in progress in rows that the planner
// makes; commit puts the number in.
const thisRun = -1

// commit writes tx, with the number of the run in place of thisRun.
func commit(ctx context.Context, j Journal, tx *state.Tx, durable bool) error {
	if tx.Empty() {
		return nil
	}
	run, err := j.Run(ctx)
	if err != nil {
		return err
	}
	for _, r := range tx.Rows {
		r.Born = numbered(r.Born, run)
		r.Gone = [2]int64{numbered(r.Gone[0], run), numbered(r.Gone[1], run)}
	}
	for _, m := range tx.Mailboxes {
		m.Gone = [2]int64{numbered(m.Gone[0], run), numbered(m.Gone[1], run)}
	}
	for i := range tx.Problems {
		tx.Problems[i].First = numbered(tx.Problems[i].First, run)
		tx.Problems[i].Last = numbered(tx.Problems[i].Last, run)
	}
	return j.Commit(ctx, tx, durable)
}

func numbered(n, run int64) int64 {
	if n == thisRun {
		return run
	}
	return n
}
