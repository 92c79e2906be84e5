package monitor

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func shell(t *testing.T) string {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	return sh
}

// A hook gets its environment and nothing else, and what stands on stdin; what it
// says on both streams comes back.
func TestHook(t *testing.T) {
	t.Parallel()
	sh := shell(t)
	h := Hook{Argv: []string{sh, "-c", `echo "$A-$HOME-$1"; cat; echo e >&2`, "sh", "$A; x"}, Env: []string{"A=1", "PATH=/usr/bin:/bin"}, Stdin: []byte("in\n")}
	said, err := h.Run(context.Background())
	if want := "1--$A; x\nin\ne\n"; said != want || err != nil {
		t.Errorf("got %q, %v, want %q", said, err, want)
	}
}

// A hook that fails, is missing, does not read, or says too much, does not hold
// anything up.
func TestHookThatFails(t *testing.T) {
	t.Parallel()
	sh := shell(t)
	run := func(argv ...string) (string, string) {
		said, err := Hook{Argv: argv, Env: []string{"PATH=/usr/bin:/bin"}, Stdin: make([]byte, 1<<20)}.Run(context.Background())
		if err == nil {
			return said, ""
		}
		return said, err.Error()
	}
	if said, err := run(sh, "-c", "echo why >&2; exit 3"); said != "why\n" || err != "exit status 3" {
		t.Errorf("got %q, %q", said, err)
	}
	if _, err := run("postbag-no-such-program"); !strings.Contains(err, "not found") || strings.Contains(err, "no-such") {
		t.Errorf("missing: got %q", err)
	}
	if _, err := run("/nowhere/at all"); err != "no such file or directory" {
		t.Errorf("missing path: got %q", err)
	}
	if said, err := run(sh, "-c", "yes | head -c 200000"); len(said) != maxSaid || err != "" {
		t.Errorf("too much: got %d octets, %q", len(said), err)
	}
	if said, err := run(sh, "-c", "sleep 600 & echo left"); said != "left\n" || err != "" {
		t.Errorf("a process left behind: got %q, %q", said, err)
	}
}

// A hook that hangs is ended with all that it started.
func TestHookLimit(t *testing.T) {
	t.Parallel()
	sh := shell(t)
	h := Hook{Argv: []string{sh, "-c", "sleep 600 & sleep 600"}, Limit: 50 * time.Millisecond}
	if _, err := h.Run(context.Background()); err == nil || err.Error() != "was killed after 50ms" {
		t.Errorf("got %v", err)
	}
}
