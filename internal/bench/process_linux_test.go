package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleEnv makes the test's own binary play one of the roles of TestMain.
const roleEnv = "POSTBAG_BENCH_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	roles := map[string]func([]string) error{"measure": measureRole, "floor": floorRole, "eat": eatRole}
	if err := roles[role](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// command is a process to be measured.
type command struct {
	Path string
	Args []string
	Env  []string // added to that of the benchmark
}

// role is this binary in another role.
func role(name string, args ...string) command {
	return command{Path: "/proc/self/exe", Args: args, Env: []string{roleEnv + "=" + name}}
}

// usage is what a process took.
type usage struct {
	Wall, CPU time.Duration
	RSS       int64 // octets, at most
	Exit      int
}

// result is a usage with what the process wrote.
type result struct {
	usage
	stdout, stderr []byte
}

// run runs a process to its end. Between it and the benchmark stands a small
// process: a child is charged with the memory that its parent had when it was
// started, and the benchmark has had a great deal.
func (c command) run(tb testing.TB) result {
	tb.Helper()
	task, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	var stdout, stderr bytes.Buffer
	m := exec.Command("/proc/self/exe", string(task))
	m.Env = append(slices.Clone(os.Environ()), roleEnv+"=measure")
	m.Stdout, m.Stderr, m.ExtraFiles = &stdout, &stderr, []*os.File{w}
	m.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = m.Run()
	w.Close()
	if err != nil {
		tb.Fatalf("measuring %s: %v\n%s", c.Path, err, &stderr)
	}
	out := result{stdout: stdout.Bytes(), stderr: stderr.Bytes()}
	if err := json.NewDecoder(r).Decode(&out.usage); err != nil {
		tb.Fatalf("measuring %s: %v", c.Path, err)
	}
	return out
}

// must is run for a process that has to end well.
func (c command) must(tb testing.TB) result {
	tb.Helper()
	r := c.run(tb)
	if r.Exit != 0 {
		tb.Fatalf("%s %s: exit code %d\n%s%s", c.Path, strings.Join(c.Args, " "), r.Exit, tail(r.stdout), tail(r.stderr))
	}
	return r
}

// tail is the end of an output, which is where the reason is.
func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }

// measureRole runs the command that its only argument describes, and writes its
// usage to descriptor 3.
func measureRole(args []string) error {
	var c command
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return err
	}
	p := exec.Command(c.Path, c.Args...)
	p.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, roleEnv+"=") }), c.Env...)
	p.Stdout, p.Stderr = os.Stdout, os.Stderr
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	err := p.Run()
	wall := time.Since(start)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	state := p.ProcessState
	u := usage{Wall: wall, CPU: state.UserTime() + state.SystemTime(), Exit: state.ExitCode()}
	u.RSS = int64(state.SysUsage().(*syscall.Rusage).Maxrss) << 10
	return json.NewEncoder(os.NewFile(3, "usage")).Encode(u)
}

// eatRole is a process that takes so many octets of memory, and no more.
func eatRole(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	// Not of Go's heap, which the race detector shadows.
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return err
	}
	touch(b)
	return syscall.Munmap(b)
}

// touch makes memory resident.
func touch(b []byte) {
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// TestMemoryOfChild shows that a process is charged with its own memory, however
// much the benchmark has had.
func TestMemoryOfChild(t *testing.T) {
	const mb = 1 << 20
	ours := make([]byte, 256*mb)
	touch(ours)
	small, large := role("eat", "0").must(t), role("eat", strconv.Itoa(128*mb)).must(t)
	if got := small.RSS; got < mb || got > 64*mb {
		t.Errorf("a small process has %d octets resident, want 1 to 64 MB", got)
	}
	if got := large.RSS - small.RSS; got < 120*mb || got > 160*mb {
		t.Errorf("128 MB more are %d octets more resident", got)
	}
	if got := role("eat", "much").run(t); got.Exit != 1 || len(got.stderr) == 0 {
		t.Errorf("a process that fails: exit code %d and %q, want 1 and a reason", got.Exit, got.stderr)
	}
	runtime.KeepAlive(ours)
}
