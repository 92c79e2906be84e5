package imapstore

import (
	"context"
	"fmt"
	"slices"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// fullTries is how often a full listing is taken until one is complete: others
// may expunge messages while it runs.
const fullTries = 3

// full compares the flags of all messages with what is known, and finds what is
// gone: the last rung.
func (l *look) full(ctx context.Context) error {
	now := l.before
	var m *merge
	for try := range fullTries {
		if try > 0 {
			var err error
			if now, err = l.again(ctx); err != nil {
				return err
			}
		}
		if now.messages == 0 {
			if empty, err := l.provedEmpty(ctx); err != nil || !empty {
				l.delta.Unsettled = "the server tells of no messages, and lists some"
				return err
			}
		}
		var err error
		if m, err = l.mergeAll(ctx, now); err != nil {
			return err
		}
		if m.complete() {
			if m.gone, err = m.rest(); err != nil {
				return err
			}
			l.delta.Gone = uidRefs(m.gone)
			break
		}
	}
	if !m.complete() {
		l.delta.Unsettled = fmt.Sprintf("the server lists %d messages and says that there are %d", m.count, now.messages)
		l.delta.Missing = int(max(int64(now.messages)-int64(m.count), 0))
	}
	l.delta.Flags = m.flags
	return l.missed(ctx, m.unknown)
}

// provedEmpty asks in another way whether a mailbox has no messages: a SELECT
// that forgot to tell EXISTS looks the same.
func (l *look) provedEmpty(ctx context.Context) (bool, error) {
	set, err := l.conn.Search(ctx, "ALL")
	if !refused(err) {
		return set.IsEmpty(), err
	}
	empty := true
	err = l.conn.FetchList(ctx, uidRange(1, maxUID), imapconn.Flags, 0, false, func(imapconn.Item) error {
		empty = false
		return nil
	}, nil)
	if refused(err) {
		return false, nil
	}
	return empty, err
}

// mergeAll lists the flags of all messages beside what is known.
func (l *look) mergeAll(ctx context.Context, now counters) (*merge, error) {
	m := newMerge(ctx, l, now)
	if now.messages == 0 {
		return m, nil
	}
	err := l.conn.FetchList(ctx, uidRange(1, maxUID), imapconn.Flags, 0, false, m.add, nil)
	if err != nil || !m.disorder {
		return m, err
	}
	// Not in the order of UIDs, which is the server's right: window by window.
	m = newMerge(ctx, l, now)
	all := uidSpan{lo: 1, hi: maxUID}
	if now.next > 0 {
		all.hi = uint64(now.next) - 1
	}
	err = windows(ctx, l.conn, all, pageSize, uint64(now.messages), imapconn.Flags,
		func(found []imapconn.Item, _ uidSpan) (bool, error) {
			for _, it := range found {
				if err := m.add(it); err != nil {
					return false, err
				}
			}
			return true, nil
		})
	return m, err
}

// merge walks a listing beside what is known.
type merge struct {
	ctx   context.Context
	look  *look
	now   counters
	known *pager

	last     uint32
	was      mail.Flags // the known flags of last
	wasKnown bool
	count    uint64 // listed messages below UIDNEXT
	gone     []uint32
	flags    []mail.FlagState
	unknown  imapconn.UIDSet
	disorder bool
}

func newMerge(ctx context.Context, l *look, now counters) *merge {
	return &merge{ctx: ctx, look: l, now: now, known: newPager(l.known, 1)}
}

// complete reports whether the listing holds as many messages as there are.
func (m *merge) complete() bool { return m.count == uint64(m.now.messages) }

// add takes in one listed message. They have to come in the order of UIDs.
func (m *merge) add(it imapconn.Item) error {
	if it.UID == 0 || m.disorder {
		return nil
	}
	if it.UID < m.last {
		m.disorder = true
		return nil
	}
	if it.UID > m.last {
		if err := m.advance(it.UID); err != nil {
			return err
		}
	}
	if !m.wasKnown || !it.HasFlags {
		return nil
	}
	if n := len(m.flags); n > 0 && m.flags[n-1].Ref.UID == it.UID {
		m.flags = m.flags[:n-1] // told twice: the later counts
	}
	if !it.Flags.Equal(m.was) {
		m.flags = append(m.flags, flagState(it.UID, it.Flags))
	}
	return nil
}

// advance goes on to the message uid: known ones before it are not there.
func (m *merge) advance(uid uint32) error {
	m.last, m.wasKnown = uid, false
	if m.now.next == 0 || uid < m.now.next {
		m.count++
	}
	for {
		k, err := m.known.peek(m.ctx)
		if err != nil {
			return err
		}
		if k == nil || k.uid > uid {
			break
		}
		m.known.skip()
		if k.uid == uid {
			m.was, m.wasKnown = k.flags, true
			return nil
		}
		m.gone = append(m.gone, k.uid)
	}
	if uint64(uid) < m.look.next {
		m.unknown.AddRange(uid, uid)
	}
	return nil
}

// rest is gone with the known messages after the last one that was listed.
func (m *merge) rest() ([]uint32, error) {
	for {
		k, err := m.known.peek(m.ctx)
		if err != nil || k == nil {
			return m.gone, err
		}
		m.gone = append(m.gone, k.uid)
		m.known.skip()
	}
}

// missed lists as new the messages that the full listing found and that are
// neither known nor new: an earlier listing left them out, or the state lost
// them.
func (l *look) missed(ctx context.Context, unknown imapconn.UIDSet) error {
	var todo imapconn.UIDSet
	n, rest := 0, uint32(0)
	for _, r := range unknown.Ranges() {
		for uid := uint64(r.Lo); uid <= uint64(r.Hi); uid++ {
			if l.isNew(uint32(uid)) {
				continue
			}
			if n == l.limit {
				rest = uint32(uid)
				break
			}
			todo.AddRange(uint32(uid), uint32(uid))
			n++
		}
		if rest != 0 {
			break
		}
	}
	for _, set := range todo.Chunks(setBytes) {
		w := collector{want: n, span: uidSpan{1, maxUID}}
		err := l.conn.FetchList(ctx, set, l.items, 0, false, func(it imapconn.Item) error {
			if !set.Contains(it.UID) {
				return nil
			}
			return w.add(it)
		}, nil)
		if err != nil {
			return err
		}
		found, _ := w.finish()
		for i := range found {
			l.delta.New = append(l.delta.New, listedMessage(&found[i]))
		}
	}
	slices.SortFunc(l.delta.New, func(a, b mail.Message) int { return a.Ref.Compare(b.Ref) })
	if rest != 0 {
		l.next = uint64(rest)
		l.delta.New = slices.DeleteFunc(l.delta.New, func(m mail.Message) bool { return m.Ref.UID >= rest })
		l.delta.Unsettled = ""
		l.delta = l.cut()
	}
	return nil
}

// isNew reports whether uid is among the new messages, of which those that
// listNew found are sorted.
func (l *look) isNew(uid uint32) bool {
	_, found := slices.BinarySearchFunc(l.delta.New, uid, func(m mail.Message, uid uint32) int {
		return mail.Ref{UID: m.Ref.UID}.Compare(mail.Ref{UID: uid})
	})
	return found
}

func uidRefs(uids []uint32) []mail.Ref {
	refs := make([]mail.Ref, len(uids))
	for i, uid := range uids {
		refs[i].UID = uid
	}
	return refs
}

// setBytes is how long a set of UIDs may be in one command. Servers take 8 KB
// for sure.
const setBytes = 7900
