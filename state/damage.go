package state

import (
	"database/sql/driver"
	"fmt"
	"strings"
)

// Damage counts the rows whose checksum is wrong, each once, since the state
// was opened. They take no part in anything: a message row means "no base for
// this message", a mailbox row "no base for this mailbox". Before the next
// commit they are dropped, and the counts stay.
type Damage struct {
	Meta, Mailboxes, Messages, Problems, Runs int
	Sent                                      int // notes of messages that were sent with repairs
	Past                                      int // entries of what was before
}

// Total is the number of damaged rows of all tables.
func (d Damage) Total() int {
	return d.Meta + d.Mailboxes + d.Messages + d.Problems + d.Runs + d.Sent + d.Past
}

// Damage tells what was met so far. Only what was read has been looked at; see
// Check for a look at everything.
func (db *DB) Damage() Damage {
	db.gate <- struct{}{}
	defer db.release()
	return Damage{
		Meta:      db.damage.count["meta"],
		Mailboxes: db.damage.count["mailbox"],
		Messages:  db.damage.count["message"],
		Problems:  db.damage.count["problem"],
		Runs:      db.damage.count["run"],
		Sent:      db.damage.count["sent"],
		Past:      db.damage.count["past"] + db.damage.count["past_mailbox"],
	}
}

// damageLog counts damaged rows.
type damageLog struct {
	count  map[string]int
	seen   map[string]bool
	repair bool // there is something to repair before the next commit
}

// maxDamage bounds the memory for telling rows apart; beyond it a row that is
// met twice counts twice.
const maxDamage = 10_000

// note takes down a bad row by its first column.
func (l *damageLog) note(table string, key driver.Value) {
	l.repair = true
	if l.count == nil {
		l.count, l.seen = make(map[string]int), make(map[string]bool)
	}
	name := fmt.Sprintf("%s %T %v", table, key, key)
	if l.seen[name] {
		return
	}
	if len(l.seen) < maxDamage {
		l.seen[name] = true
	}
	l.count[table]++
}

// repair drops every bad row and builds the indexes anew, for they may say
// something else than the rows. What hangs on a dropped row goes with it. The
// caller is in no transaction.
func (db *DB) repair() error {
	err := inTransaction(db.c, db.repairTables)
	if err != nil {
		return err
	}
	db.damage.repair = false
	db.boxes, db.sent = nil, nil
	clear(db.counts)
	return nil
}

func (db *DB) repairTables() error {
	for _, ddl := range append(indexes[:len(indexes):len(indexes)], identIndex) {
		if err := db.c.once("DROP INDEX IF EXISTS " + strings.Fields(ddl)[2]); err != nil {
			return err
		}
	}
	db.ident = false
	boxes := make(map[int64]bool)
	if err := db.dropBad("mailbox", mailboxColumns, func(v []driver.Value) bool {
		id, ok := v[0].(int64)
		boxes[id] = ok
		return ok
	}); err != nil {
		return err
	}
	if err := db.dropBad("message", rowColumns, func(v []driver.Value) bool {
		r := db.sum.decodeRow(v)
		if r != nil {
			db.next.mailbox = max(db.next.mailbox, r.Mailbox) // though it may go
		}
		return r != nil && boxes[r.Mailbox]
	}); err != nil {
		return err
	}
	if err := db.dropBad("run", runColumns, func([]driver.Value) bool { return true }); err != nil {
		return err
	}
	for _, table := range []struct{ name, columns string }{{"meta", metaColumns}, {"past_mailbox", pastBoxColumns}} {
		if err := db.dropBadKeyed(table.name, table.columns); err != nil {
			return err
		}
	}
	if err := db.dropBadPast(); err != nil {
		return err
	}
	if err := db.dropBadKeyed("problem", problemColumns); err != nil {
		return err
	}
	if err := db.dropBadKeyed("sent", sentColumns); err != nil {
		return err
	}
	for _, table := range []string{"problem", "sent"} {
		if err := db.c.once("DELETE FROM " + table + " WHERE message NOT IN (SELECT id FROM message)"); err != nil {
			return err
		}
	}
	for _, ddl := range indexes {
		if err := db.c.once(ddl); err != nil {
			return err
		}
	}
	return nil
}

// dropBad walks a table with an integer key and deletes the rows that are not
// sound or not good.
func (db *DB) dropBad(table, cols string, good func([]driver.Value) bool) error {
	after := int64(-1 << 63)
	for {
		var bad []driver.Value
		n := 0
		err := db.c.query("SELECT "+cols+" FROM "+table+" NOT INDEXED WHERE id > ? ORDER BY id LIMIT ?",
			[]driver.Value{after, int64(batchRows)}, func(v []driver.Value) error {
				n++
				after, _ = v[0].(int64) // the rowid: an integer, whatever the file holds
				if !db.sum.sound(table, v) || !good(v) {
					db.damage.note(table, v[0])
					bad = append(bad, v[0])
				}
				return nil
			})
		if err != nil {
			return err
		}
		for _, id := range bad {
			if _, err := db.c.exec("DELETE FROM "+table+" WHERE id = ?", id); err != nil {
				return err
			}
		}
		if n < batchRows {
			return nil
		}
	}
}

// dropBadKeyed does it for the small tables without an integer key: it writes
// the sound rows again.
func (db *DB) dropBadKeyed(table, cols string) error {
	var keep [][]driver.Value
	bad := false
	err := db.c.query("SELECT "+cols+" FROM "+table, nil, func(v []driver.Value) error {
		if db.sum.sound(table, v) {
			keep = append(keep, append([]driver.Value(nil), v...))
			return nil
		}
		db.damage.note(table, v[0])
		bad = true
		return nil
	})
	if err != nil || !bad {
		return err
	}
	if err := db.c.once("DELETE FROM " + table); err != nil {
		return err
	}
	for _, v := range keep {
		if _, err := db.c.exec("INSERT OR REPLACE INTO "+table+" ("+cols+") VALUES ("+placeholders(len(v))+")", v...); err != nil {
			return err
		}
	}
	return nil
}

// dropBadPast does it for what was before, of which there may be much.
func (db *DB) dropBadPast() error {
	message, until := int64(-1<<63), int64(-1<<63)
	for {
		var bad [][2]driver.Value
		n := 0
		err := db.c.query("SELECT "+pastColumns+" FROM past WHERE (message, until) > (?, ?) ORDER BY message, until LIMIT ?",
			[]driver.Value{message, until, int64(batchRows)}, func(v []driver.Value) error {
				n++
				message, _ = v[0].(int64)
				until, _ = v[1].(int64)
				if _, ok := decodePast(v); !ok || !db.sum.sound("past", v) {
					db.damage.note("past", fmt.Sprint(v[0], " ", v[1]))
					bad = append(bad, [2]driver.Value{v[0], v[1]})
				}
				return nil
			})
		if err != nil {
			return err
		}
		for _, key := range bad {
			if _, err := db.c.exec("DELETE FROM past WHERE message = ? AND until = ?", key[0], key[1]); err != nil {
				return err
			}
		}
		if n < batchRows {
			return nil
		}
	}
}

// loadBoxes makes db.boxes the mailboxes that are there and sound.
func (db *DB) loadBoxes() error {
	if db.boxes != nil {
		return nil
	}
	boxes := make(map[int64]bool)
	err := db.eachMailbox(func(box *Mailbox) error {
		boxes[box.ID] = true
		return nil
	})
	if err == nil {
		db.boxes = boxes
	}
	return err
}
