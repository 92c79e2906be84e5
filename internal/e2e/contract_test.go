package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The tests of this file hold the built program to docs/scripting.md, each command of
// it, also those that come later.

// runnable are the commands that can be run: those that are several are not.
func runnable(t *testing.T) (list []string) {
	t.Helper()
	all := commands(t)
	for _, name := range all {
		if !slices.ContainsFunc(all, func(other string) bool { return strings.HasPrefix(other, name+" ") }) {
			list = append(list, name)
		}
	}
	return list
}

// exit runs a script of bash and answers with its exit code.
func (r *reader) exit(script string) (code int, stdout, stderr string) {
	r.t.Helper()
	stdout, stderr, err := r.sh(script)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode(), stdout, stderr
	} else if err != nil {
		r.t.Fatal(err)
	}
	return 0, stdout, stderr
}

// complaint checks that each line of stderr is an error of ours or a hint.
func complaint(t *testing.T, command, stderr string) {
	t.Helper()
	if !strings.HasPrefix(stderr, "postbag: ") {
		t.Errorf("%s: got stderr %q", command, clip(stderr))
	}
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "postbag: ") && !strings.HasPrefix(line, "hint: ") {
			t.Errorf("%s: got a line %q on stderr", command, line)
		}
	}
}

// What is wrong with a command line, or with what it names, is told in the same way
// by every command: on stderr, with an exit code that is documented, and with --json
// as objects of which the last one is a summary. Flags may stand anywhere.
func TestEveryCommandFailsAlike(t *testing.T) {
	t.Parallel()
	r := newReader(t, nil)
	for _, command := range runnable(t) {
		if code, stdout, stderr := r.exit("postbag " + command + " --no-such-flag"); code != 2 || stdout != "" {
			t.Errorf("%s --no-such-flag: got exit %d, stdout %q", command, code, stdout)
		} else {
			complaint(t, command, stderr)
		}
		if !strings.Contains(help(t, command), "\n  --json ") {
			continue
		}
		lines := map[string]string{}
		for _, line := range []string{"%s ./no/such/place --json", "--json %s ./no/such/place", "%s --json=true ./no/such/place", "%s nosuchaccount --json", "%s --json --no-such-flag", "%s --json extra arguments that nobody wants"} {
			line = fmt.Sprintf(line, command)
			code, stdout, stderr := r.exit("postbag " + line)
			lines[line] = fmt.Sprint(code)
			if code == 0 {
				t.Errorf("%s: got exit 0\n%s", line, clip(stdout))
				continue
			}
			complaint(t, line, stderr)
			failed := false
			for text := range strings.Lines(stdout) {
				var object map[string]any
				if err := json.Unmarshal([]byte(text), &object); err != nil || object["event"] == "" {
					t.Errorf("%s: %v: %q", line, err, clip(text))
				}
				failed = failed || object["event"] == "error" && object["exit"] == float64(code) && strings.Contains(stderr, fmt.Sprint(object["message"]))
			}
			if !failed {
				t.Errorf("%s: no object has the error\n%s%s", line, clip(stdout), clip(stderr))
			}
			if sum := summaryOf(stdout); sum["event"] != "summary" || sum["exit"] != float64(code) || sum["command"] != command || sum["outcome"] == "done" {
				t.Errorf("%s: exit %d, and the last object is %v", line, code, sum)
			}
		}
		// Streams that are closed change nothing.
		line := command + " ./no/such/place --json"
		if code, _, _ := r.exit("postbag " + line + " <&- >&- 2>&-"); fmt.Sprint(code) != lines[line] {
			t.Errorf("%s: got exit %d with all streams closed, else %s", line, code, lines[line])
		}
	}
}

// A reader that goes away, and a disk that is full, end no command in disorder.
func TestEveryCommandWhereNobodyReads(t *testing.T) {
	t.Parallel()
	need(t, "bash")
	r := newReader(t, nil)
	r.write(".config/postbag/config.toml", 0o600, r.here("[accounts.work]\nserver = 'imaps://me@imap.example.org'\nmaildir = '~/mail/work'\npassword.command = 'pass show mail'\n"))
	if _, stderr, err := r.sh("postbag backup -q"); err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	arguments := map[string]string{"demo": "", "version": "", "man": "", "completion": "bash"}
	for _, command := range runnable(t) {
		argument, known := arguments[command]
		if !known {
			argument = "work"
		}
		if command == "demo" && testing.Short() {
			continue
		}
		for _, line := range []string{"help " + command, command + " " + argument} {
			want, _, _ := r.exit("postbag " + line)
			code, stdout, stderr := r.exit(`bash -c 'postbag ` + line + ` | true; exit ${PIPESTATUS[0]}'`)
			if code != want || stdout != "" || strings.Contains(stderr, "panic") || want == 0 && stderr != "" {
				t.Errorf("%s, and nobody reads: got exit %d, want %d\n%s", line, code, want, clip(stderr))
			}
			if _, text, _ := r.exit("postbag " + line); text == "" { // nothing to write
				continue
			}
			code, _, stderr = r.exit("postbag " + line + " > /dev/full")
			if code == 0 || want == 0 && (code != 1 || stderr != "postbag: stdout: no space left on device\n") {
				t.Errorf("%s > /dev/full: got exit %d, else %d\n%s", line, code, want, clip(stderr))
			}
		}
	}
}

// With -q a command that does what it should says nothing, on no stream.
func TestQuiet(t *testing.T) {
	t.Parallel()
	r := newReader(t, nil)
	r.write(".config/postbag/config.toml", 0o600, r.here("[accounts.work]\nserver = 'imaps://me@imap.example.org'\nmaildir = '~/mail/work'\npassword.command = 'pass show mail'\n"))
	arguments := map[string]string{
		"migrate": "work imaps://you@" + r.addr + " --to-password-command 'pass show mail'", "trash restore": "work --all",
	}
	silent := 0
	for _, command := range append([]string{"backup"}, runnable(t)...) {
		if !strings.Contains(help(t, command), "  -q, --quiet ") {
			continue
		}
		argument, known := arguments[command]
		if !known {
			argument = "work"
		}
		code, stdout, stderr := r.exit("postbag -q " + command + " " + argument)
		if code == 0 && stdout+stderr != "" || code != 0 && stderr == "" {
			t.Errorf("%s -q: got exit %d, %q, %q", command, code, clip(stdout), clip(stderr))
		}
		if code == 0 {
			silent++
		}
	}
	if silent < 8 {
		t.Errorf("only %d commands succeeded", silent)
	}
}
