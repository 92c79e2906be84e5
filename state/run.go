package state

import (
	"context"
	"database/sql/driver"
)

// Run is the ID of the run in progress. The first call writes its row, with the
// next durable commit durable too: a run that never asks writes nothing.
func (db *DB) Run(ctx context.Context) (int64, error) {
	if id, err := db.currentRun(ctx); id != 0 || err != nil {
		return id, err
	}
	var id int64
	err := db.write(ctx, false, func(ch *change) error {
		if id = db.run; id != 0 {
			return nil
		}
		id = db.next.run + 1
		err := db.put("run", runColumns, id, optional(db.o.Command), encodeMoment(db.o.Now()), nil, nil, nil)
		ch.done = append(ch.done, func() { db.run, db.next.run = id, id })
		return err
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// currentRun is the ID of the run's row, 0 when it has none.
func (db *DB) currentRun(ctx context.Context) (int64, error) {
	if err := db.hold(ctx); err != nil {
		return 0, err
	}
	defer db.release()
	return db.run, nil
}

// Finish closes the run's row. Without a call of Run it does nothing.
func (db *DB) Finish(ctx context.Context, outcome, summary string) error {
	id, err := db.currentRun(ctx)
	if id == 0 || err != nil {
		return err
	}
	return db.write(ctx, false, func(*change) error {
		var r Run
		err := db.c.query("SELECT "+runColumns+" FROM run WHERE id = ?", []driver.Value{id}, func(v []driver.Value) error {
			r, _ = decodeRun(v)
			return nil
		})
		if err != nil {
			return err
		}
		if err := db.dropIdle(); err != nil {
			return err
		}
		return db.put("run", runColumns, id, optional(db.o.Command), encodeMoment(r.Started), encodeMoment(db.o.Now()),
			optional(outcome), optional(summary))
	})
}

func decodeRun(v []driver.Value) (Run, bool) {
	d := decoder{v: v}
	r := Run{ID: d.integer(0), Command: d.text(1), Started: d.moment(2), Finished: d.moment(3), Outcome: d.text(4), Summary: d.text(5)}
	return r, !d.bad
}

// Runs answers with the last limit runs that changed the state, the newest
// first.
func (db *DB) Runs(ctx context.Context, limit int) ([]Run, error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	defer db.release()
	var runs []Run
	err := db.c.query("SELECT "+runColumns+" FROM run ORDER BY id DESC LIMIT ?", []driver.Value{int64(max(limit, 0))}, func(v []driver.Value) error {
		r, ok := decodeRun(v)
		if !ok || !db.sum.sound("run", v) {
			db.damage.note("run", v[0])
			return nil
		}
		runs = append(runs, r)
		return nil
	})
	return runs, db.wrap("read", err)
}
