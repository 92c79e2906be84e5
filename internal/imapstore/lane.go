package imapstore

import (
	"context"
	"strings"

	"postbag/internal/imapconn"
)

// Bounds of what is on its way on one connection. That of the commands is for
// messages that go alone, each of which a server may take several milliseconds
// to store.
const (
	laneOctets   = 4 << 20
	laneCommands = 64
)

// lane sends messages of a commit over one connection, several commands ahead of
// the replies.
type lane struct {
	*commit
	sess    *session
	several bool  // messages in one APPEND
	free    int64 // size of the literals that do not wait
	sent    []command
	octets  int64
	unsure  []sending // sent, and not answered
	bad     bool      // a BAD is why the connection ended
	dead    error
}

// command is an APPEND that was sent.
type command struct {
	group   []sending
	octets  int64
	waited  bool // the server asked for the message
	careful bool
	reply   *imapconn.Sent
}

func newLane(c *commit, sess *session) *lane {
	return &lane{commit: c, sess: sess, several: sess.offers("MULTIAPPEND"), free: sess.freeLiteral()}
}

// run sends until the queue is empty or nothing more may be sent, and ends when
// everything is answered or the connection is lost.
func (l *lane) run(ctx context.Context) {
	defer l.box.store.pool.give(l.sess)
	for {
		if len(l.sent) > 0 && !l.box.store.pace.due() {
			l.reap() // what the server says to these comes first
			continue
		}
		var g []sending
		if l.hasRoom() {
			g = l.next(l.several)
		}
		if len(g) > 0 {
			if err := l.box.store.pace.take(ctx, len(g)); err != nil {
				l.stop(err)
				continue
			}
			if err := l.box.store.spend(ctx, Up, octets(g)); err != nil {
				l.stop(err)
				continue
			}
			l.send(ctx, g)
			continue
		}
		if len(l.sent) == 0 {
			break
		}
		l.reap()
	}
	if l.dead == nil && len(l.unsure) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.bad: // Recover finds out about them
		if l.err == nil {
			l.err = l.dead
		}
	default:
		l.commit.unsure = append(l.commit.unsure, l.unsure...)
		if l.dead != nil {
			l.losses++
			l.late = true
		}
	}
}

// octets is what messages have together.
func octets(g []sending) (n int64) {
	for _, s := range g {
		n += s.body.size
	}
	return n
}

// hasRoom reports whether one more command may be sent now.
func (l *lane) hasRoom() bool {
	if l.dead != nil {
		return false
	}
	if l.isCareful() && (len(l.sent) > 0 || len(l.unsure) > 0) {
		return false
	}
	if l.box.store.room.isTight() && len(l.sent) > 0 {
		return false
	}
	return len(l.sent) == 0 || len(l.sent) < l.sess.ahead(laneCommands) && l.octets < laneOctets
}

func (l *lane) isCareful() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.careful
}

// send sends one command.
func (l *lane) send(ctx context.Context, g []sending) {
	cmd := command{group: g, careful: l.isCareful(), waited: true}
	parts := []imapconn.Part{imapconn.Raw("APPEND"), imapconn.Mbox([]byte(l.box.wire))}
	for _, s := range g {
		wait := cmd.careful || s.body.size > l.free
		cmd.waited = cmd.waited && wait
		cmd.octets += s.body.size
		parts = l.sess.appendParts(parts, s.upload, wait)
	}
	var err error
	if cmd.reply, err = l.sess.conn.Send(ctx, parts...); err != nil {
		l.unsure = append(l.unsure, g...)
		l.lose(err)
		return
	}
	l.sent = append(l.sent, cmd)
	l.octets += cmd.octets
}

// appendParts adds the arguments of one message.
func (s *session) appendParts(parts []imapconn.Part, u *upload, wait bool) []imapconn.Part {
	send, later := splitFlags(u.msg.Flags, s.quirk.StoreAfterAppend, s.quirk.KeywordsAfterAppend)
	u.later = later
	if !send.IsZero() {
		parts = append(parts, imapconn.Raw("("+send.String()+")"))
	}
	if date := appendDate(u.msg.Date); date != "" {
		parts = append(parts, imapconn.Raw(date))
	}
	if wait {
		return append(parts, imapconn.WaitingLiteral(u.body.size, u.body.open()))
	}
	return append(parts, imapconn.Literal(u.body.size, u.body.open()))
}

// lose notes that the connection is gone. Replies that came before are still
// there.
func (l *lane) lose(err error) {
	if l.dead == nil {
		l.dead = err
	}
}

// reap takes the oldest reply.
func (l *lane) reap() {
	cmd := l.sent[0]
	l.sent = l.sent[1:]
	l.octets -= cmd.octets
	status, err := cmd.reply.Reply()
	switch {
	case err == nil:
		l.arrived(cmd.group, status)
	case status == nil:
		l.unsure = append(l.unsure, cmd.group...)
		l.lose(err)
	default:
		l.answer(cmd, err, &imapconn.StatusError{Status: *status})
	}
	if l.dead == nil {
		if err := l.sess.conn.Err(); err != nil {
			l.lose(err)
		}
	}
}

// answer deals with a command that was refused.
func (l *lane) answer(cmd command, err error, status *imapconn.StatusError) {
	one := len(cmd.group) == 1
	switch {
	case status.Type == "NO" && status.Code == "OVERQUOTA":
		l.overQuota(cmd, status)
	case !onlyThis(err, status):
		l.stop(err)
	case status.Type == "BAD" && !(one && cmd.waited):
		l.beCareful(cmd, err)
	case !one:
		l.divide(cmd.group)
	default:
		l.refused(cmd.group[0], err, status)
		if status.Type == "BAD" && cmd.careful {
			l.mu.Lock()
			l.guilty = true
			l.mu.Unlock()
		}
	}
}

// beCareful is what a BAD makes of a commit. It may have ended the connection,
// and a server that says it may have stored part of the group.
func (l *lane) beCareful(cmd command, err error) {
	l.bad = true
	l.unsure = append(l.unsure, cmd.group...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.careful, l.refusal = true, err
	if len(cmd.group) > 1 {
		l.blame = "MULTIAPPEND"
		return
	}
	for _, c := range []string{"LITERAL-", "LITERAL+"} {
		if l.blame != "MULTIAPPEND" && l.sess.offers(c) {
			l.blame = c
		}
	}
}

// freeLiteral is the size of the largest literal that need not wait for the
// server's leave (RFC 7888).
func (s *session) freeLiteral() int64 {
	switch {
	case s.offers("LITERAL+"):
		return 1 << 62
	case s.offers("LITERAL-"):
		return 4096
	}
	return -1
}

// parseAppendUID parses the arguments of APPENDUID: UIDVALIDITY and the UIDs of
// n messages in their order. nil when they cannot be right.
func parseAppendUID(args string, validity uint32, n int) []uint32 {
	parts := strings.Fields(args)
	if len(parts) != 2 {
		return nil
	}
	v, rest, ok := field(parts[0], "", 32)
	all, okUIDs := expandSet(parts[1], n)
	if !ok || rest != "" || uint32(v) != validity || !okUIDs || len(all) != n {
		return nil
	}
	for i, uid := range all {
		if i > 0 && uid <= all[i-1] { // a server gives them out in ascending order
			return nil
		}
	}
	return all
}
