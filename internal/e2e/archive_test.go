package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// archives are the forms of an archive, and the arguments that ask for them.
var archives = [][]string{
	{"mail.mbox"}, {"boxes/", "--format", "mbox"}, {"tree", "--format", "eml"}, {"mail.zip"}, {"mail.tar"}, {"mail.tar.gz"}, {"mail.tar.zst"},
}

// safe are the messages of the torture set that every server keeps as they are, and
// a corpus.
func safe(seed uint64, n int) []demo.Sample {
	list := slices.DeleteFunc(demo.Torture(), func(s demo.Sample) bool { return !s.Safe() })
	for s := range demo.Corpus(seed, n) {
		list = append(list, s)
	}
	return list
}

// server is the arguments of a command on the account's server.
func (a *account) server(command string, before []string, more ...string) []string {
	args := append([]string{command}, before...)
	return append(append(append(args, a.url), more...), a.flags...)
}

// What is exported straight from a server is, octet for octet, what is exported from
// its backup; and in a Maildir it is what the server has.
func TestExportFromServerAndMaildir(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, slices.Values(safe(201, 150)))
	a := onDovecot(t, dovecot, user)
	a.backup(t).want(t, 0)
	for _, name := range []string{"a.tar", "a.mbox", "a.zip"} {
		a.run(t, a.server("export", nil, "server-"+name, "-q")...).want(t, 0)
		a.run(t, "export", a.dir, "tree-"+name, "-q").want(t, 0)
		one, two := read(t, filepath.Join(a.home, "server-"+name)), read(t, filepath.Join(a.home, "tree-"+name))
		if one != two {
			t.Errorf("%s: the archive from the server differs from the one from the Maildir", name)
		}
	}
	a.run(t, "import", "server-a.tar", "./again", "-q").want(t, 0)
	a.run(t, append([]string{"verify", "./again", a.url, "--deep"}, a.flags...)...).want(t, 0)
}

// An archive of each form goes onto servers as it was, once, however often it is
// imported.
func TestImportToServer(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	samples := safe(202, 60)
	for i := range 4 { // nothing but the content tells them apart
		samples = append(samples, demo.Sample{Mailbox: "INBOX", Date: samples[0].Date, Raw: []byte("Subject: no id\r\n\r\n" + strings.Repeat("x", 10+i%3) + "\r\n")})
	}
	dovecot.Fill(user, slices.Values(samples))
	a := onDovecot(t, dovecot, user)
	a.backup(t).want(t, 0)
	want := dovecot.Target(user).MustDump(t).Content()
	for _, form := range archives {
		a.run(t, append([]string{"export", a.dir, "-q"}, form...)...).want(t, 0)
		other := dovecot.NewUser()
		b := *a
		b.url = onDovecot(t, dovecot, other).url
		b.run(t, b.server("import", form[:1])...).want(t, 0)
		if diff := imaptest.Diff(want, dovecot.Target(other).MustDump(t).Content()); diff != "" {
			t.Errorf("%s: the server has something else (- missing, + extra):\n%s", form[0], clip(diff))
		}
		b.run(t, b.server("import", form[:1], "--json")...).want(t, 0).unchanged(t)
		if diff := imaptest.Diff(want, dovecot.Target(other).MustDump(t).Content()); diff != "" {
			t.Errorf("%s: the second import changed the server:\n%s", form[0], clip(diff))
		}
	}
}

// The torture set goes from a Maildir through each form into another Maildir, octet
// for octet, with flags and dates.
func TestArchiveOfHostileMessages(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, slices.Values(demo.Torture()))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	want := treeDump(t, a.dir).Content()
	for i, form := range archives {
		a.run(t, append([]string{"export", a.dir, "-q"}, form...)...).want(t, 0)
		dest := filepath.Join(a.home, "copy", string(rune('a'+i)))
		must(t, os.MkdirAll(filepath.Dir(dest), 0o700))
		a.run(t, "import", form[0], dest, "-q").want(t, 0)
		if diff := imaptest.Diff(want, treeDump(t, dest).Content()); diff != "" {
			t.Errorf("%s: it differs (- missing, + extra):\n%s", form[0], clip(diff))
		}
		a.run(t, "import", form[0], dest, "--json").want(t, 0).unchanged(t)
	}
	// The copy is as good as the original: the same archive comes of it.
	a.run(t, "export", "copy/a", "again.tar", "-q").want(t, 0)
	if read(t, filepath.Join(a.home, "again.tar")) != read(t, filepath.Join(a.home, "mail.tar")) {
		t.Error("the archive of the copy differs")
	}
}

// A reader that goes away ends an export with exit code 1 and one line; stdout gets
// nothing but the archive.
func TestExportThroughAPipe(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(203, 200))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	c := a.run(t, "export", a.dir, "mail.tar").want(t, 0)
	if !strings.Contains(c.stdout, "wrote mail.tar: 200 messages (") {
		t.Errorf("it says nothing\n%s", c)
	}
	for _, format := range []string{"tar", "mbox", "zip", "tar.gz", "tar.zst"} {
		r, w, err := os.Pipe()
		must(t, err)
		run := a.startInto(t, w, "export", a.dir, "-", "--format", format)
		must(t, w.Close())
		head := make([]byte, 4000)
		n, err := r.Read(head)
		must(t, r.Close())
		if err != nil || n == 0 {
			t.Errorf("%s: got %d octets, %v", format, n, err)
		}
		c := run.wait()
		if c.code != 1 || !strings.Contains(c.stderr, "broken pipe") || strings.Count(c.stderr, "postbag: ") != 1 {
			t.Errorf("%s: a reader that goes away\n%s", format, c)
		}
	}
	var out bytes.Buffer
	run := a.startInto(t, &out, "export", a.dir, "-", "--format", "tar")
	run.wait().want(t, 0)
	if out.String() != read(t, filepath.Join(a.home, "mail.tar")) {
		t.Error("the archive on stdout differs from the file")
	}
}

// entries are the names in a directory.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
