package imaptest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// rooted is a server whose processes have a directory of their own as their root.
// Packages that cannot be installed beside Dovecot's are unpacked once by
// .ci/servers; each instance has its own copy, whose programs are hard links.
// It takes Linux and the rights to change the root and the user of a process and
// to make a device, which containers run by root have; nothing is mounted.
type rooted struct {
	tb    TB
	what  string // "cyrus": the name of the unpacked root, and in messages
	root  string
	port  int // of plaintext IMAP, on 127.0.0.1
	users atomic.Int64

	daemons []*daemon // in the order in which they were started
	syslog  *syslog
}

// installRooted is what makes a server available.
const installRooted = "run .ci/servers as root, on Linux with apt"

// serversDir is where .ci/servers puts the roots.
func serversDir() (string, error) {
	if dir := os.Getenv("POSTBAG_SERVERS"); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "postbag-test-servers"), err
}

// newRooted makes the root of an instance, which is removed at the end of the
// test, after its daemons were killed. The test is skipped where there can be
// none.
func newRooted(tb TB, what string) *rooted {
	tb.Helper()
	dir, err := serversDir()
	if err != nil {
		missing(tb, what, err.Error())
	}
	from := filepath.Join(dir, what)
	if info, err := os.Stat(from); err != nil || !info.IsDir() || runtime.GOOS != "linux" || os.Getuid() != 0 {
		missing(tb, what, installRooted)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // as /proc shows it
		tb.Fatalf("%s: %v", what, err)
	}
	sweep(dir)
	s := &rooted{tb: tb, what: what}
	if s.root, err = os.MkdirTemp(dir, what+"-run-"); err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
	tb.Cleanup(func() {
		s.kill()
		if err := os.RemoveAll(s.root); err != nil {
			tb.Logf("%s: %v", what, err)
		}
	})
	if err := s.layOut(from); err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
	return s
}

// sweep removes the instances of tests that were killed: no test takes a day.
func sweep(dir string) {
	left, err := filepath.Glob(filepath.Join(dir, "*-run-*"))
	if err != nil {
		return
	}
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			killRooted(path)
			_ = os.RemoveAll(path) // another test may be at it
		}
	}
}

// layOut links the programs, and makes what every root needs.
func (s *rooted) layOut(from string) error {
	if err := os.Chmod(s.root, 0o755); err != nil {
		return err
	}
	if err := linkTree(from, s.root); err != nil {
		return err
	}
	for _, dir := range []string{"dev", "etc", "home", "run", "tmp", "var"} {
		if err := os.Mkdir(s.path(dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(s.path("tmp"), 0o777|os.ModeSticky); err != nil {
		return err
	}
	var err error
	if s.port, _, err = freePorts(); err != nil {
		return err
	}
	s.syslog = listenSyslog(s.path("dev/log"))
	return makeDevices(s.path("dev"))
}

// linkTree makes to/usr one of hard links to the files of from/usr, and copies the
// links beside it. Nothing else is taken: what is written to is made anew.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		switch {
		case d.IsDir() && rel != "usr" && !strings.HasPrefix(rel, "usr/"):
			return filepath.SkipDir
		case d.IsDir():
			return os.Mkdir(filepath.Join(to, rel), 0o755)
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, filepath.Join(to, rel))
		}
		return os.Link(path, filepath.Join(to, rel))
	})
}

func (s *rooted) path(name string) string { return filepath.Join(s.root, name) }

// write makes files of the root, by their names in it.
func (s *rooted) write(files map[string]string) error {
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(s.path(name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// own makes directories of the root with an owner.
func (s *rooted) own(uid, gid int, dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
			return err
		}
		if err := os.Chown(s.path(dir), uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// daemon is a process with the root, which runs until it is killed.
type daemon struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended and was waited for
}

// start starts a daemon that stays in the foreground, whose output goes to a file.
func (s *rooted) start(env []string, argv ...string) (*daemon, error) {
	name := filepath.Base(argv[0]) + ".log"
	out, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	d := &daemon{cmd: exec.Command(argv[0], argv[1:]...), exited: make(chan struct{})}
	d.cmd.Env, d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = env, "/", out, out
	ownGroup(d.cmd)
	changeRoot(d.cmd, s.root)
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = d.cmd.Wait() // it is always killed, so its status says nothing
		close(d.exited)
	}()
	s.daemons = append(s.daemons, d)
	return d, nil
}

// run runs a program with the root to its end.
func (s *rooted) run(stdin string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdin = "/", strings.NewReader(stdin)
	changeRoot(cmd, s.root)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", argv[0], err, out)
	}
	return nil
}

// kill kills the daemons and all of their processes, and waits until they are
// gone.
func (s *rooted) kill() {
	for ; len(s.daemons) > 0; s.daemons = s.daemons[:len(s.daemons)-1] {
		d := s.daemons[len(s.daemons)-1]
		if !isClosed(d.exited) { // or its number may be another's by now
			killTree(d.cmd.Process)
		}
		<-d.exited
	}
	killRooted(s.root)
	s.syslog.close()
}

// Addr is the address of the plaintext port.
func (s *rooted) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Log is what the server logged.
func (s *rooted) Log() string {
	var out strings.Builder
	logs, _ := filepath.Glob(s.path("*.log")) // the pattern is a valid one
	for _, path := range logs {
		text, err := os.ReadFile(path)
		fmt.Fprintf(&out, "%s:\n%s", filepath.Base(path), text)
		if err != nil {
			fmt.Fprintln(&out, err)
		}
	}
	return out.String() + s.syslog.String()
}

// awaitGreeting waits for the greeting of an IMAP server.
func awaitGreeting(addr string, exited <-chan struct{}, limit time.Duration) error {
	var last error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-exited:
			return errors.New("ended at once")
		default:
		}
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			last = err
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // a machine at work is slow to start it
		var greeting [4]byte
		_, last = conn.Read(greeting[:])
		_ = conn.Close()
		if last == nil && string(greeting[:]) == "* OK" {
			return nil
		}
	}
	return fmt.Errorf("no greeting within %v: %v", limit, last)
}

// syslog collects what the processes of a root send to the system's log.
type syslog struct {
	conn *net.UnixConn

	mu   sync.Mutex
	text bytes.Buffer
}

// listenSyslog listens at a path. Where that cannot be, because the path is too
// long for a socket, there is no log.
func listenSyslog(path string) *syslog {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return &syslog{}
	}
	_ = os.Chmod(path, 0o666) // for servers that gave up their rights; a log only
	l := &syslog{conn: conn}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			l.mu.Lock()
			if l.text.Len() < 1<<20 {
				l.text.Write(append(buf[:n:n], '\n'))
			}
			l.mu.Unlock()
		}
	}()
	return l
}

// String is what was logged so far, up to 1 MiB.
func (l *syslog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *syslog) close() {
	if l != nil && l.conn != nil {
		_ = l.conn.Close()
	}
}
