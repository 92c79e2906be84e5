package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// HookLimit is how long a hook may take.
const HookLimit = 5 * time.Minute

// maxSaid bounds what is kept of a hook's output, in octets.
const maxSaid = 64 << 10

// Hook is a program that is run when a run has ended. No shell runs it.
type Hook struct {
	Argv  []string
	Env   []string // all of its environment
	Stdin []byte
	Limit time.Duration // 0 is HookLimit
}

// Run runs the hook and answers with what it wrote to stdout and stderr, at most 64
// KiB. One that takes longer than its limit is killed, with what it started. A
// process that it leaves behind is not waited for.
func (h Hook) Run(ctx context.Context) (said string, err error) {
	limit := h.Limit
	if limit == 0 {
		limit = HookLimit
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, h.Argv[0], h.Argv[1:]...)
	out := &capped{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = bytes.NewReader(h.Stdin), out, out, h.Env
	cmd.WaitDelay = time.Second
	own(cmd)
	err = cmd.Run()
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		err = fmt.Errorf("was killed after %v", limit)
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err // the caller names the program
	}
	return out.String(), bare(err)
}

// capped keeps the first octets and swallows the rest. The writers of one command's
// stdout and stderr are one goroutine, since they are the same.
type capped struct{ b bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.b.Write(p[:min(len(p), maxSaid-c.b.Len())])
	return len(p), nil
}

func (c *capped) String() string { return c.b.String() }
