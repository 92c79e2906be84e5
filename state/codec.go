package state

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"postbag/internal/mail"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// summer computes checksums, keeping its buffer between them.
type summer struct{ buf []byte }

// checksum is the CRC32C of a table's name and a row's columns but the last,
// its crc itself. Types and lengths take part, and so does the row's ID, its
// first column: a value in another column, type or row is another checksum. It
// is given as a signed number because that takes fewer octets in SQLite.
func (s *summer) checksum(table string, row []driver.Value) int64 {
	b := append(s.buf[:0], table...)
	for _, v := range row {
		switch v := v.(type) {
		case nil:
			b = append(b, 'n')
		case int64:
			b = append(b, 'i')
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		case string:
			b = append(b, 't')
			b = binary.BigEndian.AppendUint64(b, uint64(len(v)))
			b = append(b, v...)
		case []byte:
			b = append(b, 'b')
			b = binary.BigEndian.AppendUint64(b, uint64(len(v)))
			b = append(b, v...)
		default: // a float, which we never write
			b = append(b, 'x')
		}
	}
	s.buf = b
	return int64(int32(crc32.Checksum(b, castagnoli)))
}

// sound reports whether the last column of row is the checksum of the others.
func (s *summer) sound(table string, row []driver.Value) bool {
	last := len(row) - 1
	sum, ok := row[last].(int64)
	return ok && sum == s.checksum(table, row[:last])
}

// The columns of message, as selected and as written.
const (
	colID = iota
	colMailbox
	colA
	colB
	colFlagsA
	colFlagsB
	colGoneA
	colGoneB
	colLiveA
	colLiveB
	colStatus
	colMark
	colBorn
	colSize
	colDate
	colNanos
	colZone
	colDescribed
	colMessageID
	colDigest
	colObjectID
	colCRC
	columns
)

var columnNames = [columns]string{
	"id", "mailbox", "a", "b", "flags_a", "flags_b", "gone_a", "gone_b", "live_a", "live_b", "status", "mark", "born",
	"size", "date", "nanos", "zone", "described", "message_id", "digest", "object_id", "crc",
}

// rowColumns is the list for SELECT and INSERT.
var rowColumns = strings.Join(columnNames[:], ", ")

// encodeRow turns r into v, with checksums. r.ID must be set.
func (s *summer) encodeRow(v *[columns]driver.Value, r *Row) error {
	v[colID], v[colMailbox] = r.ID, r.Mailbox
	for _, side := range []Side{A, B} {
		i := int(side)
		ref, err := encodeRef(r.Ref[side])
		if err != nil {
			return err
		}
		v[colA+i] = ref
		if v[colFlagsA+i], err = encodeFlags(r.Flags[side]); err != nil {
			return err
		}
		v[colGoneA+i] = r.Gone[side]
		v[colLiveA+i] = nil
		if r.Alive(side) {
			v[colLiveA+i] = s.live(side, r.ID, r.Mailbox, ref, v[colFlagsA+i])
		}
	}
	v[colStatus], v[colMark] = int64(r.Status), optional(r.Mark)
	v[colBorn], v[colSize] = r.Born, r.Size
	v[colDate], v[colNanos], v[colZone] = encodeDate(r.Date)
	v[colDescribed], v[colMessageID] = flagged(r.Ident.Described), int64(r.Ident.MessageID)
	v[colDigest] = nil
	if r.Ident.Digest.Known() {
		v[colDigest] = r.Ident.Digest[:]
	}
	v[colObjectID] = optional(r.Ident.ObjectID)
	v[colCRC] = s.checksum("message", v[:colCRC])
	return nil
}

// live is the checksum of an entry of index live_a or live_b.
func (s *summer) live(side Side, id, mailbox int64, ref, flags driver.Value) int64 {
	return s.checksum("live", []driver.Value{int64(side), id, mailbox, ref, flags})
}

// decodeRow is the inverse of encodeRow. It answers nil for a row whose
// checksum is wrong, or which says what no Row can say.
func (s *summer) decodeRow(v []driver.Value) *Row {
	if len(v) != columns || !s.sound("message", v) {
		return nil
	}
	d := decoder{v: v}
	r := &Row{
		ID:      d.integer(colID),
		Mailbox: d.integer(colMailbox),
		Ref:     [2]mail.Ref{d.ref(colA), d.ref(colB)},
		Flags:   [2]mail.Flags{d.flags(colFlagsA), d.flags(colFlagsB)},
		Gone:    [2]int64{d.integer(colGoneA), d.integer(colGoneB)},
		Status:  Status(d.integer(colStatus)),
		Mark:    d.text(colMark),
		Born:    d.integer(colBorn),
		Size:    d.integer(colSize),
		Date:    d.date(colDate),
		Ident: mail.Identity{
			Described: d.integer(colDescribed) != 0,
			MessageID: mail.MessageID(d.integer(colMessageID)),
			ObjectID:  d.text(colObjectID),
		},
	}
	if digest, ok := v[colDigest].([]byte); ok && len(digest) == len(r.Ident.Digest) {
		copy(r.Ident.Digest[:], digest)
	} else if v[colDigest] != nil {
		d.bad = true
	}
	if d.bad {
		return nil
	}
	return r
}

