package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/state"
)

// inputWorld is where wrong calls are made: a server with TLS, and a backup of it.
type inputWorld struct {
	*account
	t      *testing.T
	server *imaptest.Embedded
	tls    string // the server's URL with TLS
	ca     string // the file of its authority
}

func newInputWorld(t *testing.T) *inputWorld {
	t.Helper()
	e := imaptest.StartEmbedded(t, brief("one", 12, "INBOX", "Work"))
	w := &inputWorld{t: t, server: e, account: onTarget(t, e.Target()), tls: "imaps://" + imaptest.EmbeddedUser + "@" + e.TLSAddr()}
	w.ca = filepath.Join(w.home, "ca.pem")
	w.write(w.ca, string(e.Certificate().CA))
	w.backup(t).want(t, 0)
	return w
}

func (w *inputWorld) write(path, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *inputWorld) config(text string) {
	w.write(filepath.Join(w.home, "config", "postbag", "config.toml"), text)
}

// wrong is one wrong call: what is prepared, and what is called.
type wrong struct {
	name  string
	code  int
	says  string // part of the line
	setup func(w *inputWorld)
	args  func(w *inputWorld) []string // nil: a backup of the account
	mute  bool                         // there is no more to say than the line
}

// with is the arguments of a backup of another server.
func (w *inputWorld) with(url string, more ...string) []string {
	return append([]string{"backup", url, filepath.Join(w.home, "other"), "--password-env", passwordVar}, more...)
}

// patch overwrites part of the state file.
func (w *inputWorld) patch(at int64, data []byte) {
	w.t.Helper()
	f, err := os.OpenFile(w.statePath(), os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := f.WriteAt(data, at); err != nil {
		w.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		w.t.Fatal(err)
	}
}

var wrongServers = []wrong{
	{name: "unknown host", code: 7, says: "host", args: func(w *inputWorld) []string {
		return w.with("imaps://me@no-such-host.invalid")
	}},
	{name: "nothing listens", code: 7, says: "refused", args: func(w *inputWorld) []string {
		return w.with("imaps://me@127.0.0.1:1")
	}},
	{name: "wrong password", code: 5, setup: func(w *inputWorld) { w.env = []string{passwordVar + "=wrong-canary"} }},
	{name: "wrong certificate", code: 7, says: "certificate", args: func(w *inputWorld) []string { return w.with(w.tls) }},
	{name: "wrong pin", code: 7, args: func(w *inputWorld) []string {
		return w.with(w.tls, "--tls-ca", w.ca, "--tls-pin", strings.Repeat("ab", 32))
	}},
	{name: "no TLS on that port", code: 7, args: func(w *inputWorld) []string {
		return w.with("imaps://me@" + w.server.Addr())
	}},
	{name: "no STARTTLS", code: 7, says: "TLS", args: func(w *inputWorld) []string {
		return w.with("imap://me@" + imaptest.StartScripted(w.t, nil).Addr())
	}},
}

var wrongMaildirs = []wrong{
	{name: "Maildir is a file", code: 2, says: "directory", setup: func(w *inputWorld) {
		w.dir = filepath.Join(w.home, "file")
		w.write(w.dir, "not a directory")
	}},
	{name: "Maildir is below a file", code: 1, setup: func(w *inputWorld) {
		w.write(filepath.Join(w.home, "file"), "not a directory")
		w.dir = filepath.Join(w.home, "file", "mail")
	}, mute: true},
	{name: "Maildir of another account", code: 4, says: "belongs to", args: func(w *inputWorld) []string {
		other := imaptest.StartEmbedded(w.t, brief("two", 3, "INBOX"))
		args := onTarget(w.t, other.Target()).pair("backup")
		args[2] = w.dir
		return args
	}},
	{name: "Maildir is a symbolic link to nothing", code: 1, setup: func(w *inputWorld) {
		w.dir = filepath.Join(w.home, "link")
		if err := os.Symlink(filepath.Join(w.home, "nowhere", "at", "all"), w.dir); err != nil {
			w.t.Fatal(err)
		}
	}, mute: true},
	{name: "Maildir that anybody may write to", code: 2, says: "anybody", setup: func(w *inputWorld) {
		if err := os.Chmod(w.dir, 0o777); err != nil {
			w.t.Fatal(err)
		}
	}},
	{name: "Maildir of another layout", code: 2, says: "layout", args: func(w *inputWorld) []string { return w.pair("backup", "--layout", "flat") }},
	{name: "marker is damaged", code: 1, says: "marker", setup: func(w *inputWorld) { w.write(filepath.Join(w.dir, ".postbag", "root"), "{") }},
	{name: "verify where nothing is", code: 2, says: "no directory", args: func(w *inputWorld) []string {
		return []string{"verify", filepath.Join(w.home, "nowhere")}
	}},
}

// elsewhere moves the state out of the Maildir, and then the Maildir away.
func elsewhere(w *inputWorld) {
	w.flags = append(w.flags, "--state", filepath.Join(w.home, "state.db"))
	w.dir = filepath.Join(w.home, "mounted")
	w.backup(w.t).want(w.t, 0)
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Fatal(err)
	}
}

