package export

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"postbag/internal/mail"
)

var _ mail.Store = (*Archive)(nil)

// Account names the archive.
func (a *Archive) Account() string { return "archive:" + strings.Join(a.o.Paths, " ") }

// List lists the mailboxes.
func (a *Archive) List(context.Context) ([]mail.MailboxInfo, error) {
	list := make([]mail.MailboxInfo, len(a.names))
	for i, name := range a.names {
		list[i] = a.boxes[name].info()
	}
	return list, nil
}

func (b *archiveBox) info() mail.MailboxInfo {
	return mail.MailboxInfo{Name: b.name, Use: b.use, Validity: "archive", Messages: len(b.entries), Bytes: b.bytes, ReadOnly: true}
}

// Examine opens a mailbox.
func (a *Archive) Examine(_ context.Context, name string) (mail.Mailbox, error) {
	b := a.boxes[name]
	if b == nil {
		return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindGone, Op: "open", Mailbox: name, Err: errors.New("the archive has no such mailbox")}
	}
	return &openBox{a: a, b: b}, nil
}

func readOnly(op, name string) error {
	return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindUsage, Op: op, Mailbox: name, Err: mail.ErrUnsupported}
}

// Select fails: an archive is only read. So do the others that would change it.
func (a *Archive) Select(_ context.Context, name string) (mail.WritableMailbox, error) {
	return nil, readOnly("select", name)
}

// Create fails.
func (a *Archive) Create(_ context.Context, name string, _ mail.SpecialUse) error {
	return readOnly("create", name)
}

// Rename fails.
func (a *Archive) Rename(_ context.Context, from, _ string) error { return readOnly("rename", from) }

// Delete fails.
func (a *Archive) Delete(_ context.Context, name string) error { return readOnly("delete", name) }

// openBox is a mailbox of an archive, open.
type openBox struct {
	a      *Archive
	b      *archiveBox
	stored []byte
	wire   []byte
}

// Info implements mail.Mailbox.
func (o *openBox) Info() mail.MailboxInfo { return o.b.info() }

// Close implements mail.Mailbox.
func (o *openBox) Close() error { return nil }

const moreCursor = "more|"

// errEnough ends a walk over what is known.
var errEnough = errors.New("enough")

// Changes compares with what is known. A cursor of a delta with More is the key of
// the last message that was listed; any other stands for the beginning. Each window
// looks at what comes behind the one before it, and the last one at all that is known
// as well.
func (o *openBox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (d mail.Delta, err error) {
	after, more := strings.CutPrefix(string(since), moreCursor)
	if !more {
		after = ""
	}
	if err := o.arrivals(ctx, &d, after, known, limit); err != nil || d.More {
		return d, err
	}
	d.Cursor = "all"
	at, list := 0, o.b.entries
	err = known.Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, flags mail.Flags) error {
		for at < len(list) && list[at].key() < ref.Key {
			at++
		}
		switch {
		case at == len(list) || list[at].key() != ref.Key:
			d.Gone = append(d.Gone, ref)
		case !list[at].flags.Equal(flags):
			d.Flags = append(d.Flags, mail.FlagState{Ref: ref, Flags: list[at].flags})
		}
		return nil
	})
	return d, err
}

