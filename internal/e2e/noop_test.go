package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// via puts a proxy that logs in front of the account's server.
func (a *account) via(t testing.TB, target imaptest.Target) *imaptest.Proxy {
	t.Helper()
	p := imaptest.StartProxy(t, target.Addr)
	a.url = "imap://" + target.User + "@" + p.Addr()
	return p
}

// quiet are the commands that a run on an unchanged account may send: log in,
// find out what the server can do, one listing.
var quiet = []string{"CAPABILITY", "LOGIN", "AUTHENTICATE", "ID", "ENABLE", "NAMESPACE", "LIST", "LOGOUT", "NOOP"}

// checkQuiet fails the test when the log holds more than a listing.
func checkQuiet(t testing.TB, log *imaptest.WireLog) {
	t.Helper()
	log.Assert(t, imaptest.ReadOnly)
	commands := log.Commands()
	for _, c := range commands {
		if !slices.Contains(quiet, c.Verb) {
			t.Errorf("an unchanged account was sent %q", c.Line)
		}
	}
	if lists := log.Count("LIST"); lists != 1 || len(commands) > 8 {
		t.Errorf("got %d commands, %d of them LIST, want at most 8 and 1:\n%v", len(commands), lists, commands)
	}
}

// A second run on an unchanged account selects nothing, changes nothing there
// and writes nothing here, and so does a third.
func TestSecondRunDoesNothing(t *testing.T) {
	t.Parallel()
	t.Run("dovecot", func(t *testing.T) {
		t.Parallel()
		dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
		user := dovecot.NewUser()
		dovecot.Fill(user, demo.Corpus(2, 300))
		checkSecondRun(t, dovecot.Target(user))
	})
	// Servers that tell less in their listing are asked more, but never SELECT.
	t.Run("scripted", func(t *testing.T) {
		t.Parallel()
		checkSecondRun(t, imaptest.StartScripted(t, nil).Target())
	})
}

func checkSecondRun(t *testing.T, target imaptest.Target) {
	t.Helper()
	a := onTarget(t, target)
	p := a.via(t, target)
	first := p.WireLog()
	a.backup(t).want(t, 0)
	first.Assert(t, imaptest.ReadOnly)
	a.sameAs(t, target.MustDump(t))
	for range 2 {
		log := p.WireLog()
		log.Reset()
		before := p.Bytes(imaptest.ToClient)
		a.checkNoop(t)
		checkQuiet(t, log)
		t.Logf("%d commands, %d octets from the server", len(log.Commands()), p.Bytes(imaptest.ToClient)-before)
	}
}

// What changed is all that is looked at: of many mailboxes those where something
// happened, and of their messages those that are new or changed.
func TestCostFollowsChange(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, demo.Corpus(3, 400))
	target := dovecot.Target(user)
	a := onTarget(t, target)
	p := a.via(t, target)
	a.backup(t).want(t, 0)
	c := client(t, target)
	do(t, c, "SELECT INBOX", `UID STORE 2,3,4 +FLAGS.SILENT (\Flagged Later)`)
	dovecot.Fill(user, into(demo.Corpus(4, 10), "Archive/2023"))
	log := p.WireLog()
	log.Reset()
	got := a.backup(t, "--json").want(t, 0).summary(t)
	if got.B.New != 10 || got.B.Flags != 3 {
		t.Errorf("got %+v, want 10 new and 3 flags", got.B)
	}
	log.Assert(t, imaptest.ReadOnly)
	for _, cmd := range log.Commands() {
		if cmd.Verb == "EXAMINE" && !strings.Contains(cmd.Line, "INBOX") && !strings.Contains(cmd.Line, "Archive/2023") {
			t.Errorf("nothing happened there: %s", cmd.Line)
		}
	}
	bodies, octets := 0, p.Bytes(imaptest.ToClient)
	for _, cmd := range log.Commands() {
		if strings.Contains(cmd.Line, "BODY") {
			bodies++
		}
	}
	if bodies == 0 || bodies > 3 {
		t.Errorf("got %d commands that fetch bodies, want 1 to 3:\n%v", bodies, log.Commands())
	}
	a.sameAs(t, target.MustDump(t))
	log.Reset()
	a.checkNoop(t)
	checkQuiet(t, log)
	t.Logf("%d octets for the first runs", octets)
}

// 200 mailboxes far away cost no more round trips than one.
func TestManyMailboxesFarAway(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("Box %03d", i))
	}
	dovecot.Fill(user, into(demo.Corpus(5, 400), names...))
	target := dovecot.Target(user)
	a := onTarget(t, target)
	a.backup(t).want(t, 0)
	p := a.via(t, target)
	// The address is part of an account's identity; the proxy's is another.
	a.dir = a.dir + "-far"
	p.WireLog()
	first := a.backup(t).want(t, 0)
	p.RTT(40 * time.Millisecond)
	log := p.WireLog()
	log.Reset()
	before := snapshot(t, a.dir)
	c := a.backup(t, "--json").want(t, 0)
	c.unchanged(t)
	if m := c.summary(t).mailboxes(t); m.Skipped != m.Total || m.Total < 201 {
		t.Errorf("got mailboxes %+v, want all of at least 201 skipped", m)
	}
	if diff := imaptest.Diff(before, snapshot(t, a.dir)); diff != "" {
		t.Errorf("it wrote:\n%s", clip(diff))
	}
	checkQuiet(t, log)
	if n := len(p.Conns()); n > 10 {
		t.Errorf("got %d connections", n)
	}
	// Each command can cost one round trip, and the greeting another.
	t.Logf("first run %v; second, at 40 ms: %v, %d commands", first.elapsed, c.elapsed, len(log.Commands()))
}

// An account whose only change is a flag on one message gets that flag, and
// nothing else is written but that file's name and the state.
func TestOneFlag(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(6, 60))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	before := snapshot(t, a.dir)
	m := e.Account.Messages("INBOX")[0]
	flags := m.Flags.Union(mail.Flags{System: mail.Answered | mail.Flagged}).Minus(mail.Flags{System: mail.Seen})
	if err := e.Account.SetFlags("INBOX", m.UID, flags); err != nil {
		t.Fatal(err)
	}
	if got := a.backup(t, "--json").want(t, 0).summary(t).B; (got != counts{Flags: 1}) {
		t.Errorf("got %+v, want one change of flags", got)
	}
	a.sameAs(t, e.Target().MustDump(t))
	var files []string
	for line := range strings.Lines(imaptest.Diff(before, snapshot(t, a.dir))) {
		if name, _, _ := strings.Cut(line, " "); !strings.Contains(line, " d") {
			files = append(files, name)
		}
	}
	if len(files) > 4 { // the old name, the new name, the state before and after
		t.Errorf("more was written than a flag: %q", files)
	}
	a.checkNoop(t)
}
