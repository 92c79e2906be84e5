package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
)

// Options say what a Server is like. The zero Options make a server without
// users on a free port.
type Options struct {
	Users map[string]string // name -> password; each begins with an empty INBOX
	TLS   bool              // also listen with TLS, and offer STARTTLS on the plain port
	Caps  []string          // capabilities to offer; nil for DefaultCaps
	// MaxMessage is the size of the largest message that APPEND takes
	// (APPENDLIMIT, RFC 7889); 0 for 1 GiB.
	MaxMessage uint32
	// Before, when set, is called before each command that touches mail, with its
	// verb ("SELECT", "FETCH", "APPEND", ...) and the mailbox it names or works in.
	// An *imap.Error is what the server answers in place of doing it; ErrHangUp
	// makes it close the connection without a word. Several sessions may call it
	// at once.
	Before func(user, verb, mailbox string) error
	// Log gets what the server finds worth a line; nil for nothing.
	Log io.Writer
}

// ErrHangUp closes the connection (see Options.Before).
var ErrHangUp = errors.New("connection closed on purpose")

// DefaultCaps are the capabilities that a Server offers; LITERAL-, SASL-IR,
// UNSELECT, ENABLE, IDLE, UTF8=ACCEPT and APPENDLIMIT are always there. It has
// neither CONDSTORE nor MULTIAPPEND.
var DefaultCaps = []string{
	"IMAP4rev1", "NAMESPACE", "UIDPLUS", "ESEARCH", "LIST-EXTENDED", "LIST-STATUS", "MOVE", "STATUS=SIZE",
	"CHILDREN", "SPECIAL-USE", "CREATE-SPECIAL-USE", "LITERAL+",
}

// Server is an IMAP server in this process, on 127.0.0.1. All mail is in memory.
type Server struct {
	options  Options
	accounts map[string]*Account
	cert     *Certificate // nil without TLS
	imap     *imapserver.Server
	plain    *listener
	secure   *listener // nil without TLS

	serving  sync.WaitGroup     // the accept loops
	cancel   context.CancelFunc // lets go of the caller's context
	closing  sync.Once
	closeErr error
}

// Start starts a server on free ports of 127.0.0.1. It stops when ctx ends or at
// Close.
func Start(ctx context.Context, o Options) (*Server, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Server{options: o, accounts: map[string]*Account{}, cancel: cancel}
	for user, password := range o.Users {
		s.accounts[user] = newAccount(password)
	}
	var tlsConfig *tls.Config
	if o.TLS {
		var err error
		if s.cert, err = NewCertificate(); err == nil {
			tlsConfig, err = s.cert.ServerConfig()
		}
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	logTo := o.Log
	if logTo == nil {
		logTo = io.Discard
	}
	s.imap = imapserver.New(&imapserver.Options{
		NewSession: func(c *imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return &session{server: s, conn: c, done: owner(c.NetConn()).open.Done}, nil, nil
		},
		Caps: capSet(o.Caps), TLSConfig: tlsConfig, InsecureAuth: true,
		Logger: log.New(logTo, "imap: ", 0),
	})
	var err error
	if s.plain, err = s.serve(nil); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if tlsConfig != nil {
		if s.secure, err = s.serve(tlsConfig); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return s, nil
}

func capSet(names []string) imap.CapSet {
	if names == nil {
		names = DefaultCaps
	}
	set := imap.CapSet{}
	for _, name := range names {
		set[imap.Cap(name)] = struct{}{}
	}
	return set
}

// serve opens a port and accepts on it, with TLS when config is set.
func (s *Server) serve(config *tls.Config) (*listener, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	l := &listener{Listener: tcp, conns: map[*conn]struct{}{}}
	var accept net.Listener = l
	if config != nil {
		accept = tls.NewListener(l, config)
	}
	s.serving.Go(func() { _ = s.imap.Serve(accept) })
	return l, nil
}

// Addr is the address of the plaintext port, "127.0.0.1:n".
func (s *Server) Addr() string { return s.plain.Addr().String() }

// TLSAddr is the address of the TLS port; "" when there is none.
func (s *Server) TLSAddr() string {
	if s.secure == nil {
		return ""
	}
	return s.secure.Addr().String()
}

// Certificate is what the server shows its clients; nil without TLS.
func (s *Server) Certificate() *Certificate { return s.cert }

// Account is the mail of a user; nil when there is no such user.
func (s *Server) Account(user string) *Account { return s.accounts[user] }

// Disconnect closes all connections, as a server that is restarted would. New
// ones are taken.
func (s *Server) Disconnect() {
	for _, l := range s.listeners() {
		l.closeAll(false)
	}
}

// Close stops the server, closes all connections, and waits for what serves
// them to end. It may be called twice.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.cancel()
		// A port that the server has not begun to accept on is unknown to it.
		for _, l := range s.listeners() {
			l.closeAll(true)
		}
		if s.imap != nil {
			if err := s.imap.Close(); !errors.Is(err, net.ErrClosed) {
				s.closeErr = err
			}
		}
		s.serving.Wait()
		for _, l := range s.listeners() {
			l.closeAll(true)
			l.open.Wait()
		}
	})
	return s.closeErr
}

func (s *Server) listeners() []*listener {
	return slices.DeleteFunc([]*listener{s.plain, s.secure}, func(l *listener) bool { return l == nil })
}

// listener remembers its connections: the library forgets those that it has
// accepted and not yet begun to serve.
type listener struct {
	net.Listener
	open sync.WaitGroup // one for each connection, until its session is closed

	mu     sync.Mutex
	closed bool
	conns  map[*conn]struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			_ = c.Close() // too late to serve it, and nobody waits for an answer
			continue
		}
		tracked := &conn{Conn: c, owner: l}
		l.conns[tracked] = struct{}{}
		l.open.Add(1)
		l.mu.Unlock()
		return tracked, nil
	}
}

// closeAll closes the connections and, when for good, the listener.
func (l *listener) closeAll(forGood bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if forGood && !l.closed {
		l.closed = true
		_ = l.Listener.Close() // the library closes it again and reports
	}
	for c := range l.conns {
		_ = c.Conn.Close() // a connection that is cut off has no one to tell
	}
}

// conn is a connection of a listener.
type conn struct {
	net.Conn
	owner *listener
}

// Close may be called more than once.
func (c *conn) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.conns, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// owner finds the listener that a connection came from, with TLS or without.
func owner(c net.Conn) *listener {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return c.(*conn).owner
}
