package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"postbag/internal/config"
	"postbag/internal/demo"
	"postbag/internal/imapconn"
	"postbag/internal/mail"
	"postbag/state"
)

// start makes a world with a server that does what before says.
func start(t *testing.T, before func(user, verb, mailbox string) error) *world {
	t.Helper()
	w := newWorld(t, false)
	var err error
	w.server, err = demo.Start(context.Background(), demo.Options{Users: map[string]string{"me": "secret"}, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	w.hook([]string{"deliver", "INBOX", "5"})
	w.hook([]string{"deliver", "Other", "5"})
	return w
}

func (w *world) args(command string, more ...string) []string {
	args := []string{command, "imap://me@" + w.server.Addr(), filepath.Join(w.dir, "mail"), "--allow-plaintext", "--password-env", "PW"}
	return append(args, more...)
}

// One test for each exit code; those of the guard, of usage and of login are in
// the scripts as well.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	no := func(code imap.ResponseCode, text string) error {
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
	}
	tests := []struct {
		name   string
		before func(user, verb, mailbox string) error
		setup  func(*world) error
		want   int
	}{
		{"done", nil, nil, exitDone},
		{"one mailbox refused", func(_, verb, mailbox string) error {
			if mailbox == "Other" && (verb == "EXAMINE" || verb == "SELECT") {
				return no("NOPERM", "not yours")
			}
			return nil
		}, nil, exitPartial},
		{"login refused", nil, func(w *world) error { w.vars["PW"] = "wrong"; return nil }, exitLogin},
		{"locked", nil, func(w *world) error {
			w.run(w.args("backup"))
			db, err := state.Open(context.Background(), filepath.Join(w.dir, "mail", ".postbag", stateFile), state.Options{})
			if err == nil {
				w.t.Cleanup(func() { db.Close() })
			}
			return err
		}, exitLocked},
		{"server is gone", nil, func(w *world) error { return w.server.Close() }, exitUnreachable},
		{"root is a file", nil, func(w *world) error { return os.WriteFile(filepath.Join(w.dir, "mail"), nil, 0o600) }, exitUsage},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, test.before)
			if test.setup != nil {
				if err := test.setup(w); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr lockedBuffer
			if got := Main(w.args("backup"), w.env(&stdout, &stderr)); got != test.want {
				t.Errorf("got %d, want %d\n%s%s", got, test.want, stdout.String(), stderr.String())
			}
			if test.want != 0 && !strings.HasPrefix(stderr.String(), "postbag: ") {
				t.Errorf("got stderr %q", stderr.String())
			}
		})
	}
}

// The first signal stops a run, and another run goes on; the second does not
// wait for anything.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, signals := range []int{1, 2} {
		reached, release := make(chan bool, 100), make(chan bool)
		w := start(t, func(_, verb, mailbox string) error {
			if verb == "FETCH" && mailbox == "Other" {
				reached <- true
				<-release
			}
			return nil
		})
		var stdout, stderr lockedBuffer
		env := w.env(&stdout, &stderr)
		ch := make(chan os.Signal, signals)
		env.Signals = ch
		done := make(chan int)
		go func() { done <- Main(w.args("backup"), env) }()
		<-reached
		for range signals {
			ch <- syscall.SIGTERM
		}
		select {
		case got := <-done:
			if got != exitInterrupted {
				t.Errorf("%d signals: got %d, want 130\n%s%s", signals, got, stdout.String(), stderr.String())
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%d signals: still running\n%s", signals, stderr.String())
		}
		close(release)
		if signals == 2 {
			continue // what still runs holds the lock until it is told that it is over
		}
		want := "! postbag: stopping after what is under way; once more stops at once\n! postbag: interrupted\n! hint: run it again and it goes on\n"
		if got := "! " + strings.ReplaceAll(strings.TrimSpace(stderr.String()), "\n", "\n! ") + "\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		if got := Main(w.args("backup"), w.env(&stdout, &stderr)); got != 0 {
			t.Errorf("the next run: got %d\n%s", got, stderr.String())
		}
		if got := Main(w.args("verify", "--deep"), w.env(&stdout, &stderr)); got != 0 {
			t.Errorf("verify: got %d\n%s%s", got, stdout.String(), stderr.String())
		}
	}
}

