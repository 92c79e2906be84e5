package mapping

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postbag/internal/mail"
)

// Store shows a store under the names of another one: its mailboxes have the names
// that the routes come from. Those that no route leads to are not listed, and cannot
// be opened.
type Store struct {
	mail.Store
	to, from map[string]string
	archive  string // what becomes the archive there, and is \All here; "" for none
}

// New wraps a store. Routes without an end are left out.
func New(store mail.Store, routes []Route) *Store {
	s := &Store{Store: store, to: make(map[string]string, len(routes)), from: make(map[string]string, len(routes))}
	for _, r := range routes {
		if r.To != "" {
			s.to[r.From], s.from[r.To] = r.To, r.From
			if r.Use == mail.UseAll && r.Why == ByRole {
				s.archive = r.From
			}
		}
	}
	return s
}

// List implements mail.Store.
func (s *Store) List(ctx context.Context) ([]mail.MailboxInfo, error) {
	infos, err := s.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	infos = slices.DeleteFunc(slices.Clone(infos), func(i mail.MailboxInfo) bool { return s.from[i.Name] == "" })
	for i := range infos {
		infos[i].Name = s.from[infos[i].Name]
	}
	slices.SortFunc(infos, func(a, b mail.MailboxInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

func (s *Store) name(op, name string) (string, error) {
	if to, ok := s.to[name]; ok {
		return to, nil
	}
	return "", &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindGone, Op: op, Mailbox: name, Err: fmt.Errorf("it is mapped to no mailbox there")}
}

// Examine implements mail.Store.
func (s *Store) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	to, err := s.name("examine", name)
	if err != nil {
		return nil, err
	}
	return s.Store.Examine(ctx, to)
}

// Select implements mail.Store.
func (s *Store) Select(ctx context.Context, name string) (mail.WritableMailbox, error) {
	to, err := s.name("select", name)
	if err != nil {
		return nil, err
	}
	mb, err := s.Store.Select(ctx, to)
	if err != nil {
		return nil, err
	}
	return mailbox{mb, s}, nil
}

// mailbox is a mailbox whose messages move to where the names lead.
type mailbox struct {
	mail.WritableMailbox
	s *Store
}

// Move implements mail.WritableMailbox.
func (m mailbox) Move(ctx context.Context, refs []mail.Ref, to string) ([]mail.Moved, error) {
	name, err := m.s.name("move", to)
	if err != nil {
		return nil, err
	}
	return m.WritableMailbox.Move(ctx, refs, name)
}

// Batch implements mail.WritableMailbox.
func (m mailbox) Batch(ctx context.Context) (mail.Batch, error) {
	b, err := m.WritableMailbox.Batch(ctx)
	if err != nil {
		return nil, err
	}
	if l, ok := b.(mail.Linker); ok {
		return linkingBatch{batch{b}, l, m.s}, nil
	}
	return batch{b}, nil
}

// batch forwards the optional abilities of a batch.
type batch struct{ mail.Batch }

// FlushesWith implements mail.Flusher.
func (b batch) FlushesWith(path string) bool {
	f, ok := b.Batch.(mail.Flusher)
	return ok && f.FlushesWith(path)
}

// linkingBatch is the batch of a store that can link.
type linkingBatch struct {
	batch
	linker mail.Linker
	s      *Store
}

// Link implements mail.Linker.
func (b linkingBatch) Link(ctx context.Context, m mail.Message, from mail.Place) (mail.Pending, error) {
	name, err := b.s.name("link", from.Mailbox)
	if err != nil {
		e := *mail.AsError(err)
		e.Scope = mail.ScopeMessage
		return mail.Pending{}, &e
	}
	from.Mailbox = name
	return b.linker.Link(ctx, m, from)
}

// Create implements mail.Store.
func (s *Store) Create(ctx context.Context, name string, use mail.SpecialUse) error {
	to, err := s.name("create", name)
	if err != nil {
		return err
	}
	if name == s.archive {
		use = mail.UseArchive
	}
	err = s.Store.Create(ctx, to, use)
	if e, ok := errors.AsType[*mail.Error](err); ok && e.Scope == mail.ScopeMailbox && e.Hint == "" {
		hinted := *e
		hinted.Hint = fmt.Sprintf("give it another name with --map '%s=NAME', or leave it out with --map '%s='", name, name)
		return &hinted
	}
	return err
}

// Subscribed implements mail.Subscriber, where the store does.
func (s *Store) Subscribed(ctx context.Context, names []string) (map[string]bool, error) {
	sub := mail.SubscriberOf(s.Store)
	if sub == nil {
		return nil, nil
	}
	var there []string
	for _, name := range names {
		if to, ok := s.to[name]; ok {
			there = append(there, to)
		}
	}
	answer, err := sub.Subscribed(ctx, there)
	if answer == nil || err != nil {
		return nil, err
	}
	out := make(map[string]bool, len(answer))
	for to, subscribed := range answer {
		out[s.from[to]] = subscribed
	}
	return out, nil
}

// Subscribe implements mail.Subscriber. Names that no route leads from are passed
// over: they may be those of mailboxes that were renamed.
func (s *Store) Subscribe(ctx context.Context, changes map[string]bool) (map[string]*mail.Error, error) {
	sub := mail.SubscriberOf(s.Store)
	if sub == nil {
		return nil, nil
	}
	there := make(map[string]bool, len(changes))
	for name, subscribed := range changes {
		if to, ok := s.to[name]; ok {
			there[to] = subscribed
		}
	}
	refused, err := sub.Subscribe(ctx, there)
	out := make(map[string]*mail.Error, len(refused))
	for to, e := range refused {
		out[s.from[to]] = e
	}
	return out, err
}

// Rename implements mail.Store. Both names have routes: that of a mailbox which was
// renamed since it was mapped leads to where it was.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	old, err := s.name("rename", from)
	if err != nil {
		return err
	}
	next, err := s.name("rename", to)
	if err != nil || old == next {
		return err
	}
	return s.Store.Rename(ctx, old, next)
}

// Delete implements mail.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	to, err := s.name("delete", name)
	if err != nil {
		return err
	}
	return s.Store.Delete(ctx, to)
}
