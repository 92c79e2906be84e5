package e2e

import (
	"slices"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// odd is a server with a quirk, and a backup of it that was not begun.
func odd(t *testing.T, quirk string) (*imaptest.Scripted, *account) {
	t.Helper()
	s := imaptest.StartScripted(t, imaptest.ApplyQuirk(t, quirk))
	return s, onTarget(t, s.Target())
}

// mend makes the server behave.
func mend(s *imaptest.Scripted) {
	s.Edit(func(script *imaptest.Script) { *script = *imaptest.DefaultScript() })
}

// One message that the server does not give costs no other one. The run says
// which it is and why, in its exit code too, tries again each time, and has it
// when the server gives it.
func TestOneBadMessage(t *testing.T) {
	t.Parallel()
	for _, quirk := range []string{
		"fetch-no", "fetch-omits-body", "fetch-omits-message", "fetch-nil-body", "fetch-no-uid", "fetch-wrong-uid", "fetch-wrong-section",
		"fetch-partial-section", "fetch-long-literal", "fetch-negative-literal", "fetch-huge-literal", "fetch-overflow-literal",
		"fetch-truncated", "fetch-truncated-reset", "bye-between-messages", "garbage",
	} {
		t.Run(quirk, func(t *testing.T) {
			t.Parallel()
			s, a := odd(t, quirk)
			for range 2 {
				c := a.backup(t, "--json").want(t, 3)
				checkLeftOut(t, c)
				if got := treeDump(t, a.dir).Count(); got != 11 {
					t.Fatalf("the Maildir holds %d messages, want all 11 but the bad one\n%s", got, c)
				}
				a.checkState(t)
			}
			text := a.backup(t).want(t, 3)
			if !strings.Contains(text.stderr, "INBOX: uid 7 ") {
				t.Errorf("want a line about uid 7 of INBOX\n%s", text)
			}
			status := a.run(t, "status", a.dir, "--json").want(t, 0).events(t)[0]
			if len(status.Problems) != 1 || status.Problems[0].UID != imaptest.OddUID {
				t.Errorf("status tells of %+v, want uid 7", status.Problems)
			}
			mend(s)
			if got := a.backup(t, "--json").want(t, 0).summary(t).B.New; got != 1 {
				t.Errorf("got %d new messages from the server that works again, want 1", got)
			}
			a.sameAs(t, s.Target().MustDump(t))
			a.verify(t).want(t, 0)
			a.checkState(t)
			a.checkNoop(t)
		})
	}
}

// checkLeftOut fails the test when the report does not name message 7 of INBOX,
// with a reason, and nothing else.
func checkLeftOut(t *testing.T, c *call) {
	t.Helper()
	problems := c.summary(t).Problems
	if len(problems) != 1 {
		t.Fatalf("got %d problems, want 1\n%s", len(problems), c)
	}
	if p := problems[0]; p.Mailbox != "INBOX" || p.UID != imaptest.OddUID || p.Reason == "" || p.Warning {
		t.Errorf("got %+v, want uid 7 of INBOX with a reason\n%s", p, c)
	}
}

// Servers that put the same things in other words get the same backup.
func TestOddButRight(t *testing.T) {
	t.Parallel()
	for _, quirk := range []string{
		"fetch-literal8", "fetch-nonsync-literal", "fetch-uid-last", "fetch-twice", "fetch-split", "fetch-other-uid", "fetch-extra-items",
		"fetch-unsolicited-flags", "fetch-expunge-between", "fetch-unsorted", "fetch-lower-case", "size-too-small", "size-too-large",
		"size-negative", "flags-in-select", "flags-nil", "modseq-zero", "search-empty", "search-no-line", "search-misses",
		"search-huge-range", "search-split", "esearch-bad", "list-status-bad", "qresync-bad", "status-missing", "status-other-case",
		"status-unknown-item", "uidvalidity-status-differs", "uidnext-missing", "uidnext-zero", "modseq-none", "modseq-zero-status",
		"modseq-regresses", "codes-lower-case", "read-only", "list-duplicate", "list-many", "bare", "untagged-unknown", "untagged-empty",
		"untagged-unclosed", "untagged-alert", "stray-continuation", "stray-tag", "lf-only", "reply-without-text", "first-connection-dies",
	} {
		t.Run(quirk, func(t *testing.T) {
			t.Parallel()
			s, a := odd(t, quirk)
			a.backup(t).want(t, 0)
			a.sameAs(t, imaptest.StartScripted(t, nil).Target().MustDump(t))
			a.backup(t, "--json").want(t, 0).unchanged(t)
			a.checkState(t)
			mend(s)
			a.backup(t, "--json").want(t, 0).unchanged(t)
			a.verify(t).want(t, 0)
		})
	}
}

// What a server contradicts itself about is left out, and the exit code says so.
func TestContradictions(t *testing.T) {
	t.Parallel()
	for quirk, code := range map[string]int{
		"fetch-empty": 3, "uid-zero": 3, "uid-duplicate": 3, "uid-overflow": 3, "uidnext-low": 3, "uidvalidity-missing": 3,
		"uidvalidity-zero": 3, "list-empty": 4, "list-ghosts": 3, "untagged-huge": 1, "http": 1, "preauth": 1,
		"login-refused": 5, "login-expired": 5,
	} {
		t.Run(quirk, func(t *testing.T) {
			t.Parallel()
			s, a := odd(t, quirk)
			c := a.backup(t)
			if c.code != code {
				t.Errorf("got exit code %d, want %d\n%s", c.code, code, c)
			}
			if !strings.HasPrefix(c.stderr, "postbag: ") {
				t.Errorf("no word about it\n%s", c)
			}
			mend(s)
			a.backup(t).want(t, 0)
			if extra := a.sameIn(t, s.Target().MustDump(t)); len(extra) > 0 && !slices.Equal(extra, []string{"Ghost"}) {
				t.Errorf("got extra mailboxes %q", extra)
			}
			a.checkState(t)
			a.checkNoop(t)
		})
	}
}

// A server that says nothing any more is waited for a minute each time, and one that
// wants a pause as long as it may be.
func TestSilence(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Skip("takes minutes: POSTBAG_LONG=1")
	}
	for quirk, code := range map[string]int{"fetch-stalls": 3, "bye-without-close": 3, "silent": 3, "greeting-silent": 7, "untagged-huge-literal": 7,
		"bye-greeting": 8, "login-unavailable": 7, "login-limit": 8} {
		t.Run(quirk, func(t *testing.T) {
			t.Parallel()
			s, a := odd(t, quirk)
			c := a.backup(t)
			t.Logf("exit %d after %v: %s", c.code, c.elapsed, c.stderr)
			if c.code != code {
				t.Errorf("got exit code %d, want %d\n%s", c.code, code, c)
			}
			mend(s)
			a.backup(t).want(t, 0)
			a.sameAs(t, s.Target().MustDump(t))
		})
	}
}
