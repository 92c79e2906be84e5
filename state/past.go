package state

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
	"time"

	"postbag/internal/mail"
)

// The state keeps what its rows and mailboxes were before a run changed them: one
// entry for each that a run changed, with what it was as that run began. It is made
// by Commit itself, in the same transaction, so that nobody can forget it; and only
// within a run (see DB.Run). What came and went within one run leaves none.
//
// An entry says how a row was until a run, not since when: that is the run of the
// entry before it, and else the row's Born. A row that is inserted with an older
// Born, because its message was moved, begins with an entry that says "not there".

// Past is how a row was until a run changed or deleted it.
type Past struct {
	ID      int64 // of the row
	Until   int64 // the run that changed it
	Mailbox int64
	Ref     [2]mail.Ref
	Flags   [2]mail.Flags
	There   [2]bool // the message was on that side
	Born    int64
	Size    int64
	Date    time.Time
	Ident   mail.Identity
}

// PastMailbox is how a mailbox was until a run changed it: the names, both "" where
// it did not exist.
type PastMailbox struct {
	ID    int64
	Until int64
	Name  [2]string
	Use   mail.SpecialUse
	Gone  [2]int64
}

const (
	pastColumns    = "message, until, mailbox, a, b, flags_a, flags_b, there, born, size, date, nanos, zone, message_id, digest, crc"
	pastBoxColumns = "mailbox, until, name_a, name_b, use, gone_a, gone_b, crc"
	pastWidth      = 16
	metaHistory    = "history"
)

// ErrNoHistory is the reason when a time before all that is on record is asked for.
var ErrNoHistory = fmt.Errorf("nothing is on record of that time")

// keepPast notes in the state what a row is before it changes from old to now (nil:
// it is deleted).
func (db *DB) keepPast(old, now []driver.Value) error {
	if db.run == 0 || old[colBorn] == driver.Value(db.run) || now != nil && sameView(old, now) {
		return nil
	}
	if db.sum.decodeRow(old) == nil {
		return nil // damaged: nobody knows what it was
	}
	there := int64(0)
	for side := range 2 {
		if old[colLiveA+side] != nil {
			there |= 1 << side
		}
	}
	return db.putPast([]driver.Value{old[colID], db.run, old[colMailbox], old[colA], old[colB], old[colFlagsA], old[colFlagsB], there,
		old[colBorn], old[colSize], old[colDate], old[colNanos], old[colZone], old[colMessageID], old[colDigest]})
}

// keepAbsence notes of a row that is inserted with an older Born that it was not
// there before this run.
func (db *DB) keepAbsence(now []driver.Value) error {
	if born, _ := now[colBorn].(int64); db.run == 0 || born == db.run || born <= 0 {
		return nil
	}
	return db.putPast([]driver.Value{now[colID], db.run, int64(0), nil, nil, nil, nil, int64(0),
		now[colBorn], now[colSize], now[colDate], now[colNanos], now[colZone], now[colMessageID], now[colDigest]})
}

// putPast writes an entry, unless this run has written one of the row: what counts
// is how it was as the run began.
func (db *DB) putPast(v []driver.Value) error {
	_, err := db.c.exec("INSERT OR IGNORE INTO past ("+pastColumns+") VALUES ("+placeholders(pastWidth)+")", append(v, db.sum.checksum("past", v))...)
	return err
}

// sameView reports whether two values of a row are one to whoever asks what was
// where: the mailbox, on which sides, and with which flags.
func sameView(old, now []driver.Value) bool {
	for _, i := range []int{colMailbox, colFlagsA, colFlagsB} {
		if !sameValue(old[i], now[i]) {
			return false
		}
	}
	for side := range 2 {
		if (old[colLiveA+side] == nil) != (now[colLiveA+side] == nil) {
			return false
		}
	}
	return true
}

// keepPastMailbox notes what a mailbox was before it becomes b; of a new one that it
// was not there.
func (db *DB) keepPastMailbox(b *Mailbox, isNew bool) error {
	if db.run == 0 {
		return nil
	}
	was := &Mailbox{ID: b.ID}
	if !isNew {
		var err error
		if was, err = db.readMailbox(b.ID); err != nil || was == nil || was.Name == b.Name && was.Gone == b.Gone {
			return err
		}
	}
	v := []driver.Value{b.ID, db.run, optional(was.Name[A]), optional(was.Name[B]), optional(string(was.Use)), was.Gone[A], was.Gone[B]}
	_, err := db.c.exec("INSERT OR IGNORE INTO past_mailbox ("+pastBoxColumns+") VALUES ("+placeholders(8)+")", append(v, db.sum.checksum("past_mailbox", v))...)
	return err
}

