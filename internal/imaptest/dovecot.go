package imaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postbag/internal/demo"
)

// DovecotOptions say what a Dovecot is like. The zero options make one with
// sdbox storage and every capability.
type DovecotOptions struct {
	Maildir bool // store mail as Maildir in place of sdbox
	// NoCaps are capabilities that are not offered ("QRESYNC", "LIST-STATUS"); the
	// server would still obey the commands.
	NoCaps   []string
	Compress bool   // offer COMPRESS=DEFLATE
	Fsync    string // mail_fsync: "optimized", "always"; "never" when ""
	Extra    string // lines added at the end of the configuration
	// Dir is where the server's directory is made. "" is in memory where there is
	// room (/dev/shm), which takes 8,000 messages a second in place of 2,000.
	Dir string
	// Delimiter between the components of names; "/" when "". Prefix is that of
	// the only namespace, "INBOX." for the old face of Courier and Cyrus.
	Delimiter, Prefix string
}

// DovecotPassword is the password of every user of a Dovecot.
const DovecotPassword = "pw"

// Dovecot is a private Dovecot 2.3: own ports on 127.0.0.1, own directory, own
// certificate. Every user name exists, with DovecotPassword, and is an account
// of its own: tests share an instance and take a new user each.
type Dovecot struct {
	tb      TB
	options DovecotOptions
	dir     string
	cert    *demo.Certificate
	uid     int // who owns the mail
	gid     int
	plain   int // ports
	secure  int
	users   atomic.Int64

	mu     sync.Mutex
	master *exec.Cmd
	exited chan struct{} // closed when master has ended and was waited for
	output bytes.Buffer  // what master wrote to stderr; read after exited
}

const installDovecot = "apt-get install dovecot-imapd"

// dovecotCaps are what 2.3.19 offers after login, for taking some away.
const dovecotCaps = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS " +
	"THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 " +
	"CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY " +
	"PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE"

// StartDovecot starts a Dovecot, which is stopped and removed at the end of the
// test. The test is skipped where Dovecot is not installed.
func StartDovecot(tb TB, o DovecotOptions) *Dovecot {
	tb.Helper()
	if _, err := exec.LookPath("dovecot"); err != nil {
		missing(tb, "dovecot", installDovecot)
	}
	d, err := newDovecot(tb, o)
	if err != nil {
		tb.Fatalf("dovecot: %v", err)
	}
	tb.Cleanup(func() {
		d.Kill()
		if err := os.RemoveAll(d.dir); err != nil {
			tb.Logf("dovecot: %v", err)
		}
	})
	d.Start()
	return d
}

func newDovecot(tb TB, o DovecotOptions) (*Dovecot, error) {
	d := &Dovecot{tb: tb, options: o, uid: os.Getuid(), gid: os.Getgid()}
	if d.uid == 0 {
		d.uid, d.gid = 65534, 65534 // mail of root would be refused
	}
	var err error
	if d.cert, err = demo.NewCertificate(); err != nil {
		return nil, err
	}
	if d.plain, d.secure, err = freePorts(); err != nil {
		return nil, err
	}
	if d.dir, err = os.MkdirTemp(or(o.Dir, socketDir()), "imaptest"); err != nil {
		return nil, err
	}
	if err := d.layOut(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	return d, nil
}

// socketDir is where directories go that hold Unix sockets, whose paths may have
// no more than 107 octets, and that another user has to enter.
func socketDir() string {
	const shm = "/dev/shm"
	if freeOctets(shm) > 2<<30 { // containers often have 64 MiB
		return shm
	}
	dir := os.TempDir()
	if len(dir) > 40 {
		return "/tmp"
	}
	for at := dir; at != "/" && at != "."; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err != nil || info.Mode()&0o001 == 0 {
			return "/tmp"
		}
	}
	return dir
}

func freePorts() (plain, secure int, err error) {
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}