// failing is a stdout that cannot be written to.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestStdoutThatFails(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	var stderr lockedBuffer
	env := w.env(nil, &stderr)
	env.Stdout = failing{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}}
	if got := Main(w.args("backup", "--json"), env); got != 0 || stderr.String() != "" {
		t.Errorf("reader gone: got %d, %q, want 0 and silence", got, stderr.String())
	}
	env.Stdout = failing{syscall.ENOSPC}
	if got := Main(w.args("backup"), env); got != 1 || stderr.String() != "postbag: stdout: no space left on device\n" {
		t.Errorf("disk full: got %d, %q", got, stderr.String())
	}
}

// The password is nowhere: not in any output, trace, state or file, in whatever
// form it travels.
func TestPasswordIsNeverShown(t *testing.T) {
	t.Parallel()
	const canary = `c4nary"Pa55 \word`
	w := newWorld(t, false)
	var err error
	w.server, err = demo.Start(context.Background(), demo.Options{Users: map[string]string{"me": canary}, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.server.Close()
	w.hook([]string{"deliver", "INBOX", "2"})
	ca := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(ca, w.server.Certificate().CA, 0o600); err != nil {
		t.Fatal(err)
	}
	tracePath := filepath.Join(w.dir, "trace")
	var stdout, stderr lockedBuffer
	for _, password := range []string{canary, canary + "x"} {
		w.vars["PW"] = password
		for _, address := range []string{"imaps://me@" + w.server.TLSAddr(), "imap://me@" + w.server.Addr()} {
			for _, mechanism := range []string{"auto", "plain", "login", "xoauth2", "oauthbearer"} {
				common := []string{"--tls-ca", ca, "--password-env", "PW", "--auth", mechanism, "--trace", tracePath, "-v", "--json"}
				Main(append([]string{"mailboxes", address}, common...), w.env(&stdout, &stderr))
				Main(append([]string{"backup", address, filepath.Join(w.dir, "mail"+mechanism)}, common...), w.env(&stdout, &stderr))
			}
		}
	}
	Main([]string{"backup", "imaps://me:" + url.QueryEscape(canary) + "@h.example", "mail"}, w.env(&stdout, &stderr))
	Main([]string{"backup", "imaps://me:" + canary + "@h.example", "mail"}, w.env(&stdout, &stderr))
	if !strings.Contains(stdout.String(), `"exit":0`) || !strings.Contains(stdout.String(), `"exit":5`) {
		t.Errorf("not all went as meant: %s", stdout.String())
	}
	found := map[string][]byte{"stdout": []byte(stdout.String()), "stderr": []byte(stderr.String())}
	if err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			found[path], err = os.ReadFile(path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(found[tracePath], []byte("C: ")) {
		t.Errorf("the trace is empty: %q", found[tracePath])
	}
	if info, err := os.Stat(tracePath); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("trace: got %v, %v, want mode 0600", info, err)
	}
	for where, text := range found {
		for _, secret := range []string{
			canary, "c4nary", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(canary), url.QueryEscape(canary),
			base64.StdEncoding.EncodeToString([]byte("\x00me\x00" + canary)), base64.StdEncoding.EncodeToString([]byte(canary))[:12],
			base64.StdEncoding.EncodeToString([]byte("user=me\x01auth=Bearer " + canary + "\x01\x01"))[28:48],
		} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s shows the password as %q", where, secret)
			}
		}
	}
}

