package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	gosync "sync"

	"postbag/internal/auth"
	"postbag/internal/config"
	"postbag/internal/imapconn"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
)

// closers are things to be closed, the last one first.
type closers []io.Closer

func (c *closers) add(one io.Closer) { *c = append(*c, one) }

// Close closes all and joins the errors.
func (c closers) Close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].Close())
	}
	return errors.Join(errs...)
}

// withFlags is a copy of an account with what the flags say in place of what
// the configuration says.
func (o *options) withFlags(a *config.Account) *config.Account {
	b := *a
	set(&b.Connections, o.connections)
	set(&b.LimitRate, o.limitRate)
	set(&b.LimitMessages, o.pace)
	set(&b.LimitDayUp, o.dayUp)
	set(&b.LimitDayDown, o.dayDown)
	set(&b.Refused, o.refused)
	set(&b.Fix, o.fix)
	set(&b.Gmail, o.gmail)
	set(&b.TLSCA, o.tlsCA)
	set(&b.Auth, o.mechanism)
	set(&b.Layout, o.layout)
	set(&b.State, o.state)
	set(&b.MaxDelete, o.maxDelete)
	set(&b.Larger, o.filter.larger)
	set(&b.Smaller, o.filter.smaller)
	set(&b.Since, o.filter.since)
	set(&b.Before, o.filter.before)
	set(&b.Policy, o.policy)
	set(&b.Trash, o.trash)
	set(&b.ToServer, o.toServer)
	set(&b.ToMaildir, o.toMaildir)
	b.DelMailboxes = b.DelMailboxes || o.delBoxes
	b.Subscriptions = b.Subscriptions || o.subscribe
	if o.tlsPins != nil {
		b.TLSPins = o.tlsPins
	}
	if o.tunnel != nil {
		b.Tunnel = o.tunnel
	}
	if !o.password.IsZero() {
		b.Password = o.password
	}
	if o.mailboxes != nil {
		b.Usual, b.Mailboxes = b.Mailboxes, o.mailboxes
	}
	b.AllowPlaintext = b.AllowPlaintext || o.plaintext
	b.Mirror = b.Mirror || o.mirror
	return &b
}

// accountOf is the account of a place with the flags: that of the configuration, or one
// that knows nothing but the place.
func (o *options) accountOf(e endpoint) *config.Account {
	a := e.account
	if a == nil {
		a = &config.Account{}
	}
	a = o.withFlags(a)
	a.Maildir = e.maildir
	return a
}

