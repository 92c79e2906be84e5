package demo

import (
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"postbag/internal/mail"
)

// Account is the mail of one user of a Server. Its methods change the mail
// behind the back of whoever is connected, as another client or the delivery of
// new mail would; connected sessions learn of it as IMAP has it (EXISTS, FETCH,
// EXPUNGE). They may be called from several goroutines at once.
type Account struct {
	password string

	mu       sync.Mutex
	boxes    map[string]*box
	validity uint32 // the UIDVALIDITY given out last
}

// box is one mailbox. Everything is protected by the account's mutex.
type box struct {
	name       string
	use        mail.SpecialUse
	subscribed bool
	validity   uint32
	uidNext    uint32
	msgs       []*stored
	words      map[string]string // keyword in lower case -> first spelling
	dead       bool              // deleted, or its UIDVALIDITY changed
	rev        uint64            // counts changes
	changed    chan struct{}     // closed at the next change
}

// stored is one message in a mailbox. uid, date and raw never change.
type stored struct {
	uid  uint32
	date time.Time
	raw  []byte

	flags mail.Flags
	rev   uint64 // the box's rev at the last change of flags
	gone  bool
}

// Stored is one message as an Account holds it.
type Stored struct {
	UID   uint32
	Flags mail.Flags
	Date  time.Time
	Raw   []byte // not to be changed
}

// firstValidity is the UIDVALIDITY of the first mailbox of every account, so
// that a run of a test or of the demo looks like the last.
const firstValidity = 1_700_000_000

func newAccount(password string) *Account {
	a := &Account{password: password, boxes: map[string]*box{}, validity: firstValidity}
	a.create("INBOX", "")
	return a
}

// Fill adds samples, making their mailboxes as they come.
func (a *Account) Fill(samples iter.Seq[Sample]) error {
	for s := range samples {
		if _, err := a.Add(s); err != nil {
			return err
		}
	}
	return nil
}

// Add puts a message into its mailbox, which is made when it is not there, and
// answers with its UID.
func (a *Account) Add(s Sample) (uid uint32, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.boxes[s.Mailbox]
	if b == nil {
		if b, err = a.create(s.Mailbox, s.Use); err != nil {
			return 0, err
		}
	}
	return b.add(s.Raw, s.Flags, s.Date).uid, nil
}

// SetFlags gives a message exactly these flags.
func (a *Account) SetFlags(mailbox string, uid uint32, flags mail.Flags) error {
	return a.within(mailbox, func(b *box) error {
		m := b.find(uid)
		if m == nil {
			return fmt.Errorf("%s holds no uid %d", mailbox, uid)
		}
		b.setFlags(m, flags)
		return nil
	})
}

// Expunge removes messages; UIDs that are not there are passed over.
func (a *Account) Expunge(mailbox string, uids ...uint32) error {
	return a.within(mailbox, func(b *box) error {
		b.remove(func(m *stored) bool { return slices.Contains(uids, m.uid) })
		return nil
	})
}

// Move moves messages to another mailbox that exists, and answers with their
// new UIDs, in the order of uids; 0 for one that is not there.
func (a *Account) Move(from, to string, uids ...uint32) (moved []uint32, err error) {
	err = a.within(from, func(b *box) error {
		dest := a.boxes[to]
		if dest == nil {
			return fmt.Errorf("no mailbox %s", to)
		}
		for _, uid := range uids {
			m := b.find(uid)
			if m == nil {
				moved = append(moved, 0)
				continue
			}
			moved = append(moved, dest.add(m.raw, m.flags, m.date).uid)
			b.remove(func(o *stored) bool { return o == m })
		}
		return nil
	})
	return moved, err
}

// Create makes a mailbox.
func (a *Account) Create(m Mailbox) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := a.create(m.Name, m.Use)
	return err
}

// Delete deletes a mailbox with its messages; its children stay. Sessions that
// have it selected are disconnected.
func (a *Account) Delete(mailbox string) error {
	return a.within(mailbox, func(b *box) error {
		if b.name == "INBOX" {
			return fmt.Errorf("INBOX cannot be deleted")
		}
		delete(a.boxes, b.name)
		b.dead = true
		b.touch()
		return nil
	})
}

// Rename renames a mailbox and its children, which keep their UIDVALIDITY.
func (a *Account) Rename(from, to string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rename(from, to)
}

// BumpUIDValidity gives a mailbox a new UIDVALIDITY. When renumber is set its
// messages get new UIDs as well, in the same order; else they keep theirs.
// Sessions that have it selected are disconnected.
func (a *Account) BumpUIDValidity(mailbox string, renumber bool) error {
	return a.within(mailbox, func(b *box) error {
		delete(a.boxes, b.name)
		fresh, err := a.create(b.name, b.use)
		if err != nil {
			return err
		}
		fresh.subscribed, fresh.words = b.subscribed, b.words
		if renumber {
			fresh.uidNext = b.uidNext
		}
		for _, m := range b.msgs {
			if !renumber {
				fresh.uidNext = m.uid
			}
			fresh.add(m.raw, m.flags, m.date)
		}
		fresh.uidNext = max(fresh.uidNext, b.uidNext)
		b.dead = true
		b.touch()
		return nil
	})
}

