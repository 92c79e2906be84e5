package state

import (
	"context"
	"database/sql/driver"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The keys of meta that this package writes itself.
const (
	metaVersion = "version"
	metaRoot    = "root"
	metaID      = "id"      // 128 random bits, to tell copies from others
	metaCreated = "created" // seconds since 1970
)

// metaAccount is the key of the account on side s.
func metaAccount(s Side) string { return "account_" + strings.ToLower(s.String()) }

// reserved reports whether key is one that SetMeta must not write.
func reserved(key string) bool {
	return slices.Contains([]string{metaVersion, metaRoot, metaID, metaCreated, metaHistory, metaAccount(A), metaAccount(B)}, key)
}

// Meta is the value under key, "" when there is none.
func (db *DB) Meta(ctx context.Context, key string) (string, error) {
	if err := db.hold(ctx); err != nil {
		return "", err
	}
	defer db.release()
	all, err := db.readMeta()
	maps.Copy(all, db.unsaved)
	return all[key], db.wrap("read", err)
}

// SetMeta keeps value under key, durably with the next durable commit at the
// latest. The keys that Open checks cannot be set.
func (db *DB) SetMeta(ctx context.Context, key, value string) error {
	if reserved(key) {
		return db.wrap("write", fmt.Errorf("the key %q is the state's own", key))
	}
	return db.write(ctx, false, func(*change) error { return putMeta(db.c, key, value) })
}

// readMeta reads all of the table.
func (db *DB) readMeta() (map[string]string, error) {
	all := make(map[string]string)
	err := db.c.query(`SELECT key, value, crc FROM meta`, nil, func(v []driver.Value) error {
		if !db.sum.sound("meta", v) {
			db.damage.note("meta", v[0])
			return nil
		}
		d := decoder{v: v}
		all[d.text(0)] = d.text(1)
		return nil
	})
	return all, err
}

// putMeta writes one row.
func putMeta(c *conn, key, value string) error {
	var s summer
	_, err := c.exec(`INSERT INTO meta (key, value, crc) VALUES (?, ?, ?)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, crc = excluded.crc`,
		key, value, s.checksum("meta", []driver.Value{key, value}))
	return err
}
