package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// program is the path of the program under test. The environment names one that
// is there already when a test runs itself in another process.
var program = os.Getenv(programVar)

const programVar = "POSTBAG_E2E_PROGRAM"

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	// The tests wait for disks, connections and each other's processes more than
	// they compute.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		if err := f.Value.Set(fmt.Sprint(3 * runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "postbag-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "postbag.exe")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// long reports whether everything is to be tried, however long it takes.
func long() bool { return os.Getenv("POSTBAG_LONG") == "1" }

// drawn is what the random choices of a test begin with: the same in every run, so that
// a failure is about what was changed, and another one in each long run.
func drawn() uint64 {
	if long() {
		return uint64(time.Now().UnixNano())
	}
	return 20261125
}

// need skips a test for want of a program; in continuous integration, where it
// has to be there, the test fails.
func need(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(t, "%s is not installed", name)
	}
	return path
}

// unavailable skips a test for want of something that continuous integration
// has.
func unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// scratch is a directory for the test, in memory where there is room: most tests
// are about order, not about disks.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "postbag-e2e-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// The password of every account but where a test is about passwords.
const (
	passwordVar = "POSTBAG_E2E_PASSWORD"
	callLimit   = 10 * time.Minute // no call of the program may take longer
)

// account is what the program is told of: a server, and the Maildir beside it.
type account struct {
	url   string
	dir   string   // the Maildir
	flags []string // of the connection
	home  string   // $HOME of the process
	env   []string // more environment, in front of all else
	wrap  []string // a command in front of the program's: strace
	name  string   // in the configuration file; "" when all goes onto the command line
	stdin io.Reader
}

// call is one finished call of the program.
type call struct {
	args           []string
	stdout, stderr string
	code           int // -1 when a signal ended it
	state          *os.ProcessState
	elapsed        time.Duration
}

// running is a call that has been started.
type running struct {
	t      testing.TB
	cmd    *exec.Cmd
	cancel context.CancelFunc
	begun  time.Time
	args   []string
	out    bytes.Buffer
	err    bytes.Buffer
}

// newAccount is an account with a Maildir that is not there yet.
func newAccount(t testing.TB, url, password string, flags ...string) *account {
	t.Helper()
	home := scratch(t)
	return &account{
		url: url, dir: filepath.Join(home, "mail"), home: home,
		flags: append([]string{"--password-env", passwordVar}, flags...),
		env:   []string{passwordVar + "=" + password},
	}
}

// start starts a command with arguments of its own.
func (a *account) start(t testing.TB, args ...string) *running {
	t.Helper()
	return a.startInto(t, nil, args...)
}

// startInto does so with its stdout going to out, unless that is nil.
func (a *account) startInto(t testing.TB, out io.Writer, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	line := append(slices.Clone(a.wrap), program)
	line = append(line, args...)
	r := &running{t: t, cmd: exec.CommandContext(ctx, line[0], line[1:]...), cancel: cancel, begun: time.Now(), args: args}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = a.stdin, &r.out, &r.err
	if out != nil {
		r.cmd.Stdout = out
	}
	r.cmd.Dir = a.home
	r.cmd.Env = append([]string{"HOME=" + a.home, "XDG_CONFIG_HOME=" + filepath.Join(a.home, "config"), "TMPDIR=" + os.TempDir(),
		"PATH=" + os.Getenv("PATH"), "TZ=UTC"}, a.env...)
	if err := r.cmd.Start(); err != nil {
		cancel()
		t.Fatalf("%v: %v", line, err)
	}
	return r
}

// wait waits for the end of the call, and checks what holds of every call.
func (r *running) wait() *call {
	r.t.Helper()
	err := r.cmd.Wait()
	r.cancel()
	c := &call{args: r.args, stdout: r.out.String(), stderr: r.err.String(), code: r.cmd.ProcessState.ExitCode(),
		state: r.cmd.ProcessState, elapsed: time.Since(r.begun)}
	if c.elapsed >= callLimit {
		r.t.Fatalf("it did not come to an end (%v)\n%s", err, c)
	}
	c.check(r.t)
	return c
}

// run runs a command to its end.
func (a *account) run(t testing.TB, args ...string) *call {
	t.Helper()
	return a.start(t, args...).wait()
}

// pair is the arguments of a command that works on the server and the Maildir.
func (a *account) pair(command string, more ...string) []string {
	if a.name != "" {
		return append([]string{command, a.name}, more...)
	}
	return append(append([]string{command, a.url, a.dir}, a.flags...), more...)
}

