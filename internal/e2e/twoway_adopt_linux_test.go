package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// adopted is a server and a tree that another program filled with the same mail.
type adopted struct {
	*twoWay
	samples []demo.Sample
	undated bool // the program dates files as it likes
	// plusplus: the tree has the layout of Maildir++.
	plusplus bool
	marked   bool // each message in the tree has a line more than on the server
}

func newAdopted(t testing.TB) *adopted {
	t.Helper()
	a := &adopted{twoWay: newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))}
	for s := range into(demo.Corpus(60, 200), "INBOX", "Work", "Archive") {
		a.samples = append(a.samples, s)
	}
	if _, err := a.target.Fill(slices.Values(a.samples)); err != nil {
		t.Fatal(err)
	}
	return a
}

// unclear counts the messages that have to be read before they are paired: those
// without a Message-ID, and drafts, which change under the one they have.
func (a *adopted) unclear() (n int) {
	for _, s := range a.samples {
		head, _, _ := bytes.Cut(s.Raw, []byte("\r\n\r\n"))
		if s.Flags.System&mail.Draft != 0 || !bytes.Contains(bytes.ToLower(head), []byte("\nmessage-id:")) {
			n++
		}
	}
	return n
}

// check changes both sides a little, syncs for the first time, and fails the test
// when more is carried than what only one side has.
func (a *adopted) check(t testing.TB, more ...string) {
	t.Helper()
	if _, err := a.target.Fill(brief("down", 3, "INBOX", "Work")); err != nil {
		t.Fatal(err)
	}
	before := snapshotFiles(t, a.dir)
	s := a.sync(t, append([]string{"--json"}, more...)...).want(t, 0).summary(t)
	if s.A.New != 2 || s.B.New != 3 || s.A.Deleted+s.B.Deleted+s.A.Moved+s.B.Moved > 0 {
		t.Errorf("got %+v and %+v, want 2 and 3 new messages", s.A, s.B)
	}
	fetched, uploaded := a.bodies()
	if n := messagesIn(t, fetched); n < 3 || n > 3+a.unclear() {
		t.Errorf("%d messages were fetched, want the 3 that are new, and of %d others some", n, a.unclear())
	}
	if len(uploaded) != 2 && len(uploaded) != 1 {
		t.Errorf("got %q, want 2 messages", uploaded)
	}
	server, local := a.sides(t)
	if a.plusplus {
		local = plusplus(local)
	}
	if a.undated {
		undate(server)
		undate(local)
	}
	if a.marked {
		unmark(server)
		unmark(local)
	}
	if diff := imaptest.Diff(server.Content(), local.Content()); diff != "" {
		t.Errorf("the sides differ (- only on the server, + only in the Maildir):\n%s", clip(diff))
	}
	now := snapshotFiles(t, a.dir)
	for key, sum := range before {
		if now[key] != sum {
			t.Errorf("the file of %s was touched: %s, and now %s", key, sum, now[key])
		}
	}
	a.quietly(t)
	a.checkState(t)
}

// onlyHere delivers two messages that the server does not have.
func (a *adopted) onlyHere(t testing.TB, inbox string) {
	t.Helper()
	for i := range 2 {
		wire := fmt.Appendf(nil, "Message-ID: <up%d@example.org>\r\nSubject: up\r\n\r\n%d\r\n", i, i)
		must(t, a.reader.deliver(inbox, a.reader.base(), fileOf(wire, false), mail.Flags{}, dateOf(wire), true))
	}
}

// snapshotFiles is the time and content of each message file, by its key.
func snapshotFiles(t testing.TB, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, list := range readTree(t, root, false) {
		for _, m := range list {
			key, _, _ := strings.Cut(filepath.Base(m.path), ":2,")
			files[key] = fmt.Sprintf("%v %x", m.Date, m.Digest)
		}
	}
	return files
}

// plusplus is a tree in Maildir++ by the names of its mailboxes.
func plusplus(d imaptest.Dump) imaptest.Dump {
	named := imaptest.Dump{}
	for dir, box := range d {
		name := "INBOX"
		if dir != "." {
			name = strings.ReplaceAll(strings.TrimPrefix(dir, "."), ".", "/")
		}
		named[name] = box
	}
	return named
}

func undate(d imaptest.Dump) {
	for _, box := range d {
		for i := range box.Messages {
			box.Messages[i].Date = time.Time{}
		}
	}
}

// unmark leaves of each message what a line more does not change.
func unmark(d imaptest.Dump) {
	for _, box := range d {
		for i := range box.Messages {
			box.Messages[i].Digest, box.Messages[i].Size = mail.Digest{}, 0
		}
	}
}

