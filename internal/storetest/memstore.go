package storetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	// ObjectIDs gives mailboxes an identity that renames keep.
	ObjectIDs bool
	// EmailIDs gives messages an identity that copies and moves keep (EMAILID).
	EmailIDs bool
	// Links lets batches take in what the store holds already (mail.Linker).
	Links bool
	// Once keeps one of equal messages in a mailbox, and answers with that one.
	Once bool
	// NoStamp makes the store unable to vouch for anything.
	NoStamp bool
	// Forgets numbers a mailbox anew when it is renamed, as Courier does.
	Forgets bool
	// Refuse, when set, is asked before a message is taken in.
	Refuse func(body []byte) *mail.Error
	// Alter, when set, says what becomes of a message that is taken in.
	Alter func(body []byte) []byte
	// Poison, when set, says which messages end the fetch that they are part of.
	Poison func(body []byte) bool
	// Unreadable, when set, is asked before a message is given out.
	Unreadable func(body []byte) *mail.Error
	// PrepareFails is how many times a batch cannot be made durable.
	PrepareFails int
	// Holds masks the flags that the store can hold; nil holds all.
	Holds func(mail.Flags) mail.Flags
	// Loses are flags that a message turns out not to have when it has arrived.
	Loses mail.Flags
	// Use are the roles of mailboxes.
	Use map[string]mail.SpecialUse
	// RefuseSubscription, when set, says whose subscription cannot be changed.
	RefuseSubscription func(name string) bool
	Asked              int // times that the subscriptions were asked for

	subscribed map[string]bool // nil: there is no list

	mu      sync.Mutex
	boxes   map[string]*memBox
	names   int
	serial  int
	Trashed [][]byte // contents removed by Remove
	Fetched int      // bodies given out
	Linked  int      // messages taken in by Link
	// Did counts what the store was told to change since it was made or cloned:
	// "new", "flags", "remove", "move" messages, "create", "rename", "delete"
	// mailboxes, "subscribe" to them or not.
	Did map[string]int
}

// Msg is one message of a Store.
type Msg struct {
	Ref   mail.Ref
	Flags mail.Flags
	Date  time.Time
	Body  []byte
}

type memBox struct {
	id       int
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
	c := &Store{Keyed: s.Keyed, Steps: steps, ObjectIDs: s.ObjectIDs, EmailIDs: s.EmailIDs, Links: s.Links, Once: s.Once, Use: s.Use, NoStamp: s.NoStamp, Forgets: s.Forgets, Refuse: s.Refuse, Alter: s.Alter, Poison: s.Poison, Unreadable: s.Unreadable, Holds: s.Holds, Loses: s.Loses,
		boxes: make(map[string]*memBox), names: s.names, serial: s.serial, Trashed: slices.Clone(s.Trashed),
		RefuseSubscription: s.RefuseSubscription, subscribed: maps.Clone(s.subscribed)}
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
		s.boxes[name] = &memBox{id: s.names, validity: s.names, next: 1, msgs: make(map[mail.Ref]*Msg), tmp: make(map[mail.Ref]*Msg)}
	}
}

// DropBox deletes a mailbox.
func (s *Store) DropBox(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.boxes, name)
}

// RenameBox renames a mailbox and its children, as another client would. A name
// that is taken stays, and so does all when one of those below is.
func (s *Store) RenameBox(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renamable(from, to) {
		s.rename(from, to)
	}
}

// renamable reports whether a mailbox can be renamed: what goes along must find its
// name free, too.
func (s *Store) renamable(from, to string) bool {
	if s.boxes[from] == nil || to == from || strings.HasPrefix(to, from+"/") {
		return false
	}
	for name := range s.boxes {
		if rest, ok := strings.CutPrefix(name, to); !ok || rest != "" && rest[0] != '/' {
			continue
		} else if s.boxes[from+rest] != nil && name != from && !strings.HasPrefix(name, from+"/") {
			return false
		}
	}
	return true
}

func (s *Store) rename(from, to string) {
	moved := make(map[string]*memBox)
	for name, b := range s.boxes {
		if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || rest[0] == '/') {
			moved[to+rest] = b
			delete(s.boxes, name)
			if s.Forgets {
				s.renumber(b)
			}
		}
	}
	maps.Copy(s.boxes, moved)
}

// Renamable reports whether RenameBox would rename a mailbox.
func (s *Store) Renamable(from, to string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renamable(from, to)
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
	s.renumber(s.boxes[box])
}

func (s *Store) renumber(b *memBox) {
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
	info := mail.MailboxInfo{Name: name, Use: s.Use[name], Validity: strconv.Itoa(b.validity), Stamp: s.stamp(b), Messages: len(b.msgs), Bytes: -1}
	if s.ObjectIDs {
		info.ObjectID = strconv.Itoa(b.id)
	}
	return info
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did("create")
	s.addBox(name)
	return nil
}

// Rename implements mail.Store.
func (s *Store) Rename(_ context.Context, from, to string) error {
	if err := s.Steps.Step(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.renamable(from, to) {
		return gone("rename", from)
	}
	s.did("rename")
	s.rename(from, to)
	return nil
}

// Delete implements mail.Store.
func (s *Store) Delete(_ context.Context, name string) error {
	if err := s.Steps.Step(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did("delete")
	delete(s.boxes, name)
	return nil
}

// Close implements mail.Store.
func (s *Store) Close() error { return nil }

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
