package e2e

import (
	"strings"
	"sync"
	"testing"

	"postbag/internal/imaptest"
)

// A destination that is full takes what fits, is not asked again and again, and the
// run ends with exit code 8 and says what to do; what is left out is named. All else
// is done. When there is room, the next run finishes.
func TestMigrateToFull(t *testing.T) {
	t.Parallel()
	_, to, m := toScripted(t)
	var mu sync.Mutex // for a connection each
	room, refused := 500, 0
	asked := func() int {
		mu.Lock()
		defer mu.Unlock()
		return refused
	}
	to.Edit(func(s *imaptest.Script) {
		s.OnCommand("APPEND", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
			n := 0
			for _, arg := range cmd.Args {
				if arg.Kind == 's' && len(arg.Text) > 50 {
					n += len(arg.Text)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if n > room {
				refused++
				c.Done("NO [OVERQUOTA] Quota exceeded (mailbox for user is full)")
				return true
			}
			room -= n
			return false
		})
	})
	c := m.migrate(t).want(t, 8)
	for _, want := range []string{"[OVERQUOTA]", "make room there", "partial: "} {
		if !strings.Contains(c.stderr+c.stdout, want) {
			t.Errorf("there is no %q\n%s", want, c)
		}
	}
	if got := m.to.MustDump(t).Count(); got == 0 || got > 5 {
		t.Errorf("there are %d messages, want the few that fit", got)
	}
	once := asked()
	if once > 20 {
		t.Errorf("it was asked %d times", once)
	}
	problems := m.migrate(t, "--json").want(t, 8).summary(t).Problems
	if len(problems) == 0 || problems[0].Kind != "quota" {
		t.Errorf("got problems %+v", problems)
	}
	if again := asked() - once; again > 20 {
		t.Errorf("the second run asked %d times", again)
	}
	to.Edit(func(*imaptest.Script) {
		mu.Lock()
		defer mu.Unlock()
		room = 1 << 30
	})
	m.migrate(t).want(t, 0)
	m.same(t)
	m.migrate(t, "--json").want(t, 0).unchanged(t)
}
