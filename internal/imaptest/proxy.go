package imaptest

import (
	"net"
	"sync"
	"time"
)

// Direction is that of a stream through a Proxy.
type Direction int

// The directions.
const (
	ToClient Direction = iota // what the server sends
	ToServer                  // what the client sends
)

// Rules say what a Proxy does to one connection. Positions count octets of one
// direction from the beginning of the connection. The zero Rules pass
// everything on.
type Rules struct {
	Delay [2]time.Duration // each octet arrives that much later; many may be under way
	Rate  [2]int64         // octets per second; 0 for no limit
	// Chunk is the largest piece that is written at a time; 0 for no bound. With
	// 1 every octet goes in a segment of its own.
	Chunk int

	Cut     []Cut
	Stall   []Stall
	Garbage []Garbage

	// Lie gets each response of the server, with its literals, and answers with what
	// the client gets in its place. Positions count what the client gets.
	Lie func(response []byte) []byte
}

// Cut ends the connection once exactly After octets have gone in a direction.
// Nothing arrives at the other end's peer after that: what the server answers
// to the last octet of a cut ToServer is lost.
type Cut struct {
	Dir   Direction
	After int64
	Reset bool // RST in place of FIN
}

// Stall stops both directions once After octets have gone in one, and leaves
// the connection open: what a NAT that forgot it does.
type Stall struct {
	Dir   Direction
	After int64
}

// Garbage damages the octet at a position: it is replaced by With, or With is
// put in before it.
type Garbage struct {
	Dir    Direction
	At     int64
	With   byte
	Insert bool
}

// Proxy passes TCP connections on to a target, and does to them what its rules
// say. It knows nothing of TLS and IMAP.
type Proxy struct {
	target   string
	listener net.Listener

	mu       sync.Mutex
	defaults Rules
	nth      map[int]Rules
	record   bool
	refuse   bool
	closed   bool
	log      *WireLog // nil when nobody asked for it
	conns    []*ProxyConn
	wait     sync.WaitGroup
}

// StartProxy starts a proxy on a free port of 127.0.0.1. It ends with the test.
func StartProxy(tb TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("proxy: %v", err)
	}
	p := &Proxy{target: target, listener: l, nth: map[int]Rules{}}
	p.wait.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set gives the rules for connections to come.
func (p *Proxy) Set(r Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.defaults = r
}

// SetNth gives the rules for the connection with that number, counted from 0,
// in place of those of Set.
func (p *Proxy) SetNth(n int, r Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nth[n] = r
}

// RTT delays both directions by half of d.
func (p *Proxy) RTT(d time.Duration) { p.Set(Rules{Delay: [2]time.Duration{d / 2, d / 2}}) }

// Record keeps what goes through connections to come (see ProxyConn.Recorded).
func (p *Proxy) Record(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record = on
}

// Refuse makes the proxy close new connections at once, with a reset.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Conns are the connections so far, in the order in which they came, those that
// have ended as well.
func (p *Proxy) Conns() []*ProxyConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*ProxyConn(nil), p.conns...)
}

// Bytes is the number of octets that went in a direction, over all connections.
func (p *Proxy) Bytes(dir Direction) (n int64) {
	for _, c := range p.Conns() {
		n += c.Bytes(dir)
	}
	return n
}

// CutAll cuts the connections that are open now.
func (p *Proxy) CutAll(reset bool) {
	for _, c := range p.Conns() {
		c.Cut(reset)
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.CutAll(false)
	p.wait.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed at the end of the test
		}
		p.mu.Lock()
		closed, refuse := p.closed, p.refuse
		p.mu.Unlock()
		if closed || refuse {
			hangUp(client)
			continue
		}
		server, err := net.DialTimeout("tcp", p.target, 10*time.Second)
		if err != nil {
			hangUp(client) // what a client sees of a server that is down
			continue
		}
		c := p.admit(client.(*net.TCPConn), server.(*net.TCPConn))
		p.wait.Go(c.run)
	}
}

// hangUp refuses a connection.
func hangUp(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // RST: nobody is there
	}
	_ = conn.Close()
}

func (p *Proxy) admit(client, server *net.TCPConn) *ProxyConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns)
	rules, ok := p.nth[n]
	if !ok {
		rules = p.defaults
	}
	c := newProxyConn(rules, client, server, p.record)
	if p.log != nil {
		for dir := range c.streams {
			c.streams[dir].tap = p.log.tap(n, Direction(dir))
		}
	}
	p.conns = append(p.conns, c)
	if p.closed {
		c.Cut(false)
	}
	return c
}

// WireLog logs the commands of connections to come. It is of use in plaintext
// only.
func (p *Proxy) WireLog() *WireLog {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log == nil {
		p.log = newWireLog()
	}
	return p.log
}
