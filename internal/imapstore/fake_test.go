package imapstore

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// fakeMailbox is a mailbox in memory with what the ladder sees of a connection.
type fakeMailbox struct {
	t        *testing.T
	validity uint32
	next     uint32
	modseq   uint64
	messages map[uint32]fakeMessage
	expunged map[uint32]uint64 // with the MODSEQ of it

	noUIDNext   bool
	noCondstore bool
	shuffle     *rand.Rand // answer in any order, some twice
	lose        func(uid uint32) bool
	refuse      func(what string) bool
	// during runs before each command, as another client would.
	during   func()
	commands []string
}

type fakeMessage struct {
	flags  mail.Flags
	modseq uint64
}

func newFake(t *testing.T) *fakeMailbox {
	return &fakeMailbox{
		t: t, validity: 7, next: 1, modseq: 1,
		messages: make(map[uint32]fakeMessage), expunged: make(map[uint32]uint64),
	}
}

func (f *fakeMailbox) add(flags ...string) uint32 {
	uid := f.next
	f.next++
	f.modseq++
	f.messages[uid] = fakeMessage{mail.ParseFlags(flags...), f.modseq}
	return uid
}

func (f *fakeMailbox) store(uid uint32, flags mail.Flags) {
	f.modseq++
	f.messages[uid] = fakeMessage{flags, f.modseq}
}

func (f *fakeMailbox) expunge(uid uint32) {
	f.modseq++
	delete(f.messages, uid)
	f.expunged[uid] = f.modseq
}

func (f *fakeMailbox) uids() []uint32 { return slices.Sorted(maps.Keys(f.messages)) }

func (f *fakeMailbox) counters() counters {
	c := counters{validity: f.validity, next: f.next, messages: uint32(len(f.messages)), modseq: f.modseq}
	if f.noUIDNext {
		c.next = 0
	}
	if f.noCondstore {
		c.modseq = 0
	}
	return c
}

func (f *fakeMailbox) before(command string) error {
	f.commands = append(f.commands, command)
	if f.during != nil {
		f.during()
	}
	if f.refuse != nil && f.refuse(command) {
		return &mail.Error{
			Scope: mail.ScopeMailbox, Kind: mail.KindProtocol,
			Err: &imapconn.StatusError{Status: imapconn.Status{Type: "BAD", Text: command}},
		}
	}
	return nil
}

func (f *fakeMailbox) FetchList(_ context.Context, set imapconn.UIDSet, items imapconn.Items, since uint64, vanished bool,
	fn func(imapconn.Item) error, gone func(lo, hi uint32) error) error {
	command := "FETCH " + set.String()
	if since > 0 {
		command += fmt.Sprintf(" CHANGEDSINCE %d", since)
	}
	if vanished {
		command += " VANISHED"
	}
	if err := f.before(command); err != nil {
		return err
	}
	var answer []uint32
	for _, uid := range f.uids() {
		if set.Contains(uid) && f.messages[uid].modseq > since && (f.lose == nil || !f.lose(uid)) {
			answer = append(answer, uid)
		}
	}
	if f.shuffle != nil && len(answer) > 1 {
		answer = append(answer, answer[f.shuffle.IntN(len(answer))])
		f.shuffle.Shuffle(len(answer), func(i, j int) { answer[i], answer[j] = answer[j], answer[i] })
	}
	if vanished {
		for uid, m := range f.expunged {
			if set.Contains(uid) && m > since {
				if err := gone(uid, uid); err != nil {
					return err
				}
			}
		}
	}
	for _, uid := range answer {
		it := imapconn.Item{UID: uid, HasFlags: true, Flags: f.messages[uid].flags, Size: -1, ModSeq: f.messages[uid].modseq}
		if items&imapconn.Size != 0 {
			it.Size = int64(uid) * 10
		}
		if err := fn(it); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeMailbox) Search(_ context.Context, criteria string) (imapconn.UIDSet, error) {
	if err := f.before("SEARCH"); err != nil {
		return imapconn.UIDSet{}, err
	}
	var set imapconn.UIDSet
	for _, uid := range f.uids() {
		if f.lose == nil || !f.lose(uid) {
			set.Add(uid)
		}
	}
	return set, nil
}

// knownMap is the state's side of a mailbox in memory.
type knownMap struct {
	flags map[uint32]mail.Flags
	reads int
}

func newKnown() *knownMap { return &knownMap{flags: make(map[uint32]mail.Flags)} }

func (k *knownMap) Count() int { return len(k.flags) }

func (k *knownMap) Each(ctx context.Context, from, to mail.Ref, fn func(mail.Ref, mail.Flags) error) error {
	var uids []uint32
	for uid := range k.flags {
		if uid >= from.UID && (to.UID == 0 || uid <= to.UID) {
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	for _, uid := range uids {
		k.reads++
		if err := fn(mail.Ref{UID: uid}, k.flags[uid]); err != nil {
			return err
		}
	}
	return nil
}

// apply handles a delta as the engine does.
func (k *knownMap) apply(t *testing.T, d mail.Delta) {
	t.Helper()
	for i, m := range d.New {
		if i > 0 && d.New[i-1].Ref.Compare(m.Ref) >= 0 {
			t.Errorf("New is not sorted: %v then %v", d.New[i-1].Ref, m.Ref)
		}
		if _, known := k.flags[m.Ref.UID]; known {
			t.Errorf("%v is new, and is known", m.Ref)
		}
		k.flags[m.Ref.UID] = m.Flags
	}
	for i, f := range d.Flags {
		if i > 0 && d.Flags[i-1].Ref.Compare(f.Ref) >= 0 {
			t.Errorf("Flags is not sorted: %v then %v", d.Flags[i-1].Ref, f.Ref)
		}
		if _, known := k.flags[f.Ref.UID]; !known {
			t.Errorf("flags of %v, which is not known", f.Ref)
		}
		k.flags[f.Ref.UID] = f.Flags
	}
	for _, r := range d.Gone {
		if _, known := k.flags[r.UID]; !known {
			t.Errorf("%v is gone, and is not known", r)
		}
		delete(k.flags, r.UID)
	}
}

// equals compares what is known with what is there.
func (k *knownMap) equals(f *fakeMailbox) error {
	if len(k.flags) != len(f.messages) {
		return fmt.Errorf("got %d messages, want %d", len(k.flags), len(f.messages))
	}
	for uid, m := range f.messages {
		if got, ok := k.flags[uid]; !ok || !got.Equal(m.flags) {
			return fmt.Errorf("UID %d: got %q (known: %v), want %q", uid, got, ok, m.flags)
		}
	}
	return nil
}

func (k bulk) FetchList(_ context.Context, set imapconn.UIDSet, _ imapconn.Items, _ uint64, _ bool,
	fn func(imapconn.Item) error, _ func(lo, hi uint32) error) error {
	for uid := uint32(1); uid <= k.n; uid++ {
		if err := fn(imapconn.Item{UID: uid, HasFlags: true, Size: -1}); err != nil {
			return err
		}
	}
	return nil
}

func (k bulk) Search(context.Context, string) (imapconn.UIDSet, error) { return imapconn.UIDSet{}, nil }
