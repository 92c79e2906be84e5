package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// maxMemory is how much of the machine's memory a run may take, whatever it
// moves, in KiB.
const maxMemory = 64 << 10

// runMeasured runs a call, and fails the test when it took more memory than any
// run may. The figure is the largest resident set, as the kernel counts it; what
// wait4 says would not do, since it starts with that of the parent.
func (a *account) runMeasured(t testing.TB, args ...string) *call {
	t.Helper()
	r := a.start(t, args...)
	path := fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid)
	stop, peak := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			most = max(most, highWater(path))
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	c := r.wait()
	close(stop)
	got := <-peak
	t.Logf("%s: %d KiB of memory, %v", args[0], got, c.elapsed)
	if got == 0 || got > maxMemory {
		t.Errorf("it took %d KiB of memory, want at most %d\n%s", got, maxMemory, c)
	}
	return c
}

// highWater reads VmHWM; 0 when the process is gone.
func highWater(path string) (kib int) {
	status, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0 // a process that has ended has no such line
	}
	return kib
}
