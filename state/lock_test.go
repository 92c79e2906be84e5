package state

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// lockChild waits for a line, opens the state, says how that went, and holds it
// until its input ends.
func lockChild(path string) int {
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return 1
	}
	db, err := Open(context.Background(), path, Options{Command: "child"})
	switch e := mail.AsError(err); {
	case err == nil:
		fmt.Println("open")
	case e.Kind == mail.KindLocked:
		fmt.Println("locked", err)
	default:
		fmt.Println("error", err)
	}
	_, _ = io.Copy(io.Discard, in)
	if err == nil && db.Close() != nil {
		return 1
	}
	return 0
}

// child is a second process.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t *testing.T, kind, path string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe, path)}
	c.cmd.Env = append(os.Environ(), "POSTBAG_STATE_CHILD="+kind)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("a child said nothing: %v", err)
	}
	return strings.TrimSpace(s)
}

func TestLockNamesOwner(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	since := time.Now().Truncate(time.Second)
	db := mustOpen(t, path, Options{Command: `sync "work"`, Now: func() time.Time { return since }})
	// A long transaction does not change the answer.
	db.gate <- struct{}{}
	_, err := Open(context.Background(), path, Options{})
	db.release()
	host, _ := os.Hostname()
	want := fmt.Sprintf("open state %s: another run holds the lock: process %d on %s, since %s: %q",
		path, os.Getpid(), host, since.Format(time.RFC3339), `sync "work"`)
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindLocked || e.Scope != mail.ScopeAccount || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// Reading and checking needs no lock.
	mustClose(t, mustOpen(t, path, Options{ReadOnly: true}))
	mustBeSound(t, path)
	mustClose(t, db)
	mustClose(t, mustOpen(t, path, Options{}))
}

func TestLockEndsWithProcess(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for range 3 {
		c := startChild(t, "lock", path)
		fmt.Fprintln(c.in)
		if got := c.line(t); got != "open" {
			t.Fatalf("got %q, want open", got)
		}
		_, err := Open(context.Background(), path, Options{})
		if want := fmt.Sprintf("process %d on", c.cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.cmd.Wait() // "signal: killed"
		db, err := Open(context.Background(), path, Options{})
		if err != nil {
			t.Fatalf("after its owner was killed: %v", err)
		}
		mustClose(t, db)
	}
}

func TestLockOneOfTwenty(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	for round := range 2 { // on a new state, and on one that is there
		var children []*child
		for range 20 {
			children = append(children, startChild(t, "lock", path))
		}
		for _, c := range children {
			fmt.Fprintln(c.in)
		}
		open := 0
		for _, c := range children {
			switch got := c.line(t); {
			case got == "open":
				open++
			case !strings.HasPrefix(got, "locked"):
				t.Errorf("got %q", got)
			}
		}
		for _, c := range children {
			c.in.Close()
			if err := c.cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
		if open != 1 {
			t.Errorf("round %d: %d of 20 processes got the lock, want 1", round, open)
		}
	}
}
