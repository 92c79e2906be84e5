package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// refusesForm makes a server refuse messages with NUL octets, lines that do not end in
// CRLF or have more than 998 octets, and those without a From or Date field, as several
// providers do, each in its own way.
func refusesForm(s *imaptest.Script) {
	s.OnCommand("APPEND", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
		for _, arg := range cmd.Args {
			if body := []byte(arg.Text); arg.Kind == 's' && len(body) > 40 && wellFormed(body) != "" {
				c.Done("NO [CANNOT] %s", wellFormed(body))
				return true
			}
		}
		return false
	})
}

// wellFormed is what is wrong with a message.
func wellFormed(body []byte) string {
	head, _, _ := bytes.Cut(body, []byte("\r\n\r\n"))
	switch {
	case bytes.IndexByte(body, 0) >= 0:
		return "message contains NUL"
	case bytes.ContainsAny(bytes.ReplaceAll(body, []byte("\r\n"), nil), "\r\n"), !bytes.HasSuffix(body, []byte("\r\n")):
		return "bare newlines"
	case !bytes.Contains(head, []byte("From: ")) || !bytes.Contains(head, []byte("Date: ")):
		return "From or Date is missing"
	}
	for _, line := range bytes.Split(body, []byte("\r\n")) {
		if len(line) > 998 {
			return "line too long"
		}
	}
	return ""
}

// deformed are messages that such a server refuses, each with the repairs that it
// needs, the last one with none that helps.
var deformed = []struct{ raw, repairs string }{
	{"From: a@example.org\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <d0@example.org>\r\n\r\nno last line end", "crlf"},
	{"From: a@example.org\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <d1@example.org>\r\n\r\n" + "N\x00UL\r\n", "nul"},
	{"Date: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <d2@example.org>\r\n\r\nwho\r\n", "from"},
	{"From: a@example.org\r\nMessage-ID: <d3@example.org>\r\n\r\nwhen\r\n", "date"},
	{"From: a@example.org\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <d4@example.org>\r\n\r\n" + strings.Repeat("long line ", 2000) + "\r\n", "long-lines"},
	{"Subject: all of it\n\n" + strings.Repeat("NUL\x00 and long ", 2000), "crlf,nul,long-lines,from,date"},
	{"From: a@example.org\r\nDate: Sat, 3 Feb 2024 04:05:06 +0000\r\nMessage-ID: <d6@example.org>\r\n\r\n" + strings.Repeat("x", 20000) + "\r\n", ""},
}

// deform adds them to the source.
func deform(t testing.TB, m *moving, from *imaptest.Scripted) {
	t.Helper()
	c := client(t, m.from)
	for i, d := range deformed {
		if err := c.Append("INBOX", mail.Flags{}, time.Date(2024, 2, 3, 4, 5, i, 0, time.UTC), []byte(d.raw)); err != nil {
			t.Fatal(err)
		}
	}
}

// A message that is refused for its form arrives repaired, when that is asked for, and
// is named with what was done; the others arrive as they are, though they lack fields,
// too. Nothing is sent again; verify knows about it, and --deep names it. The source
// is as it was.
func TestRefusedFixed(t *testing.T) {
	t.Parallel()
	from, to, m := toScripted(t)
	to.Edit(func(s *imaptest.Script) {
		s.Without("MULTIAPPEND")
		refusesForm(s)
	})
	deform(t, m, from)
	ordinary := m.from.MustDump(t).Count() - len(deformed)
	before := m.from.MustDump(t).Content()

	// Not asked for: as ever.
	refused := len(m.migrate(t, "--json").want(t, 3).summary(t).Problems)
	if refused < len(deformed) {
		t.Fatalf("%d messages were refused, want at least %d", refused, len(deformed))
	}
	c := m.migrate(t, "--json", "--fix", "all").want(t, 3)
	named := 0
	for _, d := range deformed {
		if d.repairs == "" {
			continue
		}
		list := `"repaired":["` + strings.ReplaceAll(d.repairs, ",", `","`) + `"]`
		if !strings.Contains(c.stdout, list) {
			t.Errorf("no message is said to be %s\n%s", list, c)
		}
		named++
	}
	for _, field := range []string{`"mailbox":"INBOX"`, `"date":"2024-02-03T04:05:02Z"`, `"uid":`, "without a place to break it", "line too long"} {
		if !strings.Contains(c.stdout, field) {
			t.Errorf("there is no %s\n%s", field, c)
		}
	}
	dest := m.to.MustDump(t)
	if got := dest.Count(); got != ordinary+named {
		t.Errorf("there are %d messages, want %d and %d", got, ordinary, named)
	}
	if got := m.from.MustDump(t).Content(); got != before {
		t.Errorf("the source changed:\n%s", clip(imaptest.Diff(before, got)))
	}
	m.migrate(t, "--json", "--fix", "all").want(t, 3).unchanged(t)
	m.migrate(t, "--json").want(t, 3).unchanged(t)
	v := m.compare(t).want(t, 3)
	if strings.Contains(v.stdout, "different") || strings.Count(v.stdout, `"event":"finding"`) != 1 {
		t.Errorf("want the one that is not there, and no other\n%s", v)
	}
	v = m.compare(t, "--deep").want(t, 3)
	if n := strings.Count(v.stdout, `"kind":"repaired"`); n != refused-1 || strings.Contains(v.stdout, `"kind":"different"`) || strings.Count(v.stdout, `"kind":"missing"`) != 1 {
		t.Errorf("%d are named as repaired, want %d, and one missing\n%s", n, refused-1, v)
	}
	if text := m.run(t, deepText(m)...).want(t, 3).stdout; !strings.Contains(text, "repaired: INBOX: uid ") || !strings.Contains(text, "NUL octets left out") {
		t.Errorf("the text does not name them\n%s", text)
	}
}

