package imapconn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"postbag/internal/mail"
)

// testTLS is a certificate for the scripted server and the pool that trusts it.
func testTLS(t testing.TB, host string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	certPEM, keyPEM := testCertificate(t, host, until)
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return cert, pool
}

// encrypt turns the peer's connection into TLS; false when the client does not
// come along.
func (p *peer) encrypt(cert tls.Certificate) bool {
	conn := tls.Server(p.conn, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err := conn.Handshake(); err != nil {
		return false
	}
	p.conn, p.r = conn, bufio.NewReader(conn)
	return true
}

// Whatever comes in plaintext, nothing but STARTTLS goes out, and nothing of it
// is believed.
func TestStartTLSInjection(t *testing.T) {
	cert, pool := testTLS(t, "127.0.0.1", time.Now().Add(time.Hour))
	const hello = "* OK ready\r\n"
	for name, tt := range map[string]struct {
		greeting, answer string // TAG is the tag of STARTTLS
		good             bool   // TLS comes about
	}{
		"plain":                       {hello, "TAG OK go\r\n", true},
		"not offered":                 {"* OK [CAPABILITY IMAP4rev1] ready\r\n", "TAG NO no\r\n", false},
		"BAD":                         {hello, "TAG BAD what\r\n", false},
		"NO":                          {hello, "TAG NO [UNAVAILABLE] later\r\n", false},
		"preauth":                     {"* PREAUTH welcome\r\n", "", false},
		"preauth with capabilities":   {"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome\r\n", "", false},
		"preauth in lower case":       {"* preauth welcome\r\n", "", false},
		"bye":                         {"* BYE go away\r\n", "", false},
		"http":                        {"HTTP/1.1 400 Bad Request\r\n", "", false},
		"smtp":                        {"220 mail.example.org ESMTP\r\n", "", false},
		"ssh":                         {"SSH-2.0-OpenSSH\r\n", "", false},
		"continuation as greeting":    {"+ idling\r\n", "", false},
		"tagged greeting":             {"P1 OK ready\r\n", "", false},
		"greeting is data":            {"* 3 EXISTS\r\n", "", false},
		"greeting is LIST":            {"* LIST () \"/\" x\r\n", "", false},
		"end":                         {"", "", false},
		"end after greeting":          {hello, "", false},
		"text behind the OK":          {hello, "TAG OK go\r\n* CAPABILITY IMAP4rev1 AUTH=LOGIN\r\n", false},
		"one octet behind the OK":     {hello, "TAG OK go\r\n*", false},
		"line end behind the OK":      {hello, "TAG OK go\r\n\r\n", false},
		"next reply behind the OK":    {hello, "TAG OK go\r\nP3 OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n", false},
		"login's reply behind the OK": {hello, "TAG OK go\r\n* CAPABILITY IMAP4rev1\r\nP3 OK x\r\nP4 OK x\r\n", false},
		"continuation behind the OK":  {hello, "TAG OK go\r\n+ \r\n", false},
		"bye behind the OK":           {hello, "TAG OK go\r\n* BYE x\r\n", false},
		"garbage behind the OK":       {hello, "TAG OK go\r\n\x16\x03\x01", false},
		"untagged OK for the tagged":  {hello, "* OK go\r\n", false},
		"another tag":                 {hello, "X99 OK go\r\n", false},
		"tagged nonsense":             {hello, "TAG PREAUTH go\r\n", false},
		"tagged BYE":                  {hello, "TAG BYE go\r\n", false},
		"continuation for the OK":     {hello, "+ go\r\n", false},
		"capabilities in the OK":      {hello, "TAG OK [CAPABILITY IMAP4rev1 AUTH=LOGIN LOGINDISABLED X-EVIL] go\r\n", true},
		"capabilities in greeting":    {"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED X-EVIL] ready\r\n", "TAG OK go\r\n", true},
		"capabilities between":        {hello, "* CAPABILITY IMAP4rev1 AUTH=LOGIN X-EVIL\r\nTAG OK go\r\n", true},
		"capabilities in an OK":       {hello, "* OK [CAPABILITY IMAP4rev1 X-EVIL] x\r\nTAG OK go\r\n", true},
		"untagged data":               {hello, "* 3 EXISTS\r\n* 1 FETCH (UID 1 FLAGS (\\Deleted))\r\n* 1 EXPUNGE\r\n* VANISHED 1:9\r\nTAG OK go\r\n", true},
		"enabled":                     {hello, "* ENABLED QRESYNC\r\nTAG OK go\r\n", true},
		"id":                          {hello, "* ID (\"name\" \"evil\")\r\nTAG OK go\r\n", true},
		"alert":                       {hello, "* NO [ALERT] install this update\r\nTAG OK go\r\n", true},
		"a second greeting":           {hello, "* PREAUTH welcome\r\nTAG OK go\r\n", true},
		"literal before":              {hello, "* LIST () \"/\" {5}\r\nTAG O\r\nTAG OK go\r\n", true},
		"referral":                    {hello, "TAG NO [REFERRAL imap://evil.example/] go\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var plain []string
			addr := listen(t, func(p *peer) {
				p.raw(tt.greeting)
				if tt.answer != "" {
					p.command()
					p.raw(strings.ReplaceAll(tt.answer, "TAG", p.tag))
				}
				if !tt.good {
					if tt.greeting == hello && tt.answer != "" && !strings.HasPrefix(name, "end") {
						p.line() // the client must say nothing more
					}
					mu.Lock()
					plain = p.seen
					mu.Unlock()
					return
				}
				mu.Lock()
				plain = p.seen
				mu.Unlock()
				p.seen = nil
				if !p.encrypt(cert) {
					return
				}
				p.answer("* CAPABILITY IMAP4rev1 AUTH=PLAIN", "TAG OK done")
				p.command()
				p.send("+ ")
				p.line()
				p.send("TAG OK done")
				p.answer("* CAPABILITY IMAP4rev1 X-GOOD", "TAG OK done")
				p.rest()
			})
			cfg := testConfig(addr)
			cfg.TLS, cfg.TLSConfig, cfg.IdleTimeout = TLSStartTLS, &tls.Config{RootCAs: pool}, time.Second
			cfg.Greeted = func(text string) { t.Errorf("the greeting %q was believed", text) }
			asked := false
			cfg.Auth.Secret = func(context.Context) (string, error) {
				asked = true
				return "hunter2", nil
			}
			c, err := Dial(t.Context(), cfg)
			if tt.good != (err == nil) || asked != tt.good {
				t.Fatalf("Dial: %v; asked for the password: %v; want TLS %v", err, asked, tt.good)
			}
			if err == nil {
				defer c.Close()
				if got := fmt.Sprint(c.Caps(), c.Enabled("QRESYNC"), c.ServerID()); got != "[IMAP4REV1 X-GOOD] false map[]" {
					t.Errorf("believed: %s", got)
				}
			} else if e := mail.AsError(err); e.Scope != mail.ScopeAccount || e.Kind == mail.KindLogin {
				t.Errorf("error = %#v", e)
			}
			mu.Lock()
			defer mu.Unlock()
			for i, line := range plain {
				if line != "P2 STARTTLS" || i > 0 {
					t.Errorf("in plaintext: %q", plain)
				}
			}
		})
	}
}

