package state

import (
	"context"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"sync"
	"time"
)

// Usage counts the octets that went to and from accounts, by the hour, for all
// processes of a user: a file of its own, since several pairs share an account. It
// holds no more than the last day or so. What it says is not worth a checksum: a
// damaged file is an error, and to delete it costs one day's count.
//
// Its methods may be called from several goroutines at once, and from several
// processes. Errors are *mail.Error.
type Usage struct {
	path string
	mu   sync.Mutex
	c    *conn
}

// Hour is what was counted in one hour.
type Hour struct {
	Start  time.Time
	Octets int64
}

// keepHours is how long hours are kept.
const keepHours = 48

// usageSchema is the one table. hour is in hours since 1970 in UTC.
const usageSchema = `CREATE TABLE IF NOT EXISTS used (
  account TEXT NOT NULL,
  way TEXT NOT NULL,
  hour INTEGER NOT NULL,
  octets INTEGER NOT NULL,
  PRIMARY KEY (account, way, hour)
) STRICT, WITHOUT ROWID`

// OpenUsage opens the file at path; when it is missing, it and its directory are made,
// for the user alone.
func OpenUsage(ctx context.Context, path string) (*Usage, error) {
	u := &Usage{path: path}
	err := u.open(ctx)
	if err != nil {
		_ = u.Close() // nothing was written
		return nil, openError(path, err)
	}
	return u, nil
}

func (u *Usage) open(ctx context.Context) error {
	if err := makeDir(filepath.Dir(u.path)); err != nil {
		return err
	}
	if err := checkDir(filepath.Dir(u.path)); err != nil {
		return err
	}
	if err := makeFile(u.path); err != nil {
		return err
	}
	if err := checkFile(u.path); err != nil {
		return err
	}
	var err error
	if u.c, err = connect(ctx, u.path, false, false); err != nil {
		return err
	}
	return u.c.once(usageSchema)
}

// lateHours counts what is on record of hours that are yet to come as of this one: the
// clock was ahead, and what was counted then would stay for as long as it was.
const lateHours = `INSERT INTO used SELECT account, way, ?1, sum(octets) FROM used WHERE hour > ?1 GROUP BY account, way
  ON CONFLICT DO UPDATE SET octets = octets + excluded.octets`

// Add counts octets of an account in one way ("up", "down") at a time, and answers
// with all that is on record of it, the oldest hour first; none is later than at.
func (u *Usage) Add(account, way string, at time.Time, octets int64) (hours []Hour, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.c == nil {
		return nil, openError(u.path, errors.New("it is closed"))
	}
	hour := at.Unix() / 3600
	err = inTransaction(u.c, func() error {
		hours = nil
		if _, err := u.c.exec("DELETE FROM used WHERE hour <= ?", hour-keepHours); err != nil {
			return err
		}
		if _, err := u.c.exec(lateHours, hour); err != nil {
			return err
		}
		if _, err := u.c.exec("DELETE FROM used WHERE hour > ?", hour); err != nil {
			return err
		}
		if octets > 0 {
			if _, err := u.c.exec("INSERT INTO used VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET octets = octets + excluded.octets",
				account, way, hour, octets); err != nil {
				return err
			}
		}
		return u.c.query("SELECT hour, octets FROM used WHERE account = ? AND way = ? ORDER BY hour", []driver.Value{account, way}, func(v []driver.Value) error {
			d := decoder{v: v}
			hours = append(hours, Hour{time.Unix(d.integer(0)*3600, 0).UTC(), d.integer(1)})
			return nil
		})
	})
	if err != nil {
		return nil, openError(u.path, err)
	}
	return hours, nil
}

// Close closes the file. It may be called twice.
func (u *Usage) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.c == nil {
		return nil
	}
	err := u.c.close()
	u.c = nil
	return err
}
