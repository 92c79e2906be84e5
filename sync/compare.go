package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// CompareOptions say what to compare. No state is needed: messages are matched by
// their identity.
type CompareOptions struct {
	A, B   mail.Store
	Match  func(mail.MailboxInfo) bool
	Filter Filter
	// Deep reads every message on both sides and compares digests; without it, what
	// a listing and a header tell counts: Message-ID, size and date.
	Deep bool
	// Repairs tells which messages one side was sent repaired; nil for none. With
	// Swapped its side A is B.
	Repairs  Repairs
	Swapped  bool
	Progress Progress
	Found    func(Finding)
}

// Compare finds what A has and B lacks (Missing), what B has and A lacks (Extra),
// what both have with other content (Different), and what has other flags. It
// changes nothing. It holds what it knows of the messages of one mailbox, not their
// content.
func Compare(ctx context.Context, o CompareOptions) (*Verified, error) {
	if o.Match == nil {
		o.Match = func(mail.MailboxInfo) bool { return true }
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	c := &comparer{CompareOptions: o, store: [2]mail.Store{o.A, o.B}}
	if err := c.loadRepairs(ctx); err != nil {
		return &c.out, err
	}
	r := &run{Options: Options{Match: o.Match, Progress: o.Progress}, store: c.store}
	listed, _, err := r.list(ctx, nil)
	if err != nil {
		return &c.out, err
	}
	c.out.Problems = r.rep.report.Problems
	var has [2]map[string]bool
	var names []string
	for s, infos := range listed {
		has[s] = make(map[string]bool)
		for _, info := range infos {
			if has[s][info.Name] = true; s == 0 || !has[0][info.Name] {
				names = append(names, info.Name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c.mailbox = name
		c.out.Mailboxes++
		if err := c.box(ctx, [2]bool{has[0][name], has[1][name]}); err != nil {
			e := mail.AsError(err)
			if e.Scope != mail.ScopeMailbox || ctx.Err() != nil {
				return &c.out, err
			}
			c.out.Problems = append(c.out.Problems, Problem{Mailbox: name, Kind: e.Kind, Reason: reason(e), Hint: e.Hint, Size: -1})
		}
	}
	return &c.out, nil
}

type comparer struct {
	CompareOptions
	store    [2]mail.Store
	out      Verified
	mailbox  string
	validity [2]string // of mailbox
	repaired map[string][]*state.Row
	valid    map[string][2]string // the validities that repaired goes with
}

func (c *comparer) found(f Finding) {
	f.Mailbox = c.mailbox
	c.out.count(f)
	if c.Found != nil {
		c.Found(f)
	}
}

// box compares one mailbox, which either side may lack.
func (c *comparer) box(ctx context.Context, has [2]bool) error {
	var sides [2][]*arrival
	for s, store := range c.store {
		if !has[s] {
			continue
		}
		var err error
		if sides[s], err = c.messages(ctx, s, store); err != nil {
			return err
		}
	}
	c.pairRepaired(sides)
	rules := []func(*mail.Message) (identityKey, bool){datedDigestKey, digestKey}
	if !c.Deep {
		rules = append(rules, datedIDKey, messageIDKey, datedKey)
	}
	for _, rule := range rules {
		zip(sides, rule, func(as, bs []*arrival) {
			for i := range min(len(as), len(bs)) {
				if !contradict(as[i], bs[i]) || as[i].msg.ID.Digest == bs[i].msg.ID.Digest {
					c.pair(as[i], bs[i])
				}
			}
		})
	}
	c.added(sides)
	if err := c.madeOf(ctx, sides); err != nil {
		return err
	}
	// Of one Message-ID, and not the same.
	zip(sides, onlyID, func(as, bs []*arrival) {
		for i := range min(len(as), len(bs)) {
			a, b := as[i], bs[i]
			a.taken, b.taken = true, true
			c.found(Finding{Kind: Different, Side: state.B, Ref: b.msg.Ref, Size: b.msg.Size, Message: b.msg,
				Text: fmt.Sprintf("%s on the other side has the same Message-ID and other content (%d octets)", a.msg.Ref, a.msg.Size)})
		}
	})
	for s, kind := range []FindingKind{Missing, Extra} {
		for _, a := range sides[s] {
			if !a.taken {
				c.found(Finding{Kind: kind, Side: state.Side(1 - s), Ref: a.msg.Ref, Size: a.msg.Size, Message: a.msg,
					Text: fmt.Sprintf("only %s has it", c.store[s].Account())})
			}
		}
	}
	return nil
}

func onlyID(m *mail.Message) (identityKey, bool) {
	return identityKey{id: m.ID.MessageID}, m.ID.MessageID != 0
}

// pair notes two messages as one, and how their flags differ.
func (c *comparer) pair(a, b *arrival) {
	a.taken, b.taken = true, true
	c.out.Messages++
	c.out.Bytes += max(a.msg.Size, 0)
	if !a.msg.Flags.Equal(b.msg.Flags) {
		c.found(Finding{Kind: FlagsKind, Side: state.B, Ref: b.msg.Ref, Size: b.msg.Size, Message: b.msg,
			Text: fmt.Sprintf("flags are [%s] there and [%s] on the other side", b.msg.Flags, a.msg.Flags)})
	}
}

// messages lists a side's messages with what identifies them.
func (c *comparer) messages(ctx context.Context, s int, store mail.Store) ([]*arrival, error) {
	mb, err := store.Examine(ctx, c.mailbox)
	if err != nil {
		return nil, err
	}
	defer mb.Close()
	c.validity[s] = mb.Info().Validity
	byRef := make(map[mail.Ref]*arrival)
	var list []*arrival
	var refs []mail.Ref
	if err := eachWindow(ctx, mb, func(window []mail.Message) error {
		for _, m := range window {
			if !c.Filter.Pass(m) {
				continue
			}
			a := &arrival{msg: m}
			byRef[m.Ref], list, refs = a, append(list, a), append(refs, m.Ref)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	for chunk := range slices.Chunk(refs, 2000) {
		if err := mb.Describe(ctx, chunk, true, func(m mail.Message) error {
			if a := byRef[m.Ref]; a != nil {
				a.msg.Size, a.msg.ID = m.Size, joinIdentity(m.ID, a.msg.ID)
				if a.msg.Date.IsZero() {
					a.msg.Date = m.Date
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if c.Deep {
		err = c.digests(ctx, mb, list, byRef)
	}
	return list, err
}

// digests reads the messages whose digest is not known.
func (c *comparer) digests(ctx context.Context, mb mail.Mailbox, list []*arrival, byRef map[mail.Ref]*arrival) error {
	var unknown []*arrival
	for _, a := range list {
		if !a.msg.ID.Digest.Known() {
			unknown = append(unknown, a)
		}
	}
	return c.read(ctx, mb, unknown, func(f mail.Fetched, m *meter) {
		a := byRef[f.Ref]
		a.msg.Size, a.msg.ID = m.n, m.identity(a.msg.ID)
	}, nil)
}

// read reads messages, and calls fn for each of which all was read. Its meter also
// tells alterations where alter says so.
func (c *comparer) read(ctx context.Context, mb mail.Mailbox, list []*arrival, fn func(mail.Fetched, *meter), alter func() *mail.Altering) error {
	byRef := make(map[mail.Ref]*arrival)
	var refs []mail.Ref
	for _, a := range list {
		byRef[a.msg.Ref], refs = a, append(refs, a.msg.Ref)
		c.Progress.Expect(1, max(a.msg.Size, 0))
	}
	slices.SortFunc(refs, mail.Ref.Compare)
	return mb.Fetch(ctx, refs, func(f mail.Fetched) error {
		a := byRef[f.Ref]
		if a == nil {
			return nil
		}
		defer c.Progress.Done(1, max(a.msg.Size, 0))
		err := error(nil)
		if f.Err != nil {
			err = f.Err
		}
		m := newMeter(f.Body)
		if alter != nil {
			m.alter = alter()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, m)
		}
		if isScope(err, mail.ScopeMessage) {
			c.found(Finding{Kind: Unread, Ref: f.Ref, Size: a.msg.Size, Message: a.msg, Text: reason(mail.AsError(err))})
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		fn(f, m)
		return nil
	})
}

// added explains messages that are equal but for a line that another sync program
// added to one of them.
func (c *comparer) added(sides [2][]*arrival) {
	for s := range sides {
		digests := make(map[mail.Digest][]*arrival)
		for _, o := range sides[1-s] {
			if !o.taken && o.msg.ID.Digest.Known() {
				digests[o.msg.ID.Digest] = append(digests[o.msg.ID.Digest], o)
			}
		}
		for _, a := range sides[s] {
			if a.taken || !a.msg.ID.Plain.Known() {
				continue
			}
			list := digests[a.msg.ID.Plain]
			i := slices.IndexFunc(list, func(o *arrival) bool { return !o.taken })
			if i < 0 {
				continue
			}
			pair := [2]*arrival{a, a}
			pair[1-s] = list[i]
			c.pair(pair[0], pair[1])
			c.found(Finding{Kind: Altered, Side: state.Side(s), Ref: a.msg.Ref, Size: a.msg.Size, Message: a.msg, Text: textAdded})
		}
	}
}

// madeOf explains, with Deep, what is left on both sides: messages of side B that
// are what a known alteration makes of one of side A.
func (c *comparer) madeOf(ctx context.Context, sides [2][]*arrival) error {
	there := make(map[mail.Digest][]*arrival)
	dates := make(map[int64]bool)
	for _, b := range sides[state.B] {
		if !b.taken && b.msg.ID.Digest.Known() {
			there[b.msg.ID.Digest] = append(there[b.msg.ID.Digest], b)
			dates[b.msg.Date.Unix()] = true
		}
	}
	var list []*arrival
	byRef := make(map[mail.Ref]*arrival)
	for _, a := range sides[state.A] {
		if !a.taken && dates[a.msg.Date.Unix()] {
			list, byRef[a.msg.Ref] = append(list, a), a
		}
	}
	if !c.Deep || len(list) == 0 {
		return nil
	}
	mb, err := c.store[state.A].Examine(ctx, c.mailbox)
	if err != nil {
		return err
	}
	defer mb.Close()
	return c.read(ctx, mb, list, func(f mail.Fetched, m *meter) {
		a := byRef[f.Ref]
		for digest, how := range m.alter.Digests() {
			i := slices.IndexFunc(there[digest], func(b *arrival) bool { return !b.taken && b.msg.Date.Unix() == a.msg.Date.Unix() })
			if i < 0 {
				continue
			}
			b := there[digest][i]
			c.pair(a, b)
			c.found(Finding{Kind: Altered, Side: state.B, Ref: b.msg.Ref, Size: b.msg.Size, Message: b.msg,
				Text: fmt.Sprintf("the server altered %s of the other side (%d octets) as it took it: %s", a.msg.Ref, a.msg.Size, how)})
			return
		}
	}, mail.NewAltering)
}
