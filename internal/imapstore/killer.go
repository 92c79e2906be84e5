package imapstore

import (
	"sync"

	"postbag/internal/mail"
)

// A message may be the end of every connection that asks for it: the server's
// process dies of it, or something on the way does not let it pass. When the
// connection is lost a second time in the middle of one message, that counts as
// the message's fault, and those after it get their turn.
const deadly = 2

// losses counts connections that were lost in the middle of a message.
type losses struct {
	mu sync.Mutex
	at map[lossPlace]int
}

type lossPlace struct {
	mailbox, validity string
	uid               uint32
}

// deadly counts one more, and tells whether it is the message's fault.
func (l *losses) deadly(m *mailbox, uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = make(map[lossPlace]int)
	}
	place := lossPlace{m.name, m.info.Validity, uid}
	l.at[place]++
	return l.at[place] >= deadly
}

// lostConnection reports whether err says that the connection is gone, and not
// that somebody closed it here.
func lostConnection(err error) bool {
	return err != nil && mail.AsError(err).Kind == mail.KindUnreachable
}
