package state

import (
	"context"
	"errors"
	"slices"

	"postbag/internal/mail"
)

// write is a change that waits for its turn.
type write struct {
	apply   func(*change) error
	durable bool
	err     error
	done    bool // guarded by DB.gate
}

// errRepair asks for a repair and for a second try.
var errRepair = errors.New("damaged rows are in the way")

// write runs apply in a transaction. Those that wait at one time are carried
// out together by the first one to get the connection, each on its own.
func (db *DB) write(ctx context.Context, durable bool, apply func(*change) error) error {
	if db.o.ReadOnly {
		return db.wrap("write", errors.New("it was opened for reading"))
	}
	w := &write{apply: apply, durable: durable}
	db.queueMu.Lock()
	db.queue = append(db.queue, w)
	db.queueMu.Unlock()
	if err := db.hold(ctx); err != nil {
		// Unless somebody has taken it on already, it does not happen.
		db.queueMu.Lock()
		i := slices.Index(db.queue, w)
		if i >= 0 {
			db.queue = slices.Delete(db.queue, i, i+1)
		}
		db.queueMu.Unlock()
		if i >= 0 {
			return err
		}
		db.gate <- struct{}{}
	}
	defer db.release()
	if !w.done {
		db.queueMu.Lock()
		group := db.queue
		db.queue = nil
		db.queueMu.Unlock()
		db.writeGroup(group)
	}
	return w.err
}

// writeGroup carries out writes and sets their err and done.
func (db *DB) writeGroup(group []*write) {
	changes, err := db.tryGroup(group)
	// A broken index, or a damaged row in the way, is repaired once.
	if errors.Is(err, errRepair) || malformed(err) {
		if err = db.repair(); err == nil {
			changes, err = db.tryGroup(group)
		}
	}
	for i, w := range group {
		w.done = true
		if err != nil {
			w.err = db.wrap("write", err)
			continue
		}
		if w.err != nil {
			w.err = db.rejection(w.err)
			continue
		}
		db.adopt(changes[i])
	}
}

// rejection is the error of one Tx that could not be.
func (db *DB) rejection(err error) error {
	if _, ok := errors.AsType[*mail.Error](err); ok {
		return errors.Unwrap(err)
	}
	return &mail.Error{Scope: mail.ScopeMailbox, Op: "write state", Err: errors.Unwrap(err)}
}

// tryGroup runs the writes in one transaction. An error concerns all of them,
// and then nothing has changed; what concerns one is in its err.
func (db *DB) tryGroup(group []*write) ([]*change, error) {
	if err := db.prepare(slices.ContainsFunc(group, func(w *write) bool { return w.durable })); err != nil {
		return nil, err
	}
	changes := make([]*change, len(group))
	undo := func() {
		for _, ch := range changes {
			ch.fail()
		}
	}
	next := db.next
	var newBoxes []int64
	err := inTransaction(db.c, func() error {
		for key, value := range db.unsaved {
			if err := putMeta(db.c, key, value); err != nil {
				return err
			}
		}
		for i, w := range group {
			ch := &change{next: next, boxes: slices.Clone(newBoxes),
				counts: make(map[listKey]int), claims: make(map[listKey]*claims)}
			changes[i] = ch
			if w.err = db.tryOne(ch, w, len(group) > 1); w.err != nil {
				ch.fail()
				if _, one := errors.AsType[rejected](w.err); one && len(group) > 1 {
					continue
				}
				return w.err
			}
			next, newBoxes = ch.next, ch.boxes
		}
		return nil
	})
	if _, one := errors.AsType[rejected](err); one {
		return changes, nil // of a group of one: w.err tells
	}
	if err != nil {
		undo()
		return nil, err
	}
	db.next = next
	clear(db.unsaved)
	return changes, nil
}

// tryOne runs one write. Among others it gets a savepoint, so that it can be
// undone alone.
func (db *DB) tryOne(ch *change, w *write, savepoint bool) error {
	if !savepoint {
		return w.apply(ch)
	}
	if _, err := db.c.exec("SAVEPOINT one"); err != nil {
		return err
	}
	err := w.apply(ch)
	if _, one := errors.AsType[rejected](err); one {
		if _, rerr := db.c.exec("ROLLBACK TO one"); rerr != nil {
			return rerr
		}
	}
	if _, rerr := db.c.exec("RELEASE one"); err == nil {
		err = rerr
	}
	return err
}

// prepare makes the connection ready for a transaction.
func (db *DB) prepare(durable bool) error {
	if err := db.journal.enter(db.c, db.path); err != nil {
		return err
	}
	if db.damage.repair {
		if err := db.repair(); err != nil {
			return err
		}
	}
	if err := db.loadBoxes(); err != nil {
		return err
	}
	if db.damage.repair { // a mailbox
		if err := db.repair(); err != nil {
			return err
		}
		if err := db.loadBoxes(); err != nil {
			return err
		}
	}
	if err := db.loadNext(); err != nil {
		return err
	}
	return db.journal.durability(db.c, durable)
}

// maxID is greater than any ID that is given, and leaves room above.
const maxID = 1 << 53

// loadNext finds the greatest IDs in use. Rows count for their mailbox: should
// a mailbox's own row be lost, another one must not inherit them.
func (db *DB) loadNext() error {
	if db.next.loaded {
		return nil
	}
	for _, id := range []struct {
		to    *int64
		query string
	}{
		{&db.next.row, `SELECT max(id) FROM message`},
		{&db.next.row, `SELECT max(message) FROM past`},
		{&db.next.run, `SELECT max(id) FROM run`},
		{&db.next.mailbox, `SELECT max(id) FROM mailbox`},
		{&db.next.mailbox, `SELECT max(mailbox) FROM message INDEXED BY live_a WHERE live_a IS NOT NULL`},
		{&db.next.mailbox, `SELECT max(mailbox) FROM message INDEXED BY live_b WHERE live_b IS NOT NULL`},
		{&db.next.mailbox, `SELECT max(mailbox) FROM message INDEXED BY gone_a WHERE gone_a <> 0`},
		{&db.next.mailbox, `SELECT max(mailbox) FROM message INDEXED BY gone_b WHERE gone_b <> 0`},
		{&db.next.mailbox, `SELECT max(mailbox) FROM message INDEXED BY pending WHERE status <> 0`},
	} {
		n, err := db.c.number(id.query)
		if err != nil {
			return err
		}
		if n > maxID {
			return errRepair // no row of ours
		}
		*id.to = max(*id.to, n)
	}
	// SQLite prepares a statement again when a parameter changes to or from 1.
	db.next.mailbox = max(db.next.mailbox, 1)
	db.next.loaded = true
	return nil
}

// adopt takes over what a committed change says.
func (db *DB) adopt(ch *change) {
	for key, n := range ch.counts {
		if _, ok := db.counts[key]; ok {
			db.counts[key] += n
		}
	}
	for _, id := range ch.boxes {
		db.boxes[id] = true
	}
	for _, done := range ch.done {
		done()
	}
}

// fail takes back what a change did outside of the file.
func (ch *change) fail() {
	if ch == nil {
		return
	}
	for _, undo := range slices.Backward(ch.undo) {
		undo()
	}
	ch.undo, ch.done = nil, nil
	clear(ch.counts)
	ch.boxes = nil
}
