package sync

import (
	gosync "sync"

	"postbag/internal/mail"
	"postbag/state"
)

// lateMoves finds moves that nothing shows before a message is read: one without a
// Message-ID, on a server, looks like a deletion and a new message. When its digest
// turns out, while it is copied, to be that of a message which is about to be removed
// from another mailbox, neither is done: the next pass knows the digest, and moves.
type lateMoves struct {
	mu      gosync.Mutex
	removed [2]map[mail.Digest][]*box // about to be removed on a side, by content
	held    map[*box]bool             // nothing is removed from these in this pass
	known   map[lateKey]mail.Identity // what was learned of new messages in this run
}

type lateKey struct {
	mailbox int64
	side    state.Side
	ref     mail.Ref
}

// expect takes in what the plans of a pass would remove.
func (l *lateMoves) expect(boxes []*box) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed, l.held = [2]map[mail.Digest][]*box{{}, {}}, map[*box]bool{}
	for _, b := range boxes {
		for s, rows := range b.known.Removes {
			for _, row := range rows {
				if d := rowMessage(row, state.Side(1-s)).ID.Digest; d.Known() {
					l.removed[s][d] = append(l.removed[s][d], b)
				}
			}
		}
	}
}

// found reports whether a message that was read for a copy from b to side to is one
// that is about to be removed there from another mailbox. Each counts once.
func (l *lateMoves) found(b *box, to state.Side, msg mail.Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.removed[to][msg.ID.Digest]
	for i, from := range list {
		if from == b {
			continue
		}
		l.removed[to][msg.ID.Digest] = append(list[:i:i], list[i+1:]...)
		l.held[from] = true
		if l.known == nil {
			l.known = make(map[lateKey]mail.Identity)
		}
		l.known[lateKey{b.rec.ID, to.Other(), msg.Ref}] = msg.ID
		return true
	}
	return false
}

// hold makes the mailboxes that lost such messages be looked at again, and nothing
// be removed from them before.
func (l *lateMoves) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.held {
		b.again = true
	}
}

// identify puts in what is known of new messages.
func (l *lateMoves) identify(b *box, s state.Side, list []mail.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) == 0 {
		return
	}
	for i := range list {
		if id, ok := l.known[lateKey{b.rec.ID, s, list[i].Ref}]; ok {
			list[i].ID = joinIdentity(id, list[i].ID)
		}
	}
}
