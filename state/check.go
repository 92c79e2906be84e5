package state

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
)

// maxFindings bounds what Check reports.
const maxFindings = 1000

// Check looks at everything in the state at path and says what is wrong with
// it, for tests and for users who want to know. It writes nothing. The error is
// for a state that cannot be opened at all; one that opens but is malformed
// further in is a finding.
func Check(ctx context.Context, path string) ([]string, error) {
	db, err := Open(ctx, path, Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	c := &checker{ctx: ctx, db: db}
	err = c.run()
	if err != nil && malformed(err) {
		c.find("%v", err)
		err = nil
	}
	return c.findings, errors.Join(db.wrap("check", err), db.Close())
}

// checker collects findings.
type checker struct {
	ctx      context.Context
	db       *DB
	findings []string
}

func (c *checker) find(format string, args ...any) {
	if len(c.findings) < maxFindings {
		c.findings = append(c.findings, fmt.Sprintf(format, args...))
	}
}

func (c *checker) run() error {
	if err := c.db.hold(c.ctx); err != nil {
		return err
	}
	defer c.db.release()
	// This one compares the indexes with the rows, too.
	err := c.db.c.query("PRAGMA integrity_check(100)", nil, func(v []driver.Value) error {
		if s, _ := v[0].(string); s != "ok" {
			c.find("%s: %s", filepath.Base(c.db.path), s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	boxes := make(map[int64]bool)
	for _, table := range []struct {
		name, columns string
		fn            func([]driver.Value)
	}{
		{"meta", metaColumns, func([]driver.Value) {}},
		{"run", runColumns, func(v []driver.Value) {
			if _, ok := decodeRun(v); !ok {
				c.find("run %v: cannot be", v[0])
			}
		}},
		{"mailbox", mailboxColumns, func(v []driver.Value) {
			box, ok := decodeMailbox(v)
			if !ok {
				c.find("mailbox %v: cannot be", v[0])
			}
			boxes[box.ID] = true
		}},
		{"message", rowColumns, func(v []driver.Value) { c.message(v, boxes) }},
		{"past", pastColumns, func(v []driver.Value) {
			if _, ok := decodePast(v); !ok {
				c.find("what row %v was before run %v: cannot be", v[0], v[1])
			}
		}},
		{"past_mailbox", pastBoxColumns, func(v []driver.Value) {
			if _, ok := decodePastMailbox(v); !ok {
				c.find("what mailbox %v was before run %v: cannot be", v[0], v[1])
			}
		}},
		{"problem", problemColumns, func(v []driver.Value) {
			if _, ok := decodeProblem(v); !ok {
				c.find("problem of row %v: cannot be", v[0])
			}
		}},
		{"sent", sentColumns, func(v []driver.Value) {
			if _, _, ok := decodeSent(v); !ok {
				c.find("what was sent of row %v: cannot be", v[0])
			}
		}},
	} {
		if err := c.table(table.name, table.columns, table.fn); err != nil {
			return err
		}
	}
	return c.relations()
}

// table calls fn for the sound rows of a table.
func (c *checker) table(name, columns string, fn func([]driver.Value)) error {
	return c.db.c.query("SELECT "+columns+" FROM "+name+" NOT INDEXED", nil, func(v []driver.Value) error {
		if !c.db.sum.sound(name, v) {
			c.find("%s %v: its checksum is wrong", name, v[0])
			return c.ctx.Err()
		}
		fn(v)
		return c.ctx.Err()
	})
}

// message checks one row.
func (c *checker) message(v []driver.Value, boxes map[int64]bool) {
	r := c.db.sum.decodeRow(v)
	if r == nil {
		c.find("row %v: cannot be", v[colID])
		return
	}
	if !boxes[r.Mailbox] {
		c.find("row %d: its mailbox %d is not there", r.ID, r.Mailbox)
	}
	if err := valid(r); err != nil {
		c.find("row %d: %v", r.ID, err)
	}
	for _, side := range []Side{A, B} {
		var want driver.Value
		if r.Alive(side) {
			want = c.db.sum.live(side, r.ID, r.Mailbox, v[colA+int(side)], v[colFlagsA+int(side)])
		}
		if v[colLiveA+int(side)] != want {
			c.find("row %d: is listed wrongly on side %s", r.ID, side)
		}
	}
}

// relations checks what holds between rows.
func (c *checker) relations() error {
	for _, side := range []Side{A, B} {
		err := c.db.c.query(perSide(side, `SELECT mailbox, a , count(*) FROM message INDEXED BY live_a WHERE live_a IS NOT NULL
			GROUP BY mailbox, a HAVING count(*) > 1`), nil, func(v []driver.Value) error {
			c.find("mailbox %v: %v rows claim %v on side %s", v[0], v[2], v[1], side)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for table, what := range map[string]string{"problem": "a problem", "sent": "what was sent"} {
		if err := c.db.c.query("SELECT message FROM "+table+" WHERE message NOT IN (SELECT id FROM message)", nil, func(v []driver.Value) error {
			c.find("%s of row %v, which is not there", what, v[0])
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
