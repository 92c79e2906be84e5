package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// day is somebody who lives as docs/two-way.md says: with mutt on the Maildir, and
// a phone on the server.
type day struct {
	*reader
	target imaptest.Target
	phone  *imaptest.Client
	dir    string
	lost   []imaptest.Entry // what the phone deleted by mistake
}

// A user's day as docs/two-way.md has it, line by line, against a real Dovecot and
// with a real mutt: what is done on one side between the commands is on the other
// after them.
func TestTwoWayDay(t *testing.T) {
	t.Parallel()
	need(t, "mutt")
	need(t, "script")
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	dovecot.Fill(docUser, into(demo.Corpus(77, 90), "INBOX", "Archive", "Sent"))
	d := &day{reader: newReaderOf(t, dovecot.TLSAddr(), imaptest.DovecotPassword, dovecot.Certificate()), target: dovecot.Target(docUser)}
	d.phone = client(t, d.target)
	d.dir = filepath.Join(d.home, "mail", "home")
	do(t, d.phone, "CREATE Trash", "CREATE Drafts")
	after := map[string]func(){
		"Set up":                                func() { d.agree() },
		"Read it":                               d.read,
		"When both sides did something":         d.conflicts,
		"Undo a deletion":                       d.undone,
		"When something looks like an accident": func() { d.agree() },
		"Mailboxes": func() {
			if _, err := os.Stat(filepath.Join(d.dir, "Old", "cur")); err == nil {
				t.Error("the mailbox that the phone deleted is still in the Maildir")
			}
			d.agree()
		},
		"Every few minutes": func() { d.agree() },
	}
	before := map[string]func(){"Undo a deletion": d.mistake, "When something looks like an accident": d.accident, "Mailboxes": d.oldMailbox}
	section := ""
	lines := strings.Split(read(t, filepath.Join(root, "docs", "two-way.md")), "\n")
	fences := fences(t, filepath.Join(root, "docs", "two-way.md"))
	for i, line := range lines {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			if after[section] != nil {
				after[section]()
			}
			if section = title; before[section] != nil {
				before[section]()
			}
		}
		for _, f := range fences {
			if f.line == i+2 { // the line that opens it
				d.follow(f)
			}
		}
	}
	for title := range after {
		if !slices.Contains(lines, "## "+title) {
			t.Errorf("there is no section %q", title)
		}
	}
	d.command("postbag verify home --deep -q")
	d.agree()
}

func (d *day) command(line string) {
	d.t.Helper()
	d.run(fence{file: "day"}, line)
}

// undated is a dump's content without dates: mutt gives what it saves the date that
// the message says.
func undated(d imaptest.Dump) string {
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:]+Z `).ReplaceAllString(d.Content(), "")
}

// agree fails the test unless both sides are equal.
func (d *day) agree() imaptest.Dump {
	d.t.Helper()
	server := d.target.MustDump(d.t)
	if diff := imaptest.Diff(undated(server), undated(treeDump(d.t, d.dir))); diff != "" {
		d.t.Errorf("the sides differ (- only on the server, + only in the Maildir):\n%s", clip(diff))
	}
	return server
}

// mutt opens a mailbox with the reader's muttrc, and gets keys pressed.
func (d *day) mutt(mailbox, keys string) {
	d.t.Helper()
	rc := filepath.Join(d.home, "muttrc.test")
	text := read(d.t, filepath.Join(d.home, "muttrc")) +
		"set sort=date-sent confirmappend=no quit=yes sleep_time=0 mark_old=no\npush \"" + keys + "\"\n"
	if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.Command("script", "-qec", fmt.Sprintf("mutt -n -F '%s' -f '+%s'", rc, mailbox), "/dev/null")
	cmd.Env = append(slices.Clone(d.env), "TERM=vt100", "LC_ALL=C")
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	screen, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("mutt: %v, %.3000q", err, screen)
	}
}

// whereIs says in which mailboxes of a dump a message is, and with which flags.
func whereIs(d imaptest.Dump, digest mail.Digest) (boxes []string, flags mail.Flags) {
	for name, box := range d {
		for _, m := range box.Messages {
			if m.Digest == digest {
				boxes, flags = append(boxes, name), m.Flags
			}
		}
	}
	slices.Sort(boxes)
	return boxes, flags
}

// read is what the table says of a reader: one message is flagged, one saved into
// another mailbox, one deleted, with mutt, and one moved.
func (d *day) read() {
	d.t.Helper()
	before := d.target.MustDump(d.t)
	d.mutt("INBOX", "<first-entry><next-undeleted><set-flag>!<sync-mailbox><exit>")
	d.mutt("INBOX", "<last-entry><save-message><kill-line>+Archive<enter><sync-mailbox><first-entry><delete-message><sync-mailbox><exit>")
	d.command("mv -n mail/home/Sent/cur/*:2,S mail/home/Archive/cur/")
	d.command("postbag sync home -q")
	now := d.agree()
	flagged, filed := 0, 0
	for _, m := range before["INBOX"].Messages {
		if _, flags := whereIs(now, m.Digest); flags.System&mail.Flagged != 0 && m.Flags.System&mail.Flagged == 0 {
			flagged++
		}
	}
	for _, m := range before["Sent"].Messages {
		if boxes, _ := whereIs(now, m.Digest); slices.Contains(boxes, "Archive") {
			filed++
		}
	}
	grown := func(box string) int { return len(now[box].Messages) - len(before[box].Messages) }
	if flagged != 1 || grown("INBOX") != -2 || grown("Trash") != 1 || filed == 0 || grown("Archive") != 1+filed || grown("Sent") != -filed {
		d.t.Errorf("on the server %d messages are flagged, INBOX grew by %d, Trash by %d, Archive by %d, Sent by %d (%d)",
			flagged, grown("INBOX"), grown("Trash"), grown("Archive"), grown("Sent"), filed)
	}
}

// conflicts is what the list says: each side does something to a message of its
// own, and both to the same.
func (d *day) conflicts() {
	d.t.Helper()
	list := slices.DeleteFunc(slices.Clone(d.target.MustDump(d.t)["INBOX"].Messages), func(m imaptest.Entry) bool { return m.Flags.System&mail.Flagged != 0 })
	a, b, c := list[0], list[1], list[2]
	do(d.t, d.phone, "SELECT INBOX", fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Answered Phone)`, a.UID), fmt.Sprintf("UID MOVE %d Archive", b.UID),
		fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, c.UID), fmt.Sprintf("UID EXPUNGE %d", c.UID), "UNSELECT")
	for _, m := range readTree(d.t, d.dir, false)["INBOX"] {
		switch m.Digest {
		case a.Digest, c.Digest: // the reader flags both
			base, info, _ := strings.Cut(m.path, ":2,")
			if err := os.Rename(m.path, strings.Replace(base, "/new/", "/cur/", 1)+":2,F"+info); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	if _, stderr, err := d.sh("postbag sync home"); err != nil || !strings.Contains(stderr, "the deletion wins") {
		d.t.Errorf("of the conflict the sync says: %v %s", err, stderr)
	}
	now := d.agree()
	if _, flags := whereIs(now, a.Digest); flags.System&(mail.Answered|mail.Flagged) != mail.Answered|mail.Flagged || !flags.Keywords.Has("Phone") {
		d.t.Errorf("flagged in the reader and answered on the phone, it has [%s]", flags)
	}
	if boxes, _ := whereIs(now, b.Digest); !slices.Equal(boxes, []string{"Archive"}) {
		d.t.Errorf("moved on the phone, it is in %v", boxes)
	}
	if boxes, _ := whereIs(now, c.Digest); len(boxes) != 0 {
		d.t.Errorf("deleted on the phone, it is in %v", boxes)
	}
}

// mistake has the phone delete two messages, and a sync follow.
func (d *day) mistake() {
	d.t.Helper()
	d.lost = d.target.MustDump(d.t)["INBOX"].Messages[1:3]
	for _, m := range d.lost {
		do(d.t, d.phone, "SELECT INBOX", fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, m.UID), fmt.Sprintf("UID EXPUNGE %d", m.UID), "UNSELECT")
	}
	d.command("postbag sync home -q")
	d.agree()
}