// Whatever a server names its mailboxes and answers, what is shown stays one
// line each, and JSON stays JSON.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	w := start(t, func(_, verb, mailbox string) error {
		if verb == "EXAMINE" && strings.Contains(mailbox, "red") {
			return &imap.Error{Type: imap.StatusResponseTypeNo, Text: "no\x1b]0;title\x07 \u202epostbag: done"}
		}
		return nil
	})
	for _, name := range []string{"a\u202eb", "\u009b31mred", "zero\u200bwidth", "100%s %d{{.}}"} {
		w.hook([]string{"deliver", strings.ReplaceAll(name, " ", "_"), "1"})
	}
	for _, args := range [][]string{w.args("backup", "-v"), w.args("backup", "--json"), w.args("verify"), {"status", "mail"},
		{"mailboxes", "mail"}, append([]string{"mailboxes"}, w.args("", "-v")[1])} {
		var stdout, stderr lockedBuffer
		Main(args, w.env(&stdout, &stderr))
		for _, text := range []string{stdout.String(), stderr.String()} {
			for line := range strings.Lines(text) {
				line = strings.TrimSuffix(line, "\n")
				if got := escape(line); got != line && len(line) < maxShown {
					t.Errorf("%v: got line %q", args, line)
				}
				if strings.Contains(strings.Join(args, " "), "--json") && strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
					t.Errorf("%v: no JSON: %q", args, line)
				}
			}
		}
	}
}

func TestLimitRate(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.hook([]string{"deliver", "Big", "40"}) // 42 KB
	var stdout, stderr lockedBuffer
	began := time.Now()
	if got := Main(w.args("backup", "--limit-rate", "50K"), w.env(&stdout, &stderr)); got != 0 {
		t.Errorf("got %d\n%s", got, stderr.String())
	}
	if took := time.Since(began); took < 700*time.Millisecond || took > 20*time.Second {
		t.Errorf("about 60 KB at 50 KB a second took %v", took)
	}
}

// Only a server that says nothing may be one that waits for TLS.
func TestHintOfASilentServer(t *testing.T) {
	t.Parallel()
	a := &config.Account{Server: config.Server{Scheme: "imap", User: "me", Host: "mail.example"}}
	for _, one := range []struct {
		err  error
		want string
	}{
		{errors.New("no greeting"), "a server that speaks TLS from the start (usually port 993) is written imaps://"},
		{&imapconn.StatusError{Status: imapconn.Status{Type: "NO", Code: "UNAVAILABLE", Text: "user database is down"}}, ""},
	} {
		err := serverError(a, &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUnreachable, Op: "login", Err: one.err})
		if e := mail.AsError(err); e.Hint != one.want {
			t.Errorf("%v: got hint %q, want %q", err, e.Hint, one.want)
		}
	}
}

// TestTunnelHelper is no test: it is the command that TestTunnel runs.
func TestTunnelHelper(t *testing.T) {
	addr := os.Getenv("POSTBAG_TEST_TUNNEL")
	if addr == "" {
		t.Skip("only runs as a command of TestTunnel")
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		io.Copy(conn, os.Stdin)
		os.Exit(0)
	}()
	io.Copy(os.Stdout, conn)
	os.Exit(0)
}

func TestTunnel(t *testing.T) {
	w := start(t, nil)
	t.Setenv("POSTBAG_TEST_TUNNEL", w.server.Addr())
	tunnel := fmt.Sprintf("'%s' '-test.run=^TestTunnelHelper$'", os.Args[0])
	var stdout, stderr lockedBuffer
	code := Main([]string{"mailboxes", "imap://me@far.example", "--password-env", "PW", "--tunnel", tunnel}, w.env(&stdout, &stderr))
	if code != 0 || !strings.Contains(stdout.String(), "INBOX\n") {
		t.Errorf("got %d\n%s%s", code, stdout.String(), stderr.String())
	}
}