// readMailbox reads one mailbox; nil when it is not there, or damaged.
func (db *DB) readMailbox(id int64) (box *Mailbox, err error) {
	err = db.c.query("SELECT "+mailboxColumns+" FROM mailbox WHERE id = ?", []driver.Value{id}, func(v []driver.Value) error {
		if b, ok := decodeMailbox(v); ok && db.sum.sound("mailbox", v) {
			box = b
		}
		return nil
	})
	return box, err
}

// dropIdle removes the entries of the run in progress whose row is again what it
// was as the run began.
func (db *DB) dropIdle() error {
	_, err := db.c.exec(`DELETE FROM past WHERE until = ?1 AND EXISTS (SELECT 1 FROM message m WHERE m.id = past.message
		AND m.mailbox = past.mailbox AND m.flags_a IS past.flags_a AND m.flags_b IS past.flags_b
		AND (m.live_a IS NOT NULL) + 2 * (m.live_b IS NOT NULL) = past.there)`, db.run)
	return err
}

// PastAfter calls fn for the entries that a later run than since ended, by row and
// then by run: of each row the first one says how it was when since had ended. fn may
// use the state. Damaged entries are left out.
func (db *DB) PastAfter(ctx context.Context, since int64, fn func(*Past) error) error {
	return db.eachPast(ctx, "WHERE until > ?1 AND (message, until) > (?2, ?3) ORDER BY message, until LIMIT ?4", since, fn)
}

// PastOf calls fn for the entries that a run ended, by row.
func (db *DB) PastOf(ctx context.Context, run int64, fn func(*Past) error) error {
	return db.eachPast(ctx, "INDEXED BY past_until WHERE until = ?1 AND message > ?2 AND ?3 >= 0 ORDER BY message LIMIT ?4", run, fn)
}

// eachPast calls fn for the entries that a query tells of a run, batch by batch.
func (db *DB) eachPast(ctx context.Context, where string, run int64, fn func(*Past) error) error {
	after, until := int64(0), int64(0)
	for {
		batch, err := db.pastBatch(ctx, where, run, &after, &until)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, p := range batch {
			if p.Until == 0 {
				continue
			}
			if err := fn(p); err != nil {
				return err
			}
		}
	}
}

// NextPast is the entry of a row that follows a run: how it was between that run and
// the one that ended the entry; nil when the row itself says so.
func (db *DB) NextPast(ctx context.Context, row, run int64) (*Past, error) {
	after, until := row, run
	batch, err := db.pastBatch(ctx, "WHERE message = ?2 AND until > ?3 AND ?1 = 0 ORDER BY until LIMIT ?4", 0, &after, &until)
	for _, p := range batch {
		if p.Until != 0 {
			return p, err
		}
	}
	return nil, err
}

// pastBatch reads entries that follow (after, until), which it moves on. One that is
// damaged is in the answer as an empty entry, so that the walk goes on.
func (db *DB) pastBatch(ctx context.Context, where string, key int64, after, until *int64) (batch []*Past, err error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	defer db.release()
	err = db.c.query("SELECT "+pastColumns+" FROM past "+where, []driver.Value{key, *after, *until, int64(batchRows)}, func(v []driver.Value) error {
		*after, _ = v[0].(int64)
		*until, _ = v[1].(int64)
		p, ok := decodePast(v)
		if !ok || !db.sum.sound("past", v) {
			db.damage.note("past", fmt.Sprint(v[0], " ", v[1]))
			p = &Past{}
		}
		batch = append(batch, p)
		return nil
	})
	return batch, db.wrap("read", err)
}

func decodePast(v []driver.Value) (*Past, bool) {
	d := decoder{v: v}
	there := d.integer(7)
	p := &Past{
		ID: d.integer(0), Until: d.integer(1), Mailbox: d.integer(2),
		Ref:   [2]mail.Ref{d.ref(3), d.ref(4)},
		Flags: [2]mail.Flags{d.flags(5), d.flags(6)},
		There: [2]bool{there&1 != 0, there&2 != 0},
		Born:  d.integer(8), Size: d.integer(9), Date: d.date(10),
		Ident: mail.Identity{MessageID: mail.MessageID(d.integer(13)), Described: d.integer(13) != 0},
	}
	if digest, ok := v[14].([]byte); ok && len(digest) == len(p.Ident.Digest) {
		copy(p.Ident.Digest[:], digest)
	} else if v[14] != nil {
		d.bad = true
	}
	return p, !d.bad && there >= 0 && there < 4
}

