package imapconn

import (
	"context"
	"crypto/tls"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
)

// Conn is one connection, logged in. Its methods are called by one goroutine at
// a time, but Err, Close and Abort by any. After an error of ScopeAccount, and
// after any that says that the connection was lost, it is dead: Err tells.
type Conn struct {
	wire   *wire
	client *imapclient.Client
	tunnel *tunnel // nil without one
	caps   map[string]bool

	// The answers to ID and ENABLE may still be on their way when Dial returns:
	// that saves a round trip.
	id       *command
	serverID map[string]string
	enable   *command
	enabled  map[string]bool

	selected bool // a mailbox is open
	readOnly bool // for reading only

	closing sync.Once
}

// Has reports whether the server has a capability (in any case) that
// Config.NoCaps does not name. These are the capabilities after login.
func (c *Conn) Has(capability string) bool { return c.caps[strings.ToUpper(capability)] }

// Caps are the capabilities that Has answers for, sorted.
func (c *Conn) Caps() []string { return slices.Sorted(maps.Keys(c.caps)) }

// Enabled reports whether the server has enabled an extension (RFC 5161). It may
// wait for the server's word.
func (c *Conn) Enabled(ext string) bool {
	c.settled(c.enable)
	return c.enabled[strings.ToUpper(ext)]
}

// ServerID is the server's reply to ID, its names in lower case; nil when there
// was none. It may wait for it.
func (c *Conn) ServerID() map[string]string {
	c.settled(c.id)
	return c.serverID
}

// settled waits for a command of the start, if there is one. Its failure is no
// failure of the connection; a dead connection tells with the next command.
func (c *Conn) settled(cmd *command) {
	if cmd != nil {
		_, _, _ = c.wire.await(cmd, false)
	}
}

// Client is the library on the same connection, for commands that this package
// has not. It sees responses only while a command of its own is on its way; it
// does not know which mailbox is open, and must not be closed.
func (c *Conn) Client() *imapclient.Client { return c.client }

// Err is why the connection is dead, nil while it lives. It is a *mail.Error.
func (c *Conn) Err() error {
	if err := c.wire.Err(); err != nil {
		return lostError("", err)
	}
	return nil
}

// closeWait bounds each step of Close.
const closeWait = time.Second

// Close ends the connection: with LOGOUT when no command is on its way, else
// without, and then what is on its way fails. It waits for a peer no longer than
// closeWait, and for nothing the second time.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		w := c.wire
		w.mu.Lock()
		idle := w.busy == 0 && w.err == nil
		w.mu.Unlock()
		if idle {
			c.logout()
		}
		if c.tunnel != nil && idle {
			c.tunnel.hangUp(closeWait)
		}
		w.fail(errClosed)
		if !idle {
			return // the library's goroutine ends when whoever uses it lets it
		}
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-c.client.Closed():
		case <-timer.C:
		}
	})
	return nil
}

// logout says LOGOUT, and does not stay for the answer.
func (c *Conn) logout() {
	w := c.wire
	select {
	case w.turn <- struct{}{}:
	default:
		return
	}
	defer w.giveTurn()
	w.meter.finishBy(closeWait)
	w.trace.line("C", []byte("P0 LOGOUT"))
	// All of this is a courtesy.
	if _, err := w.dst.WriteString("P0 LOGOUT\r\n"); err != nil || w.flush() != nil {
		return
	}
	if conn, ok := w.stream.(*tls.Conn); ok {
		_ = conn.CloseWrite()
	}
}

// Abort closes the network connection now. Whatever waits for it fails.
func (c *Conn) Abort() { c.wire.fail(errAborted) }

// greet starts the library on the connection, which is past login: it is shown a
// greeting that says so.
func (c *Conn) greet(ctx context.Context) error {
	w := c.wire
	w.out = append(w.out[:0], "* PREAUTH [CAPABILITY"...)
	for _, name := range c.Caps() {
		// With IMAP4rev2 among the capabilities, the library sends UTF-8 before
		// it is enabled.
		if libraryAtom([]byte(name)) && (name != "IMAP4REV2" || !c.caps["IMAP4REV1"]) {
			w.out = append(append(w.out, ' '), name...)
		}
	}
	w.out = append(w.out, "] ready\r\n"...)
	w.solo = false
	c.client = imapclient.New(w, nil)
	if err := c.client.WaitGreeting(); err != nil {
		if why := w.Err(); why != nil {
			err = why
		}
		w.fail(err)
		return lostError("connect", err)
	}
	return ctx.Err()
}
