package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// Cyrus tells by EMAILID (RFC 8474) that what was copied is one message. Each is
// fetched once, also when the copy is made between two runs; a Maildir has it on its
// disk once, and another server gets it once.
func TestCopiesOnCyrusAreFetchedOnce(t *testing.T) {
	t.Parallel()
	const n = 12
	cyrus := imaptest.StartCyrus(t, imaptest.CyrusOptions{})
	target := cyrus.Target("copies")
	c := client(t, target)
	for i := range n {
		if err := c.Append("INBOX", mail.ParseFlags(), time.Date(2024, 1, 1, 0, i, 0, 0, time.UTC), []byte(letter(i))); err != nil {
			t.Fatal(err)
		}
	}
	do(t, c, "CREATE Work", "CREATE Later", "SELECT INBOX", "UID COPY 1:6 Work", `UID STORE 2 +FLAGS.SILENT (\Flagged)`)
	if ids := emailIDs(t, c, "INBOX"); len(ids) != n || !subset(emailIDs(t, c, "Work"), ids) {
		t.Fatalf("copies have other EMAILIDs than what they are copies of: %v", ids)
	}

	a := onTarget(t, target)
	log := a.via(t, target).WireLog()
	a.configure(t, "compress = false")
	a.backup(t).want(t, 0)
	if got := fetchedBodies(log); got != n {
		t.Errorf("%d bodies were fetched, want %d", got, n)
	}
	a.sameAs(t, target.MustDump(t))
	do(t, c, "SELECT INBOX", "UID COPY 4:9 Later", "UNSELECT")
	log.Reset()
	a.backup(t).want(t, 0)
	if got := fetchedBodies(log); got != 0 {
		t.Errorf("%d bodies were fetched for copies of what is here", got)
	}
	a.sameAs(t, target.MustDump(t))
	if files := distinctFiles(t, a.dir); files != n {
		t.Errorf("%d files hold %d messages", files, n)
	}
	a.backup(t, "--json").want(t, 0).unchanged(t)
	a.verify(t, "--deep").want(t, 0)

	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	m := newMoving(t, target, dovecot.Target(dovecot.NewUser()))
	to := m.viaTo(t, m.to).WireLog()
	m.migrate(t).want(t, 0)
	if sent := appended(to); sent != n {
		t.Errorf("%d messages were sent, want %d", sent, n)
	}
	m.same(t)
	m.migrate(t, "--json").want(t, 0).unchanged(t)
}

var emailID = regexp.MustCompile(`EMAILID \(([^)]+)\)`)

// emailIDs are the IDs of the messages of a mailbox.
func emailIDs(t *testing.T, c *imaptest.Client, mailbox string) map[string]bool {
	t.Helper()
	do(t, c, "EXAMINE "+mailbox)
	lines, err := c.Do("UID FETCH 1:* (EMAILID)")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, l := range lines {
		if m := emailID.FindStringSubmatch(l.Text); m != nil {
			ids[m[1]] = true
		}
	}
	return ids
}

func subset(some, all map[string]bool) bool {
	for id := range some {
		if !all[id] {
			return false
		}
	}
	return len(some) > 0
}

// fetchedBodies counts the bodies that were asked for.
func fetchedBodies(log *imaptest.WireLog) (n int) {
	for _, c := range log.Commands() {
		if c.Verb == "UID FETCH" && strings.Contains(strings.ToUpper(c.Line), "BODY.PEEK[]") {
			n += uidsIn(strings.Fields(c.Line)[2])
		}
	}
	return n
}
