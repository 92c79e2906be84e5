package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// diskVar tells a test that it runs itself in a mount namespace of its own.
const diskVar = "POSTBAG_E2E_DISK"

// ownMounts runs the test once more in a mount namespace of its own, where it can
// mount file systems, without being root where the system allows that. It answers
// with true there, and with false in the test that has nothing more to do.
func ownMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(diskVar) == t.Name() {
		return true
	}
	unshare := need(t, "unshare")
	var how []string
	for _, flags := range [][]string{{"-m"}, {"-Urm"}} {
		if exec.Command(unshare, append(flags, "true")...).Run() == nil {
			how = flags
			break
		}
	}
	if how == nil {
		t.Skip("the system allows no mount namespace")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(unshare, append(how, self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")...)
	cmd.Env = append(os.Environ(), diskVar+"="+t.Name(), programVar+"="+program)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("in its own namespace: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip("in its own namespace")
	}
	return false
}

// disk is a file system of a size, with the Maildir in it.
type disk struct {
	t    *testing.T
	path string
}

// mountDisk mounts one. Options are those of tmpfs: "size=64k".
func mountDisk(t *testing.T, options string) disk {
	t.Helper()
	d := disk{t, t.TempDir()}
	if err := unix.Mount("tmpfs", d.path, "tmpfs", 0, options); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { d.unmount() })
	return d
}

func (d disk) unmount() {
	if err := unix.Unmount(d.path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		d.t.Errorf("unmount: %v", err)
	}
}

// remount changes the size, or whether it can be written.
func (d disk) remount(flags uintptr, options string) {
	d.t.Helper()
	if err := unix.Mount("", d.path, "", unix.MS_REMOUNT|flags, options); err != nil {
		d.t.Fatalf("remount: %v", err)
	}
}

// on is the account with its Maildir on the disk.
func (a *account) on(d disk) *account {
	b := *a
	b.dir = filepath.Join(d.path, "mail")
	return &b
}

// checkFull looks at a run that met a full or failing disk: one line says so, and
// what is in the Maildir is whole.
func checkFull(t *testing.T, a *account, c *call, server imaptest.Dump) {
	t.Helper()
	if c.code != 1 && c.code != 3 {
		t.Errorf("got exit code %d, want 1 or 3\n%s", c.code, c)
	}
	if lines := strings.Count(c.stderr, "postbag: "); lines == 0 || lines > 5 {
		t.Errorf("got %d lines about it\n%s", lines, c)
	}
	if _, err := os.Stat(a.dir); err != nil {
		return // not even that could be made
	}
	for line := range strings.Lines(imaptest.Diff(server.Content(), treeDump(t, a.dir).Content())) {
		if strings.HasSuffix(line, " +\n") && strings.Contains(line, "[") {
			t.Errorf("this is not on the server: %s\n%s", line, c)
		}
	}
}

// recovers fails the test when the next run, now that there is room, does not end
// as if nothing had been.
func (a *account) recovers(t *testing.T, server imaptest.Dump) {
	t.Helper()
	a.backup(t).want(t, 0)
	a.sameAs(t, server)
	a.checkState(t)
	a.verify(t).want(t, 0)
	a.checkNoop(t)
}

// A disk that fills up at any point of a first backup.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	e := imaptest.StartEmbedded(t, into(demo.Corpus(30, 60), "INBOX", "Work", "Archive/2024"))
	server := e.Target().MustDump(t)
	base := onTarget(t, e.Target())
	random := rand.New(rand.NewPCG(drawn(), 4))
	step, full := 160, 0
	if long() {
		step = 4
	}
	for size := 4; ; size += 1 + random.IntN(step) {
		d := mountDisk(t, fmt.Sprintf("size=%dk", size))
		a := base.on(d)
		c := a.backup(t)
		if c.code == 0 {
			a.sameAs(t, server)
			break
		}
		full++
		if !strings.Contains(c.stderr, "full") && !strings.Contains(c.stderr, "no space left") {
			t.Errorf("it does not say that the disk is full\n%s", c)
		}
		checkFull(t, a, c, server)
		d.remount(0, "size=64m")
		a.recovers(t, server)
		if t.Failed() {
			t.Fatalf("size %d KiB", size)
		}
		d.unmount()
	}
	t.Logf("full at %d sizes", full)
	if full < 3 {
		t.Errorf("the disk was full %d times only", full)
	}
}

