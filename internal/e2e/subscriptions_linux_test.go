package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

var listedName = regexp.MustCompile(`^\* LIST \([^)]*\) \S+ (.*)$`)

// subscribed are the mailboxes on a server's list of subscriptions, as it writes
// them, sorted.
func subscribed(t testing.TB, target imaptest.Target) string {
	t.Helper()
	c := client(t, target)
	defer c.Close()
	responses, err := c.Do(`LIST (SUBSCRIBED) "" "*"`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range responses {
		if m := listedName.FindStringSubmatch(r.Text); m != nil {
			names = append(names, strings.Trim(m[1], `"`))
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// asked are the commands about subscriptions that the program sent.
func asked(log *imaptest.WireLog) (list []string) {
	for _, c := range log.Commands() {
		if strings.Contains(c.Line, "SUBSCRIBE") || c.Verb == "LSUB" {
			list = append(list, c.Line)
		}
	}
	return list
}

// What one subscribes to, or unsubscribes from, in a mail program on either side is
// so on the other after a sync with --subscriptions. The other side is a second
// Dovecot, whose mail store the Maildir is.
func TestSubscriptionsFollow(t *testing.T) {
	t.Parallel()
	server := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	second := imaptest.StartDovecot(t, imaptest.DovecotOptions{Maildir: true})
	w := newTwoWay(t, server)
	w.loud = true // one more command than a listing
	reader := second.NewUser()
	home := second.Home(reader)
	must(t, os.Mkdir(home, 0o700))
	w.dir = filepath.Join(home, "Maildir")
	local := second.Target(reader)
	sync := func(more ...string) *call {
		t.Helper()
		giveTo(t, home, w.home)
		defer giveTo(t, home, filepath.Dir(home))
		return w.sync(t, more...).want(t, 0)
	}
	both := func(want string) {
		t.Helper()
		if there, here := subscribed(t, w.target), subscribed(t, local); there != want || here != want {
			t.Errorf("subscribed to %q on the server and %q in the Maildir, want %q", there, here, want)
		}
	}
	phone := client(t, w.target)
	for _, name := range []string{"Work", "Work/Projects", "Entw&APw-rfe &- mehr", "Lists"} {
		do(t, phone, "CREATE "+imaptest.Quote(name))
	}
	do(t, phone, "SUBSCRIBE INBOX", "SUBSCRIBE Work", "SUBSCRIBE Work/Projects", `SUBSCRIBE "Entw&APw-rfe &- mehr"`)
	sync("--layout", "maildir++")
	if got := asked(w.log); len(got) != 0 {
		t.Errorf("a sync that was not told to said %q", got)
	}
	if got := subscribed(t, local); got != "" {
		t.Errorf("it subscribed to %q in the Maildir", got)
	}
	before := snapshot(t, w.dir)
	if c := sync("--subscriptions", "--dry-run", "-v"); !strings.Contains(c.stderr, "Work/Projects: subscribed in") {
		t.Errorf("it does not tell\n%s", c)
	}
	if diff := imaptest.Diff(before, snapshot(t, w.dir)); diff != "" {
		t.Errorf("a dry run wrote:\n%s", diff)
	}
	sync("--subscriptions")
	both("Entw&APw-rfe &- mehr INBOX Work Work/Projects")

	do(t, phone, "UNSUBSCRIBE Work/Projects")
	do(t, client(t, local), "UNSUBSCRIBE Work", "SUBSCRIBE Lists", "CREATE Mine/Own", "SUBSCRIBE Mine/Own")
	file := filepath.Join(w.dir, "subscriptions")
	must(t, os.WriteFile(file, []byte(read(t, file)+"Nowhere\n"), 0o600))
	sync("--subscriptions")
	if text := read(t, file); !strings.Contains(text, "\nNowhere\n") {
		t.Errorf("the line of a mailbox that is not there went: %q", text)
	}
	do(t, client(t, local), "UNSUBSCRIBE Nowhere")
	both("Entw&APw-rfe &- mehr INBOX Lists Mine/Own")
	do(t, phone, "UNSUBSCRIBE Mine/Own", "UNSUBSCRIBE Lists", "UNSUBSCRIBE INBOX", `UNSUBSCRIBE "Entw&APw-rfe &- mehr"`)
	sync("--subscriptions")
	both("")

	do(t, client(t, local), "SUBSCRIBE Mine/Own", "SUBSCRIBE Work")
	must(t, w.server.deliver("Mine/Own", []byte("Message-ID: <1@example.org>\r\n\r\nx\r\n"), mail.Flags{}, time.Now()))
	sync("--subscriptions")
	do(t, phone, "RENAME Mine/Own Mine/Fresh", "UNSUBSCRIBE Mine/Own", "SUBSCRIBE Mine/Fresh")
	sync("--subscriptions")
	both("Mine/Fresh Work")

	must(t, os.Remove(file))
	sync("--subscriptions")
	both("Mine/Fresh Work")
	giveTo(t, home, w.home)
	w.quietly(t, "--subscriptions")
}

// A backup takes the subscriptions along, here from a server that knows LSUB only,
// and never changes those of the server.
func TestSubscriptionsBackup(t *testing.T) {
	t.Parallel()
	server := imaptest.StartDovecot(t, imaptest.DovecotOptions{NoCaps: []string{"LIST-EXTENDED"}})
	user := server.NewUser()
	target := server.Target(user)
	do(t, client(t, target), "CREATE Work/Projects", "CREATE Other", "SUBSCRIBE Work/Projects", "SUBSCRIBE INBOX")
	a := onTarget(t, target)
	proxy := a.via(t, target)
	config := filepath.Join(a.home, "subs.toml")
	must(t, os.WriteFile(config, []byte(fmt.Sprintf("[accounts.x]\nserver = %q\nmaildir = %q\nallow_plaintext = true\nsubscriptions = true\n", a.url, a.dir)), 0o600))
	backup := func(want string) {
		t.Helper()
		a.run(t, "backup", "x", "--config", config, "--password-env", passwordVar).want(t, 0)
		if got := read(t, filepath.Join(a.dir, "subscriptions")); got != want {
			t.Errorf("the file is %q, want %q", got, want)
		}
		proxy.WireLog().Assert(t, imaptest.ReadOnly)
	}
	backup("V\t2\n\nINBOX\nWork\tProjects\n")
	do(t, client(t, target), "UNSUBSCRIBE INBOX", "SUBSCRIBE Other")
	must(t, os.WriteFile(filepath.Join(a.dir, "subscriptions"), []byte("V\t2\n\nINBOX\nMine\n"), 0o600))
	backup("V\t2\n\nMine\nOther\n")
	if got := subscribed(t, target); got != "Other Work/Projects" {
		t.Errorf("the server's subscriptions are %q", got)
	}
	if got := asked(proxy.WireLog()); !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, "LSUB") }) {
		t.Errorf("the program said %q, want LSUB", got)
	}
}