var wrongStates = []wrong{
	{name: "Maildir is gone", code: 2, says: "gone", setup: elsewhere},
	{name: "Maildir is not mounted", code: 2, says: "mount", setup: func(w *inputWorld) {
		elsewhere(w)
		if err := os.Mkdir(w.dir, 0o700); err != nil {
			w.t.Fatal(err)
		}
	}},
	{name: "state of a newer version", code: 2, says: "newer", setup: func(w *inputWorld) {
		w.patch(60, binary.BigEndian.AppendUint32(nil, 1000)) // user_version of an SQLite file
	}},
	{name: "state is something else", code: 1, setup: func(w *inputWorld) { w.write(w.statePath(), strings.Repeat("not a database ", 5000)) }},
	{name: "state is cut short", code: 1, setup: func(w *inputWorld) {
		if err := os.Truncate(w.statePath(), 5000); err != nil {
			w.t.Fatal(err)
		}
	}},
	{name: "state has a hole", code: 1, setup: func(w *inputWorld) { w.patch(4096, make([]byte, 8192)) }},
	{name: "state of another Maildir", code: 2, setup: func(w *inputWorld) {
		other := *w.account
		other.dir = filepath.Join(w.home, "second")
		other.backup(w.t).want(w.t, 0)
		data, err := os.ReadFile(other.statePath())
		if err != nil {
			w.t.Fatal(err)
		}
		w.write(w.statePath(), string(data))
	}},
	{name: "state that others may write to", code: 2, setup: func(w *inputWorld) {
		if err := os.Chmod(w.statePath(), 0o666); err != nil {
			w.t.Fatal(err)
		}
	}},
	{name: "another run", code: 6, says: fmt.Sprint(os.Getpid()), setup: func(w *inputWorld) {
		db, err := state.Open(context.Background(), w.statePath(), state.Options{Command: "test"})
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { db.Close() })
	}},
}

var wrongCalls = []wrong{
	{name: "misspelt flag", code: 2, says: "--mirorr", args: func(w *inputWorld) []string { return w.pair("backup", "--mirorr") }},
	{name: "misspelt command", code: 2, says: "backpu", args: func(w *inputWorld) []string { return append([]string{"backpu"}, w.pair("backup")[1:]...) }},
	{name: "flag without its value", code: 2, says: "--mailbox", args: func(w *inputWorld) []string { return w.pair("backup", "--mailbox") }},
	{name: "pattern that matches nothing", code: 2, says: "Wrok", args: func(w *inputWorld) []string { return w.pair("backup", "--mailbox", "Wrok") }},
	{name: "pattern that is none", code: 2, args: func(w *inputWorld) []string { return w.pair("backup", "--mailbox", "") }, mute: true},
	{name: "no Maildir", code: 2, args: func(w *inputWorld) []string { return []string{"backup", w.url} }},
	{name: "no user", code: 2, says: "user", args: func(w *inputWorld) []string { return w.with("imaps://127.0.0.1:1") }},
	{name: "no password", code: 2, says: "password", args: func(w *inputWorld) []string {
		return []string{"backup", w.url, w.dir, "--allow-plaintext"}
	}},
	{name: "password in the URL", code: 2, says: "password", args: func(w *inputWorld) []string { return w.with("imaps://me:secret-canary@127.0.0.1:1") }},
	{name: "password variable that is not set", code: 2, says: "NO_SUCH", args: func(w *inputWorld) []string {
		return []string{"backup", w.url, w.dir, "--allow-plaintext", "--password-env", "NO_SUCH"}
	}, mute: true},
	{name: "password file that is not there", code: 2, args: func(w *inputWorld) []string {
		return []string{"backup", w.url, w.dir, "--allow-plaintext", "--password-file", filepath.Join(w.home, "nothing")}
	}, mute: true},
	{name: "password file that all may read", code: 2, args: func(w *inputWorld) []string {
		path := filepath.Join(w.home, "password")
		w.write(path, "secret-canary\n")
		if err := os.Chmod(path, 0o644); err != nil {
			w.t.Fatal(err)
		}
		return []string{"backup", w.url, w.dir, "--allow-plaintext", "--password-file", path}
	}},
	{name: "certificates that are not there", code: 2, args: func(w *inputWorld) []string {
		return w.with(w.tls, "--tls-ca", filepath.Join(w.home, "nothing"))
	}, mute: true},
	{name: "certificates that are none", code: 2, args: func(w *inputWorld) []string {
		w.write(filepath.Join(w.home, "none.pem"), "none")
		return w.with(w.tls, "--tls-ca", filepath.Join(w.home, "none.pem"))
	}, mute: true},
	{name: "misspelt configuration key", code: 2, says: "maildri", setup: func(w *inputWorld) {
		w.config("[accounts.work]\nserver = \"imaps://me@imap.example.org\"\nmaildri = \"/tmp/x\"\n")
	}, args: func(*inputWorld) []string { return []string{"backup", "work"} }},
	{name: "configuration that is no TOML", code: 2, says: "config.toml", setup: func(w *inputWorld) { w.config("[accounts.work\n") },
		args: func(*inputWorld) []string { return []string{"backup", "work"} }, mute: true},
	{name: "account that is not configured", code: 2, says: "wrk", setup: func(w *inputWorld) {
		w.config("[accounts.work]\nserver = \"imaps://me@imap.example.org\"\nmaildir = \"/tmp/x\"\n")
	}, args: func(*inputWorld) []string { return []string{"backup", "wrk"} }},
	{name: "no configuration", code: 2, args: func(*inputWorld) []string { return []string{"backup"} }},
}

