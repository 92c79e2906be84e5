package state

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"postbag/internal/mail"
)

// model is what a state holds, kept in the plainest way.
type model struct {
	boxes    []*Mailbox
	rows     map[int64]Row
	problems map[[2]int64]Problem
}

// claimedTwice reports whether two rows are alive with one ref.
func (m *model) claimedTwice() bool {
	type claim struct {
		box  int64
		side Side
		ref  mail.Ref
	}
	seen := make(map[claim]bool)
	for _, r := range m.rows {
		for _, side := range []Side{A, B} {
			c := claim{r.Mailbox, side, r.Ref[side]}
			if r.Alive(side) && seen[c] {
				return true
			}
			seen[c] = seen[c] || r.Alive(side)
		}
	}
	return false
}

func (m *model) clone() *model {
	return &model{slices.Clone(m.boxes), maps.Clone(m.rows), maps.Clone(m.problems)}
}

// commit does to the model what DB.Commit has just done, IDs included.
func (m *model) commit(tx *Tx) {
	for _, r := range tx.Rows {
		m.rows[r.ID] = *r
	}
	for _, id := range tx.Solved {
		delete(m.problems, [2]int64{id, 0})
		delete(m.problems, [2]int64{id, 1})
	}
	for _, p := range tx.Problems {
		m.problems[[2]int64{p.Row, int64(p.Side)}] = p
	}
	for _, id := range tx.Delete {
		delete(m.rows, id)
		delete(m.problems, [2]int64{id, 0})
		delete(m.problems, [2]int64{id, 1})
	}
}

// find answers with the rows that pred likes, by ID.
func (m *model) find(pred func(*Row) bool) []*Row {
	var rows []*Row
	for _, r := range m.rows {
		if pred(&r) {
			rows = append(rows, &r)
		}
	}
	slices.SortFunc(rows, func(x, y *Row) int { return cmp.Compare(x.ID, y.ID) })
	return rows
}

// world makes transactions. Everything comes from small ranges, so that refs,
// sizes and identities meet often.
type world struct {
	rnd *rand.Rand
	m   *model
}

func (w *world) ref(side Side) mail.Ref {
	n := w.rnd.IntN(60)
	switch {
	case n < 10:
		return mail.Ref{}
	case side == A:
		return mail.Ref{UID: uint32(n)}
	}
	return mail.Ref{Key: fmt.Sprintf("\xffkey %d", n)}
}

func (w *world) row() *Row {
	r := oddRow(w.rnd, w.m.boxes[w.rnd.IntN(len(w.m.boxes))].ID)
	r.Ref = [2]mail.Ref{w.ref(A), w.ref(B)}
	if r.Ref[A].IsZero() && r.Ref[B].IsZero() {
		r.Ref[A].UID = 1
	}
	if w.rnd.IntN(2) == 0 {
		r.Status = Here
	}
	r.Size = int64(w.rnd.IntN(5)) - 1
	r.Ident = mail.Identity{MessageID: mail.MessageID(w.rnd.IntN(3)), Described: w.rnd.IntN(3) > 0}
	if w.rnd.IntN(2) == 0 {
		r.Ident.Digest[w.rnd.IntN(3)] = 1
	}
	if w.rnd.IntN(3) == 0 {
		r.Ident.ObjectID = fmt.Sprint(w.rnd.IntN(3))
	}
	return r
}

func (w *world) someID() int64 {
	ids := slices.Sorted(maps.Keys(w.m.rows))
	if len(ids) == 0 {
		return 1
	}
	return ids[w.rnd.IntN(len(ids))]
}

func (w *world) tx() *Tx {
	tx := &Tx{}
	for range w.rnd.IntN(25) {
		r := w.row()
		if w.rnd.IntN(2) == 0 && len(w.m.rows) > 0 {
			r.ID = w.someID()
			if old := w.m.rows[r.ID]; w.rnd.IntN(2) == 0 { // a small change
				r.Ref, r.Mailbox, r.Date, r.Ident = old.Ref, old.Mailbox, old.Date, old.Ident
			}
		}
		tx.Rows = append(tx.Rows, r)
	}
	for range w.rnd.IntN(4) {
		tx.Delete = append(tx.Delete, w.someID())
	}
	for range w.rnd.IntN(3) {
		tx.Solved = append(tx.Solved, w.someID())
	}
	for range w.rnd.IntN(3) {
		if id := w.someID(); w.m.rows[id].ID != 0 {
			tx.Problems = append(tx.Problems, Problem{Row: id, Side: Side(w.rnd.IntN(2)), Tries: w.rnd.IntN(9), Reason: oddText(w.rnd)})
		}
	}
	return tx
}

