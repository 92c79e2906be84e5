package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// filledDovecot is an account on a real Dovecot with mail in it.
func filledDovecot(t *testing.T, seed int64, n int, boxes ...string) (*account, imaptest.Target) {
	t.Helper()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, into(demo.Corpus(uint64(seed), n), boxes...))
	target := dovecot.Target(user)
	return onTarget(t, target), target
}

// momentAfter is a time that all runs so far had begun at, and no later one will have,
// as people type it.
func momentAfter() string {
	now := time.Now()
	time.Sleep(time.Until(now.Truncate(time.Second).Add(time.Second)))
	return now.Format(time.DateTime)
}

// runs are the numbers of the runs that history lists, the oldest first.
func (a *account) runs(t testing.TB) (list []string) {
	t.Helper()
	for line := range strings.Lines(a.run(t, "history", a.dir).want(t, 0).stdout) {
		if rest, ok := strings.CutPrefix(line, "run "); ok {
			id, _, _ := strings.Cut(rest, " ")
			list = append(list, id)
		}
	}
	slices.Reverse(list)
	return list
}

func (a *account) mustDo(t testing.TB, target imaptest.Target, lines ...string) {
	t.Helper()
	do(t, client(t, target), lines...)
}

// The server loses 200 messages of a mailbox, and a backup sees it. The mailbox comes
// back as it was, with flags and dates; what was deleted before that stays deleted.
func TestAsOfAfterAMassDeletion(t *testing.T) {
	t.Parallel()
	a, target := filledDovecot(t, 201, 260, "INBOX")
	a.backup(t).want(t, 0)
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 251:260 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 251:260",
		`UID STORE 1:40 +FLAGS.SILENT (\Flagged $Old)`)
	a.backup(t).want(t, 0)
	want := target.MustDump(t)
	before := momentAfter()

	a.mustDo(t, target, "SELECT INBOX", `UID STORE 1:20 -FLAGS.SILENT (\Flagged $Old)`, `UID STORE 11:15 +FLAGS.SILENT (\Answered)`)
	a.backup(t).want(t, 0)
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 11:210 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 11:210")
	a.backup(t).want(t, 0)
	tree := treeDump(t, a.dir).Content()

	a.run(t, "verify", a.dir, "--as-of", before).want(t, 0)
	plan := a.restore(t, "--as-of", before, "--dry-run", "--json").want(t, 0).summary(t)
	s := a.restore(t, "--as-of", before, "--json").want(t, 0).summary(t)
	if plan.A.New != 200 || s.A.New != 200 || s.B != (counts{}) {
		t.Errorf("planned %+v, did %+v and %+v, want 200 new on the server", plan.A, s.A, s.B)
	}
	// The first ten stayed on the server, with what was done to them since.
	for i, e := range want["INBOX"].Messages[:10] {
		want["INBOX"].Messages[i].Flags = flagsNow(t, target, e.UID)
	}
	if diff := imaptest.Diff(want.Content(), target.MustDump(t).Content()); diff != "" {
		t.Errorf("the server is not as it was (- missing, + extra):\n%s", clip(diff))
	}
	if treeDump(t, a.dir).Content() != tree {
		t.Error("a restore changed the Maildir")
	}
	a.restore(t, "--as-of", before, "--json").want(t, 0).unchanged(t)
	if b := a.backup(t, "--json").want(t, 0).summary(t); b.B.New != 0 {
		t.Errorf("the next backup fetched %d messages", b.B.New)
	}
	a.verify(t, "--deep").want(t, 0)
	a.checkState(t)
}

// flagsNow are the flags that a message of the INBOX has on the server.
func flagsNow(t testing.TB, target imaptest.Target, uid uint32) mail.Flags {
	t.Helper()
	for _, now := range target.MustDump(t)["INBOX"].Messages {
		if now.UID == uid {
			return now.Flags
		}
	}
	t.Fatalf("message %d is not there", uid)
	return mail.Flags{}
}

