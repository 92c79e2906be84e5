package storetest

import (
	"bytes"
	"cmp"
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
	"time"

	"postbag/internal/mail"
)

// Store is an in-memory mail.Store. A keyed one names messages as a Maildir
// does, chooses names before delivery, and reads content for Describe; the other
// numbers them as an IMAP server does. Its exported methods beside those of
// mail.Store act as another client would, and count no steps.
type Store struct {
	Keyed bool
	Steps *Steps
	// NoStamp makes the store unable to vouch for anything.
	NoStamp bool
	// Refuse, when set, is asked before a message is taken in.
	Refuse func(body []byte) *mail.Error
	// Unreadable, when set, is asked before a message is given out.
	Unreadable func(body []byte) *mail.Error
	// PrepareFails is how many times a batch cannot be made durable.
	PrepareFails int
	// Holds masks the flags that the store can hold; nil holds all.
	Holds func(mail.Flags) mail.Flags

	mu      sync.Mutex
	boxes   map[string]*memBox
	names   int
	serial  int
	Trashed [][]byte // contents removed by Remove
	Fetched int      // bodies given out
}

// Msg is one message of a Store.
type Msg struct {
	Ref   mail.Ref
	Flags mail.Flags
	Date  time.Time
	Body  []byte
}

type memBox struct {
	validity int
	next     uint32
	change   int // grows with every change
	msgs     map[mail.Ref]*Msg
	tmp      map[mail.Ref]*Msg // staged, not visible
}

// NewStore makes an empty store.
func NewStore(keyed bool) *Store { return &Store{Keyed: keyed, boxes: make(map[string]*memBox)} }

// Clone is a deep copy with steps of its own.
func (s *Store) Clone(steps *Steps) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Store{Keyed: s.Keyed, Steps: steps, NoStamp: s.NoStamp, Refuse: s.Refuse, Unreadable: s.Unreadable, Holds: s.Holds,
		boxes: make(map[string]*memBox), names: s.names, serial: s.serial, Trashed: slices.Clone(s.Trashed)}
	for name, b := range s.boxes {
		n := *b
		n.msgs, n.tmp = copyMsgs(b.msgs), copyMsgs(b.tmp)
		c.boxes[name] = &n
	}
	return c
}

func copyMsgs(msgs map[mail.Ref]*Msg) map[mail.Ref]*Msg {
	c := make(map[mail.Ref]*Msg, len(msgs))
	for ref, m := range msgs {
		n := *m
		c[ref] = &n
	}
	return c
}

// AddBox makes a mailbox.
func (s *Store) AddBox(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addBox(name)
}

func (s *Store) addBox(name string) {
	if s.boxes[name] == nil {
		s.names++
		s.boxes[name] = &memBox{validity: s.names, next: 1, msgs: make(map[mail.Ref]*Msg), tmp: make(map[mail.Ref]*Msg)}
	}
}

// DropBox deletes a mailbox.
func (s *Store) DropBox(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.boxes, name)
}

// Boxes are the names of all mailboxes, sorted.
func (s *Store) Boxes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.boxes))
}

// Put adds a message.
func (s *Store) Put(box string, flags mail.Flags, date time.Time, body string) mail.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[box]
	m := &Msg{Ref: s.newRef(b), Flags: flags, Date: date, Body: []byte(body)}
	b.msgs[m.Ref] = m
	b.change++
	return m.Ref
}

func (s *Store) newRef(b *memBox) mail.Ref {
	if s.Keyed {
		s.serial++
		return mail.Ref{Key: fmt.Sprintf("k%08d", (s.serial*7919)%99999989)}
	}
	b.next++
	return mail.Ref{UID: b.next - 1}
}

// Flag sets a message's flags.
func (s *Store) Flag(box string, ref mail.Ref, flags mail.Flags) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.boxes[box].msgs[ref]; m != nil {
		m.Flags = flags
		s.boxes[box].change++
	}
}

// Del removes a message.
func (s *Store) Del(box string, ref mail.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.boxes[box].msgs, ref)
	s.boxes[box].change++
}

// MoveMsg moves a message, as another client would.
func (s *Store) MoveMsg(box string, ref mail.Ref, to string) mail.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.move(box, ref, to)
}

func (s *Store) move(box string, ref mail.Ref, to string) mail.Ref {
	from, dst := s.boxes[box], s.boxes[to]
	m := from.msgs[ref]
	if m == nil || dst == nil {
		return mail.Ref{}
	}
	delete(from.msgs, ref)
	n := *m
	if !s.Keyed || dst.msgs[ref] != nil {
		n.Ref = s.newRef(dst)
	}
	dst.msgs[n.Ref] = &n
	from.change++
	dst.change++
	return n.Ref
}

// Renumber gives a mailbox a new validity and all messages new refs, in order.
func (s *Store) Renumber(box string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[box]
	s.names++
	b.validity = s.names
	b.next += 100
	old := b.sorted()
	b.msgs = make(map[mail.Ref]*Msg)
	for _, m := range old {
		n := *m
		n.Ref = s.newRef(b)
		b.msgs[n.Ref] = &n
	}
	b.change++
}