// fits reports whether m may come to be like tx says.
func (w *world) fits(tx *Tx) bool {
	m := w.m.clone()
	fake := *tx
	fake.Rows = nil
	for i, r := range tx.Rows {
		c := *r
		if c.ID == 0 {
			c.ID = int64(1_000_000 + i)
		}
		fake.Rows = append(fake.Rows, &c)
	}
	m.commit(&fake)
	return !m.claimedTwice()
}

// TestModel compares a state with a map of rows, through random commits and
// openings.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds, steps := uint64(6), 60
	if os.Getenv("POSTBAG_LONG") != "" {
		seeds, steps = 40, 150
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			testModel(t, seed, steps)
		})
	}
}

func testModel(t *testing.T, seed uint64, steps int) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(seed, 7))
	path := newPath(t)
	db := mustOpen(t, path, Options{})
	w := &world{rnd, &model{rows: make(map[int64]Row), problems: make(map[[2]int64]Problem)}}
	for i := range 3 {
		w.m.boxes = append(w.m.boxes, newMailbox(t, db, fmt.Sprint(i)))
	}
	if seed%2 == 1 { // with the index for identities from the start
		if err := db.c.once(identIndex); err != nil {
			t.Fatal(err)
		}
	}
	accepted := 0
	for step := range steps {
		tx := w.tx()
		if rnd.IntN(3) > 0 { // mostly one that fits
			for !w.fits(tx) {
				tx.Rows = tx.Rows[:len(tx.Rows)/2]
			}
		}
		want := w.fits(tx)
		err := db.Commit(ctx, tx, rnd.IntN(4) == 0)
		switch {
		case want && err != nil:
			t.Fatalf("step %d: %v", step, err)
		case !want && !errors.Is(err, ErrClaimed):
			t.Fatalf("step %d: got %v, want ErrClaimed", step, err)
		case want:
			accepted++
			w.m.commit(tx)
		}
		if rnd.IntN(10) == 0 {
			mustClose(t, db)
			db = mustOpen(t, path, Options{ReadOnly: rnd.IntN(2) == 0})
			compare(t, db, w)
			mustClose(t, db)
			db = mustOpen(t, path, Options{})
		}
		compare(t, db, w)
		if t.Failed() {
			t.Fatalf("step %d", step)
		}
	}
	if accepted < steps/2 || accepted == steps {
		t.Errorf("%d of %d commits were accepted: the test is one-sided", accepted, steps)
	}
	mustClose(t, db)
}

// compare asks the state everything and the model too.
func compare(t *testing.T, db *DB, w *world) {
	t.Helper()
	ctx := context.Background()
	check := func(what string, got []*Row, err error, want func(*Row) bool) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		diffRows(t, what, unique(got), w.m.find(want))
	}
	for _, box := range w.m.boxes {
		check("Each", allRows(t, db, box.ID), nil, func(r *Row) bool { return r.Mailbox == box.ID })
		for _, side := range []Side{A, B} {
			compareKnown(t, db, w, box.ID, side)
			refs := []mail.Ref{{}, {UID: 77}, {UID: 1, Key: "both"}}
			asked := make(map[mail.Ref]bool)
			for range 20 {
				refs = append(refs, w.ref(side))
			}
			for _, ref := range refs {
				asked[ref] = !ref.IsZero()
			}
			got, err := db.ByRef(ctx, box.ID, side, refs)
			check("ByRef", got, err, func(r *Row) bool { return r.Mailbox == box.ID && asked[r.Ref[side]] })
			sizes := []int64{int64(w.rnd.IntN(5)) - 1, int64(w.rnd.IntN(5)) - 1}
			got, err = db.AloneBySize(ctx, box.ID, side, sizes)
			check("AloneBySize", got, err, func(r *Row) bool {
				return r.Mailbox == box.ID && r.Alone(side) && slices.Contains(sizes, r.Size)
			})
			after := int64(w.rnd.IntN(100))
			got, err = paged(func(after int64) ([]*Row, error) { return db.AloneRows(ctx, box.ID, side, after, 3) }, after)
			check("AloneRows", got, err, func(r *Row) bool { return r.Mailbox == box.ID && r.Alone(side) && r.ID > after })
			got, err = paged(func(after int64) ([]*Row, error) { return db.GoneRows(ctx, box.ID, side, after, 3) }, after)
			check("GoneRows", got, err, func(r *Row) bool {
				return r.Mailbox == box.ID && r.Gone[side] != 0 && r.Alive(side.Other()) && r.ID > after
			})
		}
	}
	got, err := db.Pending(ctx)
	check("Pending", got, err, func(r *Row) bool { return r.Status != Here })
	ident, size := w.row().Ident, int64(w.rnd.IntN(5))-1
	got, err = db.ByIdentity(ctx, ident, size)
	check("ByIdentity", got, err, func(r *Row) bool {
		return ident.Digest.Known() && r.Ident.Digest == ident.Digest && (size < 0 || r.Size == size) ||
			ident.ObjectID != "" && r.Ident.ObjectID == ident.ObjectID ||
			ident.Described && r.Ident.Described && ident.MessageID != 0 && r.Ident.MessageID == ident.MessageID && size >= 0 && r.Size == size
	})
	ids := []string{w.row().Ident.ObjectID, ident.ObjectID, "", "none"}
	got, err = db.ByObject(ctx, ids)
	check("ByObject", got, err, func(r *Row) bool { return r.Ident.ObjectID != "" && slices.Contains(ids, r.Ident.ObjectID) })
	compareSums(t, db, w)
	if n := db.Damage().Total(); n > 0 {
		t.Errorf("got %d damaged rows", n)
	}
}

