package imapconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"postbag/internal/mail"
)

// command is one of our own commands on its way.
type command struct {
	tag string
	// on gets each untagged response that arrives meanwhile, in the reading
	// goroutine, and says whether it was wanted. It must not keep resp.
	on      func(resp []byte) bool
	awaits  atomic.Bool   // a "+" is ours
	proceed chan string   // the text of that "+"
	done    chan struct{} // closed when status is set
	status  Status
	risky   atomic.Bool // it went with a literal that the server may execute after a BAD
}

// register adds a command to those that wait for a reply.
func (w *wire) register(on func(resp []byte) bool) *command {
	c := &command{
		tag: "P" + strconv.FormatUint(w.nextTag.Add(1), 10), on: on,
		proceed: make(chan string, 1), done: make(chan struct{}),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	list := append(slices.Clone(*w.commands.Load()), c)
	w.commands.Store(&list)
	w.beBusy()
	return c
}

// settle takes a command off the list; its status is set. Where that is the end
// of the connection, why is the reason: whoever sees the one sees the other.
func (w *wire) settle(c *command, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(*w.commands.Load()), func(o *command) bool { return o == c })
	if len(list) == len(*w.commands.Load()) {
		return
	}
	w.commands.Store(&list)
	w.busy--
	close(c.done)
	if why != nil {
		w.end(why)
	}
}

// await waits until the command is done, or, with plus, until the server asks
// for its next part: then it answers true and the text of the "+".
func (w *wire) await(c *command, plus bool) (proceed bool, text string, err error) {
	for {
		select {
		case text = <-c.proceed:
			return true, text, nil
		case <-c.done:
			return false, "", nil
		default:
		}
		if w.solo {
			if err := w.next(); err != nil {
				w.fail(err)
				return false, "", w.Err()
			}
			continue
		}
		select {
		case text = <-c.proceed:
			return true, text, nil
		case <-c.done:
			return false, "", nil
		case <-w.dead:
		}
		select {
		case <-c.done: // what came before the end counts
			return false, "", nil
		default:
		}
		w.raise()
		return false, "", w.Err()
	}
}

// takeTurn waits until no other command is being written.
func (w *wire) takeTurn() error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-w.dead:
		return w.Err()
	}
}

func (w *wire) giveTurn() { <-w.turn }

// segment is a piece of a command up to a literal.
type segment struct {
	text string // ends with the announcement of the literal, without a line end
	size int64  // of the literal
	body io.Reader
	sync bool // wait for a "+" before the literal
	last bool // no literal follows
}

// errUnsafe is a command that would not be one on the wire.
var errUnsafe = errors.New("text that cannot be sent in a command")

// encode makes the segments of a command. nonSync is the size up to which
// literals may go without waiting: negative for none, or the server's word.
func encode(tag string, nonSync int64, parts []Part) ([]segment, error) {
	var segments []segment
	text := tag
	for i, p := range parts {
		if i == 0 || !strings.HasSuffix(text, "(") && !(p.kind == partRaw && strings.HasPrefix(p.text, ")")) {
			text += " "
		}
		size, body := p.size, p.body
		switch {
		case p.kind == partRaw:
			if strings.ContainsFunc(p.text, func(r rune) bool { return r < ' ' || r > '~' }) {
				return nil, errUnsafe
			}
			text += p.text
			continue
		case p.kind == partString:
			if strings.ContainsAny(p.text, "\r\n\x00") {
				return nil, errUnsafe
			}
			if quotable(p.text) {
				text += quote(p.text)
				continue
			}
			size, body = int64(len(p.text)), strings.NewReader(p.text)
		}
		s := segment{size: size, body: body, sync: p.wait || size > nonSync}
		s.text = text + "{" + strconv.FormatInt(size, 10)
		if !s.sync {
			s.text += "+"
		}
		s.text += "}"
		segments = append(segments, s)
		text = ""
	}
	return append(segments, segment{text: text, last: true}), nil
}

// maxQuoted is how long a quoted string may be: servers bound their line length.
const maxQuoted = 1000

func quotable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxQuoted
}

var quoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func quote(s string) string { return `"` + quoter.Replace(s) + `"` }

// send writes one command, waiting for the server where it must. It returns nil
// as well when the server refused the command before it was complete: then it is
// done. shown is what the trace gets in place of the command; "" for itself.
func (w *wire) send(c *command, segments []segment, shown string) error {
	err := w.write(c, segments, shown)
	select {
	case <-c.done:
		if c.status.Type != "OK" {
			return nil
		}
	default:
	}
	return err
}

