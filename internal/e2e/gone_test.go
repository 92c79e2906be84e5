package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// A Maildir that is not mounted is not made anew at the mount point, and nothing
// at all is written. What is on record of it is written once.
func TestMaildirThatIsGone(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(30, 20))
	a := onTarget(t, e.Target())
	disk := filepath.Join(a.home, "disk")
	a.dir = filepath.Join(disk, "mail")
	a.backup(t).want(t, 0)
	before := snapshot(t, a.home)
	a.backup(t).want(t, 0)
	if diff := imaptest.Diff(before, snapshot(t, a.home)); diff != "" {
		t.Errorf("a run without anything to do wrote:\n%s", clip(diff))
	}
	want := "postbag: the Maildir " + a.dir + " is gone: it was there at the last run\n" +
		"hint: mount it; or begin a new one with --create\n"
	for _, mountPoint := range []string{"missing", "empty", "empty directory below"} {
		if err := os.Rename(disk, filepath.Join(a.home, "elsewhere")); err != nil {
			t.Fatal(err)
		}
		if mountPoint != "missing" {
			if err := os.Mkdir(disk, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if mountPoint == "empty directory below" {
			if err := os.Mkdir(a.dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		before := snapshot(t, a.home)
		for _, more := range [][]string{nil, {"--dry-run"}, {"--mirror", "--force-deletes"}, {"--refill"}} {
			if c := a.backup(t, more...).want(t, 2); c.stderr != want || c.stdout != "" {
				t.Errorf("%s: got\n%s\nwant %s", mountPoint, c, want)
			}
		}
		if diff := imaptest.Diff(before, snapshot(t, a.home)); diff != "" {
			t.Errorf("%s: something was written:\n%s", mountPoint, clip(diff))
		}
		if err := os.RemoveAll(disk); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(a.home, "elsewhere"), disk); err != nil {
			t.Fatal(err)
		}
		a.checkNoop(t)
	}
	if err := os.RemoveAll(disk); err != nil {
		t.Fatal(err)
	}
	a.backup(t, "--create").want(t, 0)
	a.sameAs(t, e.Target().MustDump(t))
	a.checkNoop(t)
}
