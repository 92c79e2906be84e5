package state

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// batchRows is how many rows are read at a time: the connection is free for
// others in between, and memory bounded.
const batchRows = 1000

// readRows runs a query over message whose columns are rowColumns and gives the
// sound rows that fit to fn. An index can be damaged too and lead to another
// row, so what a query asked for is asked again by fits. The caller holds the
// connection.
func (db *DB) readRows(query string, args []driver.Value, fits func(*Row) bool, fn func(*Row)) error {
	if err := db.loadBoxes(); err != nil {
		return err
	}
	if err := db.loadSent(); err != nil {
		return err
	}
	return db.c.query(query, args, func(v []driver.Value) error {
		r := db.sum.decodeRow(v)
		if r == nil || !db.boxes[r.Mailbox] || !fits(r) {
			db.damage.note("message", v[colID])
			return nil
		}
		db.attach(r)
		fn(r)
		return nil
	})
}

// collect runs readRows on its own and answers with the rows.
func (db *DB) collect(ctx context.Context, query string, args []driver.Value, fits func(*Row) bool) ([]*Row, error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	defer db.release()
	var rows []*Row
	err := db.readRows(query, args, fits, func(r *Row) { rows = append(rows, r) })
	return rows, db.wrap("read", err)
}

// selectRows is the start of every query of readRows.
var selectRows = "SELECT " + rowColumns + " FROM message "

// perSide replaces, in a query written for side A, the two sides' columns and
// indexes when s is B.
func perSide(s Side, query string) string {
	if s == A {
		return query
	}
	return swapSides.Replace(query)
}

var swapSides = strings.NewReplacer("live_a", "live_b", "live_b", "live_a", "dead_a", "dead_b", "gone_a", "gone_b",
	"alone_a", "alone_b", "alone_size_a", "alone_size_b", "flags_a", "flags_b", " a ", " b ", " b ", " a ", " a,", " b,", " b,", " a,")

// ByRef answers with the rows whose Ref on side is among refs, on their way,
// there or gone, in any order.
func (db *DB) ByRef(ctx context.Context, box int64, side Side, refs []mail.Ref) ([]*Row, error) {
	wanted := make(map[mail.Ref]bool, len(refs))
	values := make([]driver.Value, 0, len(refs))
	for _, ref := range refs {
		if v, err := encodeRef(ref); err == nil && v != nil && !wanted[ref] {
			wanted[ref] = true
			values = append(values, v)
		}
	}
	fits := func(r *Row) bool { return r.Mailbox == box && wanted[r.Ref[side]] }
	var rows []*Row
	for _, query := range []string{
		"INDEXED BY live_a WHERE mailbox = ? AND live_a IS NOT NULL AND a IN ",
		"INDEXED BY dead_a WHERE mailbox = ? AND gone_a <> 0 AND a IN ",
		"INDEXED BY pending WHERE mailbox = ? AND status <> 0 AND live_a IS NULL AND a IN ",
	} {
		found, err := db.collectIn(ctx, selectRows+perSide(side, query), box, values, fits)
		if err != nil {
			return nil, err
		}
		rows = append(rows, found...)
	}
	return unique(rows), nil
}

// collectIn runs a query that ends with IN for values, as many at a time as
// suits it.
func (db *DB) collectIn(ctx context.Context, query string, box int64, values []driver.Value, fits func(*Row) bool) ([]*Row, error) {
	var rows []*Row
	for chunk := range slices.Chunk(values, maxIn) {
		list, args := in(chunk)
		found, err := db.collect(ctx, query+list, append([]driver.Value{box}, args...), fits)
		if err != nil {
			return nil, err
		}
		rows = append(rows, found...)
	}
	return rows, nil
}

// maxIn is the longest list of an IN.
const maxIn = 500

// in makes the list of an IN for 1 to maxIn values. It has one of four lengths,
// filled up with the last value, so that there are four statements to prepare.
func in[V any](values []V) (list string, args []driver.Value) {
	n := 1
	for _, n = range []int{1, 20, 100, maxIn} {
		if n >= len(values) {
			break
		}
	}
	args = make([]driver.Value, n)
	for i := range args {
		args[i] = values[min(i, len(values)-1)]
	}
	return "(" + placeholders(n) + ")", args
}

func placeholders(n int) string { return strings.Repeat("?, ", n-1) + "?" }

// unique sorts rows by ID and drops those that came twice.
func unique(rows []*Row) []*Row {
	slices.SortFunc(rows, func(x, y *Row) int { return cmp.Compare(x.ID, y.ID) })
	return slices.CompactFunc(rows, func(x, y *Row) bool { return x.ID == y.ID })
}

// Pending answers with all rows that are on their way, by ID.
func (db *DB) Pending(ctx context.Context) ([]*Row, error) {
	rows, err := db.collect(ctx, selectRows+"INDEXED BY pending WHERE status <> 0", nil,
		func(r *Row) bool { return r.Status != Here })
	return unique(rows), err
}

