package cli

import (
	"context"
	"net"
	gosync "sync"
	"syscall"
	"time"

	"postbag/internal/config"
	"postbag/state"
	"postbag/sync"
)

// rate is a budget of octets per second that several connections share. Both
// directions count.
type rate struct {
	perSecond int64
	mu        gosync.Mutex
	free      time.Time // when all that was taken will have been earned
}

// slice bounds what is moved at one go to a tenth of a second's worth, so that
// a connection is never silent for long.
func (r *rate) slice() int { return int(max(r.perSecond/10, 1)) }

// take spends n octets and waits until they are earned. A tenth of a second may
// be saved up. It answers early when ctx ends: the connection is then closed.
func (r *rate) take(ctx context.Context, n int) {
	r.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-time.Second / 10); r.free.Before(earliest) {
		r.free = earliest
	}
	r.free = r.free.Add(time.Duration(float64(n) / float64(r.perSecond) * float64(time.Second)))
	wait := r.free.Sub(now)
	r.mu.Unlock()
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// dial makes connections that keep to the rate.
func (r *rate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second}
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return r.limit(c), nil
}

// limit is c, slowed down.
func (r *rate) limit(c net.Conn) net.Conn {
	ctx, cancel := context.WithCancel(context.Background())
	return &limitedConn{Conn: c, rate: r, ctx: ctx, cancel: cancel}
}

// limitedConn is a connection of a rate. Its waits end when it is closed.
type limitedConn struct {
	net.Conn
	rate   *rate
	ctx    context.Context
	cancel context.CancelFunc
}

func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), c.rate.slice())])
	c.rate.take(c.ctx, n)
	return n, err
}

func (c *limitedConn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := c.Conn.Write(p[done:min(len(p), done+c.rate.slice())])
		done += n
		if err != nil {
			return done, err
		}
		c.rate.take(c.ctx, n)
	}
	return done, nil
}

// Close closes the connection before it ends the waits: a Write that no longer has to
// wait must not get through.
func (c *limitedConn) Close() error {
	defer c.cancel()
	return c.Conn.Close()
}

// SyscallConn lets the connection's queue be looked at, as that of a plain one.
func (c *limitedConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, syscall.EINVAL
}

// paced bounds the batches that go to an account to what it takes in two seconds
// at its pace: what was fetched when a run is interrupted is sent before it ends.
func paced(a *config.Account, side state.Side) (l sync.BatchLimits) {
	if a.LimitMessages > 0 {
		l.To[side] = int(min(max(2*a.LimitMessages, 1), 1e6))
	}
	return l
}
