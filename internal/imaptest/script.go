package imaptest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Script is what a Scripted server holds and how it behaves. The default is a
// well-behaved server with a small account; hooks and Quirks make it odd. It is
// changed before the server starts, or through Scripted.Edit.
type Script struct {
	Caps     []string
	Greeting string // the whole first line; "" for OK with the capabilities
	// NoGreeting says nothing at all on a new connection.
	NoGreeting bool
	Boxes      []*ScriptBox

	commands []func(*ScriptConn, *ScriptCommand) bool
	fetches  []func(*ScriptConn, *ScriptMessage, []Att) []Att
	replies  []func(*ScriptConn, *ScriptCommand, string) []string
	literals []func(*ScriptConn, string) string
	items    []func(*ScriptConn, *ScriptMessage, string) (Att, bool)
	created  uint32 // mailboxes made by CREATE, for their UIDVALIDITY
}

// ScriptBox is one mailbox of a Script. Everything goes over the wire as it is.
type ScriptBox struct {
	Name     string // as on the wire, modified UTF-7
	Attrs    []string
	Validity uint32
	UIDNext  uint32
	ModSeq   uint64
	ReadOnly bool // SELECT answers [READ-ONLY], and STORE does nothing
	Messages []*ScriptMessage

	vanished []vanished
}

type vanished struct {
	uid    uint32
	modSeq uint64
}

// ScriptMessage is one message of a ScriptBox.
type ScriptMessage struct {
	UID    uint32
	Flags  []string
	Date   string // INTERNALDATE, without its quotes
	Raw    []byte
	ModSeq uint64

	mail *gmail // of a Gmail: what this is a view of
}

// Att is one item of a FETCH response in the making; Value is its wire form.
type Att struct{ Name, Value string }

// OnCommand hooks a verb ("UID FETCH", "SELECT"; "" for all): fn replies itself,
// to the tagged reply, and answers true, or leaves the command to the default.
// The hook that was added last is asked first.
func (s *Script) OnCommand(verb string, fn func(*ScriptConn, *ScriptCommand) bool) {
	s.commands = append(s.commands, func(c *ScriptConn, cmd *ScriptCommand) bool {
		return (verb == "" || verb == cmd.Verb) && fn(c, cmd)
	})
}

// OnFetch hooks each FETCH response: fn answers with the items to send, nil for
// no response. It may send others with c.Send.
func (s *Script) OnFetch(fn func(*ScriptConn, *ScriptMessage, []Att) []Att) {
	s.fetches = append(s.fetches, fn)
}

// OnReply hooks each response as it goes out, literals included, CRLF at its
// end: fn answers with what to send in its place.
func (s *Script) OnReply(fn func(c *ScriptConn, cmd *ScriptCommand, response string) []string) {
	s.replies = append(s.replies, fn)
}

// OnLiteral hooks each synchronising literal: fn gets the command up to it and
// answers with a reply that refuses it ("NO [OVERQUOTA] full"), or "".
func (s *Script) OnLiteral(fn func(c *ScriptConn, command string) string) {
	s.literals = append(s.literals, fn)
}

// OnItem hooks the items of FETCH that the server does not know by itself: fn makes
// one, or answers false.
func (s *Script) OnItem(fn func(c *ScriptConn, m *ScriptMessage, item string) (Att, bool)) {
	s.items = append(s.items, fn)
}

// Box finds a mailbox by its wire name; nil when there is none.
func (s *Script) Box(name string) *ScriptBox {
	for _, b := range s.Boxes {
		if b.Name == name || strings.EqualFold(name, "INBOX") && b.Name == "INBOX" {
			return b
		}
	}
	return nil
}

// Without takes capabilities away.
func (s *Script) Without(caps ...string) {
	for _, c := range caps {
		s.Caps = remove(s.Caps, c)
	}
}

// Has reports whether a capability is offered.
func (s *Script) Has(capability string) bool { return slices.Contains(s.Caps, capability) }

// OddUID is the message of INBOX that most quirks are about.
const OddUID = 7

