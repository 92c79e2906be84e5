package imapstore

import (
	"slices"
	"sync"

	"postbag/internal/mail"
)

// sent remembers the sizes of the messages that were sent, until the mailbox is
// listed the next time, to notice those that the server altered. It costs no
// command: whoever sends looks again. Its methods may be called from several
// goroutines.
type sent struct {
	mu    sync.Mutex
	boxes map[string]*sentTo // by name on the wire
}

type sentTo struct {
	validity uint32
	sorted   bool
	list     []sentSize
}

type sentSize struct {
	uid  uint32
	size int64
}

func (s *sent) add(wire string, validity uint32, all []sending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boxes == nil {
		s.boxes = make(map[string]*sentTo)
	}
	to := s.boxes[wire]
	if to == nil || to.validity != validity {
		to = &sentTo{validity: validity}
		s.boxes[wire] = to
	}
	for _, m := range all {
		if uid := m.answer.Ref.UID; uid != 0 {
			to.list, to.sorted = append(to.list, sentSize{uid, m.body.size}), false
		}
	}
}

// altered answers which of the known messages have another size than they were
// sent with, and forgets what was listed.
func (s *sent) altered(wire string, validity uint32, listed []mail.SizeState) (out []mail.SizeState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.boxes[wire]
	if to == nil || len(listed) == 0 {
		return nil
	}
	if to.validity != validity {
		delete(s.boxes, wire)
		return nil
	}
	if !to.sorted {
		slices.SortFunc(to.list, func(a, b sentSize) int { return int(int64(a.uid) - int64(b.uid)) })
		to.sorted = true
	}
	i, kept := 0, to.list[:0]
	for _, now := range listed {
		for i < len(to.list) && to.list[i].uid < now.Ref.UID {
			kept = append(kept, to.list[i])
			i++
		}
		if i < len(to.list) && to.list[i].uid == now.Ref.UID {
			if now.Size >= 0 && now.Size != to.list[i].size {
				out = append(out, now)
			}
			i++
		}
	}
	to.list = append(kept, to.list[i:]...)
	if len(to.list) == 0 {
		delete(s.boxes, wire)
	}
	return out
}
