package maildir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// need finds a program that a test reads a tree with.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// doveadm runs doveadm on a Maildir++ tree.
type doveadm struct {
	t    *testing.T
	path string
	conf string
	home string
	root string
}

// openDir is a temporary directory that other users can reach.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postbag")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newDoveadm(t *testing.T, root string) *doveadm {
	d := &doveadm{t: t, path: need(t, "doveadm"), home: openDir(t), root: root}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = 65534, 65534
	}
	d.conf = put(t, fmt.Sprintf(`mail_location = maildir:%s
base_dir = %[2]s/run
state_dir = %[2]s/state
log_path = /dev/stderr
ssl = no
first_valid_uid = 0
first_valid_gid = 0
mail_uid = %d
mail_gid = %d
namespace inbox {
  inbox = yes
}
`, root, d.home, uid, gid), d.home, "dovecot.conf")
	return d
}

func (d *doveadm) run(stdin string, args ...string) []byte {
	d.t.Helper()
	cmd := exec.Command(d.path, append([]string{"-c", d.conf}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+d.home, "USER=me", "TZ=UTC")
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Dir = d.home
	if err := dropRoot(cmd, d.root, d.home); err != nil {
		d.t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("doveadm %q: %v\n%s", args, err, stderr.String())
	}
	return out
}

// Dovecot reads what we write, and we read what Dovecot writes.
func TestDovecotReadsTheTree(t *testing.T) {
	t.Parallel()
	need(t, "doveadm")
	s, err := Open(filepath.Join(openDir(t), "mail"), Options{Layout: MaildirPP, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d := newDoveadm(t, s.path)
	date := time.Date(2011, 12, 13, 14, 15, 16, 0, time.UTC)
	type message struct{ flags, body string }
	want := map[string]message{} // by mailbox
	for i, c := range []struct{ name, theirs, flags string }{
		{"INBOX", "INBOX", ``},
		{"Work/Projects", "Work.Projects", `\Seen`},
		{"Entw\u00fcrfe & mehr", "Entw\u00fcrfe & mehr", `\Draft $Label1 Custom`},
		{"日本語/台北", "日本語.台北", `\Seen \Answered \Flagged \Deleted Custom $Forwarded`},
		{"a.b", "a%2Eb", `\Flagged`},
		{"~tilde/100%", "%7Etilde.100%", ``},
		{"cur/new", "%63ur.%6Eew", `Custom`},
		{strings.Repeat("long ", 50), "", `\Seen`},
	} {
		body := sampleMessage(i)
		deliver(t, selected(t, s, c.name), outgoing{body: body, flags: c.flags, date: date})
		if c.theirs != "" {
			want[c.theirs] = message{c.flags, body}
		}
	}
	var list []struct {
		Mailbox string `json:"mailbox"`
	}
	if err := json.Unmarshal(d.run("", "-f", "json", "mailbox", "list"), &list); err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, l := range list {
		listed[l.Mailbox] = true
		// It lists parents that are no mailboxes, too; a shortened name is ours only.
		ok := strings.Contains(l.Mailbox, longMark)
		for name := range want {
			ok = ok || name == l.Mailbox || strings.HasPrefix(name, l.Mailbox+".")
		}
		if !ok {
			t.Errorf("Dovecot lists %q", l.Mailbox)
		}
	}
	for name := range want {
		if !listed[name] {
			t.Errorf("Dovecot does not list %q", name)
		}
	}
	for name, w := range want {
		var got []struct {
			Flags, Text string
			Date        string `json:"date.received"`
			Size        string `json:"size.virtual"`
		}
		if err := json.Unmarshal(d.run("", "-f", "json", "fetch", "flags date.received size.virtual text", "mailbox", name), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 {
			t.Errorf("%q: Dovecot sees %d messages", name, len(got))
			continue
		}
		if f := mail.ParseFlags(strings.Fields(got[0].Flags)...); !f.Equal(mail.ParseFlags(strings.Fields(w.flags)...)) {
			t.Errorf("%q: Dovecot sees the flags %q, want %q", name, f, w.flags)
		}
		if got[0].Date != "2011-12-13 14:15:16" || got[0].Size != fmt.Sprint(len(w.body)) || strings.ReplaceAll(got[0].Text, "\r", "") != strings.ReplaceAll(w.body, "\r", "") {
			t.Errorf("%q: Dovecot sees %+v, want %q", name, got[0], w.body)
		}
	}

	// Dovecot's own changes: a new message, flags, a new keyword, an expunge, a new mailbox.
	m := selected(t, s, "Work/Projects")
	known := rows{}
	first := changes(t, m, "", known)
	known.take(first)
	d.run("Subject: theirs\n\nhello\n", "save", "-m", "Work.Projects")
	d.run("", "flags", "add", `\Answered $Theirs`, "mailbox", "Work.Projects", "HEADER", "Subject", "number")
	settle()
	delta := changes(t, m, first.Cursor, known)
	if len(delta.New) != 1 || len(delta.Flags) != 1 || delta.Flags[0].Flags.String() != `\Seen \Answered $Theirs` {
		t.Errorf("after Dovecot's changes: %+v", delta)
	}
	known.take(delta)
	if _, err := m.SetFlags(t.Context(), []mail.FlagChange{change(delta.Flags[0].Ref.Key, "Ours", "")}); err != nil {
		t.Error(err)
	}
	d.run("", "expunge", "mailbox", "Work.Projects", "HEADER", "Subject", "theirs")
	d.run("", "mailbox", "create", "Neue.Gr\u00fc\u00dfe")
	settle()
	delta = changes(t, m, delta.Cursor, known)
	if len(delta.Gone) != 1 || len(delta.Flags) != 1 || delta.Flags[0].Flags.String() != `\Seen \Answered $Theirs Ours` &&
		delta.Flags[0].Flags.String() != `\Seen \Answered Ours $Theirs` {
		t.Errorf("after more of them: %+v", delta)
	}
	infos, err := s.List(t.Context())
	if err != nil || !slices.ContainsFunc(infos, func(i mail.MailboxInfo) bool { return i.Name == "Neue/Gr\u00fc\u00dfe" && i.Err == nil }) {
		t.Errorf("List gives %+v, %v", infos, err)
	}
}

// mutt opens a mailbox of the tree and reads what is there; what it changes is
// seen.
func TestMuttReadsTheTree(t *testing.T) {
	t.Parallel()
	mutt, script := need(t, "mutt"), need(t, "script")
	s := openNew(t, Options{})
	m := selected(t, s, "Work/Projects")
	deliver(t, m, outgoing{body: sampleMessage(1)}, outgoing{body: sampleMessage(2), flags: `\Seen`}, outgoing{body: sampleMessage(3), flags: `\Deleted`})
	known := rows{}
	first := changes(t, m, "", known)
	known.take(first)
	home := t.TempDir()
	rc := put(t, strings.Join([]string{"set delete=yes", "set quit=yes", "set maildir_trash=no", "set sleep_time=0", "set folder=" + home,
		`push "<tag-pattern>~s number<enter><tag-prefix><set-flag>!<sync-mailbox><quit>"`, ""}, "\n"), home, "muttrc")
	// mutt wants a terminal.
	cmd := exec.Command(script, "-qec", fmt.Sprintf("'%s' -n -F '%s' -f '%s'", mutt, rc, boxPath(s, "Work", "Projects")), "/dev/null")
	cmd.Env = append(os.Environ(), "HOME="+home, "TERM=vt100")
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mutt: %v, %.2000q", err, out)
	}
	settle()
	d := changes(t, m, first.Cursor, known)
	if len(d.New) > 0 || len(d.Flags)+len(d.Gone) != 3 {
		t.Errorf("after mutt: %+v", d)
	}
	for _, f := range d.Flags {
		if f.Flags.System&mail.Flagged == 0 {
			t.Errorf("after mutt %s has the flags %q", f.Ref, f.Flags)
		}
	}
	if n := len(files(t, filepath.Join(s.path, "Work", "Projects", "tmp"))); n > 0 {
		t.Errorf("tmp/ holds %d files", n)
	}
}
