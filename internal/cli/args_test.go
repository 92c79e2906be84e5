package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestTakeApart(t *testing.T) {
	t.Parallel()
	list := commands(&session{})
	tests := []struct {
		line, command, flags, args string
	}{
		{"backup work", "backup", "", "work"},
		{"backup work --dry-run", "backup", "--dry-run=true", "work"},
		{"backup --dry-run work", "backup", "--dry-run=true", "work"},
		{"--dry-run backup work", "backup", "--dry-run=true", "work"},
		{"--config x backup work", "backup", "--config=x", "work"},
		{"backup a --mailbox b c --mailbox=d", "backup", "--mailbox=b --mailbox=d", "a c"},
		{"backup a --mailbox=-x --mailbox=", "backup", "--mailbox=-x --mailbox=", "a"},
		{"backup a --mailbox -", "backup", "--mailbox=-", "a"},
		{"backup a -- --dry-run -v", "backup", "", "a --dry-run -v"},
		{"-- backup a", "backup", "", "a"},
		{"backup -q a -v", "backup", "--quiet=true --verbose=true", "a"},
		{"backup -qv a", "backup", "--quiet=true --verbose=true", "a"},
		{"backup a --dry-run=false --json=true", "backup", "--dry-run=false --json=true", "a"},
		{"backup - a", "backup", "", "- a"},
		{"backup a --mailbox backup", "backup", "--mailbox=backup", "a"},
		{"backup a --mailbox=a=b,c", "backup", "--mailbox=a=b,c", "a"},
		{"trash list work --json", "trash list", "--json=true", "work"},
		{"trash --json list work", "trash list", "--json=true", "work"},
		{"--removed-since 2d trash restore work list", "trash restore", "--removed-since=2d", "work list"},
		{"sync work --to-server new,flags --policy push", "sync", "--to-server=new,flags --policy=push", "work"},
		{"sync --to-server new,flags --policy push work", "sync", "--to-server=new,flags --policy=push", "work"},
	}
	for _, test := range tests {
		c, err := takeApart(strings.Fields(test.line), list)
		if err != nil || c.name() != test.command || strings.Join(c.flags, " ") != test.flags || strings.Join(c.args, " ") != test.args {
			t.Errorf("%s: got %q, %q, %q, %v", test.line, c.name(), c.flags, c.args, err)
		}
	}
	for line, want := range map[string]call{
		"help":                 {help: true},
		"--help":               {help: true},
		"backup -h":            {help: true, command: "backup"},
		"help backup":          {help: true, command: "backup"},
		"backup --nonsense -h": {help: true, command: "backup"},
		"--version":            {version: true},
		"trash -h":             {help: true, command: "trash"},
		"trash help":           {help: true, command: "trash"},
		"trash list --help":    {help: true, command: "trash", sub: "list"},
		"help trash list":      {help: true, command: "trash", sub: "list"},
		"trash help list":      {help: true, command: "trash", sub: "list"},
	} {
		got, _ := takeApart(strings.Fields(line), list)
		if got.help != want.help || got.version != want.version || got.command != want.command || got.sub != want.sub {
			t.Errorf("%s: got %+v, want %+v", line, got, want)
		}
	}
}

// A flag takes a value in every command or in none, and has one meaning:
// otherwise a flag before the command could not be read.
func TestFlagsAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	seen := map[string]flagInfo{}
	usage := map[string]string{}
	for _, cmd := range leaves(commands(&session{})) {
		for name, info := range flagsOf(cmd) {
			if before, ok := seen[name]; ok && before != info {
				t.Errorf("%s of %s: got %+v, and %+v elsewhere", name, cmd.Name, info, before)
			}
			seen[name] = info
		}
		for _, f := range cmd.Flags {
			text := f.(cli.DocGenerationFlag).GetUsage()
			if before, ok := usage[f.Names()[0]]; ok && before != text {
				t.Errorf("--%s of %s: got text %q, and %q elsewhere", f.Names()[0], cmd.Name, text, before)
			}
			usage[f.Names()[0]] = text
			if text == "" || f.(cli.CategorizableFlag).GetCategory() == "" {
				t.Errorf("--%s of %s has no text or no category", f.Names()[0], cmd.Name)
			}
		}
	}
}

func words(c call) []string {
	if c.sub == "" {
		return []string{c.command}
	}
	return []string{c.command, c.sub}
}

// Where the flags stand makes no difference.
func FuzzTakeApart(f *testing.F) {
	f.Add("backup\x00work\x00--dry-run")
	f.Add("backup\x00--mailbox\x00-x\x00--\x00-v")
	f.Add("trash\x00--json\x00list\x00help\x00a")
	f.Add("-qv\x00--mailbox=\x00backup\x00-")
	list := commands(&session{})
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		c, err := takeApart(args, list)
		if err != nil || c.help || c.version {
			return
		}
		again, err := takeApart(append(append(append([]string{}, words(c)...), c.flags...), append([]string{"--"}, c.args...)...), list)
		if strings.HasPrefix(c.command, "-") || strings.HasPrefix(c.sub, "-") {
			return // after "--" it cannot be a command, and is none
		}
		if err != nil || again.command != c.command || again.sub != c.sub || !slices.Equal(again.flags, c.flags) || !slices.Equal(again.args, c.args) {
			t.Errorf("%q: got %+v, then %+v, %v", args, c, again, err)
		}
	})
}
