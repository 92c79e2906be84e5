package demo

import (
	"errors"
	"slices"
	"sort"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"

	"postbag/internal/mail"
)

// view is a selected mailbox as its client knows it: sequence number n is
// msgs[n-1], until an EXPUNGE has been sent.
type view struct {
	box      *box
	readOnly bool
	msgs     []*stored // messages that are gone stay until the client is told
	lastUID  uint32    // the highest that the client was told to exist
	rev      uint64    // the box's rev that the client was told of
	behind   bool      // there are gone messages that could not be told of yet
}

var errGone = errors.New("the selected mailbox is gone")

func (s *session) Select(name string, o *imap.SelectOptions) (*imap.SelectData, error) {
	verb := "SELECT"
	if o.ReadOnly {
		verb = "EXAMINE"
	}
	if err := s.before(verb, name); err != nil {
		return nil, err
	}
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	b := s.account.boxes[name]
	if b == nil {
		return nil, no(imap.ResponseCodeNonExistent, "no mailbox %s", name)
	}
	s.view = &view{box: b, readOnly: o.ReadOnly, msgs: slices.Clone(b.msgs), lastUID: b.uidNext - 1, rev: b.rev}
	data := &imap.SelectData{
		Flags:       []imap.Flag{imap.FlagAnswered, imap.FlagFlagged, imap.FlagDeleted, imap.FlagSeen, imap.FlagDraft},
		NumMessages: uint32(len(b.msgs)), UIDNext: imap.UID(b.uidNext), UIDValidity: b.validity,
	}
	words := make([]string, 0, len(b.words))
	for _, w := range b.words {
		words = append(words, w)
	}
	slices.Sort(words)
	for _, w := range words {
		data.Flags = append(data.Flags, imap.Flag(w))
	}
	if !o.ReadOnly {
		data.PermanentFlags = append(slices.Clone(data.Flags), imap.FlagWildcard)
	}
	return data, nil
}

func (s *session) Unselect() error {
	s.view = nil
	return nil
}

// Poll tells the client what happened in the selected mailbox.
func (s *session) Poll(w *imapserver.UpdateWriter, allowExpunge bool) error {
	if s.view == nil {
		return nil
	}
	s.account.mu.Lock()
	if s.view.box.dead {
		s.account.mu.Unlock()
		return errors.Join(errGone, s.conn.Bye("Mailbox was deleted or its UIDVALIDITY changed"))
	}
	u := s.view.update(allowExpunge)
	s.account.mu.Unlock()
	for _, seq := range u.expunged {
		if err := w.WriteExpunge(seq); err != nil {
			return err
		}
	}
	if u.exists > 0 {
		if err := w.WriteNumMessages(u.exists); err != nil {
			return err
		}
	}
	for _, f := range u.flags {
		if err := w.WriteMessageFlags(f.seq, imap.UID(f.msg.uid), wireFlags(f.flags)); err != nil {
			return err
		}
	}
	return nil
}

// Idle polls whenever the mailbox changes.
func (s *session) Idle(w *imapserver.UpdateWriter, stop <-chan struct{}) error {
	if s.view == nil {
		<-stop
		return nil
	}
	for {
		s.account.mu.Lock()
		changed := s.view.box.changed
		s.account.mu.Unlock()
		if err := s.Poll(w, true); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stop:
			return nil
		}
	}
}

// update is what a client has to be told.
type update struct {
	expunged []uint32 // sequence numbers, each counted after the ones before it
	exists   uint32   // 0 when there is nothing new
	flags    []selected
}

// selected is one message of a view with its flags, as they were under the lock.
type selected struct {
	seq   uint32
	msg   *stored
	flags mail.Flags
}

func (v *view) update(allowExpunge bool) (u update) {
	if v.rev == v.box.rev && !(v.behind && allowExpunge) {
		return u
	}
	if allowExpunge {
		u.expunged = v.dropGone()
	} else {
		v.behind = v.behind || slices.ContainsFunc(v.msgs, func(m *stored) bool { return m.gone })
	}
	known := len(v.msgs)
	first := sort.Search(len(v.box.msgs), func(i int) bool { return v.box.msgs[i].uid > v.lastUID })
	if fresh := v.box.msgs[first:]; len(fresh) > 0 {
		v.msgs = append(v.msgs, fresh...)
		v.lastUID = fresh[len(fresh)-1].uid
		u.exists = uint32(len(v.msgs))
	}
	for i, m := range v.msgs[:known] {
		if !m.gone && m.rev > v.rev {
			u.flags = append(u.flags, selected{uint32(i + 1), m, m.flags})
		}
	}
	v.rev = v.box.rev
	return u
}

// dropGone takes the messages that are gone out of the view and answers with
// their sequence numbers, from the last to the first.
func (v *view) dropGone() (seqs []uint32) {
	v.behind = false
	for i := len(v.msgs) - 1; i >= 0; i-- {
		if v.msgs[i].gone {
			seqs = append(seqs, uint32(i+1))
		}
	}
	if len(seqs) > 0 {
		v.msgs = slices.DeleteFunc(v.msgs, func(m *stored) bool { return m.gone })
	}
	return seqs
}