// decoder reads columns; bad is set when one is not of the type it must have.
type decoder struct {
	v   []driver.Value
	bad bool
}

func (d *decoder) integer(i int) int64 {
	n, ok := d.v[i].(int64)
	d.bad = d.bad || !ok
	return n
}

// text is a string that is NULL when empty.
func (d *decoder) text(i int) string {
	s, ok := d.v[i].(string)
	d.bad = d.bad || !ok && d.v[i] != nil
	return s
}

func (d *decoder) ref(i int) mail.Ref {
	ref, ok := decodeRef(d.v[i])
	d.bad = d.bad || !ok
	return ref
}

func (d *decoder) flags(i int) mail.Flags { return decodeFlags(d.text(i)) }

// subscription reads a column that is NULL for Unknown.
func (d *decoder) subscription(i int) Subscription {
	if d.v[i] == nil {
		return Unknown
	}
	n := d.integer(i)
	d.bad = d.bad || n != 0 && n != 1
	return Unsubscribed + Subscription(n&1)
}

// date reads the three columns from i on.
func (d *decoder) date(i int) time.Time {
	nanos, zone := d.integer(i+1), d.integer(i+2)
	if d.v[i] == nil {
		return time.Time{}
	}
	t := time.Unix(d.integer(i), nanos)
	if zone == 0 {
		return t.UTC()
	}
	return t.In(time.FixedZone("", int(zone)))
}

// moment reads a column of seconds; NULL is the zero time.
func (d *decoder) moment(i int) time.Time {
	if d.v[i] == nil {
		return time.Time{}
	}
	return time.Unix(d.integer(i), 0).UTC()
}

// encodeDate keeps the instant exactly and the zone as its offset in seconds
// east of UTC, as INTERNALDATE has one (RFC 9051, 9, date-time).
func encodeDate(t time.Time) (seconds, nanos, zone driver.Value) {
	if t.IsZero() {
		return nil, int64(0), int64(0)
	}
	_, offset := t.Zone()
	return t.Unix(), int64(t.Nanosecond()), int64(offset)
}

func encodeSubscription(s Subscription) driver.Value {
	if s == Unknown {
		return nil
	}
	return int64(s - Unsubscribed)
}

func encodeMoment(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

func encodeRef(r mail.Ref) (driver.Value, error) {
	switch {
	case r.IsZero():
		return nil, nil
	case r.Key == "":
		return int64(r.UID), nil
	case r.UID == 0:
		return r.Key, nil
	}
	return nil, fmt.Errorf("a ref with both UID %d and key %q", r.UID, r.Key)
}

// decodeRef is the inverse of encodeRef; ok is false for what it cannot make.
func decodeRef(v driver.Value) (ref mail.Ref, ok bool) {
	switch v := v.(type) {
	case nil:
		return mail.Ref{}, true
	case int64:
		return mail.Ref{UID: uint32(v)}, v > 0 && v <= 1<<32-1
	case string:
		return mail.Ref{Key: v}, v != ""
	}
	return mail.Ref{}, false
}

// systemFlags are in the order in which they are written.
var systemFlags = []struct {
	flag mail.System
	name string
}{
	{mail.Seen, `\Seen`}, {mail.Answered, `\Answered`}, {mail.Flagged, `\Flagged`}, {mail.Deleted, `\Deleted`}, {mail.Draft, `\Draft`},
}

// encodeFlags writes flags as one reads them: `\Seen \Flagged $Forwarded`. The
// keywords stay as they are, octet by octet. Should they begin with what looks
// like a system flag, or with a blank, one more blank keeps the two apart.
func encodeFlags(f mail.Flags) (driver.Value, error) {
	if f.IsZero() {
		return nil, nil
	}
	var parts []string
	rest := f.System
	for _, s := range systemFlags {
		if f.System&s.flag != 0 {
			parts = append(parts, s.name)
			rest &^= s.flag
		}
	}
	if rest != 0 {
		return nil, fmt.Errorf("unknown system flags %#x", uint8(rest))
	}
	if words := string(f.Keywords); words != "" {
		if words[0] == '\\' || words[0] == ' ' {
			words = " " + words
		}
		parts = append(parts, words)
	}
	return strings.Join(parts, " "), nil
}

// decodeFlags is the inverse of encodeFlags.
func decodeFlags(s string) mail.Flags {
	var f mail.Flags
	for _, sys := range systemFlags {
		if rest, ok := strings.CutPrefix(s, sys.name); ok && (rest == "" || rest[0] == ' ') {
			f.System |= sys.flag
			s = strings.TrimPrefix(rest, " ")
		}
	}
	f.Keywords = mail.Keywords(strings.TrimPrefix(s, " "))
	return f
}

func optional(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

func flagged(b bool) driver.Value {
	if b {
		return int64(1)
	}
	return int64(0)
}
