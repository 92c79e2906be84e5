package cli

import (
	"context"
	"slices"
	gosync "sync"

	"postbag/internal/mail"
)

// remembering is a store whose next List answers what the last one here did: a
// command that planned with a listing runs with the same one.
type remembering struct {
	mail.Store
	mu    gosync.Mutex
	fresh []mail.MailboxInfo
}

// ListNow lists the store, and keeps the answer for the next List.
func (r *remembering) ListNow(ctx context.Context) ([]mail.MailboxInfo, error) {
	list, err := r.Store.List(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fresh = nil; err == nil {
		r.fresh = slices.Clone(list)
	}
	return list, err
}

// List answers from memory once, and from the store after that.
func (r *remembering) List(ctx context.Context) ([]mail.MailboxInfo, error) {
	r.mu.Lock()
	list := r.fresh
	r.fresh = nil
	r.mu.Unlock()
	if list != nil {
		return list, nil
	}
	return r.Store.List(ctx)
}

// Unwrap is the store itself, for what else it can do.
func (r *remembering) Unwrap() mail.Store { return r.Store }
