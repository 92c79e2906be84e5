package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"postbag/internal/mail"
)

// Linking takes in a message that another mailbox of the tree has: as a second name
// of its file where that can be, since nothing here ever alters a file, and else as a
// copy of it. A name shares the file's time, and so INTERNALDATE; flags are in the
// name. From then on it is a delivery like any other, with the name in tmp/ first, and
// a crash leaves the same. The content is read and its digest compared, so that a file
// that was damaged is not what is linked.

// sources are the mailboxes that a batch links from, by name.
type sources map[string]*mailbox

func (s sources) close() {
	for name, m := range s {
		m.Close()
		delete(s, name)
	}
}

// Link implements mail.Linker.
func (b *batch) Link(ctx context.Context, msg mail.Message, from mail.Place) (mail.Pending, error) {
	b.linking.Lock()
	defer b.linking.Unlock()
	pending, err := b.link(ctx, msg, from)
	if err != nil {
		return mail.Pending{}, fail("link", b.m.info.Name, mail.ScopeMailbox, msg.Ref, err)
	}
	return pending, nil
}

func (b *batch) link(ctx context.Context, msg mail.Message, from mail.Place) (mail.Pending, error) {
	src, err := b.source(ctx, from)
	if err != nil {
		return mail.Pending{}, err
	}
	f := src.finder()
	if err := f.prepare(ctx, []mail.Ref{from.Ref}); err != nil {
		return mail.Pending{}, err
	}
	var pending mail.Pending
	err = f.follow(ctx, from.Ref, func(l location) error {
		c, err := openDigest(src.sub[l.where], l.name, from.Ref.Key, msg.ID.Digest)
		if err != nil {
			if errors.Is(err, errDiffers) || errors.Is(err, errChanged) || errors.Is(err, fs.ErrPermission) || isAny(err, errsIO) {
				err = notLinked(from, mail.KindIntegrity, err)
			}
			return err
		}
		defer c.close()
		pending, err = b.linkContent(ctx, msg, src.sub[l.where], l.name, from.Ref.Key, c)
		return err
	})
	if errors.Is(err, errGone) {
		err = notLinked(from, mail.KindGone, errGone)
	}
	return pending, err
}

// errDiffers says that a file does not hold what was delivered.
var errDiffers = errors.New("the file there holds something else")

// openDigest opens a file that has to hold a content.
func openDigest(d Dir, name, key string, want mail.Digest) (*content, error) {
	c, err := openContent(d, name, key)
	if err != nil {
		return nil, err
	}
	digest, err := c.digest()
	if err == nil && (!want.Known() || digest != want) {
		err = errDiffers
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func notLinked(from mail.Place, kind mail.Kind, err error) *mail.Error {
	return &mail.Error{Scope: mail.ScopeMessage, Kind: kind, Op: "link", Mailbox: from.Mailbox, Ref: from.Ref, Err: err}
}

// source opens the mailbox of a place, once for each batch.
func (b *batch) source(ctx context.Context, from mail.Place) (*mailbox, error) {
	b.mu.Lock()
	over := b.over
	b.mu.Unlock()
	if over {
		return nil, b.err
	}
	m := b.from[from.Mailbox]
	if m == nil {
		var err error
		if m, err = b.m.store.openMailbox(ctx, "link", from.Mailbox, false); err != nil {
			if e := mail.AsError(err); e.Scope != mail.ScopeAccount {
				return nil, notLinked(from, e.Kind, e.Err)
			}
			return nil, err
		}
		b.from[from.Mailbox] = m
	}
	if m.info.Validity != from.Validity {
		return nil, notLinked(from, mail.KindGone, fmt.Errorf("%q was made anew", from.Mailbox))
	}
	return m, nil
}

// linkContent takes in the file name of d, which c has open.
func (b *batch) linkContent(ctx context.Context, msg mail.Message, d Dir, name, old string, c *content) (mail.Pending, error) {
	if b.canLink(msg, old, c) {
		key, err := b.linkName(d, name, old)
		if err == nil {
			b.keep(msg.Flags.Keywords.Words())
			msg.Ref, msg.Size = mail.Ref{Key: key}, c.wire
			return mail.Pending{Ref: msg.Ref, Message: msg}, nil
		}
		if !errors.Is(err, errNoLink) {
			return mail.Pending{}, err
		}
	}
	msg.Size = c.wire
	return b.add(ctx, msg, c.reader(func(err error) error { return notLinked(mail.Place{}, mail.KindIntegrity, err) }))
}

// canLink reports whether a file may get a second name: one that we delivered, so that
// its form is known from its name, for us alone to read, and of the right time.
func (b *batch) canLink(msg mail.Message, old string, c *content) bool {
	return isOwnKey(old) && c.stat.Mode.Perm() == 0o600 && (msg.Date.IsZero() || fileDate(msg.Date).Unix() == c.stat.Mtime.Unix())
}

// linkName gives a file a second name in tmp/.
func (b *batch) linkName(d Dir, name, old string) (string, error) {
	for try := 0; ; try++ {
		key, err := b.m.newKeyLike(old)
		if err != nil {
			return "", err
		}
		err = d.Link(name, b.tmp, key)
		if errors.Is(err, fs.ErrExist) && try < 10 {
			continue
		}
		if err != nil {
			return "", err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.files[key] = true
		return key, nil
	}
}

// fileDate is the nearest time that every file system can hold.
func fileDate(date time.Time) time.Time {
	last := time.Unix(math.MaxUint32, 0)
	switch {
	case date.Before(time.Unix(0, 0)):
		return time.Unix(0, 0)
	case date.After(last):
		return last
	}
	return date
}
