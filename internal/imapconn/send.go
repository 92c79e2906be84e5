package imapconn

import (
	"context"
	"errors"

	"postbag/internal/mail"
)

// Sent is a command that was sent and whose tagged reply may be on its way.
type Sent struct {
	conn    *Conn
	cmd     *command
	op      string
	release func()
}

// Send sends one command as Command does, and does not wait for its reply: more
// commands may be sent behind it, and a server answers them in order. So only
// commands that do not bear on each other may be on their way together. It waits
// for the server where a literal has to. Reply has to be called for each Sent;
// until then the end of ctx is that of the connection.
//
// After an error nothing is known of the command: all of it may have arrived.
func (c *Conn) Send(ctx context.Context, parts ...Part) (*Sent, error) {
	s := &Sent{conn: c, op: opName(parts)}
	if err := ctx.Err(); err != nil {
		return nil, lostError(s.op, err)
	}
	s.cmd = c.wire.register(nil)
	segments, err := encode(s.cmd.tag, c.nonSync(), parts)
	if errors.Is(err, errUnsafe) {
		c.wire.settle(s.cmd, nil)
		return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindUsage, Op: s.op, Err: err}
	}
	s.release = c.wire.bind(ctx)
	if err := c.wire.send(s.cmd, segments, ""); err != nil {
		s.release()
		return nil, lostError(s.op, err)
	}
	return s, nil
}

// Reply waits for the tagged reply. Its errors are those of Command: without a
// Status the connection was lost, and nobody knows what became of the command.
func (s *Sent) Reply() (*Status, error) {
	defer s.release()
	status, err := s.conn.wire.finish(s.cmd)
	if err != nil {
		return nil, lostError(s.op, err)
	}
	if status.Type != "OK" {
		return &status, classify(s.op, status)
	}
	return &status, nil
}
