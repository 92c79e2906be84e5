package imaptest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Command is one command that a client sent.
type Command struct {
	Conn int    // number of the connection
	Tag  string // "" for a line that is no command
	Verb string // upper case, with its UID: "UID FETCH"
	Line string // without the tag; literals as "{n}", secrets as "..."
}

// String is the line, with the connection's number.
func (c Command) String() string { return fmt.Sprintf("%d: %s", c.Conn, c.Line) }

// WireLog is what clients said through a Proxy, command by command. It follows
// literals, synchronising ones that the server refuses too, SASL exchanges and
// IDLE. It goes blind when a connection turns to TLS or DEFLATE.
type WireLog struct {
	mu       sync.Mutex
	commands []Command
	faults   []string
	conns    map[int]*wireConn
}

func newWireLog() *WireLog { return &WireLog{conns: map[int]*wireConn{}} }

// wireConn follows one connection.
type wireConn struct {
	log     *WireLog
	n       int
	client  bytes.Buffer // what the client sent and was not understood yet
	server  bytes.Buffer
	line    string // the command so far, in front of a literal
	skip    int64  // octets of literal that are still to come from the client
	body    int64  // octets of literal that are still to come from the server
	waiting string // tag of a command that has announced a synchronising literal
	exchange
	blind  bool
	before bool // it was there at the last Reset
}

// exchange is a command during which the client sends lines that are no
// commands: until its tagged reply for SASL, until DONE for IDLE.
type exchange struct{ tag, verb string }

// tap is what a stream of a Proxy feeds.
func (l *WireLog) tap(n int, dir Direction) func([]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.conns[n]
	if c == nil {
		c = &wireConn{log: l, n: n}
		l.conns[n] = c
	}
	return func(p []byte) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if c.blind {
			return
		}
		if dir == ToServer {
			c.client.Write(p)
			c.fromClient()
		} else {
			c.server.Write(p)
			c.fromServer()
		}
	}
}

// fromClient takes whole lines and literals from the client's octets.
func (c *wireConn) fromClient() {
	for !c.blind {
		if c.waiting != "" {
			return // the server has to speak first
		}
		if n := min(c.skip, int64(c.client.Len())); n > 0 {
			c.client.Next(int(n))
			c.skip -= n
		}
		line, ok := takeLine(&c.client)
		if c.skip > 0 || !ok {
			return
		}
		c.take(line)
	}
}

func takeLine(b *bytes.Buffer) (string, bool) {
	i := bytes.IndexByte(b.Bytes(), '\n')
	if i < 0 {
		return "", false
	}
	return strings.TrimSuffix(string(b.Next(i + 1)[:i]), "\r"), true
}

// take handles a line of the client's.
func (c *wireConn) take(line string) {
	if c.exchange.tag != "" && c.line == "" {
		if c.exchange.verb == "IDLE" && strings.EqualFold(line, "DONE") {
			c.exchange = exchange{}
		}
		return
	}
	c.line += line
	if size, ok := literalSize(line); ok {
		c.skip = size
		if !strings.HasSuffix(line, "+}") {
			c.waiting, _, _ = strings.Cut(c.line, " ")
		}
		return
	}
	c.finish()
}

// finish logs the command that is complete.
func (c *wireConn) finish() {
	cmd := parseCommand(c.line)
	cmd.Conn = c.n
	c.line = ""
	if cmd.Tag == "" {
		c.log.faults = append(c.log.faults, fmt.Sprintf("connection %d: not a command: %q", c.n, cmd.Line))
	}
	if c.before && cmd.Verb == "LOGOUT" {
		return // see Reset
	}
	c.log.commands = append(c.log.commands, cmd)
	switch cmd.Verb {
	case "AUTHENTICATE", "IDLE", "COMPRESS", "STARTTLS":
		c.exchange = exchange{cmd.Tag, cmd.Verb}
	}
}

