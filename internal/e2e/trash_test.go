package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// trashed runs a command on the trash of the Maildir: it knows no server.
func (a *account) trashed(t testing.TB, command string, more ...string) *call {
	t.Helper()
	return a.run(t, append([]string{"trash", command, a.dir}, more...)...)
}

// What the phone deleted by mistake is put back in the Maildir, without the server,
// and the next sync takes it there again: octet for octet, with its flags and its
// date.
func TestRestoreFromTrash(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	w := newTwoWay(t, dovecot)
	if _, err := w.target.Fill(into(demo.Corpus(91, 120), "INBOX", "Work/Été")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	before := w.settled(t)
	// A phone marks, and expunges some time later: both are seen.
	must(t, w.server.in("INBOX", `UID STORE 2:4 +FLAGS.SILENT (\Deleted)`))
	w.sync(t).want(t, 0)
	must(t, w.server.in("INBOX", "UID EXPUNGE 2:4"))
	must(t, w.server.in("Work/Été", `UID STORE 5 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 5"))
	must(t, w.server.rest())
	w.sync(t).want(t, 0)
	w.settled(t)
	list := w.trashed(t, "list", "--json").want(t, 0)
	if n := strings.Count(list.stdout, `"event":"trashed"`); n != 4 {
		t.Fatalf("%d messages are in the trash, want 4\n%s", n, list)
	}
	untouched := snapshot(t, w.dir)
	w.trashed(t, "list").want(t, 0)
	w.trashed(t, "restore", "--all", "--dry-run").want(t, 0)
	w.trashed(t, "empty", "--dry-run").want(t, 0)
	w.trashed(t, "empty", "--older-than", "1d").want(t, 0)
	if diff := imaptest.Diff(untouched, snapshot(t, w.dir)); diff != "" {
		t.Errorf("looking changed the Maildir:\n%s", clip(diff))
	}
	w.trashed(t, "restore", "--mailbox", "INBOX").want(t, 0)
	w.trashed(t, "restore", "--all").want(t, 0)
	w.log.Reset()
	if s := w.sync(t, "--json").want(t, 0).summary(t); s.A.New != 4 || s.A.Deleted != 0 || (s.B != counts{}) {
		t.Errorf("got %+v on the server and %+v in the Maildir, want 4 new on the server", s.A, s.B)
	}
	if diff := imaptest.Diff(before.Content(), w.settled(t).Content()); diff != "" {
		t.Errorf("the sides are not as before the mistake:\n%s", clip(diff))
	}
	if got := w.retained(t); len(got) != 0 {
		t.Errorf("still in the trash: %q", got)
	}
}

// What a mirror removed and somebody put back is left alone by the next backups:
// it is in the Maildir, and the server is not asked for it.
func TestRestoreIntoBackup(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, into(demo.Corpus(92, 60), "INBOX", "Work"))
	a := onTarget(t, e.Target())
	a.backup(t, "--mirror").want(t, 0)
	full := treeDump(t, a.dir).Content()
	inbox := e.Account.Messages("INBOX")
	if err := e.Account.Expunge("INBOX", inbox[1].UID, inbox[2].UID); err != nil {
		t.Fatal(err)
	}
	a.backup(t, "--mirror").want(t, 0)
	a.trashed(t, "restore", "--all").want(t, 0)
	server := e.Target().MustDump(t).String()
	for _, more := range [][]string{nil, {"--mirror"}, nil} {
		c := a.backup(t, append(more, "--json")...).want(t, 0)
		if s := c.summary(t); (s.A != counts{}) || (s.B != counts{}) {
			t.Errorf("got %+v, %+v, want nothing done\n%s", s.A, s.B, c)
		}
		if diff := imaptest.Diff(full, treeDump(t, a.dir).Content()); diff != "" {
			t.Errorf("the Maildir does not hold what was put back:\n%s", clip(diff))
		}
	}
	if diff := imaptest.Diff(server, e.Target().MustDump(t).String()); diff != "" {
		t.Errorf("the server was changed:\n%s", diff)
	}
	a.checkState(t)
	if c := a.verify(t).want(t, 3); strings.Count(c.stdout, "extra: INBOX") != 2 {
		t.Errorf("the server does not have 2 of the messages\n%s", c)
	}
}

// A whole mailbox that was deleted with all that is in it comes back as it was, on
// both sides; also where there is another of its name by now.
func TestRestoreWholeMailbox(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	for _, anew := range []bool{false, true} {
		t.Run(fmt.Sprintf("made anew %v", anew), func(t *testing.T) {
			t.Parallel()
			checkRestoreMailbox(t, newTwoWay(t, dovecot), anew)
		})
	}
}

func checkRestoreMailbox(t *testing.T, w *twoWay, anew bool) {
	if _, err := w.target.Fill(into(demo.Corpus(93, 80), "INBOX", "Old/Letters")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	before := w.settled(t)
	must(t, w.server.names("DELETE", "Old/Letters"))
	w.sync(t, "--delete-mailboxes", "--force-deletes").want(t, 0)
	if _, there := treeDump(t, w.dir)["Old/Letters"]; there {
		t.Fatal("the mailbox is still in the Maildir")
	}
	if anew {
		must(t, w.reader.create("Old/Letters"))
	}
	c := w.trashed(t, "restore", "--all").want(t, 0)
	if !strings.Contains(c.stdout, "40 put back") && !strings.Contains(c.stdout, "41 put back") {
		t.Errorf("got\n%s", c)
	}
	if s := w.sync(t, "--json").want(t, 0).summary(t); s.A.New != 40 || (s.B != counts{}) {
		t.Errorf("the sync did %+v on the server and %+v in the Maildir, want 40 new on the server", s.A, s.B)
	}
	if diff := imaptest.Diff(before.Content(), w.settled(t).Content()); diff != "" {
		t.Errorf("the sides are not as before the mailbox was deleted:\n%s", clip(diff))
	}
}

// In a tree of Maildir++, too, an ID is the path of a file that can be read, and
// has a short form.
func TestTrashOfMaildirPlusPlus(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, brief("m", 20, "INBOX", "Work"))
	a := onTarget(t, e.Target())
	a.backup(t, "--mirror", "--layout", "maildir++").want(t, 0)
	gone := e.Account.Messages("Work")[2]
	if err := e.Account.Expunge("Work", gone.UID); err != nil {
		t.Fatal(err)
	}
	a.backup(t, "--mirror").want(t, 0)
	c := a.trashed(t, "list").want(t, 0)
	words := strings.Fields(strings.Split(c.stdout, "\n")[0])
	short := words[0]
	var one struct{ ID, Short string }
	if err := json.Unmarshal([]byte(strings.Split(a.trashed(t, "list", "--json").want(t, 0).stdout, "\n")[0]), &one); err != nil || one.Short != short {
		t.Fatalf("got %+v, %v, want the ID %s", one, err, short)
	}
	id := one.ID
	m := readStored(t, filepath.Join(a.dir, "postbag", "trash", filepath.FromSlash(id)), nil, true)
	if string(m.raw) != string(gone.Raw) || !slices.Contains(words, "Work") {
		t.Errorf("got %q, want %q\n%s", m.raw, gone.Raw, c)
	}
	run, _, _ := strings.Cut(id, "/")
	for _, by := range []string{id, run} {
		a.trashed(t, "restore", by, "--dry-run").want(t, 0)
	}
	a.trashed(t, "restore", short).want(t, 0)
	a.trashed(t, "restore", short).want(t, 2)
	if got := a.retained(t); len(got) != 0 {
		t.Errorf("still in the trash: %q", got)
	}
}