func TestTLSRefused(t *testing.T) {
	good, pool := testTLS(t, "127.0.0.1", time.Now().Add(time.Hour))
	expired, expiredPool := testTLS(t, "127.0.0.1", time.Now().Add(-time.Minute))
	other, otherPool := testTLS(t, "mail.example.org", time.Now().Add(time.Hour))
	for name, tt := range map[string]*struct {
		server tls.Config
		client Config
		hint   string
	}{
		"unknown authority": {tls.Config{Certificates: []tls.Certificate{good}}, Config{TLSConfig: &tls.Config{RootCAs: otherPool}}, "--tls-ca"},
		"expired":           {tls.Config{Certificates: []tls.Certificate{expired}}, Config{TLSConfig: &tls.Config{RootCAs: expiredPool}}, "clock"},
		"another name":      {tls.Config{Certificates: []tls.Certificate{other}}, Config{TLSConfig: &tls.Config{RootCAs: otherPool}}, "another name"},
		"wrong pin":         {tls.Config{Certificates: []tls.Certificate{good}}, Config{TLSConfig: &tls.Config{RootCAs: pool}, Pins: [][]byte{[]byte("x")}}, "--tls-pin"},
		"TLS 1.1":           {tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, Config{TLSConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10}}, "TLS 1.2"},
		"verification off":  {tls.Config{Certificates: []tls.Certificate{good}}, Config{TLSConfig: &tls.Config{InsecureSkipVerify: true, RootCAs: otherPool}}, "--tls-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := listen(t, func(p *peer) { _ = tls.Server(p.conn, &tt.server).Handshake() })
			cfg := testConfig(addr)
			cfg.TLS, cfg.TLSConfig, cfg.Pins = TLSImplicit, tt.client.TLSConfig, tt.client.Pins
			_, err := Dial(t.Context(), cfg)
			e := mail.AsError(err)
			if err == nil || e.Kind != mail.KindUnreachable || e.Temporary || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("error = %#v %v, want hint %q", e, err, tt.hint)
			}
		})
	}
	t.Run("no TLS there", func(t *testing.T) {
		addr := listen(t, func(p *peer) {
			p.send("* OK ready")
			p.line()
		})
		cfg := testConfig(addr)
		cfg.TLS = TLSImplicit
		_, err := Dial(t.Context(), cfg)
		if e := mail.AsError(err); err == nil || !strings.Contains(e.Hint, "does not speak TLS") {
			t.Errorf("error = %#v %v", e, err)
		}
	})
	t.Run("pin instead of authority and name", func(t *testing.T) {
		addr := listen(t, func(p *peer) {
			if p.encrypt(other) {
				p.login(testCaps)
				p.rest()
			}
		})
		leaf, err := x509.ParseCertificate(other.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		cfg := testConfig(addr)
		cfg.TLS, cfg.Pins = TLSImplicit, [][]byte{make([]byte, 32), Pin(leaf)}
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	t.Run("preauth behind TLS", func(t *testing.T) {
		addr := listen(t, func(p *peer) {
			if p.encrypt(good) {
				p.send("* PREAUTH [CAPABILITY IMAP4rev1] welcome")
				p.rest()
			}
		})
		cfg := testConfig(addr)
		cfg.TLS, cfg.TLSConfig = TLSImplicit, &tls.Config{RootCAs: pool}
		if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "PREAUTH") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	for name, tt := range map[string]struct {
		change func(*Config)
		kind   mail.Kind
		want   string
	}{
		"refused":          {func(*Config) {}, mail.KindUnreachable, "nothing listens"},
		"no port":          {func(cfg *Config) { cfg.Addr = "example.org" }, mail.KindUsage, ""},
		"no host":          {func(cfg *Config) { cfg.Addr = ":143" }, mail.KindUsage, ""},
		"plaintext abroad": {func(cfg *Config) { cfg.Addr = "192.0.2.1:143" }, mail.KindUsage, "--allow-plaintext"},
		"loopback by name": {func(cfg *Config) { cfg.Addr = "localhost.example:143" }, mail.KindUsage, "--allow-plaintext"},
		"no such host": {func(cfg *Config) {
			cfg.TLS = TLSImplicit
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
			}
		}, mail.KindUnreachable, "spelling"},
		"time-out": {func(cfg *Config) {
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }
		}, mail.KindUnreachable, "firewall"},
		"no tunnel": {func(cfg *Config) { cfg.Tunnel = []string{"/nonexistent/command"} }, mail.KindUnreachable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(closed)
			tt.change(&cfg)
			_, err := Dial(t.Context(), cfg)
			if e := mail.AsError(err); err == nil || e.Kind != tt.kind || e.Scope != mail.ScopeAccount || !strings.Contains(e.Hint, tt.want) {
				t.Errorf("error = %#v %v, want kind %d, hint %q", e, err, tt.kind, tt.want)
			}
		})
	}
	t.Run("unix address", func(t *testing.T) {
		if isLoopback("10.0.0.1") || !isLoopback("127.1.2.3") || !isLoopback("::1") || !isLoopback("LOCALHOST") {
			t.Error("isLoopback is wrong")
		}
	})
}