func (w *wire) write(c *command, segments []segment, shown string) error {
	if err := w.takeTurn(); err != nil {
		return err
	}
	defer w.giveTurn()
	if w.isDead() { // what nobody reads need not be written
		return w.Err()
	}
	for i, s := range segments {
		if shown == "" {
			w.trace.line("C", []byte(s.text))
		} else if i == 0 {
			w.trace.line("C", []byte(shown))
		}
		if !s.last && !s.sync {
			c.risky.Store(true)
		}
		if _, err := w.dst.WriteString(s.text + "\r\n"); err != nil {
			return w.broken(err)
		}
		if s.last {
			break
		}
		if s.sync {
			c.awaits.Store(true)
			if err := w.push(); err != nil {
				return err
			}
			proceed, _, err := w.await(c, true)
			if err != nil {
				return err
			}
			if !proceed {
				return w.refused(c)
			}
		}
		if err := w.sendLiteral(s); err != nil {
			return err
		}
	}
	return w.push()
}

// refused is a command that ended while it waited for a "+".
func (w *wire) refused(c *command) error {
	c.awaits.Store(false)
	if c.status.Type == "OK" {
		// The server believes that the command was complete.
		return w.broken(protocolf("OK to half a command"))
	}
	return nil
}

// sendLiteral copies a literal's content, all of it or the connection dies:
// the server would take the next command for the rest.
func (w *wire) sendLiteral(s segment) error {
	n, err := io.Copy(w.dst, io.LimitReader(s.body, s.size))
	if err == nil && n < s.size {
		err = fmt.Errorf("the message ended after %d of %d octets: %w", n, s.size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return w.broken(err)
	}
	return nil
}

func (w *wire) push() error {
	if err := w.flush(); err != nil {
		return w.broken(err)
	}
	return nil
}

// broken ends the connection and answers why it is dead, which may be another
// reason.
func (w *wire) broken(err error) error {
	w.fail(err)
	return w.Err()
}

// run sends a command and waits for its reply. A status other than OK is no
// error here.
func (w *wire) run(nonSync int64, on func(resp []byte) bool, parts ...Part) (Status, error) {
	c := w.register(on)
	segments, err := encode(c.tag, nonSync, parts)
	if err != nil {
		w.settle(c, nil)
		return Status{}, err
	}
	if err := w.send(c, segments, ""); err != nil {
		return Status{}, err
	}
	return w.finish(c)
}

// finish waits for the reply.
func (w *wire) finish(c *command) (Status, error) {
	if _, _, err := w.await(c, false); err != nil {
		return Status{}, err
	}
	return c.status, nil
}

// Command sends one command and waits for its tagged reply. on, which may be
// nil, gets each untagged response that arrives meanwhile, whether it belongs to
// the command or not; it runs in the reading goroutine and must not use the
// connection. Its error stops further calls, and is returned when the command
// is done.
//
// More than 256 MiB of responses are too many for one command.
//
// A NO or BAD is a *mail.Error of ScopeMailbox (ScopeAccount when throttled)
// around a *StatusError, and the Status is returned as well. A lost connection
// is of ScopeAccount. When ctx ends, so does the connection.
func (c *Conn) Command(ctx context.Context, on func(Response) error, parts ...Part) (*Status, error) {
	var onErr error
	total := int64(0)
	raw := func(resp []byte) bool {
		if total += int64(len(resp)); total > 4*c.wire.patience {
			c.wire.fail(protocolf("more than %d octets for one command", 4*c.wire.patience))
			return false
		}
		if onErr != nil {
			return false
		}
		r, ok := parseResponse(append([]byte(nil), resp...))
		if ok {
			onErr = on(r)
		}
		return ok
	}
	if on == nil {
		raw = nil
	}
	op := opName(parts)
	s, err := c.roundTrip(ctx, op, raw, parts...)
	if err != nil {
		return s, err
	}
	return s, onErr
}

// opName is the command's name for errors: its first words, lower case.
func opName(parts []Part) string {
	if len(parts) == 0 || parts[0].kind != partRaw {
		return "command"
	}
	words := strings.Fields(strings.ToLower(parts[0].text))
	if len(words) > 1 && words[0] == "uid" {
		return words[0] + " " + words[1]
	}
	if len(words) == 0 {
		return "command"
	}
	return words[0]
}

// roundTrip is Command with unparsed responses.
func (c *Conn) roundTrip(ctx context.Context, op string, on func(resp []byte) bool, parts ...Part) (*Status, error) {
	if err := ctx.Err(); err != nil {
		return nil, lostError(op, err)
	}
	defer c.wire.bind(ctx)()
	s, err := c.wire.run(c.nonSync(), on, parts...)
	if errors.Is(err, errUnsafe) {
		return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindUsage, Op: op, Err: err}
	}
	if err != nil {
		return nil, lostError(op, err)
	}
	if s.Type != "OK" {
		return &s, classify(op, s)
	}
	return &s, nil
}

// bind makes ctx's end the connection's, until the function it answers with is
// called.
func (w *wire) bind(ctx context.Context) (release func()) {
	stop := context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })
	return func() { stop() }
}

// nonSync is the size up to which a literal may be sent without waiting (RFC
// 7888).
func (c *Conn) nonSync() int64 {
	switch {
	case c.Has("LITERAL+"):
		return 1 << 62
	case c.Has("LITERAL-"):
		return 4096
	}
	return -1
}