// Every wrong call ends in one line that says what is wrong, a hint, and an exit
// code of its kind; and nothing was changed anywhere.
func TestBadInput(t *testing.T) {
	t.Parallel()
	for _, group := range [][]wrong{wrongServers, wrongMaildirs, wrongStates, wrongCalls} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				checkWrong(t, test)
			})
		}
	}
}

func checkWrong(t *testing.T, test wrong) {
	w := newInputWorld(t)
	if test.setup != nil {
		test.setup(w)
	}
	args := w.pair("backup")
	if test.args != nil {
		args = test.args(w)
	}
	before, server := snapshot(t, w.home), w.server.Target().MustDump(t).String()
	begun := time.Now()
	c := w.run(t, args...)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	if c.code != test.code {
		t.Errorf("got exit code %d, want %d\n%s", c.code, test.code, c)
	}
	lines := strings.Split(strings.TrimSuffix(c.stderr, "\n"), "\n")
	if !strings.HasPrefix(lines[0], "postbag: ") || strings.Count(c.stderr, "postbag: ") != 1 || c.stdout != "" {
		t.Errorf("want one line of error\n%s", c)
	}
	if !test.mute && (len(lines) != 2 || !strings.HasPrefix(lines[1], "hint: ")) {
		t.Errorf("want a hint\n%s", c)
	}
	if !strings.Contains(c.stderr, test.says) {
		t.Errorf("want a line that says %q\n%s", test.says, c)
	}
	if strings.Contains(c.stderr, "canary") || strings.Contains(c.stderr, imaptest.EmbeddedPassword) {
		t.Errorf("a secret is shown\n%s", c)
	}
	if diff := imaptest.Diff(before, snapshot(t, w.home)); diff != "" {
		t.Errorf("something was written:\n%s\n%s", clip(diff), c)
	}
	if diff := imaptest.Diff(server, w.server.Target().MustDump(t).String()); diff != "" {
		t.Errorf("the server was changed:\n%s", diff)
	}
	asJSON := w.run(t, append(args, "--json")...)
	if events := asJSON.events(t); test.says != "--mailbox" && (asJSON.code != c.code || events[0].Event != "error" || events[0].Message == "") {
		t.Errorf("with --json: %s", asJSON)
	}
}

// Two runs at one time: the second says who holds the lock and touches nothing,
// the first gets through.
func TestTwoRuns(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(60, 200))
	a := onTarget(t, e.Target())
	p := a.via(t, e.Target())
	p.Set(imaptest.Rules{Rate: [2]int64{imaptest.ToClient: 1 << 20}})
	first := a.start(t, a.pair("backup")...)
	for end := time.Now().Add(20 * time.Second); p.Bytes(imaptest.ToClient) < 300<<10 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	commands := len(p.Conns())
	second := a.backup(t).want(t, 6)
	if !strings.Contains(second.stderr, fmt.Sprint(first.cmd.Process.Pid)) {
		t.Errorf("want the number of the other process\n%s", second)
	}
	if n := len(p.Conns()); n > commands+4 {
		t.Errorf("the second run made connections")
	}
	p.Set(imaptest.Rules{})
	first.wait().want(t, 0)
	a.sameAs(t, e.Target().MustDump(t))
	a.checkNoop(t)
}
