package state

import (
	"context"
	"database/sql/driver"
	"strings"

	"postbag/internal/mail"
)

// The columns of the small tables, as selected and as written.
const (
	metaColumns    = "key, value, crc"
	mailboxColumns = "id, name_a, name_b, use, object_a, object_b, validity_a, validity_b, cursor_a, cursor_b, " +
		"stamp_a, stamp_b, gone_a, gone_b, filter, subscribed, renaming_a, renaming_b, crc"
	problemColumns = "message, side, kind, reason, tries, first, last, crc"
	runColumns     = "id, command, started, finished, outcome, summary, crc"
)

// put inserts a row, or replaces the one with the same key, adding the checksum.
func (db *DB) put(table, cols string, v ...driver.Value) error {
	v = append(v, db.sum.checksum(table, v))
	_, err := db.c.exec("INSERT OR REPLACE INTO "+table+" ("+cols+") VALUES ("+placeholders(strings.Count(cols, ",")+1)+")", v...)
	return err
}

func (db *DB) putMailbox(b *Mailbox) error {
	return db.put("mailbox", mailboxColumns, b.ID,
		optional(b.Name[A]), optional(b.Name[B]), optional(string(b.Use)),
		optional(b.ObjectID[A]), optional(b.ObjectID[B]), optional(b.Validity[A]), optional(b.Validity[B]),
		optional(string(b.Cursor[A])), optional(string(b.Cursor[B])), optional(b.Stamp[A]), optional(b.Stamp[B]),
		b.Gone[A], b.Gone[B], optional(b.Filter), encodeSubscription(b.Subscribed),
		optional(b.Renaming[A]), optional(b.Renaming[B]))
}

func decodeMailbox(v []driver.Value) (*Mailbox, bool) {
	d := decoder{v: v}
	b := &Mailbox{
		ID:         d.integer(0),
		Name:       [2]string{d.text(1), d.text(2)},
		Use:        mail.SpecialUse(d.text(3)),
		ObjectID:   [2]string{d.text(4), d.text(5)},
		Validity:   [2]string{d.text(6), d.text(7)},
		Cursor:     [2]mail.Cursor{mail.Cursor(d.text(8)), mail.Cursor(d.text(9))},
		Stamp:      [2]string{d.text(10), d.text(11)},
		Gone:       [2]int64{d.integer(12), d.integer(13)},
		Filter:     d.text(14),
		Subscribed: d.subscription(15),
		Renaming:   [2]string{d.text(16), d.text(17)},
	}
	return b, !d.bad
}

// eachMailbox calls fn for the sound rows of mailbox, by ID.
func (db *DB) eachMailbox(fn func(*Mailbox) error) error {
	return db.c.query("SELECT "+mailboxColumns+" FROM mailbox ORDER BY id", nil, func(v []driver.Value) error {
		if b, ok := decodeMailbox(v); ok && db.sum.sound("mailbox", v) {
			return fn(b)
		}
		db.damage.note("mailbox", v[0])
		return nil
	})
}

// Mailboxes answers with all mailboxes, those that are gone too, by ID.
func (db *DB) Mailboxes(ctx context.Context) ([]*Mailbox, error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	defer db.release()
	var boxes []*Mailbox
	err := db.eachMailbox(func(b *Mailbox) error {
		boxes = append(boxes, b)
		return nil
	})
	return boxes, db.wrap("read", err)
}

func (db *DB) putProblem(p Problem) error {
	return db.put("problem", problemColumns,
		p.Row, int64(p.Side), int64(p.Kind), optional(p.Reason), int64(p.Tries), p.First, p.Last)
}

func decodeProblem(v []driver.Value) (Problem, bool) {
	d := decoder{v: v}
	p := Problem{
		Row: d.integer(0), Side: Side(d.integer(1)), Kind: mail.Kind(d.integer(2)), Reason: d.text(3),
		Tries: int(d.integer(4)), First: d.integer(5), Last: d.integer(6),
	}
	return p, !d.bad && (p.Side == A || p.Side == B)
}

