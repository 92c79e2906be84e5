package imaptest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// lineLength bounds a delay line, in pieces of up to 32 KiB.
const lineLength = 1024

// lastWords is how long a peer of a connection that was cut with FIN may take
// to end its half, before the connection is closed under it.
const lastWords = 50 * time.Millisecond

// ProxyConn is one connection through a Proxy. Each direction has a reader,
// which stamps what comes with the time when it has to leave, and a writer.
type ProxyConn struct {
	rules   Rules
	streams [2]stream

	end     sync.Once
	ended   chan struct{} // closed when the connection is over
	stall   sync.Once
	stalled chan struct{} // closed when it has stalled
	muted   atomic.Bool   // a cut ToServer has begun: the server's answers are lost
}

// stream is one direction of a connection.
type stream struct {
	from, to *net.TCPConn
	line     chan piece
	tap      func([]byte) // sees what is passed on, before it is
	sent     atomic.Int64
	free     time.Time // when the rate allows the next write

	mu       sync.Mutex
	recorded []byte
	record   bool
}

// piece is something under way: octets, or the end of the stream.
type piece struct {
	data []byte
	err  error
	due  time.Time
}

func newProxyConn(r Rules, client, server *net.TCPConn, record bool) *ProxyConn {
	c := &ProxyConn{rules: r, ended: make(chan struct{}), stalled: make(chan struct{})}
	c.streams[ToClient].from, c.streams[ToClient].to = server, client
	c.streams[ToServer].from, c.streams[ToServer].to = client, server
	for dir := range c.streams {
		length := 8
		if r.Delay[dir] > 0 {
			length = lineLength
		}
		c.streams[dir].line = make(chan piece, length)
		c.streams[dir].record = record
	}
	return c
}

// Bytes is the number of octets that went in a direction.
func (c *ProxyConn) Bytes(dir Direction) int64 { return c.streams[dir].sent.Load() }

// Recorded are the octets that went in a direction, if the proxy records.
func (c *ProxyConn) Recorded(dir Direction) []byte {
	s := &c.streams[dir]
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.recorded...)
}

// Ended reports whether the connection is over.
func (c *ProxyConn) Ended() bool { return isClosed(c.ended) }

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// Stall stops both directions and leaves the connection open.
func (c *ProxyConn) Stall() { c.stall.Do(func() { close(c.stalled) }) }

// Cut ends the connection on both sides, with FIN or RST. What was passed on
// before arrives before a FIN.
func (c *ProxyConn) Cut(reset bool) {
	c.end.Do(func() {
		close(c.ended)
		// Errors would say that a peer was faster, which is as well.
		for dir := range c.streams {
			conn := c.streams[dir].to
			if reset {
				_ = conn.SetLinger(0)
				_ = conn.Close()
				continue
			}
			// Closing with input unread sends RST, which destroys what is under
			// way: end this half only, and let the reader read off the rest.
			_ = conn.CloseWrite()
			_ = conn.SetDeadline(time.Now().Add(lastWords))
		}
	})
}

// run serves the connection until both directions have ended.
func (c *ProxyConn) run() {
	var wait sync.WaitGroup
	for dir := range c.streams {
		next := c.streams[dir].piece
		if lie := c.rules.Lie; lie != nil && Direction(dir) == ToClient {
			next = lying(c.streams[dir].from, lie)
		}
		wait.Go(func() { c.read(&c.streams[dir], next, c.rules.Delay[dir]) })
		wait.Go(func() { c.write(Direction(dir)) })
	}
	wait.Wait()
	c.end.Do(func() { close(c.ended) })
	for dir := range c.streams {
		_ = c.streams[dir].to.Close() // both halves have ended, or it was cut
	}
}

// piece is what comes next, as it comes.
func (s *stream) piece() ([]byte, error) {
	buf := make([]byte, 32<<10)
	n, err := s.from.Read(buf)
	return buf[:n], err
}

// lying gives a server's responses one by one, as lie has them.
func lying(from io.Reader, lie func([]byte) []byte) func() ([]byte, error) {
	r := bufio.NewReader(from)
	return func() ([]byte, error) {
		response, err := readResponse(r)
		if err != nil {
			return response, err
		}
		return lie(response), nil
	}
}

// readResponse reads a line, and what its literals make part of it.
func readResponse(r *bufio.Reader) (response []byte, err error) {
	for {
		line, err := r.ReadBytes('\n')
		response = append(response, line...)
		m := literalAtEnd.FindSubmatch(line)
		if err != nil || m == nil {
			return response, err
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return response, err
		}
		literal := make([]byte, n)
		k, err := io.ReadFull(r, literal)
		if response = append(response, literal[:k]...); err != nil {
			return response, err
		}
	}
}

var literalAtEnd = regexp.MustCompile(`\{([0-9]{1,9})\+?\}\r?\n$`)