// DefaultScript is a well-behaved server: INBOX with the messages 1 to 10,
// Archive with 2, an empty Sent.
func DefaultScript() *Script {
	s := &Script{Caps: []string{
		"IMAP4rev1", "SASL-IR", "AUTH=PLAIN", "ID", "ENABLE", "NAMESPACE", "UNSELECT", "CHILDREN", "LITERAL+", "MULTIAPPEND",
		"UIDPLUS", "MOVE", "ESEARCH", "LIST-EXTENDED", "LIST-STATUS", "SPECIAL-USE", "CONDSTORE", "QRESYNC",
	}}
	box := func(name string, validity uint32, n int, attrs ...string) {
		b := &ScriptBox{Name: name, Attrs: append(attrs, `\HasNoChildren`), Validity: validity, UIDNext: 1, ModSeq: 1}
		for i := range n {
			b.add(&ScriptMessage{
				Date: fmt.Sprintf("%02d-Jan-2024 10:00:00 +0000", i+1),
				Raw: fmt.Appendf(nil, "From: a@example.org\r\nSubject: %s %d\r\nMessage-ID: <%d.%s@script.example>\r\n\r\n"+
					"This is message %d of %s.\r\n", name, i+1, i+1, strings.ToLower(name), i+1, name),
			})
		}
		s.Boxes = append(s.Boxes, b)
	}
	box("INBOX", 1001, 10)
	box("Archive", 1002, 2, `\Archive`)
	box("Sent", 1003, 0, `\Sent`)
	s.Boxes[0].Messages[1].Flags = []string{`\Seen`}
	s.Boxes[0].Messages[2].Flags = []string{`\Seen`, "$Forwarded"}
	return s
}

// add gives a message the next UID and MODSEQ and puts it into the mailbox.
func (b *ScriptBox) add(m *ScriptMessage) *ScriptMessage {
	b.ModSeq++
	m.UID, m.ModSeq = b.UIDNext, b.ModSeq
	b.UIDNext++
	b.Messages = append(b.Messages, m)
	return m
}

// Scripted is a server that runs a Script on a port of 127.0.0.1, in plaintext.
// It takes every user and password.
type Scripted struct {
	listener net.Listener
	wait     sync.WaitGroup
	quit     chan struct{}

	mu     sync.Mutex
	script *Script
	conns  []*ScriptConn
	log    []string
}

// StartScripted starts a server with the DefaultScript as changed by setup,
// which may be nil. It ends with the test.
func StartScripted(tb TB, setup func(*Script)) *Scripted {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("scripted server: %v", err)
	}
	s := &Scripted{listener: l, quit: make(chan struct{}), script: DefaultScript()}
	if setup != nil {
		setup(s.script)
	}
	s.wait.Go(s.accept)
	tb.Cleanup(s.close)
	return s
}

// Addr is where clients connect.
func (s *Scripted) Addr() string { return s.listener.Addr().String() }

// Target is the account.
func (s *Scripted) Target() Target { return Target{Addr: s.Addr(), User: "u", Password: "p"} }

// Edit changes the script while the server runs, between two commands.
func (s *Scripted) Edit(fn func(*Script)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s.script)
}

// Commands are the commands so far, from all connections, without their tags.
func (s *Scripted) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Connections is the number of connections so far.
func (s *Scripted) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Scripted) close() {
	close(s.quit)
	_ = s.listener.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.net.Close()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Scripted) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		c := &ScriptConn{server: s, net: conn.(*net.TCPConn), r: bufio.NewReader(conn), N: len(s.conns)}
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		if isClosed(s.quit) {
			_ = conn.Close()
			return
		}
		s.wait.Go(c.serve)
	}
}

// ScriptConn is one connection of a Scripted server. Its methods are for hooks:
// what they send goes out in order once the hook or the command is done.
type ScriptConn struct {
	N        int        // number of the connection, from 0
	Script   *Script    // may be changed by hooks
	Box      *ScriptBox // the selected mailbox; nil for none
	ReadOnly bool       // it was opened with EXAMINE, or is read-only
	QResync  bool       // ENABLE QRESYNC was given
	Selects  int        // how often a mailbox was selected

	server *Scripted
	net    *net.TCPConn
	r      *bufio.Reader
	steps  []step
	cmd    *ScriptCommand
}

// step is something to do on the connection.
type step struct {
	data string
	end  ending
}

type ending int

const (
	goOn  ending = iota
	hang         // say nothing more, and leave the connection open
	fin          // close
	reset        // close with a reset
)

// Send sends one response: an untagged one without its "* ", CRLF added.
func (c *ScriptConn) Send(format string, args ...any) {
	c.Raw("* " + fmt.Sprintf(format, args...) + "\r\n")
}

