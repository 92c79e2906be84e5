package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// fed is the account with something on the stdin of the next call.
func (a *account) fed(text string) *account {
	b := *a
	b.stdin = strings.NewReader(text)
	return &b
}

// stream is what a command writes to stdout.
func (a *account) stream(t testing.TB, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	a.startInto(t, &out, args...).wait().want(t, 0)
	return out.String()
}

// What an export writes to a pipe, an import takes out of it, in each form: messages,
// flags, dates and mailboxes are those of the source. An mbox has no manifest there: its
// messages come into the INBOX, octet for octet.
func TestExportIntoImport(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	e := imaptest.StartEmbedded(t, slices.Values(safe(221, 120)))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	want := treeDump(t, a.dir).Content()
	for i, format := range []string{"tar", "tar.gz", "tar.zst", "zip"} {
		octets := a.stream(t, "export", a.dir, "-", "--format", format)
		dest := fmt.Sprintf("./copy-%d", i)
		a.fed(octets).run(t, "import", "-", dest, "-q").want(t, 0)
		if diff := imaptest.Diff(want, treeDump(t, filepath.Join(a.home, dest)).Content()); diff != "" {
			t.Errorf("%s: it differs (- missing, + extra):\n%s", format, clip(diff))
		}
		a.fed(octets).run(t, "import", "-", dest, "--json").want(t, 0).unchanged(t)
	}
	b := onDovecot(t, dovecot, dovecot.NewUser())
	b.fed(a.stream(t, "export", a.dir, "-", "--format", "tar.zst")).run(t, b.server("import", []string{"-"})...).want(t, 0)
	b.run(t, append([]string{"verify", a.dir, b.url, "--deep"}, b.flags...)...).want(t, 0)

	plain := onTarget(t, imaptest.StartEmbedded(t, demo.Corpus(223, 80)).Target())
	plain.backup(t).want(t, 0)
	plain.fed(plain.stream(t, "export", plain.dir, "-", "--format", "mbox")).run(t, "import", "-", "./boxes", "--under", "Old").want(t, 0)
	got, all := treeDump(t, filepath.Join(plain.home, "boxes")), treeDump(t, plain.dir)
	if !slices.Equal(digests(got), digests(all)) || len(got["Old/INBOX"].Messages) != len(digests(all)) {
		t.Errorf("from an mbox came %d messages, %d in the INBOX, want %d", len(digests(got)), len(got["Old/INBOX"].Messages), len(digests(all)))
	}
}

// digests are those of all messages of a dump, sorted.
func digests(d imaptest.Dump) (list []string) {
	for _, box := range d {
		for _, m := range box.Messages {
			list = append(list, m.Digest.String())
		}
	}
	slices.Sort(list)
	return list
}

// A stream that breaks off, since what writes it was killed, is named with exit code 3,
// and what came before is there; the whole one brings the rest. With nothing in it, or no
// archive, there is one line and exit code 1.
func TestImportOfABrokenStream(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(222, 60))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	want := digests(treeDump(t, a.dir))
	for i, format := range []string{"tar", "tar.gz", "tar.zst"} {
		octets := a.stream(t, "export", a.dir, "-", "--format", format)
		dest := fmt.Sprintf("./copy-%d", i)
		c := a.fed(octets[:len(octets)*2/3]).run(t, "import", "-", dest).want(t, 3)
		if !strings.Contains(c.stderr, "postbag: stdin: ") && !strings.Contains(c.stderr, "cut off") {
			t.Errorf("%s: it does not say that the stream broke off\n%s", format, c)
		}
		a.fed(octets).run(t, "import", "-", dest).want(t, 0)
		if got := digests(treeDump(t, filepath.Join(a.home, dest))); !slices.Equal(got, want) {
			t.Errorf("%s: there are %d messages, want %d", format, len(got), len(want))
		}
	}
	for _, bad := range []string{"", "no mail at all"} {
		if c := a.fed(bad).run(t, "import", "-", "./bad").want(t, 1); strings.Count(c.stderr, "postbag: ") != 1 {
			t.Errorf("%q: got %s", bad, c)
		}
	}
	a.run(t, "import", "-", "-", "./bad").want(t, 2)

	// Interrupted while it waits for more, it ends.
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	b := *a
	b.stdin = r
	run := b.start(t, "import", "-", "./waits")
	must(t, r.Close())
	_, err = w.WriteString("From a\n" + strings.Repeat("x", 1<<20)) // more than a pipe holds
	must(t, err)
	run.cmd.Process.Signal(syscall.SIGINT)
	run.wait().want(t, 130)
}
