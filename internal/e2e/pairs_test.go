package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// pairServers are the kinds of servers between which mail is carried.
var pairServers = append([]otherServer{
	{"dovecot", func(t testing.TB) (func(string) imaptest.Target, func() string) {
		d := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
		return d.Target, d.Log
	}, imaptest.Habits{Keeps: demo.Sample.Safe}, false},
}, otherServers...)

// eachPair tries each kind of server as the source of mail for each, itself too,
// with accounts that nobody has used. There is one server of a kind.
func eachPair(t *testing.T, test func(t *testing.T, from, to otherServer, source, dest imaptest.Target)) {
	t.Parallel()
	account := make(map[string]func(string) imaptest.Target)
	for _, s := range pairServers {
		account[s.name] = begun(t, s)
	}
	users := 0
	user := func(s otherServer) imaptest.Target {
		users++
		return account[s.name](fmt.Sprintf("pair%d", users))
	}
	t.Run("pairs", func(t *testing.T) {
		for _, from := range pairServers {
			for _, to := range pairServers {
				source, dest := user(from), user(to)
				t.Run(from.name+" to "+to.name, func(t *testing.T) {
					t.Parallel()
					test(t, from, to, source, dest)
				})
			}
		}
	})
}

// begun starts a server, whose log is shown when the test fails.
func begun(t *testing.T, s otherServer) func(user string) imaptest.Target {
	t.Helper()
	account, log := s.start(t)
	t.Cleanup(func() {
		if t.Failed() {
			text := log()
			t.Logf("%s says\n%s", s.name, text[max(0, len(text)-1500):])
		}
	})
	return account
}

// pairMailboxes are where mail lies on the source.
var pairMailboxes = []string{"INBOX", "Work", "Projects/2024", "Projets/Été à Öl", "Family & Friends", "Gesendet", "Gesendet/2023"}

// fillPair fills the source with mail that both servers keep as it is, with dates,
// flags and keywords, and answers with its messages.
func fillPair(t *testing.T, from, to otherServer, source imaptest.Target) int {
	t.Helper()
	makeRole(t, source, "Gesendet", mail.UseSent)
	n, err := source.Fill(into(demo.Corpus(131, 70), pairMailboxes...))
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.DeleteFunc(demo.Torture(), func(s demo.Sample) bool { return !from.habits.Keeps(s) || !to.habits.Keeps(s) })
	more, err := source.Fill(slices.Values(kept))
	if err != nil {
		t.Fatal(err)
	}
	if more < 30 {
		t.Fatalf("only %d of the torture set can be carried from %s to %s", more, from.name, to.name)
	}
	return n + more
}

// makeRole makes a mailbox with a role, where a server has roles; elsewhere its
// name tells.
func makeRole(t *testing.T, target imaptest.Target, name string, use mail.SpecialUse) {
	t.Helper()
	c := client(t, target)
	command := "CREATE " + c.Name(name)
	if c.Offers("CREATE-SPECIAL-USE") {
		command += " (USE (" + string(use) + "))"
	}
	do(t, c, command)
}

// pairName is the mailbox of the destination that one of the source becomes.
func pairName(name string) string {
	if below, ok := strings.CutPrefix(name, "Projects/"); ok {
		return "Clients/Old/" + below
	}
	if name == "Gesendet" || strings.HasPrefix(name, "Gesendet/") {
		return "Sent Items" + strings.TrimPrefix(name, "Gesendet")
	}
	return name
}

// renamed is a dump with its mailboxes renamed, without those that are empty.
func renamed(d imaptest.Dump, name func(string) string) imaptest.Dump {
	out := imaptest.Dump{}
	for from, box := range d {
		if len(box.Messages) > 0 {
			out[name(from)] = box
		}
	}
	return out
}

// equal fails the test unless the destination holds what the source holds, in the
// mailboxes that those of the source become.
func (m *moving) equal(t *testing.T) {
	t.Helper()
	source := renamed(m.from.MustDump(t), pairName)
	dest := renamed(m.to.MustDump(t), func(name string) string { return name })
	if diff := imaptest.Diff(source.Content(), dest.Content()); diff != "" {
		t.Errorf("the destination is not the source (- missing, + extra):\n%s", clip(diff))
	}
}

