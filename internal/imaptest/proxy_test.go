package imaptest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// startEcho starts a server that sends greeting and then whatever it gets. It
// keeps what it got for the test.
type echo struct {
	addr string

	mu  sync.Mutex
	got [][]byte
}

func startEcho(t *testing.T, greeting []byte) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: l.Addr().String()}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			n := len(e.got)
			e.got = append(e.got, nil)
			e.mu.Unlock()
			wait.Go(func() { e.serve(n, c, greeting) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wait.Wait()
	})
	return e
}

func (e *echo) serve(n int, c net.Conn, greeting []byte) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(greeting); err != nil {
		return
	}
	buf := make([]byte, 32<<10)
	for {
		k, err := c.Read(buf)
		e.mu.Lock()
		e.got[n] = append(e.got[n], buf[:k]...)
		e.mu.Unlock()
		if _, werr := c.Write(buf[:k]); err != nil || werr != nil {
			return
		}
	}
}

func (e *echo) received(n int) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n >= len(e.got) {
		return nil
	}
	return bytes.Clone(e.got[n])
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func payload(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func TestProxyCutToClientIsExact(t *testing.T) {
	t.Parallel()
	want := payload(300)
	e := startEcho(t, want)
	p := StartProxy(t, e.addr)
	for n := range len(want) + 1 {
		p.Set(Rules{Cut: []Cut{{Dir: ToClient, After: int64(n)}}})
		got, err := io.ReadAll(dial(t, p))
		if err != nil || !bytes.Equal(got, want[:n]) {
			t.Fatalf("cut after %d: got %d octets, %v", n, len(got), err)
		}
	}
}

func TestProxyCutToServerIsExact(t *testing.T) {
	t.Parallel()
	e := startEcho(t, nil)
	p := StartProxy(t, e.addr)
	sent := payload(5000)
	for i, n := range []int{0, 1, 2, 1000, 4999, 5000} {
		p.SetNth(i, Rules{Cut: []Cut{{Dir: ToServer, After: int64(n)}}, Chunk: 1000})
		c := dial(t, p)
		_, _ = c.Write(sent) // the cut may come first
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("cut after %d: %v", n, err)
		}
		waitFor(t, func() bool { return len(e.received(i)) >= n })
		if got := e.received(i); !bytes.Equal(got, sent[:n]) {
			t.Errorf("cut after %d: the server got %d octets", n, len(got))
		}
		if got := p.Conns()[i].Bytes(ToServer); got != int64(n) {
			t.Errorf("counted %d octets, want %d", got, n)
		}
	}
}

// TestProxyCutToServerLosesTheAnswer is what a client sees when the line goes
// dead after its last octet.
func TestProxyCutToServerLosesTheAnswer(t *testing.T) {
	t.Parallel()
	e := startEcho(t, []byte("hello"))
	p := StartProxy(t, e.addr)
	p.Set(Rules{Cut: []Cut{{Dir: ToServer, After: 4}}})
	for i := range 50 {
		c := dial(t, p)
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Fatalf("got %q, %v after the cut", rest, err)
		}
		waitFor(t, func() bool { return string(e.received(i)) == "ping" })
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

func TestProxyReset(t *testing.T) {
	t.Parallel()
	e := startEcho(t, []byte("hello"))
	p := StartProxy(t, e.addr)
	p.Set(Rules{Cut: []Cut{{Dir: ToClient, After: 5, Reset: true}}})
	if err := readAll(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	p.Refuse(true)
	if err := readAll(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused connection gave %v, want a reset", err)
	}
}

// readAll connects and reads to the end; a reset may come before connecting is
// over.
func readAll(p *Proxy) error {
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.Copy(io.Discard, c)
	return err
}

func TestProxyStall(t *testing.T) {
	t.Parallel()
	e := startEcho(t, []byte("hello, world"))
	p := StartProxy(t, e.addr)
	p.Set(Rules{Stall: []Stall{{Dir: ToClient, After: 5}}})
	c := dial(t, p)
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("stalled connection gave %d octets, %v", n, err)
	}
	if p.Conns()[0].Ended() {
		t.Error("the connection has ended")
	}
}

func TestProxyGarbage(t *testing.T) {
	t.Parallel()
	e := startEcho(t, []byte("abcdef"))
	p := StartProxy(t, e.addr)
	p.Record(true)
	for _, c := range []struct {
		garbage []Garbage
		want    string
	}{
		{[]Garbage{{Dir: ToClient, At: 2, With: 'X'}}, "abXdef"},
		{[]Garbage{{Dir: ToClient, At: 2, With: 'X', Insert: true}}, "abXcdef"},
		{[]Garbage{{Dir: ToClient, At: 0, With: 'X'}, {Dir: ToClient, At: 5, With: 'Y'}}, "XbcdeY"},
		{[]Garbage{{Dir: ToServer, At: 0, With: 'X'}}, "abcdef"},
	} {
		p.Set(Rules{Garbage: c.garbage})
		conn := dial(t, p)
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != c.want {
			t.Errorf("got %q, %v, want %q", got, err, c.want)
		}
		conns := p.Conns()
		if rec := conns[len(conns)-1].Recorded(ToClient); string(rec) != c.want {
			t.Errorf("recorded %q, want %q", rec, c.want)
		}
	}
}

// TestProxyDelayIsALine: many messages under way at once take one delay, not
// one each.
func TestProxyDelayIsALine(t *testing.T) {
	t.Parallel()
	e := startEcho(t, nil)
	p := StartProxy(t, e.addr)
	p.RTT(100 * time.Millisecond)
	c := dial(t, p)
	const n = 50
	start := time.Now()
	go func() {
		for range n {
			if _, err := c.Write([]byte("0123456789")); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	first := make([]byte, 10)
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("the first answer took %v, want 100ms at least", took)
	}
	if _, err := io.ReadFull(c, make([]byte, 10*(n-1))); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 3*time.Second { // one after the other would be 5 s
		t.Errorf("%d messages took %v: they waited for one another", n, took)
	}
}

func TestProxyRate(t *testing.T) {
	t.Parallel()
	e := startEcho(t, payload(30_000))
	p := StartProxy(t, e.addr)
	p.Set(Rules{Rate: [2]int64{ToClient: 100_000}})
	start := time.Now()
	if _, err := io.ReadFull(dial(t, p), make([]byte, 30_000)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 250*time.Millisecond || took > 10*time.Second {
		t.Errorf("30 kB at 100 kB/s took %v", took)
	}
}

func TestProxyChunk(t *testing.T) {
	t.Parallel()
	want := payload(2000)
	e := startEcho(t, want)
	p := StartProxy(t, e.addr)
	p.Set(Rules{Chunk: 1})
	got := make([]byte, len(want))
	if _, err := io.ReadFull(dial(t, p), got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("octets were lost or changed: %v", err)
	}
}

// TestProxyPassesEverything compares a megabyte both ways, with half-closes.
func TestProxyPassesEverything(t *testing.T) {
	t.Parallel()
	e := startEcho(t, nil)
	p := StartProxy(t, e.addr)
	want := payload(1 << 20)
	c := dial(t, p)
	go func() {
		_, _ = c.Write(want)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d octets, %v", len(got), err)
	}
	if p.Bytes(ToServer) != 1<<20 || p.Bytes(ToClient) != 1<<20 {
		t.Errorf("counted %d and %d octets", p.Bytes(ToServer), p.Bytes(ToClient))
	}
	waitFor(t, p.Conns()[0].isOver)
}

func (c *ProxyConn) isOver() bool { return c.Ended() }
