package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// A backup's words are few: it examines, and fetches by UID without marking
// anything as read. Every session of runs that have all kinds of work to do is
// checked, on servers that can do more and less.
func TestBackupOnlyReads(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		noCaps []string
	}{
		{"all", nil},
		{"without QRESYNC", []string{"QRESYNC"}},
		{"without CONDSTORE", []string{"QRESYNC", "CONDSTORE"}},
		{"without LIST-STATUS", []string{"LIST-STATUS", "STATUS=SIZE"}},
		{"bare", []string{
			"QRESYNC", "CONDSTORE", "LIST-STATUS", "STATUS=SIZE", "LIST-EXTENDED", "SPECIAL-USE", "ESEARCH", "UIDPLUS", "MOVE",
			"NAMESPACE", "ENABLE", "LITERAL+", "SASL-IR", "UNSELECT", "ID", "MULTIAPPEND", "BINARY", "SEARCHRES", "NOTIFY",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checkOnlyReads(t, test.noCaps)
		})
	}
}

func checkOnlyReads(t *testing.T, noCaps []string) {
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{NoCaps: noCaps})
	user := dovecot.NewUser()
	dovecot.Fill(user, demo.Corpus(7, 150))
	target := dovecot.Target(user)
	a := onTarget(t, target)
	p := a.via(t, target)
	log := p.WireLog()
	untouched := target.MustDump(t).String()
	a.backup(t).want(t, 0)
	a.sameAs(t, target.MustDump(t))
	a.verify(t, "--deep").want(t, 0)
	a.run(t, append([]string{"mailboxes", a.url}, a.flags...)...).want(t, 0)
	if diff := imaptest.Diff(untouched, target.MustDump(t).String()); diff != "" {
		t.Errorf("the server was changed:\n%s", diff)
	}

	changeEverything(t, dovecot, user)
	changed := target.MustDump(t)
	a.backup(t, "--dry-run").want(t, 0)
	a.backup(t, "--mirror", "--force-deletes").want(t, 0)
	// Whole mailboxes are never deleted on the way, only what is in them.
	if extra := a.sameIn(t, changed); slices.ContainsFunc(extra, func(name string) bool { return name != "Junk" && name != "Archive/2023" }) {
		t.Errorf("got extra mailboxes %q", extra)
	}
	a.backup(t, "--refill").want(t, 0)
	a.verify(t).want(t, 0)
	if diff := imaptest.Diff(changed.String(), target.MustDump(t).String()); diff != "" {
		t.Errorf("the server was changed:\n%s", diff)
	}
	log.Assert(t, imaptest.ReadOnly)
	checkWords(t, log)
}

// changeEverything changes an account as other clients do between two runs: new
// mail, flags, deletions, moves, a mailbox more, one less, one renamed.
func changeEverything(t testing.TB, dovecot *imaptest.Dovecot, user string) {
	t.Helper()
	target := dovecot.Target(user)
	if _, err := target.Fill(into(demo.Corpus(8, 12), "INBOX", "Work", "New/Mailbox")); err != nil {
		t.Fatal(err)
	}
	c := client(t, target)
	do(t, c,
		"SELECT INBOX", `UID STORE 2 +FLAGS.SILENT (\Flagged \Answered)`, `UID STORE 3 FLAGS.SILENT ()`, "UID STORE 4 +FLAGS.SILENT (Later $Label2)",
		`UID STORE 5,6 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 5:6", "UID MOVE 7,8 Work", "UID COPY 9 Archive",
		`SELECT Archive/2024`, `UID STORE 1 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1", "UID MOVE 2 INBOX", "UNSELECT",
		`DELETE "Junk"`, `RENAME "Archive/2023" "Old/2023"`)
}

var (
	bodyWord = regexp.MustCompile(`BODY(\.PEEK)?\[|RFC822($|[ )])|RFC822\.(HEADER|TEXT)|BINARY(\.PEEK)?\[`)
	goodBody = regexp.MustCompile(`^(BODY|BINARY)\.PEEK\[`)
	goodVerb = regexp.MustCompile(`^(CAPABILITY|LOGIN|AUTHENTICATE|ID|ENABLE|NAMESPACE|LIST|LSUB|STATUS|EXAMINE|UID FETCH|UID SEARCH|UNSELECT|NOOP|LOGOUT)$`)
)

// checkWords goes beyond what the log itself checks: the words that are allowed
// at all.
func checkWords(t *testing.T, log *imaptest.WireLog) {
	t.Helper()
	verbs := map[string]int{}
	for _, c := range log.Commands() {
		verbs[c.Verb]++
		if !goodVerb.MatchString(c.Verb) {
			t.Errorf("a backup said %q", c)
		}
		for _, word := range bodyWord.FindAllString(strings.ToUpper(c.Line), -1) {
			if !goodBody.MatchString(word) {
				t.Errorf("this marks messages as read: %q", c)
			}
		}
	}
	if verbs["EXAMINE"] == 0 || verbs["UID FETCH"] == 0 {
		t.Errorf("the log cannot be right: %v", verbs)
	}
	t.Log(verbs)
}
