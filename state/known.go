package state

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"

	"postbag/internal/mail"
)

// listKey names one side of one mailbox.
type listKey struct {
	box  int64
	side Side
}

// known is one side of a mailbox as the state has it.
type known struct {
	db  *DB
	key listKey
}

// Known lists the messages that are there on side of a mailbox. A side holds
// UIDs or keys, not both. The listing is read in batches, each as it is when its
// turn comes; fn may use the state, and change it too.
//
// Count stays cheap: it is counted once and kept up with commits. Should that
// fail, it is 0, and every further call of the state fails with the reason, so
// that nothing is built upon it.
func (db *DB) Known(box int64, side Side) mail.Known { return known{db, listKey{box, side}} }

// Count is the number of messages. Damaged rows count: that they are damaged is
// found out when they are read.
func (k known) Count() int {
	if err := k.db.hold(context.Background()); err != nil {
		return 0
	}
	defer k.db.release()
	if n, ok := k.db.counts[k.key]; ok {
		return n
	}
	n, err := k.db.c.number(perSide(k.key.side, `SELECT count(*) FROM message INDEXED BY live_a WHERE mailbox = ? AND live_a IS NOT NULL`), k.key.box)
	if err != nil {
		k.db.failed = k.db.wrap("read", err)
		return 0
	}
	k.db.counts[k.key] = int(n)
	return int(n)
}

// entry is one entry of index live_a or live_b.
type entry struct {
	ref   mail.Ref
	flags mail.Flags
}

// lastRef is greater than every ref in SQLite's order: integers, texts, blobs.
var lastRef = []byte{0xff}

// Each calls fn for the messages with from <= ref <= to in the order of refs.
func (k known) Each(ctx context.Context, from, to mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	low, err := encodeRef(from)
	if err != nil {
		return k.db.wrap("read", err)
	}
	if low == nil {
		low = int64(0) // before every ref
	}
	high, err := encodeRef(to)
	if err != nil {
		return k.db.wrap("read", err)
	}
	if high == nil {
		high = lastRef
	}
	batch := make([]entry, 0, batchRows)
	for compare := ">="; ; compare = ">" {
		var next driver.Value
		batch, next, err = k.batch(ctx, batch[:0], compare, low, high)
		if err != nil {
			return err
		}
		for _, e := range batch {
			if err := fn(e.ref, e.flags); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		low = next
	}
}

// batch reads the next entries without touching the table: the index has its
// own checksums. next is where to go on, nil at the end.
func (k known) batch(ctx context.Context, batch []entry, compare string, low, high driver.Value) (_ []entry, next driver.Value, err error) {
	db := k.db
	if err := db.hold(ctx); err != nil {
		return nil, nil, err
	}
	defer db.release()
	query := perSide(k.key.side, `SELECT id, a , flags_a, live_a FROM message INDEXED BY live_a
		WHERE mailbox = ? AND a `+compare+` ? AND a <= ? AND live_a IS NOT NULL ORDER BY a LIMIT ?`)
	// The walk goes on from the last good entry: a damaged one may stand
	// anywhere in the order.
	met, last, raw := 0, driver.Value(nil), driver.Value(nil)
	err = db.c.query(query, []driver.Value{k.key.box, low, high, int64(batchRows)}, func(v []driver.Value) error {
		met++
		raw = v[1]
		id, _ := v[0].(int64)
		ref, ok := decodeRef(v[1])
		if !ok || v[3] != driver.Value(db.sum.live(k.key.side, id, k.key.box, v[1], v[2])) ||
			last != nil && compareValues(raw, last) <= 0 {
			db.damage.note("message", v[0])
			return nil
		}
		last = raw
		d := decoder{v: v}
		batch = append(batch, entry{ref, d.flags(2)})
		return nil
	})
	if err != nil {
		return nil, nil, db.wrap("read", err)
	}
	if met < batchRows {
		return batch, nil, nil
	}
	if last == nil {
		last = raw
	}
	if compareValues(last, low) <= 0 {
		return nil, nil, db.wrap("read", fmt.Errorf("%w: an index is out of order", errDamaged))
	}
	return batch, last, nil
}

// compareValues orders refs as SQLite does: integers, then texts by their
// octets, then blobs.
func compareValues(x, y driver.Value) int {
	rank := func(v driver.Value) int {
		switch v.(type) {
		case int64:
			return 1
		case string:
			return 2
		}
		return 3
	}
	if c := cmp.Compare(rank(x), rank(y)); c != 0 {
		return c
	}
	switch x := x.(type) {
	case int64:
		return cmp.Compare(x, y.(int64))
	case string:
		return cmp.Compare(x, y.(string))
	}
	return 0
}