// messagesIn counts the messages that commands fetch.
func messagesIn(t testing.TB, fetches []string) (n int) {
	t.Helper()
	for _, line := range fetches {
		for part := range strings.SplitSeq(strings.Fields(line)[2], ",") {
			first, last, several := strings.Cut(part, ":")
			from, err := strconv.Atoi(first)
			must(t, err)
			to := from
			if several {
				to, err = strconv.Atoi(last)
				must(t, err)
			}
			n += to - from + 1
		}
	}
	return n
}

var tuid = regexp.MustCompile(`(?m)^X-TUID: .*\r?\n`)

// stripTUID takes away the header that mbsync adds to each message that it pulls,
// which makes it another message.
func stripTUID(t testing.TB, m stored) {
	t.Helper()
	data, err := os.ReadFile(m.path)
	must(t, err)
	place := tuid.FindIndex(data)
	if place == nil {
		return
	}
	must(t, os.WriteFile(m.path, slices.Delete(data, place[0], place[1]), 0o600))
	must(t, os.Chtimes(m.path, m.Date, m.Date))
}

// A tree that mbsync pulled is taken over: nothing is carried again, also where it
// has added a line to each message.
func TestTwoWayAdoptsMbsync(t *testing.T) {
	t.Parallel()
	for _, strip := range []bool{true, false} {
		t.Run(fmt.Sprintf("without its line %v", strip), func(t *testing.T) {
			t.Parallel()
			adoptMbsync(t, strip)
		})
	}
}

func adoptMbsync(t *testing.T, strip bool) {
	mbsync := need(t, "mbsync")
	a := newAdopted(t)
	must(t, os.MkdirAll(a.dir, 0o700))
	host, port, _ := strings.Cut(a.target.Addr, ":")
	config := filepath.Join(a.home, "mbsyncrc")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
IMAPAccount account
Host %s
Port %s
User %s
Pass %s
SSLType None
AuthMechs LOGIN

IMAPStore far
Account account

MaildirStore near
Path %s/
Inbox %[5]s/INBOX
SubFolders Verbatim

Channel channel
Far :far:
Near :near:
Patterns *
Sync Pull
Create Near
CopyArrivalDate yes
SyncState *
`, host, port, a.target.User, a.target.Password, a.dir), 0o600))
	cmd := exec.Command(mbsync, "-q", "-c", config, "channel")
	cmd.Env = append(os.Environ(), "HOME="+a.home)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mbsync: %v\n%s", err, out)
	}
	a.marked = !strip
	for _, list := range readTree(t, a.dir, true) {
		for _, m := range list {
			if strip {
				stripTUID(t, m)
			}
		}
	}
	a.onlyHere(t, "INBOX")
	a.check(t)
	if !strip {
		a.explainsMarks(t)
	}
}

// explainsMarks verifies a tree with mbsync's lines: each is told, as what it is.
func (a *adopted) explainsMarks(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{a.pair("verify", "--deep", "--json"), append([]string{"verify", a.dir, a.url, "--deep", "--json"}, a.flags...)} {
		kinds := map[string]int{}
		for _, e := range a.run(t, args...).want(t, 3).events(t) {
			if e.Event == "finding" {
				kinds[e.Kind]++
				if !strings.Contains(e.Reason, "X-TUID, which mbsync added") {
					t.Errorf("it says %+v", e)
				}
			}
		}
		if len(kinds) != 1 || kinds["altered"] < len(a.samples)/2 {
			t.Errorf("%v: found %v, want that all are altered", args, kinds)
		}
	}
}

// A tree that a Dovecot wrote, for which it is its mail store, is taken over.
func TestTwoWayAdoptsDovecot(t *testing.T) {
	t.Parallel()
	a := newAdopted(t)
	a.plusplus = true
	writer := imaptest.StartDovecot(t, imaptest.DovecotOptions{Maildir: true})
	user := writer.NewUser()
	writer.Fill(user, slices.Values(a.samples))
	writer.Kill()
	copyTree(t, filepath.Join(writer.Home(user), "Maildir"), a.dir)
	a.onlyHere(t, ".")
	a.check(t, "--layout", "maildir++")
}

// Files that were copied from anywhere, with LF and the date of their copying,
// are taken over.
func TestTwoWayAdoptsPlainFiles(t *testing.T) {
	t.Parallel()
	a := newAdopted(t)
	a.undated = true
	for i, s := range a.samples {
		must(t, a.reader.create(s.Mailbox))
		must(t, a.reader.deliver(s.Mailbox, fmt.Sprintf("file%d", i), fileOf(s.Raw, false), s.Flags, time.Now().Add(-time.Hour), false))
	}
	a.onlyHere(t, "INBOX")
	a.check(t)
}
