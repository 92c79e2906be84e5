package cli

import (
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/history"
	"postbag/internal/mail"
	"postbag/state"
)

// idsFlags choose messages by the IDs that list shows.
func idsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ids", Category: catWhat, Usage: "only the messages whose IDs are in `FILE`, as list --only-ids writes them; - for stdin"},
	}
}

// maxIDs bounds, in octets, a list of IDs.
const maxIDs = 256 << 20

var idForm = regexp.MustCompile(`^[0-9a-f]{16}(-[0-9]+)?$`)

// readIDs reads a list of IDs, with blanks or line ends between them. An empty list
// chooses nothing.
func readIDs(path string, env *Env) (map[string]bool, error) {
	in := env.Stdin
	if path != "-" {
		full, err := env.absolute(path)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(full)
		if err != nil {
			return nil, usageError("", "", "%s: %w", path, bare(err))
		}
		defer f.Close()
		in = f
	}
	if in == nil {
		in = strings.NewReader("")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxIDs))
	if err != nil {
		return nil, usageError("", "", "%s: %w", path, bare(err))
	}
	ids := map[string]bool{}
	for _, id := range strings.Fields(string(text)) {
		if !idForm.MatchString(id) {
			return nil, usageError("", "postbag list --only-ids writes them", "%q is no ID", clipText(id, 40))
		}
		ids[id] = true
	}
	return ids, nil
}

// chosen reports whether a message of that ID is chosen.
func (o *options) chosen(id string) bool { return o.ids == nil || o.ids[id] }

// chosenHere reports whether a message of a Maildir is.
func (o *options) chosenHere(mailbox string, ref mail.Ref) bool {
	return o.ids == nil || o.ids[history.ID(mailbox, "", ref)]
}

// onlyChosen is a Maildir, and which of its rows are to be restored, when IDs choose.
func (o *options) onlyChosen(store mail.Store) (mail.Store, func(string, *state.Row) bool) {
	if o.ids == nil {
		return store, nil
	}
	return chosenStore{Store: store, choose: o.chosenHere}, func(mailbox string, row *state.Row) bool { return o.chosenHere(mailbox, row.Ref[state.B]) }
}

// chosenStore is a Maildir of which only some messages are shown: those that are on
// record and asked for by name, with the flags that they are to have, and new ones that
// are chosen. It tells of nothing else that happened, and vouches for nothing: what is
// not on record yet is new to the next run still.
type chosenStore struct {
	mail.Store
	flags  map[mail.Ref]mail.Flags
	choose func(mailbox string, ref mail.Ref) bool // of new messages; nil takes none
}

// Examine implements mail.Store.
func (c chosenStore) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	mb, err := c.Store.Examine(ctx, name)
	if err != nil {
		return nil, err
	}
	return chosenMailbox{mb, c}, nil
}

type chosenMailbox struct {
	mail.Mailbox
	c chosenStore
}

// Changes implements mail.Mailbox.
func (m chosenMailbox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	out := mail.Delta{Cursor: since}
	if m.c.choose == nil {
		return out, nil
	}
	for cursor := since; ; {
		d, err := m.Mailbox.Changes(ctx, cursor, known, limit)
		if err != nil {
			return mail.Delta{}, err
		}
		for _, msg := range d.New {
			if m.c.choose(m.Info().Name, msg.Ref) {
				out.New = append(out.New, msg)
			}
		}
		if !d.More {
			return out, nil
		}
		cursor = d.Cursor
	}
}

// Fetch implements mail.Mailbox.
func (m chosenMailbox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	return m.Mailbox.Fetch(ctx, refs, func(f mail.Fetched) error {
		if flags, ok := m.c.flags[f.Ref]; ok {
			f.Flags = flags
		}
		return fn(f)
	})
}

// picked is a store of which only the messages are shown that IDs choose. onServer
// says that its IDs hold for one validity.
func (o *options) picked(store mail.Store, onServer bool) mail.Store {
	if o.ids == nil {
		return store
	}
	return pickedStore{store, o, onServer}
}

type pickedStore struct {
	mail.Store
	o        *options
	onServer bool
}

// Examine implements mail.Store.
func (p pickedStore) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	mb, err := p.Store.Examine(ctx, name)
	if err != nil {
		return nil, err
	}
	epoch := ""
	if p.onServer {
		epoch = mb.Info().Validity
	}
	return pickedMailbox{mb, func(ref mail.Ref) bool { return p.o.chosen(history.ID(name, epoch, ref)) }}, nil
}

type pickedMailbox struct {
	mail.Mailbox
	chosen func(mail.Ref) bool
}

// Changes implements mail.Mailbox.
func (p pickedMailbox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	d, err := p.Mailbox.Changes(ctx, since, known, limit)
	d.New = slices.DeleteFunc(d.New, func(m mail.Message) bool { return !p.chosen(m.Ref) })
	return d, err
}

// Headers implements mail.HeaderReader, with whole messages where the mailbox cannot.
func (p pickedMailbox) Headers(ctx context.Context, refs []mail.Ref, fn func(mail.Message, []byte) error) error {
	if r, ok := p.Mailbox.(mail.HeaderReader); ok {
		return r.Headers(ctx, refs, fn)
	}
	return p.Fetch(ctx, refs, func(f mail.Fetched) error {
		if f.Err != nil {
			return nil
		}
		head, err := io.ReadAll(io.LimitReader(f.Body, mail.MaxHeader))
		if err != nil {
			return nil // it cannot be read
		}
		return fn(f.Message, head)
	})
}
