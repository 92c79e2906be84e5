package state

import (
	"context"
	"database/sql/driver"
	"maps"
	"slices"

	"postbag/internal/mail"
)

// Sent is what one side holds in place of a message that it did not take as it
// is. The row's own size and identity stay those of the message.
type Sent struct {
	Side    Side
	Size    int64
	ID      mail.Identity // Digest and MessageID
	Repairs string        // the names of what was done, with commas between them
}

const sentColumns = "message, side, size, digest, message_id, repairs, crc"

// version3Sent is the table of Sent, one for each row that has one.
const version3Sent = `CREATE TABLE sent (
  message INTEGER NOT NULL PRIMARY KEY,
  side INTEGER NOT NULL,
  size INTEGER NOT NULL,
  digest BLOB NOT NULL,
  message_id INTEGER NOT NULL,
  repairs TEXT NOT NULL,
  crc INTEGER NOT NULL
) STRICT`

// addSent leads to the version that has the table.
func addSent(c *conn) error { return c.once(version3Sent) }

func decodeSent(v []driver.Value) (row int64, s *Sent, ok bool) {
	d := decoder{v: v}
	s = &Sent{Side: Side(d.integer(1)), Size: d.integer(2), Repairs: d.text(5)}
	row = d.integer(0)
	s.ID.MessageID, s.ID.Described = mail.MessageID(d.integer(4)), true
	digest, isBlob := v[3].([]byte)
	if isBlob = isBlob && len(digest) == len(s.ID.Digest); isBlob {
		copy(s.ID.Digest[:], digest)
	}
	return row, s, isBlob && !d.bad && (s.Side == A || s.Side == B)
}

// loadSent reads all of them, once: they are few.
func (db *DB) loadSent() error {
	if db.sent != nil {
		return nil
	}
	sent := make(map[int64]*Sent)
	err := db.c.query("SELECT "+sentColumns+" FROM sent", nil, func(v []driver.Value) error {
		row, s, ok := decodeSent(v)
		if !ok || !db.sum.sound("sent", v) {
			db.damage.note("sent", v[0])
			return nil
		}
		sent[row] = s
		return nil
	})
	if err == nil {
		db.sent = sent
	}
	return err
}

// SentRows answers with all rows that have a Sent, by ID.
func (db *DB) SentRows(ctx context.Context) ([]*Row, error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	err := db.loadSent()
	ids := slices.Sorted(maps.Keys(db.sent))
	db.release()
	if err != nil {
		return nil, db.wrap("read", err)
	}
	var rows []*Row
	for chunk := range slices.Chunk(ids, maxIn) {
		list, args := in(chunk)
		found, err := db.collect(ctx, selectRows+"WHERE id IN "+list, args, func(r *Row) bool { return db.sent[r.ID] != nil })
		if err != nil {
			return nil, err
		}
		rows = append(rows, found...)
	}
	return unique(rows), nil
}

// attach gives a row that was read its Sent. The caller has loaded them.
func (db *DB) attach(r *Row) {
	if s := db.sent[r.ID]; s != nil {
		own := *s
		r.Sent = &own
	}
}

// putSent writes down a row's Sent, or that it has none any more.
func (db *DB) putSent(ch *change, r *Row) error {
	if err := db.loadSent(); err != nil {
		return err
	}
	was := db.sent[r.ID]
	if pending, ok := ch.sent[r.ID]; ok {
		was = pending
	}
	switch {
	case r.Sent == nil && was == nil, r.Sent != nil && was != nil && *r.Sent == *was:
		return nil
	case r.Sent == nil:
		return db.dropSent(ch, []int64{r.ID})
	case r.Sent.Side != A && r.Sent.Side != B || !r.Sent.ID.Digest.Known():
		return reject("a row that says of what was sent that it is %+v", *r.Sent)
	}
	s := *r.Sent
	ch.noteSent(db, r.ID, &s)
	return db.put("sent", sentColumns, r.ID, int64(s.Side), s.Size, s.ID.Digest[:], int64(s.ID.MessageID), s.Repairs)
}

// dropSent forgets those of some rows.
func (db *DB) dropSent(ch *change, rows []int64) error {
	if err := db.loadSent(); err != nil {
		return err
	}
	for _, id := range rows {
		if db.sent[id] == nil && ch.sent[id] == nil {
			continue
		}
		ch.noteSent(db, id, nil)
		if _, err := db.c.exec("DELETE FROM sent WHERE message = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// noteSent makes what others read what was written, when it is committed.
func (ch *change) noteSent(db *DB, id int64, s *Sent) {
	if ch.sent == nil {
		ch.sent = make(map[int64]*Sent)
		ch.done = append(ch.done, func() {
			if db.sent == nil {
				return
			}
			for id, s := range ch.sent {
				if db.sent[id] = s; s == nil {
					delete(db.sent, id)
				}
			}
		})
	}
	ch.sent[id] = s
}
