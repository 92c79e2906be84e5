package cli

import (
	"errors"
	"io"

	"postbag/internal/config"
	"postbag/internal/history"
	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// verifyPast proves that what an account held at an earlier time can be had: each
// message's content is in the Maildir or in its trash, and has its digest.
func (s *session) verifyPast(o *options, args []string) error {
	var open closers
	result, err := s.runVerifyPast(o, args, &open)
	if code := s.verified("", result, err, &open); code != exitDone {
		return exitError(code)
	}
	return nil
}

func (s *session) runVerifyPast(o *options, args []string, open *closers) (*sync.Verified, error) {
	if o.deep {
		return nil, usageError("--deep", "", "does not go with --as-of and --run, which ask no server")
	}
	a, err := s.treeAccount(o, "verify", args)
	if err != nil {
		return nil, err
	}
	patterns, err := config.ParsePatterns(o.mailboxes)
	if err != nil {
		return nil, err
	}
	store, err := s.openPast(o, a, open)
	if err != nil {
		return nil, err
	}
	list := store.View.Mailboxes()
	if err := patterns.Check(list); err != nil {
		return nil, err
	}
	display := s.display()
	defer display.Close()
	v := &pastVerifier{s: s, store: store, filter: filter(a, s.env), done: display.Done}
	for _, info := range list {
		if patterns.Match(info) {
			if err := v.box(info.Name); err != nil {
				return &v.out, err
			}
		}
	}
	return &v.out, nil
}

type pastVerifier struct {
	s      *session
	store  *history.Store
	filter sync.Filter
	done   func(int, int64)
	out    sync.Verified
}

func (v *pastVerifier) box(name string) error {
	mb, err := v.store.Examine(v.s.ctx, name)
	if err != nil {
		return err
	}
	defer mb.Close()
	v.out.Mailboxes++
	var refs []mail.Ref
	if err := mail.Windows(v.s.ctx, mb, 20000, func(d *mail.Delta) error {
		for _, m := range d.New {
			if v.filter.Pass(m) {
				refs = append(refs, m.Ref)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return mb.Fetch(v.s.ctx, refs, func(f mail.Fetched) error {
		v.out.Messages++
		v.out.Bytes += max(f.Size, 0)
		defer v.done(1, max(f.Size, 0))
		err := error(nil)
		if f.Err != nil {
			err = f.Err
		} else {
			_, err = io.Copy(io.Discard, f.Body)
		}
		e := mail.AsError(err)
		switch {
		case err == nil:
			return nil
		case e.Scope != mail.ScopeMessage:
			return err
		}
		kind := sync.Unread
		switch e.Kind {
		case mail.KindGone:
			kind = sync.Missing
		case mail.KindIntegrity:
			kind = sync.Damaged
		}
		v.out.Findings++
		reason := e.Error()
		if e.Err != nil {
			reason = errors.Unwrap(e).Error()
		}
		v.s.finding("", sync.Finding{Kind: kind, Mailbox: name, Side: state.B, Ref: f.Ref, Size: f.Size, Message: f.Message, Text: reason})
		return nil
	})
}
