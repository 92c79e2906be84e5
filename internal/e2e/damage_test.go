package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// A damaged row of the state is no base for its message, and no more: the message
// stays, is paired again, and is not fetched a second time into a second file.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(61, 150))
	base := onTarget(t, e.Target())
	base.backup(t).want(t, 0)
	before := e.Target().MustDump(t)
	if err := e.Account.Fill(demo.Corpus(63, 15)); err != nil { // one for each mailbox: none is skipped
		t.Fatal(err)
	}
	server := e.Target().MustDump(t)
	data, err := os.ReadFile(base.statePath())
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, name := range []string{"INBOX", "Sent", "Work/Projects/postbag", "Archive/2024"} {
		box := before[name]
		a := base.copied(t)
		for i, m := range box.Messages {
			// The digest stands in the row as it is.
			if at := bytes.Index(data, m.Digest[:]); at >= 0 && i%3 == 0 {
				flipBit(t, a.statePath(), int64(at+i%32), i%8)
				damaged++
			}
		}
		c := a.backup(t, "--mirror").want(t, 0)
		a.sameAs(t, server)
		refill := a.backup(t, "--refill", "--json").want(t, 0) // reads every row
		if got := refill.summary(t).B; (got != counts{}) {
			t.Errorf("messages were copied again: %+v\n%s", got, refill)
		}
		a.sameAs(t, server)
		a.checkState(t)
		a.verify(t).want(t, 0)
		a.checkNoop(t)
		if t.Failed() {
			t.Fatalf("rows of %s were damaged\n%s", name, c)
		}
	}
	if damaged < 10 {
		t.Errorf("%d rows were damaged only", damaged)
	}
}

// copied is the account with a copy of its Maildir.
func (a *account) copied(t *testing.T) *account {
	t.Helper()
	b := *a
	b.home = scratch(t)
	b.dir = filepath.Join(b.home, "mail")
	copyTree(t, a.dir, b.dir)
	return &b
}

// Whatever bit of the state is flipped, no message is lost, and a state that
// cannot be used is refused in a line.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(62, 150))
	base := onTarget(t, e.Target())
	base.backup(t).want(t, 0)
	server := e.Target().MustDump(t).Content()
	info, err := os.Stat(base.statePath())
	if err != nil {
		t.Fatal(err)
	}
	rounds := 24
	if long() {
		rounds = 2000
	}
	codes := map[int]int{}
	for i := range rounds {
		a := base.copied(t)
		at := 100 + (info.Size()-101)*int64(i)/int64(rounds)
		flipBit(t, a.statePath(), at, i%8)
		c := a.backup(t, "--mirror")
		// What SQLite itself does not notice in its indexes can make a mailbox fail.
		codes[c.code]++
		if c.code != 0 && c.code != 3 && (c.code != 1 || !strings.Contains(c.stderr, "hint: ")) {
			t.Errorf("got exit code %d, want 0, 3, or 1 with a hint\n%s", c.code, c)
		}
		if diff := imaptest.Diff(server, treeDump(t, a.dir).Content()); strings.Contains(diff, " -\n") {
			t.Errorf("messages are missing:\n%s", diff)
		}
		if t.Failed() {
			t.Fatalf("bit %d of octet %d was flipped\n%s", i%8, at, c)
		}
	}
	t.Logf("%d bits flipped; exit codes %v", rounds, codes)
}

func flipBit(t *testing.T, path string, at int64, bit int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 1 << bit
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
