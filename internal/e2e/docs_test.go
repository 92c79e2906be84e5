package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"postbag/internal/demo"
)

// The documentation is run: what it tells people to type works, as it stands.

// root is the directory of the project.
var root = filepath.Join("..", "..")

// documents are the files of the documentation, the first one first.
func documents(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) < 5 {
		t.Fatalf("got documents %q, %v", files, err)
	}
	return append([]string{filepath.Join(root, "README.md")}, files...)
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fence is a block of code in a document.
type fence struct {
	file string
	line int // of its first line
	lang string
	text string
}

func (f fence) String() string { return fmt.Sprintf("%s:%d", filepath.Base(f.file), f.line) }

// fences are the blocks of code of a document, in order.
func fences(t testing.TB, path string) []fence {
	t.Helper()
	var list []fence
	var now *fence
	n := 0
	for line := range strings.Lines(read(t, path)) {
		n++
		lang, mark := strings.CutPrefix(line, "```")
		switch {
		case mark && now == nil:
			now = &fence{file: path, line: n + 1, lang: strings.TrimSpace(lang)}
		case mark:
			list = append(list, *now)
			now = nil
		case now != nil:
			now.text += line
		}
	}
	if now != nil {
		t.Errorf("%s is not closed", now)
	}
	return list
}

// reader is somebody who types what the documentation says: with a home of their
// own, a program "pass" that knows the password, and a server where the
// documentation has imap.example.org.
type reader struct {
	t      *testing.T
	home   string
	server *demo.Server // nil when it is another
	pings  *pings       // of the service behind docPingHost; nil when there is none
	addr   string       // of the server, by TLS
	env    []string
}

// docNewHost is where people move to; here it is the same server.
const docHost, docNewHost, docUser, docPassword = "imap.example.org", "imap.example.net", "me", "Pa55 word"

// newReader makes one. before is asked before the server does anything; it may be
// nil.
func newReader(t *testing.T, before func(user, verb, mailbox string) error) *reader {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs a system where SSL_CERT_FILE names the certificates to trust")
	}
	need(t, "sh")
	server, err := demo.Start(context.Background(), demo.Options{Users: map[string]string{docUser: docPassword, "you": docPassword}, TLS: true, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if err := server.Account(docUser).Fill(demo.Corpus(20, 60)); err != nil {
		t.Fatal(err)
	}
	r := newReaderOf(t, server.TLSAddr(), docPassword, server.Certificate())
	r.server, r.pings = server, newPings(t, server.Certificate())
	return r
}

// newReaderOf is a reader whose server is another one than the demo's.
func newReaderOf(t *testing.T, addr, password string, certificate *demo.Certificate) *reader {
	t.Helper()
	home := scratch(t)
	r := &reader{t: t, home: home, addr: addr}
	bin := filepath.Join(home, "bin")
	r.write("ca.pem", 0o600, string(certificate.CA))
	r.write("bin/pass", 0o700, "#!/bin/sh\n[ \"$1\" = show ] && echo '"+password+"'\n")
	golang, cache := r.golang()
	// The tests are not run within the tests. What is run is found in the cache.
	r.write("bin/go", 0o700, fmt.Sprintf(`#!/bin/sh
case "$*" in
"install .") ;;
test\ *) ;;
"run . demo") cd '%s' && %s CGO_ENABLED=0 exec '%s' run . demo ;;
*) echo "go $*: the test of the documentation does not know this" >&2; exit 64 ;;
esac
`, r.absolute(root), cache, golang))
	if err := os.Symlink(program, filepath.Join(bin, "postbag")); err != nil {
		t.Fatal(err)
	}
	r.env = []string{"HOME=" + home, "PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "TZ=UTC",
		"SSL_CERT_FILE=" + filepath.Join(home, "ca.pem"), "SSL_CERT_DIR=" + home}
	return r
}

// golang is the Go command, and the environment that makes it find its caches
// whatever HOME is.
func (r *reader) golang() (path, env string) {
	r.t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := exec.Command(path, "env", "GOCACHE", "GOMODCACHE").Output()
	dirs := strings.Fields(string(out))
	if err != nil || len(dirs) != 2 {
		r.t.Fatalf("go env: %q, %v", out, err)
	}
	return path, fmt.Sprintf("GOCACHE='%s' GOMODCACHE='%s'", dirs[0], dirs[1])
}

func (r *reader) absolute(path string) string {
	r.t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		r.t.Fatal(err)
	}
	return abs
}

