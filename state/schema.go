package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"database/sql/driver"
)

// appID marks the file as ours in SQLite's header ("PBag").
const appID = 0x50426167

// schema makes a file of the current version. The statements are compared with
// what a file says of itself, byte by byte, whenever it is opened: a damaged
// definition would make SQLite look for rows in the wrong places. So a
// migration has to leave exactly this text behind.
//
// Every table ends with crc: see checksum. Columns come in pairs, _a and _b,
// one for each side. Times are seconds since 1970 in UTC, an absent text is
// NULL.
//
// message.a and .b hold a UID as an integer or a Maildir key as text, so that
// UIDs sort as numbers. message.live_a and .live_b are NULL unless the message
// is on that side; else they are a checksum of what the index of that name
// holds, so that a listing of one side need not touch the table.
//
// mailbox.subscribed is NULL for Unknown, else 0 or 1. mailbox.renaming_a and
// .renaming_b are NULL unless mailboxes are being renamed.
//
// past.there is a sum: 1 when the message was on side A, 2 when on side B.
var schema = []string{
	`CREATE TABLE meta (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID`,
	version5Mailbox,
	`CREATE TABLE message (
  id INTEGER NOT NULL PRIMARY KEY,
  mailbox INTEGER NOT NULL,
  a ANY, b ANY,
  flags_a TEXT, flags_b TEXT,
  gone_a INTEGER NOT NULL, gone_b INTEGER NOT NULL,
  live_a INTEGER, live_b INTEGER,
  status INTEGER NOT NULL,
  mark TEXT,
  born INTEGER NOT NULL,
  size INTEGER NOT NULL,
  date INTEGER, nanos INTEGER NOT NULL, zone INTEGER NOT NULL,
  described INTEGER NOT NULL, message_id INTEGER NOT NULL,
  digest BLOB,
  object_id TEXT,
  crc INTEGER NOT NULL
) STRICT`,
	`CREATE TABLE problem (
  message INTEGER NOT NULL,
  side INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  reason TEXT,
  tries INTEGER NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (message, side)
) STRICT, WITHOUT ROWID`,
	`CREATE TABLE run (
  id INTEGER NOT NULL PRIMARY KEY,
  command TEXT,
  started INTEGER, finished INTEGER,
  outcome TEXT,
  summary TEXT,
  crc INTEGER NOT NULL
) STRICT`,
	version3Sent,
	version4Past,
	version4PastMailbox,
}

// indexes belong to the schema, and are kept apart because repair builds them
// anew. All but the first two are empty or nearly so for most users.
var indexes = []string{
	`CREATE INDEX live_a ON message (mailbox, a, flags_a, live_a) WHERE live_a IS NOT NULL`,
	`CREATE INDEX live_b ON message (mailbox, b, flags_b, live_b) WHERE live_b IS NOT NULL`,
	`CREATE INDEX dead_a ON message (mailbox, a) WHERE gone_a <> 0`,
	`CREATE INDEX dead_b ON message (mailbox, b) WHERE gone_b <> 0`,
	`CREATE INDEX gone_a ON message (mailbox) WHERE gone_a <> 0`,
	`CREATE INDEX gone_b ON message (mailbox) WHERE gone_b <> 0`,
	`CREATE INDEX alone_a ON message (mailbox) WHERE b IS NULL AND live_a IS NOT NULL AND status = 0`,
	`CREATE INDEX alone_b ON message (mailbox) WHERE a IS NULL AND live_b IS NOT NULL AND status = 0`,
	`CREATE INDEX alone_size_a ON message (mailbox, size) WHERE b IS NULL AND live_a IS NOT NULL AND status = 0`,
	`CREATE INDEX alone_size_b ON message (mailbox, size) WHERE a IS NULL AND live_b IS NOT NULL AND status = 0`,
	`CREATE INDEX pending ON message (mailbox) WHERE status <> 0`,
	`CREATE INDEX object ON message (object_id) WHERE object_id IS NOT NULL`,
	version4PastUntil,
}

// identIndex serves ByIdentity, and is the one index that a file may lack. Its
// entries are in no order of time, so that with it each new row costs a page of
// its own, as much as all the rest: it is built in one go when somebody asks and
// there are enough rows to need it (see buildIdent).
const identIndex = `CREATE INDEX ident ON message (size, message_id)`

// migrations turn a file of version i+1 into one of version i+2, each within
// the transaction that also raises the version. A new one comes with a file of
// the version before it in testdata.
var migrations = []func(*conn) error{addSubscribed, addSent, addPast, addRenaming}

// version is what this program writes.
func version() int64 { return int64(len(migrations)) + 1 }

// create fills an empty file.
func create(c *conn, meta map[string]string) error {
	return inTransaction(c, func() error {
		for _, ddl := range slices.Concat(schema, indexes) {
			if err := c.once(ddl); err != nil {
				return err
			}
		}
		for key, value := range meta {
			if err := putMeta(c, key, value); err != nil {
				return err
			}
		}
		return setVersion(c, version())
	})
}

// setVersion writes the version into the header and, as a row with a checksum,
// into meta: one flipped bit must not turn a file into one of another version.
func setVersion(c *conn, v int64) error {
	if err := c.once(fmt.Sprintf("PRAGMA application_id = %d", appID)); err != nil {
		return err
	}
	if err := c.once(fmt.Sprintf("PRAGMA user_version = %d", v)); err != nil {
		return err
	}
	return putMeta(c, metaVersion, fmt.Sprint(v))
}

// migrate brings a file of version from to that after the last of steps.
func migrate(c *conn, from int64, steps []func(*conn) error) error {
	return inTransaction(c, func() error {
		for v := from; v <= int64(len(steps)); v++ {
			if err := steps[v-1](c); err != nil {
				return fmt.Errorf("migration from version %d: %w", v, err)
			}
		}
		return setVersion(c, int64(len(steps))+1)
	})
}

// inTransaction runs fn in a transaction of its own, and undoes all of it when
// fn fails.
func inTransaction(c *conn, fn func() error) error {
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		_, err = c.exec("COMMIT")
	}
	if err != nil {
		rollback(c)
	}
	return err
}

// rollback ends a transaction that failed. Its own failure says nothing new:
// after many errors SQLite has rolled back already, and a connection that
// cannot is closed by its owner.
func rollback(c *conn) { _, _ = c.exec("ROLLBACK") }

// checkSchema compares the definitions in the file with ours. empty is true
// when there are none at all.
func checkSchema(c *conn) (empty bool, err error) {
	var have []string
	err = c.query(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL`, nil, func(v []driver.Value) error {
		s, _ := v[0].(string)
		have = append(have, s)
		return nil
	})
	if err != nil || len(have) == 0 {
		return err == nil, err
	}
	have = slices.DeleteFunc(have, func(s string) bool { return s == identIndex })
	want := slices.Concat(schema, indexes)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return false, fmt.Errorf("%w: its definitions are not those of version %d (%s)", errDamaged, version(), difference(have, want))
	}
	return false, nil
}

// difference names what is missing or foreign among definitions.
func difference(have, want []string) string {
	for _, s := range want {
		if !slices.Contains(have, s) {
			return "lacks " + strings.Join(strings.Fields(s)[:3], " ")
		}
	}
	return fmt.Sprintf("%d too many", len(have)-len(want))
}

// errDamaged is the reason when a file holds what no postbag wrote.
var errDamaged = errors.New("the state file is damaged")
