package e2e

import (
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// moving is an account that is moved to another server.
type moving struct {
	*account
	from, to imaptest.Target
	toURL    string
}

func newMoving(t testing.TB, from, to imaptest.Target) *moving {
	t.Helper()
	m := &moving{from: from, to: to, account: onTarget(t, from)}
	m.toURL = "imap://" + to.User + "@" + to.Addr
	m.env = append(m.env, "POSTBAG_E2E_TO="+to.Password)
	return m
}

func (m *moving) args(more ...string) []string {
	args := append([]string{"migrate", m.url, m.toURL}, m.flags...)
	return append(append(args, "--to-password-env", "POSTBAG_E2E_TO", "--to-allow-plaintext"), more...)
}

func (m *moving) migrate(t testing.TB, more ...string) *call {
	t.Helper()
	return m.run(t, m.args(more...)...)
}

// same fails the test unless the destination holds what the source holds, and
// nothing else but empty mailboxes of its own.
func (m *moving) same(t testing.TB) {
	t.Helper()
	source, dest := m.from.MustDump(t), m.to.MustDump(t)
	for name, box := range dest {
		if _, there := source[name]; !there && len(box.Messages) == 0 {
			delete(dest, name)
		}
	}
	if diff := imaptest.Diff(source.Content(), dest.Content()); diff != "" {
		t.Errorf("the destination is not the source (- missing, + extra):\n%s", clip(diff))
	}
}

// twoDovecots are two servers with an account each, the first one filled.
func twoDovecots(t testing.TB, n int) (from, to *imaptest.Dovecot, m *moving) {
	t.Helper()
	from = imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	to = imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := from.NewUser()
	from.Fill(user, into(demo.Corpus(91, n), "INBOX", "Work", "Archive/2024", "Projets/Été"))
	from.Fill(user, slices.Values(slices.DeleteFunc(demo.Torture(), func(s demo.Sample) bool { return !s.Safe() })))
	return from, to, newMoving(t, from.Target(user), to.Target(to.NewUser()))
}

// A whole account goes to another server, octet for octet, with flags, keywords
// and dates. The second run does nothing; what changed since follows, and what was
// moved is not sent again.
func TestMigrate(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 120)
	before := m.from.MustDump(t).Content()
	m.migrate(t).want(t, 0)
	m.same(t)
	m.migrate(t, "--json").want(t, 0).unchanged(t)

	c := client(t, m.from)
	do(t, c, "SELECT INBOX", `UID STORE 2 +FLAGS.SILENT (\Flagged Later)`, `UID STORE 3 FLAGS.SILENT ()`, "UID MOVE 4:6 Work", `UID STORE 7 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 7",
		"UNSELECT", "CREATE Fresh", "SELECT Work", "UID COPY 1:2 Fresh", "UNSELECT")
	s := m.migrate(t, "--json").want(t, 0).summary(t)
	if s.B.Moved != 3 || s.B.New != 2 || s.B.Deleted != 0 || s.A != (counts{}) {
		t.Errorf("got %+v on the destination and %+v on the source, want 3 moved and 2 new", s.B, s.A)
	}
	s = m.migrate(t, "--json", "--mirror").want(t, 0).summary(t)
	if s.B.Deleted != 0 {
		t.Logf("mirror: %+v", s.B)
	}
	m.migrate(t, "--json").want(t, 0).unchanged(t)
	m.compare(t, "--deep").want(t, 3) // the mirror was the second run: what the first kept is there yet
	if before == m.from.MustDump(t).Content() {
		t.Error("the test changed nothing")
	}
}

// compare verifies the destination against the source.
func (m *moving) compare(t testing.TB, more ...string) *call {
	t.Helper()
	args := append(m.args(more...), "--json")
	args[0] = "verify"
	return m.run(t, args...)
}

// A comparison of two servers finds nothing after a migration, and names each
// message that is missing, extra, different or has other flags.
func TestVerifyTwoServers(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 60)
	m.migrate(t).want(t, 0)
	m.compare(t).want(t, 0)
	m.compare(t, "--deep").want(t, 0)
	c := client(t, m.to)
	do(t, c, "SELECT INBOX", `UID STORE 1 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1", `UID STORE 2 +FLAGS.SILENT (Other)`, "UNSELECT",
		"SELECT Work", "UID COPY 1 Work", "UNSELECT")
	var kinds []string
	for _, e := range m.compare(t).want(t, 3).events(t) {
		if e.Event == "finding" {
			kinds = append(kinds, e.Kind+" "+e.Mailbox)
		}
	}
	slices.Sort(kinds)
	if want := []string{"extra Work", "flags INBOX", "missing INBOX"}; !slices.Equal(kinds, want) {
		t.Errorf("got findings %q, want %q", kinds, want)
	}
}