// arrivals lists what is not known behind a key.
func (o *openBox) arrivals(ctx context.Context, d *mail.Delta, after string, known mail.Known, limit int) error {
	list := o.b.entries
	at := sort.Search(len(list), func(i int) bool { return list[i].key() > after })
	until := func(key string) error {
		for ; at < len(list) && (key == "" || list[at].key() < key); at++ {
			if len(d.New) >= limit {
				d.More = true
				d.Cursor = mail.Cursor(moreCursor + d.New[len(d.New)-1].Ref.Key)
				return errEnough
			}
			d.New = append(d.New, o.message(&list[at], list[at].key()))
		}
		return nil
	}
	err := known.Each(ctx, mail.Ref{Key: after}, mail.Ref{}, func(ref mail.Ref, _ mail.Flags) error {
		if err := until(ref.Key); err != nil {
			return err
		}
		if at < len(list) && list[at].key() == ref.Key {
			at++
		}
		return nil
	})
	if err == nil {
		err = until("")
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

func (o *openBox) message(e *entry, key string) mail.Message {
	m := mail.Message{Ref: mail.Ref{Key: key}, Flags: e.flags, Size: e.size, Date: unixTime(e.date)}
	m.ID = mail.Identity{MessageID: e.id, Described: !e.vague}
	if o.a.o.Digests {
		m.ID.Digest = e.digest
	}
	return m
}

func unixTime(at int64) time.Time {
	if at == noDate {
		return time.Time{}
	}
	return time.Unix(at, 0).UTC()
}

// find is the entry that a ref names; nil when there is none.
func (o *openBox) find(ref mail.Ref) *entry {
	list := o.b.entries
	i := sort.Search(len(list), func(i int) bool { return list[i].key() >= ref.Key })
	if i == len(list) || list[i].key() != ref.Key {
		return nil
	}
	return &list[i]
}

// Describe implements mail.Mailbox: all was found out when the archive was opened.
func (o *openBox) Describe(ctx context.Context, refs []mail.Ref, _ bool, fn func(mail.Message) error) error {
	for _, ref := range refs {
		if e := o.find(ref); e != nil {
			if err := fn(o.message(e, ref.Key)); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// Fetch reads messages in the order in which they lie in the archive.
func (o *openBox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	type wanted struct {
		e   *entry
		ref mail.Ref
	}
	list := make([]wanted, 0, len(refs))
	for _, ref := range refs {
		if e := o.find(ref); e != nil {
			list = append(list, wanted{e, ref})
		}
	}
	slices.SortStableFunc(list, func(x, y wanted) int {
		return cmp.Or(cmp.Compare(x.e.source, y.e.source), strings.Compare(x.e.at.path, y.e.at.path), cmp.Compare(x.e.at.off, y.e.at.off))
	})
	for _, w := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := mail.Fetched{Message: o.message(w.e, w.ref.Key)}
		body, end, err := o.open(w.e)
		if err != nil {
			f.Err = o.unreadable(w.ref, err)
		} else {
			f.Body = &checkedBody{from: body, left: w.e.size, want: w.e.digest, fail: func(err error) error { return o.unreadable(w.ref, err) }}
		}
		err = fn(f)
		if end != nil {
			end()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *openBox) unreadable(ref mail.Ref, err error) *mail.Error {
	return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindIntegrity, Op: "read", Mailbox: o.b.name, Ref: ref, Err: err}
}

// open gets at the wire form of a message.
func (o *openBox) open(e *entry) (body io.Reader, end func(), err error) {
	var stored io.Reader
	switch {
	case e.at.zip != nil:
		r, err := e.at.zip.Open()
		if err != nil {
			return nil, nil, err
		}
		stored, end = io.LimitReader(r, e.at.n), func() { r.Close() }
	case e.at.path != "":
		f, err := openRegular(e.at.path)
		if err != nil {
			return nil, nil, bare(err)
		}
		stored, end = f, func() { f.Close() }
	default:
		stored = io.NewSectionReader(e.at.ra, e.at.off, e.at.n)
	}
	if e.at.n > maxSmall {
		return newDecodeReader(stored, e.coding), end, nil
	}
	o.stored = slices.Grow(o.stored[:0], int(e.at.n))[:e.at.n]
	if _, err := io.ReadFull(stored, o.stored); err != nil {
		return nil, end, errChanged
	}
	if e.coding.plain() {
		return bytes.NewReader(o.stored), end, nil
	}
	o.wire = decodeAll(o.wire[:0], o.stored, e.coding)
	return bytes.NewReader(o.wire), end, nil
}

var errChanged = errors.New("the archive was changed while it was read")

// checkedBody gives exactly the octets that were there when the archive was opened,
// or an error in place of io.EOF.
type checkedBody struct {
	from io.Reader
	left int64
	want mail.Digest
	sum  interface {
		io.Writer
		Sum([]byte) []byte
	}
	fail func(error) error
}

func (c *checkedBody) Read(p []byte) (int, error) {
	if c.sum == nil {
		c.sum = sha256.New()
	}
	n, err := c.from.Read(p)
	c.sum.Write(p[:n])
	c.left -= int64(n)
	switch {
	case c.left < 0 || err == io.EOF && (c.left > 0 || string(c.sum.Sum(nil)) != string(c.want[:])):
		return n, c.fail(errChanged)
	case err != nil && err != io.EOF:
		return n, c.fail(fmt.Errorf("%w", err))
	}
	return n, err
}
