package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// A day's budget that is used up ends the run in order, with exit code 8 and the time
// to come back; what was copied is known, so that the run after that, for whichever
// pair, goes on and sends nothing twice.
func TestDayBudget(t *testing.T) {
	t.Parallel()
	again := regexp.MustCompile(`run it again after \d{4}-\d\d-\d\d \d\d:\d\d and it goes on`)
	for _, way := range []string{"up", "down"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			from, to, m := toScripted(t)
			c := client(t, m.from)
			for i := range 8 {
				raw := []byte("Message-ID: <big" + string(rune('0'+i)) + "@example.org>\r\n\r\n" + strings.Repeat("three hundred KB\r\n", 300<<10/18))
				if err := c.Append("INBOX", mail.Flags{}, time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC), raw); err != nil {
					t.Fatal(err)
				}
			}
			limit := []string{"--limit-day-" + way, "1M"}
			first := m.migrate(t, limit...).want(t, 8)
			if !again.MatchString(first.stderr) || !strings.Contains(first.stderr, "the day's budget of 1.0 MB") {
				t.Errorf("it does not say why, or when to come back\n%s", first)
			}
			n := m.to.MustDump(t).Count()
			if n < 3 || n > 18 {
				t.Errorf("%d messages were copied, want some of all", n)
			}
			m.migrate(t, limit...).want(t, 8)
			if got := m.to.MustDump(t).Count(); got != n {
				t.Errorf("with nothing left %d more were copied", got-n)
			}
			// Another pair of the same account shares it.
			third := imaptest.StartScripted(t, func(s *imaptest.Script) {
				for _, b := range s.Boxes {
					b.Messages = nil
				}
			}).Target()
			other := *m
			if way == "down" {
				other.to, other.toURL = third, "imap://"+third.User+"@"+third.Addr
				other.migrate(t, limit...).want(t, 8)
				if got := third.MustDump(t).Count(); got != 0 {
					t.Errorf("%d messages were copied elsewhere", got)
				}
			}
			m.migrate(t, "--limit-day-"+way, "off").want(t, 0)
			m.same(t)
			m.migrate(t, append(limit, "--json")...).want(t, 0).unchanged(t)
			_, _ = from, to
		})
	}
	_, _, m := toScripted(t)
	m.migrate(t, "--limit-day-up", "10K").want(t, 2)
}
