package imaptest

import (
	"fmt"
	"strconv"
	"time"

	"postbag/internal/demo"
)

// CyrusOptions say what a Cyrus is like.
type CyrusOptions struct {
	// OldFace is the default of versions before 3.0: all mailboxes below INBOX,
	// with "." between the components of names. Without it they are beside INBOX,
	// with "/".
	OldFace bool
}

// CyrusPassword is the password of every user of a Cyrus, which takes any.
const CyrusPassword = "pw"

// Cyrus is a private Cyrus 3.6: own ports on 127.0.0.1, own directory, own
// certificate. Every user name without delimiters exists, and is an account of
// its own.
type Cyrus struct {
	*rooted
	options CyrusOptions
	cert    *demo.Certificate
	secure  int // port
}

// The user that Cyrus runs as, in its own root.
const cyrusUID, cyrusGID = 999, 8

// StartCyrus starts a Cyrus, which is stopped and removed at the end of the test.
// The test is skipped where there is none: see .ci/servers.
func StartCyrus(tb TB, o CyrusOptions) *Cyrus {
	tb.Helper()
	c := &Cyrus{rooted: newRooted(tb, "cyrus"), options: o}
	var err error
	if c.cert, err = demo.NewCertificate(); err != nil {
		tb.Fatalf("cyrus: %v", err)
	}
	if c.port, c.secure, err = freePorts(); err != nil {
		tb.Fatalf("cyrus: %v", err)
	}
	if err := c.configure(); err != nil {
		tb.Fatalf("cyrus: %v", err)
	}
	d, err := c.start(nil, "/usr/lib/cyrus/bin/master", "-D", "-p", "/run/cyrmaster.pid")
	if err != nil {
		tb.Fatalf("cyrus: %v", err)
	}
	if err := awaitGreeting(c.Addr(), d.exited, time.Minute); err != nil {
		c.kill()
		tb.Fatalf("cyrus: %v\n%s", err, c.Log())
	}
	return c
}

func (c *Cyrus) configure() error {
	face := "yes"
	if c.options.OldFace {
		face = "no"
	}
	err := c.write(map[string]string{
		"etc/passwd": fmt.Sprintf("root:x:0:0::/:/bin/sh\ncyrus:x:%d:%d::/:/bin/sh\n", cyrusUID, cyrusGID),
		"etc/group":  fmt.Sprintf("root:x:0:\nmail:x:%d:\n", cyrusGID),
		// Any password will do. Without fsync it is a multiple faster. With the other
		// delete_mode it refuses to delete two mailboxes of one name within a second.
		"etc/imapd.conf": fmt.Sprintf(`configdirectory: /var/lib/cyrus
defaultpartition: default
partition-default: /var/spool/cyrus
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN
unixhierarchysep: %[1]s
altnamespace: %[1]s
autocreate_quota: 0
autocreate_post: yes
skiplist_unsafe: yes
delete_mode: immediate
tls_server_cert: /etc/cert.pem
tls_server_key: /etc/key.pem
`, face),
		"etc/cyrus.conf": fmt.Sprintf(`START {
  recover cmd="ctl_cyrusdb -r"
}
SERVICES {
  imap cmd="imapd -U 100" listen="127.0.0.1:%d" prefork=0
  imaps cmd="imapd -s -U 100" listen="127.0.0.1:%d" prefork=0
}
EVENTS {
}
`, c.port, c.secure),
		"etc/cert.pem": string(c.cert.Cert),
		"etc/key.pem":  string(c.cert.Key),
	})
	if err != nil {
		return err
	}
	return c.own(cyrusUID, cyrusGID, "run/cyrus", "run/cyrus/socket", "run/cyrus/lock", "run/cyrus/proc",
		"var/lib/cyrus", "var/lib/cyrus/db", "var/lib/cyrus/socket", "var/spool/cyrus")
}

// NewUser names an account that nobody has used yet.
func (c *Cyrus) NewUser() string { return "user" + strconv.FormatInt(c.users.Add(1), 10) }

// Target is the account of a user, in plaintext.
func (c *Cyrus) Target(user string) Target {
	t := Target{Addr: c.Addr(), CA: c.cert.CA, User: user, Password: CyrusPassword}
	if c.options.OldFace {
		t.Prefix, t.Delimiter = "INBOX.", "."
	}
	return t
}

// TLSTarget is the account of a user, with implicit TLS.
func (c *Cyrus) TLSTarget(user string) Target {
	t := c.Target(user)
	t.Addr, t.TLS = fmt.Sprintf("127.0.0.1:%d", c.secure), true
	return t
}