// PastMailboxes answers with all entries of mailboxes, by mailbox and then by run.
func (db *DB) PastMailboxes(ctx context.Context) ([]PastMailbox, error) {
	if err := db.hold(ctx); err != nil {
		return nil, err
	}
	defer db.release()
	var all []PastMailbox
	err := db.c.query("SELECT "+pastBoxColumns+" FROM past_mailbox ORDER BY mailbox, until", nil, func(v []driver.Value) error {
		p, ok := decodePastMailbox(v)
		if !ok || !db.sum.sound("past_mailbox", v) {
			db.damage.note("past_mailbox", v[0])
			return nil
		}
		all = append(all, p)
		return nil
	})
	return all, db.wrap("read", err)
}

func decodePastMailbox(v []driver.Value) (PastMailbox, bool) {
	d := decoder{v: v}
	p := PastMailbox{ID: d.integer(0), Until: d.integer(1), Name: [2]string{d.text(2), d.text(3)}, Use: mail.SpecialUse(d.text(4)),
		Gone: [2]int64{d.integer(5), d.integer(6)}}
	return p, !d.bad
}

// HistoryFrom is the run since which all that happened is on record; of the time
// before it only what came, and what went from one side, is. 0: since the beginning.
func (db *DB) HistoryFrom(ctx context.Context) (int64, error) {
	text, err := db.Meta(ctx, metaHistory)
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, db.wrap("read", err)
}

// ForgetPast removes what the runs up to and with one ended: how it was before them
// cannot be told any more. It answers with the number of entries.
func (db *DB) ForgetPast(ctx context.Context, run int64) (int, error) {
	var n int64
	err := db.write(ctx, true, func(*change) error {
		for _, table := range []string{"past", "past_mailbox"} {
			some, err := db.c.exec("DELETE FROM "+table+" WHERE until <= ?", run)
			if err != nil {
				return err
			}
			n += some
		}
		all, err := db.readMeta()
		if err != nil {
			return err
		}
		if before, _ := strconv.ParseInt(all[metaHistory], 10, 64); before >= run {
			return nil
		}
		return putMeta(db.c, metaHistory, strconv.FormatInt(run, 10))
	})
	return int(n), err
}

// CountPast is how many entries there are that ForgetPast would remove.
func (db *DB) CountPast(ctx context.Context, run int64) (int, error) {
	if err := db.hold(ctx); err != nil {
		return 0, err
	}
	defer db.release()
	n, err := db.c.number(`SELECT (SELECT count(*) FROM past WHERE until <= ?1) + (SELECT count(*) FROM past_mailbox WHERE until <= ?1)`, run)
	return int(n), db.wrap("read", err)
}

// Rows answers with the rows of these numbers that are there, by ID.
func (db *DB) Rows(ctx context.Context, ids []int64) ([]*Row, error) {
	var rows []*Row
	for chunk := range slices.Chunk(ids, maxIn) {
		list, args := in(chunk)
		some, err := db.collect(ctx, selectRows+"WHERE id IN "+list, args, anyRow)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return unique(rows), nil
}

// Event is something that befell a number of messages of one mailbox in one run.
type Event struct {
	Mailbox, Run int64
	Messages     int
}

// Plain adds up the messages of side A that history says nothing of but when they
// came and, before there was a history, when they went. Like Counts it is for
// reports: checksums are not looked at.
func (db *DB) Plain(ctx context.Context) (came, gone []Event, err error) {
	if err := db.hold(ctx); err != nil {
		return nil, nil, err
	}
	defer db.release()
	for _, one := range []struct {
		to    *[]Event
		query string
	}{
		{&came, `SELECT mailbox, born, count(*) FROM message m NOT INDEXED WHERE (a IS NOT NULL OR gone_a <> 0) AND status <> 1
			AND NOT EXISTS (SELECT 1 FROM past p WHERE p.message = m.id) GROUP BY mailbox, born`},
		{&gone, `SELECT mailbox, gone_a, count(*) FROM message m INDEXED BY gone_a WHERE gone_a <> 0
			AND NOT EXISTS (SELECT 1 FROM past p WHERE p.message = m.id) GROUP BY mailbox, gone_a`},
	} {
		err := db.c.query(one.query, nil, func(v []driver.Value) error {
			d := decoder{v: v}
			*one.to = append(*one.to, Event{d.integer(0), d.integer(1), int(d.integer(2))})
			return nil
		})
		if err != nil {
			return nil, nil, db.wrap("read", err)
		}
	}
	return came, gone, nil
}
