package history

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"postbag/internal/mail"
	"postbag/maildir"
	"postbag/state"
)

// ID names a message of a Maildir or a server for people and scripts: it is the same
// as long as the message stays in its mailbox, and the same as of any time. epoch is
// the mailbox's validity on a server, "" in a Maildir.
func ID(mailbox, epoch string, ref mail.Ref) string {
	sum := sha256.Sum256([]byte(mailbox + "\x00" + epoch + "\x00" + ref.String()))
	return hex.EncodeToString(sum[:8])
}

// Store is an account as it was at a point, as a store for reading: its mailboxes by
// their names of then, and in them the messages with flags and dates of then. Content
// comes from where it is now, in the tree or in its trash, and is compared with its
// digest on the way. A message that is nowhere any more arrives with an error of its
// own. The keys of its messages are IDs.
type Store struct {
	View *View
	tree *maildir.Store
	// Only chooses messages; nil takes all. It must be set before anything is opened.
	Only func(*Message) bool
}

// NewStore makes the store of a view. It closes neither the tree nor the state.
func NewStore(v *View, tree *maildir.Store) *Store { return &Store{View: v, tree: tree} }

var errReadOnly = &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "history", Err: errors.New("what was cannot be changed")}

// Account implements mail.Store.
func (s *Store) Account() string { return s.tree.Account() + " as it was" }

// List implements mail.Store.
func (s *Store) List(context.Context) ([]mail.MailboxInfo, error) { return s.View.Mailboxes(), nil }

// Select implements mail.Store.
func (s *Store) Select(context.Context, string) (mail.WritableMailbox, error) {
	return nil, errReadOnly
}

// Create implements mail.Store.
func (s *Store) Create(context.Context, string, mail.SpecialUse) error { return errReadOnly }

// Rename implements mail.Store.
func (s *Store) Rename(context.Context, string, string) error { return errReadOnly }

// Delete implements mail.Store.
func (s *Store) Delete(context.Context, string) error { return errReadOnly }

// Close implements mail.Store.
func (s *Store) Close() error { return nil }

// Examine implements mail.Store.
func (s *Store) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	list := s.View.Mailboxes()
	i := slices.IndexFunc(list, func(info mail.MailboxInfo) bool { return info.Name == name })
	if i < 0 {
		return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindGone, Op: "examine", Mailbox: name, Err: errors.New("there was no such mailbox")}
	}
	m := &mailbox{s: s, info: list[i], byID: make(map[mail.Ref]*Message)}
	m.info.Validity = "past"
	err := s.View.Each(ctx, name, func(one *Message) error {
		if s.Only == nil || s.Only(one) {
			m.add(one)
		}
		return nil
	})
	slices.SortFunc(m.refs, mail.Ref.Compare)
	m.info.Messages = len(m.refs)
	return m, err
}

// mailbox is one mailbox as it was.
type mailbox struct {
	s      *Store
	info   mail.MailboxInfo
	refs   []mail.Ref
	byID   map[mail.Ref]*Message
	places *places // nil: nothing was looked for yet
}

func (m *mailbox) add(one *Message) {
	ref := mail.Ref{Key: IDOf(one)}
	if m.byID[ref] != nil { // two messages of one key, of which one had gone
		ref.Key += fmt.Sprintf("-%d", one.Row)
	}
	m.byID[ref] = one
	m.refs = append(m.refs, ref)
}

// IDOf is the ID of a message as it was.
func IDOf(one *Message) string {
	if ref := one.Ref[state.B]; !ref.IsZero() {
		return ID(one.Mailbox, "", ref)
	}
	return ID(one.Mailbox, "", one.Ref[state.A])
}

// Info implements mail.Mailbox.
func (m *mailbox) Info() mail.MailboxInfo { return m.info }

// Close implements mail.Mailbox.
func (m *mailbox) Close() error { return nil }

func (m *mailbox) message(ref mail.Ref) mail.Message {
	one := m.byID[ref]
	return mail.Message{Ref: ref, Flags: one.Flags, Size: one.Size, Date: one.Date, ID: one.Ident}
}

// Changes implements mail.Mailbox. What was does not change: all that is not known is
// new, in the order of refs, and nothing ever goes.
func (m *mailbox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	if limit <= 0 {
		limit = len(m.refs) + 1
	}
	have := make(map[mail.Ref]bool, known.Count())
	if err := known.Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, _ mail.Flags) error {
		have[ref] = true
		return nil
	}); err != nil {
		return mail.Delta{}, err
	}
	from, _ := slices.BinarySearchFunc(m.refs, string(since), func(ref mail.Ref, key string) int { return cmp.Or(strings.Compare(ref.Key, key), -1) })
	var d mail.Delta
	for _, ref := range m.refs[from:] {
		if have[ref] {
			continue
		}
		if len(d.New) == limit {
			d.More, d.Cursor = true, mail.Cursor(d.New[limit-1].Ref.Key)
			return d, nil
		}
		d.New = append(d.New, m.message(ref))
	}
	return d, nil
}

// Describe implements mail.Mailbox, from what is on record.
func (m *mailbox) Describe(_ context.Context, refs []mail.Ref, _ bool, fn func(mail.Message) error) error {
	for _, ref := range refs {
		if one := m.byID[ref]; one != nil {
			msg := m.message(ref)
			msg.ID.Described = true
			if err := fn(msg); err != nil {
				return err
			}
		}
	}
	return nil
}