func (c *ProxyConn) read(s *stream, next func() ([]byte, error), delay time.Duration) {
	for {
		data, err := next()
		due := time.Now().Add(delay)
		if len(data) > 0 && !c.put(s, piece{data: data, due: due}) {
			continue // cut: read off what still comes
		}
		if err != nil {
			c.put(s, piece{err: err, due: due})
			return
		}
	}
}

// put sends a piece on its way; false when the connection was cut.
func (c *ProxyConn) put(s *stream, p piece) bool {
	select {
	case <-c.ended:
		return false
	case s.line <- p:
		return true
	}
}

func (c *ProxyConn) write(dir Direction) {
	s := &c.streams[dir]
	garbage := append([]Garbage(nil), c.rules.Garbage...)
	c.act(dir)
	for {
		var p piece
		select {
		case <-c.ended:
			return
		case p = <-s.line:
		}
		if !c.sleepUntil(p.due) {
			return
		}
		switch {
		case errors.Is(p.err, io.EOF):
			_ = s.to.CloseWrite() // a peer that is gone needs no FIN
			return
		case p.err != nil:
			c.Cut(true) // the sender reset it
			return
		}
		if !c.pass(dir, p.data, &garbage) {
			return
		}
	}
}

// pass writes data under the rules; false when the connection is over.
func (c *ProxyConn) pass(dir Direction, data []byte, garbage *[]Garbage) bool {
	s := &c.streams[dir]
	for len(data) > 0 {
		out, used := c.nextWrite(dir, data, garbage)
		data = data[used:]
		if rate := c.rules.Rate[dir]; rate > 0 {
			if !c.sleepUntil(s.free) {
				return false
			}
			if now := time.Now(); s.free.Before(now) {
				s.free = now
			}
			s.free = s.free.Add(time.Duration(len(out)) * time.Second / time.Duration(rate))
		}
		if !c.sleepUntil(time.Time{}) || !c.send(dir, out) {
			return false
		}
		c.act(dir)
		if c.Ended() {
			return false
		}
	}
	return true
}

// nextWrite is what to write next: data up to the next place where something
// is to happen, with its first octet damaged if that is it. used is how much of
// data that takes.
func (c *ProxyConn) nextWrite(dir Direction, data []byte, garbage *[]Garbage) (out []byte, used int) {
	at := c.Bytes(dir)
	limit := int64(len(data))
	until := func(place int64) {
		if place > at {
			limit = min(limit, place-at)
		}
	}
	if n := c.rules.Chunk; n > 0 {
		until(at + int64(n))
	}
	if rate := c.rules.Rate[dir]; rate > 0 {
		until(at + max(rate/50, 1)) // steps of 20 ms
	}
	for _, cut := range c.rules.Cut {
		if cut.Dir == dir {
			until(cut.After)
		}
	}
	for _, st := range c.rules.Stall {
		if st.Dir == dir {
			until(st.After)
		}
	}
	for i, g := range *garbage {
		if g.Dir != dir {
			continue
		}
		if g.At == at {
			*garbage = append((*garbage)[:i:i], (*garbage)[i+1:]...)
			if g.Insert {
				return []byte{g.With}, 0
			}
			return []byte{g.With}, 1
		}
		until(g.At)
	}
	return data[:limit], int(limit)
}

// send writes out. Before the last octets of a cut ToServer, the other direction
// is silenced, or the answer to them could slip through.
func (c *ProxyConn) send(dir Direction, out []byte) bool {
	s := &c.streams[dir]
	if dir == ToClient && c.muted.Load() {
		return true
	}
	end := s.sent.Load() + int64(len(out))
	for _, cut := range c.rules.Cut {
		if dir == ToServer && cut.Dir == dir && cut.After == end {
			c.muted.Store(true)
		}
	}
	if s.tap != nil {
		s.tap(out)
	}
	if s.record {
		s.mu.Lock()
		s.recorded = append(s.recorded, out...)
		s.mu.Unlock()
	}
	// Counted first: whoever has seen the octets finds them counted.
	s.sent.Store(end)
	if _, err := s.to.Write(out); err != nil {
		c.Cut(false)
		return false
	}
	return true
}

// act does what the rules have for the place that the stream has reached.
func (c *ProxyConn) act(dir Direction) {
	at := c.Bytes(dir)
	for _, st := range c.rules.Stall {
		if st.Dir == dir && st.After == at {
			c.Stall()
		}
	}
	for _, cut := range c.rules.Cut {
		if cut.Dir == dir && cut.After == at {
			c.Cut(cut.Reset)
		}
	}
}

// sleepUntil waits, for ever when the connection has stalled; false when it is
// over.
func (c *ProxyConn) sleepUntil(due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-c.ended:
			return false
		case <-timer.C:
		}
	}
	if isClosed(c.stalled) {
		<-c.ended
	}
	return !c.Ended()
}
