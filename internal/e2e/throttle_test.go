package e2e

import (
	"regexp"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// eachFourth answers each fourth command of a verb, three times in all, with lines, of
// which one that begins with "*" is untagged, and ends the connection after it when
// that is told. Without the bound it could be the same command in each pass.
func eachFourth(verb, reply string, end bool) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		s.Without("MULTIAPPEND") // several commands
		n := 0
		s.OnCommand(verb, func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
			if n++; n%4 != 0 || n > 12 {
				return false
			}
			if strings.HasPrefix(reply, "*") {
				c.Raw(reply + "\r\n")
			} else {
				c.Done("%s", reply)
			}
			if end {
				c.Close()
			}
			return true
		})
	}
}

// A migration waits when the one or the other server wants it to, goes on where it
// was, and ends as one that was not held up: nothing twice, nothing missing.
func TestMigrateIsThrottled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, verb, reply string
		end               bool
	}{
		{"Exchange", "APPEND", "BAD Request is throttled. Suggested Backoff Time: 150 milliseconds", false},
		{"Exchange closes", "APPEND", "BAD Request is throttled. Suggested Backoff Time: 150 milliseconds", true},
		{"code", "APPEND", "NO [THROTTLED] Suggested Backoff Time: 150 milliseconds", false},
		{"code, fetch", "UID FETCH", "NO [THROTTLED] Suggested Backoff Time: 150 milliseconds", false},
		{"limit", "APPEND", "NO [LIMIT] slow down, Suggested Backoff Time: 150 milliseconds", true},
		{"unavailable", "APPEND", "NO [UNAVAILABLE] Service temporarily unavailable", false},
		{"in use", "APPEND", "NO [INUSE] mailbox is locked", false},
		{"bye", "APPEND", "* BYE [UNAVAILABLE] back soon", true},
		{"bye, throttled", "APPEND", "* BYE Request is throttled. Suggested Backoff Time: 150 milliseconds", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			from, to, m := toScripted(t)
			at := to
			if strings.Contains(test.verb, "FETCH") {
				at = from
			}
			at.Edit(eachFourth(test.verb, test.reply, test.end))
			c := m.migrate(t, "-v").want(t, 0)
			if !strings.Contains(c.stderr, "; trying again in ") {
				t.Errorf("there was nothing to wait for\n%s", c)
			}
			at.Edit(func(s *imaptest.Script) {
				boxes := s.Boxes
				*s = *imaptest.DefaultScript()
				s.Boxes = boxes
			})
			m.same(t)
			m.migrate(t, "--json").want(t, 0).unchanged(t)
		})
	}
}

// A server that wants a pause at the login, or for a list, is given it, and one that
// wants too long a one ends the run with exit code 8 and the time to come back.
func TestMigrateIsThrottledEarly(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"LOGIN", "LIST", "CREATE"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			_, to, m := toScripted(t)
			do(t, client(t, m.from), "CREATE Fresh")
			wanted, reply := 2, "NO [THROTTLED] Suggested Backoff Time: 120 milliseconds"
			to.Edit(func(s *imaptest.Script) {
				refuse := func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
					if wanted--; wanted < 0 {
						return false
					}
					c.Done("%s", reply)
					return true
				}
				s.OnCommand(verb, refuse)
				if verb == "LOGIN" {
					s.OnCommand("AUTHENTICATE", refuse)
				}
			})
			c := m.migrate(t, "-v").want(t, 0)
			if n := strings.Count(c.stderr, "; trying again in "); n != 2 {
				t.Errorf("it waited %d times, want 2\n%s", n, c)
			}
			m.same(t)
			if verb == "CREATE" {
				return // there is nothing more to make
			}
			to.Edit(func(*imaptest.Script) { wanted, reply = 1, "NO [LIMIT] Suggested Backoff Time: 300000 milliseconds" })
			if c := m.migrate(t).want(t, 8); !strings.Contains(c.stderr, "run it again after ") {
				t.Errorf("it does not say when to come back\n%s", c)
			}
			m.migrate(t, "--json").want(t, 0).unchanged(t)
		})
	}
}

// A pause that is too long to be waited for ends the run with exit code 8, and it
// says when to come back; the next run goes on.
func TestMigrateIsToldToComeBack(t *testing.T) {
	t.Parallel()
	again := regexp.MustCompile(`run it again after (\d{4}-\d\d-\d\d )?\d\d:\d\d and it goes on`)
	for name, test := range map[string]struct {
		reply string
		end   bool
	}{
		"bad": {"BAD Request is throttled. Suggested Backoff Time: 300000 milliseconds", true},
		"no":  {"NO [THROTTLED] Suggested Backoff Time: 7200000 milliseconds", false},
		"bye": {"* BYE Request is throttled. Suggested Backoff Time: 86400000 milliseconds", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, to, m := toScripted(t)
			to.Edit(eachFourth("APPEND", test.reply, test.end))
			c := m.migrate(t).want(t, 8)
			if !again.MatchString(c.stderr) {
				t.Errorf("it does not say when to come back\n%s", c)
			}
			to.Edit(func(s *imaptest.Script) {
				boxes := s.Boxes
				*s = *imaptest.DefaultScript()
				s.Boxes = boxes
			})
			m.migrate(t, "-v").want(t, 0)
			m.same(t)
		})
	}
}
