package imapstore

import (
	"strings"
	"testing"
)

// asked is a server with a few mailboxes that answers questions about
// subscriptions as a test wants.
func asked(t *testing.T, caps string, answer func(command string) ([]string, string)) *script {
	return &script{t: t, caps: "IMAP4rev1 NAMESPACE " + caps, answer: func(command string) ([]string, string) {
		switch {
		case strings.HasPrefix(command, `LIST "" "*"`):
			return []string{`* LIST () "." INBOX`, `* LIST () "." "INBOX.Work"`, `* LIST () "." "INBOX.Entw&APw-rfe"`, `* LIST () "." "INBOX.A&B"`}, "OK"
		case strings.HasPrefix(command, "NAMESPACE"):
			return []string{`* NAMESPACE (("INBOX." ".")) NIL NIL`}, "OK"
		}
		return answer(command)
	}}
}

func unquoted(list []string) (out []string) {
	for _, s := range list {
		out = append(out, strings.ReplaceAll(s, `"`, ""))
	}
	return out
}

// A rename takes the subscriptions of a mailbox and of those below along, and
// subscribes to nothing that was not subscribed to.
func TestRenameTakesSubscriptionsAlong(t *testing.T) {
	t.Parallel()
	for lsub, want := range map[string]string{
		"NO":                                "UNSUBSCRIBE INBOX.Work, SUBSCRIBE INBOX.Done",
		"INBOX.Working":                     "",
		"INBOX.Work INBOX.Work.X INBOX.Old": "UNSUBSCRIBE INBOX.Work, SUBSCRIBE INBOX.Done, UNSUBSCRIBE INBOX.Work.X, SUBSCRIBE INBOX.Done.X",
		"INBOX.Work.X":                      "UNSUBSCRIBE INBOX.Work.X, SUBSCRIBE INBOX.Done.X",
	} {
		s := asked(t, "", func(command string) ([]string, string) {
			if !strings.HasPrefix(command, "LSUB") {
				return nil, ""
			}
			if lsub == "NO" {
				return nil, "NO not here"
			}
			var lines []string
			for _, name := range strings.Fields(lsub) {
				lines = append(lines, `* LSUB () "." "`+name+`"`)
			}
			return lines, "OK"
		})
		if err := s.start(nil).Rename(t.Context(), "Work", "Done"); err != nil {
			t.Errorf("%q: %v", lsub, err)
		}
		var sent []string
		s.mu.Lock()
		for _, c := range s.commands {
			if strings.Contains(c, "SUBSCRIBE ") {
				sent = append(sent, c)
			}
		}
		s.mu.Unlock()
		if got := strings.Join(unquoted(sent), ", "); got != want {
			t.Errorf("subscribed to %q: sent %q, want %q", lsub, got, want)
		}
	}
}