// What is there already is found by its content: nothing is sent twice, also when
// the state is lost.
func TestMigrateFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 80)
	m.migrate(t).want(t, 0)
	m.env = append(m.env, "XDG_STATE_HOME="+scratch(t))
	s := m.migrate(t, "--json").want(t, 0).summary(t)
	m.same(t)
	if s.B.New != 0 {
		t.Errorf("without the state %d messages were sent again", s.B.New)
	}
	m.migrate(t, "--json").want(t, 0).unchanged(t)
}

// Mailboxes with a role go where the destination has that role; rules name others;
// a dry run shows it all and does nothing.
func TestMigrateMaps(t *testing.T) {
	t.Parallel()
	_, to, m := twoDovecots(t, 30)
	do(t, client(t, m.from), "CREATE Sent", `CREATE "Sent/2023"`, "SELECT INBOX", "UID COPY 1:3 Sent", `UID COPY 4 "Sent/2023"`, "UNSELECT")
	do(t, client(t, m.to), `CREATE "Gesendete Objekte"`)
	_ = to
	flags := []string{"--map", "Archive/*=Old/*", "--map", "Projets/Été="}
	plan := m.migrate(t, append(flags, "--dry-run")...).want(t, 0)
	if m.to.MustDump(t).Count() != 0 {
		t.Error("a dry run sent mail")
	}
	for _, line := range []string{"Archive/2024 -> Old/2024 (rule)", "Projets/Été: left out"} {
		if !strings.Contains(plan.stdout, line) {
			t.Errorf("the plan does not say %q:\n%s", line, plan.stdout)
		}
	}
	m.migrate(t, flags...).want(t, 0)
	d := m.to.MustDump(t)
	if len(d["Old/2024"].Messages) == 0 || len(d["Projets/Été"].Messages) != 0 || len(d["Archive/2024"].Messages) != 0 {
		t.Errorf("it went to\n%s", d.Content())
	}
	m.migrate(t, append(flags, "--json")...).want(t, 0).unchanged(t)

	c := m.migrate(t, "--map", "Work=INBOX").want(t, 2)
	if !strings.Contains(c.stderr, "would both become") {
		t.Errorf("two mailboxes would become one:\n%s", c)
	}
}

// A migration that is killed at random twenty times, with cut connections in between,
// ends complete, with every message once.
func TestMigrateKilled(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 150)
	proxy := imaptest.StartProxy(t, m.to.Addr)
	m.toURL = "imap://" + m.to.User + "@" + proxy.Addr()
	random := rand.New(rand.NewPCG(drawn(), 12))
	pause := func() { time.Sleep(time.Duration(20+random.IntN(250)) * time.Millisecond) }
	for range 20 {
		p := m.start(t, m.args()...)
		pause()
		proxy.CutAll(true) // it waits, and goes on over a new connection
		pause()
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		p.wait()
	}
	m.migrate(t).want(t, 0)
	m.same(t)
	m.migrate(t, "--json").want(t, 0).unchanged(t)
}