// undone checks that both messages are where they were, on both sides, and that
// what the reader deletes from now on goes into the trash of the server.
func (d *day) undone() {
	d.t.Helper()
	now := d.agree()
	for _, m := range d.lost {
		if boxes, flags := whereIs(now, m.Digest); !slices.Equal(boxes, []string{"INBOX"}) || flags.String() != m.Flags.String() {
			d.t.Errorf("after it was undone a message is in %v with [%s], want INBOX and [%s]", boxes, flags, m.Flags)
		}
	}
	d.command("postbag trash empty home --older-than 7d -q")
	gone := readTree(d.t, d.dir, false)["INBOX"][0]
	if err := os.Remove(gone.path); err != nil {
		d.t.Fatal(err)
	}
	d.command("postbag sync home -q --trash '\\Trash'")
	d.command("postbag sync home -q --trash '\\Trash'")
	if boxes, _ := whereIs(d.agree(), gone.Digest); !slices.Equal(boxes, []string{"Trash"}) {
		d.t.Errorf("deleted in the reader, a message is in %v, want the trash", boxes)
	}
}

// accident removes most of the mail from the Maildir. It is refused, and nothing
// is deleted; what the section says lets it through.
func (d *day) accident() {
	d.t.Helper()
	before := d.target.MustDump(d.t).Content()
	for i, m := range readTree(d.t, d.dir, false)["Archive"] {
		if i < 25 {
			if err := os.Remove(m.path); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	if stdout, stderr, _ := d.sh("postbag sync home --dry-run"); !strings.Contains(stdout, "Archive: server: 25 deleted") {
		d.t.Errorf("before it is refused, a dry run says: %s%s", stdout, stderr)
	}
	_, stderr, err := d.sh("postbag sync home -q")
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 4 || !strings.Contains(stderr, "would be deleted") {
		d.t.Errorf("25 messages are gone from a mailbox: %v %s; want exit code 4", err, stderr)
	}
	if now := d.target.MustDump(d.t).Content(); now != before {
		d.t.Errorf("it was refused, and the server changed:\n%s", imaptest.Diff(before, now))
	}
}

// oldMailbox has the phone delete a mailbox that both sides have.
func (d *day) oldMailbox() {
	d.t.Helper()
	do(d.t, d.phone, "CREATE Old", "SELECT INBOX", "COPY 1:8 Old", "UNSELECT")
	d.command("postbag sync home -q")
	d.agree()
	do(d.t, d.phone, "DELETE Old")
	if _, stderr, err := d.sh("postbag sync home -q"); err != nil {
		d.t.Errorf("a mailbox was deleted on the server: %v %s", err, stderr)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "Old", "cur")); err != nil {
		d.t.Errorf("nobody asked for it, and the mailbox is gone from the Maildir: %v", err)
	}
}
