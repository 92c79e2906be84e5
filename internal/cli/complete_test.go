package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"postbag/internal/auth"
	"postbag/internal/config"
)

// free are the placeholders of values that nobody can list, and of paths and
// mailboxes, which are completed by what they are.
var free = []string{"AGE", "COMMAND", "DATE", "FILE", "DIR", "FROM=TO", "I/N", "ID", "MAILBOX", "N", "NAME", "PATTERN", "RATE", "SHA256", "SIZE", "TEXT", "URL"}

// Every flag that takes one of a few words is completed: a flag that comes later has
// a placeholder of free, or its words in choices.
func TestEveryFlagIsCompleted(t *testing.T) {
	t.Parallel()
	for _, cmd := range leaves(commands(&session{})) {
		for _, f := range cmd.Flags {
			name := f.Names()[0]
			value := placeholder(f)
			if _, isBool := f.(*cli.BoolFlag); isBool != (value == "") {
				t.Errorf("%s --%s: got placeholder %q", fullName(cmd), name, value)
			}
			words, _ := choices(f)
			if value != "" && words == nil && !slices.Contains(free, value) {
				t.Errorf("%s --%s %s: list its words in its text after the placeholder and a colon, or in choices, or say in free that nobody can list them", fullName(cmd), name, value)
			}
		}
	}
}

// The words that are offered are the ones that are taken.
func TestChoicesAreTaken(t *testing.T) {
	t.Parallel()
	for flag, parse := range map[string]func(string) error{
		"policy":     func(s string) error { _, err := config.ParsePolicy(s); return err },
		"layout":     func(s string) error { _, err := config.ParseLayout(s); return err },
		"gmail":      func(s string) error { _, err := config.ParseGmail(s); return err },
		"refused":    func(s string) error { _, err := config.ParseRefused(s); return err },
		"fix":        func(s string) error { _, err := config.ParseFix([]string{s}); return err },
		"auth":       func(s string) error { _, err := auth.ParseMechanism(s); return err },
		"to-auth":    func(s string) error { _, err := auth.ParseMechanism(s); return err },
		"to-server":  func(s string) error { _, err := config.ParseOperations([]string{s}); return err },
		"to-maildir": func(s string) error { _, err := config.ParseOperations([]string{s}); return err },
	} {
		words, _ := choices(&cli.StringFlag{Name: flag})
		if len(words) < 2 || parse("no such word") == nil {
			t.Errorf("%s: got choices %q", flag, words)
		}
		for _, word := range words {
			if err := parse(word); err != nil {
				t.Errorf("%s: %v", flag, err)
			}
		}
	}
	for usage, want := range map[string]string{
		"write `FORMAT`: mbox, eml, zip, tar, tar.gz or tar.zst (default: by name)": "mbox eml zip tar tar.gz tar.zst",
		"with the flag `WORD`: seen, answered, draft or a keyword; may be repeated": "seen answered draft",
		"the `DATE`: 2024-01-31, or 90d for 90 days ago":                            "",
	} {
		if words, _ := choices(&cli.StringFlag{Name: "f", Usage: usage}); strings.Join(words, " ") != want {
			t.Errorf("%s: got %q, want %q", usage, words, want)
		}
	}
	for _, role := range roles {
		if _, err := config.ParsePatterns([]string{string(role)}); err != nil {
			t.Error(err)
		}
	}
}

// What a script of completion is told, for bash, which wants what begins as the
// word does, written as it is typed.
func TestComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	account := "[accounts.%]\nserver = 'imaps://me@h.example'\nmaildir = 'm'\n"
	for name, text := range map[string]string{
		filepath.Join(".config", "postbag", "config.toml"): strings.ReplaceAll(account, "%", "work") + strings.ReplaceAll(account, "%", "home"),
		"other.toml": strings.ReplaceAll(account, "%", "other"), "broken.toml": "[",
	} {
		path := filepath.Join(w.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ line, want string }{
		{"ba", "backup"},
		{"backup --po", ""},
		{"sync --po", "--policy"},
		{"sync --to-s", "--to-server"},
		{"sync --policy p", "push"},
		{"sync --policy = p", "push"},
		{"sync --policy =", "sync backup mirror push"},
		{"sync --policy=p", "--policy=push"},
		{"sync --to-server new,fl", "new,flags"},
		{"--layout f", "flat"},
		{"backup --refused ", "skip fail"},
		{"sync --auth x", "xoauth2"},
		{"migrate a b --to-auth oa", "oauthbearer"},
		{"backup ", "home work :files"},
		{"backup w", "work :files"},
		{"backup work h", "home :files"},
		{"backup --dry-run w", "work :files"},
		{"backup --config other.toml ", "other :files"},
		{"backup --config=other.toml ", "other :files"},
		{"backup --config broken.toml ", ":files"},
		{"backup --config o", ":files"},
		{"backup --since 90", ""},
		{"backup --mailbox I", "INBOX"},
		{`backup --mailbox \\S`, `\\Sent`},
		{`backup --mailbox '\S`, `\Sent`},
		{`backup --mailbox "\\S`, `\\Sent`},
		{`backup --mailbox '!\Ju`, `!\Junk`},
		{"migrate w", "work :files"},
		{"trash ", "list restore empty"},
		{"trash e", "empty"},
		{"trash list w", "work :files"},
		{"trash list --rem", "--removed-since"},
		{"completion ", "bash zsh fish"},
		{"help tr", "trash"},
		{"help trash em", "empty"},
		{"he", "help"},
		{"--ver", "--version"},
		{"backup --he", "--help"},
		{"backup -- --d", ":files"},
		{"nosuch ", ""},
		{"version ", ""},
	} {
		words := strings.Split(test.line, " ")
		var stdout, stderr lockedBuffer
		if code := Main(append([]string{completeWord, "bash"}, words...), w.env(&stdout, &stderr)); code != 0 || stderr.String() != "" {
			t.Errorf("%s: got exit %d, %s", test.line, code, stderr.String())
		}
		if got := strings.Join(strings.Fields(stdout.String()), " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.line, got, test.want)
		}
	}
	var stdout, stderr lockedBuffer
	Main([]string{completeWord, "fish", "sync", "--policy=p"}, w.env(&stdout, &stderr))
	if got, want := stdout.String(), "--policy=sync\t\n--policy=backup\t\n--policy=mirror\t\n--policy=push\t\n"; got != want {
		t.Errorf("fish: got %q, want %q", got, want)
	}
}

// Every command and each of its flags is offered.
func TestEveryCommandIsCompleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	ask := func(words ...string) []string {
		var stdout, stderr lockedBuffer
		Main(append([]string{completeWord, "bash"}, words...), w.env(&stdout, &stderr))
		return strings.Split(stdout.String(), "\n")
	}
	for _, cmd := range leaves(commands(&session{})) {
		words := strings.Fields(fullName(cmd))
		last := len(words) - 1
		if got := ask(append(slices.Clone(words[:last]), words[last][:1])...); !slices.Contains(got, words[last]) {
			t.Errorf("%s is not offered in %q", fullName(cmd), got)
		}
		got := ask(append(words, "--")...)
		for _, f := range cmd.Flags {
			if !slices.Contains(got, "--"+f.Names()[0]) {
				t.Errorf("%s: --%s is not offered in %q", fullName(cmd), f.Names()[0], got)
			}
		}
	}
}
