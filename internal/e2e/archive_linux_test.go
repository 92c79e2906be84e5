package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// pythonReads prints for an archive a line for each message: its SHA-256 in the form
// in which the reader has it. Python's mailbox undoes no quoting.
const pythonReads = `
import sys, hashlib, mailbox, zipfile, tarfile, json
kind, path = sys.argv[1:3]
def show(octets): print(hashlib.sha256(octets).hexdigest())
if kind == "mbox":
    m = mailbox.mbox(path, create=False)
    for k in m.iterkeys(): show(m.get_bytes(k))
elif kind == "zip":
    with zipfile.ZipFile(path) as z:
        assert z.testzip() is None
        for n in z.namelist():
            if n.endswith(".eml"): show(z.read(n))
else:
    with tarfile.open(path) as t:
        for m in t:
            if m.name.endswith(".eml"): show(t.extractfile(m).read())
`

// digestsOf are the digests of a manifest, sorted.
func digestsOf(t *testing.T, manifest string) (list []string) {
	t.Helper()
	for line := range strings.Lines(manifest) {
		if _, rest, ok := strings.Cut(line, `"sha256":"`); ok {
			list = append(list, rest[:64])
		}
	}
	slices.Sort(list)
	if len(list) == 0 {
		t.Fatal("the manifest has no digests")
	}
	return list
}

// output runs somebody else's program in a home.
func (a *account) output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(need(t, name), args...)
	cmd.Dir = a.home
	cmd.Env = append(os.Environ(), "HOME="+a.home, "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, clip(string(out)))
	}
	return string(out)
}