// deepText are the arguments of a verification that writes text.
func deepText(m *moving) []string {
	args := m.args("--deep")
	args[0] = "verify"
	return args
}

// A migration with repairs that is killed again and again, with and without UIDPLUS,
// ends with each message once.
func TestRefusedFixedKilled(t *testing.T) {
	t.Parallel()
	for _, without := range [][]string{{"MULTIAPPEND"}, {"MULTIAPPEND", "UIDPLUS"}} {
		t.Run(strings.Join(without, " "), func(t *testing.T) {
			t.Parallel()
			from, to, m := toScripted(t)
			to.Edit(func(s *imaptest.Script) {
				s.Without(without...)
				refusesForm(s)
			})
			for range 3 {
				deform(t, m, from)
			}
			want := m.from.MustDump(t).Count() - 3
			kills := 6
			if long() {
				kills = 30
			}
			for i := 0; i < kills; i++ {
				r := m.start(t, m.args("--fix", "all")...)
				timer := time.AfterFunc(time.Duration(10+rand.IntN(60*(i+1)))*time.Millisecond, func() { _ = r.cmd.Process.Kill() })
				r.wait()
				timer.Stop()
			}
			m.migrate(t, "--fix", "all").want(t, 3)
			dest := m.to.MustDump(t)
			if got := dest.Count(); got != want {
				t.Errorf("after %d kills there are %d messages, want %d", kills, got, want)
			}
			m.migrate(t, "--json", "--fix", "all").want(t, 3).unchanged(t)
			v := m.compare(t, "--deep").want(t, 3)
			if strings.Contains(v.stdout, `"kind":"different"`) || strings.Contains(v.stdout, `"kind":"extra"`) || strings.Count(v.stdout, `"kind":"missing"`) != 3 {
				t.Errorf("want three that are refused and nothing else\n%s", v)
			}
		})
	}
}

// A repair that no name has is refused, with the names that there are.
func TestFixMisspelt(t *testing.T) {
	t.Parallel()
	_, _, m := toScripted(t)
	c := m.migrate(t, "--fix", "crlf,null").want(t, 2)
	if want := fmt.Sprintf("did you mean %q", "nul"); !strings.Contains(c.stderr, want) {
		t.Errorf("there is no %q\n%s", want, c)
	}
}

// A Maildir is put on a server that refuses some of it for its form: repaired, those
// are there, a second restore does nothing, the Maildir is as it was, and verify of the
// two knows them.
func TestRestoreFixed(t *testing.T) {
	t.Parallel()
	from, to, m := toScripted(t)
	to.Edit(func(s *imaptest.Script) {
		s.Without("MULTIAPPEND")
		refusesForm(s)
	})
	deform(t, m, from)
	m.backup(t).want(t, 0)
	tree := treeDump(t, m.dir).Content()
	want := m.from.MustDump(t).Count() - 1
	server := []string{m.dir, m.toURL, "--password-env", "POSTBAG_E2E_TO", "--allow-plaintext"}
	do := func(command string, more ...string) *call {
		return m.run(t, append(append([]string{command}, server...), more...)...)
	}
	do("restore", "--fix", "all").want(t, 3)
	if got := m.to.MustDump(t).Count(); got != want {
		t.Errorf("there are %d messages, want %d", got, want)
	}
	do("restore", "--fix", "all", "--json").want(t, 3).unchanged(t)
	if treeDump(t, m.dir).Content() != tree {
		t.Error("the Maildir changed")
	}
	v := do("verify", "--json", "--deep").want(t, 3)
	if strings.Count(v.stdout, `"kind":"missing"`) != 1 || strings.Contains(v.stdout, `"kind":"different"`) || strings.Contains(v.stdout, `"kind":"extra"`) ||
		!strings.Contains(v.stdout, `"kind":"repaired"`) {
		t.Errorf("want the repaired ones named and one missing\n%s", v)
	}
}