func (r *reader) write(name string, mode os.FileMode, text string) {
	r.t.Helper()
	path := filepath.Join(r.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
}

// here is text with the server that is there in place of the example.
func (r *reader) here(text string) string {
	pairs := []string{docHost, r.addr, docNewHost, r.addr}
	if r.pings != nil {
		pairs = append(pairs, docPingHost, r.pings.addr)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// sh runs a script in the way that somebody does who stops at the first error.
func (r *reader) sh(script string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env, cmd.Dir = &out, &errs, r.env, r.home
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// follow does what one fence says.
func (r *reader) follow(f fence) {
	r.t.Helper()
	text := r.here(f.text)
	switch f.lang {
	case "sh":
		r.run(f, text)
	case "crontab":
		r.crontab(f, text)
	case "toml":
		r.toml(f, text)
	case "sql":
		r.sql(f, text)
	case "muttrc":
		r.muttrc(f, text)
	case "systemd":
		r.systemd(f, text)
	case "", "text", "json": // a drawing, an output
	default:
		r.t.Errorf("%s: nobody knows how to test a block of %q", f, f.lang)
	}
}

// run runs a script: it succeeds, and complains of nothing.
func (r *reader) run(f fence, script string) {
	r.t.Helper()
	began := time.Now()
	stdout, stderr, err := r.sh(script)
	if err != nil || stderr != "" {
		r.t.Errorf("%s: %v\n%s\nstdout: %s\nstderr: %s", f, err, script, clip(stdout), clip(stderr))
	}
	r.t.Logf("%s: %v", f, time.Since(began).Round(time.Millisecond))
}

// crontab runs the commands of a crontab, without the five fields that say when.
// They are silent: cron makes a mail of anything else.
func (r *reader) crontab(f fence, text string) {
	r.t.Helper()
	line := regexp.MustCompile(`^(?:[0-9*,/-]+\s+){5}([^%\n]*\S)\n$`) // cron takes a % for the end of a line
	variable := regexp.MustCompile(`^([A-Z_]+)=(\S+)\n$`)
	env := r.env
	defer func() { r.env = env }()
	for entry := range strings.Lines(text) {
		if m := variable.FindStringSubmatch(entry); m != nil { // for the lines below it
			r.env = append(slices.Clone(r.env), m[1]+"="+m[2])
			continue
		}
		m := line.FindStringSubmatch(entry)
		if m == nil {
			r.t.Errorf("%s: no line of a crontab: %q", f, entry)
			continue
		}
		stdout, stderr, err := r.sh(m[1])
		if err != nil || stdout+stderr != "" {
			r.t.Errorf("%s: %s: %v\nstdout: %s\nstderr: %s", f, m[1], err, clip(stdout), clip(stderr))
		}
	}
}

// toml reads a configuration, or a part of an account's, with the program. A
// whole one becomes the reader's own.
func (r *reader) toml(f fence, text string) {
	r.t.Helper()
	name := ".config/postbag/config.toml"
	if !strings.Contains(text, "[accounts.") {
		name = "part.toml"
		text = "[accounts.part]\nserver = 'imaps://me@h.example'\nmaildir = 'none'\n" + text
	}
	r.write(name, 0o600, text)
	command := "postbag status --config " + name
	if !strings.Contains(text, "maildir") { // accounts to migrate between
		command = ""
		for _, m := range regexp.MustCompile(`(?m)^\[accounts\.(\w+)\]`).FindAllStringSubmatch(text, -1) {
			command += "postbag mailboxes " + m[1] + " --config " + name + "\n"
		}
	}
	stdout, stderr, err := r.sh(command)
	if err != nil || stderr != "" || stdout == "" {
		r.t.Errorf("%s: %v\n%s\n%s%s", f, err, text, stdout, stderr)
	}
}

// muttrc becomes the reader's own; mutt, where there is one, understands it.
func (r *reader) muttrc(f fence, text string) {
	r.t.Helper()
	r.write("muttrc", 0o600, text)
	if mutt, err := exec.LookPath("mutt"); err == nil {
		if stdout, stderr, err := r.sh(mutt + " -n -F muttrc -Q folder -Q trash"); err != nil || stderr != "" {
			r.t.Errorf("%s: %v\n%s%s", f, err, stdout, stderr)
		}
	}
}

// systemd runs what a unit starts.
func (r *reader) systemd(f fence, text string) {
	r.t.Helper()
	for line := range strings.Lines(text) {
		if command, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart=%h/go/bin/"); ok {
			r.crontab(f, "* * * * * "+strings.ReplaceAll(command, "%h", r.home)+"\n")
		} else if strings.HasPrefix(line, "Exec") {
			r.t.Errorf("%s: nobody knows how to test %q", f, line)
		}
	}
}

// sql asks the state of the account "work"; there is an answer.
func (r *reader) sql(f fence, query string) {
	r.t.Helper()
	path := filepath.Join(r.home, "mail", "work", ".postbag", "state.db")
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		r.t.Errorf("%s: %v\n%s", f, err, query)
		return
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if err := rows.Err(); err != nil || n == 0 {
		r.t.Errorf("%s: got %d rows, %v\n%s", f, n, err, query)
	}
	if sqlite, err := exec.LookPath("sqlite3"); err == nil {
		out, err := exec.Command(sqlite, "-readonly", path, query).CombinedOutput()
		if err != nil || strings.Count(string(out), "\n") != n {
			r.t.Errorf("%s: sqlite3: %v, got %q, want %d rows", f, err, out, n)
		}
	}
}

// Every command, configuration and query of the documentation works, in the order
// in which it is read.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	r := newReader(t, nil)
	langs := map[string]int{}
	for i, path := range documents(t) {
		for _, f := range fences(t, path) {
			langs[f.lang]++
			r.follow(f)
		}
		if i == 0 { // the README: time goes by
			account := r.server.Account(docUser)
			if err := account.Expunge("INBOX", account.Messages("INBOX")[0].UID); err != nil {
				t.Fatal(err)
			}
			if _, stderr, err := r.sh("postbag backup -q"); err != nil || stderr != "" {
				t.Fatalf("%v: %s", err, stderr)
			}
		}
	}
	for _, lang := range []string{"sh", "crontab", "toml", "sql"} {
		if langs[lang] == 0 {
			t.Errorf("no block of %s was found", lang)
		}
	}
	if _, stderr, err := r.sh("postbag verify --deep -q"); err != nil {
		t.Errorf("in the end: %v: %s", err, stderr)
	}
}

// help is what the program says of itself, or of a command.
func help(t *testing.T, command string) string {
	t.Helper()
	a := &account{home: t.TempDir()}
	return a.run(t, append([]string{"help"}, strings.Fields(command)...)...).want(t, 0).stdout
}

// commandsIn are the commands that a help lists.
func commandsIn(help string) (names []string) {
	_, list, _ := strings.Cut(help, "\nCommands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for line := range strings.Lines(list) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		names = append(names, name)
	}
	return names
}

// commands are the commands that the help lists, and then those that they are.
func commands(t *testing.T) []string {
	t.Helper()
	names := commandsIn(help(t, ""))
	if len(names) < 5 {
		t.Fatalf("got commands %q", names)
	}
	for _, name := range names {
		names = append(names, commandsIn(help(t, name))...)
	}
	return names
}

// The README has all commands, in the order of the help.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(read(t, filepath.Join(root, "README.md")), -1) {
		got = append(got, m[1])
	}
	if want := commandsIn(help(t, "")); !slices.Equal(got, want) {
		t.Errorf("README: got %q, want %q", got, want)
	}
}

