package imapconn

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// meter is the network connection below TLS. It knows when octets moved last,
// which is all that decides whether a connection stalls, and it turns a write
// into as many as it takes: TLS cannot go on after half a write.
type meter struct {
	net.Conn
	start   time.Time    // monotonic base of moved
	moved   atomic.Int64 // when something moved, or when waiting for it began
	reading atomic.Bool  // somebody waits for the peer to send
	tick    time.Duration
	until   atomic.Int64 // when not 0, the end of all writing, like moved
	unsent  int          // of the watchdog alone: the kernel's queue at the last look
}

func newMeter(conn net.Conn, idle time.Duration) *meter {
	return &meter{Conn: conn, start: time.Now(), tick: max(idle/4, time.Millisecond)}
}

func (m *meter) touch() { m.moved.Store(int64(time.Since(m.start))) }

// idle is for how long nothing has moved while the peer was waited for; 0 while
// nobody waits: a slow disk on our side is no fault of the peer.
func (m *meter) idle() time.Duration {
	if !m.reading.Load() {
		return 0
	}
	// What the kernel still drains towards the peer moves, although no call of
	// ours shows it: the last megabyte of an upload may take minutes.
	if n := unsentBytes(m.Conn); n > 0 && n != m.unsent {
		m.unsent = n
		m.touch()
		return 0
	}
	return time.Since(m.start) - time.Duration(m.moved.Load())
}

func (m *meter) Read(p []byte) (int, error) {
	m.touch()
	m.reading.Store(true)
	n, err := m.Conn.Read(p)
	m.reading.Store(false)
	if n > 0 {
		m.touch()
	}
	return n, err
}

// Write returns when all is written or the connection is closed; the watchdog
// closes it when nothing moves.
func (m *meter) Write(p []byte) (written int, err error) {
	for {
		deadline := time.Now().Add(m.tick)
		until := m.until.Load()
		if until != 0 {
			deadline = m.start.Add(time.Duration(until))
		}
		// A connection without deadlines blocks in one Write, until it is closed.
		_ = m.Conn.SetWriteDeadline(deadline)
		n, err := m.Conn.Write(p[written:])
		written += n
		if n > 0 {
			m.touch()
		}
		if written == len(p) {
			return written, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || until != 0 {
			return written, err
		}
	}
}

// finishBy bounds all writing from now on.
func (m *meter) finishBy(d time.Duration) {
	m.until.Store(int64(time.Since(m.start) + d))
	_ = m.Conn.SetWriteDeadline(time.Now().Add(d))
}

// SetDeadline and its kin do nothing: TLS's and the library's deadlines are
// absolute, and would end a transfer that moves.
func (m *meter) SetDeadline(time.Time) error      { return nil }
func (m *meter) SetReadDeadline(time.Time) error  { return nil }
func (m *meter) SetWriteDeadline(time.Time) error { return nil }
