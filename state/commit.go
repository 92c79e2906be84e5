package state

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrClaimed is the reason when a Tx would leave two rows that both say that one
// message is theirs.
var ErrClaimed = errors.New("two rows claim one message")

// Commit brings tx to the state, all of it or nothing; its order is Mailboxes,
// Rows, Solved, Problems, Delete, and what counts is how the rows are at the
// end. With durable set it is on the disk when Commit returns. Without, a power
// failure may lose it: the caller flushes the filesystem before it relies on it,
// or a durable commit follows. Commits of several goroutines at one time share
// one flush.
//
// The IDs of new mailboxes and rows are set when Commit succeeds, and stay 0
// when it fails. An ID is never given twice in a run, that of a mailbox never.
//
// Refused, with ScopeMailbox, and without touching the other goroutines'
// commits: a Tx after which two rows are Alive on one side with one Ref of one
// mailbox (ErrClaimed); one that replaces rows or mailboxes which are not there;
// rows of unknown mailboxes, problems of unknown rows, and values that cannot
// be.
func (db *DB) Commit(ctx context.Context, tx *Tx, durable bool) error {
	if tx.Empty() {
		return nil
	}
	return db.write(ctx, durable, func(ch *change) error { return db.apply(ch, tx) })
}

// nextIDs are the greatest IDs in use. They are counted up here, so that an ID
// whose row was deleted does not come back while somebody remembers it.
type nextIDs struct {
	loaded            bool
	row, mailbox, run int64
}

// change is what a write does besides changing the file.
type change struct {
	next   nextIDs
	counts map[listKey]int     // what is added to DB.counts
	boxes  []int64             // mailboxes that are new
	undo   []func()            // when the write fails
	done   []func()            // when it has been committed
	claims map[listKey]*claims // refs that rows newly claim
	sent   map[int64]*Sent     // what is written, nil for what is deleted
}

// rejected is an error that concerns one Tx: the file is as it should be.
type rejected struct{ err error }

func (r rejected) Error() string { return r.err.Error() }
func (r rejected) Unwrap() error { return r.err }

func reject(format string, args ...any) error { return rejected{fmt.Errorf(format, args...)} }