// The exit codes are the same in the help, in the README and in their document.
func TestDocumentedExitCodes(t *testing.T) {
	t.Parallel()
	codes := func(text, line string) (list []string) {
		for _, m := range regexp.MustCompile(line).FindAllStringSubmatch(text, -1) {
			list = append(list, strings.Join(m[1:], " "))
		}
		return list
	}
	text := help(t, "backup")
	_, text, _ = strings.Cut(text, "\nExit codes:\n")
	want := codes(text, `(?m)^ +(\d+)  (.*)$`)
	if len(want) != 10 {
		t.Fatalf("the help has exit codes %q", want)
	}
	if got := codes(read(t, filepath.Join(root, "README.md")), `(?m)^\| (\d+) \| (.*?) \|$`); !slices.Equal(got, want) {
		t.Errorf("README: got %q\nwant %q", got, want)
	}
	document := read(t, filepath.Join(root, "docs", "exit-codes.md"))
	numbers := codes(text, `(?m)^ +(\d+)  `)
	if got := codes(document, `(?m)^\| (\d+) \|`); !slices.Equal(got, numbers) {
		t.Errorf("docs/exit-codes.md: got %q, want %q", got, numbers)
	}
	order := codes(help(t, "backup"), `in the order ([0-9, ]+)\.`)
	if got := codes(strings.ReplaceAll(document, "\n", " "), `in the order +([0-9, ]+):`); !slices.Equal(got, order) || len(order) != 1 {
		t.Errorf("the order of exit codes: got %q, want %q", got, order)
	}
}