// set overrides a value with one that was given.
func set[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

// openServer logs in to an account. What it opens beside the connection is
// added to open.
func (s *session) openServer(a *config.Account, trace string, open *closers) (*imapstore.Store, error) {
	conn, err := s.connConfig(a)
	if err != nil {
		return nil, err
	}
	if trace != "" {
		w, err := openTrace(trace)
		if err != nil {
			return nil, err
		}
		open.add(w)
		conn.Trace = w
	}
	cfg := imapstore.Config{
		Conn: conn, Connections: a.Connections, Account: a.Server.Identity(), Provider: a.Provider, Trash: a.Trash,
		MessagesPerSecond: a.LimitMessages, Log: s.out.note, DayUp: a.LimitDayUp, DayDown: a.LimitDayDown,
	}
	if b := s.newBudget(a); b != nil {
		cfg.Budget = b
		open.add(b) // closed after the store, which counts
	}
	store, err := imapstore.Open(s.ctx, cfg)
	if err != nil {
		return nil, serverError(a, err)
	}
	open.add(store)
	s.out.note("logged in to %s, with at most %s", a.Server, count(store.Connections(), "connection"))
	if quirks := store.Quirks(); len(quirks) > 0 {
		s.out.note("the server is known for: %s", strings.Join(quirks, ", "))
	}
	return store, nil
}

// serverError says which server failed. One that waits for TLS, where STARTTLS
// waits for its greeting, is silent.
func serverError(a *config.Account, err error) error {
	err = at(a.Server.String(), err)
	_, spoke := errors.AsType[*imapconn.StatusError](err)
	if e := mail.AsError(err); !spoke && e.Hint == "" && e.Kind == mail.KindUnreachable && a.Server.Scheme == "imap" && a.Tunnel == nil {
		e.Hint = "a server that speaks TLS from the start (usually port 993) is written imaps://"
	}
	return err
}

// connConfig makes a connection's configuration of an account's.
func (s *session) connConfig(a *config.Account) (imapconn.Config, error) {
	if a.AllowPlaintext && a.Server.Scheme == "imaps" {
		return imapconn.Config{}, usageError("--allow-plaintext", "write imap:// for a server without TLS", "does not go with imaps://")
	}
	if a.Server.User == "" && a.Tunnel == nil {
		return imapconn.Config{}, usageError("server "+a.Server.String(), "write imaps://user@host", "names no user")
	}
	conn := imapconn.Config{
		Addr: a.Server.Addr(), Pins: a.TLSPins, Tunnel: a.Tunnel, Compress: !a.NoCompress,
		ClientID: map[string]string{"name": "postbag", "version": s.env.Version},
		Auth:     imapconn.Auth{Mechanism: a.Auth, User: a.Server.User, Secret: s.secret(a)},
	}
	if a.Server.Scheme == "imap" {
		conn.TLS = imapconn.TLSStartTLS
		if a.AllowPlaintext {
			conn.TLS, conn.AllowPlaintext = imapconn.TLSNone, true
		}
	}
	if a.TLSCA != "" {
		roots, err := readRoots(a.TLSCA)
		if err != nil {
			return imapconn.Config{}, err
		}
		conn.TLSConfig = &tls.Config{RootCAs: roots}
	}
	if a.LimitRate > 0 {
		if a.Tunnel != nil {
			return imapconn.Config{}, usageError("limit_rate", "limit the rate within the tunnel", "does not go with a tunnel")
		}
		r := &rate{perSecond: a.LimitRate}
		conn.Dial = r.dial
	}
	return conn, nil
}

// secret is where the password comes from, once for all connections.
func (s *session) secret(a *config.Account) func(context.Context) (string, error) {
	sys := auth.System{LookupEnv: s.env.LookupEnv, Inherit: s.env.Ask != nil}
	if s.env.Ask != nil {
		sys.Ask = func(ctx context.Context, prompt string) (string, error) {
			s.asking.Store(true)
			defer s.asking.Store(false)
			return s.env.Ask(ctx, prompt)
		}
	}
	what := "Password"
	if auth.IsToken(a.Auth) {
		what = "Token"
	}
	prompt := s.out.stderr.escape(fmt.Sprintf("%s for %s: ", what, a.Server.Identity()))
	return auth.Once(a.Password, sys, prompt, auth.IsToken(a.Auth), s.env.Now)
}

// readRoots reads certificates to trust.
func readRoots(path string) (*x509.CertPool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError("certificates "+path, "", "%w", bare(err))
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, 16<<20))
	if err != nil {
		return nil, usageError("certificates "+path, "", "%w", bare(err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usageError("certificates "+path, "", "holds no certificate in PEM form")
	}
	return roots, nil
}

// trace is a file that several connections write lines to.
type trace struct {
	mu gosync.Mutex
	f  *os.File
}

// openTrace opens the file to add to it. It is for the user alone: names of
// mailboxes and flags are in it.
func openTrace(path string) (*trace, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, usageError("trace "+path, "", "%w", bare(err))
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		if err := f.Chmod(0o600); err != nil {
			return nil, errors.Join(usageError("trace "+path, "", "%w", bare(err)), f.Close())
		}
	}
	return &trace{f: f}, nil
}

func (t *trace) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.f.Write(p)
}

func (t *trace) Close() error { return t.f.Close() }

// bare takes the path out of a file error: the message has it already.
func bare(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// at says where an error of a store happened, when it does not do so itself.
func at(where string, err error) error {
	e := *mail.AsError(err)
	e.Err, e.Op, e.Mailbox, e.Ref = err, where, "", mail.Ref{}
	return &e
}
