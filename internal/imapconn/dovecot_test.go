package imapconn

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// dovecot is a private Dovecot for one test.
type dovecot struct {
	config    string
	imap      string // host:port with STARTTLS
	imaps     string
	authority *x509.CertPool
	pin       []byte
}

const dovecotConfig = `
protocols = imap
base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/log
listen = 127.0.0.1
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
disable_plaintext_auth = no
first_valid_uid = 1
default_internal_user = %[2]s
default_login_user = %[2]s
mail_max_userip_connections = 200
mail_plugins = $mail_plugins zlib
service imap-login {
  chroot =
  inet_listener imap {
    port = %[3]d
  }
  inet_listener imaps {
    port = %[4]d
    ssl = yes
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
passdb {
  driver = static
  args = password=hunter2
}
userdb {
  driver = static
  args = uid=%[5]s gid=%[6]s home=%[1]s/home/%%u
}
mail_location = sdbox:~/sdbox
mail_fsync = never
auth_failure_delay = 0
namespace inbox {
  inbox = yes
  separator = /
}
protocol imap {
  mail_plugins = $mail_plugins imap_zlib
}
`

// startDovecot starts a server, or skips the test on a machine without one.
func startDovecot(t testing.TB) *dovecot {
	t.Helper()
	if _, err := exec.LookPath("dovecot"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dovecot is not installed")
		}
		t.Skip("dovecot is not installed")
	}
	dir, err := os.MkdirTemp("", "pb-dovecot") // sockets want a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &dovecot{config: filepath.Join(dir, "dovecot.conf")}
	owner, uid, gid := mailUser(t)
	for _, sub := range []string{"home", "run"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cert, key := testCertificate(t, "127.0.0.1", time.Now().Add(time.Hour))
	d.authority = x509.NewCertPool()
	d.authority.AppendCertsFromPEM(cert)
	block, _ := pem.Decode(cert)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	d.pin = Pin(leaf)
	plain, secure := freePort(t), freePort(t)
	d.imap, d.imaps = fmt.Sprintf("127.0.0.1:%d", plain), fmt.Sprintf("127.0.0.1:%d", secure)
	for name, content := range map[string][]byte{
		"cert.pem": cert, "key.pem": key,
		"dovecot.conf": fmt.Appendf(nil, dovecotConfig, dir, owner, plain, secure, uid, gid),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A file, and not a pipe: the daemon keeps it open.
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	start := exec.Command("dovecot", "-c", d.config)
	start.Stdout, start.Stderr = out, out
	if err := start.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		t.Fatalf("dovecot does not start: %v\n%s", err, said)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("doveadm", "-c", d.config, "stop").CombinedOutput(); err != nil {
			t.Errorf("dovecot does not stop: %v\n%s", err, out)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("dovecot's log:\n%s", log)
		}
	})
	return d
}

