package imapconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// A server that falls silent, at whatever point, is given up after IdleTimeout.
func TestStall(t *testing.T) {
	noLeaks(t)
	silent := func(p *peer) { _, _ = io.Copy(io.Discard, p.conn) }
	type operation func(ctx context.Context, c *Conn) error
	noop := func(ctx context.Context, c *Conn) error {
		_, err := c.Command(ctx, nil, Raw("NOOP"))
		return err
	}
	bodies := func(ctx context.Context, c *Conn) error {
		return c.FetchBodies(ctx, NewUIDSet(1, 2), func(_ Item, _ int64, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			return err
		})
	}
	for name, tt := range map[string]struct {
		serve func(p *peer)
		do    operation // nil: Dial fails
	}{
		"no greeting":     {silent, nil},
		"half a greeting": {func(p *peer) { p.raw("* OK [CAP"); silent(p) }, nil},
		"no answer to login": {func(p *peer) {
			p.send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready")
			silent(p)
		}, nil},
		"no answer":      {func(p *peer) { p.login(testCaps); silent(p) }, noop},
		"half an answer": {func(p *peer) { p.login(testCaps); p.command(); p.raw("* 3 EXI"); silent(p) }, noop},
		"half a literal": {func(p *peer) { p.login(testCaps); p.command(); p.raw("* LIST () \"/\" {10}\r\nabc"); silent(p) }, noop},
		"no plus": {func(p *peer) { p.login(testCaps); silent(p) }, func(ctx context.Context, c *Conn) error {
			_, err := c.Command(ctx, nil, Raw("CREATE"), Str("caf\xc3\xa9"))
			return err
		}},
		"no body": {func(p *peer) { p.login(testCaps); silent(p) }, bodies},
		"half a body": {func(p *peer) {
			p.login(testCaps)
			p.command()
			p.raw("* 1 FETCH (UID 1 BODY[] {100}\r\nabc")
			silent(p)
		}, bodies},
		"no end of a body": {func(p *peer) { p.login(testCaps); p.command(); p.raw("* 1 FETCH (UID 1 BODY[] {3}\r\nabc"); silent(p) }, bodies},
		"no end of the command": {func(p *peer) {
			p.login(testCaps)
			p.command()
			p.raw("* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n")
			silent(p)
		}, bodies},
		"no reading": {func(p *peer) {
			p.login(testCaps + " LITERAL+")
			time.Sleep(3 * time.Second)
		}, func(ctx context.Context, c *Conn) error {
			_, err := c.Command(ctx, nil, Raw("APPEND x"), Literal(1<<40, zeros{}))
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := listen(t, tt.serve)
			cfg := testConfig(addr)
			cfg.IdleTimeout = 150 * time.Millisecond
			within(t, 10*time.Second, func() {
				c, err := Dial(t.Context(), cfg)
				if tt.do == nil {
					if err == nil {
						t.Fatal("Dial succeeded")
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					defer c.Close()
					err = tt.do(t.Context(), c)
				}
				e := mail.AsError(err)
				if err == nil || e.Kind != mail.KindUnreachable || !e.Temporary || !strings.Contains(err.Error(), "nothing moved for 150ms") {
					t.Errorf("error = %#v %v", e, err)
				}
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// What moves does not time out, however slowly, and nothing times out while the
// waiting is ours.
func TestSlowIsNoStall(t *testing.T) {
	const idle = 600 * time.Millisecond
	t.Parallel()
	c := dialConfig(t, testCaps, func(cfg *Config) { cfg.IdleTimeout = idle }, func(p *peer) {
		p.command()
		p.raw("* 1 FETCH (UID 1 BODY[] {20}\r\n")
		for range 20 {
			time.Sleep(idle / 8)
			p.raw("x")
		}
		p.raw(")\r\n" + p.tag + " OK done\r\n")
		p.command()
		p.raw("* 1 FETCH (UID 1 BODY[] {1}\r\nx)\r\n* 2 FETCH (UID 2 BODY[] {1}\r\ny)\r\n" + p.tag + " OK done\r\n")
		p.rest()
	})
	got, err := fetchAll(t, c, 1)
	if err != nil || len(got) != 1 || got[0] != fmt.Sprintf("1 %q", strings.Repeat("x", 20)) {
		t.Errorf("slow body: %q, %v", got, err)
	}
	n := 0
	err = c.FetchBodies(t.Context(), NewUIDSet(1, 2), func(_ Item, _ int64, body io.Reader) error {
		time.Sleep(2 * idle) // our disk is slow
		_, err := io.Copy(io.Discard, body)
		n++
		return err
	})
	if err != nil || n != 2 {
		t.Errorf("slow reader: %d, %v", n, err)
	}
	time.Sleep(2 * idle) // nobody waits for anything
}

// An upload drains slowly: the client has long written all of it, and the only
// sign of life is that the kernel's queue shrinks.
func TestDrainingIsNoStall(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel does not tell what it still has to send")
	}
	t.Parallel()
	const idle, size = 600 * time.Millisecond, 3 << 20
	c := dialConfig(t, testCaps+" LITERAL+", func(cfg *Config) { cfg.IdleTimeout = idle }, func(p *peer) {
		// What waits in the server's own buffer would not show.
		_ = p.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		p.command()
		buf := make([]byte, 64<<10)
		for n := 0; n < size; {
			time.Sleep(idle / 15)
			k, err := io.ReadAtLeast(p.r, buf[:min(len(buf), size-n)], 1)
			if err != nil {
				return
			}
			n += k
		}
		p.line()
		p.send("TAG OK done")
		p.rest()
	})
	start := time.Now()
	if _, err := c.Command(t.Context(), nil, Raw("APPEND x"), Literal(size, zeros{})); err != nil {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// Cancelling, Abort and Close end whatever is on its way, at once.
func TestCancel(t *testing.T) {
	noLeaks(t)
	hang := func(p *peer) { _, _ = io.Copy(io.Discard, p.conn) }
	endless := func(p *peer) {
		p.command()
		p.raw("* 1 FETCH (UID 1 BODY[] {1000000000000}\r\n")
		chunk := strings.Repeat("x", 64<<10)
		for {
			if _, err := io.WriteString(p.conn, chunk); err != nil {
				return
			}
		}
	}
	flood := func(p *peer) {
		p.command()
		chunk := strings.Repeat("* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n", 1000)
		for {
			if _, err := io.WriteString(p.conn, chunk); err != nil {
				return
			}
		}
	}
	manySmall := func(p *peer) {
		p.command()
		for uid := 1; ; uid++ {
			if _, err := fmt.Fprintf(p.conn, "* 1 FETCH (UID %d BODY[] {1}\r\nx)\r\n", uid); err != nil {
				return
			}
		}
	}
	var all UIDSet
	all.AddRange(1, 1<<32-1)
	errStop := errors.New("stop")
	ends := map[string]func(c *Conn, cancel func()){
		"cancel": func(_ *Conn, cancel func()) { cancel() },
		"abort":  func(c *Conn, _ func()) { c.Abort() },
		"close":  func(c *Conn, _ func()) { c.Close() },
	}
	for name, tt := range map[string]struct {
		serve func(p *peer)
		do    func(ctx context.Context, c *Conn, end func()) error
		ends  bool // do calls end, or fails by itself
	}{
		"command": {serve: hang, do: func(ctx context.Context, c *Conn, _ func()) error {
			_, err := c.Command(ctx, nil, Raw("NOOP"))
			return err
		}},
		"literal": {serve: hang, do: func(ctx context.Context, c *Conn, _ func()) error {
			_, err := c.Command(ctx, nil, Raw("CREATE"), Str("\xc3\xa9"))
			return err
		}},
		"upload": {serve: func(p *peer) { time.Sleep(time.Second) }, do: func(ctx context.Context, c *Conn, _ func()) error {
			_, err := c.Command(ctx, nil, Raw("APPEND"), Literal(1<<40, zeros{}))
			return err
		}},
		"list": {serve: flood, do: func(ctx context.Context, c *Conn, _ func()) error {
			return c.FetchList(ctx, all, Flags, 0, false, func(Item) error { return nil }, nil)
		}},
		"list, from within": {serve: flood, ends: true, do: func(ctx context.Context, c *Conn, end func()) error {
			return c.FetchList(ctx, all, Flags, 0, false, func(Item) error {
				end()
				return nil
			}, nil)
		}},
		"body": {serve: endless, do: func(ctx context.Context, c *Conn, _ func()) error {
			return c.FetchBodies(ctx, all, func(_ Item, _ int64, body io.Reader) error {
				_, err := io.Copy(io.Discard, body)
				return err
			})
		}},
		"body that nobody reads": {serve: endless, do: func(ctx context.Context, c *Conn, _ func()) error {
			return c.FetchBodies(ctx, all, func(Item, int64, io.Reader) error { return nil })
		}},
		"body, from within": {serve: endless, ends: true, do: func(ctx context.Context, c *Conn, end func()) error {
			return c.FetchBodies(ctx, all, func(_ Item, _ int64, body io.Reader) error {
				_, err := io.CopyN(io.Discard, body, 100_000)
				end()
				return err
			})
		}},
		"error in a body": {serve: endless, ends: true, do: func(ctx context.Context, c *Conn, _ func()) error {
			return c.FetchBodies(ctx, all, func(_ Item, _ int64, body io.Reader) error { return errStop })
		}},
		"many bodies": {serve: manySmall, do: func(ctx context.Context, c *Conn, _ func()) error {
			return c.FetchBodies(ctx, all, func(_ Item, _ int64, body io.Reader) error {
				_, err := io.Copy(io.Discard, body)
				return err
			})
		}},
		"error among many bodies": {serve: manySmall, ends: true, do: func(ctx context.Context, c *Conn, _ func()) error {
			return c.FetchBodies(ctx, all, func(Item, int64, io.Reader) error { return errStop })
		}},
	} {
		for how, end := range ends {
			t.Run(name+"/"+how, func(t *testing.T) {
				c := dialPeer(t, testCaps+" LITERAL+", tt.serve)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stop := func() { end(c, cancel) }
				if name == "literal" {
					c.caps["LITERAL+"] = false
				}
				if !tt.ends {
					time.AfterFunc(30*time.Millisecond, stop)
				}
				within(t, 10*time.Second, func() {
					err := tt.do(ctx, c, stop)
					if err == nil || how == "cancel" && !errors.Is(err, context.Canceled) && !errors.Is(err, errStop) {
						t.Errorf("error = %v", err)
					}
					if c.Err() == nil {
						t.Error("the connection counts as alive")
					}
					if _, err := c.Command(t.Context(), nil, Raw("NOOP")); err == nil {
						t.Error("a command after the end succeeds")
					}
					if _, err := fetchAll(t, c, 1); err == nil {
						t.Error("a fetch after the end succeeds")
					}
					c.Close()
					c.Close()
				})
			})
		}
	}
}

// A context that has ended before costs nothing.
func TestContextDone(t *testing.T) {
	c := dialPeer(t, testCaps, (*peer).rest)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Command(ctx, nil, Raw("NOOP")); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if err := c.FetchBodies(ctx, NewUIDSet(1), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if _, err := Dial(ctx, testConfig("127.0.0.1:1")); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	alive(t, c)
}

// Dial ends with its context, in each of its steps.
func TestCancelDial(t *testing.T) {
	noLeaks(t)
	for name, tt := range map[string]struct {
		mode  TLSMode
		serve func(p *peer)
	}{
		"greeting":  {TLSNone, func(p *peer) { p.line() }},
		"handshake": {TLSImplicit, func(p *peer) { _, _ = io.Copy(io.Discard, p.conn) }},
		"starttls":  {TLSStartTLS, func(p *peer) { p.send("* OK ready"); _, _ = io.Copy(io.Discard, p.conn) }},
		"login":     {TLSNone, func(p *peer) { p.send("* OK [CAPABILITY " + testCaps + "] x"); _, _ = io.Copy(io.Discard, p.conn) }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(listen(t, tt.serve))
			cfg.TLS = tt.mode
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			within(t, 4*time.Second, func() {
				if _, err := Dial(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error = %v", err)
				}
			})
		})
	}
	t.Run("connect", func(t *testing.T) {
		cfg := testConfig("127.0.0.1:1")
		cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Err: errors.New("operation was canceled")}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := Dial(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v", err)
		}
	})
}

// A panic in a callback comes out where the command was called.
func TestPanicInCallback(t *testing.T) {
	noLeaks(t)
	c := script(t, "* 1 FETCH (UID 1 FLAGS ())\r\nTAG OK done\r\n")
	within(t, 5*time.Second, func() {
		defer func() {
			if v := recover(); v != "ouch" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = c.FetchList(t.Context(), NewUIDSet(1), Flags, 0, false, func(Item) error { panic("ouch") }, nil)
		t.Error("no panic")
	})
}
