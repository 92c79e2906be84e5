package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// The key mailboxes of the first account chooses what a migration carries, and what
// a comparison of the two accounts looks at.
func TestVerifyKeepsToTheConfiguration(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 60)
	dir := filepath.Join(m.home, "config", "postbag")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "config.toml"), fmt.Appendf(nil, `
[accounts.old]
server = "imap://%s@%s"
mailboxes = ["*", "!Work"]

[accounts.new]
server = "imap://%s@%s"
`, m.from.User, m.from.Addr, m.to.User, m.to.Addr), 0o600))
	m.url, m.toURL = "old", "new"
	m.migrate(t).want(t, 0)
	if len(m.to.MustDump(t)["Work"].Messages) > 0 {
		t.Error("the mailbox that is left out was copied")
	}
	m.compare(t).want(t, 0)
	m.compare(t, "--mailbox", "Work").want(t, 3)
}

// Subscriptions follow with --subscriptions: into the mailboxes that those of the
// source become. A mailbox that is there already keeps its own on the first run.
func TestMigrateSubscriptions(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 60)
	c := client(t, m.from)
	do(t, c, "SUBSCRIBE INBOX", "SUBSCRIBE Work", `SUBSCRIBE "Archive/2024"`)
	before := subscribed(t, m.from)
	do(t, client(t, m.to), `CREATE "Projets/&AMk-t&AOk-"`, `SUBSCRIBE "Projets/&AMk-t&AOk-"`, "CREATE Work")
	flags := []string{"--subscriptions", "--map", "Archive/*=Old/*"}
	m.migrate(t, append(flags, "--json")...).want(t, 0)
	if got := subscribed(t, m.to); got != "INBOX Old/2024 Projets/&AMk-t&AOk- Work" {
		t.Errorf("subscribed are %q", got)
	}
	do(t, c, "UNSUBSCRIBE Work")
	m.migrate(t, flags...).want(t, 0)
	if got := subscribed(t, m.to); got != "INBOX Old/2024 Projets/&AMk-t&AOk-" {
		t.Errorf("after one was unsubscribed from, subscribed are %q", got)
	}
	do(t, c, "SUBSCRIBE Work")
	if got := subscribed(t, m.from); got != before {
		t.Errorf("the source's subscriptions are %q, and were %q", got, before)
	}
}

// A migration that has nothing to do lists either server once.
func TestQuietMigrationListsOnce(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 30)
	first, second := m.listen(t)
	m.migrate(t).want(t, 0)
	m.quietRun(t, first, second)
	for name, log := range map[string]*imaptest.WireLog{"source": first, "destination": second} {
		if n := log.Count("LIST"); n != 1 {
			t.Errorf("the %s was listed %d times:\n%v", name, n, log.Commands())
		}
	}
}

// A run that does nothing but make a mailbox says so, and the next one has nothing
// to do.
func TestRunThatOnlyMakesAMailbox(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 30)
	m.migrate(t).want(t, 0)
	do(t, client(t, m.from), "CREATE Fresh")
	for _, dry := range []bool{true, false} {
		var more []string
		if dry {
			more = []string{"--dry-run"}
		}
		if c := m.migrate(t, more...).want(t, 0); !strings.Contains(c.stdout, "Fresh: made\n") || !strings.Contains(c.stdout, "1 mailbox made") {
			t.Errorf("it says\n%s", c)
		}
	}
	if c := m.migrate(t).want(t, 0); !strings.Contains(c.stdout, "nothing to do") {
		t.Errorf("it says\n%s", c)
	}
}

// A mailbox that the new server refuses to make is named with a way out, which works.
func TestRefusedNameHasAWayOut(t *testing.T) {
	t.Parallel()
	cyrus := imaptest.StartCyrus(t, imaptest.CyrusOptions{})
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	source, dest := from.Target(from.NewUser()), cyrus.Target(cyrus.NewUser())
	if _, err := source.Fill(into(demo.Corpus(94, 10), "INBOX", "<odd> & ~more~", "50% off")); err != nil {
		t.Fatal(err)
	}
	m := newMoving(t, source, dest)
	c := m.migrate(t).want(t, 3)
	var flags []string
	for name := range source.MustDump(t) {
		way := fmt.Sprintf("--map '%s=NAME'", name)
		if strings.Contains(c.stderr, way) {
			flags = append(flags, "--map", name+"=Odd "+fmt.Sprint(len(flags)))
		}
	}
	if len(flags) == 0 {
		t.Fatalf("it gives no way out:\n%s", c)
	}
	m.migrate(t, flags...).want(t, 0)
	if got, want := dest.MustDump(t).Count(), source.MustDump(t).Count(); got != want {
		t.Errorf("%d of %d messages are there", got, want)
	}
}

// Where nothing happened a mailbox of Courier is read, and not opened for writing.
func TestCourierIsOnlyReadWhenNothingHappened(t *testing.T) {
	t.Parallel()
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := from.NewUser()
	from.Fill(user, into(demo.Corpus(95, 40), "INBOX", "Work"))
	courier := imaptest.StartCourier(t)
	m := newMoving(t, from.Target(user), courier.Target(courier.NewUser()))
	first, second := m.listen(t)
	m.migrate(t).want(t, 0)
	m.quietRun(t, first, second)
	if n, looked := second.Count("SELECT"), second.Count("EXAMINE"); n != 0 || looked == 0 {
		t.Errorf("SELECT was sent %d times, EXAMINE %d times", n, looked)
	}
	if _, err := m.from.Fill(into(demo.Corpus(96, 3), "Work")); err != nil {
		t.Fatal(err)
	}
	m.migrate(t).want(t, 0)
	want, got := m.from.MustDump(t), m.to.MustDump(t)
	if !slices.EqualFunc(want["Work"].Messages, got["Work"].Messages, func(a, b imaptest.Entry) bool { return a.Digest == b.Digest }) && len(want["Work"].Messages) != len(got["Work"].Messages) {
		t.Errorf("Work has %d messages, want %d", len(got["Work"].Messages), len(want["Work"].Messages))
	}
}
