package imapstore

import (
	"context"
	"strings"
	"sync"

	"postbag/internal/imapconn"
)

// status is a STATUS response (RFC 9051, 7.3.4).
type status struct {
	counters
	hasMessages bool
	hasValidity bool
	size        int64 // -1 when not told
	mailboxID   string
}

// parseStatus answers false when r is no STATUS response. Items that make no
// sense count as not told.
func parseStatus(r imapconn.Response) (wire string, st *status, ok bool) {
	if len(r.Tokens) < 2 || r.Tokens[0].Kind == imapconn.List || r.Tokens[1].Kind != imapconn.List {
		return "", nil, false
	}
	st = &status{size: -1}
	items := r.Tokens[1].List
	for i := 0; i+1 < len(items); i += 2 {
		st.set(strings.ToUpper(items[i].Text()), items[i+1])
	}
	return r.Tokens[0].Text(), st, true
}

func (st *status) set(item string, value imapconn.Token) {
	number, isNumber := value.Uint32()
	switch item {
	case "MESSAGES":
		st.messages, st.hasMessages = number, isNumber
	case "UIDNEXT":
		st.next = number
	case "UIDVALIDITY":
		st.validity, st.hasValidity = number, isNumber
	case "HIGHESTMODSEQ":
		st.modseq, _ = value.Uint64()
	case "SIZE":
		if n, ok := value.Uint64(); ok && n < 1<<62 {
			st.size = int64(n)
		}
	case "MAILBOXID":
		if value.Kind == imapconn.List && len(value.List) == 1 {
			st.mailboxID = objectID(value.List[0].Text())
		}
	}
}

// objectID is an ID as a server told it, "" when it cannot be one (RFC 8474, 7).
func objectID(id string) string {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}
	if len(id) > 255 || strings.ContainsFunc(id, odd) {
		return ""
	}
	return id
}

// statusItems are the items to ask of STATUS.
func (s *session) statusItems() string {
	items := "MESSAGES UIDNEXT UIDVALIDITY"
	if s.can.condstore {
		items += " HIGHESTMODSEQ"
	}
	if s.offers("STATUS=SIZE") {
		items += " SIZE"
	}
	if s.offers("OBJECTID") && !s.quirk.NoMailboxID {
		items += " MAILBOXID"
	}
	return items
}

// status asks for the status of one mailbox; nil when the server refuses.
func (s *session) status(ctx context.Context, wire string) (*status, error) {
	if s.selected.Load() && s.name() == wire {
		if err := s.unselect(ctx); err != nil {
			return nil, err
		}
	}
	var answer *status
	_, err := s.conn.Command(ctx, func(r imapconn.Response) error {
		if r.Kind != "STATUS" {
			return nil
		}
		if name, st, ok := parseStatus(r); ok && (answer == nil || name == wire) {
			answer = st
		}
		return nil
	}, imapconn.Raw("STATUS"), imapconn.Mbox([]byte(wire)), imapconn.Raw("("+s.statusItems()+")"))
	if refused(err) {
		return nil, nil
	}
	return answer, err
}

// statusOfRest asks for the status of the mailboxes that came without one, with
// all connections that the account may have.
func (s *Store) statusOfRest(ctx context.Context, mailboxes []*listed) error {
	todo := make(chan *listed, len(mailboxes))
	for _, m := range mailboxes {
		if m.status == nil && !m.noSelect() && !strings.ContainsAny(m.wire, "\x00\r\n") {
			todo <- m
		}
	}
	close(todo)
	if len(todo) == 0 {
		return nil
	}
	const share = 8 // mailboxes that are worth a connection of their own
	workers := min(s.pool.size(), (len(todo)+share-1)/share)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for range workers {
		wg.Go(func() {
			if err := s.statusWorker(ctx, todo); err != nil {
				once.Do(func() { first = err })
				cancel()
			}
		})
	}
	wg.Wait()
	return first
}

func (s *Store) statusWorker(ctx context.Context, todo <-chan *listed) error {
	var m *listed // the one under way, for a second try
	return s.run(ctx, "", false, func(sess *session) (err error) {
		for {
			if m == nil {
				var more bool
				if m, more = <-todo; !more {
					return nil
				}
			}
			if m.status, err = sess.status(ctx, m.wire); err != nil {
				return err
			}
			m = nil
		}
	})
}
