package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"postbag/internal/auth"
	"postbag/internal/demo"
)

var update = flag.Bool("update", false, "renew the golden files")

// A script under testdata is what a user would see. Lines "$ postbag ..." are
// run, "% ..." calls a hook, the others are the output: stdout as it is, stderr
// after "! ", and a last line "= N" with the exit code unless it is 0. Words are
// split as by a shell. HOME and the working directory are DIR; ADDR is an IMAP
// server with the accounts me and you, whose password is in the variable PW.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := exec.LookPath("sh"); err != nil && strings.Contains(string(want), "'sh ") {
				t.Skip("there is no sh")
			}
			got := runScript(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs; renew it with -update if that is right:\n%s", file, diff(string(want), got))
			}
		})
	}
}

// world is where a script runs.
type world struct {
	t      *testing.T
	dir    string
	server *demo.Server
	vars   map[string]string
}

func runScript(t *testing.T, script string) string {
	w := newWorld(t, strings.Contains(script, "ADDR"))
	var out strings.Builder
	block := "" // of comments and hooks, or of a command and its output
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		if kind != "#" && kind != "%" && kind != "$" {
			continue
		}
		if block == "$" {
			out.WriteString("\n")
		}
		block = kind
		out.WriteString(line + "\n")
		switch kind {
		case "%":
			w.hook(strings.Fields(rest))
		case "$":
			words, err := auth.SplitCommand(w.fill(rest))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			out.WriteString(w.run(words[1:]))
		}
	}
	return out.String()
}

func newWorld(t *testing.T, server bool) *world {
	w := &world{t: t, dir: t.TempDir(), vars: map[string]string{"PW": "secret", "BAD": "wrong", "EMPTY": ""}}
	if !server {
		return w
	}
	var err error
	w.server, err = demo.Start(context.Background(), demo.Options{Users: map[string]string{"me": "secret", "you": "secret"}, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
	if err := os.WriteFile(filepath.Join(w.dir, "ca.pem"), w.server.Certificate().CA, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// names are the words of a script that stand for what differs from run to run.
func (w *world) names() []string {
	pairs := []string{w.dir, "DIR"}
	if w.server != nil {
		pairs = append(pairs, w.server.TLSAddr(), "TLSADDR", w.server.Addr(), "ADDR")
	}
	return pairs
}

func (w *world) fill(text string) string {
	pairs := w.names()
	for i := 0; i < len(pairs); i += 2 {
		text = strings.ReplaceAll(text, pairs[i+1], pairs[i])
	}
	return text
}

var volatile = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d+\.\d s\b`), "0.0 s"},
	{regexp.MustCompile(`"elapsed_ms":\d+`), `"elapsed_ms":0`},
	{regexp.MustCompile(`"skipped":\d+`), `"skipped":0`}, // a directory that changed just now is not skipped
	{regexp.MustCompile(`\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d`), "2025-01-01 00:00:00"},
	{regexp.MustCompile(` to 2025-01-01 00:00:00`), ""}, // within a second or not
	{regexp.MustCompile(`"(started|finished|kept_since|kept_until)":"[^"]*"`), `"$1":"2025-01-01T00:00:00Z"`},
	{regexp.MustCompile(`\b[0-9a-f]{12}\.\d{10}\.[0-9A-Za-z_.\-]+\.[0-9A-Za-z_.\-]+`), "TAG.KEY"},
	{regexp.MustCompile(`\d{10}\.[0-9A-Za-z_.\-]+\.[0-9A-Za-z_.\-]+`), "KEY"},
	{regexp.MustCompile(`\d{8}T\d{6}Z`), "RUN"},
	{regexp.MustCompile(`(?m)^[0-9a-f]{8}(  \d{4}-)`), "SHORT$1"},
	{regexp.MustCompile(`"short":"[0-9a-f]{8}"`), `"short":"SHORT"`},
	{regexp.MustCompile(`"id":"[0-9a-f]{16}"`), `"id":"ID"`},
	{regexp.MustCompile(`"root":"[0-9a-f]{32}","id":"[0-9a-f]{32}"`), `"root":"ROOT","id":"NUMBER"`},
	{regexp.MustCompile(`"(validity|cursor|stamp)":"[^"]*"`), `"$1":"TEXT"`},
	{regexp.MustCompile(`"(created|last_run)":"[^"]*"`), `"$1":"2025-01-01T00:00:00Z"`},
	{regexp.MustCompile(`("version":\d+,"bytes"):\d+`), `$1:0`},
	{regexp.MustCompile(`"removed":"[^"]*"`), `"removed":"2025-01-01T00:00:00Z"`},
	{regexp.MustCompile(regexp.QuoteMeta(runtime.Version())), "go1"},
	{regexp.MustCompile(runtime.GOOS + `/` + runtime.GOARCH), "os/arch"},
	{regexp.MustCompile(`"os":"` + runtime.GOOS + `","arch":"` + runtime.GOARCH + `"`), `"os":"os","arch":"arch"`},
}

// run runs one command and answers with what a user sees.
func (w *world) run(args []string) string {
	w.t.Helper()
	var stdout, stderr lockedBuffer
	code := Main(args, w.env(&stdout, &stderr))
	out := stdout.String()
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "<no newline>\n"
	}
	for line := range strings.Lines(stderr.String()) {
		out += "! " + line
	}
	if code != 0 {
		out += fmt.Sprintf("= %d\n", code)
	}
	pairs := w.names()
	for i := 0; i < len(pairs); i += 2 {
		out = strings.ReplaceAll(out, pairs[i], pairs[i+1])
	}
	for _, v := range volatile {
		out = v.re.ReplaceAllString(out, v.with)
	}
	return out
}

func (w *world) env(stdout, stderr *lockedBuffer) Env {
	return Env{
		Stdout: stdout, Stderr: stderr, Home: w.dir, Dir: w.dir, Now: time.Now, Version: "1.2.3",
		LookupEnv: func(name string) (string, bool) { v, ok := w.vars[name]; return v, ok },
	}
}

// lockedBuffer is written to from several goroutines.
type lockedBuffer struct {
	mu gosync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// diff shows the lines that differ.
func diff(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out strings.Builder
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i++
			j++
		case j < len(b) && !contains(a[min(i, len(a)):], b[j]):
			fmt.Fprintf(&out, "got  %s\n", b[j])
			j++
		case i < len(a):
			fmt.Fprintf(&out, "want %s\n", a[i])
			i++
		default:
			fmt.Fprintf(&out, "got  %s\n", b[j])
			j++
		}
	}
	return out.String()
}

func contains(list []string, s string) bool {
	for _, one := range list {
		if one == s {
			return true
		}
	}
	return false
}
