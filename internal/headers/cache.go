// Package headers keeps what the headers of a mailbox's messages say, so that a second
// look at them costs no look at the messages. A cache is one file for each mailbox,
// beside the state of a Maildir or in the user's cache directory. It is used as the
// state is: as what was known when the mailbox was last looked at; the mailbox itself
// tells what is new, gone and flagged since. Losing it costs time and nothing else: a
// file that is missing, damaged, or of another mailbox counts as an empty one.
package headers

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postbag/internal/mail"
	"postbag/internal/match"
)

// Entry is what is known of one message.
type Entry struct {
	Ref    mail.Ref
	Flags  mail.Flags
	Size   int64     // octets of the wire form, -1 when not known
	Date   time.Time // INTERNALDATE
	Header match.Header
}

// Cache is what is known of one mailbox. It is a mail.Known.
type Cache struct {
	Account  string // of the store
	Mailbox  string
	Validity string
	Cursor   mail.Cursor
	Entries  []Entry // by Ref
	left     bool    // a message was listed and could not be read
}

// Count implements mail.Known.
func (c *Cache) Count() int { return len(c.Entries) }

// Each implements mail.Known.
func (c *Cache) Each(ctx context.Context, from, to mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	i, _ := c.find(from)
	for n, e := range c.Entries[i:] {
		if !to.IsZero() && e.Ref.Compare(to) > 0 {
			break
		}
		if n%8192 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := fn(e.Ref, e.Flags); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) find(ref mail.Ref) (int, bool) {
	return slices.BinarySearchFunc(c.Entries, ref, func(e Entry, ref mail.Ref) int { return e.Ref.Compare(ref) })
}

// The form of a file: magic, then the fields of Cache and of each entry, texts and
// numbers with their lengths as varints, and at the end the CRC32C of all before it.
const magic = "postbag headers 1\n"

// maxFile bounds what is read: beyond it a cache counts as none.
const maxFile = 1 << 30

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Load reads the cache of a mailbox; an empty one when there is none that can be used.
func Load(path, account, mailbox string) *Cache {
	empty := &Cache{Account: account, Mailbox: mailbox}
	f, err := os.Open(path)
	if err != nil {
		return empty
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxFile || info.Size() < int64(len(magic))+4 {
		return empty
	}
	// One copy in memory is enough: entries are parts of it.
	var body strings.Builder
	body.Grow(int(info.Size()))
	sum := crc32.New(castagnoli)
	var end [4]byte
	if _, err := io.CopyN(io.MultiWriter(&body, sum), f, info.Size()-4); err != nil {
		return empty
	}
	if _, err := io.ReadFull(f, end[:]); err != nil || sum.Sum32() != binary.BigEndian.Uint32(end[:]) {
		return empty
	}
	rest, ok := strings.CutPrefix(body.String(), magic)
	if !ok {
		return empty
	}
	d := &decoder{rest: rest}
	c := &Cache{Account: d.text(), Mailbox: d.text(), Validity: d.text(), Cursor: mail.Cursor(d.text())}
	n := d.number()
	if c.Account != account || c.Mailbox != mailbox || d.bad || n > int64(len(d.rest)) {
		return empty
	}
	c.Entries = make([]Entry, 0, n)
	flags := map[string]mail.Flags{}
	for range n {
		c.Entries = append(c.Entries, d.entry(flags))
	}
	if d.bad || d.rest != "" || !slices.IsSortedFunc(c.Entries, func(a, b Entry) int { return a.Ref.Compare(b.Ref) }) {
		return empty
	}
	return c
}

// Save writes the cache, for the user alone, under another name first. Nothing is
// flushed: a file that a crash left half written has a wrong checksum.
func (c *Cache) Save(path string) error {
	data := []byte(magic)
	for _, s := range []string{c.Account, c.Mailbox, c.Validity, string(c.Cursor)} {
		data = appendText(data, s)
	}
	data = binary.AppendVarint(data, int64(len(c.Entries)))
	for i := range c.Entries {
		data = c.Entries[i].append(data)
	}
	data = binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func (e *Entry) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(e.Ref.UID))
	b = appendText(b, e.Ref.Key)
	b = appendText(b, e.Flags.String())
	b = binary.AppendVarint(b, e.Size)
	b = appendTime(b, e.Date)
	for _, s := range []string{e.Header.From, e.Header.To, e.Header.Subject, e.Header.MessageID} {
		b = appendText(b, s)
	}
	return appendTime(b, e.Header.Date)
}

// appendTime keeps seconds and the zone; the zero time is told apart.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	_, zone := t.Zone()
	return binary.AppendVarint(binary.AppendVarint(append(b, 1), t.Unix()), int64(zone))
}

// decoder takes apart what Save wrote. bad is set where it cannot be that.
type decoder struct {
	rest string
	bad  bool
}

func (d *decoder) unsigned() uint64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		if d.rest == "" {
			break
		}
		c := d.rest[0]
		d.rest = d.rest[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) number() int64 {
	n := d.unsigned()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *decoder) text() string {
	n := d.unsigned()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, ""
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) time() time.Time {
	switch d.unsigned() {
	case 0:
		return time.Time{}
	case 1:
		at, zone := d.number(), d.number()
		if zone == 0 {
			return time.Unix(at, 0).UTC()
		}
		return time.Unix(at, 0).In(time.FixedZone("", int(zone)))
	}
	d.bad = true
	return time.Time{}
}

func (d *decoder) entry(known map[string]mail.Flags) Entry {
	e := Entry{Ref: mail.Ref{UID: uint32(d.unsigned()), Key: d.text()}}
	words := d.text()
	f, ok := known[words]
	if !ok {
		f = mail.ParseFlags(strings.Fields(words)...)
		known[words] = f
	}
	e.Flags = f
	e.Size, e.Date = d.number(), d.time()
	e.Header = match.Header{From: d.text(), To: d.text(), Subject: d.text(), MessageID: d.text(), Date: d.time()}
	return e
}