func parseCommand(line string) Command {
	tag, rest, ok := strings.Cut(line, " ")
	verb, args, _ := strings.Cut(rest, " ")
	verb = strings.ToUpper(verb)
	if !ok || verb == "" || strings.Trim(tag, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "" ||
		strings.Trim(verb, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return Command{Line: line}
	}
	switch verb {
	case "UID":
		sub, _, _ := strings.Cut(args, " ")
		verb += " " + strings.ToUpper(sub)
	case "LOGIN":
		rest = verb + " ..."
	case "AUTHENTICATE":
		mechanism, _, _ := strings.Cut(args, " ")
		rest = verb + " " + mechanism + " ..."
	}
	return Command{Tag: tag, Verb: verb, Line: rest}
}

// fromServer looks at the server's lines for what decides about literals and
// exchanges.
func (c *wireConn) fromServer() {
	for !c.blind {
		if n := min(c.body, int64(c.server.Len())); n > 0 {
			c.server.Next(int(n))
			c.body -= n
		}
		line, ok := takeLine(&c.server)
		if c.body > 0 || !ok {
			return
		}
		if size, ok := literalSize(line); ok {
			c.body = size
		}
		c.reply(line)
	}
}

func (c *wireConn) reply(line string) {
	first, rest, _ := strings.Cut(line, " ")
	switch {
	case first == "+" && c.waiting != "":
		c.waiting = ""
	case first == c.waiting && first != "": // the literal is refused and will not come
		c.waiting, c.skip = "", 0
		c.finish()
	case first == c.exchange.tag && first != "":
		verb := c.exchange.verb
		c.exchange = exchange{}
		if (verb == "COMPRESS" || verb == "STARTTLS") && strings.HasPrefix(strings.ToUpper(rest), "OK") {
			c.blind = true
			return
		}
	default:
		return
	}
	c.fromClient()
}

// Commands are the commands so far: those of one connection in their order.
func (l *WireLog) Commands() []Command {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.commands)
}

// Count is the number of commands with a verb ("UID FETCH", "SELECT").
func (l *WireLog) Count(verb string) (n int) {
	for _, c := range l.Commands() {
		if c.Verb == verb {
			n++
		}
	}
	return n
}

// Reset forgets the commands so far, and the LOGOUT to come of connections so far:
// a program that ends does not wait until its last words have got here.
func (l *WireLog) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commands, l.faults = nil, nil
	for _, c := range l.conns {
		c.before = true
	}
}

// Mode says what a client may do.
type Mode int

// The modes.
const (
	ReadWrite Mode = iota
	ReadOnly       // no command that changes anything, not even SELECT
)

// Check answers with what was said that must never be: commands by sequence
// number, EXPUNGE without UIDs, CLOSE of what was selected, FLAGS without a sign, bodies fetched
// without .PEEK, lines that are no commands, and in ReadOnly every command that
// changes the account. A connection that went blind is a violation too.
func (l *WireLog) Check(mode Mode) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.faults)
	for n, c := range l.conns {
		if c.blind {
			out = append(out, "connection "+strconv.Itoa(n)+": turned to TLS or DEFLATE, which cannot be checked")
		}
	}
	opened := make(map[int]string) // by connection, with which command
	for _, c := range l.commands {
		if c.Verb == "SELECT" || c.Verb == "EXAMINE" {
			opened[c.Conn] = c.Verb
		}
		if c.Verb == "CLOSE" && opened[c.Conn] == "EXAMINE" {
			continue // it does not expunge (RFC 9051, 6.4.1)
		}
		if why := violation(c, mode); why != "" {
			out = append(out, fmt.Sprintf("connection %d: %s: %s", c.Conn, why, c.Line))
		}
	}
	return out
}

// Assert fails the test on violations.
func (l *WireLog) Assert(tb TB, mode Mode) {
	tb.Helper()
	if bad := l.Check(mode); len(bad) > 0 {
		tb.Fatalf("the client broke the rules of the wire:\n%s", strings.Join(bad, "\n"))
	}
}

var changing = []string{
	"SELECT", "APPEND", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "STORE", "COPY", "MOVE", "EXPUNGE",
	"REPLACE", "SETACL", "DELETEACL", "SETQUOTA", "SETMETADATA", "SETANNOTATION",
}

func violation(c Command, mode Mode) string {
	bare := strings.TrimPrefix(c.Verb, "UID ")
	upper := strings.ToUpper(c.Line)
	switch c.Verb {
	case "FETCH", "STORE", "COPY", "MOVE", "SEARCH", "SORT", "THREAD":
		return "sequence numbers"
	case "EXPUNGE":
		return "EXPUNGE without UIDs"
	case "CLOSE":
		return "CLOSE expunges"
	case "UID STORE":
		if !strings.Contains(upper, " +FLAGS") && !strings.Contains(upper, " -FLAGS") {
			return "FLAGS without a sign"
		}
	case "UID FETCH":
		if strings.Contains(upper, "BODY[") || strings.Contains(upper, "BINARY[") || strings.Contains(upper, "RFC822)") ||
			strings.Contains(upper, "RFC822 ") || strings.Contains(upper, "RFC822.TEXT") || strings.HasSuffix(upper, "RFC822") {
			return "sets \\Seen"
		}
	}
	if mode == ReadOnly && slices.Contains(changing, bare) {
		return "changes the account"
	}
	return ""
}