// configure writes a configuration file for the account, for settings that the
// command line has not.
func (a *account) configure(t testing.TB, lines ...string) {
	t.Helper()
	a.name = "configured"
	text := fmt.Sprintf("[accounts.%s]\nserver = %q\nmaildir = %q\npassword = { env = %q }\nallow_plaintext = true\n%s\n",
		a.name, a.url, a.dir, passwordVar, strings.Join(lines, "\n"))
	dir := filepath.Join(a.home, "config", "postbag")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *account) backup(t testing.TB, more ...string) *call {
	t.Helper()
	return a.run(t, a.pair("backup", more...)...)
}

func (a *account) verify(t testing.TB, more ...string) *call {
	t.Helper()
	return a.run(t, a.pair("verify", more...)...)
}

// String is the call for the log of a test.
func (c *call) String() string {
	return fmt.Sprintf("%s\nexit %d after %v\nstdout: %s\nstderr: %s", strings.Join(c.args, " "), c.code, c.elapsed, clip(c.stdout), clip(c.stderr))
}

func clip(s string) string {
	if len(s) > 6000 {
		return s[:3000] + "\n...\n" + s[len(s)-3000:]
	}
	return s
}

// want fails the test at once when the call ended with another exit code.
func (c *call) want(t testing.TB, code int) *call {
	t.Helper()
	if c.code != code {
		t.Fatalf("got exit code %d, want %d\n%s", c.code, code, c)
	}
	return c
}

// check holds of every call: nothing that is shown can do harm to a terminal,
// nothing is a crash of Go, and JSON is JSON, with the exit code in it.
func (c *call) check(t testing.TB) {
	t.Helper()
	for _, text := range []string{c.stdout, c.stderr} {
		if !utf8.ValidString(text) {
			t.Errorf("output is not UTF-8: %q\n%s", clip(text), c)
		}
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("output holds %q\n%s", text[i:min(len(text), i+10)], c)
		}
		for _, crash := range []string{"panic:", "goroutine ", "fatal error:", "runtime error", "DATA RACE"} {
			if strings.Contains(text, crash) {
				t.Errorf("the program crashed\n%s", c)
			}
		}
	}
	if slices.Contains(c.args, "--json") && c.code >= 0 {
		if s := c.summary(t); s.Exit != c.code {
			t.Errorf("the summary says exit %d\n%s", s.Exit, c)
		}
	}
}

// counts is what was changed on one side.
type counts struct {
	New, Flags, Moved, Deleted int
	Bytes                      int64
}

// event is an object of --json: the summary, and what the others have of it.
type event struct {
	Event      string
	Command    string
	Outcome    string
	Exit       int
	Mailbox    string
	Kind       string
	Side       string
	UID        uint32
	Key        string
	Reason     string
	Messages   int
	Pending    int
	Hint       string
	Message    string
	Warning    bool
	Mailboxes  json.RawMessage
	A, B       counts
	EstimateMS int64 `json:"estimate_ms"`
	TooLarge   int   `json:"too_large"`
	Largest    int64 `json:"largest_bytes"`
	SizeLimit  int64 `json:"limit_bytes"`
	Kept       int
	Verified   struct{ Messages, Findings int }
	Problems   []event
}

// mailboxes are the summary's counts of mailboxes.
func (e event) mailboxes(t testing.TB) (m struct{ Total, Changed, Skipped, Failed int }) {
	t.Helper()
	if err := json.Unmarshal(e.Mailboxes, &m); err != nil {
		t.Fatalf("%s: %v", e.Mailboxes, err)
	}
	return m
}

// events are the objects of --json.
func (c *call) events(t testing.TB) []event {
	t.Helper()
	var out []event
	for line := range strings.Lines(c.stdout) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("not a line of JSON: %q: %v\n%s", clip(line), err, c)
		}
		out = append(out, e)
	}
	return out
}

// summary is the last object of --json.
func (c *call) summary(t testing.TB) event {
	t.Helper()
	all := c.events(t)
	if len(all) == 0 || all[len(all)-1].Event != "summary" {
		t.Fatalf("no summary at the end\n%s", c)
	}
	return all[len(all)-1]
}

// unchanged fails the test when a run with --json did anything.
func (c *call) unchanged(t testing.TB) {
	t.Helper()
	s := c.summary(t)
	if (s.A != counts{}) || (s.B != counts{}) || s.mailboxes(t).Changed != 0 {
		t.Errorf("got changes %+v %+v in %s, want none\n%s", s.A, s.B, s.Mailboxes, c)
	}
}