// A terminal gets a bar on stderr, and nothing else does.
func TestBar(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                 string
		stdoutTTY, stderrTTY bool
		term                 string
		args                 []string
		want                 bool
	}{
		{"terminal", true, true, "xterm", nil, true},
		{"stderr is a file", true, false, "xterm", nil, false},
		{"stdout is a file", false, true, "xterm", nil, true},
		{"quiet", true, true, "xterm", []string{"-q"}, false},
		{"JSON on the same terminal", true, true, "xterm", []string{"--json"}, false},
		{"JSON to a file", false, true, "xterm", []string{"--json"}, true},
		{"dumb terminal", true, true, "dumb", nil, false},
		{"terminal that nobody knows", true, true, "", nil, runtime.GOOS == "windows"},
	} {
		w := start(t, nil)
		w.vars["TERM"] = test.term
		var stdout, stderr lockedBuffer
		env := w.slow(&stdout, &stderr)
		env.StdoutTTY, env.StderrTTY = test.stdoutTTY, test.stderrTTY
		if got := Main(w.args("backup", test.args...), env); got != 0 {
			t.Errorf("%s: got %d\n%s", test.name, got, stderr.String())
		}
		if got := strings.Contains(stderr.String(), "messages"); got != test.want {
			t.Errorf("%s: got a bar: %v, want %v: %q", test.name, got, test.want, stderr.String())
		}
		if strings.Contains(stdout.String(), "\r") {
			t.Errorf("%s: got a bar on stdout", test.name)
		}
	}
}

// slow is an Env in which the bar does not wait long.
func (w *world) slow(stdout, stderr *lockedBuffer) Env {
	env := w.env(stdout, stderr)
	began, calls := time.Now(), atomic.Int64{}
	env.Now = func() time.Time { return began.Add(time.Duration(calls.Add(1)) * time.Second) }
	return env
}

// A terminal without UTF-8 is sent ASCII only: what is more it would take for
// other characters, and for controls. A file gets the names as they are.
func TestTerminalWithoutUTF8(t *testing.T) {
	t.Parallel()
	const name = "Proje\u021bi"
	for _, test := range []struct {
		vars  map[string]string
		tty   bool
		plain bool // the name is shown as it is
	}{
		{map[string]string{"LANG": "de_DE.UTF-8"}, true, true},
		{map[string]string{"LANG": "de_DE.utf8"}, true, true},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, true, false},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_CTYPE": "de_DE@euro"}, true, false},
		{map[string]string{"LC_ALL": "C"}, false, true},
	} {
		w := start(t, nil)
		w.hook([]string{"deliver", name, "3"})
		test.vars["TERM"], test.vars["PW"] = "xterm", "secret"
		w.vars = test.vars
		var stdout, stderr lockedBuffer
		env := w.slow(&stdout, &stderr)
		env.StdoutTTY, env.StderrTTY = test.tty, test.tty
		if got := Main(w.args("backup", "-v"), env); got != 0 {
			t.Fatalf("got %d\n%s", got, stderr.String())
		}
		for _, text := range []string{stdout.String(), stderr.String()} {
			isASCII := !strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e })
			if got := strings.Contains(text, name); got != test.plain || isASCII == test.plain || test.plain == strings.Contains(text, `Proje\u021bi`) {
				t.Errorf("%v: got %q", test, text)
			}
		}
	}
}

func TestAskForPassword(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	var stdout, stderr lockedBuffer
	env := w.env(&stdout, &stderr)
	asked := ""
	env.Ask = func(_ context.Context, prompt string) (string, error) { asked += prompt; return "secret", nil }
	args := w.args("backup")
	if got := Main(args[:4], env); got != 0 {
		t.Errorf("got %d\n%s", got, stderr.String())
	}
	if want := fmt.Sprintf("Password for me@%s: ", w.server.Addr()); asked != want {
		t.Errorf("asked %q, want %q once", asked, want)
	}
	// Whoever gives up at the prompt is not told of what is under way.
	stderr.b.Reset()
	signals := make(chan os.Signal, 1)
	env.Signals = signals
	env.Ask = func(ctx context.Context, prompt string) (string, error) {
		signals <- os.Interrupt
		<-ctx.Done()
		return "", ctx.Err()
	}
	if got, want := Main(args[:4], env), "postbag: interrupted\nhint: run it again and it goes on\n"; got != exitInterrupted || stderr.String() != want {
		t.Errorf("got %d, %q, want 130, %q", got, stderr.String(), want)
	}
	env.Signals = nil
	env.Ask = func(context.Context, string) (string, error) { return "", errors.New("no terminal after all") }
	if got := Main(args[:4], env); got != exitUsage {
		t.Errorf("got %d, want 2\n%s", got, stderr.String())
	}
}
