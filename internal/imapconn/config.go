package imapconn

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"
)

// TLSMode says how a connection is encrypted.
type TLSMode uint8

// The modes.
const (
	TLSImplicit TLSMode = iota // TLS from the first byte (RFC 8314), port 993
	TLSStartTLS                // STARTTLS, mandatory: without it no login, port 143
	TLSNone                    // plaintext: to loopback only, unless AllowPlaintext
)

// Config describes one connection. The zero value of every field but Addr (or
// Tunnel) and Auth is a good choice. It is not changed, and may be shared.
type Config struct {
	Addr       string // host:port
	ServerName string // the name in the certificate; the host of Addr when ""
	TLS        TLSMode
	// TLSConfig holds roots and client certificates; nil for the system's. TLS
	// 1.2 is the least, and verification is never off, whatever it says.
	TLSConfig *tls.Config
	// Pins are SHA-256 digests of SubjectPublicKeyInfo (RFC 7469, 2.4). When
	// set, one must match the server's own certificate, and a match replaces the
	// check of CA and name: that is for self-signed bridges on this host.
	Pins           [][]byte
	AllowPlaintext bool // TLSNone to a host that is not loopback
	// Tunnel is the argument vector of a command that speaks IMAP on its
	// standard streams. There is no TLS then, and PREAUTH is accepted.
	Tunnel []string
	// Dial makes the network connection, nil for a net.Dialer with a timeout of
	// 30 s. Proxies and tests set it.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Auth Auth // unused when a tunnel greets with PREAUTH
	// ClientID are the fields of our ID command (RFC 2971); nil sends none.
	ClientID map[string]string
	Compress bool // COMPRESS=DEFLATE (RFC 4978) when offered
	// IdleTimeout is how long nothing may move in either direction while an
	// answer is awaited: 60 s when 0. A slow transfer never times out.
	IdleTimeout time.Duration
	// Trace gets a log of both directions, a line each, beginning with "C: " or
	// "S: ", escaped; literals show as their length, credentials never. Writes
	// come one at a time, from more than one goroutine. nil for none.
	Trace io.Writer
	// NoCaps are capabilities to ignore, in upper case.
	NoCaps []string
	// Greeted is told the text of the server's greeting, before the login: not of one
	// that came before STARTTLS, which anybody may have written. nil for nobody.
	Greeted func(text string)

	patience int64 // octets that nobody wants before the connection ends; 0 for maxUseless
}

// Auth says how to log in.
type Auth struct {
	// Mechanism is PLAIN, LOGIN, XOAUTH2 or OAUTHBEARER; "" takes what is offered
	// of PLAIN and LOGIN. There is no fallback from one that was named.
	Mechanism string
	User      string
	AuthzID   string // act as this user (PLAIN only); "" for User
	// Secret gives the password or the access token. It is asked at most once
	// for a connection, and only after encryption is up and the mechanism is
	// known to be offered.
	Secret func(ctx context.Context) (string, error)
}

func (cfg *Config) idleTimeout() time.Duration {
	if cfg.IdleTimeout > 0 {
		return cfg.IdleTimeout
	}
	return 60 * time.Second
}
