package imapconn

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"postbag/internal/mail"
)

// Dial connects, encrypts, logs in and starts the library. The error is a
// *mail.Error of ScopeAccount: KindUnreachable, KindLogin, KindThrottled or
// KindUsage; the server's own reason is kept in it. When ctx ends before Dial
// does, Dial fails with its cause; afterwards ctx means nothing.
//
// Over TLS 1.3 to a server that lists its capabilities in the greeting and after
// login, the first command's answer is there after five round trips, counted
// from the start: TCP, TLS, greeting, login, command.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, dialError(cfg.Addr, err)
	}
	s, err := connect(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	release := s.wire.bind(ctx)
	defer release()
	// A server that drips may not hold us in the pre-session for ever.
	limit := time.AfterFunc(5*cfg.idleTimeout(), func() { s.wire.fail(errors.New("no login within a reasonable time")) })
	defer limit.Stop()
	c, err := s.open(ctx)
	if err != nil {
		s.wire.fail(errClosed)
		return nil, s.explain(err)
	}
	return c, nil
}

// session is a connection before the library sees it.
type session struct {
	cfg    *Config
	host   string // of the server, for TLS; "" with a tunnel
	wire   *wire
	tunnel *tunnel
	caps   map[string]bool // nil: not known
}

// connect makes the network connection, or starts the tunnel.
func connect(ctx context.Context, cfg *Config) (*session, error) {
	s := &session{cfg: cfg}
	tr := &trace{w: cfg.Trace}
	if len(cfg.Tunnel) > 0 {
		t, err := startTunnel(cfg.Tunnel)
		if err != nil {
			return nil, &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUnreachable, Op: "start the tunnel", Err: err}
		}
		s.tunnel = t
		s.wire = newWire(t, cfg, tr)
		return s, nil
	}
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil || host == "" {
		return nil, usage("the server's address %q is not host:port", cfg.Addr)
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	if cfg.TLS == TLSNone && !cfg.AllowPlaintext && !isLoopback(host) {
		e := usage("%s is not this machine, and there is to be no encryption", host)
		e.Hint = "use TLS; where that cannot be, --allow-plaintext sends password and mail in the clear"
		return nil, e
	}
	if s.host = cfg.ServerName; s.host == "" {
		s.host = host
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, dialError(cfg.Addr, err)
	}
	s.wire = newWire(conn, cfg, tr)
	return s, nil
}

func usage(format string, args ...any) *mail.Error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "connect", Err: fmt.Errorf(format, args...)}
}

