package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// retained are the files of the messages in the retention area.
func (a *account) retained(t testing.TB) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(a.dir, ".postbag", "trash"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".") {
			files = append(files, path)
		}
		if err != nil && strings.HasSuffix(path, "trash") {
			return fs.SkipAll // there is none yet
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A backup keeps what the server deletes, and remembers since when it is gone; a
// mirror removes it, into the retention area.
func TestDeletionsOnTheServer(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, into(demo.Corpus(50, 80), "INBOX", "Work"))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	full := treeDump(t, a.dir).Content()
	inbox := e.Account.Messages("INBOX")
	if err := e.Account.Expunge("INBOX", inbox[1].UID, inbox[2].UID, inbox[3].UID); err != nil {
		t.Fatal(err)
	}
	c := a.backup(t, "--json").want(t, 0)
	if s := c.summary(t); s.Kept != 3 || (s.B != counts{}) {
		t.Errorf("got %+v, kept %d, want nothing but 3 kept\n%s", s.B, s.Kept, c)
	}
	if diff := imaptest.Diff(full, treeDump(t, a.dir).Content()); diff != "" {
		t.Errorf("the Maildir changed:\n%s", diff)
	}
	if rows := a.rows(t); strings.Count(rows, "gone true false") != 3 {
		t.Errorf("the state does not say of 3 messages that they are gone:\n%s", rows)
	}
	status := a.run(t, "status", a.dir, "-v").want(t, 0)
	if !strings.Contains(status.stdout, "3 messages that the server deleted") || !strings.Contains(status.stdout, time.Now().UTC().Format(time.DateOnly)) {
		t.Errorf("status does not tell since when 3 messages are gone\n%s", status)
	}
	a.verify(t).want(t, 0)
	a.checkNoop(t)
}

// A mirror removes what the server deletes, into the retention area.
func TestMirror(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, into(demo.Corpus(51, 80), "INBOX", "Work"))
	a := onTarget(t, e.Target())
	a.backup(t, "--mirror").want(t, 0)
	inbox := e.Account.Messages("INBOX")
	gone := map[mail.Digest]bool{}
	for _, m := range inbox[1:4] {
		gone[sha256.Sum256(m.Raw)] = true
		if err := e.Account.Expunge("INBOX", m.UID); err != nil {
			t.Fatal(err)
		}
	}
	before := snapshot(t, a.dir)
	c := a.backup(t, "--mirror", "--dry-run", "--json").want(t, 0)
	if s := c.summary(t); s.B.Deleted != 3 {
		t.Errorf("a dry run tells of %+v, want 3 deletions\n%s", s.B, c)
	}
	if diff := imaptest.Diff(before, snapshot(t, a.dir)); diff != "" {
		t.Errorf("a dry run wrote:\n%s", diff)
	}
	if s := a.backup(t, "--mirror", "--json").want(t, 0).summary(t); (s.B != counts{Deleted: 3}) {
		t.Errorf("got %+v, want 3 deletions", s.B)
	}
	a.sameAs(t, e.Target().MustDump(t))
	kept := a.retained(t)
	for _, path := range kept {
		m := readStored(t, path, nil, false)
		if !gone[m.Digest] {
			t.Errorf("%s is no message that was deleted", path)
		}
		delete(gone, m.Digest)
	}
	if len(gone) > 0 {
		t.Errorf("%d messages are nowhere any more; the retention area holds %q", len(gone), kept)
	}
	a.checkState(t)
	a.verify(t).want(t, 0)
	a.checkNoop(t)
}

// What looks like an accident is not followed: nothing is changed, and the exit
// code says so. It can be forced.
func TestGuard(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		held, gone   int
		others       int // messages in another mailbox
		flags        []string
		want         int
		wantRetained int
	}{
		{"many and a large part", 100, 20, 400, nil, 4, 0},
		{"many and a small part", 200, 21, 400, nil, 0, 21},
		{"few", 90, 19, 400, nil, 0, 19},
		{"all of a mailbox", 5, 5, 400, nil, 4, 0},
		{"all of a small one", 4, 4, 400, nil, 0, 4},
		{"a large part of the account", 150, 25, 50, nil, 4, 0},
		{"forced", 100, 100, 10, []string{"--force-deletes"}, 0, 100},
		{"as many as allowed", 100, 30, 400, []string{"--max-delete", "30"}, 0, 30},
		{"more than allowed", 100, 31, 400, []string{"--max-delete", "30"}, 4, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := imaptest.StartEmbedded(t, brief("kept", test.others, "Work"))
			if err := e.Account.Fill(brief("lost", test.held, "INBOX")); err != nil {
				t.Fatal(err)
			}
			a := onTarget(t, e.Target())
			a.backup(t, "--mirror").want(t, 0)
			before := snapshot(t, a.dir)
			var uids []uint32
			for _, m := range e.Account.Messages("INBOX")[:test.gone] {
				uids = append(uids, m.UID)
			}
			if err := e.Account.Expunge("INBOX", uids...); err != nil {
				t.Fatal(err)
			}
			c := a.backup(t, append([]string{"--mirror"}, test.flags...)...).want(t, test.want)
			if got := len(a.retained(t)); got != test.wantRetained {
				t.Errorf("%d messages are in the retention area, want %d\n%s", got, test.wantRetained, c)
			}
			if test.want == 0 {
				a.sameAs(t, e.Target().MustDump(t))
				a.checkNoop(t)
				return
			}
			if diff := imaptest.Diff(before, snapshot(t, a.dir)); diff != "" {
				t.Errorf("it was changed:\n%s\n%s", diff, c)
			}
			if !strings.Contains(c.stderr, fmt.Sprint(test.gone)) || !strings.Contains(c.stderr, "--force-deletes") {
				t.Errorf("want the number %d and a hint\n%s", test.gone, c)
			}
			a.backup(t, "--mirror", "--force-deletes").want(t, 0)
			a.sameAs(t, e.Target().MustDump(t))
		})
	}
}

// A Maildir that was emptied, and a server that was, are not taken for deletions.
func TestEmptiedSides(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, brief("one", 30, "INBOX", "Work"))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	full := treeDump(t, a.dir).Content()
	for _, name := range []string{"INBOX", "Work"} {
		var uids []uint32
		for _, m := range e.Account.Messages(name) {
			uids = append(uids, m.UID)
		}
		if err := e.Account.Expunge(name, uids...); err != nil {
			t.Fatal(err)
		}
	}
	a.backup(t, "--mirror").want(t, 4)
	a.backup(t).want(t, 0)
	if diff := imaptest.Diff(full, treeDump(t, a.dir).Content()); diff != "" {
		t.Errorf("messages are gone:\n%s", diff)
	}
}