// apply does the work of Commit within a transaction.
func (db *DB) apply(ch *change, tx *Tx) error {
	for _, box := range tx.Mailboxes {
		if err := db.applyMailbox(ch, box); err != nil {
			return err
		}
	}
	if err := db.applyRows(ch, tx.Rows); err != nil {
		return err
	}
	for _, id := range tx.Solved {
		if _, err := db.c.exec(`DELETE FROM problem WHERE message = ?`, id); err != nil {
			return err
		}
	}
	for _, p := range tx.Problems {
		if p.Of != nil {
			p.Row, p.Of = p.Of.ID, nil
		}
		if n, err := db.c.number(`SELECT count(*) FROM message WHERE id = ?`, p.Row); err != nil {
			return err
		} else if n == 0 {
			return reject("a problem of row %d, which is not there", p.Row)
		}
		if err := db.putProblem(p); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(tx.Delete, maxIn) {
		if err := db.deleteRows(ch, chunk); err != nil {
			return err
		}
	}
	return db.checkClaims(ch)
}

// applyMailbox inserts or replaces a mailbox.
func (db *DB) applyMailbox(ch *change, box *Mailbox) error {
	isNew := box.ID == 0
	switch {
	case isNew:
		ch.next.mailbox++
		box.ID = ch.next.mailbox
		ch.boxes = append(ch.boxes, box.ID)
		ch.undo = append(ch.undo, func() { box.ID = 0 })
	case !db.hasBox(ch, box.ID):
		return reject("replaces mailbox %d, which is not there", box.ID)
	}
	if err := db.keepPastMailbox(box, isNew); err != nil {
		return err
	}
	return db.putMailbox(box)
}

func (db *DB) hasBox(ch *change, id int64) bool { return db.boxes[id] || slices.Contains(ch.boxes, id) }

// applyRows inserts or replaces rows.
func (db *DB) applyRows(ch *change, rows []*Row) error {
	var insert, replace []*Row
	for _, r := range rows {
		if !db.hasBox(ch, r.Mailbox) {
			return reject("a row of mailbox %d, which is not there", r.Mailbox)
		}
		if err := valid(r); err != nil {
			return err
		}
		if r.ID != 0 {
			replace = append(replace, r)
			continue
		}
		ch.next.row++
		r.ID = ch.next.row
		ch.undo = append(ch.undo, func() { r.ID = 0 })
		insert = append(insert, r)
	}
	for len(insert) > 0 {
		n := 1
		if len(insert) >= insertRows {
			n = insertRows
		}
		if err := db.insert(ch, insert[:n]); err != nil {
			return err
		}
		insert = insert[n:]
	}
	for chunk := range slices.Chunk(replace, maxIn) {
		if err := db.replace(ch, chunk); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if err := db.putSent(ch, r); err != nil {
			return err
		}
	}
	return nil
}

// valid refuses rows that say nothing, or what no row can say.
func valid(r *Row) error {
	switch {
	case r.Status > ToB:
		return reject("a row with status %d", r.Status)
	case r.Ref[A].IsZero() && r.Ref[B].IsZero() && r.Status == Here:
		return reject("a row without a message")
	case r.Size < -1:
		return reject("a row with size %d", r.Size)
	}
	return nil
}

// insertRows is how many rows one INSERT takes: ten are a third faster than one
// each, and more are no faster.
const insertRows = 10

// insertSQL inserts n rows.
func insertSQL(n int) string {
	row := "(" + placeholders(columns) + ")"
	return "INSERT INTO message (" + rowColumns + ") VALUES " + strings.Repeat(row+", ", n-1) + row
}

var insertOne, insertMany = insertSQL(1), insertSQL(insertRows)

// insert inserts one row or insertRows of them.
func (db *DB) insert(ch *change, rows []*Row) error {
	args := make([]driver.Value, 0, insertRows*columns)
	for _, r := range rows {
		var v [columns]driver.Value
		if err := db.sum.encodeRow(&v, r); err != nil {
			return rejected{err}
		}
		if err := db.note(ch, nil, v[:]); err != nil {
			return err
		}
		if err := db.keepAbsence(v[:]); err != nil {
			return err
		}
		args = append(args, v[:]...)
	}
	query := insertMany
	if len(rows) == 1 {
		query = insertOne
	}
	_, err := db.c.exec(query, args...)
	return err
}

// replace writes the columns that differ, and so leaves alone the indexes that
// need no change.
func (db *DB) replace(ch *change, rows []*Row) error {
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	list, args := in(ids)
	olds := make(map[int64]*[columns]driver.Value, len(rows))
	err := db.c.query(selectRows+"WHERE id IN "+list, args, func(v []driver.Value) error {
		if id, ok := v[colID].(int64); ok {
			olds[id] = (*[columns]driver.Value)(append([]driver.Value(nil), v...))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		old := olds[r.ID]
		if old == nil {
			return reject("replaces row %d, which is not there", r.ID)
		}
		var v [columns]driver.Value
		if err := db.sum.encodeRow(&v, r); err != nil {
			return rejected{err}
		}
		if err := db.update(ch, old, &v); err != nil {
			return err
		}
		*old = v // should the row come twice
	}
	return nil
}

// update turns one row from old into v.
func (db *DB) update(ch *change, old, v *[columns]driver.Value) error {
	query := []byte("UPDATE message SET ")
	args := make([]driver.Value, 0, columns+1)
	for i := range v {
		if !sameValue(v[i], old[i]) {
			query = append(append(query, columnNames[i]...), " = ?, "...)
			args = append(args, v[i])
		}
	}
	if len(args) == 0 {
		return nil
	}
	if err := db.note(ch, old[:], v[:]); err != nil {
		return err
	}
	if err := db.keepPast(old[:], v[:]); err != nil {
		return err
	}
	query = append(query[:len(query)-len(", ")], " WHERE id = ?"...)
	_, err := db.c.exec(string(query), append(args, v[colID])...)
	return err
}

func sameValue(x, y driver.Value) bool {
	bx, ok := x.([]byte)
	by, also := y.([]byte)
	if ok || also {
		return ok && also && string(bx) == string(by)
	}
	return x == y
}

// deleteRows deletes rows with all that hangs on them; one that is not there is no error.
func (db *DB) deleteRows(ch *change, ids []int64) error {
	if err := db.dropSent(ch, ids); err != nil {
		return err
	}
	list, args := in(ids)
	if _, err := db.c.exec("DELETE FROM problem WHERE message IN "+list, args...); err != nil {
		return err
	}
	var old [][]driver.Value
	err := db.c.query("DELETE FROM message WHERE id IN "+list+" RETURNING "+rowColumns, args, func(v []driver.Value) error {
		if db.run != 0 {
			old = append(old, append([]driver.Value(nil), v...))
		}
		return db.note(ch, v, nil)
	})
	for _, v := range old {
		if err == nil {
			err = db.keepPast(v, nil)
		}
	}
	return err
}
