package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// Some providers show only the newest messages of a mailbox. When new mail comes, an
// old message falls out of sight: a two-way sync and a mirror keep it, and say why. When
// the window is not full, what is gone is deleted as ever.
func TestOutOfSightIsNotDeleted(t *testing.T) {
	t.Parallel()
	for _, command := range [][]string{{"sync"}, {"backup", "--mirror"}} {
		t.Run(command[0], func(t *testing.T) {
			t.Parallel()
			const shown = 1000
			next := uint32(1)
			deliver := func(s *imaptest.Script, n int) {
				box := s.Box("INBOX")
				for range n {
					box.Messages = append(box.Messages, &imaptest.ScriptMessage{UID: next, ModSeq: 1, Date: "01-Jan-2024 00:00:00 +0000",
						Raw: fmt.Appendf(nil, "Message-ID: <%d@example.org>\r\nSubject: %d\r\n\r\ntext\r\n", next, next)})
					next++
				}
				box.UIDNext = next
				box.Messages = box.Messages[max(0, len(box.Messages)-shown):]
			}
			server := imaptest.StartScripted(t, func(s *imaptest.Script) {
				s.Without("CONDSTORE", "QRESYNC")
				s.Box("INBOX").Messages = nil
				deliver(s, shown)
			})
			a := onTarget(t, server.Target())
			a.configure(t, `provider = "gmail"`)
			run := func() *call { return a.run(t, append(append([]string{}, command...), a.name)...).want(t, 0) }
			held := func(want int) {
				t.Helper()
				if got := treeDump(t, a.dir)["INBOX"].Messages; len(got) != want {
					t.Fatalf("INBOX holds %d messages, want %d", len(got), want)
				}
			}
			run()
			held(shown)
			server.Edit(func(s *imaptest.Script) { deliver(s, 3) })
			c := run()
			held(shown + 3)
			if !strings.Contains(c.stderr, "exactly 1000 messages, where this server stops to show more") {
				t.Errorf("want to be told why\n%s", c)
			}
			server.Edit(func(s *imaptest.Script) { // now all that there is is in sight
				box := s.Box("INBOX")
				box.Messages = slices.Delete(box.Messages, 10, 12)
			})
			run()
			held(shown - 2)
		})
	}
}
