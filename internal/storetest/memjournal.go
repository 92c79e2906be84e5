package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"postbag/internal/mail"
	"postbag/state"
)

// Journal is the state in memory, with the methods that the engine uses. Values
// given out and taken in are copies. Each Commit is one step.
type Journal struct {
	Steps *Steps

	mu       sync.Mutex
	boxes    map[int64]state.Mailbox
	rows     map[int64]state.Row
	problems map[int64]state.Problem
	last     int64
	run      int64
	open     bool
	Commits  int
}

// NewJournal makes an empty journal.
func NewJournal() *Journal {
	return &Journal{boxes: make(map[int64]state.Mailbox), rows: make(map[int64]state.Row), problems: make(map[int64]state.Problem)}
}

// Clone is a copy with steps of its own.
func (j *Journal) Clone(steps *Steps) *Journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Journal{Steps: steps, boxes: maps.Clone(j.boxes), rows: maps.Clone(j.rows), problems: maps.Clone(j.problems), last: j.last, run: j.run}
}

// Path implements the engine's Journal.
func (j *Journal) Path() string { return "" }

// Rows are all rows, by ID.
func (j *Journal) Rows() []state.Row {
	j.mu.Lock()
	defer j.mu.Unlock()
	var rows []state.Row
	for _, id := range slices.Sorted(maps.Keys(j.rows)) {
		rows = append(rows, j.rows[id])
	}
	return rows
}

func (j *Journal) filter(keep func(*state.Row) bool) []*state.Row {
	var rows []*state.Row
	for _, r := range j.Rows() {
		if keep(&r) {
			rows = append(rows, &r)
		}
	}
	return rows
}

// Mailboxes implements the engine's Journal.
func (j *Journal) Mailboxes(context.Context) ([]*state.Mailbox, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []*state.Mailbox
	for _, id := range slices.Sorted(maps.Keys(j.boxes)) {
		m := j.boxes[id]
		list = append(list, &m)
	}
	return list, nil
}

type known struct {
	j    *Journal
	box  int64
	side state.Side
}

// Known implements the engine's Journal.
func (j *Journal) Known(box int64, side state.Side) mail.Known { return known{j, box, side} }

func (k known) rows() []*state.Row {
	rows := k.j.filter(func(r *state.Row) bool { return r.Mailbox == k.box && r.Alive(k.side) })
	slices.SortFunc(rows, func(a, b *state.Row) int { return a.Ref[k.side].Compare(b.Ref[k.side]) })
	return rows
}

func (k known) Count() int { return len(k.rows()) }

func (k known) Each(_ context.Context, from, to mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	for _, r := range k.rows() {
		ref := r.Ref[k.side]
		if ref.Compare(from) < 0 || !to.IsZero() && ref.Compare(to) > 0 {
			continue
		}
		if err := fn(ref, r.Flags[k.side]); err != nil {
			return err
		}
	}
	return nil
}

// ByRef implements the engine's Journal.
func (j *Journal) ByRef(_ context.Context, box int64, side state.Side, refs []mail.Ref) ([]*state.Row, error) {
	return j.filter(func(r *state.Row) bool { return r.Mailbox == box && slices.Contains(refs, r.Ref[side]) }), nil
}

// Pending implements the engine's Journal.
func (j *Journal) Pending(context.Context) ([]*state.Row, error) {
	return j.filter(func(r *state.Row) bool { return r.Status != state.Here }), nil
}

// Each implements the engine's Journal.
func (j *Journal) Each(_ context.Context, box int64, fn func(*state.Row) error) error {
	for _, r := range j.filter(func(r *state.Row) bool { return r.Mailbox == box }) {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

// AloneBySize implements the engine's Journal.
func (j *Journal) AloneBySize(_ context.Context, box int64, side state.Side, sizes []int64) ([]*state.Row, error) {
	return j.filter(func(r *state.Row) bool { return r.Mailbox == box && r.Alone(side) && slices.Contains(sizes, r.Size) }), nil
}

// AloneRows implements the engine's Journal.
func (j *Journal) AloneRows(_ context.Context, box int64, side state.Side, after int64, limit int) ([]*state.Row, error) {
	rows := j.filter(func(r *state.Row) bool { return r.Mailbox == box && r.ID > after && r.Alone(side) })
	return rows[:min(limit, len(rows))], nil
}

// Problems implements the engine's Journal.
func (j *Journal) Problems(context.Context) ([]state.Problem, []*state.Row, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var problems []state.Problem
	var rows []*state.Row
	for _, id := range slices.Sorted(maps.Keys(j.problems)) {
		r := j.rows[id]
		problems = append(problems, j.problems[id])
		rows = append(rows, &r)
	}
	return problems, rows, nil
}

// Run implements the engine's Journal.
func (j *Journal) Run(context.Context) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.open {
		j.open = true
		j.run++
	}
	return j.run, nil
}

// Finish implements the engine's Journal.
func (j *Journal) Finish(context.Context, string, string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open = false
	return nil
}

// Commit implements the engine's Journal. Two rows that claim one message are an
// error, and so is a row without any ref.
func (j *Journal) Commit(_ context.Context, tx *state.Tx, _ bool) error {
	if err := j.Steps.Step(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.Commits++
	for _, m := range tx.Mailboxes {
		if m.ID == 0 {
			j.last++
			m.ID = j.last
		}
		j.boxes[m.ID] = *m
	}
	for _, id := range tx.Delete {
		delete(j.rows, id)
		delete(j.problems, id)
	}
	for _, r := range tx.Rows {
		if r.ID == 0 {
			j.last++
			r.ID = j.last
		}
		if r.Mailbox == 0 || r.Ref[0].IsZero() && r.Ref[1].IsZero() {
			return fmt.Errorf("row %+v belongs nowhere", r)
		}
		j.rows[r.ID] = *r
	}
	for _, id := range tx.Solved {
		delete(j.problems, id)
	}
	for _, p := range tx.Problems {
		if p.Of != nil {
			p.Row, p.Of = p.Of.ID, nil
		}
		j.problems[p.Row] = p
	}
	return j.checkUnique(tx)
}

func (j *Journal) checkUnique(tx *state.Tx) error {
	type claim struct {
		box  int64
		side state.Side
		ref  mail.Ref
	}
	if len(tx.Rows) == 0 {
		return nil
	}
	claims := make(map[claim]int64)
	for id, r := range j.rows {
		for _, s := range []state.Side{state.A, state.B} {
			if !r.Alive(s) {
				continue
			}
			k := claim{r.Mailbox, s, r.Ref[s]}
			if o, dup := claims[k]; dup {
				return fmt.Errorf("rows %d and %d both claim %s on side %s", o, id, r.Ref[s], s)
			}
			claims[k] = id
		}
	}
	return nil
}