// Each calls fn for all rows of a mailbox, by ID. An error of fn ends the walk
// and is returned as it is. fn may use the state.
// It needs eight octets of memory for each row.
func (db *DB) Each(ctx context.Context, box int64, fn func(*Row) error) error {
	ids, err := db.boxIDs(ctx, box)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(ids, maxIn) {
		// A row that has been moved to another mailbox meanwhile is no damage.
		list, args := in(chunk)
		rows, err := db.collect(ctx, selectRows+"WHERE id IN "+list+" ORDER BY id", args, anyRow)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.Mailbox != box {
				continue
			}
			if err := fn(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func anyRow(*Row) bool { return true }

// boxIDs are the IDs of a mailbox's rows, sorted. There is no index of them: it
// would cost more at each insertion than it is worth, and every row is in one of
// these.
func (db *DB) boxIDs(ctx context.Context, box int64) ([]int64, error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	defer db.release()
	var ids []int64
	for _, query := range []string{
		`SELECT id FROM message INDEXED BY live_a WHERE mailbox = ? AND live_a IS NOT NULL`,
		`SELECT id FROM message INDEXED BY live_b WHERE mailbox = ? AND live_b IS NOT NULL`,
		`SELECT id FROM message INDEXED BY gone_a WHERE mailbox = ? AND gone_a <> 0`,
		`SELECT id FROM message INDEXED BY gone_b WHERE mailbox = ? AND gone_b <> 0`,
		`SELECT id FROM message INDEXED BY pending WHERE mailbox = ? AND status <> 0`,
	} {
		err := db.c.query(query, []driver.Value{box}, func(v []driver.Value) error {
			if id, ok := v[0].(int64); ok {
				ids = append(ids, id)
			}
			return nil
		})
		if err != nil {
			return nil, db.wrap("read", err)
		}
		// Half of them come twice.
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	return ids, nil
}

// page answers with the rows of one mailbox that follow after, and with the ID
// to go on from: that of the last row met, sound or not; after at the end. The
// query's parameters are mailbox, after and limit.
func (db *DB) page(ctx context.Context, query string, box, after int64, limit int, fits func(*Row) bool) (rows []*Row, last int64, err error) {
	if err := db.hold(ctx); err != nil {
		return nil, after, err
	}
	defer db.release()
	if err := db.loadBoxes(); err != nil {
		return nil, after, db.wrap("read", err)
	}
	if err := db.loadSent(); err != nil {
		return nil, after, db.wrap("read", err)
	}
	last = after
	err = db.c.query(selectRows+query, []driver.Value{box, after, int64(max(limit, 1))}, func(v []driver.Value) error {
		id, _ := v[colID].(int64)
		r := db.sum.decodeRow(v)
		if r == nil || id <= last || !db.boxes[r.Mailbox] || !fits(r) {
			db.damage.note("message", v[colID])
			r = nil
		}
		last = max(last, id)
		if r != nil {
			db.attach(r)
			rows = append(rows, r)
		}
		return nil
	})
	return rows, last, db.wrap("read", err)
}

// AloneBySize answers with the rows that are Alone on side and have one of the
// sizes, in any order.
func (db *DB) AloneBySize(ctx context.Context, box int64, side Side, sizes []int64) ([]*Row, error) {
	wanted := make(map[int64]bool, len(sizes))
	values := make([]driver.Value, 0, len(sizes))
	for _, size := range sizes {
		if !wanted[size] {
			wanted[size] = true
			values = append(values, size)
		}
	}
	query := perSide(side, "INDEXED BY alone_size_a WHERE mailbox = ? AND b IS NULL AND live_a IS NOT NULL AND status = 0 AND size IN ")
	rows, err := db.collectIn(ctx, selectRows+query, box, values,
		func(r *Row) bool { return r.Mailbox == box && r.Alone(side) && wanted[r.Size] })
	return unique(rows), err
}

// AloneRows answers with up to limit rows that are Alone on side, by ID, with
// IDs greater than after. None means that there are no more.
func (db *DB) AloneRows(ctx context.Context, box int64, side Side, after int64, limit int) ([]*Row, error) {
	query := perSide(side, "INDEXED BY alone_a WHERE mailbox = ? AND b IS NULL AND live_a IS NOT NULL AND status = 0 AND id > ? ORDER BY id LIMIT ?")
	return db.filled(ctx, query, box, after, limit, func(r *Row) bool { return r.Mailbox == box && r.Alone(side) })
}

// GoneRows answers with up to limit rows whose message is gone from side and
// still on the other one, by ID, with IDs greater than after. None means that
// there are no more.
func (db *DB) GoneRows(ctx context.Context, box int64, side Side, after int64, limit int) ([]*Row, error) {
	query := perSide(side, "INDEXED BY gone_a WHERE mailbox = ? AND gone_a <> 0 AND live_b IS NOT NULL AND id > ? ORDER BY id LIMIT ?")
	return db.filled(ctx, query, box, after, limit,
		func(r *Row) bool { return r.Mailbox == box && r.Gone[side] != 0 && r.Alive(side.Other()) })
}

// filled is page, going on while all rows met were damaged: an empty answer
// must mean the end.
func (db *DB) filled(ctx context.Context, query string, box, after int64, limit int, fits func(*Row) bool) ([]*Row, error) {
	for {
		rows, last, err := db.page(ctx, query, box, after, limit, fits)
		if err != nil || len(rows) > 0 || last == after {
			return rows, err
		}
		after = last
	}
}
