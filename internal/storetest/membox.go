package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"postbag/internal/mail"
)

type memMailbox struct {
	s    *Store
	name string
	info mail.MailboxInfo
}

func (m *memMailbox) Info() mail.MailboxInfo { return m.info }
func (m *memMailbox) Close() error           { return nil }

// box is the mailbox; the store's lock is held.
func (m *memMailbox) box() (*memBox, error) {
	b := m.s.boxes[m.name]
	if b == nil || strconv.Itoa(b.validity) != m.info.Validity {
		return nil, gone("use", m.name)
	}
	return b, nil
}

func (m *memMailbox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	had := make(map[mail.Ref]mail.Flags)
	if err := known.Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, f mail.Flags) error {
		had[ref] = f
		return nil
	}); err != nil {
		return mail.Delta{}, err
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	b, err := m.box()
	if err != nil {
		return mail.Delta{}, err
	}
	after, _ := strings.CutPrefix(string(since), "after ")
	var d mail.Delta
	for _, msg := range b.sorted() {
		f, ok := had[msg.Ref]
		switch {
		case ok && !f.Equal(msg.Flags):
			d.Flags = append(d.Flags, mail.FlagState{Ref: msg.Ref, Flags: msg.Flags})
		case !ok && !d.More && (after == "" || !strings.HasPrefix(string(since), "after ") || position(msg.Ref) > after):
			d.New = append(d.New, m.s.listed(msg))
			if len(d.New) >= limit {
				d.More = true
				d.Cursor = mail.Cursor("after " + position(msg.Ref))
			}
		}
		delete(had, msg.Ref)
	}
	if d.More {
		return d, nil
	}
	d.Gone = slices.SortedFunc(maps.Keys(had), mail.Ref.Compare)
	d.Stamp = m.s.stamp(b)
	d.Cursor = mail.Cursor("at " + strconv.Itoa(b.change))
	return d, nil
}

func position(r mail.Ref) string { return fmt.Sprintf("%010d%s", r.UID, r.Key) }

// listed is a message as a listing shows it: a keyed store knows no sizes.
func (s *Store) listed(msg *Msg) mail.Message {
	out := mail.Message{Ref: msg.Ref, Flags: msg.Flags, Size: int64(len(msg.Body)), Date: msg.Date}
	if s.Keyed {
		out.Size = -1
	}
	if s.EmailIDs {
		out.ID.ObjectID = fmt.Sprintf("%x", sha256.Sum256(msg.Body))[:16]
	}
	return out
}

func (m *memMailbox) Describe(_ context.Context, refs []mail.Ref, withDigest bool, fn func(mail.Message) error) error {
	for _, ref := range refs {
		m.s.mu.Lock()
		b, err := m.box()
		var msg *Msg
		if err == nil {
			msg = b.msgs[ref]
		}
		m.s.mu.Unlock()
		if err != nil {
			return err
		}
		if msg == nil {
			continue
		}
		out := m.s.listed(msg)
		out.Size = int64(len(msg.Body))
		out.ID.MessageID, out.ID.Described = mail.MessageIDOf(msg.Body), true
		if withDigest && m.s.Keyed {
			out.ID.Digest = sha256.Sum256(msg.Body)
		}
		if err := fn(out); err != nil {
			return err
		}
	}
	return nil
}

func (m *memMailbox) Fetch(_ context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	for _, ref := range refs {
		if err := m.s.Steps.Step(); err != nil {
			return err
		}
		m.s.mu.Lock()
		b, err := m.box()
		var msg Msg
		ok := false
		if err == nil && b.msgs[ref] != nil {
			msg, ok = *b.msgs[ref], true
			m.s.Fetched++
		}
		m.s.mu.Unlock()
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if m.s.Poison != nil && m.s.Poison(msg.Body) {
			return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindUnreachable, Temporary: true, Op: "fetch", Mailbox: m.name, Ref: ref,
				Err: errors.New("connection reset")}
		}
		f := mail.Fetched{Message: m.s.listed(&msg), Body: bytes.NewReader(msg.Body)}
		f.Size = int64(len(msg.Body))
		if m.s.Unreadable != nil {
			f.Err = m.s.Unreadable(msg.Body)
		}
		if err := fn(f); err != nil {
			return err
		}
	}
	return nil
}

