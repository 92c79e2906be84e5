package e2e

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// letter is the n-th message of a scripted Gmail account.
func letter(n int) string {
	return fmt.Sprintf("Message-ID: <g%d@example.org>\r\nSubject: letter %d.\r\n\r\n%s\r\n", n, n, strings.Repeat("text ", n%7))
}

func letterDate(n int) string {
	return time.Date(2024, 3, 1, 8, n, 0, 0, time.UTC).Format("02-Jan-2006 15:04:05 -0700")
}

// gmailLabels are the labels of the letters: each n-th letter has those of n modulo
// their number.
var gmailLabels = [][]string{{"INBOX"}, {"INBOX", "Work"}, {"INBOX", "Work", "Work/Deep"}, {}, {"Work", "[Gmail]/Important"}, {"[Gmail]/Sent Mail", "Work"}, {}}

// startGmail is a Gmail account with n letters. Some are read, some are starred.
func startGmail(t *testing.T, n int) (*imaptest.Scripted, *imaptest.Gmail) {
	t.Helper()
	var g *imaptest.Gmail
	s := imaptest.StartScripted(t, func(script *imaptest.Script) {
		g = imaptest.NewGmail(script, "Work", "Work/Deep", "Hidden")
		for i := range n {
			flags := [][]string{nil, {`\Seen`}, {`\Seen`, `\Flagged`}}[i%3]
			g.Put(letter(i), letterDate(i), flags, gmailLabels[i%len(gmailLabels)]...)
		}
	})
	return s, g
}

// wantGmail is what a copy has to hold: each letter in the mailboxes of its labels, and
// in archive when it has none.
func wantGmail(n int, archive, sent string) map[string][]int {
	want := map[string][]int{}
	for i := range n {
		labels := slices.DeleteFunc(slices.Clone(gmailLabels[i%len(gmailLabels)]), func(l string) bool { return l == "[Gmail]/Important" })
		if len(labels) == 0 {
			labels = []string{archive}
		}
		for _, l := range labels {
			if l == "[Gmail]/Sent Mail" {
				l = sent
			}
			want[l] = append(want[l], i)
		}
	}
	return want
}

// lettersIn says which letters are in which mailbox of a dump.
func lettersIn(t *testing.T, d imaptest.Dump, digests map[string]int) map[string][]int {
	t.Helper()
	got := map[string][]int{}
	for name, box := range d {
		for _, m := range box.Messages {
			n, ok := digests[m.Digest.String()]
			if !ok {
				t.Errorf("%s holds a message that is no letter", name)
			}
			got[name] = append(got[name], n)
		}
		slices.Sort(got[name])
		if len(got[name]) == 0 {
			delete(got, name)
		}
	}
	return got
}

func letterDigests(n int) map[string]int {
	digests := map[string]int{}
	for i := range n {
		digests[letterDigest([]byte(letter(i)))] = i
	}
	return digests
}