// change is a day of the source: flags, keywords, new mail, a move, a mailbox more
// and one that is renamed.
func (m *moving) change(t *testing.T) {
	t.Helper()
	c := client(t, m.from)
	if _, err := m.from.Fill(into(demo.Corpus(132, 6), "INBOX", "New/Below")); err != nil {
		t.Fatal(err)
	}
	do(t, c, "SELECT INBOX", `UID STORE 2 +FLAGS.SILENT (\Flagged $Forwarded)`, `UID STORE 3 FLAGS.SILENT ()`,
		"UID COPY 4:6 "+c.Name("Work"), `UID STORE 4:6 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 4:6",
		"CREATE "+c.Name("Empty"), "EXAMINE INBOX", "RENAME "+c.Name("Family & Friends")+" "+c.Name("Friends"))
}

// An account goes from any server to any other, octet for octet, with dates, flags
// and keywords; its Sent mail goes where the other has Sent mail, and others where a
// rule says. The second run
// changes nothing, says nothing and writes nothing. What changed on the source
// follows, messages that were moved are not sent again, and a comparison of both
// finds nothing.
func TestPairsMigrate(t *testing.T) {
	eachPair(t, func(t *testing.T, from, to otherServer, source, dest imaptest.Target) {
		n := fillPair(t, from, to, source)
		makeRole(t, dest, "Sent Items", mail.UseSent)
		m := newMoving(t, source, dest)
		m.flags = append(m.flags, "--map", "Projects/*=Clients/Old/*")
		before := source.MustDump(t)
		first, second := m.listen(t)
		s := m.migrate(t, "--json").want(t, 0).summary(t)
		if s.B.New != n || len(s.Problems) > 0 {
			t.Errorf("%d messages went, want %d, with %+v", s.B.New, n, s.Problems)
		}
		m.equal(t)
		m.quietRun(t, first, second)
		first.Assert(t, imaptest.ReadOnly)
		if diff := imaptest.Diff(before.String(), source.MustDump(t).String()); diff != "" {
			t.Errorf("the source was changed:\n%s", clip(diff))
		}

		m.change(t)
		s = m.migrate(t, "--json").want(t, 0).summary(t)
		if s.B.New > 6 || s.B.Deleted != 0 || s.A != (counts{}) {
			t.Errorf("got %+v on the destination and %+v on the source, want at most 6 new", s.B, s.A)
		}
		m.equal(t)
		m.quietRun(t, first, second)
		m.compare(t, "--deep").want(t, 0)
		second.Assert(t, imaptest.ReadWrite)
	})
}

// listen puts a proxy in front of either server, and has nothing compressed.
func (m *moving) listen(t *testing.T) (source, dest *imaptest.WireLog) {
	t.Helper()
	a, b := imaptest.StartProxy(t, m.from.Addr), imaptest.StartProxy(t, m.to.Addr)
	var text strings.Builder
	for name, server := range map[string]string{"old": m.from.User + "@" + a.Addr(), "new": m.to.User + "@" + b.Addr()} {
		fmt.Fprintf(&text, "[accounts.%s]\nserver = \"imap://%s\"\ncompress = false\n", name, server)
	}
	dir := filepath.Join(m.home, "config", "postbag")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	m.url, m.toURL = "old", "new"
	return a.WireLog(), b.WireLog()
}

// quietRun migrates again, and fails the test when that did anything, said
// anything, or sent a command that changes the destination.
func (m *moving) quietRun(t *testing.T, source, dest *imaptest.WireLog) {
	t.Helper()
	source.Reset()
	dest.Reset()
	c := m.migrate(t, "--json").want(t, 0)
	c.unchanged(t)
	if s := c.summary(t); len(s.Problems) > 0 {
		t.Errorf("a run that does nothing says %+v", s.Problems)
	}
	source.Assert(t, imaptest.ReadOnly)
	checkUnwritten(t, dest)
}

// checkUnwritten fails the test when a command was sent that changes mail. SELECT
// may be: a server that cannot tell that nothing happened has to be looked at.
func checkUnwritten(t *testing.T, log *imaptest.WireLog) {
	t.Helper()
	log.Assert(t, imaptest.ReadWrite)
	for _, verb := range []string{"APPEND", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "UID STORE", "UID COPY", "UID MOVE", "UID EXPUNGE"} {
		if n := log.Count(verb); n > 0 {
			t.Errorf("%s was sent %d times in a run that has nothing to do", verb, n)
		}
	}
}

// A backup of any server goes up to any other as it is; the second restore does
// nothing. The new account and a Maildir are then kept alike, both ways.
func TestPairsRestore(t *testing.T) {
	eachPair(t, func(t *testing.T, from, to otherServer, source, dest imaptest.Target) {
		n := fillPair(t, from, to, source)
		a := onTarget(t, source)
		a.backup(t).want(t, 0)
		a.verify(t, "--deep").want(t, 0)
		tree := treeDump(t, a.dir).Content()
		b := *a
		b.url = "imap://" + dest.User + "@" + dest.Addr
		b.env = []string{passwordVar + "=" + dest.Password}
		log := b.via(t, dest).WireLog()
		b.configure(t, "compress = false")
		s := b.upload(t, "--json").want(t, 0).summary(t)
		if s.A.New != n || len(s.Problems) > 0 {
			t.Errorf("%d messages went, want %d, with %+v", s.A.New, n, s.Problems)
		}
		same := func(name string) string { return name }
		want, got := renamed(source.MustDump(t), same), renamed(dest.MustDump(t), same)
		if diff := imaptest.Diff(want.Content(), got.Content()); diff != "" {
			t.Errorf("the other server has something else (- missing, + extra):\n%s", clip(diff))
		}
		log.Reset()
		b.upload(t, "--json").want(t, 0).unchanged(t)
		checkUnwritten(t, log)
		if treeDump(t, a.dir).Content() != tree {
			t.Error("a restore changed the Maildir")
		}
		a.backup(t, "--json").want(t, 0).unchanged(t)
		syncsBoth(t, to, dest)
	})
}

// syncsBoth keeps an account and a new Maildir alike, both ways.
func syncsBoth(t *testing.T, s otherServer, target imaptest.Target) {
	t.Helper()
	w := newTwoWayAt(t, target)
	w.loud = s.loud
	w.configure(t, "compress = false")
	w.reader.root = w.dir
	w.sync(t).want(t, 0)
	must(t, w.reader.deliver("Work", w.reader.base(), []byte("Subject: from here\n\nhello\n"), mail.ParseFlags(`\Seen`), pairDate, false))
	do(t, w.server.Client, "SELECT INBOX", `UID STORE 1 +FLAGS.SILENT (\Flagged)`, "EXAMINE INBOX")
	w.sync(t).want(t, 0)
	if len(target.MustDump(t)["Work"].Messages) == 0 {
		t.Error("what was put into the Maildir is not on the server")
	}
	w.verify(t, "--deep").want(t, 0)
	w.log.Reset()
	w.sync(t, "--json").want(t, 0).unchanged(t)
	checkUnwritten(t, w.log)
}

var pairDate = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// upload restores into the account of the configuration file.
func (a *account) upload(t *testing.T, more ...string) *call {
	t.Helper()
	return a.run(t, append([]string{"restore", a.dir, a.name}, more...)...)
}