// pick finds the messages of a set that are still there, in the order of their
// numbers. A range is swapped when it is upside down, and "*" is the last
// message, even in "100:*" of three messages (RFC 9051, 9, seq-range).
func (v *view) pick(set imap.NumSet) []selected {
	var marked []int
	mark := func(from, to uint32, at func(i int) uint32) {
		if from == 0 || to == 0 {
			last := uint32(0)
			if len(v.msgs) > 0 {
				last = at(len(v.msgs) - 1)
			}
			if from == 0 {
				from = last
			}
			if to == 0 {
				to = last
			}
		}
		from, to = min(from, to), max(from, to)
		for i := sort.Search(len(v.msgs), func(i int) bool { return at(i) >= from }); i < len(v.msgs) && at(i) <= to; i++ {
			marked = append(marked, i)
		}
	}
	switch set := set.(type) {
	case imap.SeqSet:
		for _, r := range set {
			mark(r.Start, r.Stop, func(i int) uint32 { return uint32(i + 1) })
		}
	case imap.UIDSet:
		for _, r := range set {
			mark(uint32(r.Start), uint32(r.Stop), func(i int) uint32 { return v.msgs[i].uid })
		}
	}
	slices.Sort(marked)
	var out []selected
	for _, i := range slices.Compact(marked) {
		if m := v.msgs[i]; !m.gone {
			out = append(out, selected{uint32(i + 1), m, m.flags})
		}
	}
	return out
}

func (s *session) Store(w *imapserver.FetchWriter, set imap.NumSet, f *imap.StoreFlags, _ *imap.StoreOptions) error {
	if err := s.beforeSelected("STORE"); err != nil {
		return err
	}
	if s.view.readOnly {
		return no("READ-ONLY", "the mailbox is selected for reading only")
	}
	s.account.mu.Lock()
	upToDate := s.view.rev == s.view.box.rev
	picked := s.view.pick(set)
	change := flagsOf(f.Flags)
	for i, p := range picked {
		next := change
		switch f.Op {
		case imap.StoreFlagsAdd:
			next = p.msg.flags.Union(change)
		case imap.StoreFlagsDel:
			next = p.msg.flags.Minus(change)
		}
		s.view.box.setFlags(p.msg, next)
		picked[i].flags = p.msg.flags
	}
	if upToDate { // its own change is no news to the client
		s.view.rev = s.view.box.rev
	}
	s.account.mu.Unlock()
	if f.Silent {
		return nil
	}
	for _, p := range picked {
		resp := w.CreateMessage(p.seq)
		resp.WriteUID(imap.UID(p.msg.uid))
		resp.WriteFlags(wireFlags(p.flags))
		if err := resp.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) Expunge(w *imapserver.ExpungeWriter, uids *imap.UIDSet) error {
	if err := s.beforeSelected("EXPUNGE"); err != nil {
		return err
	}
	if s.view.readOnly {
		if uids == nil { // CLOSE of a mailbox that was only examined
			return nil
		}
		return no("READ-ONLY", "the mailbox is selected for reading only")
	}
	s.account.mu.Lock()
	among := s.view.msgs
	if uids != nil {
		among = nil
		for _, p := range s.view.pick(*uids) {
			among = append(among, p.msg)
		}
	}
	doomed := map[*stored]bool{}
	for _, m := range among {
		if m.flags.System&mail.Deleted != 0 {
			doomed[m] = true
		}
	}
	s.view.box.remove(func(m *stored) bool { return doomed[m] })
	seqs := s.view.dropGone()
	s.account.mu.Unlock()
	return writeExpunged(seqs, w.WriteExpunge)
}

func writeExpunged(seqs []uint32, write func(uint32) error) error {
	for _, seq := range seqs {
		if err := write(seq); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) Copy(set imap.NumSet, dest string) (*imap.CopyData, error) {
	if err := s.beforeSelected("COPY"); err != nil {
		return nil, err
	}
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	data, _, err := s.copy(set, dest)
	return data, err
}

// copy copies messages; the answer is nil when there were none.
func (s *session) copy(set imap.NumSet, dest string) (*imap.CopyData, []selected, error) {
	to := s.account.boxes[dest]
	if to == nil {
		return nil, nil, no(imap.ResponseCodeTryCreate, "no mailbox %s", dest)
	}
	picked := s.view.pick(set)
	if len(picked) == 0 {
		return nil, nil, nil
	}
	data := &imap.CopyData{UIDValidity: to.validity}
	for _, p := range picked {
		data.SourceUIDs.AddNum(imap.UID(p.msg.uid))
		data.DestUIDs.AddNum(imap.UID(to.add(p.msg.raw, p.msg.flags, p.msg.date).uid))
	}
	return data, picked, nil
}

func (s *session) Move(w *imapserver.MoveWriter, set imap.NumSet, dest string) error {
	if err := s.beforeSelected("MOVE"); err != nil {
		return err
	}
	if s.view.readOnly {
		return no("READ-ONLY", "the mailbox is selected for reading only")
	}
	s.account.mu.Lock()
	data, picked, err := s.copy(set, dest)
	if err != nil || data == nil {
		s.account.mu.Unlock()
		return err
	}
	moved := map[*stored]bool{}
	for _, p := range picked {
		moved[p.msg] = true
	}
	s.view.box.remove(func(m *stored) bool { return moved[m] })
	seqs := s.view.dropGone()
	s.account.mu.Unlock()
	if err := w.WriteCopyData(data); err != nil {
		return err
	}
	return writeExpunged(seqs, w.WriteExpunge)
}
