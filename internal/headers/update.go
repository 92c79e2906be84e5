package headers

import (
	"context"
	"slices"

	"postbag/internal/mail"
	"postbag/internal/match"
)

// window is how many new messages are listed at a time.
const window = 20000

// Update asks a mailbox what happened since the cache was made, and reads the headers
// of what is new. It reports whether the cache is another one now. read is told of each
// header that was read; it may be nil.
func (c *Cache) Update(ctx context.Context, mb mail.Mailbox, read func()) (changed bool, err error) {
	if v := mb.Info().Validity; c.Validity != v {
		c.Validity, c.Cursor, c.Entries = v, "", nil
		changed = true
	}
	c.left = false
	cursor := c.Cursor
	for {
		d, err := mb.Changes(ctx, cursor, c, window)
		if err != nil {
			return changed, err
		}
		if err := c.apply(ctx, mb, &d, read); err != nil {
			return changed, err
		}
		changed = changed || !d.Empty() || c.Cursor != d.Cursor
		if cursor = d.Cursor; !d.More {
			// What is not certain is asked again.
			if c.Cursor = d.Cursor; d.Unsettled != "" || c.left {
				c.Cursor = ""
			}
			return changed, nil
		}
	}
}

// apply takes a delta in.
func (c *Cache) apply(ctx context.Context, mb mail.Mailbox, d *mail.Delta, read func()) error {
	if len(d.Gone) > 0 {
		gone := make(map[mail.Ref]bool, len(d.Gone))
		for _, ref := range d.Gone {
			gone[ref] = true
		}
		c.Entries = slices.DeleteFunc(c.Entries, func(e Entry) bool { return gone[e.Ref] })
	}
	for _, f := range d.Flags {
		if i, ok := c.find(f.Ref); ok {
			c.Entries[i].Flags = f.Flags
		}
	}
	fresh := make(map[mail.Ref]*Entry, len(d.New))
	var refs []mail.Ref
	for _, m := range d.New {
		if i, ok := c.find(m.Ref); ok { // a superset is allowed
			c.Entries[i].Flags = m.Flags
			continue
		}
		fresh[m.Ref] = &Entry{Ref: m.Ref, Flags: m.Flags, Size: m.Size, Date: m.Date}
		refs = append(refs, m.Ref)
	}
	if len(refs) == 0 {
		return nil
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	met, err := Read(ctx, mb, refs, func(m mail.Message, h match.Header) error {
		e := fresh[m.Ref]
		if e == nil {
			return nil
		}
		if m.Size >= 0 {
			e.Size = m.Size
		}
		if e.Date.IsZero() {
			e.Date = m.Date
		}
		e.Header = h
		if read != nil {
			read()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if !met[ref] { // it vanished, or cannot be read: the next look tells
			c.left = true
			continue
		}
		c.Entries = append(c.Entries, *fresh[ref])
	}
	slices.SortFunc(c.Entries, func(a, b Entry) int { return a.Ref.Compare(b.Ref) })
	return nil
}

// Read reads and decodes headers, and answers with the messages that it met. A mailbox
// that cannot read headers alone gives the whole messages.
func Read(ctx context.Context, mb mail.Mailbox, refs []mail.Ref, fn func(mail.Message, match.Header) error) (met map[mail.Ref]bool, err error) {
	met = make(map[mail.Ref]bool, len(refs))
	if r, ok := mb.(mail.HeaderReader); ok {
		err = r.Headers(ctx, refs, func(m mail.Message, head []byte) error {
			met[m.Ref] = true
			return fn(m, match.Parse(head))
		})
		return met, err
	}
	err = mb.Fetch(ctx, refs, func(f mail.Fetched) error {
		if f.Err != nil {
			return nil
		}
		h, err := match.Read(f.Body)
		if err != nil {
			return nil
		}
		met[f.Ref] = true
		return fn(f.Message, h)
	})
	return met, err
}