// Logging in: what the client sends, for what the server offers.
func TestLogin(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, tt := range map[string]struct {
		caps    string
		auth    Auth
		secret  string
		answers []string // to each line of the client; "TAG OK" when there are no more
		want    []string // lines of the client up to the end of login, without tags
		kind    mail.Kind
		err     string
		hint    string
		temp    bool
	}{
		"plain":                 {caps: "AUTH=PLAIN SASL-IR", want: []string{"AUTHENTICATE PLAIN " + b64("\x00bob\x00hunter2")}},
		"plain, two steps":      {caps: "AUTH=PLAIN", answers: []string{"+ "}, want: []string{"AUTHENTICATE PLAIN", b64("\x00bob\x00hunter2")}},
		"plain, bare plus":      {caps: "AUTH=PLAIN", answers: []string{"+"}, want: []string{"AUTHENTICATE PLAIN", b64("\x00bob\x00hunter2")}},
		"authzid":               {caps: "AUTH=PLAIN SASL-IR", auth: Auth{AuthzID: "alice"}, want: []string{"AUTHENTICATE PLAIN " + b64("alice\x00bob\x00hunter2")}},
		"login":                 {caps: "", want: []string{`LOGIN "bob" "hunter2"`}},
		"login is asked for":    {caps: "AUTH=PLAIN SASL-IR", auth: Auth{Mechanism: "login"}, want: []string{`LOGIN "bob" "hunter2"`}},
		"quotes":                {caps: "", secret: `a"b\c {5}`, want: []string{`LOGIN "bob" "a\"b\\c {5}"`}},
		"8 bit":                 {caps: "", secret: "pässword", answers: []string{"+ go"}, want: []string{`LOGIN "bob" {9}`, "pässword"}},
		"8 bit, LITERAL+":       {caps: "LITERAL+", secret: "pässword", answers: []string{""}, want: []string{`LOGIN "bob" {9+}`, "pässword"}},
		"8 bit, refused":        {caps: "", secret: "pässword", answers: []string{"TAG NO [AUTHENTICATIONFAILED] no"}, want: []string{`LOGIN "bob" {9}`}, kind: mail.KindLogin, err: "AUTHENTICATIONFAILED"},
		"login disabled":        {caps: "LOGINDISABLED", want: []string{}, kind: mail.KindLogin, err: "no way to log in"},
		"auth=login":            {caps: "LOGINDISABLED AUTH=LOGIN", answers: []string{"+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6"}, want: []string{"AUTHENTICATE LOGIN", b64("bob"), b64("hunter2")}},
		"only oauth":            {caps: "LOGINDISABLED AUTH=XOAUTH2", want: []string{}, kind: mail.KindLogin, err: "XOAUTH2", hint: "OAuth2"},
		"not offered":           {caps: "AUTH=PLAIN", auth: Auth{Mechanism: "XOAUTH2"}, want: []string{}, kind: mail.KindLogin, err: "does not offer"},
		"plain not offered":     {caps: "", auth: Auth{Mechanism: "PLAIN"}, want: []string{}, kind: mail.KindLogin},
		"authzid needs plain":   {caps: "", auth: Auth{AuthzID: "alice"}, want: []string{}, kind: mail.KindLogin},
		"unknown mechanism":     {caps: "AUTH=SCRAM-SHA-1", auth: Auth{Mechanism: "SCRAM-SHA-1"}, want: []string{}, kind: mail.KindLogin},
		"no downgrade":          {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG NO no"}, want: []string{"AUTHENTICATE PLAIN " + b64("\x00bob\x00hunter2")}, kind: mail.KindLogin, err: "no", hint: "app password"},
		"xoauth2":               {caps: "AUTH=XOAUTH2 SASL-IR", auth: Auth{Mechanism: "XOAUTH2"}, want: []string{"AUTHENTICATE XOAUTH2 " + b64("user=bob\x01auth=Bearer hunter2\x01\x01")}},
		"xoauth2 refused":       {caps: "AUTH=XOAUTH2 SASL-IR", auth: Auth{Mechanism: "XOAUTH2"}, answers: []string{"+ " + b64(`{"status":"400","schemes":"Bearer"}`), "TAG NO [AUTHENTICATIONFAILED] failed"}, want: []string{"AUTHENTICATE XOAUTH2 " + b64("user=bob\x01auth=Bearer hunter2\x01\x01"), ""}, kind: mail.KindLogin, err: `"status":"400"`},
		"xoauth2, two steps":    {caps: "AUTH=XOAUTH2", auth: Auth{Mechanism: "XOAUTH2"}, answers: []string{"+ ", "+ " + b64(`{"status":"401"}`), "TAG NO failed"}, want: []string{"AUTHENTICATE XOAUTH2", b64("user=bob\x01auth=Bearer hunter2\x01\x01"), ""}, kind: mail.KindLogin, err: "401"},
		"oauthbearer":           {caps: "AUTH=OAUTHBEARER SASL-IR", auth: Auth{Mechanism: "OAUTHBEARER", User: "a=b,c"}, want: []string{"AUTHENTICATE OAUTHBEARER " + b64("n,a=a=3Db=2Cc,\x01host=127.0.0.1\x01port=PORT\x01auth=Bearer hunter2\x01\x01")}},
		"oauthbearer refused":   {caps: "AUTH=OAUTHBEARER SASL-IR", auth: Auth{Mechanism: "OAUTHBEARER"}, answers: []string{"+ " + b64(`{"status":"invalid_token"}`), "TAG NO failed"}, want: []string{"AUTHENTICATE OAUTHBEARER " + b64("n,a=bob,\x01host=127.0.0.1\x01port=PORT\x01auth=Bearer hunter2\x01\x01"), "AQ=="}, kind: mail.KindLogin, err: "invalid_token"},
		"endless challenge":     {caps: "AUTH=XOAUTH2 SASL-IR", auth: Auth{Mechanism: "XOAUTH2"}, answers: strings.Split(strings.Repeat("+ x,", 20), ","), want: nil, kind: mail.KindProtocol, err: "without an end"},
		"challenge to plain":    {caps: "AUTH=PLAIN SASL-IR", answers: []string{"+ what"}, want: nil, kind: mail.KindProtocol},
		"throttled":             {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG NO [THROTTLED] Suggested Backoff Time: 1500 milliseconds"}, kind: mail.KindThrottled, temp: true},
		"too many":              {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG NO [ALERT] Too many simultaneous connections. (Failure)"}, kind: mail.KindThrottled, temp: true},
		"unavailable":           {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG NO [UNAVAILABLE] later"}, kind: mail.KindUnreachable, temp: true},
		"expired":               {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG NO [EXPIRED] old"}, kind: mail.KindLogin, hint: "renew"},
		"privacy":               {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG NO [PRIVACYREQUIRED] no"}, kind: mail.KindLogin, hint: "TLS"},
		"not connected":         {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG BAD User is authenticated but not connected."}, kind: mail.KindLogin, temp: true, hint: "licence"},
		"password in the reply": {caps: "AUTH=PLAIN SASL-IR", answers: []string{"TAG NO no such password: hunter2"}, kind: mail.KindLogin, err: "[secret]"},
		"bye":                   {caps: "AUTH=PLAIN SASL-IR", answers: []string{"* BYE [AUTHENTICATIONFAILED] hunter2 is wrong"}, kind: mail.KindLogin, err: "[secret] is wrong"},
		"NUL":                   {caps: "AUTH=PLAIN SASL-IR", secret: "a\x00b", want: []string{}, kind: mail.KindUsage},
		"line end":              {caps: "", secret: "a\r\nP9 DELETE INBOX", want: []string{}, kind: mail.KindUsage},
		"line end in the user":  {caps: "", auth: Auth{User: "x\r\nA1 DELETE INBOX"}, want: []string{}, kind: mail.KindUsage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := make(chan string, 100)
			addr := listen(t, func(p *peer) {
				defer close(lines)
				p.send("* OK [CAPABILITY IMAP4rev1 " + tt.caps + "] ready")
				line := p.line()
				if line == "" {
					return
				}
				p.tag, line, _ = strings.Cut(line, " ")
				lines <- line
				for _, answer := range tt.answers {
					if answer != "" {
						p.send(answer)
					}
					if strings.HasPrefix(answer, "TAG") || strings.HasPrefix(answer, "* BYE") {
						return
					}
					line, err := p.r.ReadString('\n')
					if err != nil {
						return
					}
					if strings.HasSuffix(strings.TrimSpace(line), "hunter2") {
						t.Error("the password went out in the clear")
					}
					lines <- strings.TrimSuffix(line, "\r\n")
				}
				p.send("TAG OK [CAPABILITY IMAP4rev1 X-AFTER] in")
				p.rest()
			})
			cfg := testConfig(addr)
			secret := tt.secret
			if secret == "" {
				secret = "hunter2"
			}
			cfg.Auth = tt.auth
			if cfg.Auth.User == "" {
				cfg.Auth.User = "bob"
			}
			asked := 0
			cfg.Auth.Secret = func(context.Context) (string, error) {
				asked++
				return secret, nil
			}
			var log bytes.Buffer
			cfg.Trace = &log
			c, err := Dial(t.Context(), cfg)
			if err == nil {
				if !c.Has("x-after") || c.Has("SASL-IR") {
					t.Errorf("capabilities after login = %v", c.Caps())
				}
				c.Close()
			}
			e := mail.AsError(err)
			if (err != nil) != (tt.kind != 0) || err != nil && (e.Kind != tt.kind || e.Scope != mail.ScopeAccount && tt.kind != mail.KindProtocol || e.Temporary != tt.temp ||
				!strings.Contains(err.Error(), tt.err) || !strings.Contains(e.Hint, tt.hint)) {
				t.Errorf("error = %#v %v; want kind %d, %q, hint %q", e, err, tt.kind, tt.err, tt.hint)
			}
			if name == "throttled" && e.RetryAfter != 1500*time.Millisecond {
				t.Errorf("RetryAfter = %v", e.RetryAfter)
			}
			if asked > 1 || asked == 1 && tt.want != nil && len(tt.want) == 0 && tt.kind != mail.KindUsage {
				t.Errorf("asked %d times for the password", asked)
			}
			if tt.want != nil {
				var got []string
				for line := range lines {
					got = append(got, line)
				}
				_, port, _ := net.SplitHostPort(addr)
				checkLines(t, got, tt.want, port)
			}
			if text := log.String() + fmt.Sprint(err); strings.Contains(text, secret) || strings.Contains(text, b64("\x00bob\x00"+secret)) {
				t.Errorf("the password shows:\n%s", text)
			}
		})
	}
}

// checkLines compares what a client sent; PORT within BASE64 is the server's.
func checkLines(t *testing.T, got, want []string, port string) {
	t.Helper()
	for i, line := range want {
		if name, blob, ok := strings.Cut(line, "OAUTHBEARER "); ok {
			raw, _ := base64.StdEncoding.DecodeString(blob)
			line = name + "OAUTHBEARER " + base64.StdEncoding.EncodeToString(bytes.Replace(raw, []byte("PORT"), []byte(port), 1))
		}
		if i >= len(got) || got[i] != line {
			t.Errorf("sent %q, want %q", got, want)
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// A password command's failure comes through as it is.
func TestLoginWithoutSecret(t *testing.T) {
	addr := listen(t, func(p *peer) {
		p.send("* OK [CAPABILITY " + testCaps + "] ready")
		p.rest()
	})
	cfg := testConfig(addr)
	cfg.Auth.Secret = func(context.Context) (string, error) { return "", errors.New("the keyring is locked") }
	_, err := Dial(t.Context(), cfg)
	if e := mail.AsError(err); e.Kind != mail.KindLogin || !strings.Contains(err.Error(), "keyring") {
		t.Errorf("error = %#v %v", e, err)
	}
	own := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Err: errors.New("two lines")}
	cfg.Auth.Secret = func(context.Context) (string, error) { return "", own }
	if _, err = Dial(t.Context(), cfg); mail.AsError(err).Kind != mail.KindUsage {
		t.Errorf("error = %v", err)
	}
}

// flightConn counts round trips: reads of data with a write before them.
type flightConn struct {
	net.Conn
	mu      sync.Mutex
	wrote   bool
	flights int
}

func (c *flightConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.wrote = true
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *flightConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 && c.wrote {
		c.flights++
		c.wrote = false
	}
	return n, err
}

// From nothing to the answer to LIST takes five round trips, one of them TCP's:
// ID, ENABLE and the first command go out in one flight.
func TestRoundTrips(t *testing.T) {
	cert, pool := testTLS(t, "127.0.0.1", time.Now().Add(time.Hour))
	addr := listen(t, func(p *peer) {
		if !p.encrypt(cert) {
			return
		}
		p.login(testCaps + " ID ENABLE QRESYNC CONDSTORE")
		id, tags := p.command(), []string{p.tag}
		enable := p.command()
		tags = append(tags, p.tag)
		list := p.command()
		tags = append(tags, p.tag)
		if id != `ID ("name" "post\"bag" "version" "1")` || enable != "ENABLE QRESYNC" || list != `LIST "" "*"` {
			p.send("* BYE wrong commands: " + id + "; " + enable + "; " + list)
			return
		}
		p.send(`* ID ("Name" "Odd" "os" NIL)`, tags[0]+" OK", "* ENABLED QRESYNC", tags[1]+" OK", `* LIST () "/" x`, tags[2]+" OK")
		p.rest()
	})
	var conn *flightConn
	cfg := testConfig(addr)
	cfg.TLS, cfg.TLSConfig = TLSImplicit, &tls.Config{RootCAs: pool}
	cfg.ClientID = map[string]string{"name": "post\"bag", "version": "1"}
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		conn = &flightConn{Conn: raw}
		return conn, err
	}
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	if _, err := c.Command(t.Context(), func(r Response) error {
		if r.Kind == "LIST" {
			n++
		}
		return nil
	}, Raw("LIST"), Str(""), Str("*")); err != nil || n != 1 {
		t.Fatalf("LIST: %d, %v", n, err)
	}
	if !c.Enabled("qresync") || !c.Enabled("CONDSTORE") || fmt.Sprint(c.ServerID()) != "map[name:Odd]" {
		t.Errorf("Enabled, ServerID = %v, %v", c.Enabled("QRESYNC"), c.ServerID())
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.flights > 4 {
		t.Errorf("%d round trips and that of TCP, want 4", conn.flights)
	}
}

// The text of a greeting is told before the login, which then may be refused.
func TestGreeted(t *testing.T) {
	t.Parallel()
	addr := listen(t, func(p *peer) {
		p.send("* OK [CAPABILITY " + testCaps + "] Known-IMAP ready. All rights reserved.")
		p.answer("TAG NO [AUTHENTICATIONFAILED] no")
		p.rest()
	})
	cfg := testConfig(addr)
	told := ""
	cfg.Greeted = func(text string) { told = text }
	_, err := Dial(t.Context(), cfg)
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindLogin || e.Hint != HintLogin {
		t.Errorf("got %v", err)
	}
	if told != "Known-IMAP ready. All rights reserved." {
		t.Errorf("got the greeting %q", told)
	}
}

func TestNoCaps(t *testing.T) {
	c := dialConfig(t, testCaps+" CONDSTORE QRESYNC ENABLE MOVE", func(cfg *Config) { cfg.NoCaps = []string{"QRESYNC", "MOVE"} }, (*peer).rest)
	if c.Has("QRESYNC") || c.Has("MOVE") || !c.Has("CONDSTORE") || c.Enabled("QRESYNC") {
		t.Errorf("Caps = %v", c.Caps())
	}
}

// Servers that say nothing of capabilities are asked.
func TestCapabilityIsAskedFor(t *testing.T) {
	var seen []string
	done := make(chan struct{})
	addr := listen(t, func(p *peer) {
		defer close(done)
		p.send("* OK Gimap ready")
		seen = append(seen, p.answer("* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR", "TAG OK"))
		seen = append(seen, p.answer("TAG OK")[:12])
		seen = append(seen, p.answer("* CAPABILITY IMAP4rev1 X-AFTER", "TAG OK"))
		p.rest()
	})
	c, err := Dial(t.Context(), testConfig(addr))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Has("X-AFTER") {
		t.Errorf("Caps = %v", c.Caps())
	}
	c.Close()
	<-done
	if got := strings.Join(seen, "; "); got != "CAPABILITY; AUTHENTICATE; CAPABILITY" {
		t.Errorf("commands: %s", got)
	}
}

// TestMain lets the test binary play the tunnel's command.
func TestMain(m *testing.M) {
	switch os.Getenv("IMAPCONN_TUNNEL") {
	case "imap":
		playTunnel()
		return
	case "fail":
		fmt.Fprintln(os.Stderr, "first line\nssh: connect to host mail.example.org port 22: Connection refused")
		os.Exit(255)
	case "deaf":
		fmt.Println("* PREAUTH [CAPABILITY IMAP4rev1] welcome\r")
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

func playTunnel() {
	fmt.Print("* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		tag, cmd, _ := strings.Cut(in.Text(), " ")
		if cmd == "LOGOUT" {
			return
		}
		fmt.Printf("* 5 EXISTS\r\n%s OK\r\n", tag)
	}
}

func TestTunnel(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command's environment is set with env(1)")
	}
	if _, err := exec.LookPath("env"); err != nil {
		t.Skip(err)
	}
	noLeaks(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tunnel := func(mode string, idle time.Duration) Config {
		return Config{Tunnel: []string{"env", "IMAPCONN_TUNNEL=" + mode, self}, IdleTimeout: idle}
	}
	c, err := Dial(t.Context(), tunnel("imap", 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if sel, err := c.Select(t.Context(), []byte("INBOX"), true); err != nil || sel.Exists != 5 {
		t.Errorf("Select = %+v, %v", sel, err)
	}
	within(t, 5*time.Second, func() { c.Close() })
	<-c.tunnel.exited

	_, err = Dial(t.Context(), tunnel("fail", 5*time.Second))
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindUnreachable || !strings.Contains(err.Error(), "port 22: Connection refused") {
		t.Errorf("error = %#v %v", e, err)
	}

	c, err = Dial(t.Context(), tunnel("deaf", 500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	within(t, 8*time.Second, func() {
		if _, err := c.Command(t.Context(), nil, Raw("NOOP")); err == nil || !strings.Contains(err.Error(), "nothing moved") {
			t.Errorf("error = %v", err)
		}
		c.Close()
		<-c.tunnel.exited
	})
}
