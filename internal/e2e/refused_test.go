package e2e

import (
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// toScripted is an account that is moved to a server with quirks, which holds
// nothing.
func toScripted(t *testing.T, quirks ...string) (from, to *imaptest.Scripted, m *moving) {
	t.Helper()
	from = imaptest.StartScripted(t, nil)
	to = imaptest.StartScripted(t, func(s *imaptest.Script) {
		for _, b := range s.Boxes {
			b.Messages = nil
		}
		imaptest.ApplyQuirk(t, quirks...)(s)
	})
	return from, to, newMoving(t, from.Target(), to.Target())
}

// poison adds a message to the source that the destination's filter refuses.
func poison(t *testing.T, m *moving) {
	t.Helper()
	raw := []byte("Subject: poison\r\nMessage-ID: <poison@example.org>\r\n\r\nx\r\n")
	if err := client(t, m.from).Append("INBOX", mail.Flags{}, time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC), raw); err != nil {
		t.Fatal(err)
	}
}

// A message that the destination refuses is left out and named, and all others
// are copied; with --refused fail the run ends there, with exit code 1. Either way
// the next run tries it again.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		refused string
		code    int
	}{{"", 3}, {"skip", 3}, {"fail", 1}} {
		t.Run("refused "+test.refused, func(t *testing.T) {
			t.Parallel()
			_, to, m := toScripted(t, "append-one-bad")
			poison(t, m)
			var more []string
			if test.refused != "" {
				more = []string{"--refused", test.refused}
			}
			for range 2 {
				c := m.migrate(t, append(more, "--json")...).want(t, test.code)
				problems := c.summary(t).Problems
				if len(problems) != 1 || problems[0].UID != 11 || problems[0].Mailbox != "INBOX" || !strings.Contains(problems[0].Reason, "content filter") {
					t.Errorf("got problems %+v, want one, of uid 11 of INBOX\n%s", problems, c)
				}
				for _, field := range []string{`"date":"2024-02-03T04:05:06Z"`, `"size":`} {
					if !strings.Contains(c.stdout, field) {
						t.Errorf("there is no %s\n%s", field, c)
					}
				}
			}
			if text := m.migrate(t, more...).want(t, test.code).stderr; !strings.Contains(text, "INBOX: uid 11 ") || !strings.Contains(text, "content filter") {
				t.Errorf("want a line about uid 11 of INBOX, got %s", text)
			}
			if test.refused == "fail" {
				c := m.migrate(t, more...)
				if !strings.Contains(c.stderr, "INBOX (uid 11)") || !strings.Contains(c.stderr, "--refused skip") {
					t.Errorf("the error does not name the message, or no way out\n%s", c)
				}
			} else if got := m.to.MustDump(t).Count(); got != 12 {
				t.Errorf("there are %d messages, want all 12 others", got)
			}
			mend := imaptest.DefaultScript()
			to.Edit(func(s *imaptest.Script) {
				mend.Boxes = s.Boxes
				*s = *mend
			})
			m.migrate(t, more...).want(t, 0)
			m.same(t)
			m.migrate(t, append(more, "--json")...).want(t, 0).unchanged(t)
		})
	}
}
