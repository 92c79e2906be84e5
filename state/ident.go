package state

import (
	"context"
	"database/sql/driver"
	"errors"

	"postbag/internal/mail"
)

// maxAlike bounds the answer of ByIdentity for each way of being equal: a
// mailbox may hold any number of copies of one message.
const maxAlike = 1000

// identRows is the number of rows that are searched without an index.
const identRows = 10_000

// ByIdentity answers with rows of all mailboxes whose message is perhaps ident,
// by ID: those with its digest and the size, or with its ObjectID, or with its
// Message-ID and the size. What is not known of ident finds nothing; when size
// is not known (-1), a digest is looked for in every row, which is slow. Of more
// than 1000 rows of one kind the rest is left out.
//
// The first call on a state of some size builds the index that it needs, which
// takes about a second for a million rows.
func (db *DB) ByIdentity(ctx context.Context, ident mail.Identity, size int64) ([]*Row, error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	defer db.release()
	if !db.o.ReadOnly {
		if err := db.buildIdent(); err != nil {
			return nil, db.wrap("write", err)
		}
	}
	rows, err := db.alike(ident, size)
	return unique(rows), db.wrap("read", err)
}

// alike does the work of ByIdentity. SQLite uses the index when it is there.
func (db *DB) alike(ident mail.Identity, size int64) (rows []*Row, err error) {
	find := func(where string, fits func(*Row) bool, args ...driver.Value) error {
		return db.readRows(selectRows+where+" LIMIT ?", append(args, int64(maxAlike)), fits,
			func(r *Row) { rows = append(rows, r) })
	}
	if digest := ident.Digest; digest.Known() {
		fits := func(r *Row) bool { return r.Ident.Digest == digest }
		if size >= 0 {
			err = find("WHERE size = ? AND digest = ?", fits, size, digest[:])
		} else {
			err = find("WHERE digest = ?", fits, digest[:])
		}
	}
	if err == nil && ident.ObjectID != "" {
		err = find("INDEXED BY object WHERE object_id = ?",
			func(r *Row) bool { return r.Ident.ObjectID == ident.ObjectID }, ident.ObjectID)
	}
	if err == nil && ident.Described && ident.MessageID != 0 && size >= 0 {
		err = find("WHERE size = ? AND message_id = ? AND described = 1",
			func(r *Row) bool {
				return r.Ident.Described && r.Ident.MessageID == ident.MessageID && r.Size == size
			}, size, int64(ident.MessageID))
	}
	return rows, err
}

// buildIdent makes the index when it is missing and worth its while. The caller
// holds the connection, and is in no transaction.
func (db *DB) buildIdent() error {
	if db.ident {
		return nil
	}
	rows, err := db.c.number(`SELECT max(id) FROM message`)
	if err != nil || rows < identRows {
		return err
	}
	n, err := db.c.number(`SELECT count(*) FROM sqlite_schema WHERE name = 'ident'`)
	if err == nil && n == 0 {
		err = db.createIdent()
	}
	db.ident = err == nil
	return err
}

// createIdent builds the index. A million rows are sorted on disk: in memory
// they would take 60 MB. What lies there for a moment is numbers. Without a
// place for temporary files it is memory after all.
func (db *DB) createIdent() error {
	if err := db.journal.enter(db.c, db.path); err != nil {
		return err
	}
	build := func() error { return db.c.once(identIndex) }
	if err := db.c.once("PRAGMA temp_store = FILE"); err != nil {
		return err
	}
	err := inTransaction(db.c, build)
	if merr := db.c.once("PRAGMA temp_store = MEMORY"); merr != nil {
		return errors.Join(err, merr)
	}
	if err != nil && !malformed(err) {
		err = inTransaction(db.c, build)
	}
	return err
}
