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

// Journal is the state in memory, with the methods that the engine uses. Rows and
// mailboxes given out and taken in are copies, with no more in them than the state
// keeps. Each Commit is one step.
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

// Commit implements the engine's Journal, as the state does it: all of tx or
// nothing, in the order Mailboxes, Rows, Solved, Problems, Delete. Errors are two
// rows that claim one message, a row without any ref, and what replaces or names a
// row or a mailbox that is not there. The IDs of what is new are set when it succeeds.
func (j *Journal) Commit(_ context.Context, tx *state.Tx, _ bool) error {
	if err := j.Steps.Step(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	next := &Journal{boxes: maps.Clone(j.boxes), rows: maps.Clone(j.rows), problems: maps.Clone(j.problems), last: j.last}
	undo, err := next.apply(tx)
	if err != nil {
		for _, id := range undo {
			*id = 0
		}
		return err
	}
	j.boxes, j.rows, j.problems, j.last = next.boxes, next.rows, next.problems, next.last
	j.Commits++
	return nil
}

// apply does the work of Commit. It answers with the IDs that it set.
func (j *Journal) apply(tx *state.Tx) (set []*int64, err error) {
	number := func(id *int64) {
		j.last++
		*id = j.last
		set = append(set, id)
	}
	for _, m := range tx.Mailboxes {
		if m.ID == 0 {
			number(&m.ID)
		} else if _, ok := j.boxes[m.ID]; !ok {
			return set, fmt.Errorf("replaces mailbox %d, which is not there", m.ID)
		}
		j.boxes[m.ID] = *m
	}
	for _, r := range tx.Rows {
		if _, ok := j.boxes[r.Mailbox]; !ok || r.Ref[0].IsZero() && r.Ref[1].IsZero() {
			return set, fmt.Errorf("row %+v belongs nowhere", r)
		}
		if r.ID == 0 {
			number(&r.ID)
		} else if _, ok := j.rows[r.ID]; !ok {
			return set, fmt.Errorf("replaces row %d, which is not there", r.ID)
		}
		kept := *r
		kept.Ident.Added, kept.Ident.Plain = 0, mail.Digest{} // what the state does not keep
		j.rows[r.ID] = kept
	}
	for _, id := range tx.Solved {
		delete(j.problems, id)
	}
	for _, p := range tx.Problems {
		if p.Of != nil {
			p.Row, p.Of = p.Of.ID, nil
		}
		if _, ok := j.rows[p.Row]; !ok {
			return set, fmt.Errorf("a problem of row %d, which is not there", p.Row)
		}
		j.problems[p.Row] = p
	}
	for _, id := range tx.Delete {
		delete(j.rows, id)
		delete(j.problems, id)
	}
	return set, j.checkUnique(tx)
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

// SentRows are the rows with a Sent.
func (j *Journal) SentRows(context.Context) ([]*state.Row, error) {
	return j.filter(func(r *state.Row) bool { return r.Sent != nil }), nil
}