func (m *memMailbox) Storable(f mail.Flags) mail.Flags {
	if m.s.Holds != nil {
		return m.s.Holds(f)
	}
	return f
}

func (m *memMailbox) SetFlags(_ context.Context, changes []mail.FlagChange) ([]mail.FlagState, error) {
	var out []mail.FlagState
	for _, c := range changes {
		if err := m.s.Steps.Step(); err != nil {
			return out, err
		}
		m.s.mu.Lock()
		b, err := m.box()
		if err == nil {
			if msg := b.msgs[c.Ref]; msg != nil {
				msg.Flags = msg.Flags.Apply(mail.FlagDelta{Add: m.Storable(c.Delta.Add), Remove: c.Delta.Remove})
				b.change++
				m.s.did("flags")
				out = append(out, mail.FlagState{Ref: c.Ref, Flags: msg.Flags})
			}
		}
		m.s.mu.Unlock()
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (m *memMailbox) Remove(_ context.Context, refs []mail.Ref) ([]mail.Ref, error) {
	var out []mail.Ref
	for _, ref := range refs {
		if err := m.s.Steps.Step(); err != nil {
			return out, err
		}
		m.s.mu.Lock()
		b, err := m.box()
		if err == nil {
			if msg := b.msgs[ref]; msg != nil {
				m.s.Trashed = append(m.s.Trashed, msg.Body)
				delete(b.msgs, ref)
				b.change++
				m.s.did("remove")
			}
			out = append(out, ref)
		}
		m.s.mu.Unlock()
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (m *memMailbox) Move(_ context.Context, refs []mail.Ref, to string) ([]mail.Moved, error) {
	var out []mail.Moved
	for _, ref := range refs {
		if err := m.s.Steps.Step(); err != nil {
			return out, err
		}
		m.s.mu.Lock()
		if dst := m.s.move(m.name, ref, to); !dst.IsZero() {
			m.s.did("move")
			out = append(out, mail.Moved{From: ref, To: dst})
		}
		m.s.mu.Unlock()
	}
	return out, nil
}

func (m *memMailbox) Batch(context.Context) (mail.Batch, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	b, err := m.box()
	if err != nil {
		return nil, err
	}
	batch := &memBatch{m: m, mark: strconv.Itoa(int(b.next)), msgs: make(map[mail.Ref]*Msg)}
	if m.s.Links {
		return linkingBatch{batch}, nil
	}
	return batch, nil
}

// memBatch stages messages under their key, or, where refs come with delivery,
// under a number of its own in the Mark.
type memBatch struct {
	m    *memMailbox
	mark string
	mu   sync.Mutex
	n    int
	msgs map[mail.Ref]*Msg
}

func (b *memBatch) Add(_ context.Context, msg mail.Message, body io.Reader) (mail.Pending, error) {
	if err := b.m.s.Steps.Step(); err != nil {
		return mail.Pending{}, err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return mail.Pending{}, err
	}
	if msg.Size >= 0 && int64(len(data)) != msg.Size {
		return mail.Pending{}, &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindIntegrity, Err: errors.New("wrong length")}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m.s.mu.Lock()
	defer b.m.s.mu.Unlock()
	box, err := b.m.box()
	if err != nil {
		return mail.Pending{}, err
	}
	return b.stage(box, msg, data), nil
}

// stage takes a message in. The locks of the batch and of the store are held.
func (b *memBatch) stage(box *memBox, msg mail.Message, body []byte) mail.Pending {
	m := &Msg{Flags: msg.Flags, Date: msg.Date, Body: body}
	b.n++
	p := mail.Pending{Mark: b.mark + " " + strconv.Itoa(b.n), Message: msg}
	if b.m.s.Keyed {
		m.Ref = b.m.s.newRef(box)
		p.Ref = m.Ref
		box.tmp[m.Ref] = m
	}
	b.msgs[mail.Ref{Key: p.Mark}] = m
	return p
}

func (b *memBatch) Prepare(context.Context) error {
	b.m.s.mu.Lock()
	defer b.m.s.mu.Unlock()
	if b.m.s.PrepareFails > 0 {
		b.m.s.PrepareFails--
		return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindUnreachable, Temporary: true, Op: "append", Mailbox: b.m.name, Err: errors.New("connection reset")}
	}
	return b.m.s.Steps.Step()
}

func (b *memBatch) Commit(_ context.Context, added []mail.Pending) ([]mail.Landed, error) {
	var out []mail.Landed
	for _, p := range added {
		if err := b.m.s.Steps.Step(); err != nil {
			return out, err
		}
		m := b.msgs[mail.Ref{Key: p.Mark}]
		if refuse := b.m.s.Refuse; refuse != nil {
			if err := refuse(m.Body); err != nil {
				out = append(out, mail.Landed{Err: err})
				continue
			}
		}
		b.m.s.mu.Lock()
		box, err := b.m.box()
		switch there := (mail.Ref{}); {
		case err != nil:
		case b.m.s.Once && box.holds(m.Body, &there):
			out = append(out, mail.Landed{Ref: there, Old: true})
		default:
			out = append(out, mail.Landed{Ref: b.m.s.deliver(box, m), Unheld: b.m.s.unheld(m.Flags)})
		}
		b.m.s.mu.Unlock()
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// holds finds a message of a content.
func (b *memBox) holds(body []byte, at *mail.Ref) bool {
	for _, m := range b.sorted() {
		if bytes.Equal(m.Body, body) {
			*at = m.Ref
			return true
		}
	}
	return false
}

// unheld are those of flags that a message loses as it arrives.
func (s *Store) unheld(f mail.Flags) mail.Flags { return f.Intersect(s.Loses) }

func (s *Store) deliver(box *memBox, m *Msg) mail.Ref {
	n := *m
	n.Flags = n.Flags.Minus(s.Loses)
	if s.Alter != nil {
		n.Body = s.Alter(n.Body)
	}
	if s.Keyed {
		delete(box.tmp, m.Ref)
	} else {
		n.Ref = s.newRef(box)
	}
	box.msgs[n.Ref] = &n
	box.change++
	s.did("new")
	return n.Ref
}

// Abort drops nothing: what a crash leaves in tmp is left here always, so that
// Recover has to cope with it.
func (b *memBatch) Abort() {}

func (m *memMailbox) Recover(ctx context.Context, pending []mail.Pending, known mail.Known) ([]mail.Landed, error) {
	if err := m.s.Steps.Step(); err != nil {
		return nil, err
	}
	taken := make(map[mail.Ref]bool)
	if err := known.Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, _ mail.Flags) error {
		taken[ref] = true
		return nil
	}); err != nil {
		return nil, err
	}
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	b, err := m.box()
	if err != nil {
		return nil, err
	}
	out := make([]mail.Landed, len(pending))
	for i, p := range pending {
		if m.s.Keyed {
			if b.msgs[p.Ref] != nil {
				out[i].Ref = p.Ref
			} else if t := b.tmp[p.Ref]; t != nil {
				out[i].Ref = m.s.deliver(b, t)
			}
			continue
		}
		first, _, _ := strings.Cut(p.Mark, " ")
		n, _ := strconv.Atoi(first)
		for _, msg := range b.sorted() {
			if msg.Ref.UID >= uint32(n) && !taken[msg.Ref] && mail.Digest(sha256.Sum256(msg.Body)) == p.Message.ID.Digest {
				taken[msg.Ref] = true
				out[i].Ref = msg.Ref
				break
			}
		}
	}
	for i, p := range pending {
		if !out[i].Ref.IsZero() {
			out[i].Unheld = m.s.unheld(p.Message.Flags)
		}
	}
	return out, nil
}
