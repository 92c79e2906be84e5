package imaptest

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CourierPassword is the password of every user of a Courier.
const CourierPassword = "pw"

// Courier is a private Courier 5.0: own port on 127.0.0.1, own directory, in
// plaintext only. All mailboxes are below INBOX, with "." between the components
// of names. It has neither CONDSTORE nor ESEARCH, MOVE, LIST-STATUS, LITERAL+,
// MULTIAPPEND, UNSELECT and SPECIAL-USE.
type Courier struct {
	*rooted

	mu    sync.Mutex
	known []string // users that can log in
}

// courierUID is the user that Courier belongs to, in its own root.
const courierUID = 998

// mailUID is the user that mail belongs to: another one in each instance. Sessions
// share a process that watches files by the user's name, and which would be one
// with another root.
func (c *Courier) mailUID() int { return 100000 + c.port }

// StartCourier starts a Courier, which is stopped and removed at the end of the
// test. The test is skipped where there is none: see .ci/servers.
func StartCourier(tb TB) *Courier {
	tb.Helper()
	c := &Courier{rooted: newRooted(tb, "courier")}
	d, err := c.launch()
	if err == nil {
		err = awaitGreeting(c.Addr(), d.exited, time.Minute)
	}
	if err != nil {
		c.kill()
		tb.Fatalf("courier: %v\n%s", err, c.Log())
	}
	return c
}

// launch starts Courier's two daemons, as its own scripts would.
func (c *Courier) launch() (*daemon, error) {
	err := c.write(map[string]string{
		"etc/passwd":               fmt.Sprintf("root:x:0:0::/:/bin/sh\ncourier:x:%[1]d:%[1]d::/:/bin/sh\nmail%[2]d:x:%[2]d:%[2]d::/:/bin/sh\n", courierUID, c.mailUID()),
		"etc/group":                fmt.Sprintf("root:x:0:\ncourier:x:%[1]d:\nmail%[2]d:x:%[2]d:\n", courierUID, c.mailUID()),
		"etc/courier/authdaemonrc": "authmodulelist=\"authuserdb\"\ndaemons=5\nauthdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\n",
	})
	if err != nil {
		return nil, err
	}
	if err := c.own(courierUID, courierUID, "run/courier", "run/courier/authdaemon"); err != nil {
		return nil, err
	}
	// The script that starts it hands the file to it as its environment, too.
	auth, err := c.start([]string{
		"authmodulelist=authuserdb", "authmodulelistorig=authuserdb", "daemons=5", "authdaemonvar=/run/courier/authdaemon", "DEBUG_LOGIN=0",
	}, "/usr/lib/courier/courier-authlib/authdaemond")
	if err != nil {
		return nil, err
	}
	for range 1000 { // it takes milliseconds
		if _, err := os.Stat(c.path("run/courier/authdaemon/socket")); err == nil || isClosed(auth.exited) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	// As the package has it, but for IMAP_EMPTYTRASH, which is Trash:7 there: mail
	// of a week ago in Trash would be gone at the next login.
	return c.start([]string{
		"IMAP_CAPABILITY=IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE",
		"IMAP_KEYWORDS=1", "IMAP_ACL=1", "IMAP_IDLE_TIMEOUT=60", "IMAP_MAILBOX_SANITY_CHECK=1", "IMAP_USELOCKS=1", "IMAP_ENHANCEDIDLE=0",
		"IMAP_TRASHFOLDERNAME=Trash", "IMAP_UMASK=022",
	}, "/usr/sbin/couriertcpd", "-address=127.0.0.1", "-maxprocs=200", "-maxperip=200", "-nodnslookup", "-noidentlookup",
		strconv.Itoa(c.port), "/usr/lib/courier/courier/imaplogin", "/usr/bin/imapd", "Maildir")
}

// NewUser makes an account that nobody has used yet.
func (c *Courier) NewUser() string {
	user := "user" + strconv.FormatInt(c.users.Add(1), 10)
	c.addUser(user)
	return user
}

// addUser makes an account that is not there yet.
func (c *Courier) addUser(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.known, user) {
		return
	}
	home := filepath.Join("home", user)
	err := c.own(c.mailUID(), c.mailUID(), home, home+"/Maildir", home+"/Maildir/tmp", home+"/Maildir/new", home+"/Maildir/cur")
	if err == nil {
		c.known = append(c.known, user)
		err = c.writeUsers()
	}
	if err != nil {
		c.tb.Fatalf("courier: %v", err)
	}
}

// writeUsers writes the databases of users, with the program that makeuserdb
// calls.
func (c *Courier) writeUsers() error {
	sum := sha1.Sum([]byte(CourierPassword))
	password := "{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
	var public, shadow strings.Builder
	for _, user := range c.known {
		fmt.Fprintf(&public, "%[1]s\tuid=%[2]d|gid=%[2]d|home=/home/%[1]s|mail=/home/%[1]s/Maildir|_=\n", user, c.mailUID())
		fmt.Fprintf(&shadow, "%s\tsystempw=%s\n", user, password)
	}
	for name, lines := range map[string]string{"userdb": public.String(), "userdbshadow": shadow.String()} {
		if err := c.run(lines+".\n", "/usr/lib/courier/courier-authlib/makedatprog", "-", "/etc/courier/"+name+".tmp", "/etc/courier/"+name+".dat"); err != nil {
			return err
		}
	}
	return nil
}

// Target is the account of a user, in plaintext. It makes the account.
func (c *Courier) Target(user string) Target {
	c.addUser(user)
	return Target{Addr: c.Addr(), User: user, Password: CourierPassword, Prefix: "INBOX.", Delimiter: "."}
}
