package state

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// conn is one SQLite connection with its prepared statements. It uses the
// driver without database/sql: there is one connection and one owner, and a
// pool would only be a second opinion on who may use it when. Its methods must
// not be called from two goroutines at once (see DB.lock).
type conn struct {
	path     string
	readOnly bool
	c        driver.Conn
	stmts    map[string]driver.Stmt
	args     []driver.NamedValue // reused between calls
	row      []driver.Value      // likewise
}

// cacheKiB bounds SQLite's page cache: what an index of a million rows needs at
// its hot end, not the whole file.
const cacheKiB = 4096

// busyMillis is how long SQLite waits for another process's file lock. Readers
// hold one for a batch of rows at most.
const busyMillis = 5000

// connect opens the file at path, which must exist. With alone set, nobody else
// can read it meanwhile, and SQLite needs no memory that it shares with others.
func connect(ctx context.Context, path string, readOnly, alone bool) (*conn, error) {
	connector, err := sqlite.NewConnector(dsn(path, readOnly))
	if err != nil {
		return nil, err
	}
	c, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	db := &conn{c: c, path: path, readOnly: readOnly, stmts: make(map[string]driver.Stmt)}
	locking := "NORMAL"
	if alone {
		locking = "EXCLUSIVE"
	}
	for _, pragma := range []string{
		"PRAGMA locking_mode = " + locking, // before any that reads the file
		"PRAGMA cache_size = -" + strconv.Itoa(cacheKiB),
		"PRAGMA mmap_size = 0",
		"PRAGMA fullfsync = ON", // macOS: down to the disk, not to its cache
		// No statement may spill mail metadata into a shared temporary directory.
		"PRAGMA temp_store = MEMORY",
		"PRAGMA trusted_schema = OFF",
		"PRAGMA cell_size_check = ON",
	} {
		if err := db.once(pragma); err != nil {
			return nil, errors.Join(err, db.close())
		}
	}
	return db, nil
}

// dsn is the name under which the driver opens path. Any byte may occur in it.
func dsn(path string, readOnly bool) string {
	p := filepath.ToSlash(path)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // C:/...
	}
	mode := "rw"
	if readOnly {
		mode = "ro"
	}
	q := url.Values{
		"mode":          {mode},
		"_busy_timeout": {strconv.Itoa(busyMillis)},
		"_defensive":    {"1"},
		"_error_rc":     {"1"},
		"_dqs":          {"0"},
	}
	return (&url.URL{Scheme: "file", Path: p, RawQuery: q.Encode()}).String()
}

// close closes the connection; it may be called twice.
func (c *conn) close() error {
	if c.c == nil {
		return nil
	}
	c.forget()
	err := c.c.Close()
	c.c = nil
	return err
}

// forget closes the prepared statements. Doing that tells the error of a
// statement's last execution once more, which was told then.
func (c *conn) forget() {
	for _, s := range c.stmts {
		_ = s.Close()
	}
	clear(c.stmts)
}

// reconnect opens the file anew: what connect has not set is as in the
// beginning.
func (c *conn) reconnect(alone bool) error {
	if err := c.close(); err != nil {
		return err
	}
	n, err := connect(context.Background(), c.path, c.readOnly, alone)
	if err == nil {
		*c = *n
	}
	return err
}

// maxStatements bounds the statements that are kept: updates come in many
// forms.
const maxStatements = 100

// stmt prepares query, or finds it prepared. No statement is in use meanwhile.
func (c *conn) stmt(query string) (driver.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	if c.c == nil {
		return nil, fs.ErrClosed
	}
	if len(c.stmts) >= maxStatements {
		c.forget()
	}
	s, err := c.c.Prepare(query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// named gives args to the driver without an allocation per call.
func (c *conn) named(args []driver.Value) []driver.NamedValue {
	c.args = c.args[:0]
	for i, v := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return c.args
}

// exec runs a prepared statement and answers with the number of rows that it
// changed. Statements are never given a cancellable context: that costs a
// goroutine each, and all of them are bounded. Callers look at theirs between.
func (c *conn) exec(query string, args ...driver.Value) (int64, error) {
	s, err := c.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := s.(driver.StmtExecContext).ExecContext(context.Background(), c.named(args))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// once runs a statement that is not worth keeping.
func (c *conn) once(query string) error {
	if c.c == nil {
		return fs.ErrClosed
	}
	_, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), query, nil)
	return err
}

// query runs a prepared statement and calls fn for each row. fn must not keep
// the slice, and must not use the connection.
func (c *conn) query(query string, args []driver.Value, fn func([]driver.Value) error) error {
	s, err := c.stmt(query)
	if err != nil {
		return err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), c.named(args))
	if err != nil {
		return err
	}
	n := len(rows.Columns())
	if cap(c.row) < n {
		c.row = make([]driver.Value, n)
	}
	row := c.row[:n]
	for {
		if err = rows.Next(row); err != nil {
			break
		}
		if err = fn(row); err != nil {
			break
		}
	}
	if err == io.EOF {
		err = nil
	}
	// Closing tells the error of the last step once more.
	if cerr := rows.Close(); err == nil {
		err = cerr
	}
	return err
}

// number runs a query that answers with one integer; NULL and no row are 0.
func (c *conn) number(query string, args ...driver.Value) (int64, error) {
	var n int64
	err := c.query(query, args, func(v []driver.Value) error {
		n, _ = v[0].(int64)
		return nil
	})
	return n, err
}

// text runs a query that answers with one string; anything else is "".
func (c *conn) text(query string) (string, error) {
	var s string
	err := c.query(query, nil, func(v []driver.Value) error {
		s, _ = v[0].(string)
		return nil
	})
	return s, err
}

// code is the SQLite result code in err, 0 when it has none.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// malformed reports whether err says that the file's structure is broken.
func malformed(err error) bool {
	switch code(err) & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT:
		return true
	}
	return false
}