// Raw sends octets as they are.
func (c *ScriptConn) Raw(data string) { c.steps = append(c.steps, step{data: data}) }

// Done sends the tagged reply.
func (c *ScriptConn) Done(format string, args ...any) {
	c.Raw(c.cmd.Tag + " " + fmt.Sprintf(format, args...) + "\r\n")
}

// Close closes the connection once everything before was sent.
func (c *ScriptConn) Close() { c.steps = append(c.steps, step{end: fin}) }

// Reset is Close with a reset.
func (c *ScriptConn) Reset() { c.steps = append(c.steps, step{end: reset}) }

// Hang says nothing more and leaves the connection open.
func (c *ScriptConn) Hang() { c.steps = append(c.steps, step{end: hang}) }

func (c *ScriptConn) serve() {
	defer c.net.Close()
	if !c.turn(nil, c.greet) {
		return
	}
	for {
		raw, ok := c.command()
		if !ok {
			return
		}
		cmd, err := parseScriptCommand(raw)
		alive := c.turn(&cmd, func() {
			c.server.log = append(c.server.log, cmd.Line)
			if err != nil {
				c.Done("BAD %v", err)
				return
			}
			c.dispatch(&cmd)
		})
		if !alive {
			return
		}
	}
}

func (c *ScriptConn) greet() {
	if c.Script.NoGreeting {
		c.Hang()
		return
	}
	if c.Script.Greeting != "" {
		c.Raw(c.Script.Greeting + "\r\n")
		return
	}
	c.Send("OK [CAPABILITY %s] ready", strings.Join(c.Script.Caps, " "))
}

// turn runs fn under the server's lock and sends what it wants to send; false
// when the connection is over.
func (c *ScriptConn) turn(cmd *ScriptCommand, fn func()) bool {
	c.server.mu.Lock()
	c.Script, c.cmd, c.steps = c.server.script, cmd, nil
	fn()
	steps := c.rewrite(cmd)
	c.server.mu.Unlock()
	for _, st := range steps {
		switch st.end {
		case goOn:
			_ = c.net.SetWriteDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(c.net, st.data); err != nil {
				return false
			}
		case hang:
			<-c.server.quit
			return false
		case reset:
			_ = c.net.SetLinger(0)
			return false
		case fin:
			return false
		}
	}
	return true
}

// rewrite lets the reply hooks at what is to be sent.
func (c *ScriptConn) rewrite(cmd *ScriptCommand) []step {
	if cmd == nil {
		return c.steps
	}
	for _, hook := range c.Script.replies {
		before := c.steps
		c.steps = nil
		var after []step
		for _, st := range before {
			if st.end != goOn {
				after = append(after, st)
				continue
			}
			for _, data := range hook(c, cmd, st.data) {
				after = append(after, step{data: data})
			}
			after = append(after, c.steps...) // what the hook sent by itself
			c.steps = nil
		}
		c.steps = after
	}
	return c.steps
}

// command reads one command with its literals.
func (c *ScriptConn) command() ([]byte, bool) {
	var raw []byte
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil && len(line) < 4096 {
			return nil, false
		}
		raw = append(raw, line...)
		if err != nil {
			continue // longer than the buffer
		}
		text := strings.TrimRight(string(line), "\r\n")
		size, ok := literalSize(text)
		if !ok {
			// One end of line only: a literal may end in others.
			return bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r")), true
		}
		if size > 64<<20 {
			return nil, false
		}
		if !strings.HasSuffix(text, "+}") && !c.accept(raw) {
			raw = nil
			continue
		}
		at := len(raw)
		raw = append(raw, make([]byte, size)...)
		if _, err := io.ReadFull(c.r, raw[at:]); err != nil {
			return nil, false
		}
	}
}

// accept sends a continuation request, or what a hook refuses the literal with.
func (c *ScriptConn) accept(raw []byte) bool {
	tag, rest, _ := strings.Cut(strings.TrimRight(string(raw), "\r\n"), " ")
	refusal := ""
	c.server.mu.Lock()
	for _, hook := range c.server.script.literals {
		if refusal == "" {
			refusal = hook(c, rest)
		}
	}
	c.server.mu.Unlock()
	answer := "+ OK\r\n"
	if refusal != "" {
		answer = tag + " " + refusal + "\r\n"
	}
	_, err := io.WriteString(c.net, answer)
	return err == nil && refusal == ""
}
