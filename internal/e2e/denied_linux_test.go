package e2e

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// asOwner makes the program run with the rights of the files' owner and no more, also
// when root runs the tests.
func (a *account) asOwner(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const powers = "-dac_override,-dac_read_search"
	wrap := []string{need(t, "setpriv"), "--bounding-set=" + powers, "--inh-caps=" + powers}
	if out, err := exec.Command(wrap[0], append(wrap[1:], "true")...).CombinedOutput(); err != nil {
		unavailable(t, "rights cannot be given up: %v: %s", err, out)
	}
	a.wrap = wrap
}

// What the program may not read is not gone: nothing is deleted for it, on the server or
// here, the other mailboxes are done, and the next sync that may read ends where it would
// have ended.
func TestTwoWayDenied(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	for name, denied := range map[string]struct {
		mode  fs.FileMode
		paths []string
		code  int
	}{
		"mailbox":          {0, []string{"Work"}, 3},
		"mailboxes above":  {0, []string{"Projets"}, 3},
		"mailbox listed":   {0o400, []string{"Work"}, 3},
		"mailbox passed":   {0o300, []string{"Work"}, 3},
		"cur":              {0, []string{"Work/cur"}, 3},
		"cur listed":       {0o400, []string{"Work/cur"}, 3},
		"cur passed":       {0o300, []string{"Work/cur"}, 3},
		"new":              {0, []string{"Work/new"}, 3},
		"tmp":              {0, []string{"Work/tmp"}, 3},
		"cur of all":       {0, []string{"INBOX/cur", "Work/cur", "Archive/cur", "Projets/Été/cur"}, 3},
		"keywords":         {0, []string{"Work/dovecot-keywords"}, 3},
		"identity":         {0, []string{"Work/.postbag-id"}, 3},
		"the state's home": {0, []string{".postbag"}, 1},
		"the root":         {0, []string{"."}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTwoWay(t, dovecot)
			if _, err := w.target.Fill(brief("old", 40, "INBOX", "Work", "Archive", "Projets/Été")); err != nil {
				t.Fatal(err)
			}
			must(t, w.server.in("Work", `UID STORE 1:3 +FLAGS.SILENT (Later)`))
			w.sync(t).want(t, 0)
			w.settled(t)
			w.asOwner(t)
			must(t, w.server.in("Work", `UID STORE 5 +FLAGS.SILENT (\Flagged)`))
			if _, err := w.target.Fill(brief("down", 4, "INBOX", "Work")); err != nil {
				t.Fatal(err)
			}
			work := byDate(readTree(t, w.dir, true)["Work"])
			must(t, w.reader.move(work[7], "Archive", keyOf(work[7].path)))
			before, had := contentsOf(w.target.MustDump(t)), contentsOf(treeDump(t, w.dir))
			modes := map[string]fs.FileMode{}
			for _, path := range denied.paths {
				path = filepath.Join(w.dir, path)
				info, err := os.Stat(path)
				must(t, err)
				modes[path] = info.Mode().Perm()
				must(t, os.Chmod(path, denied.mode))
			}
			var codes []int
			var calls []*call
			for range 2 {
				c := w.sync(t, "--delete-mailboxes", "--force-deletes")
				codes, calls = append(codes, c.code), append(calls, c)
				if !strings.Contains(c.stderr, "ermission") {
					t.Errorf("no word of what is missing\n%s", c)
				}
			}
			for path, mode := range modes {
				must(t, os.Chmod(path, mode))
			}
			if want := []int{denied.code, denied.code}; !slices.Equal(codes, want) {
				t.Errorf("got exit codes %v, want %v\n%s", codes, want, calls[0])
			}
			server, local := contentsOf(w.target.MustDump(t)), contentsOf(treeDump(t, w.dir))
			for digest, n := range before {
				if server[digest] < n {
					t.Errorf("the server has lost %.12s", digest)
				}
			}
			for digest, n := range had {
				if local[digest] < n {
					t.Errorf("the Maildir has lost %.12s", digest)
				}
			}
			w.sync(t).want(t, 0)
			end := w.settled(t)
			if end.Count() != 44 {
				t.Errorf("both sides hold %d messages, want 44", end.Count())
			}
			if t.Failed() {
				t.Logf("%s\n%s", calls[0], calls[1])
			}
		})
	}
}
