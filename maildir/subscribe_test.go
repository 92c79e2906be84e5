package maildir

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// withSubscriptions is a tree with some mailboxes and this file of subscriptions.
func withSubscriptions(t *testing.T, layout Layout, text string) (*Store, string) {
	t.Helper()
	s := openNew(t, Options{Layout: layout})
	for _, name := range []string{"INBOX", "Work", "Work/Böse", "a.b"} {
		if err := s.Create(t.Context(), name, ""); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(s.Path(), "subscriptions")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s, path
}

func subscribedIn(t *testing.T, s *Store) string {
	t.Helper()
	got, err := s.Subscribed(t.Context(), []string{"INBOX", "Work", "Work/Böse", "a.b"})
	if err != nil {
		t.Fatal(err)
	}
	if got == nil {
		return "no list"
	}
	return strings.Join(slices.Sorted(maps.Keys(got)), " ")
}

// The file of subscriptions is read and written in both of Dovecot's formats, and
// what is not ours in it stays as it is.
func TestSubscriptionFile(t *testing.T) {
	t.Parallel()
	all := map[string]bool{"INBOX": true, "Work": true, "Work/Böse": true, "a.b": true}
	tests := []struct {
		name    string
		layout  Layout
		before  string
		read    string
		changes map[string]bool
		after   string
	}{
		{"none", MaildirPP, "", "no list", map[string]bool{"Work/Böse": true, "INBOX": true}, "V\t2\n\nINBOX\nWork\tB&APY-se\n"},
		{"none, and nothing to subscribe to", MaildirPP, "", "no list", map[string]bool{"Work": false}, ""},
		{"dots", MaildirPP, "V\t2\n\n", "", all, "V\t2\n\nINBOX\nWork\nWork\tB&APY-se\na%2Eb\n"},
		{"others' lines", MaildirPP, "V\t2\n\nZ\nWork\nodd\x01tname\n", "Work", map[string]bool{"Work": false, "INBOX": true}, "V\t2\n\nZ\nodd\x01tname\nINBOX\n"},
		{"the last", MaildirPP, "V\t2\n\nWork\n", "Work", map[string]bool{"Work": false}, "V\t2\n\n"},
		{"as it is", MaildirPP, "V\t2\n\ninbox\n\nWork", "INBOX Work", map[string]bool{"INBOX": true, "Work": true, "gone": false}, "V\t2\n\ninbox\n\nWork"},
		{"old", MaildirPP, "INBOX\nWork.B&APY-se\n", "INBOX Work/Böse", map[string]bool{"Work": true, "INBOX": false}, "Work.B&APY-se\nWork\n"},
		{"the last of an old one", MaildirPP, "Work\n", "Work", map[string]bool{"Work": false}, "V\t2\n\n"},
		{"empty", MaildirPP, "\n", "", map[string]bool{"Work": true}, "\nWork\n"},
		{"verbatim", Verbatim, "", "no list", all, "V\t2\n\nINBOX\nWork\nWork\tBöse\na.b\n"},
		{"verbatim, old", Verbatim, "Work/Böse\n", "Work/Böse", map[string]bool{"INBOX": true}, "Work/Böse\nINBOX\n"},
		{"flat", Flat, "", "no list", all, "V\t2\n\nINBOX\nWork\nWork%2FBöse\na.b\n"},
	}
	for _, test := range tests {
		t.Run(string(test.layout)+" "+test.name, func(t *testing.T) {
			t.Parallel()
			s, path := withSubscriptions(t, test.layout, test.before)
			if got := subscribedIn(t, s); got != test.read {
				t.Errorf("read %q, want %q", got, test.read)
			}
			if refused, err := s.Subscribe(t.Context(), test.changes); err != nil || refused != nil {
				t.Errorf("got %v and %v", refused, err)
			}
			got, err := os.ReadFile(path)
			if string(got) != test.after {
				t.Errorf("the file is %q (%v), want %q", got, err, test.after)
			}
			if test.after == "" {
				return
			}
			now, err := s.Subscribed(t.Context(), slices.Collect(maps.Keys(test.changes)))
			if err != nil {
				t.Fatal(err)
			}
			for name, on := range test.changes {
				if now[name] != on {
					t.Errorf("%s is subscribed: %v, want %v", name, now[name], on)
				}
			}
			if list, err := s.List(t.Context()); err != nil || len(list) != 4 {
				t.Errorf("got mailboxes %v (%v), want 4", list, err)
			}
		})
	}
}

// A file that is none, or of a version to come, is left alone, with a word for each
// mailbox.
func TestSubscriptionFileOdd(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"V\t3\n\nWork\n", "V\t2", ""} {
		s, path := withSubscriptions(t, MaildirPP, text)
		if text == "" {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Subscribed(t.Context(), []string{"Work"}); mail.AsError(err) == nil || mail.AsError(err).Scope != mail.ScopeMailbox {
			t.Errorf("%q: reading it: got %v", text, err)
		}
		refused, err := s.Subscribe(t.Context(), map[string]bool{"Work": false})
		if err != nil || refused["Work"] == nil {
			t.Errorf("%q: got %v and %v, want a refusal", text, refused, err)
		}
		if got, _ := os.ReadFile(path); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// Dovecot's lock is waited for, and broken when nobody can hold it any more.
func TestSubscriptionLock(t *testing.T) {
	t.Parallel()
	s, path := withSubscriptions(t, MaildirPP, "V\t2\n\n")
	lock := path + ".lock"
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := s.trySubscribe(map[string]bool{"Work": true})
	if done || err != nil {
		t.Errorf("under a lock: got %v, %v", done, err)
	}
	old := time.Now().Add(-staleSubscriptionLock - time.Second)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	if refused, err := s.Subscribe(t.Context(), map[string]bool{"Work": true}); err != nil || refused != nil {
		t.Errorf("got %v and %v", refused, err)
	}
	if got := subscribedIn(t, s); got != "Work" {
		t.Errorf("got %q, want Work", got)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
		t.Errorf("there are %q", left)
	}
}
