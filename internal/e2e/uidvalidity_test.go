package e2e

import (
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// bodies are the commands of a log that fetch whole messages.
func bodies(log *imaptest.WireLog) (out []string) {
	for _, c := range log.Commands() {
		if strings.Contains(strings.ToUpper(c.Line), "BODY.PEEK[]") || strings.Contains(strings.ToUpper(c.Line), "BINARY.PEEK[]") {
			out = append(out, c.Line)
		}
	}
	return out
}

// A mailbox whose UIDVALIDITY changed is matched by content: nothing is fetched
// again, nothing is deleted, nothing is there twice.
func TestUIDValidity(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, into(demo.Corpus(40, 200), "INBOX", "Work", "Projets/Été"))
	// Messages that nothing tells apart but their number: they stay as many.
	dovecot.Fill(user, func(yield func(demo.Sample) bool) {
		for s := range brief("twin", 1, "INBOX") {
			for range 4 {
				yield(s)
			}
		}
	})
	target := dovecot.Target(user)
	a := onTarget(t, target)
	p := a.via(t, target)
	a.backup(t).want(t, 0)
	before := snapshotMail(t, a.dir)
	for round := range 2 {
		for _, name := range []string{"INBOX", "Projets/Été"} {
			dovecot.BumpUIDValidity(user, name)
		}
		log := p.WireLog()
		log.Reset()
		c := a.backup(t, "--json").want(t, 0)
		if s := c.summary(t); (s.B != counts{}) || s.Kept != 0 {
			t.Errorf("round %d: got %+v, kept %d, want nothing\n%s", round, s.B, s.Kept, c)
		}
		if got := bodies(log); len(got) > 0 {
			t.Errorf("round %d: bodies were fetched again: %q", round, got)
		}
		log.Assert(t, imaptest.ReadOnly)
		a.sameAs(t, target.MustDump(t))
		if diff := imaptest.Diff(before, snapshotMail(t, a.dir)); diff != "" {
			t.Errorf("round %d: the Maildir was written:\n%s", round, clip(diff))
		}
		a.checkState(t)
		a.verify(t).want(t, 0)
		log.Reset()
		a.checkNoop(t)
		checkQuiet(t, log)
	}
}

// snapshotMail is a snapshot of the mail without the program's own directory.
func snapshotMail(t *testing.T, root string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(snapshot(t, root)) {
		if !strings.HasPrefix(line, `".postbag`) && !strings.HasPrefix(line, `"." `) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Messages that got new numbers as well, with changes at the same time: what is
// new is copied, what is gone stays, flags follow.
func TestUIDValidityWithChanges(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, into(demo.Corpus(41, 60), "INBOX", "Work"))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	inbox := e.Account.Messages("INBOX")
	gone := inbox[3]
	if err := e.Account.Expunge("INBOX", gone.UID); err != nil {
		t.Fatal(err)
	}
	if err := e.Account.SetFlags("INBOX", inbox[5].UID, inbox[5].Flags.Union(mail.Flags{System: mail.Flagged})); err != nil {
		t.Fatal(err)
	}
	if err := e.Account.BumpUIDValidity("INBOX", true); err != nil {
		t.Fatal(err)
	}
	if err := e.Account.Fill(into(demo.Corpus(42, 3), "INBOX")); err != nil {
		t.Fatal(err)
	}
	c := a.backup(t, "--json").want(t, 0)
	if s := c.summary(t); s.B.New != 3 || s.B.Deleted != 0 {
		t.Errorf("got %+v, want 3 new and nothing deleted\n%s", s.B, c)
	}
	server := e.Target().MustDump(t)
	local := treeDump(t, a.dir)
	if got, want := len(local["INBOX"].Messages), len(server["INBOX"].Messages)+1; got != want {
		t.Errorf("INBOX holds %d messages, want %d: those of the server, and the one that is gone there", got, want)
	}
	diff := imaptest.Diff(server.Content(), local.Content())
	if strings.Contains(diff, " -\n") || strings.Count(diff, " +\n") != 1 {
		t.Errorf("beside the message that is gone it differs:\n%s", diff)
	}
	a.checkState(t)
	a.checkNoop(t)
	a.verify(t).want(t, 0)
}

// A mailbox that was deleted and made anew on the server keeps, here, what it
// held before, and takes what it holds now.
func TestMailboxMadeAnew(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, into(demo.Corpus(43, 20), "INBOX", "Work"))
	target := dovecot.Target(user)
	a := onTarget(t, target)
	a.backup(t).want(t, 0)
	do(t, client(t, target), `DELETE "Work"`, `CREATE "Work"`)
	dovecot.Fill(user, into(demo.Corpus(44, 3), "Work"))
	a.backup(t).want(t, 0)
	if got := len(treeDump(t, a.dir)["Work"].Messages); got != 13 {
		t.Errorf("Work holds %d messages, want the 10 of before and the 3 of now", got)
	}
	a.checkState(t)
	a.checkNoop(t)
	a.verify(t, "--deep").want(t, 0)
}
