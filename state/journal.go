package state

import (
	"fmt"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"
)

// journal is how SQLite keeps its promises during a run, and what it leaves on
// the disk.
//
// At rest the file is in rollback mode: it can be read without making any other
// file, on a read-only disk too, and copied alone. The first commit of a run
// switches to the write-ahead log, where a commit is one flush, or none, and
// readers and the writer do not wait for each other. Where the log cannot work,
// because other machines may have the file open and do not share our memory,
// the file stays in rollback mode; each commit is durable there then, since a
// rollback journal that was not flushed would not only lose commits but break
// the file.
type journal struct {
	known bool // look was called
	wal   bool // the file is in write-ahead mode now
	tried bool // enter was called
	sync  string
}

// logPages is how many pages the log holds before they are moved into the file:
// index pages that many commits touch are then written there once.
const logPages = 4096

// look finds out in which mode the file was left. It is the log after a crash,
// and when a reader kept it open.
func (j *journal) look(c *conn) error {
	mode, err := c.text("PRAGMA journal_mode")
	j.known, j.wal = err == nil, strings.EqualFold(mode, "wal")
	return err
}

// enter prepares for commits.
func (j *journal) enter(c *conn, path string) error {
	if j.tried {
		return nil
	}
	if !j.wal && !remote(path) {
		mode, err := c.text("PRAGMA journal_mode = WAL")
		// Busy means that a reader was at it all the time.
		if err != nil && code(err)&0xff != sqlite3.SQLITE_BUSY {
			return err
		}
		j.wal = strings.EqualFold(mode, "wal")
	}
	j.tried = true
	return c.once(fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", logPages))
}

// durability sets what the next commit flushes. It must not be called within a
// transaction.
func (j *journal) durability(c *conn, durable bool) error {
	level := "FULL"
	if j.wal && !durable {
		level = "NORMAL" // flushes only when the log is moved into the file
	}
	if level == j.sync {
		return nil
	}
	if err := c.once("PRAGMA synchronous = " + level); err != nil {
		return err
	}
	j.sync = level
	return nil
}

// leave goes back to rollback mode when the log is in use. A reader that has
// the file open prevents it: then the log stays beside the file until the next
// run.
func (j *journal) leave(c *conn) error {
	if c == nil || !j.wal {
		return nil
	}
	// A reader does not go away by waiting.
	if err := c.once("PRAGMA busy_timeout = 100"); err != nil {
		return err
	}
	mode, err := c.text("PRAGMA journal_mode = DELETE")
	if err != nil && code(err)&0xff == sqlite3.SQLITE_BUSY {
		return nil
	}
	j.wal = strings.EqualFold(mode, "wal")
	return err
}
