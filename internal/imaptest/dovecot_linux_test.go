package imaptest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDovecotKillSessions(t *testing.T) {
	t.Parallel()
	d := StartDovecot(t, DovecotOptions{})
	c, err := Dial(d.Target("u"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d.KillSessions()
	if _, err := c.Do("NOOP"); err == nil {
		t.Error("the session lives on")
	}
	c, err = Dial(d.Target("u"))
	if err != nil {
		t.Fatalf("the server does not: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestDovecotLeavesNothing looks for processes and files after the end of a
// test that used the launcher.
func TestDovecotLeavesNothing(t *testing.T) {
	t.Parallel()
	var dir string
	var pids []int
	t.Run("inner", func(t *testing.T) {
		d := StartDovecot(t, DovecotOptions{})
		c, err := Dial(d.Target("u")) // an imap process with a client
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		dir, pids = d.dir, append(descendants(d.master.Process.Pid), d.master.Process.Pid)
		if len(pids) < 4 {
			t.Errorf("%d processes, want a master and its children", len(pids))
		}
	})
	if dir == "" {
		t.Skip("no dovecot")
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	for _, pid := range pids {
		if cmdline, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "cmdline")); err == nil && len(cmdline) > 0 {
			t.Errorf("process %d lives: %q", pid, cmdline)
		}
	}
}
