package imapconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"postbag/internal/mail"
)

// Reasons that a connection ended for.
var (
	errClosed  = errors.New("the connection was closed")
	errAborted = errors.New("the connection was given up")
	errEOF     = errors.New("the server closed the connection")
)

// protocolError is what the server did that no client can work with.
type protocolError struct{ what string }

func (e *protocolError) Error() string { return "the server broke the protocol: " + e.what }

func protocolf(format string, args ...any) error {
	return &protocolError{fmt.Sprintf(format, args...)}
}

// codeRule is what a response code means (RFC 5530, RFC 9051, 7.1).
type codeRule struct {
	kind      mail.Kind
	temporary bool
	hint      string
}

// HintLogin is the hint of a refused login when no more is known than that.
const HintLogin = "check user name and password; with two-step verification most providers want an app password, or OAuth2"

// HintOAuth is the hint when the server takes no password.
const HintOAuth = "the provider wants OAuth2"

const hintThrottled = "the server asks for a pause: run again later, or with fewer connections"

var codeRules = map[string]codeRule{
	"AUTHENTICATIONFAILED": {kind: mail.KindLogin, hint: HintLogin},
	"AUTHORIZATIONFAILED":  {kind: mail.KindLogin, hint: "this user may not act as the one that was asked for"},
	"EXPIRED":              {kind: mail.KindLogin, hint: "the password or token has expired: renew it"},
	"PRIVACYREQUIRED":      {kind: mail.KindLogin, hint: "the server takes this login over TLS only"},
	"WEBALERT":             {kind: mail.KindLogin, hint: "the provider wants a login in the web browser first; " + HintLogin},
	"UNAVAILABLE":          {kind: mail.KindUnreachable, temporary: true},
	"INUSE":                {kind: mail.KindRefused, temporary: true},
	"SERVERBUG":            {kind: mail.KindRefused, temporary: true},
	"THROTTLED":            {kind: mail.KindThrottled, temporary: true, hint: hintThrottled},
	"LIMIT":                {kind: mail.KindThrottled, temporary: true, hint: hintThrottled},
	"OVERQUOTA":            {kind: mail.KindQuota, hint: "the mailbox or account is full"},
	"TOOBIG":               {kind: mail.KindTooLarge, hint: "the server takes no message of this size"},
	"NONEXISTENT":          {kind: mail.KindGone},
	"TRYCREATE":            {kind: mail.KindGone},
	"EXPUNGEISSUED":        {kind: mail.KindGone, temporary: true},
	"ALREADYEXISTS":        {kind: mail.KindRefused},
	"NOPERM":               {kind: mail.KindRefused, hint: "the server's access rights forbid it"},
	"CONTACTADMIN":         {kind: mail.KindRefused, hint: "the server asks to have its administrator look at it"},
	"CLIENTBUG":            {kind: mail.KindProtocol},
}

// throttleWords are what servers without the code write when they want a pause.
var throttleWords = []string{
	"too many simultaneous connections", "too many connections", "maximum number of connections",
	"bandwidth limit", "command or bandwidth", "throttled", "rate limit", "too many requests",
	"suggested backoff time", "too many login", "temporarily blocked",
}

var backoffTime = regexp.MustCompile(`(?i)suggested backoff time:?\s*(\d{1,9})\s*milliseconds`)

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// classify makes a *mail.Error of a status that is no OK. The scope is that of a
// mailbox: who knows better sets another.
func classify(op string, s Status) *mail.Error {
	e := &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindRefused, Op: op, Err: &StatusError{s}}
	if s.Type == "BAD" {
		e.Kind = mail.KindProtocol
	}
	if rule, ok := codeRules[s.Code]; ok {
		e.Kind, e.Temporary, e.Hint = rule.kind, rule.temporary, rule.hint
	}
	text := strings.ToLower(s.Text)
	if s.Code == "LIMIT" && strings.Contains(text, "identical") {
		// A bound on one message's copies: waiting does not help.
		e.Kind, e.Temporary, e.Hint = mail.KindRefused, false, ""
	}
	for _, words := range throttleWords {
		if strings.Contains(text, words) {
			e.Kind, e.Temporary, e.Hint = mail.KindThrottled, true, hintThrottled
		}
	}
	if m := backoffTime.FindStringSubmatch(s.Text); m != nil {
		ms, err := strconv.Atoi(m[1])
		if err == nil {
			e.RetryAfter = min(time.Duration(ms)*time.Millisecond, maxRetryAfter)
		}
	}
	if e.Kind == mail.KindThrottled {
		e.Scope = mail.ScopeAccount
	}
	return e
}

