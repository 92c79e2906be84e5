package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	gosync "sync"
	"testing"

	"postbag/internal/monitor"
)

// watchedCommands are the commands whose runs other programs are told of.
var watchedCommands = []string{"sync", "backup", "restore", "migrate", "verify"}

// Each command that moves or verifies mail can be watched, and has all that goes
// with it.
func TestWatchedCommands(t *testing.T) {
	t.Parallel()
	var got []string
	for _, cmd := range leaves(commands(&session{})) {
		own := flagsOf(cmd)
		n := 0
		for _, f := range monitorFlags() {
			if _, ok := own[f.Names()[0]]; ok {
				n++
			}
		}
		if n != 0 && n != len(monitorFlags()) {
			t.Errorf("%s has %d of the flags, want all or none", fullName(cmd), n)
		}
		if n > 0 {
			got = append(got, fullName(cmd))
			if _, ok := own["quiet"]; !ok {
				t.Errorf("%s is for scripts, and has no --quiet", fullName(cmd))
			}
		}
	}
	for _, name := range watchedCommands {
		if !slices.Contains(got, name) {
			t.Errorf("%s cannot be watched", name)
		}
	}
}

// pinged is a service that is told of runs.
type pinged struct {
	*httptest.Server
	mu  gosync.Mutex
	got []string
}