func paged(page func(after int64) ([]*Row, error), after int64) (all []*Row, err error) {
	for {
		rows, err := page(after)
		if err != nil || len(rows) == 0 {
			return all, err
		}
		all, after = append(all, rows...), rows[len(rows)-1].ID
	}
}

func compareKnown(t *testing.T, db *DB, w *world, box int64, side Side) {
	t.Helper()
	alive := w.m.find(func(r *Row) bool { return r.Mailbox == box && r.Alive(side) })
	slices.SortFunc(alive, func(x, y *Row) int { return x.Ref[side].Compare(y.Ref[side]) })
	k := db.Known(box, side)
	if got := k.Count(); got != len(alive) {
		t.Errorf("Count on side %s: got %d, want %d", side, got, len(alive))
	}
	from, to := w.ref(side), w.ref(side)
	for _, bounds := range [][2]mail.Ref{{}, {from}, {{}, to}, {from, to}} {
		var got, want []entry
		for _, r := range alive {
			if ref := r.Ref[side]; ref.Compare(bounds[0]) >= 0 && (bounds[1].IsZero() || ref.Compare(bounds[1]) <= 0) {
				want = append(want, entry{ref, r.Flags[side]})
			}
		}
		err := k.Each(context.Background(), bounds[0], bounds[1], func(ref mail.Ref, f mail.Flags) error {
			got = append(got, entry{ref, f})
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Known.Each on side %s from %v to %v: got %v, %v, want %v", side, bounds[0], bounds[1], got, err, want)
		}
	}
}

func compareSums(t *testing.T, db *DB, w *world) {
	t.Helper()
	ctx := context.Background()
	want := make(map[int64]Counts)
	for _, r := range w.m.rows {
		c := want[r.Mailbox]
		if r.Status == Here && r.Alive(A) && r.Alive(B) {
			c.Paired++
		}
		if r.Status != Here {
			c.Pending++
		}
		for _, side := range []Side{A, B} {
			if r.Alone(side) && r.Gone[side.Other()] == 0 {
				c.Alone[side]++
			}
			if r.Gone[side] != 0 && r.Alive(side.Other()) {
				c.Gone[side]++
			}
		}
		if r.Alive(B) && r.Size > 0 {
			c.Bytes += r.Size
		}
		want[r.Mailbox] = c
	}
	if got, err := db.Counts(ctx); err != nil || !maps.Equal(got, want) {
		t.Errorf("Counts: got %v, %v, want %v", got, err, want)
	}
	got, rows, err := db.Problems(ctx)
	if err != nil || len(got) != len(w.m.problems) || len(rows) != len(got) {
		t.Errorf("Problems: got %v, %v, want %v", got, err, w.m.problems)
		return
	}
	for i, p := range got {
		if p != w.m.problems[[2]int64{p.Row, int64(p.Side)}] || rows[i].ID != p.Row {
			t.Errorf("Problems: got %v of row %d", p, rows[i].ID)
		}
	}
}
