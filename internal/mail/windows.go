package mail

import (
	"context"
	"slices"
)

// Windows lists all messages of a mailbox, at most about limit of them at a time, for
// those who know nothing of it yet. fn gets each message once, as New; one that went
// or got other flags while the others were listed comes as Gone or Flags after that.
// It remembers what fn was told, some 60 octets a message: without that the mailbox
// would begin anew after the last window.
func Windows(ctx context.Context, mb Mailbox, limit int, fn func(*Delta) error) error {
	var told told
	for since := Cursor(""); ; {
		d, err := mb.Changes(ctx, since, &told, limit)
		if err != nil {
			return err
		}
		told.take(&d)
		if err := fn(&d); err != nil || !d.More {
			return err
		}
		since = d.Cursor
	}
}

// told is a Known of what was listed so far, in the order of Ref.Compare.
type told []FlagState

func (t *told) find(ref Ref) (int, bool) {
	return slices.BinarySearchFunc(*t, ref, func(f FlagState, ref Ref) int { return f.Ref.Compare(ref) })
}

// take takes in a delta, and leaves in it what is news.
func (t *told) take(d *Delta) {
	if len(d.Gone) > 0 {
		gone := make(map[Ref]bool, len(d.Gone))
		for _, ref := range d.Gone {
			gone[ref] = true
		}
		*t = slices.DeleteFunc(*t, func(f FlagState) bool { return gone[f.Ref] })
	}
	for _, f := range d.Flags {
		if i, ok := t.find(f.Ref); ok {
			(*t)[i].Flags = f.Flags
		}
	}
	d.New = slices.DeleteFunc(d.New, func(m Message) bool { _, ok := t.find(m.Ref); return ok })
	for _, m := range d.New {
		*t = append(*t, FlagState{Ref: m.Ref, Flags: m.Flags})
	}
	order := func(a, b FlagState) int { return a.Ref.Compare(b.Ref) }
	if !slices.IsSortedFunc(*t, order) {
		slices.SortFunc(*t, order)
	}
}

// Count implements Known.
func (t *told) Count() int { return len(*t) }

// Each implements Known.
func (t *told) Each(_ context.Context, from, to Ref, fn func(Ref, Flags) error) error {
	i, _ := t.find(from)
	for _, f := range (*t)[i:] {
		if !to.IsZero() && f.Ref.Compare(to) > 0 {
			break
		}
		if err := fn(f.Ref, f.Flags); err != nil {
			return err
		}
	}
	return nil
}
