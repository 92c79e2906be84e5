package state

import (
	"database/sql/driver"
	"strconv"
	"strings"
)

// addSubscribed leads from version 1 to 2: mailboxes get the column subscribed,
// which is Unknown.
func addSubscribed(c *conn) error { return widenMailbox(c, version1Columns, 1, version2Mailbox) }

// addRenaming leads from version 4 to 5: mailboxes get the columns renaming_a and
// renaming_b, for which nothing is decided.
func addRenaming(c *conn) error {
	return widenMailbox(c, version1Columns+", subscribed", 2, version5Mailbox)
}

const version1Columns = "id, name_a, name_b, use, object_a, object_b, validity_a, validity_b, cursor_a, cursor_b, " +
	"stamp_a, stamp_b, gone_a, gone_b, filter"

// widenMailbox adds columns before the checksum of the table of mailboxes, which are
// NULL. The table is made anew, since ALTER TABLE would leave another definition
// behind than one that is made with the columns.
func widenMailbox(c *conn, old string, more int, ddl string) error {
	columns := strings.Count(old, ",") + 2 // with the checksum
	last := columns + more - 1
	var sum summer
	var rows [][]driver.Value
	err := c.query("SELECT "+old+", crc FROM mailbox ORDER BY id", nil, func(v []driver.Value) error {
		row := make([]driver.Value, last+1)
		copy(row, v[:columns-1])
		row[last] = sum.checksum("mailbox", row[:last])
		if !sum.sound("mailbox", v) {
			// What was damaged must not pass for sound.
			row[last] = ^row[last].(int64)
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		return err
	}
	c.forget() // statements on the table that goes
	for _, ddl := range []string{"DROP TABLE mailbox", ddl} {
		if err := c.once(ddl); err != nil {
			return err
		}
	}
	insert := "INSERT INTO mailbox VALUES (" + placeholders(last+1) + ")"
	for _, row := range rows {
		if _, err := c.exec(insert, row...); err != nil {
			return err
		}
	}
	return nil
}

// The definitions of the table stay as they are when a later version changes it again.
const (
	version2Mailbox = mailboxUntil2 + mailboxEnd
	version5Mailbox = mailboxUntil2 + "  renaming_a TEXT, renaming_b TEXT,\n" + mailboxEnd

	mailboxUntil2 = `CREATE TABLE mailbox (
  id INTEGER NOT NULL PRIMARY KEY,
  name_a TEXT, name_b TEXT,
  use TEXT,
  object_a TEXT, object_b TEXT,
  validity_a TEXT, validity_b TEXT,
  cursor_a TEXT, cursor_b TEXT,
  stamp_a TEXT, stamp_b TEXT,
  gone_a INTEGER NOT NULL, gone_b INTEGER NOT NULL,
  filter TEXT,
  subscribed INTEGER,
`
	mailboxEnd = `  crc INTEGER NOT NULL
) STRICT`
)

// addPast leads from version 3 to 4: what changes from now on leaves entries in past
// and past_mailbox, and meta says with which run that began.
func addPast(c *conn) error {
	for _, ddl := range []string{version4Past, version4PastMailbox, version4PastUntil} {
		if err := c.once(ddl); err != nil {
			return err
		}
	}
	last, err := c.number(`SELECT max(id) FROM run`)
	if err != nil || last == 0 {
		return err
	}
	return putMeta(c, metaHistory, strconv.FormatInt(last, 10))
}

// The definitions of version 4 that are new in it.
const (
	version4Past = `CREATE TABLE past (
  message INTEGER NOT NULL,
  until INTEGER NOT NULL,
  mailbox INTEGER NOT NULL,
  a ANY, b ANY,
  flags_a TEXT, flags_b TEXT,
  there INTEGER NOT NULL,
  born INTEGER NOT NULL,
  size INTEGER NOT NULL,
  date INTEGER, nanos INTEGER NOT NULL, zone INTEGER NOT NULL,
  message_id INTEGER NOT NULL,
  digest BLOB,
  crc INTEGER NOT NULL,
  PRIMARY KEY (message, until)
) STRICT, WITHOUT ROWID`
	version4PastMailbox = `CREATE TABLE past_mailbox (
  mailbox INTEGER NOT NULL,
  until INTEGER NOT NULL,
  name_a TEXT, name_b TEXT,
  use TEXT,
  gone_a INTEGER NOT NULL, gone_b INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  PRIMARY KEY (mailbox, until)
) STRICT, WITHOUT ROWID`
	version4PastUntil = `CREATE INDEX past_until ON past (until)`
)
