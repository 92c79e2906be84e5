package storetest

import (
	"time"

	"postbag/internal/mail"
)

// The methods here act on a Store as other programs would; like the others of
// their kind they count no steps and leave no trace in Did.

// Copy copies a message, as another client would.
func (s *Store) Copy(box string, ref mail.Ref, to string) mail.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, dst := s.boxes[box].msgs[ref], s.boxes[to]
	if m == nil || dst == nil {
		return mail.Ref{}
	}
	n := *m
	n.Ref = s.newRef(dst)
	dst.msgs[n.Ref] = &n
	dst.change++
	return n.Ref
}

// Edit replaces a message by one with another body, as a mail reader does with a
// draft: a new ref and date, the same flags.
func (s *Store) Edit(box string, ref mail.Ref, date time.Time, body string) mail.Ref {
	return s.replace(box, ref, func(m *Msg) { m.Date, m.Body = date, []byte(body) })
}

// Rekey gives a message another ref in its mailbox.
func (s *Store) Rekey(box string, ref mail.Ref) mail.Ref {
	return s.replace(box, ref, func(*Msg) {})
}

func (s *Store) replace(box string, ref mail.Ref, change func(*Msg)) mail.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.boxes[box]
	m := b.msgs[ref]
	if m == nil {
		return mail.Ref{}
	}
	n := *m
	n.Ref = s.newRef(b)
	change(&n)
	delete(b.msgs, ref)
	b.msgs[n.Ref] = &n
	b.change++
	return n.Ref
}

// did counts something that the store was told to change.
func (s *Store) did(what string) {
	if s.Did == nil {
		s.Did = make(map[string]int)
	}
	s.Did[what]++
}

// Damage changes an octet of every message of a mailbox, and nobody is told.
func (s *Store) Damage(box string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.boxes[box].msgs {
		m.Body = append([]byte("X"), m.Body[1:]...)
	}
}
