package imapconn

import (
	"errors"
	"io"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// Commands go out ahead of the replies, and each gets its own.
func TestSend(t *testing.T) {
	t.Parallel()
	c := dialPeer(t, testCaps+" LITERAL+", func(p *peer) {
		var tags []string
		for range 3 {
			p.command()
			tags = append(tags, p.tag)
			_, _ = io.CopyN(io.Discard, p.r, 2)
			p.line()
		}
		p.send("* 3 EXISTS", "+ nobody asked", tags[0]+" OK [APPENDUID 1 1] x", tags[1]+" NO [TOOBIG] x", tags[2]+" OK [APPENDUID 1 2] x")
		p.rest()
	})
	var sent []*Sent
	for range 3 {
		s, err := c.Send(t.Context(), Raw("APPEND x"), Literal(2, strings.NewReader("ab")))
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, s)
	}
	for i, want := range []string{"OK [APPENDUID 1 1] x", "NO [TOOBIG] x", "OK [APPENDUID 1 2] x"} {
		status, err := sent[i].Reply()
		if status == nil || status.String() != want || (err != nil) != (i == 1) {
			t.Errorf("command %d: got %v, %v, want %s", i, status, err, want)
		}
	}
	alive(t, c)
}

// Where literals wait, the next command goes out before the reply to the one
// before it, and each waits for its own "+".
func TestSendWhenLiteralsWait(t *testing.T) {
	t.Parallel()
	c := dialPeer(t, testCaps, func(p *peer) {
		p.command()
		first := p.tag
		p.send("+ go")
		_, _ = io.CopyN(io.Discard, p.r, 2)
		p.line()
		if got := p.command(); got != "APPEND x {3}" { // although the first has no reply
			p.send("* BYE " + got)
			return
		}
		p.send(first+" NO [OVERQUOTA] full", "+ go")
		_, _ = io.CopyN(io.Discard, p.r, 3)
		p.line()
		p.send("TAG OK done")
		p.rest()
	})
	first, err := c.Send(t.Context(), Raw("APPEND x"), Literal(2, strings.NewReader("ab")))
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Send(t.Context(), Raw("APPEND x"), Literal(3, strings.NewReader("abc")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Reply(); mail.AsError(err).Kind != mail.KindQuota {
		t.Errorf("got %v for the first, want a quota", err)
	}
	if _, err := second.Reply(); err != nil {
		t.Errorf("got %v for the second", err)
	}
	alive(t, c)
}

// A BAD ends the connection at once, while the next command is being written:
// the server may be executing the messages. Whose BAD it was is known all the
// same.
func TestSendWhenRefusedWithBAD(t *testing.T) {
	t.Parallel()
	c := dialPeer(t, testCaps+" LITERAL+", func(p *peer) {
		p.command()
		p.send("TAG BAD what", "x9 OK Create completed")
		_, _ = io.Copy(io.Discard, p.conn)
	})
	first, err := c.Send(t.Context(), Raw("APPEND x"), Literal(2, strings.NewReader("ab")))
	if err != nil {
		t.Fatal(err)
	}
	second, sendErr := c.Send(t.Context(), Raw("APPEND x"), Literal(1<<40, zeros{}))
	if sendErr == nil {
		t.Error("a terabyte was written")
		_, _ = second.Reply()
	}
	status, err := first.Reply()
	if status == nil || status.Type != "BAD" || mail.AsError(err).Kind != mail.KindProtocol || c.Err() == nil {
		t.Errorf("got %v, %v, connection %v", status, err, c.Err())
	}
}

// The same when the refused command is the one that is being written.
func TestSendWhenRefusedOnTheWay(t *testing.T) {
	t.Parallel()
	c := dialPeer(t, testCaps+" LITERAL+", func(p *peer) {
		p.command()
		p.send("TAG BAD what")
		_, _ = io.Copy(io.Discard, p.conn)
	})
	status, err := c.Command(t.Context(), nil, Raw("APPEND x"), Literal(1<<40, zeros{}))
	if s, ok := errors.AsType[*StatusError](err); status == nil || !ok || s.Type != "BAD" || c.Err() == nil {
		t.Errorf("got %v, %v, connection %v", status, err, c.Err())
	}
}

// A literal that has to wait does so whatever the server allows, and a BAD to it
// does no harm.
func TestWaitingLiteral(t *testing.T) {
	t.Parallel()
	c := script(t, "TAG BAD what\r\n")
	c.caps["LITERAL+"] = true
	if _, err := c.Command(t.Context(), nil, Raw("APPEND x"), WaitingLiteral(5, zeros{})); mail.AsError(err).Kind != mail.KindProtocol {
		t.Errorf("got %v", err)
	}
	alive(t, c)
}

// What cannot be a command is refused before an octet is sent.
func TestSendUnsafe(t *testing.T) {
	t.Parallel()
	c := script(t)
	if _, err := c.Send(t.Context(), Raw("APPEND x\r\nP9 DELETE x")); mail.AsError(err).Kind != mail.KindUsage {
		t.Errorf("got %v", err)
	}
	alive(t, c)
}
