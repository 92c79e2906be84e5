package imapstore

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// The list of subscriptions is read from every server: also from one that knows
// LSUB only, or that says it knows more than it does.
func TestSubscribed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, caps string
		refuse     bool // LIST (SUBSCRIBED)
		want       string
	}{
		{"LIST-EXTENDED", "LIST-EXTENDED", false, "INBOX b/c d&e"},
		{"IMAP4rev2", "IMAP4rev2", false, "INBOX b/c d&e"},
		{"refused", "LIST-EXTENDED", true, "INBOX d&e"},
		{"LSUB", "", false, "INBOX d&e"},
	}
	for _, test := range tests {
		s := &script{t: t, caps: test.caps}
		s.answer = func(command string) ([]string, string) {
			switch {
			case strings.HasPrefix(command, "LIST (SUBSCRIBED)"):
				if test.refuse || test.caps == "" {
					return nil, "BAD what"
				}
				return []string{`* LIST (\Subscribed) "." Inbox`, `* LIST (\Subscribed) "." "b.c"`, `* LIST (\Subscribed) "." "d&-e"`,
					`* LIST (\Subscribed \NonExistent) "." gone`, `* LSUB () "." b`}, "OK"
			case strings.HasPrefix(command, "LSUB"):
				return []string{`* LSUB () "." INBOX`, `* LSUB (\Noselect) "." b`, "* LSUB () \".\" {4}\r\nd&-e", `* LSUB () "." gone`}, "OK"
			case strings.HasPrefix(command, "LIST"):
				return []string{`* LIST () "." INBOX`, `* LIST () "." b`, `* LIST () "." b.c`, `* LIST () "." "d&-e"`}, "OK"
			}
			return nil, ""
		}
		got, err := s.start(nil).Subscribed(t.Context(), []string{"INBOX", "b", "b/c", "d&e"})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if names := strings.Join(slices.Sorted(maps.Keys(got)), " "); names != test.want {
			t.Errorf("%s: got %q, want %q", test.name, names, test.want)
		}
	}
}

// A server that gives no list at all is an error of no more than the list.
func TestSubscribedRefused(t *testing.T) {
	t.Parallel()
	s := &script{t: t}
	s.answer = func(command string) ([]string, string) {
		if strings.HasPrefix(command, "LSUB") {
			return nil, "NO not here"
		}
		return nil, ""
	}
	got, err := s.start(nil).Subscribed(t.Context(), []string{"INBOX"})
	if got != nil || mail.AsError(err).Scope != mail.ScopeMailbox || mail.AsError(err).Kind != mail.KindRefused {
		t.Errorf("got %v and %#v, want a refusal", got, err)
	}
}

// What the server refuses is told for each mailbox, the rest is done; a connection
// that is lost in between is an error.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	changes := map[string]bool{"INBOX": true, "b": false, "new": true}
	for _, lost := range []bool{false, true} {
		s := &script{t: t}
		s.answer = func(command string) ([]string, string) {
			switch {
			case command == `SUBSCRIBE "INBOX"` && !lost:
				return nil, "NO [NOPERM] not yours"
			case command == `SUBSCRIBE "new"` && lost:
				return nil, "hang up"
			}
			return nil, ""
		}
		refused, err := s.start(nil).Subscribe(t.Context(), changes)
		if (err != nil) != lost {
			t.Errorf("lost %v: got %v", lost, err)
		}
		said := append(s.said("SUBSCRIBE"), s.said("UNSUBSCRIBE")...)
		if want := []string{`SUBSCRIBE "INBOX"`, `SUBSCRIBE "new"`, `UNSUBSCRIBE "b"`}; !lost && !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
		if e := refused["INBOX"]; !lost && (len(refused) != 1 || e == nil || e.Kind != mail.KindRefused || e.Mailbox != "INBOX") {
			t.Errorf("got refusals %v, want INBOX's", refused)
		}
	}
}