// Headers implements mail.HeaderReader. Of a message whose content is nowhere any more
// the header is empty.
func (m *mailbox) Headers(ctx context.Context, refs []mail.Ref, fn func(mail.Message, []byte) error) error {
	return m.Fetch(ctx, refs, func(f mail.Fetched) error {
		if f.Err != nil {
			return fn(m.message(f.Ref), nil)
		}
		head, err := io.ReadAll(io.LimitReader(f.Body, mail.MaxHeader))
		if err != nil && mail.AsError(err).Scope != mail.ScopeMessage {
			return err
		}
		return fn(m.message(f.Ref), head)
	})
}

// locate finds out where the content of this mailbox's messages is.
func (m *mailbox) locate(ctx context.Context) error {
	if m.places != nil {
		return nil
	}
	var all []*Message
	for _, ref := range m.refs {
		all = append(all, m.byID[ref])
	}
	p := &places{tree: m.s.tree, db: m.s.View.db}
	if err := p.find(ctx, all); err != nil {
		return err
	}
	m.places = p
	return nil
}

// Fetch implements mail.Mailbox.
func (m *mailbox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	if err := m.locate(ctx); err != nil {
		return err
	}
	inTree := make(map[string]map[mail.Ref][]mail.Ref) // by mailbox and key
	for _, ref := range refs {
		one := m.byID[ref]
		if one == nil {
			continue
		}
		at, ok := m.places.of(one)
		var err error
		switch {
		case !ok:
			err = m.missing(ref, fn)
		case at.trash != nil:
			err = m.fromTrash(ctx, ref, *at.trash, fn)
		default:
			if inTree[at.box] == nil {
				inTree[at.box] = make(map[mail.Ref][]mail.Ref)
			}
			inTree[at.box][at.ref] = append(inTree[at.box][at.ref], ref)
		}
		if err != nil {
			return err
		}
	}
	for box, wanted := range inTree {
		if err := m.fromTree(ctx, box, wanted, fn); err != nil {
			return err
		}
	}
	return nil
}

// missing tells of a message that is nowhere.
func (m *mailbox) missing(ref mail.Ref, fn func(mail.Fetched) error) error {
	return fn(mail.Fetched{Message: m.message(ref), Err: &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindGone, Op: "read", Mailbox: m.info.Name, Ref: ref,
		Err: errors.New("its content is neither in the Maildir nor in its trash any more")}})
}

func (m *mailbox) fromTrash(ctx context.Context, ref mail.Ref, t maildir.Trashed, fn func(mail.Fetched) error) error {
	met := false
	err := m.s.tree.FetchTrashed(ctx, []maildir.Trashed{t}, func(_ maildir.Trashed, f mail.Fetched) error {
		met = true
		return fn(m.as(ref, f))
	})
	if err == nil && !met {
		return m.missing(ref, fn)
	}
	return err
}

// fromTree reads messages of one mailbox of the tree. A file that stands for several
// messages is read for each.
func (m *mailbox) fromTree(ctx context.Context, box string, wanted map[mail.Ref][]mail.Ref, fn func(mail.Fetched) error) error {
	mb, err := m.s.tree.Examine(ctx, box)
	if err != nil {
		return err
	}
	defer mb.Close()
	for len(wanted) > 0 {
		var round []mail.Ref
		for at := range wanted {
			round = append(round, at)
		}
		slices.SortFunc(round, mail.Ref.Compare)
		met := make(map[mail.Ref]bool)
		if err := mb.Fetch(ctx, round, func(f mail.Fetched) error {
			met[f.Ref] = true
			return fn(m.as(wanted[f.Ref][0], f))
		}); err != nil {
			return err
		}
		for _, at := range round {
			if !met[at] {
				if err := m.missing(wanted[at][0], fn); err != nil {
					return err
				}
			}
			if wanted[at] = wanted[at][1:]; len(wanted[at]) == 0 {
				delete(wanted, at)
			}
		}
	}
	return nil
}

// as is content under the name, and with the flags and the date, that it had.
func (m *mailbox) as(ref mail.Ref, f mail.Fetched) mail.Fetched {
	msg := m.message(ref)
	msg.Size = f.Size
	out := mail.Fetched{Message: msg, Body: f.Body, Err: f.Err}
	if want := msg.ID.Digest; want.Known() && f.Err == nil {
		out.Body = &proof{from: f.Body, sum: sha256.New(), want: want, fail: func(err error) error {
			return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindIntegrity, Op: "read", Mailbox: m.info.Name, Ref: ref, Err: err}
		}}
	}
	return out
}

// proof reads to the end only what has a digest.
type proof struct {
	from io.Reader
	sum  hash.Hash
	want mail.Digest
	fail func(error) error
}

func (p *proof) Read(b []byte) (int, error) {
	n, err := p.from.Read(b)
	p.sum.Write(b[:n])
	if err == io.EOF && mail.Digest(p.sum.Sum(nil)) != p.want {
		err = p.fail(errors.New("its content is not what was stored"))
	}
	return n, err
}