// A file system that has room and no place for another file.
func TestNoMoreFiles(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	e := imaptest.StartEmbedded(t, into(demo.Corpus(31, 40), "INBOX", "Work"))
	server := e.Target().MustDump(t)
	base := onTarget(t, e.Target())
	for files := 3; ; files += files/2 + 1 {
		d := mountDisk(t, fmt.Sprintf("size=64m,nr_inodes=%d", files))
		a := base.on(d)
		c := a.backup(t)
		if c.code == 0 {
			a.sameAs(t, server)
			break
		}
		checkFull(t, a, c, server)
		d.remount(0, "nr_inodes=10000")
		a.recovers(t, server)
		if t.Failed() {
			t.Fatalf("%d files", files)
		}
		d.unmount()
	}
}

// A disk that is full when there are changes to be made: flags, deletions, new
// mail. What was there stays there.
func TestFullDiskLater(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	e := imaptest.StartEmbedded(t, into(demo.Corpus(32, 50), "INBOX", "Work"))
	base := onTarget(t, e.Target())
	base.backup(t).want(t, 0)
	before := e.Target().MustDump(t)
	inbox := e.Account.Messages("INBOX")
	if err := e.Account.Expunge("INBOX", inbox[0].UID); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Account.Move("INBOX", "Work", inbox[1].UID); err != nil {
		t.Fatal(err)
	}
	if err := e.Account.Fill(into(demo.Corpus(33, 20), "INBOX", "New")); err != nil {
		t.Fatal(err)
	}
	server := e.Target().MustDump(t)
	free := []int{0, 8, 40, 100, 150, 200}
	if long() {
		free = nil
		for kib := range 400 {
			free = append(free, kib)
		}
	}
	for _, kib := range free {
		d := mountDisk(t, "size=64m")
		a := base.on(d)
		copyTree(t, base.dir, a.dir)
		fillUp(t, d, kib)
		c := a.backup(t, "--mirror")
		if c.code != 0 {
			checkFull(t, a, c, union(before, server))
		}
		if err := os.Remove(filepath.Join(d.path, "filler")); err != nil {
			t.Fatal(err)
		}
		a.backup(t, "--mirror").want(t, 0)
		a.sameAs(t, server)
		a.checkState(t)
		a.verify(t).want(t, 0)
		a.checkNoop(t)
		if t.Failed() {
			t.Fatalf("%d KiB were free", kib)
		}
		d.unmount()
	}
}

// fillUp leaves some KiB of a disk.
func fillUp(t *testing.T, d disk, leave int) {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(d.path, &fs); err != nil {
		t.Fatal(err)
	}
	size := int64(fs.Bavail)*fs.Bsize - int64(leave)<<10
	if err := os.WriteFile(filepath.Join(d.path, "filler"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

// union is everything that was there at one time or another.
func union(a, b imaptest.Dump) imaptest.Dump {
	out := imaptest.Dump{}
	for _, d := range []imaptest.Dump{a, b} {
		for name, box := range d {
			all := out[name]
			all.Messages = append(all.Messages, box.Messages...)
			out[name] = all
		}
	}
	return out
}

// A Maildir that cannot be written is told in one line, and not touched.
func TestReadOnlyMaildir(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	e := imaptest.StartEmbedded(t, demo.Corpus(34, 30))
	d := mountDisk(t, "size=64m")
	a := onTarget(t, e.Target()).on(d)
	a.backup(t).want(t, 0)
	if err := e.Account.Fill(into(demo.Corpus(35, 5), "INBOX")); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, a.dir)
	d.remount(unix.MS_RDONLY, "")
	c := a.backup(t).want(t, 1)
	if strings.Count(c.stderr, "postbag: ") != 1 || !strings.Contains(c.stderr, "read-only") {
		t.Errorf("want one line about a read-only file system\n%s", c)
	}
	for _, args := range [][]string{{"verify", a.dir}, {"status", a.dir}, {"mailboxes", a.dir}} {
		a.run(t, args...).want(t, 0)
	}
	a.verify(t).want(t, 3) // there is new mail
	if diff := imaptest.Diff(before, snapshot(t, a.dir)); diff != "" {
		t.Errorf("it was changed:\n%s", diff)
	}
	d.remount(0, "size=64m")
	a.recovers(t, e.Target().MustDump(t))
}

// A limit on the size of files leaves the messages out that are larger, and no
// others.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, func(yield func(demo.Sample) bool) {
		for s := range into(demo.Corpus(36, 30), "INBOX", "Work") {
			if !yield(s) {
				return
			}
		}
		for i := range 2 {
			raw := make([]byte, 3<<20)
			for j := range raw {
				raw[j] = "0123456789abcde\n"[j%16]
			}
			copy(raw, fmt.Sprintf("Subject: large %d\r\n\r\n", i))
			yield(demo.Sample{Mailbox: "INBOX", Raw: raw, Date: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)})
		}
	})
	server := e.Target().MustDump(t)
	a := onTarget(t, e.Target())
	b := *a
	b.wrap = []string{need(t, "sh"), "-c", `ulimit -f 2048 && exec "$@"`, "sh"} // MiB
	c := b.backup(t, "--json").want(t, 3)
	if s := c.summary(t); len(s.Problems) != 2 || s.B.New != server.Count()-2 {
		t.Errorf("got %d problems and %d new messages, want 2 and %d\n%s", len(s.Problems), s.B.New, server.Count()-2, c)
	}
	checkFull(t, a, c, server)
	a.recovers(t, server)
}

