package imapstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// pool is the connections of an account. A session belongs to one goroutine
// from take to give.
type pool struct {
	cfg imapconn.Config
	// table is quirkTable; tests take rows away.
	table []Quirk
	log   func(string, ...any)
	now   func() time.Time
	// dial is imapconn.Dial.
	dial func(context.Context, imapconn.Config) (*imapconn.Conn, error)
	// alive ends when the pool closes, and every dialling with it.
	alive context.Context
	end   context.CancelFunc
	// warming is dialling that nobody waits for.
	warming sync.WaitGroup

	mu      sync.Mutex
	most    int // sessions and dials at a time
	dials   int // under way
	all     map[*session]bool
	idle    []*session // the least recently used first
	changed chan struct{}
	closed  bool
	known   bool // the server's quirks are known
	quirk   effect
	peer    peer
	broken  map[string]bool // capabilities that turned out not to work
}

var errClosed = errors.New("the account is closed")

func newPool(cfg Config, now func() time.Time) *pool {
	p := &pool{
		cfg: cfg.Conn, log: cfg.Log, now: now, dial: imapconn.Dial,
		most: max(cfg.Connections, 1), all: make(map[*session]bool), changed: make(chan struct{}),
		broken: make(map[string]bool), table: quirkTable,
		peer: peer{addr: cfg.Conn.Addr, preset: cfg.Provider},
	}
	if cfg.quirks != nil {
		p.table = cfg.quirks
	}
	p.cfg.Greeted = p.greeted
	p.alive, p.end = context.WithCancel(context.Background())
	p.lookUp()
	return p
}

// lookUp joins the quirks of what is known of the server. The caller holds the
// lock, or nobody else has the pool.
func (p *pool) lookUp() {
	p.quirk = quirksOf(p.table, p.peer)
	p.shrink(p.quirk.MaxConnections)
}

// greeted notes what the server says of itself before the login.
func (p *pool) greeted(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known && p.peer.greeting == "" {
		p.peer.greeting = text
		p.lookUp()
	}
}

// shrink lowers the number of sessions; 0 leaves it.
func (p *pool) shrink(n int) {
	if n > 0 {
		p.most = min(p.most, n)
	}
}

func (p *pool) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.most
}

func (p *pool) quirks() effect {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quirk
}

// take waits for a session, one that has the mailbox wire selected in the wanted
// mode where such a one is idle. It selects nothing itself.
func (p *pool) take(ctx context.Context, wire string, write bool) (*session, error) {
	s, err := p.wait(ctx, wire, write)
	if s != nil {
		p.own(ctx, s)
	}
	return s, err
}

// own hands a session to whoever took it.
func (p *pool) own(ctx context.Context, s *session) {
	s.owner = ctx
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.broken {
		s.deny[c] = true
	}
}

// spare is take for those who have a session already: it does not wait for one
// that another has, which may wait for theirs. nil when there is none.
func (p *pool) spare(ctx context.Context, wire string, write bool) *session {
	p.mu.Lock()
	if p.closed || ctx.Err() != nil {
		p.mu.Unlock()
		return nil
	}
	s := p.pick(wire, write)
	more := s == nil && len(p.all)+p.dials < p.most
	if more {
		p.dials++
	}
	p.mu.Unlock()
	if more {
		s, _ = p.add(ctx) // whatever it is, there is one connection
	}
	if s != nil {
		p.own(ctx, s)
	}
	return s
}

// warm dials one more connection beside what goes on, where there may be one:
// dialling takes several round trips.
func (p *pool) warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.all) == 0 || len(p.all)+p.dials >= p.most {
		return
	}
	p.dials++
	p.warming.Go(func() {
		s, err := p.add(p.alive)
		if s == nil {
			if err != nil && p.alive.Err() == nil {
				p.log("%v", err)
			}
			return
		}
		s.owner, s.used = p.alive, p.now()
		p.put(s)
	})
}

// distrust notes that a capability does not work, though it is offered.
func (p *pool) distrust(capability string) {
	p.log("the server offers %s and refuses it: going on without", capability)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken[capability] = true
}

