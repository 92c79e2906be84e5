package history

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"

	"postbag/internal/mail"
	"postbag/maildir"
	"postbag/state"
)

// place is where a message's content is now: in a mailbox of the tree, or in its
// trash.
type place struct {
	box   string
	ref   mail.Ref
	trash *maildir.Trashed
}

// places finds content. Where a message's own file is known nothing is searched; for
// the others every row is looked at once, and then the trash: by the key first, and
// only what is still missing by reading it.
type places struct {
	tree  *maildir.Store
	db    *state.DB
	own   map[int64]place // by row
	other map[mail.Digest]place
}

// find fills p for messages.
func (p *places) find(ctx context.Context, messages []*Message) error {
	p.own, p.other = make(map[int64]place), make(map[mail.Digest]place)
	names, err := p.namesB(ctx)
	if err != nil {
		return err
	}
	wanted := make(map[mail.Digest]bool)
	keys := make(map[string]bool)
	for _, m := range messages {
		if m.Now != nil && m.Now.Alive(state.B) && names[m.Box] != "" {
			p.own[m.Row] = place{box: names[m.Box], ref: m.Now.Ref[state.B]}
		} else if m.Ident.Digest.Known() {
			wanted[m.Ident.Digest] = true
			keys[m.Ref[state.B].Key] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	for id, name := range names {
		if err := p.db.Each(ctx, id, func(r *state.Row) error {
			if wanted[r.Ident.Digest] && r.Alive(state.B) {
				p.other[r.Ident.Digest] = place{box: name, ref: r.Ref[state.B]}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	trash, err := p.tree.Trash(ctx)
	if err != nil {
		return err
	}
	likely := func(t maildir.Trashed) bool { return keys[t.Key] }
	for _, take := range []func(maildir.Trashed) bool{likely, func(t maildir.Trashed) bool { return !likely(t) }} {
		if len(p.other) == len(wanted) {
			break
		}
		list := slices.DeleteFunc(slices.Clone(trash), func(t maildir.Trashed) bool { return !take(t) })
		if err := p.readTrash(ctx, list, wanted); err != nil {
			return err
		}
	}
	return nil
}

// namesB are the names of the tree's mailboxes, by number.
func (p *places) namesB(ctx context.Context) (map[int64]string, error) {
	records, err := p.db.Mailboxes(ctx)
	names := make(map[int64]string, len(records))
	for _, r := range records {
		if r.Name[state.B] != "" {
			names[r.ID] = r.Name[state.B]
		}
	}
	return names, err
}

func (p *places) readTrash(ctx context.Context, list []maildir.Trashed, wanted map[mail.Digest]bool) error {
	return p.tree.FetchTrashed(ctx, list, func(t maildir.Trashed, f mail.Fetched) error {
		if f.Err != nil {
			return nil
		}
		h := sha256.New()
		if _, err := io.Copy(h, f.Body); err != nil {
			return nil // it is not what is looked for
		}
		digest := mail.Digest(h.Sum(nil))
		if _, have := p.other[digest]; wanted[digest] && !have {
			p.other[digest] = place{trash: &t}
		}
		return ctx.Err()
	})
}

// of is where a message is; false when it is nowhere.
func (p *places) of(m *Message) (place, bool) {
	if at, ok := p.own[m.Row]; ok {
		return at, true
	}
	at, ok := p.other[m.Ident.Digest]
	return at, ok && m.Ident.Digest.Known()
}
