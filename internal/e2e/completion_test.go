package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// completions are what each shell has to make of a line.
var completions = []struct {
	line string
	want []string
	not  []string
}{
	{"postbag ba", []string{"backup"}, []string{"sync"}},
	{"postbag backup ", []string{"work", "home"}, nil},
	{"postbag backup --dry-run wo", []string{"work"}, []string{"home"}},
	{"postbag backup --lay", []string{"--layout"}, []string{"--mirror"}},
	{"postbag sync --policy pu", []string{"push"}, []string{"mirror"}},
	{"postbag trash e", []string{"empty"}, []string{"list"}},
	{"postbag completion z", []string{"zsh"}, nil},
	{"postbag help mig", []string{"migrate"}, nil},
	{"postbag status --config oth", []string{"other.toml"}, []string{"work"}},
}

// completer is a reader with accounts, and the script of a shell.
func completer(t *testing.T, shell string) *reader {
	t.Helper()
	need(t, shell)
	r := newReader(t, nil)
	r.write(".config/postbag/config.toml", 0o600, "[accounts.work]\nserver = 'imaps://me@h.example'\nmaildir = 'w'\n[accounts.home]\nserver = 'imaps://me@h.example'\nmaildir = 'h'\n")
	r.write("other.toml", 0o600, "")
	stdout, stderr, err := r.sh("postbag completion " + shell)
	if err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	r.write("script", 0o600, stdout)
	return r
}

// output is what a shell says.
func (r *reader) output(shell string, args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, args...)
	cmd.Env, cmd.Dir = r.env, r.home
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Errorf("%s: %v\n%s", shell, err, out)
	}
	return string(out)
}

func checkCompletion(t *testing.T, line string, got, want, not []string) {
	t.Helper()
	for _, word := range want {
		if !slices.Contains(got, word) {
			t.Errorf("%q: %q is not offered in %q", line, word, got)
		}
	}
	for _, word := range not {
		if slices.Contains(got, word) {
			t.Errorf("%q: %q is offered in %q", line, word, got)
		}
	}
}

// In bash, the function that "complete" has for postbag fills COMPREPLY; where it
// finds nothing and a path is wanted, bash offers paths.
func TestBashCompletion(t *testing.T) {
	t.Parallel()
	r := completer(t, "bash")
	for _, c := range append(completions, struct {
		line string
		want []string
		not  []string
	}{`postbag backup --mailbox \\Se`, []string{`\\Sent`}, nil}) {
		words := strings.Split(c.line, " ")
		script := fmt.Sprintf(`source ./script
complete -p postbag | grep -q -- '-o default -F _postbag postbag' || exit 3
COMP_WORDS=(%s) COMP_CWORD=%d
_postbag
printf '%%s\n' "${COMPREPLY[@]}"
[ ${#COMPREPLY[@]} -gt 0 ] || compgen -f -- "${COMP_WORDS[COMP_CWORD]}"
`, "'"+strings.Join(words, "' '")+"'", len(words)-1)
		checkCompletion(t, c.line, strings.Split(r.output("bash", "--norc", "-c", script), "\n"), c.want, c.not)
	}
}

// In an interactive zsh, the tab key completes.
func TestZshCompletion(t *testing.T) {
	t.Parallel()
	r := completer(t, "zsh")
	r.write("functions/_postbag", 0o644, read(t, filepath.Join(r.home, "script")))
	for _, c := range completions {
		script := fmt.Sprintf(`zmodload zsh/zpty
zpty shell 'TERM=dumb COLUMNS=200 zsh -f -i'
zpty -w shell "PROMPT='ready> '; fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D; unsetopt menucomplete automenu; zstyle ':completion:*' list-prompt ''; LISTMAX=1000; setopt list_ambiguous; bindkey '^I' complete-word; echo set-''up"
zpty -r shell seen '*set-up*ready> *'
zpty -n -w shell %s
sleep 0.1
zpty -n -w shell $'\t'
out=
for i in {1..100}; do
	while zpty -rt shell part; do out+=$part; done
	[[ ${out//[[:cntrl:]]/} == *%s* ]] && break
	sleep 0.1
done
sleep 0.3
while zpty -rt shell part; do out+=$part; done
print -r -- "$out"
zpty -d shell
`, filepath.Join(r.home, "functions"), "'"+c.line+"'", c.want[len(c.want)-1])
		out := r.output("zsh", "-f", "-c", script)
		got := regexp.MustCompile(`[\w./-]+`).FindAllString(regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]|[\x00-\x08\x0e-\x1f]`).ReplaceAllString(out, ""), -1)
		checkCompletion(t, c.line, got, c.want, c.not)
		if t.Failed() {
			t.Fatalf("%q", out)
		}
	}
}

// fish offers what "complete" tells it.
func TestFishCompletion(t *testing.T) {
	t.Parallel()
	r := completer(t, "fish")
	for _, c := range completions {
		var got []string
		for line := range strings.Lines(r.output("fish", "--no-config", "-c", fmt.Sprintf("source ./script; complete -C '%s'", c.line))) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			got = append(got, word)
		}
		checkCompletion(t, c.line, got, c.want, c.not)
	}
}

// man and mandoc read the manual page without a complaint, and every command and
// every flag is in it.
func TestManualPage(t *testing.T) {
	t.Parallel()
	r := newReader(t, nil)
	page, stderr, err := r.sh("postbag man")
	if err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	r.write("postbag.1", 0o644, page)
	var rendered []string
	if _, err := exec.LookPath("mandoc"); err == nil {
		if out := r.output("mandoc", "-T", "lint", "-W", "style", "postbag.1"); out != "" {
			t.Errorf("mandoc: %s", out)
		}
		rendered = append(rendered, r.output("mandoc", "-T", "utf8", "postbag.1"))
	} else {
		need(t, "mandoc")
	}
	need(t, "man")
	r.env = append(r.env, "MANWIDTH=80", "LC_ALL=C.UTF-8")
	if out := r.output("sh", "-c", "man --warnings -l postbag.1 2>&1 >/dev/null"); out != "" {
		t.Errorf("man: %s", out)
	}
	rendered = append(rendered, r.output("man", "-l", "postbag.1"))
	for _, text := range rendered {
		text = regexp.MustCompile(`.\x08`).ReplaceAllString(text, "") // bold, as on a printer
		for _, command := range commands(t) {
			if !strings.Contains(text, "postbag "+command+"\n") {
				t.Errorf("%s is not in the page", command)
			}
			for _, m := range regexp.MustCompile(`(?m)^  (?:-\w, )?(--[a-z-]+)`).FindAllStringSubmatch(help(t, command), -1) {
				if !regexp.MustCompile(`(?m)^ +(-\w, )?` + m[1] + `( [A-Z0-9=/]+)?( |$)`).MatchString(text) {
					t.Errorf("%s: %s is not in the page", command, m[1])
				}
			}
		}
		for _, code := range []string{"130 ", "FILES", "EXIT STATUS", "ENVIRONMENT"} {
			if !strings.Contains(text, code) {
				t.Errorf("%s is not in the page", code)
			}
		}
	}
}
