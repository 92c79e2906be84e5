package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// The lines of the manual's first page, with a real server and TLS: 10,000
// messages in 5 mailboxes.
func TestBackupOfARealServer(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	mailboxes := []string{"INBOX", "Sent", "Archive/2024", "Projets/Été", "Family & Friends"}
	if got := dovecot.Fill(user, into(demo.Corpus(1, 10000), mailboxes...)); got != 10000 {
		t.Fatalf("filled %d messages, want 10000", got)
	}
	a := newAccount(t, "imaps://"+user+"@"+dovecot.TLSAddr(), imaptest.DovecotPassword, "--tls-ca", dovecot.CAFile())
	a.dir = filepath.Join(t.TempDir(), "mail") // on a disk

	first := a.backup(t).want(t, 0)
	t.Logf("first backup: %v", first.elapsed)
	if !strings.Contains(first.stdout, "10000 new") || first.stderr != "" {
		t.Errorf("got\n%s", first)
	}
	server := dovecot.Target(user).MustDump(t)
	if server.Count() != 10000 {
		t.Fatalf("the server holds %d messages", server.Count())
	}
	a.sameAs(t, server)

	again := a.backup(t, "--json").want(t, 0)
	again.unchanged(t)
	if m := again.summary(t).mailboxes(t); m.Skipped != m.Total || m.Total < 5 {
		t.Errorf("got mailboxes %+v, want all of at least 5 skipped", m)
	}
	deep := a.verify(t, "--deep").want(t, 0)
	t.Logf("verify --deep: %v", deep.elapsed)
	if !strings.Contains(deep.stdout, "10000 messages") || !strings.Contains(deep.stdout, "nothing wrong") {
		t.Errorf("got\n%s", deep)
	}

	checkMailboxes(t, a, mailboxes)
	checkStatus(t, a, 10000)
	damage(t, a, server)
}

// damage deletes one file and flips a bit in another: verify names both, and a
// backup with --refill brings both back.
func damage(t *testing.T, a *account, server imaptest.Dump) {
	t.Helper()
	list := readTree(t, a.dir, false)["Sent"]
	gone, flipped := list[3], list[len(list)-5]
	if err := os.Remove(gone.path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(flipped.path)
	if err != nil {
		t.Fatal(err)
	}
	flip := bytes.Clone(data)
	flip[len(flip)/2] ^= 1
	if err := os.WriteFile(flipped.path, flip, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(flipped.path, flipped.Date, flipped.Date); err != nil {
		t.Fatal(err) // nothing but the content tells
	}
	v := a.verify(t).want(t, 3)
	named := map[string]string{}
	for _, e := range a.verify(t, "--json", "--mailbox", "Sent").want(t, 3).events(t) {
		if e.Event == "finding" {
			named[e.Key] = e.Kind + " in " + e.Mailbox
		}
	}
	want := map[string]string{keyOf(gone.path): "missing in Sent", keyOf(flipped.path): "damaged in Sent"}
	if fmt.Sprint(named) != fmt.Sprint(want) {
		t.Errorf("got findings %v, want %v", named, want)
	}
	for key := range want {
		if !strings.Contains(v.stdout, key) {
			t.Errorf("%s is not named\n%s", key, v)
		}
	}
	a.run(t, "verify", a.dir, "--mailbox", "Sent").want(t, 3)
	a.run(t, "verify", a.dir, "--mailbox", "INBOX").want(t, 0)

	refill := a.backup(t, "--refill", "--json").want(t, 0)
	if got := refill.summary(t).B.New; got != 2 {
		t.Errorf("got %d new messages, want 2\n%s", got, refill)
	}
	a.verify(t, "--deep", "--mailbox", "Sent").want(t, 0)
	a.sameAs(t, server)
	a.checkState(t)
	a.checkNoop(t)
}

// keyOf is the key of a message's file.
func keyOf(path string) string {
	key, _, _ := strings.Cut(filepath.Base(path), ":2,")
	return key
}

// checkMailboxes compares what "mailboxes" prints of both sides.
func checkMailboxes(t *testing.T, a *account, want []string) {
	t.Helper()
	for _, args := range [][]string{append([]string{"mailboxes", a.url}, a.flags...), {"mailboxes", a.dir}} {
		text := a.run(t, args...).want(t, 0)
		got := map[string]int{}
		for _, e := range a.run(t, append(args, "--json")...).want(t, 0).events(t) {
			if e.Event == "mailbox" {
				got[e.Mailbox] = e.Messages
			}
		}
		for _, name := range want {
			if got[name] != 2000 {
				t.Errorf("%s: got %d messages, want 2000", name, got[name])
			}
			if !strings.Contains(text.stdout, name) {
				t.Errorf("%s is not listed\n%s", name, text)
			}
		}
	}
}

// checkStatus looks at what "status" prints.
func checkStatus(t *testing.T, a *account, want int) {
	t.Helper()
	text := a.run(t, "status", a.dir).want(t, 0)
	for _, part := range []string{fmt.Sprintf("%d messages", want), "backup: done"} {
		if !strings.Contains(text.stdout, part) {
			t.Errorf("%q is not told\n%s", part, text)
		}
	}
	e := a.run(t, "status", a.dir, "--json").want(t, 0).events(t)[0]
	if e.Messages != want || e.Pending != 0 || len(e.Problems) != 0 {
		t.Errorf("got %d messages, %d pending, %d problems, want %d, 0, 0", e.Messages, e.Pending, len(e.Problems), want)
	}
}
