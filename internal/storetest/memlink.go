package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"

	"postbag/internal/mail"
	"postbag/state"
)

// linkingBatch is the batch of a Store with Links.
type linkingBatch struct{ *memBatch }

// Link implements mail.Linker.
func (b linkingBatch) Link(_ context.Context, m mail.Message, from mail.Place) (mail.Pending, error) {
	s := b.m.s
	if err := s.Steps.Step(); err != nil {
		return mail.Pending{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	box, err := b.m.box()
	if err != nil {
		return mail.Pending{}, err
	}
	var there *Msg
	if src := s.boxes[from.Mailbox]; src != nil && strconv.Itoa(src.validity) == from.Validity {
		there = src.msgs[from.Ref]
	}
	if there == nil || mail.Digest(sha256.Sum256(there.Body)) != m.ID.Digest || !s.Keyed && !there.Date.Equal(m.Date) {
		return mail.Pending{}, &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindGone, Op: "link", Mailbox: from.Mailbox, Ref: from.Ref,
			Err: errors.New("it is not there")}
	}
	s.Linked++
	m.Size = int64(len(there.Body))
	return b.stage(box, m, there.Body), nil
}

// ByObject implements the engine's Journal.
func (j *Journal) ByObject(_ context.Context, ids []string) ([]*state.Row, error) {
	return j.filter(func(r *state.Row) bool { return r.Ident.ObjectID != "" && slices.Contains(ids, r.Ident.ObjectID) }), nil
}