func sameLetters(t *testing.T, got, want map[string][]int) {
	t.Helper()
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

// bodies counts the bodies that were asked for, by UID and mailbox, and the messages
// that were sent.
func wireBodies(commands []string) (fetched, sent int) {
	for _, c := range commands {
		upper := strings.ToUpper(c)
		switch {
		case strings.HasPrefix(upper, "APPEND"):
			sent++
		case strings.HasPrefix(upper, "UID FETCH") && strings.Contains(upper, "BODY.PEEK[]"):
			fetched += uidsIn(strings.Fields(c)[2])
		}
	}
	return fetched, sent
}

// uidsIn counts the UIDs of a set such as "1:3,7".
func uidsIn(set string) (n int) {
	for part := range strings.SplitSeq(set, ",") {
		var lo, hi int
		if k, _ := fmt.Sscanf(part, "%d:%d", &lo, &hi); k < 2 {
			hi = lo
		}
		n += hi - lo + 1
	}
	return n
}

// A Gmail account goes to a server of another kind: each message is fetched once and
// sent once, and lies in the mailboxes of its labels, with archived mail in Archive.
// The second run does nothing, and verify finds nothing.
func TestGmailToDovecot(t *testing.T) {
	t.Parallel()
	const n = 28
	from, _ := startGmail(t, n)
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	m := newMoving(t, from.Target(), dovecot.Target(user))
	p := m.viaTo(t, m.to)
	log := p.WireLog()
	dry := m.migrate(t, "--dry-run").want(t, 0)
	for _, text := range []string{"[Gmail]/Starred: left out", "[Gmail]/Important: left out", "[Gmail]/All Mail -> Archive"} {
		if !strings.Contains(dry.stdout, text) {
			t.Errorf("the dry run does not say %q\n%s", text, dry)
		}
	}
	log.Reset()
	m.migrate(t).want(t, 0)
	fetched, _ := wireBodies(from.Commands())
	if sent := appended(log); fetched != n || sent != n {
		t.Errorf("%d bodies were fetched and %d messages sent, want %d each", fetched, sent, n)
	}
	sameLetters(t, lettersIn(t, m.to.MustDump(t), letterDigests(n)), wantGmail(n, "Archive", "[Gmail]/Sent Mail"))
	m.migrate(t, "--json").want(t, 0).unchanged(t)
	m.compare(t, "--deep").want(t, 0)
}

// A backup of a Gmail account has every message once on the disk: where it has several
// labels, its file has several names. What was archived is in All Mail.
func TestGmailBackup(t *testing.T) {
	t.Parallel()
	const n = 28
	from, g := startGmail(t, n)
	a := onTarget(t, from.Target())
	a.backup(t).want(t, 0)
	if fetched, _ := wireBodies(from.Commands()); fetched != n {
		t.Errorf("%d bodies were fetched, want %d", fetched, n)
	}
	want := wantGmail(n, "[Gmail]/All Mail", "[Gmail]/Sent Mail")
	sameLetters(t, treeLetters(t, a, n), want)
	if files := distinctFiles(t, a.dir); files != n {
		t.Errorf("%d files hold %d messages", files, n)
	}
	a.backup(t, "--json").want(t, 0).unchanged(t)
	a.verify(t, "--deep").want(t, 0)

	// A label that goes leaves the message in the archive; one that comes takes it out.
	from.Edit(func(*imaptest.Script) {
		g.Label("letter 1.", "INBOX", false)
		g.Label("letter 1.", "Work", false)
		g.Label("letter 3.", "Work", true)
		g.Label("letter 0.", "Work", true)
	})
	before, _ := wireBodies(from.Commands())
	a.backup(t, "--mirror").want(t, 0)
	move := func(n int, from, to string) {
		if from != "" {
			want[from] = slices.DeleteFunc(want[from], func(i int) bool { return i == n })
		}
		if to != "" {
			want[to] = append(want[to], n)
			slices.Sort(want[to])
		}
	}
	move(1, "INBOX", "[Gmail]/All Mail")
	move(1, "Work", "")
	move(3, "[Gmail]/All Mail", "Work")
	move(0, "", "Work")
	sameLetters(t, treeLetters(t, a, n), want)
	if after, _ := wireBodies(from.Commands()); after != before {
		t.Errorf("%d bodies were fetched for changes of labels", after-before)
	}
	a.backup(t, "--mirror", "--json").want(t, 0).unchanged(t)

	// A label that is hidden from IMAP hides no message.
	from.Edit(func(*imaptest.Script) {
		g.Label("letter 3.", "Hidden", true)
		g.Label("letter 3.", "Work", false)
		g.Hide("Hidden")
		g.Delete("letter 6.")
	})
	a.backup(t, "--mirror").want(t, 0)
	move(3, "Work", "[Gmail]/All Mail")
	move(6, "[Gmail]/All Mail", "")
	got := treeLetters(t, a, n)
	delete(got, "Hidden")
	sameLetters(t, got, want)
	a.verify(t).want(t, 0)
}

// With --gmail plain every mailbox is there as IMAP shows it, and still each message is
// fetched once and on the disk once.
func TestGmailPlain(t *testing.T) {
	t.Parallel()
	const n = 21
	from, _ := startGmail(t, n)
	a := onTarget(t, from.Target())
	a.backup(t, "--gmail", "plain").want(t, 0)
	if fetched, _ := wireBodies(from.Commands()); fetched != n {
		t.Errorf("%d bodies were fetched, want %d", fetched, n)
	}
	if files := distinctFiles(t, a.dir); files != n {
		t.Errorf("%d files hold %d messages", files, n)
	}
	a.sameAs(t, from.Target().MustDump(t))
	a.backup(t, "--gmail", "plain", "--json").want(t, 0).unchanged(t)
}

// Between two Gmail accounts each message is sent once, and has its labels afterwards.
func TestGmailToGmail(t *testing.T) {
	t.Parallel()
	const n = 28
	from, g := startGmail(t, n)
	var h *imaptest.Gmail
	to := imaptest.StartScripted(t, func(s *imaptest.Script) { h = imaptest.NewGmail(s) })
	m := newMoving(t, from.Target(), to.Target())
	m.migrate(t).want(t, 0)
	fetched, _ := wireBodies(from.Commands())
	if _, sent := wireBodies(to.Commands()); fetched != n || sent != n {
		t.Errorf("%d bodies were fetched and %d messages sent, want %d each", fetched, sent, n)
	}
	check := func() {
		t.Helper()
		got, want := gmailLabelsOf(to, h), gmailLabelsOf(from, g)
		for body, labels := range want { // that Gmail finds a message important is its own affair
			want[body] = slices.DeleteFunc(labels, func(l string) bool { return l == `\Important` })
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("the labels are\n%v\nwant\n%v", got, want)
		}
	}
	check()
	m.migrate(t, "--json").want(t, 0) // the labels that were made are heard of
	m.migrate(t, "--json").want(t, 0).unchanged(t)
	from.Edit(func(*imaptest.Script) { g.Label("letter 3.", "Work", true) })
	m.migrate(t).want(t, 0)
	check()
	m.compare(t, "--deep").want(t, 0)
}

func gmailLabelsOf(s *imaptest.Scripted, g *imaptest.Gmail) (labels map[string][]string) {
	s.Edit(func(*imaptest.Script) { labels = g.Labels() })
	return labels
}

// Killed again and again, a migration from Gmail ends complete, and no message is there
// twice.
func TestGmailKilled(t *testing.T) {
	t.Parallel()
	const n = 28
	from, _ := startGmail(t, n)
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	m := newMoving(t, from.Target(), dovecot.Target(dovecot.NewUser()))
	for after := 5; ; after += 7 {
		killed := false
		seen := len(from.Commands())
		r := m.start(t, m.args()...)
		done := make(chan *call)
		go func() { done <- r.wait() }()
		var c *call
		for c == nil {
			select {
			case c = <-done:
			case <-time.After(time.Millisecond):
				if !killed && len(from.Commands())-seen > after {
					killed = true
					if err := r.cmd.Process.Signal(syscall.SIGKILL); err != nil && !strings.Contains(err.Error(), "already finished") {
						t.Error(err)
					}
				}
			}
		}
		if c.code == 0 {
			break
		}
		if !killed {
			t.Fatalf("it failed by itself\n%s", c)
		}
		if after > 400 {
			t.Fatal("no end")
		}
	}
	sameLetters(t, lettersIn(t, m.to.MustDump(t), letterDigests(n)), wantGmail(n, "Archive", "[Gmail]/Sent Mail"))
	m.migrate(t, "--json").want(t, 0).unchanged(t)
	m.compare(t, "--deep").want(t, 0)
}

// distinctFiles counts the files that hold messages in a tree, each once however many
// names it has.
func distinctFiles(t *testing.T, dir string) int {
	t.Helper()
	var files []os.FileInfo
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "cur" && filepath.Base(filepath.Dir(path)) != "new" {
			return err
		}
		info, err := d.Info()
		if err == nil && !slices.ContainsFunc(files, func(o os.FileInfo) bool { return os.SameFile(o, info) }) {
			files = append(files, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func treeLetters(t *testing.T, a *account, n int) map[string][]int {
	t.Helper()
	return lettersIn(t, treeDump(t, a.dir), letterDigests(n))
}

func letterDigest(raw []byte) string { return mail.Digest(sha256.Sum256(raw)).String() }

// viaTo puts a proxy that logs in front of the second server.
func (m *moving) viaTo(t testing.TB, target imaptest.Target) *imaptest.Proxy {
	t.Helper()
	p := imaptest.StartProxy(t, target.Addr)
	m.toURL = "imap://" + target.User + "@" + p.Addr()
	return p
}

// appended counts the messages that were sent, several of which may be in one APPEND.
func appended(log *imaptest.WireLog) (n int) {
	for _, c := range log.Commands() {
		if c.Verb == "APPEND" {
			n += strings.Count(c.Line, "{")
		}
	}
	return n
}

// A letter that was archived when it was backed up, and has a label since, is there: a
// restore does not put it into All Mail again, and complains of nothing. One that was
// deleted comes back with its labels.
func TestGmailRestore(t *testing.T) {
	t.Parallel()
	const n = 14
	from, g := startGmail(t, n)
	a := onTarget(t, from.Target())
	a.backup(t).want(t, 0)
	from.Edit(func(*imaptest.Script) {
		g.Label("letter 3.", "Work", true)
		g.Delete("letter 2.")
		g.Delete("letter 6.")
	})
	restore := append([]string{"restore", a.dir, a.url}, a.flags...)
	for range 3 {
		a.run(t, restore...).want(t, 0)
	}
	labels := gmailLabelsOf(from, g)
	for which, want := range map[int][]string{3: {"Work"}, 2: {"Work", "Work/Deep", `\Inbox`, `\Starred`}, 6: nil} {
		if got := labels[letter(which)]; !slices.Equal(got, want) {
			t.Errorf("letter %d has the labels %q, want %q", which, got, want)
		}
	}
	if len(labels) != n {
		t.Errorf("there are %d letters, want %d", len(labels), n)
	}
	a.backup(t).want(t, 0)
	a.verify(t, "--deep").want(t, 0)
}

// A backup of a Gmail account goes to another server as the account itself would: each
// letter is sent once, and what was archived goes to the archive.
func TestGmailBackupElsewhere(t *testing.T) {
	t.Parallel()
	const n = 21
	from, _ := startGmail(t, n)
	a := onTarget(t, from.Target())
	a.backup(t).want(t, 0)
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	target := dovecot.Target(dovecot.NewUser())
	b := onTarget(t, target)
	log := b.via(t, target).WireLog()
	for range 2 {
		b.run(t, append([]string{"restore", a.dir, b.url}, b.flags...)...).want(t, 0)
		if sent := appended(log); sent != n {
			t.Errorf("%d messages were sent, want %d", sent, n)
		}
	}
	sameLetters(t, lettersIn(t, target.MustDump(t), letterDigests(n)), wantGmail(n, "Archive", "[Gmail]/Sent Mail"))
	b.run(t, append([]string{"verify", a.dir, b.url, "--deep"}, b.flags...)...).want(t, 0)
}