// mailUser is who owns the mail: never root, which Dovecot refuses.
func mailUser(t testing.TB) (name, uid, gid string) {
	t.Helper()
	u, err := user.Current()
	if err == nil && u.Uid == "0" {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Skip(err)
	}
	return u.Username, u.Uid, u.Gid
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// testCertificate is a self-signed certificate and its key, in PEM.
func testCertificate(t testing.TB, host string, until time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

func (d *dovecot) settings(mode TLSMode, user string) Config {
	cfg := testConfig(d.imaps)
	if mode != TLSImplicit {
		cfg.Addr = d.imap
	}
	cfg.TLS, cfg.Auth.User = mode, user
	cfg.TLSConfig = &tls.Config{RootCAs: d.authority}
	cfg.ClientID = map[string]string{"name": "postbag", "version": "1"}
	return cfg
}

func (d *dovecot) dial(t testing.TB, cfg Config) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// appendMessages puts n messages into INBOX: message i has a size of its own.
func appendMessages(t testing.TB, c *Conn, n int, text func(i int) string) {
	t.Helper()
	for i := range n {
		body := text(i)
		s, err := c.Command(t.Context(), nil, Raw("APPEND INBOX (\\Seen Label)"), Literal(int64(len(body)), strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		if s.Code != "APPENDUID" {
			t.Fatalf("status of APPEND = %v, want APPENDUID", s)
		}
	}
}

func testMessage(i int) string {
	return fmt.Sprintf("From: a@example.org\r\nMessage-ID: <%d@example.org>\r\n\r\n%s\r\n", i, strings.Repeat("line of text\r\n", i*i%700))
}

// What a user does, over each way to connect.
func TestDovecot(t *testing.T) {
	noLeaks(t)
	d := startDovecot(t)
	t.Run("refused", func(t *testing.T) { refusedByDovecot(t, d) })
	for name, change := range map[string]func(*Config){
		"implicit": func(*Config) {},
		"starttls": func(cfg *Config) { cfg.TLS, cfg.Addr = TLSStartTLS, d.imap },
		"plain":    func(cfg *Config) { cfg.TLS, cfg.Addr = TLSNone, d.imap },
		"compress": func(cfg *Config) { cfg.Compress = true },
		"pinned":   func(cfg *Config) { cfg.TLSConfig, cfg.Pins, cfg.ServerName = nil, [][]byte{d.pin}, "other.example" },
		"login":    func(cfg *Config) { cfg.Auth.Mechanism = "LOGIN" },
		"tunnel":   func(cfg *Config) { cfg.Tunnel = []string{"doveadm", "-c", d.config, "exec", "imap", "-u", "tunnel"} },
		"bare": func(cfg *Config) {
			cfg.NoCaps = []string{"ENABLE", "QRESYNC", "CONDSTORE", "ESEARCH", "LITERAL+", "UNSELECT", "ID"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := d.settings(TLSImplicit, name)
			cfg.Trace = &log
			change(&cfg)
			c := d.dial(t, cfg)
			useDovecot(t, c, name)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "BODY.PEEK[]") {
				t.Errorf("trace holds the password, or too little:\n%s", log.String())
			}
		})
	}
}

func useDovecot(t *testing.T, c *Conn, name string) {
	ctx := t.Context()
	const n = 30
	appendMessages(t, c, n, testMessage)
	if want := name != "bare"; c.Enabled("QRESYNC") != want || c.Enabled("CONDSTORE") != want || (c.ServerID()["name"] == "Dovecot") != want {
		t.Errorf("Enabled, ServerID = %v, %v, want %v", c.Enabled("QRESYNC"), c.ServerID(), want)
	}
	sel, err := c.Select(ctx, []byte("INBOX"), false)
	if err != nil || sel.Exists != n || sel.UIDValidity == 0 || sel.UIDNext != n+1 || sel.ReadOnly || !sel.PermanentAny || sel.HighestModSeq == 0 && name != "bare" {
		t.Fatalf("Select = %+v, %v", sel, err)
	}
	set, err := c.Search(ctx, "ALL")
	if err != nil || set.String() != "1:30" {
		t.Errorf("Search = %q, %v", set, err)
	}
	var all UIDSet
	all.AddRange(1, 1000)
	listed := 0
	err = c.FetchList(ctx, all, Flags|Size|Date|HeaderMessageID, 0, false, func(it Item) error {
		listed++
		i := int(it.UID) - 1
		want := mail.HashMessageID(fmt.Sprintf("<%d@example.org>", i))
		if it.Size != int64(len(testMessage(i))) || it.Flags.String() != `\Seen Label` || it.Date.IsZero() || it.MessageID != want || !it.HasHeader {
			t.Errorf("item = %+v", it)
		}
		return nil
	}, nil)
	if err != nil || listed != n {
		t.Errorf("FetchList: %d messages, %v", listed, err)
	}
	fetched := 0
	err = c.FetchBodies(ctx, all, func(it Item, size int64, body io.Reader) error {
		fetched++
		b, err := io.ReadAll(body)
		if want := testMessage(int(it.UID) - 1); err != nil || string(b) != want || size != int64(len(want)) || !it.HasFlags || it.Date.IsZero() {
			t.Errorf("message %d: %d octets, size %d, %v, item %+v", it.UID, len(b), size, err, it)
		}
		return nil
	})
	if err != nil || fetched != n {
		t.Errorf("FetchBodies: %d messages, %v", fetched, err)
	}
	changes(t, c, sel)
	if err := c.Unselect(ctx); err != nil {
		t.Error(err)
	}
	_, err = c.Select(ctx, []byte("none"), true)
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindGone || e.Scope != mail.ScopeMailbox || e.Mailbox != "none" {
		t.Errorf("Select of a mailbox that does not exist: %#v", err)
	}
	list, err := c.Client().List("", "*", nil).Collect()
	if err != nil || len(list) != 1 || list[0].Mailbox != "INBOX" {
		t.Errorf("the library's LIST = %v, %v", list, err)
	}
}

// changes expunges and flags, and looks at what the extensions tell of it.
func changes(t *testing.T, c *Conn, sel Selected) {
	ctx := t.Context()
	for _, command := range []string{`UID STORE 3:4 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 3:4", `UID STORE 7 -FLAGS (\Seen)`} {
		if _, err := c.Command(ctx, nil, Raw(command)); err != nil {
			t.Fatal(err)
		}
	}
	if !c.Enabled("QRESYNC") {
		return
	}
	var all, gone UIDSet
	all.AddRange(1, 1<<32-1)
	var changed []uint32
	err := c.FetchList(ctx, all, Flags|ModSeq, sel.HighestModSeq, true, func(it Item) error {
		changed = append(changed, it.UID)
		return nil
	}, func(lo, hi uint32) error {
		gone.AddRange(lo, hi)
		return nil
	})
	if err != nil || fmt.Sprint(changed) != "[7]" || gone.String() != "3:4" {
		t.Errorf("changed %v, gone %q, %v; want [7], 3:4", changed, gone, err)
	}
}

func refusedByDovecot(t *testing.T, d *dovecot) {
	cfg := d.settings(TLSImplicit, "bob")
	cfg.Auth.Secret = func(context.Context) (string, error) { return "wrong-secret", nil }
	_, err := Dial(t.Context(), cfg)
	e := mail.AsError(err)
	if e.Kind != mail.KindLogin || e.Temporary || !strings.Contains(e.Hint, "app password") {
		t.Errorf("wrong password: %#v", err)
	}
	if s, ok := errors.AsType[*StatusError](err); !ok || s.Code != "AUTHENTICATIONFAILED" {
		t.Errorf("reason = %v", err)
	}
	cfg = d.settings(TLSImplicit, "bob")
	cfg.TLSConfig = nil
	_, err = Dial(t.Context(), cfg)
	e = mail.AsError(err)
	cert, ok := errors.AsType[*CertificateError](err)
	if e.Kind != mail.KindUnreachable || !strings.Contains(e.Hint, "--tls-ca") || !ok || !bytes.Equal(cert.Pin, d.pin) {
		t.Errorf("unknown authority: %#v", err)
	}
	cfg.Pins = [][]byte{make([]byte, 32)}
	_, err = Dial(t.Context(), cfg)
	if e = mail.AsError(err); e.Kind != mail.KindUnreachable || e.Temporary || !errors.Is(err, errPin) {
		t.Errorf("wrong pin: %#v", err)
	}
}