// Problems answers with the problems and, at the same places, their rows,
// ordered by the rows' IDs. A problem whose row is damaged is left out.
func (db *DB) Problems(ctx context.Context) ([]Problem, []*Row, error) {
	if err := db.hold(ctx); err != nil {
		return nil, nil, err
	}
	defer db.release()
	var all []Problem
	err := db.c.query("SELECT "+problemColumns+" FROM problem ORDER BY message, side", nil, func(v []driver.Value) error {
		p, ok := decodeProblem(v)
		if !ok || !db.sum.sound("problem", v) {
			db.damage.note("problem", v[0])
			return nil
		}
		all = append(all, p)
		return nil
	})
	if err != nil {
		return nil, nil, db.wrap("read", err)
	}
	problems, rows := all[:0], make([]*Row, 0, len(all))
	for _, p := range all {
		err := db.readRows(selectRows+"WHERE id = ?", []driver.Value{p.Row},
			func(r *Row) bool { return r.ID == p.Row },
			func(r *Row) { problems, rows = append(problems, p), append(rows, r) })
		if err != nil {
			return nil, nil, db.wrap("read", err)
		}
	}
	return problems, rows, nil
}

// Counts is what a mailbox holds. It is added up from the rows as they are,
// without looking at their checksums: for reports, not for decisions.
type Counts struct {
	Paired  int    // on both sides
	Alone   [2]int // on that side, and the other never had it
	Gone    [2]int // gone from that side, and still on the other
	Pending int    // on their way
	Bytes   int64  // octets of the messages on side B, as far as their sizes are known
}

// countSpan is how many IDs are added up at a time.
const countSpan = 50_000

// Counts answers with the counts of each mailbox that has rows.
func (db *DB) Counts(ctx context.Context) (map[int64]Counts, error) {
	counts := make(map[int64]Counts)
	for from := int64(0); ; from += countSpan {
		more, err := db.countSpan(ctx, from, counts)
		if err != nil {
			return nil, err
		}
		if !more {
			return counts, nil
		}
	}
}

// countSpan adds the rows with from < ID <= from+countSpan to counts, and
// reports whether there are rows after them.
func (db *DB) countSpan(ctx context.Context, from int64, counts map[int64]Counts) (more bool, err error) {
	if err := db.hold(ctx); err != nil {
		return false, err
	}
	defer db.release()
	const query = `SELECT mailbox,
		sum(status = 0 AND live_a IS NOT NULL AND live_b IS NOT NULL),
		sum(status = 0 AND live_a IS NOT NULL AND b IS NULL AND gone_b = 0),
		sum(status = 0 AND live_b IS NOT NULL AND a IS NULL AND gone_a = 0),
		sum(gone_a <> 0 AND live_b IS NOT NULL), sum(gone_b <> 0 AND live_a IS NOT NULL),
		sum(status <> 0), sum(iif(live_b IS NOT NULL AND size > 0, size, 0))
		FROM message NOT INDEXED WHERE id > ? AND id <= ? GROUP BY mailbox`
	err = db.c.query(query, []driver.Value{from, from + countSpan}, func(v []driver.Value) error {
		d := decoder{v: v}
		n := func(i int) int { return int(d.integer(i)) }
		c := counts[d.integer(0)]
		c.Paired += n(1)
		c.Alone[A] += n(2)
		c.Alone[B] += n(3)
		c.Gone[A] += n(4)
		c.Gone[B] += n(5)
		c.Pending += n(6)
		c.Bytes += d.integer(7)
		counts[d.integer(0)] = c
		return nil
	})
	if err != nil {
		return false, db.wrap("read", err)
	}
	last, err := db.c.number(`SELECT max(id) FROM message`)
	return last > from+countSpan, db.wrap("read", err)
}
