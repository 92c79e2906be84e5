package maildir

import (
	"context"
	"errors"

	"postbag/internal/mail"
)

// FetchTrashed reads messages of the retention area in their wire form, in the order
// given. Whole mailboxes, and what is not there any more, are left out; a message that
// cannot be read arrives with Err set. An error of fn ends the walk and is returned as
// it is.
func (s *Store) FetchTrashed(ctx context.Context, list []Trashed, fn func(Trashed, mail.Fetched) error) error {
	for _, t := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if t.Whole {
			continue
		}
		if err := s.fetchTrashed(t, fn); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) fetchTrashed(t Trashed, fn func(Trashed, mail.Fetched) error) error {
	failed := func(err error) error {
		return fail("read a removed message", t.Mailbox, mail.ScopeMessage, mail.Ref{Key: t.Key}, err)
	}
	path, file := t.split()
	d, done, err := s.openTrashDir(path)
	if err == nil {
		defer done()
		var c *content
		if c, err = openContent(d, file, t.Key); err == nil {
			defer c.close()
			return fn(t, mail.Fetched{
				Message: mail.Message{Ref: mail.Ref{Key: t.Key}, Flags: t.Flags, Size: c.wire, Date: c.stat.Mtime},
				Body:    c.reader(failed),
			})
		}
	}
	if ignoreGone(err) == nil || errors.Is(err, errGone) {
		return nil
	}
	e := *mail.AsError(failed(err))
	e.Scope = mail.ScopeMessage
	return fn(t, mail.Fetched{Message: mail.Message{Ref: mail.Ref{Key: t.Key}, Size: -1}, Err: &e})
}
