package state

import (
	"context"
	"database/sql/driver"
)

// ByObject answers with the rows of all mailboxes whose message has one of the
// object IDs, by ID. "" is the ID of none.
func (db *DB) ByObject(ctx context.Context, ids []string) ([]*Row, error) {
	wanted := make(map[string]bool, len(ids))
	values := make([]driver.Value, 0, len(ids))
	for _, id := range ids {
		if id != "" && !wanted[id] {
			wanted[id] = true
			values = append(values, id)
		}
	}
	var rows []*Row
	for len(values) > 0 {
		chunk := values[:min(len(values), maxIn)]
		values = values[len(chunk):]
		list, args := in(chunk)
		found, err := db.collect(ctx, selectRows+"INDEXED BY object WHERE object_id IN "+list, args,
			func(r *Row) bool { return wanted[r.Ident.ObjectID] })
		if err != nil {
			return nil, err
		}
		rows = append(rows, found...)
	}
	return unique(rows), nil
}
