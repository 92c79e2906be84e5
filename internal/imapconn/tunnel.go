package imapconn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"
)

// tunnel is a command that speaks IMAP on its standard streams, as a net.Conn.
type tunnel struct {
	cmd    *exec.Cmd
	in     *os.File // what the command says
	out    *os.File // what the command hears
	stderr tail
	exited chan struct{} // closed when the command has been reaped
	once   sync.Once
}

// startTunnel starts the command. It lives until Close, which kills it, or
// until hangUp.
func startTunnel(argv []string) (*tunnel, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("the tunnel command is empty")
	}
	theirIn, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	in, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), out.Close())
	}
	t := &tunnel{cmd: exec.Command(argv[0], argv[1:]...), in: in, out: out, exited: make(chan struct{})}
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = theirIn, theirOut, &t.stderr
	t.cmd.WaitDelay = time.Second // a grandchild may keep stderr open
	err = t.cmd.Start()
	_ = theirIn.Close()
	_ = theirOut.Close()
	if err != nil {
		_ = in.Close()
		_ = out.Close()
		return nil, err
	}
	go func() { // ends when the command does, and Close sees to that
		_ = t.cmd.Wait() // a status says nothing that the streams did not say
		close(t.exited)
	}()
	return t, nil
}

// hangUp closes the command's input and gives it d to end by itself.
func (t *tunnel) hangUp(d time.Duration) {
	_ = t.out.Close()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.exited:
	case <-timer.C:
	}
}

// Close kills the command and closes the streams. It does not wait.
func (t *tunnel) Close() error {
	t.once.Do(func() {
		_ = t.cmd.Process.Kill()
		_ = t.out.Close()
		_ = t.in.Close()
	})
	return nil
}

// complaint is what the command said last on its standard error, in one line.
func (t *tunnel) complaint() string {
	select {
	case <-t.exited:
	case <-time.After(200 * time.Millisecond): // it may be about to say it
	}
	return t.stderr.String()
}

func (t *tunnel) Read(p []byte) (int, error)  { return t.in.Read(p) }
func (t *tunnel) Write(p []byte) (int, error) { return t.out.Write(p) }

func (t *tunnel) LocalAddr() net.Addr  { return tunnelAddr(t.cmd.Path) }
func (t *tunnel) RemoteAddr() net.Addr { return tunnelAddr(t.cmd.Path) }
func (t *tunnel) SetDeadline(at time.Time) error {
	return errors.Join(t.SetReadDeadline(at), t.SetWriteDeadline(at))
}
func (t *tunnel) SetReadDeadline(at time.Time) error  { return t.in.SetReadDeadline(at) }
func (t *tunnel) SetWriteDeadline(at time.Time) error { return t.out.SetWriteDeadline(at) }

type tunnelAddr string

func (tunnelAddr) Network() string  { return "pipe" }
func (a tunnelAddr) String() string { return fmt.Sprintf("command %q", string(a)) }

// tail keeps the last octets that were written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 1000

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-tailSize):]...)
	t.buf = t.buf[max(0, len(t.buf)-tailSize):]
	return len(p), nil
}

// String is the last line that is not empty.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(t.buf), []byte("\n"))
	return string(bytes.TrimSpace(lines[len(lines)-1]))
}