// What a sync deleted and moved in the Maildir, mailboxes too, comes back from its
// trash and from where it is now, on the server first and then in the Maildir.
func TestAsOfFromTheTrash(t *testing.T) {
	t.Parallel()
	a, target := filledDovecot(t, 202, 90, "INBOX", "Work", "Old")
	sync := func(more ...string) *call { return a.run(t, a.pair("sync", more...)...).want(t, 0) }
	sync()
	want := target.MustDump(t)
	run := a.runs(t)[0]
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 1:5 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:5", "UID MOVE 6:9 Work",
		`UID STORE 10:12 +FLAGS.SILENT (\Answered)`, "UNSELECT", "RENAME Old Older")
	sync()
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 10:11 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 10:11", "UNSELECT", "DELETE Older")
	sync("--delete-mailboxes", "--force-deletes")

	a.run(t, "verify", a.dir, "--run", run).want(t, 0)
	a.restore(t, "--run", run).want(t, 0)
	got := target.MustDump(t)
	for name, box := range want {
		have := map[string]bool{}
		for _, e := range got[name].Messages {
			have[fmt.Sprint(e.Digest, e.Flags, e.Date.Unix())] = true
		}
		for _, e := range box.Messages {
			still := name == "INBOX" && e.UID == 12 // never lost: as it is now
			if !still && !have[fmt.Sprint(e.Digest, e.Flags, e.Date.Unix())] {
				t.Errorf("%s: message %d of then is not there as it was", name, e.UID)
			}
		}
	}
	if n, m := len(got["INBOX"].Messages), len(want["INBOX"].Messages); n != m {
		t.Errorf("INBOX holds %d messages, and held %d", n, m)
	}
	a.restore(t, "--run", run, "--json").want(t, 0).unchanged(t)
	sync()
	a.verify(t, "--deep").want(t, 0)
	a.checkState(t)

	// What is in no place any more is named, and the rest is there.
	a.run(t, "trash", "empty", a.dir).want(t, 0)
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
	sync("--force-deletes")
	a.run(t, "verify", a.dir, "--run", run).want(t, 0)
	a.run(t, "trash", "empty", a.dir).want(t, 0)
	lost := a.run(t, "verify", a.dir, "--run", run).want(t, 3)
	if n := strings.Count(lost.stdout, "missing: INBOX:"); n == 0 || n > m(want) {
		t.Errorf("got %d messages named\n%s", n, lost)
	}
	if r := a.restore(t, "--run", run).want(t, 3); !strings.Contains(r.stderr, "neither in the Maildir nor in its trash") {
		t.Errorf("got %s", r)
	}
}

func m(d imaptest.Dump) int { return len(d["INBOX"].Messages) }

// What each run found changed is told, with moves as moves.
func TestHistoryOfRuns(t *testing.T) {
	t.Parallel()
	a, target := filledDovecot(t, 203, 40, "INBOX", "Work")
	a.backup(t).want(t, 0)
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 1:3 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:3", "UID MOVE 4:5 Work", `UID STORE 6:9 +FLAGS.SILENT ($X)`)
	a.backup(t).want(t, 0)
	a.backup(t).want(t, 0) // finds nothing
	a.mustDo(t, target, "SELECT Work", `UID STORE 1 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1")
	a.backup(t).want(t, 0)
	text := a.run(t, "history", a.dir).want(t, 0).stdout
	for _, want := range []string{
		"  INBOX: 20 new\n  Work: 20 new\n",
		"  INBOX: 2 moved out, 3 gone, 4 flags\n  Work: 2 moved in\n",
		"  Work: 1 gone\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("history does not say %q:\n%s", want, text)
		}
	}
	if got := a.runs(t); len(got) != 3 {
		t.Errorf("got runs %q, want those that found something", got)
	}
	if one := a.run(t, "history", a.dir, "--mailbox", "Work", "--json").want(t, 0).events(t); len(one) != 4 {
		t.Errorf("got %d lines for one mailbox, want 3 runs and the summary", len(one))
	}
	for _, c := range [][]string{{"--as-of", "2001-01-01"}, {"--run", "999"}, {"--as-of", "soon"}, {"--run", "1", "--as-of", "1d"}} {
		r := a.run(t, append([]string{"verify", a.dir}, c...)...).want(t, 2)
		if strings.Count(r.stderr, "\n") > 2 || r.stdout != "" && !strings.Contains(r.stderr, "hint") {
			t.Errorf("got %s", r)
		}
	}
	if r := a.run(t, "history", filepath.Join(a.home, "none")); r.code == 0 {
		t.Errorf("of no Maildir: %s", r)
	}
}