// failures are errors of system calls that a run may meet, once or from then on.
var failures = []struct {
	call   string
	errors []string
}{
	{"pwrite64", []string{"ENOSPC", "EIO"}}, {"fsync", []string{"EIO", "ENOSPC"}}, {"fdatasync", []string{"EIO"}}, {"syncfs", []string{"EIO"}},
	{"renameat2", []string{"EIO", "ENOSPC", "EROFS"}}, {"mkdirat", []string{"ENOSPC", "EDQUOT"}}, {"utimensat", []string{"EIO"}},
	{"ftruncate", []string{"EIO"}}, {"unlinkat", []string{"EIO", "EROFS"}}, {"openat", []string{"EMFILE", "EIO"}}, {"getdents64", []string{"EIO"}},
	{"newfstatat", []string{"EIO"}}, {"pread64", []string{"EIO"}}, {"fchmod", []string{"EPERM"}},
}

// A system call that fails, once or for good, ends in a word about it, never in a
// lie or a crash, and the next run ends right.
func TestFailingSystemCalls(t *testing.T) {
	t.Parallel()
	strace := need(t, "strace")
	for _, fromScratch := range []bool{false, true} {
		t.Run(map[bool]string{false: "changes", true: "first"}[fromScratch], func(t *testing.T) {
			t.Parallel()
			w := newKillWorld(t, fromScratch)
			seed := drawn()
			random := rand.New(rand.NewPCG(seed, 5))
			n := 0
			codes := map[int]int{}
			for _, f := range failures {
				for _, name := range f.errors {
					if !long() && random.IntN(2) == 0 {
						continue
					}
					for at := 1 + random.IntN(8); at < 200; at += 3 + at + random.IntN(at) {
						codes[failAt(t, w, strace, f.call, fmt.Sprintf("error=%s:when=%d%s", name, at, []string{"", "+"}[random.IntN(2)]))]++
						if n++; t.Failed() {
							t.Fatalf("seed %d", seed)
						}
						if !long() {
							break
						}
					}
				}
			}
			t.Logf("%d failures; exit codes %v", n, codes)
		})
	}
}

func failAt(t *testing.T, w *killWorld, strace, name, how string) int {
	t.Helper()
	a := w.fresh(t)
	b := *a
	b.wrap = []string{strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + name, "-e", "inject=" + name + ":" + how}
	c := b.backup(t)
	switch {
	case c.code == 0:
		w.checkSame(t, a)
	case c.stderr == "":
		t.Errorf("no word about it\n%s", c)
	}
	if c.code != 0 {
		w.checkKept(t, a)
	} else {
		w.checkEnd(t, a)
	}
	checkInfo(t, a.dir)
	if t.Failed() {
		t.Logf("%s %s: %s", name, how, c)
	}
	return c.code
}

// checkInfo fails the test when flags stand where only a disk of Windows has them:
// mail readers do not look there.
func checkInfo(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), ";2,") {
			t.Errorf("mail readers see no flags: %s", path)
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
