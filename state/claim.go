package state

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// claims are the refs of one list that rows of a Tx have come to claim. No two
// rows may claim one message in the end, but in between they may: refs are
// exchanged when a mailbox is numbered anew. So all is checked at the end.
//
// New messages mostly come with greater refs than all before them: UIDs ascend
// (RFC 9051, 2.3.1.1) and keys begin with the time. Those need not be looked
// for in the file, only compared with each other.
type claims struct {
	top  driver.Value   // the greatest ref in the list before the first claim; nil for none
	new  []driver.Value // greater than top
	rest []driver.Value
}

// note takes down which of the lists a row leaves and joins. It must be called
// before the row is written; old or now is nil when there is none.
func (db *DB) note(ch *change, old, now []driver.Value) error {
	for _, side := range []Side{A, B} {
		was, is := listedAs(old, side), listedAs(now, side)
		if was == is {
			continue
		}
		if was.ref != nil {
			ch.counts[was.key]--
		}
		if is.ref == nil {
			continue
		}
		ch.counts[is.key]++
		c := ch.claims[is.key]
		if c == nil {
			c = &claims{}
			var err error
			if c.top, err = db.topRef(is.key); err != nil {
				return err
			}
			ch.claims[is.key] = c
		}
		if c.top == nil || compareValues(is.ref, c.top) > 0 {
			c.new = append(c.new, is.ref)
		} else {
			c.rest = append(c.rest, is.ref)
		}
	}
	return nil
}

// listed is a row's place in a list; ref is nil when it has none.
type listed struct {
	key listKey
	ref driver.Value
}

func listedAs(v []driver.Value, side Side) listed {
	if v == nil || v[colLiveA+int(side)] == nil {
		return listed{}
	}
	box, _ := v[colMailbox].(int64)
	switch ref := v[colA+int(side)].(type) {
	case int64, string:
		return listed{listKey{box, side}, ref}
	}
	return listed{} // a damaged row
}

// topRef is the greatest ref of a list; nil when it is empty.
func (db *DB) topRef(key listKey) (top driver.Value, err error) {
	err = db.c.query(perSide(key.side, `SELECT a FROM message INDEXED BY live_a WHERE mailbox = ? AND live_a IS NOT NULL ORDER BY a DESC LIMIT 1`),
		[]driver.Value{key.box}, func(v []driver.Value) error {
			top = v[0]
			return nil
		})
	return top, err
}

// checkClaims refuses what would leave two rows that claim one message. When a
// damaged row is the other one, the answer is errRepair.
func (db *DB) checkClaims(ch *change) error {
	for key, c := range ch.claims {
		slices.SortFunc(c.new, compareValues)
		for i := 1; i < len(c.new); i++ {
			if c.new[i] == c.new[i-1] {
				c.rest = append(c.rest, c.new[i])
			}
		}
		for chunk := range slices.Chunk(c.rest, maxIn) {
			if err := db.checkChunk(key, chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkChunk looks for refs that more than one row claims.
func (db *DB) checkChunk(key listKey, refs []driver.Value) error {
	list, args := in(refs)
	var twice driver.Value
	err := db.c.query(perSide(key.side, "SELECT a FROM message INDEXED BY live_a WHERE mailbox = ? AND live_a IS NOT NULL AND a IN "+
		list+" GROUP BY a HAVING count(*) > 1 LIMIT 1"), append([]driver.Value{key.box}, args...),
		func(v []driver.Value) error {
			twice = v[0]
			return nil
		})
	if err != nil || twice == nil {
		return err
	}
	ref, _ := decodeRef(twice)
	var ids []string
	damaged := false
	err = db.c.query(selectRows+perSide(key.side, "INDEXED BY live_a WHERE mailbox = ? AND live_a IS NOT NULL AND a = ? ORDER BY id"),
		[]driver.Value{key.box, twice}, func(v []driver.Value) error {
			r := db.sum.decodeRow(v)
			damaged = damaged || r == nil || r.Mailbox != key.box || r.Ref[key.side] != ref || !r.Alive(key.side)
			ids = append(ids, fmt.Sprint(v[colID]))
			return nil
		})
	switch {
	case err != nil:
		return err
	case damaged:
		return errRepair
	}
	return rejected{&mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindIntegrity, Op: "write state", Ref: ref,
		Err: fmt.Errorf("%w: rows %s, on side %s of mailbox %d", ErrClaimed, strings.Join(ids, " and "), key.side, key.box)}}
}