// Every flag that the documentation names is there, and every flag is named, or
// is the flag of a configuration key.
func TestDocumentedFlags(t *testing.T) {
	t.Parallel()
	flag := regexp.MustCompile("(?:^|[ `(])(--[a-z][a-z-]+|-[a-z]\\b)")
	there := map[string]string{"--help": "--help", "--version": "--version"} // by both names: the long one
	for _, command := range commands(t) {
		for _, m := range regexp.MustCompile(`(?m)^  (?:(-\w), )?(--[a-z-]+)`).FindAllStringSubmatch(help(t, command), -1) {
			there[m[2]] = m[2]
			if m[1] != "" {
				there[m[1]] = m[2]
			}
		}
	}
	named := map[string]bool{"--help": true, "--version": true}
	for _, path := range documents(t) {
		text := read(t, path)
		for line := range strings.Lines(text) {
			if regexp.MustCompile(`\b(mbsync|doveadm|go|tail|apt-get|systemctl) .*-`).MatchString(line) && !strings.Contains(line, "postbag ") {
				continue // flags of others
			}
			for _, m := range flag.FindAllStringSubmatch(line, -1) {
				named[there[m[1]]] = true
				if there[m[1]] == "" && len(m[1]) > 2 {
					t.Errorf("%s names %s, which no command has: %s", filepath.Base(path), m[1], line)
				}
			}
		}
		if filepath.Base(path) == "configuration.md" {
			for _, m := range regexp.MustCompile("(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\|").FindAllStringSubmatch(text, -1) {
				for _, key := range regexp.MustCompile(`[a-z_]+`).FindAllString(m[1], -1) {
					named["--"+strings.ReplaceAll(key, "_", "-")] = true
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Values(there)) {
		if !named[name] {
			t.Errorf("no document names %s", name)
		}
	}
}
