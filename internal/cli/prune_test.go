package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clocked is a world whose time is set.
type clocked struct{ *world }

// at runs a command and answers with its exit code and what it wrote.
func (c *clocked) at(now time.Time, args ...string) (int, string) {
	c.t.Helper()
	var out, errs lockedBuffer
	env := c.env(&out, &errs)
	env.Now = func() time.Time { return now }
	code := Main(args, env)
	return code, out.String() + errs.String()
}

// files are the messages in the Maildir.
func (c *clocked) files(dir string) int {
	c.t.Helper()
	n := 0
	for _, sub := range []string{"cur", "new"} {
		list, err := filepath.Glob(filepath.Join(c.dir, "mail", dir, sub, "*"))
		if err != nil {
			c.t.Fatal(err)
		}
		n += len(list)
	}
	return n
}

// What was deleted longer ago than the policy keeps goes for good: kept mail, trash
// and history. What was deleted later, and what the server has, stays.
func TestPruneByAge(t *testing.T) {
	t.Parallel()
	w := &clocked{world: start(t, nil)}
	w.hook([]string{"deliver", "INBOX", "10"})
	day := func(n int) time.Time { return time.Date(2025, 1, n, 12, 0, 0, 0, time.UTC) }
	backup := func(at time.Time) {
		t.Helper()
		if code, out := w.at(at, w.args("backup")...); code != 0 {
			t.Fatalf("got %d\n%s", code, out)
		}
	}
	backup(day(1))
	whole := w.files("INBOX")
	w.hook([]string{"expunge", "INBOX", "1", "3"})
	backup(day(2))
	w.hook([]string{"expunge", "INBOX", "4", "5"})
	backup(day(20))
	prune := func(at time.Time, want int, more ...string) string {
		t.Helper()
		code, out := w.at(at, append([]string{"prune", "mail"}, more...)...)
		if code != want {
			t.Errorf("prune %q: got %d, want %d\n%s", more, code, want, out)
		}
		return out
	}
	if out := prune(day(25), 2); !strings.Contains(out, "keep_deleted: is not set") || !strings.Contains(out, "--keep-deleted") {
		t.Errorf("without a policy: got\n%s", out)
	}
	for _, keep := range []string{"forever", "30d"} {
		prune(day(25), 0, "--keep-deleted", keep)
	}
	if out := prune(day(25), 0, "--keep-deleted", "10d", "--dry-run"); !strings.Contains(out, "INBOX: 3 deleted") || w.files("INBOX") != whole {
		t.Errorf("a dry run: %d of %d files are left\n%s", w.files("INBOX"), whole, out)
	}
	if out := prune(day(25), 0, "--keep-deleted", "10d"); !strings.Contains(out, "INBOX: 3 deleted") || w.files("INBOX") != whole-3 {
		t.Errorf("after 10 days: %d of %d files are left\n%s", w.files("INBOX"), whole, out)
	}
	if out := prune(day(25), 0, "--keep-deleted", "10d"); !strings.Contains(out, "nothing to do") {
		t.Errorf("a second time: got\n%s", out)
	}
	// The time before is not on record as a whole any more, and that is said.
	if code, out := w.at(day(26), "verify", "mail", "--run", "1"); code != 0 || !strings.Contains(out, "not all of what changed since run 1") {
		t.Errorf("got %d\n%s", code, out)
	}
	if code, out := w.at(day(26), "verify", "mail", "--as-of", "2025-01-15"); code != 0 || strings.Contains(out, "not all") {
		t.Errorf("got %d\n%s", code, out)
	}
	backup(day(27))
	if n := w.files("INBOX"); n != whole-3 {
		t.Errorf("the next backup left %d files, want %d", n, whole-3)
	}
	prune(day(28), 0, "--keep-deleted", "0")
	if n := w.files("INBOX"); n != whole-5 {
		t.Errorf("when nothing is kept there are %d files, want %d", n, whole-5)
	}
	if code, out := w.at(day(28), "verify", "mail"); code != 0 {
		t.Errorf("got %d\n%s", code, out)
	}
}

// A prune of much is refused as a whole; so is one of a tree that is not the state's.
func TestPruneRefuses(t *testing.T) {
	t.Parallel()
	w := &clocked{world: start(t, nil)}
	w.hook([]string{"deliver", "INBOX", "40"})
	now := time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)
	backup := func() {
		t.Helper()
		if code, out := w.at(now, w.args("backup")...); code != 0 {
			t.Fatalf("got %d\n%s", code, out)
		}
	}
	backup()
	whole := w.files("INBOX")
	w.hook([]string{"expunge", "INBOX", "1", "30"})
	now = now.AddDate(0, 0, 1)
	backup()
	later := now.AddDate(1, 0, 0)
	code, out := w.at(later, "prune", "mail", "--keep-deleted", "30d")
	if code != exitGuard || !strings.Contains(out, "30 of") || w.files("INBOX") != whole {
		t.Errorf("got %d, with %d files\n%s", code, w.files("INBOX"), out)
	}
	// Another tree at this place: its marker is another.
	marker, err := filepath.Glob(filepath.Join(w.dir, "mail", ".postbag", "*"))
	if err != nil || len(marker) < 2 {
		t.Fatalf("got %q, %v", marker, err)
	}
	if code, out := w.at(now, "backup", "imap://me@"+w.server.Addr(), "other", "--allow-plaintext", "--password-env", "PW"); code != 0 {
		t.Fatalf("got %d\n%s", code, out)
	}
	state := filepath.Join(w.dir, "mail", ".postbag", stateFile)
	code, out = w.at(later, "prune", "other", "--state", state, "--keep-deleted", "0", "--force-deletes")
	if code != exitUsage || !strings.Contains(out, "belongs to another pair") || w.files("INBOX") != whole {
		t.Errorf("got %d\n%s", code, out)
	}
	if err := os.Rename(filepath.Join(w.dir, "mail"), filepath.Join(w.dir, "away")); err != nil {
		t.Fatal(err)
	}
	if code, out := w.at(later, "prune", "mail", "--keep-deleted", "0", "--force-deletes"); code == 0 {
		t.Errorf("without the tree: got\n%s", out)
	}
	if err := os.Rename(filepath.Join(w.dir, "away"), filepath.Join(w.dir, "mail")); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{{"--max-delete", "10"}, {"--max-delete", "30", "--json"}} {
		code, out = w.at(later, append([]string{"prune", "mail", "--keep-deleted", "30d"}, more...)...)
		want := map[bool]int{true: exitGuard, false: 0}[more[1] == "10"]
		if code != want {
			t.Errorf("%q: got %d, want %d\n%s", more, code, want, out)
		}
	}
	if n := w.files("INBOX"); n != whole-30 || !strings.Contains(out, fmt.Sprintf(`"deleted":%d`, 30)) {
		t.Errorf("%d files are left of %d\n%s", n, whole, out)
	}
}
