package maildir

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"

	"postbag/internal/mail"
)

// Fetch reads messages in the order of refs. Flags, date and size are those of
// the moment when the file is opened.
func (m *mailbox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	words, err := m.words()
	if err != nil {
		return m.fail("read", err)
	}
	return m.each(ctx, "read", refs, func(ref mail.Ref, l location, c *content) error {
		f, _ := parseName(l.name)
		return fn(mail.Fetched{
			Message: mail.Message{Ref: ref, Flags: flagsOf(f.letters, words), Size: c.wire, Date: c.stat.Mtime},
			Body:    c.reader(func(err error) error { return m.messageError("read", ref, err) }),
		})
	}, func(ref mail.Ref, err *mail.Error) error {
		return fn(mail.Fetched{Message: mail.Message{Ref: ref, Size: -1}, Err: err})
	})
}

// Describe reads each message for its Message-ID, its size, and its digest when
// that is wanted. A message that cannot be read is left out and the log is told.
func (m *mailbox) Describe(ctx context.Context, refs []mail.Ref, withDigest bool, fn func(mail.Message) error) error {
	return m.each(ctx, "describe", refs, func(ref mail.Ref, _ location, c *content) error {
		msg := mail.Message{Ref: ref, Size: c.wire, Date: c.stat.Mtime}
		if err := c.describe(&msg.ID, withDigest); err != nil {
			if errors.Is(err, errChanged) {
				return nil // it is no longer what was asked about
			}
			return m.messageError("describe", ref, err)
		}
		return fn(msg)
	}, func(ref mail.Ref, err *mail.Error) error {
		m.store.notice("a message cannot be read: "+err.Err.Error(), m.info.Name, ref.Key)
		return nil
	})
}

// describe finds the identity of a message.
func (c *content) describe(id *mail.Identity, withDigest bool) error {
	var err error
	if withDigest {
		if id.Digest, err = c.digest(); err != nil {
			return err
		}
	}
	head, err := c.head()
	if err != nil {
		return err
	}
	id.MessageID, id.Described = mail.MessageIDOf(head), true
	if at := mail.AddedAt(head); at >= 0 {
		id.Added = mail.AddedLine
		if withDigest && c.small != nil {
			sum := sha256.New()
			sum.Write(head[:at])
			sum.Write(head[at+mail.AddedLine:])
			sum.Sum(id.Plain[:0])
		}
	}
	return nil
}

// head is the beginning of the wire form: at least mail.MaxHeader octets, or all.
func (c *content) head() ([]byte, error) {
	if c.small != nil {
		return c.small, nil
	}
	head := make([]byte, min(mail.MaxHeader, c.stat.Size))
	n, err := io.ReadFull(io.NewSectionReader(c.file, 0, c.stat.Size), head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return nil, err
	}
	if head = head[:n]; !c.asIs {
		head = appendWire(nil, head)
	}
	return head, nil
}

// Headers reads the beginnings of messages. Like Describe it looks at all of each once:
// only then is its size known.
func (m *mailbox) Headers(ctx context.Context, refs []mail.Ref, fn func(mail.Message, []byte) error) error {
	return m.each(ctx, "read headers", refs, func(ref mail.Ref, _ location, c *content) error {
		head, err := c.head()
		if err != nil {
			return m.messageError("read headers", ref, err)
		}
		return fn(mail.Message{Ref: ref, Size: c.wire, Date: c.stat.Mtime}, head)
	}, func(ref mail.Ref, err *mail.Error) error {
		m.store.notice("a message cannot be read: "+err.Err.Error(), m.info.Name, ref.Key)
		return nil
	})
}

// each opens the messages of refs one after another. What is gone is left out;
// bad gets what is there and cannot be read. The error of a callback is returned
// as it is.
func (m *mailbox) each(ctx context.Context, op string, refs []mail.Ref,
	fn func(mail.Ref, location, *content) error, bad func(mail.Ref, *mail.Error) error) error {
	f := m.finder()
	if err := f.prepare(ctx, refs); err != nil {
		return m.fail(op, err)
	}
	for _, ref := range refs {
		if err := ctx.Err(); err != nil {
			return m.fail(op, err)
		}
		var at location
		var c *content
		err := f.follow(ctx, ref, func(l location) (err error) {
			at = l
			c, err = openContent(m.sub[l.where], l.name, ref.Key)
			return err
		})
		switch {
		case err == nil:
			err = fn(ref, at, c)
			c.close()
			if err != nil {
				return err
			}
		case errors.Is(err, errGone):
		case ctx.Err() != nil:
			return m.fail(op, ctx.Err())
		default:
			e := m.messageError(op, ref, err)
			if e.Scope != mail.ScopeMessage {
				return e
			}
			if err := bad(ref, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// messageError classifies what went wrong with reading one message: a bad
// sector and a missing permission concern that file alone.
func (m *mailbox) messageError(op string, ref mail.Ref, err error) *mail.Error {
	e := mail.AsError(fail(op, m.info.Name, mail.ScopeMessage, ref, err))
	switch {
	case errors.Is(err, errChanged):
		e.Kind, e.Temporary = mail.KindIntegrity, true
	case errors.Is(err, fs.ErrPermission), isAny(err, errsIO):
		e.Scope = mail.ScopeMessage
	}
	return e
}
