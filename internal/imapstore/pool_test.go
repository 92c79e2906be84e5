package imapstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

func testPool(t *testing.T, d server) {
	t.Run("no more than allowed", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, func(c *Config) { c.Connections = 2 })
		for n := range 8 {
			a.do("CREATE box%d", n)
			a.put(fmt.Sprintf("box%d", n), "", message(n))
		}
		a.list()
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				m, err := a.store.Examine(t.Context(), fmt.Sprintf("box%d", n))
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					delta, err := m.Changes(t.Context(), "", newKnown(), 10)
					if err != nil || len(delta.New) != 1 {
						t.Errorf("got %+v, %v", delta, err)
					}
					if got := fetchAll(t, m, refsOf(1)); len(got) != 1 {
						t.Errorf("got %d messages", len(got))
					}
				}
			})
		}
		wg.Wait()
		if n := len(a.proxy.Conns()); n > 2 {
			t.Errorf("got %d connections, want at most 2", n)
		}
	})
	t.Run("one selection for several calls", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, nil)
		a.put("INBOX", "", message(1))
		a.list()
		log := a.proxy.WireLog()
		s := a.open(nil)
		if _, err := s.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		m, err := s.Examine(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Changes(t.Context(), "", newKnown(), 10); err != nil {
			t.Fatal(err)
		}
		fetchAll(t, m, refsOf(1))
		fetchAll(t, m, refsOf(1))
		if got := log.Count("EXAMINE"); got != 1 {
			t.Errorf("got %d EXAMINEs, want 1", got)
		}
	})
	t.Run("cancelled while it waits", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, func(c *Config) { c.Connections = 1 })
		sess, err := a.store.pool.take(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := a.store.List(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that time is up", err)
		}
		a.store.pool.give(sess)
		a.list()
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, func(c *Config) { c.Connections = 2 })
		sess, err := a.store.pool.take(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		other, err := a.store.pool.take(t.Context(), "", false)
		if err != nil {
			t.Fatal(err)
		}
		waits := make(chan error)
		go func() {
			_, err := a.store.List(context.Background())
			waits <- err
		}()
		time.Sleep(10 * time.Millisecond)
		start := time.Now()
		for range 2 {
			if err := a.store.Close(); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("Close took %v", took)
		}
		if err := <-waits; !errors.Is(err, errClosed) {
			t.Errorf("got %v, want that the account is closed", err)
		}
		if sess.conn.Err() == nil || other.conn.Err() == nil {
			t.Error("a session in use was not ended")
		}
		a.store.pool.give(sess)
		a.store.pool.give(other)
		if n := len(a.store.pool.all); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	t.Run("the server wants fewer", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, nil)
		dial := a.store.pool.dial
		var dials atomic.Int32
		a.store.pool.dial = func(ctx context.Context, cfg imapconn.Config) (*imapconn.Conn, error) {
			if dials.Add(1) > 0 {
				return nil, &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindLogin, Err: errors.New("Too many simultaneous connections")}
			}
			return dial(ctx, cfg)
		}
		for n := range 6 {
			a.do("CREATE box%d", n)
		}
		var wg sync.WaitGroup
		for n := range 6 {
			wg.Go(func() {
				m, err := a.store.Examine(t.Context(), fmt.Sprintf("box%d", n))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := m.Changes(t.Context(), "", newKnown(), 10); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := a.store.Connections(); got != 1 {
			t.Errorf("got a pool of %d, want 1", got)
		}
	})
	t.Run("quirk", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, func(c *Config) { c.Connections = 20 })
		a.list()
		if got := a.store.Connections(); got != 4 {
			t.Errorf("got a pool of %d, want the 4 that Dovecot's row says", got)
		}
		if got := a.store.Quirks(); !slices.Equal(got, []string{"Dovecot"}) {
			t.Errorf("got quirks %v", got)
		}
	})
	t.Run("refused login", func(t *testing.T) {
		t.Parallel()
		_, err := Open(t.Context(), Config{Conn: imapconn.Config{
			Addr: d.Target("").Addr, TLS: imapconn.TLSNone,
			Auth: imapconn.Auth{User: "x", Secret: func(context.Context) (string, error) { return "wrong", nil }},
		}})
		if e := mail.AsError(err); err == nil || e.Kind != mail.KindLogin || e.Scope != mail.ScopeAccount {
			t.Errorf("got %v, want a refused login", err)
		}
	})
}

func testLostConnections(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	for n := range 30 {
		a.put("INBOX", "", message(n))
	}
	m := a.selectMailbox("INBOX")
	// Connections that died while idle are nobody's business.
	for range 3 {
		a.proxy.CutAll(true)
		time.Sleep(20 * time.Millisecond)
		if got := a.list()["INBOX"].Messages; got != 30 {
			t.Errorf("got %d messages, want 30", got)
		}
		a.proxy.CutAll(false)
		if delta, err := m.Changes(t.Context(), "", newKnown(), 100); err != nil || len(delta.New) != 30 {
			t.Errorf("got %d new messages, %v", len(delta.New), err)
		}
	}
	// One that dies in the middle ends the mailbox, for now.
	n := 0
	err := m.Fetch(t.Context(), refsOf(1, 2, 3, 4, 5), func(f mail.Fetched) error {
		if n++; n == 1 {
			a.proxy.CutAll(true)
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
	if err != nil { // all of it may have been here already
		if e := mail.AsError(err); e.Scope != mail.ScopeMailbox || !e.Temporary || e.Mailbox != "INBOX" {
			t.Errorf("got %+v, want a temporary error of the mailbox", e)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = m.Fetch(ctx, refsOf(1, 2, 3), func(mail.Fetched) error { cancel(); return nil })
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if got := fetchAll(t, m, refsOf(1, 2)); len(got) != 2 {
		t.Errorf("got %d messages afterwards, want 2", len(got))
	}
}

// 200 mailboxes at 40 ms: everything from connecting to the listing in round
// trips, not in mailboxes.
func testLatency(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	for n := range 200 {
		a.do("CREATE box%d", n)
	}
	a.list() // Dovecot makes its indexes now
	const rtt = 40 * time.Millisecond
	a.proxy.RTT(rtt)
	log := a.proxy.WireLog()
	start := time.Now()
	s := a.open(nil)
	infos, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := time.Since(start)
	s.Close()
	all := time.Since(start)
	stamps := 0
	for _, info := range infos {
		if info.Stamp != "" {
			stamps++
		}
	}
	if stamps != 201 {
		t.Errorf("got %d mailboxes with a stamp, want 201", stamps)
	}
	var commands []string
	for _, c := range log.Commands() {
		commands = append(commands, c.Verb)
	}
	t.Logf("listed after %v, closed after %v: %v", listed, all, commands)
	if len(commands) > 5 || all > 5*time.Second { // 5 round trips take 0.2 s; a busy machine may take more
		t.Errorf("took %v and the commands %v", all, commands)
	}
	if n := log.Count("NAMESPACE") + log.Count("STATUS"); n > 0 {
		t.Errorf("asked for NAMESPACE or STATUS %d times", n)
	}
}
