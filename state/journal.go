package state

import (
	"errors"
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
	wal   bool   // the file is in write-ahead mode now
	tried bool   // enter was called
	sync  string // the level that durability has set
}

// logPages is how many pages the log holds before they are moved into the file:
// index pages that many commits touch are then written there once.
const logPages = 4096

// look finds out in which mode the file was left. It is the log after a crash,
// and when a reader kept it open.
func (j *journal) look(c *conn) error {
	mode, err := c.text("PRAGMA journal_mode")
	j.wal = strings.EqualFold(mode, "wal")
	return err
}

// enter prepares for commits.
func (j *journal) enter(c *conn, path string) error {
	if j.tried {
		return nil
	}
	mode := "WAL"
	if remote(path) {
		mode = "DELETE"
	}
	// Busy means that a reader was at it all the time: the mode stays as it is.
	if err := j.change(c, mode); err != nil && code(err)&0xff != sqlite3.SQLITE_BUSY {
		return err
	}
	if j.wal {
		if err := j.try(c); err != nil {
			return err
		}
	}
	j.tried = true
	return c.once(fmt.Sprintf("PRAGMA wal_autocheckpoint = %d", logPages))
}

// try finds out whether the log works, and goes back when it does not: some
// filesystems cannot share memory between processes.
func (j *journal) try(c *conn) error {
	_, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err == nil || malformed(err) {
		return err
	}
	if rerr := c.reconnect(true); rerr != nil {
		return fmt.Errorf("%w, and %v", err, rerr)
	}
	err = j.change(c, "DELETE")
	return errors.Join(err, c.reconnect(false))
}

// change asks for a mode, and takes down which one it is then.
func (j *journal) change(c *conn, mode string) error {
	if j.wal == (mode == "WAL") {
		return nil
	}
	got, err := c.text("PRAGMA journal_mode = " + mode)
	if err == nil {
		j.wal = strings.EqualFold(got, "wal")
	}
	return err
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
	err := j.change(c, "DELETE")
	if code(err)&0xff == sqlite3.SQLITE_BUSY {
		return nil
	}
	return err
}
