package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// A tree in Maildir++ is a mail store of Dovecot's: a server that is put on top
// of it shows what the server showed that it was copied from, with the same
// content, flags, keywords and dates.
func TestDovecotOpensTheTree(t *testing.T) {
	t.Parallel()
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := from.NewUser()
	from.Fill(user, demo.Corpus(70, 300))
	from.Fill(user, slices.Values(slices.DeleteFunc(demo.Torture(), func(s demo.Sample) bool { return !s.Safe() })))
	a := onDovecot(t, from, user)
	a.backup(t, "--layout", "maildir++").want(t, 0)
	want := from.Target(user).MustDump(t)

	to := imaptest.StartDovecot(t, imaptest.DovecotOptions{Maildir: true})
	reader := to.NewUser()
	maildir := filepath.Join(to.Home(reader), "Maildir")
	copyTree(t, a.dir, maildir)
	giveTo(t, to.Home(reader), filepath.Dir(to.Home(reader)))
	if diff := imaptest.Diff(want.Content(), to.Target(reader).MustDump(t).Content()); diff != "" {
		t.Errorf("Dovecot reads something else (- missing, + extra):\n%s", clip(diff))
	}

	// What Dovecot does to the tree meanwhile is no harm to the next run.
	do(t, client(t, to.Target(reader)), "SELECT INBOX", `UID STORE 1:5 +FLAGS.SILENT (\Flagged)`, `UID STORE 6 +FLAGS.SILENT (Fresh)`)
	b := *a
	b.dir = maildir
	giveTo(t, maildir, a.home)
	b.backup(t).want(t, 0)
	b.backup(t, "--json").want(t, 0).unchanged(t)
	b.run(t, "verify", b.dir).want(t, 0)
}

func ownerOf(t *testing.T, path string) (uid, gid int) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s: nobody tells who owns it", path)
	}
	return int(st.Uid), int(st.Gid)
}

// giveTo makes everything below a directory belong to whom another one belongs.
func giveTo(t *testing.T, dir, like string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	uid, gid := ownerOf(t, like)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Mutt opens a mailbox of the tree and sees the same messages with the same flags
// and dates. It takes dates from the messages, not from the files.
func TestMuttOpensTheTree(t *testing.T) {
	t.Parallel()
	mutt, script := need(t, "mutt"), need(t, "script")
	date := time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)
	flags := []mail.System{0, mail.Seen, mail.Seen | mail.Answered, mail.Flagged, mail.Seen | mail.Flagged | mail.Answered, mail.Answered}
	e := imaptest.StartEmbedded(t, func(yield func(demo.Sample) bool) {
		for i, f := range flags {
			at := date.Add(time.Duration(i) * time.Hour)
			yield(demo.Sample{Mailbox: "Work/Projects", Flags: mail.Flags{System: f}, Date: at, Raw: fmt.Appendf(nil,
				"From: a@example.org\r\nDate: %s\r\nMessage-ID: <%d@example.org>\r\nSubject: number %d\r\n\r\nbody\r\n", at.Format(time.RFC1123Z), i, i)})
		}
	})
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	out := filepath.Join(a.home, "mbox")
	rc := filepath.Join(a.home, "muttrc")
	// It writes what it sees into a mailbox of the old kind.
	commands := []string{
		`set index_format="<<%s;%(%Y-%m-%dT%H:%M:%S)>>" sort=date-received`,
		"set confirmcreate=no confirmappend=no copy=no quit=yes sleep_time=0 mbox_type=mbox mark_old=no read_inc=0 write_inc=0", "set folder=" + a.home,
		`push "<refresh><tag-pattern>~A<enter><tag-prefix><copy-message>` + out + `<enter><exit>"`,
	}
	if err := os.WriteFile(rc, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, a.dir)
	cmd := exec.Command(script, "-qec", fmt.Sprintf("'%s' -n -F '%s' -f '%s'", mutt, rc, filepath.Join(a.dir, "Work", "Projects")), "/dev/null")
	cmd.Env = []string{"HOME=" + a.home, "TERM=vt100", "TZ=UTC", "PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	timer := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	screen, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("mutt: %v, %.2000q", err, screen)
	}
	seen, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	messages := strings.Split("\n"+string(seen), "\nFrom ")[1:]
	if len(messages) != len(flags) {
		t.Fatalf("mutt sees %d messages, want %d:\n%s", len(messages), len(flags), seen)
	}
	for _, m := range messages {
		var n int
		_, rest, _ := strings.Cut(m, "\nSubject: number ")
		if _, err := fmt.Sscan(rest, &n); err != nil {
			t.Fatalf("no number in %q", m)
		}
		if want := fmt.Sprintf("<<number %d;%s>>", n, date.Add(time.Duration(n)*time.Hour).Format("2006-01-02T15:04:05")); !strings.Contains(string(screen), want) {
			t.Errorf("mutt does not show %q: %.3000q", want, screen)
		}
		status := headerOf(m, "Status") + headerOf(m, "X-Status")
		for letter, flag := range map[string]mail.System{"R": mail.Seen, "A": mail.Answered, "F": mail.Flagged} {
			if got := strings.Contains(status, letter); got != (flags[n]&flag != 0) {
				t.Errorf("message %d: mutt sees the status %q, the flags are [%s]", n, status, mail.Flags{System: flags[n]})
			}
		}
	}
	if diff := imaptest.Diff(before, snapshot(t, a.dir)); diff != "" {
		t.Logf("mutt changed:\n%s", diff)
	}
	a.backup(t).want(t, 0)
	a.verify(t).want(t, 0)
}

func headerOf(message, name string) string {
	_, rest, ok := strings.Cut(message, "\n"+name+": ")
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, "\n")
	return value
}