func newPinged(t *testing.T) *pinged {
	p := &pinged{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.got = append(p.got, r.URL.Path)
		if strings.Contains(r.URL.Path, "wrong") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// taken are the pings since the last call.
func (p *pinged) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// watched is a world with two accounts, good and bad, of which the second has a
// wrong password, and hooks that write down how they were called.
type watched struct {
	*world
	service *pinged
}

func newWatched(t *testing.T) *watched {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh for hooks")
	}
	w := &watched{newWorld(t, true), newPinged(t)}
	w.hook([]string{"deliver", "INBOX", "3"})
	w.vars["PATH"] = os.Getenv("PATH")
	return w
}

// configure writes the configuration: what stands at the top, and in the account
// good.
func (w *watched) configure(top, good string) {
	w.t.Helper()
	text := w.fill(top + `
[accounts.good]
server = "imap://me@ADDR"
maildir = "DIR/goodmail"
allow_plaintext = true
password = { env = "PW" }
` + good + `
[accounts.bad]
server = "imap://me@ADDR"
maildir = "DIR/badmail"
allow_plaintext = true
password = { env = "BAD" }
`)
	path := filepath.Join(w.dir, ".config", "postbag", "config.toml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// call runs a command and answers with its exit code and what it wrote.
func (w *watched) call(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs lockedBuffer
	env := w.env(&out, &errs)
	env.Environ = func() (list []string) {
		for name, value := range w.vars {
			list = append(list, name+"="+value)
		}
		return list
	}
	code = Main(args, env)
	return code, out.String(), errs.String()
}

// status is the status file, each run without its times.
func (w *watched) status(name string) map[string]monitor.Run {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	file := map[string]monitor.Run{}
	if err := json.Unmarshal(text, &file); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// noted is the script of a hook that writes its variables and its stdin down in a
// file of the world.
func (w *watched) noted(name string) string {
	return fmt.Sprintf(`["sh", "-c", "{ env | grep -E '^(POSTBAG_|PW=|BAD=|MY)' | sort; cat; } >> '%s'"]`, filepath.Join(w.dir, name))
}

func (w *watched) readNote(name string) string {
	text, _ := os.ReadFile(filepath.Join(w.dir, name))
	return string(text)
}

// One run over two accounts: the files, the hooks and the pings of the whole and of
// one account say what came of it, and no secret reaches a hook.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	w.vars["MYVAR"], w.vars["POSTBAG_OLD"] = "mine", "stale"
	w.configure(fmt.Sprintf("status_file = \"status.json\"\nmetrics_file = 'postbag.prom'\nping_url = %q\non_change = %s\non_success = %s\non_failure = %s\n",
		w.service.URL+"/whole", w.noted("changed"), w.noted("succeeded"), w.noted("failed")),
		fmt.Sprintf("ping_url = %q\non_success = %s\non_change = %s\nstatus_file = '../../good.json'", w.service.URL+"/good", w.noted("good"), w.noted("goodchanged")))
	w.call("status") // asks for no password, and is not watched
	if got := w.service.taken(); got != nil {
		t.Errorf("status: got pings %q", got)
	}
	code, stdout, stderr := w.call("backup")
	if code != exitLogin {
		t.Fatalf("got exit %d, want 5\n%s%s", code, stdout, stderr)
	}
	pings := w.service.taken()
	slices.Sort(pings[:min(1, len(pings))])
	if len(pings) != 4 || !slices.Contains(pings, "/whole/start") || !slices.Contains(pings, "/good/start") || !slices.Contains(pings, "/good") || pings[3] != "/whole/fail" {
		t.Errorf("got pings %q", pings)
	}
	dir := filepath.Join(".config", "postbag")
	run := w.status(filepath.Join(dir, "status.json"))["backup"]
	good, bad := run.Accounts["good"], run.Accounts["bad"]
	if run.Exit != 5 || run.Outcome != "failed" || run.B.New != 3 || run.LastSuccess != nil || !strings.HasPrefix(run.Error, "bad: imap://") || run.End.Before(run.Start) {
		t.Errorf("got run %+v", run)
	}
	if good.Exit != 0 || good.B.New != 3 || good.LastSuccess == nil || good.Error != "" || bad.Exit != 5 || bad.B.New != 0 || !strings.Contains(bad.Error, "login") {
		t.Errorf("got accounts %+v and %+v", good, bad)
	}
	if own := w.status("good.json")["backup"]; own.Exit != 0 || own.B.New != 3 || len(own.Accounts) != 1 {
		t.Errorf("good.json: got %+v", own)
	}
	metrics, err := os.ReadFile(filepath.Join(w.dir, dir, "postbag.prom"))
	for _, line := range []string{
		`postbag_run_exit_code{command="backup"} 5`, `postbag_account_exit_code{command="backup",account="bad"} 5`,
		`postbag_account_messages{command="backup",account="good",side="b",change="new"} 3`,
	} {
		if err != nil || !strings.Contains(string(metrics), line+"\n") {
			t.Errorf("metrics: no line %s: %v\n%s", line, err, metrics)
		}
	}
	if got := w.readNote("succeeded"); got != "" {
		t.Errorf("on_success ran after a failure: %s", got)
	}
	for file, want := range map[string]string{
		"changed": "POSTBAG_HOOK=on_change\n", "failed": "POSTBAG_HOOK=on_failure\n", "good": "POSTBAG_HOOK=on_success\n", "goodchanged": "POSTBAG_ACCOUNT=good\n",
	} {
		got := w.readNote(file)
		if !strings.Contains(got, want) || !strings.Contains(got, "POSTBAG_B_NEW=3\n") || !strings.Contains(got, "MYVAR=mine\n") {
			t.Errorf("%s: got %s", file, got)
		}
		if strings.Contains(got, "PW=") || strings.Contains(got, "BAD=") || strings.Contains(got, "POSTBAG_OLD") || strings.Contains(got, "secret") || strings.Contains(got, w.service.URL) {
			t.Errorf("%s: a secret was passed on: %s", file, got)
		}
		_, object, _ := strings.Cut(got, "\n{")
		var sum summary
		if err := json.Unmarshal([]byte("{"+object), &sum); err != nil || sum.B.New != 3 || sum.Command != "backup" {
			t.Errorf("%s: stdin was {%s: %v", file, object, err)
		}
	}
	// The next run changes nothing, and its failure keeps what went well before.
	w.vars["BAD"] = "secret"
	if code, stdout, stderr = w.call("backup", "bad"); code != 0 {
		t.Fatalf("got exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, _ = w.call("backup", "-q"); code != 0 {
		t.Fatalf("got exit %d", code)
	}
	before := w.readNote("changed")
	w.call("backup", "-q")
	if w.readNote("changed") != before {
		t.Errorf("on_change ran where nothing changed: %s", w.readNote("changed"))
	}
	w.vars["PW"] = "wrong"
	w.call("backup", "-q")
	again := w.status(filepath.Join(dir, "status.json"))["backup"]
	if again.Exit != 5 || again.LastSuccess == nil || again.Accounts["good"].LastSuccess == nil || again.Accounts["good"].Exit != 5 {
		t.Errorf("got run %+v", again)
	}
}

// Every command that is watched tells how it went, and says it the same way; one
// that only pretends tells nobody.
func TestEveryWatchedCommand(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	w.configure("", "")
	other := newWorld(t, true)
	to := "imap://me@" + other.server.Addr()
	list := filepath.Join(w.dir, "list.csv")
	if err := os.WriteFile(list, []byte("from,to,to_password_env\ngood,"+to+",PW\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	accounts := map[string]string{}
	for _, args := range [][]string{
		{"sync", "good"}, {"backup", "good"}, {"verify", "good"}, {"verify", filepath.Join(w.dir, "goodmail")}, {"restore", "good"},
		{"migrate", "good", to, "--to-password-env", "PW", "--to-allow-plaintext"},
		{"verify", "good", to, "--to-password-env", "PW", "--to-allow-plaintext", "--password-env", "PW"},
		{"migrate", "--csv", list, "--to-allow-plaintext"},
	} {
		name := fmt.Sprintf("status%d.json", len(accounts))
		args = append(args, "--status-file", filepath.Join(w.dir, name), "--metrics-file", filepath.Join(w.dir, name+".prom"), "--ping-url", w.service.URL+"/it")
		if _, ok := flagsOf(find(commands(&session{}), args[0]))["dry-run"]; ok {
			if code, stdout, stderr := w.call(append(args, "--dry-run")...); code != 0 {
				t.Errorf("%q --dry-run: got exit %d\n%s%s", args, code, stdout, stderr)
			}
			if _, err := os.Stat(filepath.Join(w.dir, name)); err == nil || w.service.taken() != nil {
				t.Errorf("%q: a dry run was told", args)
			}
		}
		code, stdout, stderr := w.call(args...)
		run := w.status(name)[args[0]]
		if code != 0 || run.Outcome != "done" || len(run.Accounts) != 1 || run.LastSuccess == nil || run.Mailboxes.Total != 1 {
			t.Errorf("%q: got exit %d, %+v\n%s%s", args, code, run, stdout, stderr)
		}
		if args[0] == "verify" && (run.Findings == nil || run.Accounts["good"].Findings == nil && args[1] == "good") {
			t.Errorf("%q: there are no findings in %+v", args, run)
		}
		if got := w.service.taken(); !slices.Equal(got, []string{"/it/start", "/it"}) {
			t.Errorf("%q: got pings %q", args, got)
		}
		if _, err := os.Stat(filepath.Join(w.dir, name+".prom")); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		accounts[strings.Join(args, " ")] = name
	}
}

// A hook of one line of a list of migrations gets no password of another line, also of
// one that comes later.
func TestHooksOfAList(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	w.vars["MYFROM"], w.vars["MYTO"] = "secret", "secret"
	w.configure("", "on_success = "+w.noted("first"))
	list := filepath.Join(w.dir, "list.csv")
	rows := "from,to,from_password_env,to_password_env\n"
	for _, row := range []string{"good,%s,,PW\n", "imap://me@127.0.0.1:1,%s,MYFROM,MYTO\n"} {
		rows += fmt.Sprintf(row, "imap://me@"+newWorld(t, true).server.Addr())
	}
	if err := os.WriteFile(list, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	w.call("migrate", "--csv", list, "--to-allow-plaintext", "--allow-plaintext")
	if got := w.readNote("first"); !strings.Contains(got, "POSTBAG_HOOK=on_success\n") || strings.Contains(got, "secret") {
		t.Errorf("the hook was called with %s", got)
	}
}

// What cannot be told makes the exit code of a run that went well 1, and leaves any
// other; a ping never does.
func TestMonitoringThatFails(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	hook := `on_success = ["sh", "-c", "echo first; echo second >&2; exit 3"]` + "\non_failure = 'postbag-no-such-program'\n"
	w.configure(hook, "")
	code, stdout, stderr := w.call("backup", "good", "--json")
	if want := "postbag: on_success: first\npostbag: on_success: second\npostbag: on_success: sh: exit status 3\n"; code != exitFailed || stderr != want {
		t.Errorf("got exit %d, %q, want 1, %q", code, stderr, want)
	}
	if !strings.Contains(stdout, `"event":"error","kind":"other","exit":1,"message":"on_success: sh: exit status 3"`) || !strings.Contains(stdout, `"outcome":"failed","exit":1`) {
		t.Errorf("got %s", stdout)
	}
	if code, _, stderr = w.call("backup", "bad", "-q"); code != exitLogin || !strings.Contains(stderr, "postbag: on_failure: postbag-no-such-program: executable file not found") {
		t.Errorf("got exit %d, %q, want 5", code, stderr)
	}
	w.configure("", "")
	if code, _, stderr = w.call("backup", "good", "-q", "--status-file", w.dir); code != exitFailed || stderr != "postbag: "+w.dir+": is no regular file\n" {
		t.Errorf("got exit %d, %q, want 1", code, stderr)
	}
	if code, _, stderr = w.call("backup", "good", "-q", "--ping-url", w.service.URL+"/wrong/s3cret"); code != exitDone || !strings.HasSuffix(stderr, ": 404 Not Found\n") {
		t.Errorf("got exit %d, %q, want 0", code, stderr)
	}
	// Where the configuration cannot be read, the flags still say whom to tell.
	if err := os.WriteFile(filepath.Join(w.dir, ".config", "postbag", "config.toml"), []byte("[accounts"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.service.taken()
	code, _, _ = w.call("backup", "--status-file", filepath.Join(w.dir, "s.json"), "--ping-url", w.service.URL+"/x")
	if run := w.status("s.json")["backup"]; code != exitUsage || run.Exit != exitUsage || run.Error == "" {
		t.Errorf("got exit %d, %+v", code, run)
	}
	if got := w.service.taken(); !slices.Equal(got, []string{"/x/start", "/x/fail"}) {
		t.Errorf("got pings %q", got)
	}
}

// What flags and the environment say counts before the configuration, and flags
// before the environment.
func TestMonitoringByFlags(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	w.configure(fmt.Sprintf("status_file = '%s'\nmetrics_file = '%s'\nping_url = '%s/configured'\n",
		filepath.Join(w.dir, "configured.json"), filepath.Join(w.dir, "configured.prom"), w.service.URL), "")
	if code, _, stderr := w.call("backup", "-q", "good", "--status-file", "flag.json", "--metrics-file", "flag.prom", "--ping-url", w.service.URL+"/flag"); code != 0 {
		t.Fatal(stderr)
	}
	names, err := filepath.Glob(filepath.Join(w.dir, "*.[jp]*"))
	if err != nil || len(names) != 3 { // and ca.pem
		t.Errorf("got files %q, %v", names, err)
	}
	w.vars[pingVariable] = w.service.URL + "/variable"
	w.call("backup", "-q", "good")
	w.call("backup", "-q", "good", "--ping-url", w.service.URL+"/flag")
	if got, want := w.service.taken(), []string{"/flag/start", "/flag", "/variable/start", "/variable", "/flag/start", "/flag"}; !slices.Equal(got, want) {
		t.Errorf("got pings %q, want %q", got, want)
	}
	w.status("configured.json")
}

// A run that is interrupted is told of, too.
func TestInterruptedRunIsTold(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh for hooks")
	}
	reached, release := make(chan bool, 100), make(chan bool)
	w := start(t, func(_, verb, mailbox string) error {
		if verb == "FETCH" && mailbox == "Other" {
			reached <- true
			<-release
		}
		return nil
	})
	w.hook(append([]string{"write", ".config/postbag/config.toml", "600"}, strings.Fields(`on_failure = ["sh", "-c", "echo $POSTBAG_EXIT $POSTBAG_B_NEW > DIR/hooked"] | status_file = '../../s.json' | [accounts.a] | server = "imap://me@ADDR" | maildir = '~/mail' | allow_plaintext = true | password.env = 'PW'`)...))
	var stdout, stderr lockedBuffer
	env := w.env(&stdout, &stderr)
	ch := make(chan os.Signal, 1)
	env.Signals = ch
	done := make(chan int)
	go func() { done <- Main([]string{"backup"}, env) }()
	<-reached
	ch <- os.Interrupt
	close(release)
	if code := <-done; code != exitInterrupted {
		t.Fatalf("got exit %d\n%s", code, stderr.String())
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "s.json"))
	if err != nil || !regexp.MustCompile(`"outcome": "interrupted",\s+"exit": 130`).Match(text) {
		t.Errorf("got %s, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(w.dir, "hooked")); err != nil || !strings.HasPrefix(string(text), "130 ") {
		t.Errorf("the hook said %q, %v", text, err)
	}
}

// The URL of a ping is not shown, wherever it stands and whatever is wrong with it.
func TestPingURLIsNeverShown(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	for _, url := range []string{w.service.URL + "/wrong/s3cret", "http://hc.example/s3cret", "ftp://hc.example/s3cret", "https://s3cret s3cret", "://s3cret", "https:///s3cret"} {
		for _, where := range []string{"flag", "variable", "configuration"} {
			args := []string{"backup", "good", "-v", "--json"}
			top := ""
			delete(w.vars, pingVariable)
			switch where {
			case "flag":
				args = append(args, "--ping-url", url)
			case "variable":
				w.vars[pingVariable] = url
			case "configuration":
				top = fmt.Sprintf("ping_url = '%s'\n", url)
			}
			w.configure(top, "")
			code, stdout, stderr := w.call(args...)
			if strings.Contains(stdout+stderr, "s3cret") || stderr == "" {
				t.Errorf("%s %s: %s%s", where, url, stdout, stderr)
			}
			if want := strings.HasPrefix(url, "http://127"); (code == exitDone) != want || (code == exitUsage) == want {
				t.Errorf("%s %s: got exit %d", where, url, code)
			}
		}
	}
	// A configuration that others can read must not hold one.
	w.configure("ping_url = 'https://hc.example/s3cret'\n", "")
	if err := os.Chmod(filepath.Join(w.dir, ".config", "postbag", "config.toml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := w.call("backup", "good"); code != exitUsage || !regexp.MustCompile(`holds a ping_url and can be read`).MatchString(stderr) {
		t.Errorf("got exit %d, %s", code, stderr)
	}
}