// Messages are the messages of a mailbox in the order of their refs.
func (s *Store) Messages(box string) []Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[box]
	if b == nil {
		return nil
	}
	var list []Msg
	for _, m := range b.sorted() {
		list = append(list, *m)
	}
	return list
}

func (b *memBox) sorted() []*Msg {
	return slices.SortedFunc(maps.Values(b.msgs), func(x, y *Msg) int { return x.Ref.Compare(y.Ref) })
}

// Account implements mail.Store.
func (s *Store) Account() string { return map[bool]string{true: "keyed", false: "numbered"}[s.Keyed] }

// List implements mail.Store.
func (s *Store) List(context.Context) ([]mail.MailboxInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var infos []mail.MailboxInfo
	for _, name := range slices.Sorted(maps.Keys(s.boxes)) {
		infos = append(infos, s.info(name))
	}
	return infos, nil
}

func (s *Store) info(name string) mail.MailboxInfo {
	b := s.boxes[name]
	return mail.MailboxInfo{Name: name, Validity: strconv.Itoa(b.validity), Stamp: s.stamp(b), Messages: len(b.msgs), Bytes: -1,
		ObjectID: ""}
}

func (s *Store) stamp(b *memBox) string {
	if s.NoStamp {
		return ""
	}
	return fmt.Sprintf("%d.%d", b.validity, b.change)
}

func gone(op, name string) error {
	return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindGone, Op: op, Mailbox: name, Err: errors.New("no such mailbox")}
}

// Examine implements mail.Store.
func (s *Store) Examine(_ context.Context, name string) (mail.Mailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[name] == nil {
		return nil, gone("examine", name)
	}
	return readOnly{&memMailbox{s: s, name: name, info: s.info(name)}}, nil
}

// readOnly hides the writing half of a mailbox.
type readOnly struct{ mail.Mailbox }

// Select implements mail.Store.
func (s *Store) Select(_ context.Context, name string) (mail.WritableMailbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[name] == nil {
		return nil, gone("select", name)
	}
	return &memMailbox{s: s, name: name, info: s.info(name)}, nil
}

// Create implements mail.Store.
func (s *Store) Create(_ context.Context, name string, _ mail.SpecialUse) error {
	if err := s.Steps.Step(); err != nil {
		return err
	}
	s.AddBox(name)
	return nil
}

// Rename implements mail.Store.
func (s *Store) Rename(_ context.Context, from, to string) error {
	if err := s.Steps.Step(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes[from] == nil || s.boxes[to] != nil {
		return gone("rename", from)
	}
	for _, name := range slices.Collect(maps.Keys(s.boxes)) {
		if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || rest[0] == '/') {
			s.boxes[to+rest] = s.boxes[name]
			delete(s.boxes, name)
		}
	}
	return nil
}

// Delete implements mail.Store.
func (s *Store) Delete(_ context.Context, name string) error {
	if err := s.Steps.Step(); err != nil {
		return err
	}
	s.DropBox(name)
	return nil
}

// Close implements mail.Store.
func (s *Store) Close() error { return nil }

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
		out.ID = mail.Identity{MessageID: mail.MessageIDOf(msg.Body), Described: true}
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
	return &memBatch{m: m, mark: strconv.Itoa(int(b.next)), msgs: make(map[mail.Ref]*Msg)}, nil
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
	m := &Msg{Flags: msg.Flags, Date: msg.Date, Body: data}
	b.n++
	p := mail.Pending{Mark: b.mark + " " + strconv.Itoa(b.n), Message: msg}
	if b.m.s.Keyed {
		m.Ref = b.m.s.newRef(box)
		p.Ref = m.Ref
		box.tmp[m.Ref] = m
	}
	b.msgs[mail.Ref{Key: p.Mark}] = m
	return p, nil
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
		if err == nil {
			out = append(out, mail.Landed{Ref: b.m.s.deliver(box, m)})
		}
		b.m.s.mu.Unlock()
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (s *Store) deliver(box *memBox, m *Msg) mail.Ref {
	n := *m
	if s.Keyed {
		delete(box.tmp, m.Ref)
	} else {
		n.Ref = s.newRef(box)
	}
	box.msgs[n.Ref] = &n
	box.change++
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
	return out, nil
}

// Content is the multiset of messages of a store as sorted lines "mailbox |
// flags | digest of the body", for comparing.
func (s *Store) Content(withFlags bool) []string {
	var lines []string
	for _, name := range s.Boxes() {
		for _, m := range s.Messages(name) {
			line := fmt.Sprintf("%s | %x", name, sha256.Sum256(m.Body))
			if withFlags {
				line += " | " + m.Flags.String()
			}
			lines = append(lines, line)
		}
	}
	slices.SortFunc(lines, cmp.Compare[string])
	return lines
}
