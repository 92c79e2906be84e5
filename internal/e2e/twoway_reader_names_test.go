package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// deliver puts a message into a directory of a tree, as a mail reader would that
// made the mailbox, too.
func deliver(t testing.TB, root, dir, id string) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf("Message-ID: <%s@names.example>\nSubject: %s\n\nin %q\n", id, id, dir)
	if err := os.WriteFile(filepath.Join(root, dir, "cur", id+".reader:2,S"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Mailboxes that a reader makes in the tree come to the server under names that it
// takes, names that differ in case stay two, INBOX in any case is INBOX, and what
// comes back is what was there: the second run does nothing.
func TestTwoWayNamesFromTheMaildir(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	target := dovecot.Target(dovecot.NewUser())
	a := onTarget(t, target)
	a.sync(t).want(t, 0)
	dirs := []string{"Plain", "Plain/Below", "a.b", "Foo", "foo", "Été", "With blank", "q\"uote", "x*y", "per%cent", "Projects/2024/Q1", "back\\slash", "~tilde"}
	for i, dir := range dirs {
		deliver(t, a.dir, dir, fmt.Sprintf("n%d", i))
	}
	c := a.sync(t, "--json").want(t, 3)
	if p := c.summary(t).Problems; len(p) != 1 || p[0].Mailbox != "~tilde" { // Dovecot takes no such name
		t.Errorf("problems %+v, want one of the mailbox ~tilde", p)
	}
	dump := target.MustDump(t)
	if n := dump.Count(); n != len(dirs)-1 {
		t.Errorf("the server has %d messages, want %d\n%s", n, len(dirs)-1, dump.Content())
	}
	a.sync(t, "--json").want(t, c.code).unchanged(t)
	if dump2 := target.MustDump(t); dump2.Content() != dump.Content() {
		t.Errorf("the second run changed the server:\n%s", imaptest.Diff(dump.Content(), dump2.Content()))
	}
}

// A directory "inbox" is INBOX, of which a server has one in any case. With another
// one beside it nobody knows which, and neither is touched.
func TestTwoWayInboxInAnotherCase(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	target := dovecot.Target(dovecot.NewUser())
	a := onTarget(t, target)
	a.sync(t).want(t, 0)
	deliver(t, a.dir, "INBOX", "one")
	deliver(t, a.dir, "inbox", "two")
	c := a.sync(t, "--json").want(t, 3)
	if p := c.summary(t).Problems; len(p) != 1 || p[0].Mailbox != "INBOX" || !strings.Contains(p[0].Reason, "two directories") {
		t.Errorf("problems %+v, want the two directories of INBOX", p)
	}
	if err := os.RemoveAll(filepath.Join(a.dir, "INBOX")); err != nil {
		t.Fatal(err)
	}
	a.sync(t).want(t, 0)
	if got := target.MustDump(t); got.Count() != 1 || len(got["INBOX"].Messages) != 1 {
		t.Errorf("with one of them gone the server has\n%s", got.Content())
	}
	a.sync(t, "--json").want(t, 0).unchanged(t)
}

func (a *account) sync(t testing.TB, more ...string) *call {
	t.Helper()
	return a.run(t, a.pair("sync", more...)...)
}