// sumsOf are the SHA-256 of the eml files below a folder, sorted.
func sumsOf(t *testing.T, a *account, dir string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(a.output(t, "find", dir, "-name", "*.eml", "-exec", "sha256sum", "{}", "+")) {
		list = append(list, strings.TrimPrefix(line, `\`)[:64])
	}
	slices.Sort(list)
	return list
}

// Archives of hostile messages are read by programs that are not ours: each
// message's octets have the SHA-256 that the manifest says.
func TestOthersReadArchives(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, slices.Values(append(demo.Torture(), safe(204, 40)...)))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	for _, form := range archives {
		a.run(t, append([]string{"export", a.dir, "-q"}, form...)...).want(t, 0)
	}
	want := digestsOf(t, a.output(t, "tar", "-xOf", "mail.tar", "manifest.jsonl"))
	check := func(who string, got []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s reads %d messages, not the %d of the manifest", who, len(got), len(want))
		}
	}
	t.Run("GNU tar", func(t *testing.T) {
		for _, name := range []string{"mail.tar", "mail.tar.gz", "mail.tar.zst"} {
			if strings.HasSuffix(name, "zst") {
				need(t, "zstd")
			}
			dir := filepath.Join("out", name)
			must(t, os.MkdirAll(filepath.Join(a.home, dir), 0o700))
			a.output(t, "tar", "-xf", name, "-C", dir)
			check("tar of "+name, sumsOf(t, a, dir))
		}
	})
	t.Run("Info-ZIP", func(t *testing.T) {
		need(t, "unzip")
		a.output(t, "unzip", "-tq", "mail.zip")
		a.output(t, "unzip", "-q", "mail.zip", "-d", "out/zip")
		check("unzip", sumsOf(t, a, "out/zip"))
	})
	t.Run("files", func(t *testing.T) { check("sha256sum", sumsOf(t, a, "tree")) })
	t.Run("Python", func(t *testing.T) {
		need(t, "python3")
		for _, kind := range []string{"zip", "tar"} {
			got := strings.Fields(a.output(t, "python3", "-c", pythonReads, kind, "mail."+kind))
			slices.Sort(got)
			check("Python's "+kind, got)
		}
		got := strings.Fields(a.output(t, "python3", "-c", pythonReads, "mbox", "mail.mbox"))
		if len(got) != len(want) {
			t.Errorf("Python finds %d messages in the mbox, want %d", len(got), len(want))
		}
	})
	t.Run("mutt", func(t *testing.T) {
		if got := muttCopies(t, a, "mail.mbox"); got != len(want) {
			t.Errorf("mutt finds %d messages in the mbox, want %d", got, len(want))
		}
	})
}

// muttCopies is how many messages mutt sees in an mbox: it copies all of them into a
// Maildir.
func muttCopies(t *testing.T, a *account, mbox string) int {
	t.Helper()
	mutt, script := need(t, "mutt"), need(t, "script")
	out, rc := filepath.Join(a.home, "muttcopy"), filepath.Join(a.home, "muttrc")
	commands := []string{
		"set confirmcreate=no confirmappend=no copy=no quit=yes sleep_time=0 mbox_type=Maildir read_inc=0 write_inc=0 move=no", "set folder=" + a.home,
		`push "<refresh><tag-pattern>~A<enter><tag-prefix><copy-message>` + out + `<enter><exit>"`,
	}
	must(t, os.WriteFile(rc, []byte(strings.Join(commands, "\n")+"\n"), 0o600))
	cmd := exec.Command(script, "-qec", fmt.Sprintf("'%s' -n -F '%s' -R -f '%s'", mutt, rc, filepath.Join(a.home, mbox)), "/dev/null")
	cmd.Env = []string{"HOME=" + a.home, "TERM=vt100", "TZ=UTC", "PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if screen, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mutt: %v, %.2000q", err, screen)
	}
	n := 0
	for _, sub := range []string{"cur", "new"} {
		n += len(entries(t, filepath.Join(out, sub)))
	}
	return n
}

// Wherever an export is killed, there is nothing under its name, or what was there
// before, or all of it; and the next one is whole and leaves nothing else.
func TestExportKilled(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(205, 400))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	before := treeDump(t, a.dir).Content()
	a.run(t, "export", a.dir, "mail.tar", "-q").want(t, 0)
	want := read(t, filepath.Join(a.home, "mail.tar"))
	random := rand.New(rand.NewPCG(drawn(), 5))
	killed := 0
	for _, form := range archives {
		for round := range 4 {
			dir := filepath.Join(a.home, fmt.Sprintf("%s-%d", strings.TrimSuffix(form[0], "/"), round))
			must(t, os.MkdirAll(dir, 0o700))
			out := filepath.Join(dir, strings.TrimSuffix(form[0], "/"))
			if strings.HasSuffix(form[0], "/") {
				out += "/"
			}
			args := append([]string{"export", a.dir, out, "-q"}, form[1:]...)
			run := a.start(t, args...)
			time.Sleep(time.Duration(random.Int64N(int64(120 * time.Millisecond))))
			_ = run.cmd.Process.Kill() // it may be over
			if run.wait().code == -1 {
				killed++
			}
			if _, err := os.Lstat(strings.TrimSuffix(out, "/")); err == nil { // then all of it is there
				a.run(t, "import", out, filepath.Join(dir, "first"), "-q").want(t, 0)
				if diff := imaptest.Diff(before, treeDump(t, filepath.Join(dir, "first")).Content()); diff != "" {
					t.Errorf("%s is there, and not all of it:\n%s", form[0], clip(diff))
				}
				must(t, os.RemoveAll(strings.TrimSuffix(out, "/")))
				must(t, os.RemoveAll(filepath.Join(dir, "first")))
			}
			a.run(t, args...).want(t, 0)
			names := []string{strings.TrimSuffix(form[0], "/")}
			if form[0] == "mail.mbox" {
				names = append(names, "mail.mbox.jsonl")
			}
			if got := entries(t, dir); !slices.Equal(got, names) {
				t.Errorf("after the next export there is %q, want %q", got, names)
			}
			if form[0] == "mail.tar" && read(t, out) != want {
				t.Error("the next archive differs")
			}
		}
	}
	if treeDump(t, a.dir).Content() != before {
		t.Error("the Maildir was changed")
	}
	if t.Logf("%d exports were killed", killed); killed == 0 {
		t.Error("no export was killed")
	}
}

// Wherever an import is killed, the next one ends with all of the mail there, once.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(206, 600))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	want := treeDump(t, a.dir).Content()
	a.run(t, "export", a.dir, "mail.tar.gz", "-q").want(t, 0)
	random := rand.New(rand.NewPCG(drawn(), 6))
	for round := range 8 {
		dest := filepath.Join(a.home, fmt.Sprintf("copy-%d", round))
		for range 3 {
			run := a.start(t, "import", "mail.tar.gz", dest, "-q")
			time.Sleep(time.Duration(random.Int64N(int64(250 * time.Millisecond))))
			if round%2 == 0 {
				run.cmd.Process.Kill()
			} else {
				run.cmd.Process.Signal(syscall.SIGINT)
			}
			if c := run.wait(); c.code != -1 && c.code != 0 && c.code != 130 {
				t.Errorf("cut off, it ended otherwise\n%s", c)
			}
		}
		a.run(t, "import", "mail.tar.gz", dest, "-q").want(t, 0)
		if diff := imaptest.Diff(want, treeDump(t, dest).Content()); diff != "" {
			t.Errorf("it differs (- missing, + extra):\n%s", clip(diff))
		}
		for _, name := range entries(t, ownDir(dest)) {
			if strings.HasPrefix(name, "import") {
				t.Errorf("%s is left", name)
			}
		}
	}
}

// An interruption ends an export with its exit code, and nothing is left.
func TestExportInterrupted(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(207, 300))
	a := onTarget(t, e.Target())
	dir := filepath.Join(a.home, "out")
	must(t, os.Mkdir(dir, 0o700))
	stopped := 0
	for try := 0; try < 30 && stopped < 3; try++ {
		run := a.start(t, a.server("export", nil, "out/mail.tar")...)
		for i := 0; i < 400 && len(entries(t, dir)) == 0; i++ { // until it writes
			time.Sleep(5 * time.Millisecond)
		}
		run.cmd.Process.Signal(syscall.SIGINT)
		c := run.wait()
		if c.code == 0 {
			must(t, os.Remove(filepath.Join(dir, "mail.tar")))
			continue
		}
		stopped++
		if c.want(t, 130); len(entries(t, dir)) > 0 {
			t.Errorf("%q is left\n%s", entries(t, dir), c)
		}
	}
	if stopped == 0 {
		t.Error("no export was interrupted")
	}
}

// On a disk that is full an export fails with one line that says so, and leaves
// nothing; an import, too, and what it brought is whole.
func TestArchiveOnAFullDisk(t *testing.T) {
	t.Parallel()
	if !ownMounts(t) {
		return
	}
	e := imaptest.StartEmbedded(t, demo.Corpus(208, 80))
	a := onTarget(t, e.Target())
	a.backup(t).want(t, 0)
	before := treeDump(t, a.dir)
	a.run(t, "export", a.dir, "mail.tar.gz", "-q").want(t, 0)
	for _, kib := range []int{0, 8, 60, 200, 500} {
		for _, form := range archives {
			d := mountDisk(t, fmt.Sprintf("size=%dk", max(kib, 4)))
			c := a.run(t, append([]string{"export", a.dir, filepath.Join(d.path, form[0]) + trailing(form[0]), "-q"}, form[1:]...)...)
			if c.code != 0 {
				c.want(t, 1)
				if got := entries(t, d.path); len(got) > 0 {
					t.Errorf("%q is left\n%s", got, c)
				}
				if !strings.Contains(c.stderr, "no space left") || strings.Count(c.stderr, "postbag: ") != 1 {
					t.Errorf("it does not say that the disk is full\n%s", c)
				}
			} else if kib < 200 {
				t.Errorf("%s was written to %d KiB", form[0], kib)
			}
			d.unmount()
		}
		d := mountDisk(t, fmt.Sprintf("size=%dk", max(kib, 4)))
		b := a.on(d)
		if c := a.run(t, "import", "mail.tar.gz", b.dir, "-q"); c.code != 0 {
			checkFull(t, b, c, before)
			d.remount(0, "size=64m")
			a.run(t, "import", "mail.tar.gz", b.dir, "-q").want(t, 0)
		}
		if diff := imaptest.Diff(before.Content(), treeDump(t, b.dir).Content()); diff != "" {
			t.Errorf("with %d KiB at first it differs:\n%s", kib, clip(diff))
		}
		d.unmount()
	}
}

// trailing is the slash that filepath.Join took off.
func trailing(name string) string {
	if strings.HasSuffix(name, "/") {
		return "/"
	}
	return ""
}