func (d *Dovecot) layOut() error {
	if err := os.Chmod(d.dir, 0o711); err != nil {
		return err
	}
	home := filepath.Join(d.dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	if err := os.Chown(home, d.uid, d.gid); err != nil {
		return err
	}
	config, err := d.config()
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.pem": d.cert.CA, "cert.pem": d.cert.Cert, "key.pem": d.cert.Key, "conf": []byte(config),
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dovecot) config() (string, error) {
	o := d.options
	location, caps := "sdbox:~/sdbox", ""
	if o.Maildir {
		location = "maildir:~/Maildir"
	}
	if len(o.NoCaps) > 0 {
		kept := strings.Fields(dovecotCaps)
		for _, c := range o.NoCaps {
			kept = remove(kept, c)
		}
		caps = "imap_capability = " + strings.Join(kept, " ")
	}
	plugins := ""
	if o.Compress {
		plugins = "mail_plugins = $mail_plugins imap_zlib"
		if caps != "" {
			caps += " COMPRESS=DEFLATE" // the plugin adds it to the default list only
		}
	}
	run, err := d.runAs()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
mail_max_userip_connections = 200
mail_location = %[2]s
mail_fsync = %[3]s
%[4]s
passdb {
  driver = static
  args = password=%[5]s
}
userdb {
  driver = static
  args = uid=%[6]d gid=%[7]d home=%[1]s/home/%%u
}
service imap-login {
  inet_listener imap {
    port = %[8]d
  }
  inet_listener imaps {
    port = %[9]d
    ssl = yes
  }
}
service imap {
  process_limit = 500
}
namespace inbox {
  inbox = yes
  separator = %[10]s
  prefix = %[11]s
  mailbox Sent {
    special_use = \Sent
  }
  mailbox Drafts {
    special_use = \Drafts
  }
  mailbox Trash {
    special_use = \Trash
  }
  mailbox Junk {
    special_use = \Junk
  }
  mailbox Archive {
    special_use = \Archive
  }
}
protocol imap {
  %[12]s
  %[13]s
}
%[14]s
`, d.dir, location, or(o.Fsync, "never"), run, DovecotPassword, d.uid, d.gid, d.plain, d.secure,
		or(o.Delimiter, "/"), o.Prefix, caps, plugins, o.Extra), nil
}

// runAs lets Dovecot's own processes run as whoever runs the test, where that is
// not root.
func (d *Dovecot) runAs() (string, error) {
	if os.Getuid() == 0 {
		return "", nil
	}
	me, err := user.Current()
	if err != nil {
		return "", err
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "default_internal_user = %s\ndefault_internal_group = %s\ndefault_login_user = %s\n",
		me.Username, group.Name, me.Username)
	for _, service := range []string{"anvil", "imap-login", "stats", "aggregator", "dns_client", "director"} {
		fmt.Fprintf(&b, "service %s {\n  chroot =\n}\n", service)
	}
	return b.String(), nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func remove(from []string, word string) []string {
	var kept []string
	for _, w := range from {
		if !strings.EqualFold(w, word) {
			kept = append(kept, w)
		}
	}
	return kept
}

// Start starts the server after a Kill; on one that runs it does nothing.
func (d *Dovecot) Start() {
	d.tb.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.master != nil {
		return
	}
	d.output.Reset()
	d.master = exec.Command("dovecot", "-F", "-c", d.conf())
	d.master.Stderr = &d.output
	ownGroup(d.master)
	if err := d.master.Start(); err != nil {
		d.master = nil
		d.tb.Fatalf("dovecot: %v", err)
	}
	exited := make(chan struct{})
	d.exited = exited
	go func(master *exec.Cmd) {
		_ = master.Wait() // it is always killed, so its status says nothing
		close(exited)
	}(d.master)
	if err := awaitGreeting(d.Addr(), d.exited, time.Minute); err != nil {
		d.kill()
		d.tb.Fatalf("dovecot: %v\n%s%s", err, &d.output, d.Log())
	}
}

// Kill kills the server and all of its processes at once, as a loss of power
// would, and waits until they are gone. Start starts it again.
func (d *Dovecot) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
}

func (d *Dovecot) kill() {
	if d.master == nil {
		return
	}
	if !isClosed(d.exited) { // or its number may be another's by now
		killTree(d.master.Process)
	}
	<-d.exited
	d.master = nil
}

// KillSessions kills the processes that serve logged-in clients, and leaves the
// server running: every connection is cut off where it is.
func (d *Dovecot) KillSessions() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.master != nil {
		killSessions(d.master.Process)
	}
}

// Restart kills the server and starts it again, on the same ports.
func (d *Dovecot) Restart() {
	d.tb.Helper()
	d.Kill()
	d.Start()
}

// ConfFile is its configuration, for doveadm.
func (d *Dovecot) ConfFile() string { return d.conf() }

func (d *Dovecot) conf() string { return filepath.Join(d.dir, "conf") }

// Addr is the address of the plaintext port, which offers STARTTLS.
func (d *Dovecot) Addr() string { return "127.0.0.1:" + strconv.Itoa(d.plain) }

// TLSAddr is the address of the port with implicit TLS.
func (d *Dovecot) TLSAddr() string { return "127.0.0.1:" + strconv.Itoa(d.secure) }

// CAFile is the PEM file of the authority that a client has to trust.
func (d *Dovecot) CAFile() string { return filepath.Join(d.dir, "ca.pem") }

// Certificate is what the server shows its clients.
func (d *Dovecot) Certificate() *demo.Certificate { return d.cert }

// NewUser names an account that nobody has used yet.
func (d *Dovecot) NewUser() string { return "user" + strconv.FormatInt(d.users.Add(1), 10) }

// Home is the directory that holds the mail of a user.
func (d *Dovecot) Home(user string) string { return filepath.Join(d.dir, "home", user) }

// Target is the account of a user, in plaintext.
func (d *Dovecot) Target(user string) Target {
	return Target{Addr: d.Addr(), CA: d.cert.CA, User: user, Password: DovecotPassword}
}

// TLSTarget is the account of a user, with implicit TLS.
func (d *Dovecot) TLSTarget(user string) Target {
	t := d.Target(user)
	t.Addr, t.TLS = d.TLSAddr(), true
	return t
}

// Log is what the server logged.
func (d *Dovecot) Log() string {
	text, err := os.ReadFile(filepath.Join(d.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Doveadm runs doveadm and answers with its output; a failure ends the test.
func (d *Dovecot) Doveadm(args ...string) string {
	d.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "doveadm", append([]string{"-c", d.conf()}, args...)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		d.tb.Fatalf("doveadm %s: %v\n%s%s", strings.Join(args, " "), err, &out, &stderr)
	}
	return out.String()
}

// BumpUIDValidity gives a mailbox, named in UTF-8, the next UIDVALIDITY; UIDs
// stay. It answers with the new one.
func (d *Dovecot) BumpUIDValidity(user, mailbox string) uint32 {
	d.tb.Helper()
	status := d.Doveadm("mailbox", "status", "-u", user, "uidvalidity", mailbox)
	_, value, _ := strings.Cut(strings.TrimSpace(status), "uidvalidity=")
	v, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		d.tb.Fatalf("doveadm mailbox status said %q", status)
	}
	d.Doveadm("mailbox", "update", "-u", user, "--uid-validity", strconv.FormatUint(v+1, 10), mailbox)
	return uint32(v + 1)
}