func (p *pool) wait(ctx context.Context, wire string, write bool) (*session, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, &mail.Error{Scope: mail.ScopeAccount, Err: errClosed}
		}
		if sess := p.pick(wire, write); sess != nil {
			p.mu.Unlock()
			return sess, nil
		}
		if len(p.all)+p.dials < p.most {
			p.dials++
			p.mu.Unlock()
			sess, err := p.add(ctx)
			if sess != nil || err != nil {
				return sess, err
			}
			continue
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// pick takes the best idle session out: one with the mailbox selected, else one
// with none, else the least recently used. Dead ones are dropped on the way.
func (p *pool) pick(wire string, write bool) *session {
	p.idle = slices.DeleteFunc(p.idle, func(s *session) bool {
		if s.conn.Err() == nil {
			return false
		}
		p.drop(s)
		return true
	})
	best, score := -1, 0
	for i, s := range p.idle {
		n := 1
		switch {
		case wire != "" && s.has(wire, write):
			n = 3
		case !s.selected.Load():
			n = 2
		}
		if n > score {
			best, score = i, n
		}
	}
	if best < 0 {
		return nil
	}
	s := p.idle[best]
	p.idle = slices.Delete(p.idle, best, best+1)
	return s
}

// add dials one more session. It answers nil and no error when the server wants
// no more of them, and the caller has to wait for one that is there.
func (p *pool) add(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.alive, cancel)()
	cfg := p.cfg
	cfg.NoCaps = slices.Concat(cfg.NoCaps, p.quirks().Deny)
	conn, err := p.dial(ctx, cfg)
	if err == nil && p.quirks().Ahead == 1 {
		conn.ServerID() // which is there when the reply to what was said in the beginning is
		conn.Enabled("")
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.signal()
	p.dials--
	switch {
	case err == nil && p.closed:
		conn.Abort()
		return nil, &mail.Error{Scope: mail.ScopeAccount, Err: errClosed}
	case err == nil:
		s := newSession(conn, p.cfg.NoCaps)
		if !p.known { // what its capabilities tell; its ID is on its way
			p.peer.has = conn.Has
			p.lookUp()
		}
		s.heed(&p.quirk.Quirk)
		p.all[s] = true
		return s, nil
	case ctx.Err() != nil || len(p.all) == 0:
		return nil, p.quirk.explain(err)
	}
	// The same login worked before, so this is about their number: servers say
	// so in many ways, down to "wrong password".
	p.most = len(p.all)
	p.log("the server refuses connection %d, going on with %d: %v", p.most+1, p.most, err)
	return nil, nil
}

// learn looks up the quirks of the server when its ID is there. To ask for it
// before the first command would cost a round trip.
func (p *pool) learn(s *session) {
	if s.learned {
		return
	}
	s.learned = true
	quirk := p.meet(s.conn.Has, s.conn.ServerID())
	s.heed(&quirk.Quirk)
	s.can.qresync = s.can.condstore && s.offers("QRESYNC") && s.conn.Enabled("QRESYNC")
}

// meet takes in what the first session to ask tells of the server.
func (p *pool) meet(has func(string) bool, id map[string]string) effect {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known {
		return p.quirk
	}
	p.known, p.peer.has, p.peer.id = true, has, id
	before := p.most
	p.lookUp()
	if p.most < before {
		p.log("at most %d connections to this server (%v)", p.most, p.quirk.names())
	}
	return p.quirk
}

// give takes a session back.
func (p *pool) give(s *session) {
	if s.owner.Err() != nil {
		// Its end is the connection's, perhaps in a moment.
		s.conn.Abort()
	}
	if s.ran && s.conn.Err() == nil {
		p.learn(s)
	}
	s.used = p.now()
	p.put(s)
}

// put makes a session idle, or ends it when it is one too many.
func (p *pool) put(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.signal()
	if p.closed || s.conn.Err() != nil || len(p.all) > p.most {
		p.drop(s)
		return
	}
	p.idle = append(p.idle, s)
}

// drop forgets a session, and ends it beside: Close may take a moment.
func (p *pool) drop(s *session) {
	if !p.all[s] {
		return
	}
	delete(p.all, s)
	if s.conn.Err() != nil {
		s.conn.Abort()
		return
	}
	s.conn.Close()
}

// signal wakes everybody who waits for a session. The caller holds the lock.
func (p *pool) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// stale marks what sessions know of the counters of a mailbox as old.
func (p *pool) stale(wire string) {
	p.each(func(s *session) {
		if s.name() == wire {
			s.fresh.Store(false)
		}
	})
}

// arrived notes that messages arrived in a mailbox, which all sessions but one
// may not have heard of; all of them when except is nil.
func (p *pool) arrived(wire string, except *session) {
	p.each(func(s *session) {
		if s != except && s.name() == wire {
			s.behind.Store(true)
		}
	})
}

// forget makes sessions select a mailbox anew, because its name changed or it
// was deleted.
func (p *pool) forget() {
	p.each(func(s *session) { s.renamed.Store(true) })
}

func (p *pool) each(fn func(*session)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.all {
		fn(s)
	}
}

// close ends all sessions: idle ones with LOGOUT, those in use at once.
func (p *pool) close() {
	p.end()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	idle := p.idle
	p.idle = nil
	for s := range p.all {
		if slices.Contains(idle, s) {
			delete(p.all, s)
			continue
		}
		s.conn.Abort()
	}
	p.signal()
	p.mu.Unlock()
	p.warming.Wait()
	var wg sync.WaitGroup
	for _, s := range idle {
		wg.Go(func() { s.conn.Close() })
	}
	wg.Wait()
}
