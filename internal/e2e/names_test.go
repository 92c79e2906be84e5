package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// hostileNames are names of mailboxes as a server sends them: modified UTF-7, or
// what is none.
func hostileNames() []string {
	long := strings.Repeat("long", 60)
	return []string{
		// Ways out of a directory.
		"..", ".", "../x", "../../etc/passwd", "a/../b", "a/../../b", "./x", "/abs", "a//b", "a/", "a/./b", "~", "~root", "~/x", "$HOME", "-rf",
		// A Maildir's own names, and the program's.
		"cur", "new", "tmp", "CUR", "a/cur", "a/new/tmp", "cur/new", ".postbag", ".postbag/state.db", "postbag", ".hidden", "a/.hidden", ".a.b",
		"dovecot-keywords", "dovecot-uidlist", "maildirfolder", "state.db", "1234.M1P1.host:2,S", "new:2,",
		// Names that another name is encoded as.
		"a%2Fb", "a/b", "a%252Fb", "%2E%2E", "%", "%%", "a.b", "a%2Eb", "%-", "%~",
		// Equal but for case or normalisation.
		"foo", "Foo", "FOO", "caf&AOk-", "cafe&AwE-", "inbox2", "InBox2", "INBOX/a", "Inbox/a",
		// What a terminal, a shell or another system would make something of.
		"x&AAA-y", "x&AAo-y", "x&AA0-y", "&ABs-[2J", "&ABs-]0;owned&AAc-", "x&AH8-y", "x&AJs-31m", "&IC4-evil", "&//8-", "x&IAs-y", "x&ICg-y", " lead", "trail ",
		"trail.", "con", "aux.txt", "nul", "com1", "a:b", "a*b", "a?b", `a"b`, `a\b`, "a|b", "a<b>", "`id`", "a;b", "a b", "%s%n%x", "{{.}}",
		// Long ones, and deep ones.
		long, long + "x", strings.Repeat("&ZeVnLIqe-", 40), strings.Repeat("d/", 60) + "end", strings.Repeat("y", 1000), long + "/" + long,
		// No modified UTF-7.
		"bad&", "&AGE-", "A&B", "&2D0-", "caf\xe9", "\xff\xfe", "x&AAk", "&AOk-&AOk-",
	}
}

// hostileServer has a mailbox of each name, with one message that names it.
func hostileServer(t *testing.T) (*imaptest.Scripted, map[mail.Digest]string) {
	t.Helper()
	want := map[mail.Digest]string{}
	s := imaptest.StartScripted(t, func(script *imaptest.Script) {
		for i, name := range hostileNames() {
			raw := fmt.Appendf(nil, "Message-ID: <%d@names.example>\r\nSubject: %q\r\n\r\nin %q\r\n", i, name, name)
			want[sha256.Sum256(raw)] = name
			script.Boxes = append(script.Boxes, &imaptest.ScriptBox{Name: name, Validity: uint32(5000 + i), UIDNext: 2, ModSeq: 2,
				Messages: []*imaptest.ScriptMessage{{UID: 1, ModSeq: 2, Date: "01-Jan-2024 10:00:00 +0000", Raw: raw}}})
		}
	})
	return s, want
}

// No name that a server gives leads out of the root, falls together with another
// one, or does anything to a terminal. In every layout.
func TestHostileMailboxNames(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{"verbatim", "maildir++", "flat"} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			s, want := hostileServer(t)
			a := onTarget(t, s.Target())
			a.dir = filepath.Join(a.home, "a", "b", "mail")
			if err := os.MkdirAll(filepath.Dir(a.dir), 0o700); err != nil {
				t.Fatal(err)
			}
			around := outside(t, a)
			c := a.backup(t, "-v", "--layout", layout)
			if c.code != 0 && c.code != 3 {
				t.Fatalf("got exit code %d, want 0 or 3\n%s", c.code, c)
			}
			t.Logf("exit %d: %s", c.code, clip(c.stderr))
			checkNames(t, a, want, c)
			for _, args := range [][]string{{"mailboxes", a.dir}, {"mailboxes", a.dir, "--json"}, {"status", a.dir, "-v"}, {"verify", a.dir, "-v"}} {
				a.run(t, args...).want(t, 0)
			}
			a.verify(t, "--json")
			a.checkState(t)
			before := snapshot(t, a.dir)
			a.backup(t, "--json").want(t, c.code).unchanged(t)
			if diff := imaptest.Diff(before, snapshot(t, a.dir)); diff != "" {
				t.Errorf("the second run wrote:\n%s", clip(diff))
			}
			if diff := imaptest.Diff(around, outside(t, a)); diff != "" {
				t.Errorf("something was written outside of the root:\n%s", diff)
			}
		})
	}
}

// outside is what lies around the Maildir, without what the program keeps there
// on purpose.
func outside(t *testing.T, a *account) string {
	t.Helper()
	rel, err := filepath.Rel(a.home, a.dir)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(snapshot(t, a.home)) {
		path, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		own := strings.HasPrefix(path, `"`+rel) || strings.HasPrefix(path, `".local`) || strings.HasPrefix(path, `"config`)
		if !own && !strings.HasPrefix(rest, "d") { // the time of a directory says nothing
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// checkNames fails the test unless each message that the run did not report is in
// exactly one file, each in a directory of its own.
func checkNames(t *testing.T, a *account, want map[mail.Digest]string, c *call) {
	t.Helper()
	at := map[mail.Digest]string{}
	boxes := map[string]bool{}
	for box, list := range readTree(t, a.dir, false) {
		for _, m := range list {
			name, ok := want[m.Digest]
			if !ok {
				continue // of the default mailboxes
			}
			if other := at[m.Digest]; other != "" {
				t.Errorf("the message of %q is in %q and in %q", name, other, m.path)
			}
			at[m.Digest] = m.path
			if len(list) != 1 || boxes[box] {
				t.Errorf("%q is not alone in %q", name, m.path)
			}
			boxes[box] = true
		}
	}
	left := len(want) - len(at)
	if reported := strings.Count(c.stderr, "postbag: "); left > reported {
		for digest, name := range want {
			if at[digest] == "" {
				t.Logf("left out: %q", name)
			}
		}
		t.Errorf("%d mailboxes are left out, and %d are reported\n%s", left, reported, c)
	}
	if left > 12 {
		t.Errorf("%d of %d mailboxes are left out", left, len(want))
	}
}

// A symbolic link that somebody put into the tree is not followed.
func TestSymbolicLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, brief("one", 12, "INBOX", "Work", "Deep/Below"))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	trap := filepath.Join(a.home, "trap")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(trap, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, link := range []string{"Work/cur", "Deep", "New"} {
		path := filepath.Join(a.dir, link)
		if _, err := os.Lstat(path); err == nil {
			if err := os.Rename(path, filepath.Join(a.home, strings.ReplaceAll(link, "/", "-"))); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(trap, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Account.Fill(brief("two", 8, "INBOX", "Work", "Deep/Below", "New")); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, trap)
	c := a.backup(t, "--mirror")
	if c.code == 0 {
		t.Errorf("got exit code 0\n%s", c)
	}
	if diff := imaptest.Diff(before, snapshot(t, trap)); diff != "" {
		t.Errorf("something was written through a link:\n%s\n%s", diff, c)
	}
	local := treeDump(t, a.dir)["INBOX"]
	if got, want := len(local.Messages), len(e.Account.Messages("INBOX")); got != want {
		t.Errorf("INBOX, which has nothing to do with it, holds %d messages, want %d\n%s", got, want, c)
	}
}
