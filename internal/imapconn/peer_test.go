package imapconn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// peer is the server's side of one scripted connection.
type peer struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	tag  string   // of the last command
	seen []string // all lines of the client
}

// testCaps is what the scripted server offers unless a test says otherwise.
const testCaps = "IMAP4rev1 AUTH=PLAIN SASL-IR"

func newPeer(t testing.TB, conn net.Conn) *peer {
	return &peer{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// line reads one line of the client; "" at its end.
func (p *peer) line() string {
	line, err := p.r.ReadString('\n')
	if err != nil {
		return ""
	}
	line = strings.TrimSuffix(line, "\r\n")
	p.seen = append(p.seen, line)
	return line
}

// command reads one command line, keeps its tag and answers with the rest.
func (p *peer) command() string {
	tag, rest, _ := strings.Cut(p.line(), " ")
	p.tag = tag
	return rest
}

// send writes lines; "TAG" at the start of one is the tag of the last command.
func (p *peer) send(lines ...string) {
	var b strings.Builder
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "TAG"); ok {
			line = p.tag + rest
		}
		b.WriteString(line + "\r\n")
	}
	p.raw(b.String())
}

func (p *peer) raw(text string) { _, _ = io.WriteString(p.conn, text) }

// login greets and takes a login.
func (p *peer) login(caps string) {
	p.send("* OK [CAPABILITY " + caps + "] ready")
	p.command()
	p.send("TAG OK [CAPABILITY " + caps + "] logged in")
}

// answer reads one command and answers it.
func (p *peer) answer(lines ...string) string {
	cmd := p.command()
	if cmd == "" {
		return ""
	}
	p.send(lines...)
	return cmd
}

// rest answers whatever comes with OK until the client goes.
func (p *peer) rest() {
	for {
		cmd := p.command()
		if cmd == "" {
			return
		}
		p.send("TAG OK done")
	}
}

// listen serves each connection with handle, which runs in a goroutine of its
// own, and closes the connection behind it.
func listen(t testing.TB, handle func(p *peer)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(newPeer(t, conn))
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// testConfig logs in to addr in plaintext.
func testConfig(addr string) Config {
	return Config{
		Addr: addr, TLS: TLSNone, IdleTimeout: 5 * time.Second,
		Auth: Auth{User: "bob", Secret: func(context.Context) (string, error) { return "hunter2", nil }},
	}
}

// dialPeer connects to a scripted server that logs the client in with caps and
// then runs handle.
func dialPeer(t testing.TB, caps string, handle func(p *peer)) *Conn {
	t.Helper()
	return dialConfig(t, caps, func(*Config) {}, handle)
}

func dialConfig(t testing.TB, caps string, change func(*Config), handle func(p *peer)) *Conn {
	t.Helper()
	addr := listen(t, func(p *peer) {
		p.login(caps)
		handle(p)
	})
	cfg := testConfig(addr)
	change(&cfg)
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// noLeaks fails the test when goroutines of this package or the library are left
// at its end. The test must not be parallel.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var text string
		for range 100 {
			buf := make([]byte, 1<<20)
			text = string(buf[:runtime.Stack(buf, true)])
			if !strings.Contains(text, "imapclient.") && !strings.Contains(text, "imapconn.(*") {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("goroutines are left:\n%s", text)
	})
}

// within fails the test when fn takes longer than d: a dead-lock must not hang
// the tests.
func within(t testing.TB, d time.Duration, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(d):
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("hangs after %v:\n%s", d, buf[:runtime.Stack(buf, true)]))
	}
}