// isLoopback reports whether host is this machine by its name: a name that is
// looked up may be anybody's.
func isLoopback(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// explain makes err one of this connection, and adds what only the end of a
// tunnel's command tells.
func (s *session) explain(err error) error {
	op := "connect"
	if was, ok := errors.AsType[*mail.Error](err); ok && was.Op != "" {
		op = was.Op
	}
	e := lostError(op, err)
	e.Scope = mail.ScopeAccount
	if e.Kind == mail.KindProtocol {
		e.Temporary = false // it will greet the next time as it did this time
	}
	if s.tunnel != nil {
		if text := s.tunnel.complaint(); text != "" {
			e.Err = fmt.Errorf("%w (the tunnel command says: %s)", e.Err, s.wire.trace.redact(text))
		}
	}
	return e
}

// open goes from the network connection to one that is logged in.
func (s *session) open(ctx context.Context) (*Conn, error) {
	mode := s.cfg.TLS
	if s.tunnel != nil {
		mode = TLSNone
	}
	if mode == TLSImplicit {
		if err := s.encrypt(ctx); err != nil {
			return nil, err
		}
	}
	greeting, err := s.greeting()
	if err != nil {
		return nil, err
	}
	preauth := greeting.Type == "PREAUTH"
	if preauth && s.tunnel == nil {
		// Before TLS it is an attack (RFC 9051, 7.1.4), behind it somebody
		// else's login.
		return nil, lostError("connect", protocolf("it says that we are logged in already (PREAUTH)"))
	}
	if mode == TLSStartTLS {
		if err := s.startTLS(ctx); err != nil {
			return nil, err
		}
	} else {
		s.takeCaps(greeting)
		if s.cfg.Greeted != nil {
			s.cfg.Greeted(greeting.Text)
		}
	}
	if err := s.needCaps(); err != nil {
		return nil, err
	}
	if !preauth {
		if err := s.login(ctx); err != nil {
			return nil, err
		}
	}
	return s.start(ctx)
}

// greeting waits for the server's first word.
func (s *session) greeting() (Status, error) {
	w := s.wire
	var c *command
	c = w.register(func(resp []byte) bool {
		r, ok := parseResponse(resp)
		switch {
		case ok && (r.Kind == "OK" || r.Kind == "PREAUTH" || r.Kind == "BYE"):
			c.status = r.Status
		default:
			c.status = Status{}
		}
		w.settle(c, nil)
		return true
	})
	if _, _, err := w.await(c, false); err != nil {
		return Status{}, lostError("connect", err)
	}
	switch c.status.Type {
	case "BYE":
		return Status{}, byeError(c.status)
	case "":
		return Status{}, lostError("connect", protocolf("what came is no IMAP greeting"))
	}
	return c.status, nil
}

// startTLS encrypts a plaintext connection. STARTTLS is sent whether it was
// offered or not: what was said before TLS proves nothing. Nothing of it is kept
// (RFC 9051, 6.2.1), and anything behind the OK is an injection.
func (s *session) startTLS(ctx context.Context) error {
	status, err := s.wire.run(-1, nil, Raw("STARTTLS"))
	if err != nil {
		return lostError("STARTTLS", err)
	}
	if status.Type != "OK" {
		e := classify("STARTTLS", status)
		e.Scope, e.Kind = mail.ScopeAccount, mail.KindUnreachable
		e.Hint = "the server offers no STARTTLS here, or somebody in between takes it away: use imaps:// (usually port 993)"
		return e
	}
	if s.wire.r != s.wire.w {
		return lostError("STARTTLS", protocolf("plaintext behind the OK to STARTTLS"))
	}
	return s.encrypt(ctx)
}

var errPin = errors.New("no pin matches the server's key")

// encrypt does the TLS handshake.
func (s *session) encrypt(ctx context.Context) error {
	w := s.wire
	conn := tls.Client(w.meter, s.tlsConfig())
	w.mu.Lock()
	w.beBusy()
	w.mu.Unlock()
	err := conn.HandshakeContext(ctx)
	w.mu.Lock()
	w.busy--
	w.mu.Unlock()
	if err != nil {
		if why := w.Err(); why != nil {
			return lostError("TLS with "+s.cfg.Addr, why)
		}
		var pin []byte
		if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok && len(e.UnverifiedCertificates) > 0 {
			pin = Pin(e.UnverifiedCertificates[0])
		}
		return tlsError(s.cfg.Addr, err, pin)
	}
	w.use(conn)
	return nil
}

// tlsConfig is the caller's, with our least demands.
func (s *session) tlsConfig() *tls.Config {
	conf := &tls.Config{}
	if s.cfg.TLSConfig != nil {
		conf = s.cfg.TLSConfig.Clone()
	}
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	conf.InsecureSkipVerify = false
	conf.ServerName = s.host
	if len(s.cfg.Pins) > 0 {
		// The check below takes the place of the one by authority and name.
		conf.InsecureSkipVerify = true
		also := conf.VerifyConnection
		conf.VerifyConnection = func(state tls.ConnectionState) error {
			if err := checkPin(state, s.cfg.Pins); err != nil {
				return err
			}
			if also != nil {
				return also(state)
			}
			return nil
		}
	}
	return conf
}

func checkPin(state tls.ConnectionState, pins [][]byte) error {
	if len(state.PeerCertificates) == 0 {
		return errPin
	}
	got := Pin(state.PeerCertificates[0])
	for _, pin := range pins {
		if subtle.ConstantTimeCompare(pin, got) == 1 {
			return nil
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: errPin}
}

// Pin is what Config.Pins holds for a certificate's key: the SHA-256 of its
// SubjectPublicKeyInfo.
func Pin(cert *x509.Certificate) []byte {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return sum[:]
}

// start does what comes after login: ID, ENABLE, COMPRESS, all in one write. Only
// COMPRESS is waited for.
func (s *session) start(ctx context.Context) (*Conn, error) {
	if err := s.needCaps(); err != nil {
		return nil, err
	}
	c := &Conn{wire: s.wire, tunnel: s.tunnel, caps: s.caps}
	var batch []*command
	var texts []string
	add := func(on func(resp []byte) bool, parts ...Part) *command {
		cmd := s.wire.register(on)
		segments, err := encode(cmd.tag, -1, parts)
		if err != nil || len(segments) != 1 {
			s.wire.settle(cmd, nil)
			return nil
		}
		batch, texts = append(batch, cmd), append(texts, segments[0].text)
		return cmd
	}
	if len(s.cfg.ClientID) > 0 && c.Has("ID") {
		c.id = add(c.takeID, idParts(s.cfg.ClientID)...)
	}
	if c.Has("ENABLE") && c.Has("QRESYNC") {
		c.enable = add(c.takeEnabled, Raw("ENABLE QRESYNC"))
	}
	var compress *command
	if s.cfg.Compress && c.Has("COMPRESS=DEFLATE") {
		compress = add(nil, Raw("COMPRESS DEFLATE"))
	}
	if err := s.wire.sendBatch(texts); err != nil {
		return nil, err
	}
	if compress != nil {
		if _, _, err := s.wire.await(compress, false); err != nil {
			return nil, err
		}
		if compress.status.Type == "OK" {
			s.wire.deflate()
		}
	}
	return c, c.greet(ctx)
}