// Messages are the messages of a mailbox in the order of their UIDs; nil when
// there is no such mailbox.
func (a *Account) Messages(mailbox string) []Stored {
	var out []Stored
	// The only error is that of a mailbox that is not there.
	_ = a.within(mailbox, func(b *box) error {
		for _, m := range b.msgs {
			out = append(out, Stored{m.uid, m.flags, m.date, m.raw})
		}
		return nil
	})
	return out
}

// Mailboxes are the mailboxes that hold messages or could, sorted by name.
func (a *Account) Mailboxes() []Mailbox {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Mailbox
	for _, name := range a.names() {
		out = append(out, Mailbox{name, a.boxes[name].use})
	}
	return out
}

// within calls fn for a mailbox, under the lock.
func (a *Account) within(mailbox string, fn func(*box) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.boxes[mailbox]
	if b == nil {
		return fmt.Errorf("no mailbox %s", mailbox)
	}
	return fn(b)
}

func (a *Account) names() []string {
	names := make([]string, 0, len(a.boxes))
	for name := range a.boxes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *Account) create(name string, use mail.SpecialUse) (*box, error) {
	if name == "" || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.Contains(name, "//") {
		return nil, fmt.Errorf("%q is no name of a mailbox", name)
	}
	if a.boxes[name] != nil {
		return nil, fmt.Errorf("mailbox %s exists", name)
	}
	a.validity++
	b := &box{
		name: name, use: use, subscribed: true, validity: a.validity, uidNext: 1,
		words: map[string]string{}, changed: make(chan struct{}),
	}
	a.boxes[name] = b
	return b, nil
}

func (a *Account) rename(from, to string) error {
	b := a.boxes[from]
	if b == nil {
		return fmt.Errorf("no mailbox %s", from)
	}
	if from == "INBOX" { // RFC 9051, 6.3.6: its messages move, and INBOX stays
		dest, err := a.create(to, "")
		if err != nil {
			return err
		}
		for _, m := range b.msgs {
			dest.add(m.raw, m.flags, m.date)
		}
		b.remove(func(*stored) bool { return true })
		return nil
	}
	if a.boxes[to] != nil || strings.HasPrefix(to, from+"/") {
		return fmt.Errorf("mailbox %s exists, or is inside %s", to, from)
	}
	for _, name := range a.names() {
		if rest, ok := strings.CutPrefix(name+"/", from+"/"); ok {
			child := a.boxes[name]
			delete(a.boxes, name)
			child.name = strings.TrimSuffix(to+"/"+rest, "/")
			a.boxes[child.name] = child
		}
	}
	return nil
}

func (b *box) add(raw []byte, flags mail.Flags, date time.Time) *stored {
	b.touch()
	m := &stored{uid: b.uidNext, date: date, raw: raw, flags: b.spell(flags), rev: b.rev}
	b.uidNext++
	b.msgs = append(b.msgs, m)
	return m
}

func (b *box) find(uid uint32) *stored {
	i := sort.Search(len(b.msgs), func(i int) bool { return b.msgs[i].uid >= uid })
	if i == len(b.msgs) || b.msgs[i].uid != uid {
		return nil
	}
	return b.msgs[i]
}

func (b *box) setFlags(m *stored, flags mail.Flags) {
	if m.flags.Equal(flags) {
		return
	}
	b.touch()
	m.flags, m.rev = b.spell(flags), b.rev
}

func (b *box) remove(which func(*stored) bool) {
	kept := make([]*stored, 0, len(b.msgs))
	for _, m := range b.msgs {
		if m.gone = which(m); !m.gone {
			kept = append(kept, m)
		}
	}
	if len(kept) < len(b.msgs) {
		b.msgs = kept
		b.touch()
	}
}

// spell gives keywords the spelling that the mailbox saw first.
func (b *box) spell(flags mail.Flags) mail.Flags {
	if flags.Keywords == "" {
		return flags
	}
	var words []string
	for _, w := range flags.Keywords.Words() {
		lower := strings.ToLower(w)
		if b.words[lower] == "" {
			b.words[lower] = w
		}
		words = append(words, b.words[lower])
	}
	return mail.Flags{System: flags.System, Keywords: mail.NewKeywords(words...)}
}

// touch counts a change and wakes those who idle.
func (b *box) touch() {
	b.rev++
	close(b.changed)
	b.changed = make(chan struct{})
}