// classifyLogin is classify for a refused login.
func classifyLogin(s Status) *mail.Error {
	e := classify("login", s)
	e.Scope = mail.ScopeAccount
	switch e.Kind {
	case mail.KindRefused, mail.KindProtocol, mail.KindGone:
		if !e.Temporary {
			e.Kind = mail.KindLogin
		}
	}
	if e.Kind == mail.KindLogin && e.Hint == "" {
		e.Hint = HintLogin
	}
	text := strings.ToLower(s.Text)
	if strings.Contains(text, "authenticated but not connected") {
		e.Temporary = true
		e.Hint = "Exchange says this for a wrong password, for a mailbox without licence or permission, and when it is overloaded"
	}
	return e
}

// lostError is a connection that broke: why is what it was lost for.
func lostError(op string, why error) *mail.Error {
	if e, ok := errors.AsType[*mail.Error](why); ok {
		with := *e
		with.Op = op
		return &with
	}
	e := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUnreachable, Temporary: true, Op: op, Err: why}
	switch {
	case errors.Is(why, context.Canceled), errors.Is(why, context.DeadlineExceeded),
		errors.Is(why, errClosed), errors.Is(why, errAborted):
		e.Kind, e.Temporary = mail.KindOther, false
	case errors.Is(why, io.EOF):
		e.Err = errEOF
	}
	if _, ok := errors.AsType[*protocolError](why); ok {
		e.Scope, e.Kind = mail.ScopeMailbox, mail.KindProtocol
	}
	return e
}

// byeError is a connection that the server ended with a reason.
func byeError(s Status) *mail.Error {
	e := classify("", s)
	e.Scope, e.Temporary = mail.ScopeAccount, e.Kind != mail.KindLogin
	if e.Kind == mail.KindRefused || e.Kind == mail.KindProtocol {
		e.Kind = mail.KindUnreachable
	}
	return e
}

// dialError is a connection that did not come about.
func dialError(addr string, err error) *mail.Error {
	e := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUnreachable, Temporary: true, Op: "connect to " + addr, Err: err}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind, e.Temporary = mail.KindOther, false
	case isDNS && dns.IsNotFound:
		e.Temporary = false
		e.Hint = "no such host: check the spelling of the server's name"
	case isDNS:
		e.Hint = "the name could not be looked up: check this machine's network and DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "nothing listens on that port: check port and server (993 for imaps, 143 for imap with STARTTLS)"
	case isNet && netErr.Timeout():
		e.Hint = "no answer: check server and port, and whether a firewall is in the way"
	}
	return e
}

// CertificateError is a server's certificate that was not accepted. Pin is what
// Config.Pins would have to hold to accept it, nil when the server showed none:
// to be compared with one from a trusted source before it is used.
type CertificateError struct {
	Pin []byte
	Err error
}

// Error is the reason.
func (e *CertificateError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *CertificateError) Unwrap() error { return e.Err }

// tlsError is a TLS handshake that failed.
func tlsError(addr string, err error, pin []byte) *mail.Error {
	e := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUnreachable, Op: "TLS with " + addr, Err: err}
	var (
		unknown   x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		notTLS    tls.RecordHeaderError
		alert     tls.AlertError
		protocol  *protocolError
		certError = true
	)
	switch {
	case errors.Is(err, errPin):
		e.Hint = "the server's key is not the one that --tls-pin names: do not go on unless you know why it changed"
	case errors.As(err, &unknown):
		e.Hint = "no authority that this machine trusts vouches for the certificate: name the right one with --tls-ca, or pin the server's key with --tls-pin"
	case errors.As(err, &name):
		e.Hint = "the certificate is for another name: use the server's proper name, or pin its key with --tls-pin"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Hint = "the certificate has expired or is not valid yet: check this machine's clock; if that is right, the server's owner must renew it"
	case errors.As(err, &invalid):
		e.Hint = "the certificate does not hold: name its authority with --tls-ca, or pin the server's key with --tls-pin"
	case errors.As(err, &notTLS):
		certError = false
		e.Hint = "the server does not speak TLS on this port: use imap:// for STARTTLS (usually port 143), or another port"
	case errors.As(err, &alert), strings.Contains(err.Error(), "protocol version"):
		certError = false
		e.Hint = "the server and postbag agree on no version of TLS or on no cipher: TLS 1.2 is the least that postbag takes"
	case errors.As(err, &protocol):
		return lostError(e.Op, err)
	default:
		certError = false
		e.Temporary = true
	}
	if certError {
		e.Err = &CertificateError{Pin: pin, Err: err}
	}
	return e
}
