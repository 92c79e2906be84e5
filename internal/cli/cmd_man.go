package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func manCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "print the manual page",
		UsageText: "man",
		Description: `Prints the manual page, for man to show: all commands, all flags, exit codes,
environment and files.`,
		ArgsUsage: "  postbag man",
		Action: s.action(func(_ *options, args []string) error {
			if err := noArguments("man", args); err != nil {
				return err
			}
			date := s.env.Built
			if date.IsZero() {
				date = s.env.Now()
			}
			s.out.text(manPage(commands(s), s.env.Version, date))
			return nil
		}),
	}
}

// environment are the variables that have a meaning of their own here.
// docs/scripting.md has the same.
var environment = []struct{ names, text string }{
	{"HOME", "The home directory, which ~ stands for."},
	{"XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_CACHE_HOME", "Where the configuration, the records and caches are, in place of ~/.config, ~/.local/state and ~/.cache."},
	{pingVariable, "As --ping-url."},
	{"JOB_COMPLETION_INDEX", "The part of a list that --shard /N takes."},
	{"LC_ALL, LC_CTYPE, LANG, TERM", "What a terminal can show."},
	{"GOGC, GOMEMLIMIT", "The garbage collector of Go: less memory, or less time."},
}

// files are those that have a place of their own.
var files = []struct{ name, text string }{
	{"$XDG_CONFIG_HOME/postbag/config.toml", "The configuration; ~/.config without the variable."},
	{"MAILDIR/.postbag/", "The state of a Maildir, its lock and its trash."},
	{"$XDG_CACHE_HOME/postbag/", "Headers that list has read, of servers and of Maildirs without a state; ~/.cache without the variable."},
	{"$XDG_STATE_HOME/postbag/", "Which Maildirs there are, and the states of migrations; ~/.local/state without the variable."},
}

// manPage is the manual page, in the macros of man(7). The library's own makes
// Markdown and translates it; it knows neither the commands' texts nor exit codes.
func manPage(commands []*cli.Command, version string, date time.Time) string {
	m := &roff{}
	fmt.Fprintf(&m.b, ".TH POSTBAG 1 %s \"%s\" \"User Commands\"\n", date.UTC().Format(time.DateOnly), plain("postbag "+version))
	m.macro("nh") // no flag is to be hyphenated
	m.macro("SH", "NAME")
	m.text("postbag - " + tagline)
	m.macro("SH", "SYNOPSIS")
	m.usage("COMMAND [ARGUMENT...] [--FLAG...]")
	m.macro("SH", "DESCRIPTION")
	m.text("Flags may stand before and after arguments. Accounts, in place of addresses, come from the configuration.")
	m.macro("SH", "COMMANDS")
	for _, cmd := range commands {
		if !cmd.Hidden {
			m.command(cmd)
		}
	}
	m.macro("SH", "OPTIONS")
	m.options(leaves(commands))
	m.macro("SH", "EXIT STATUS")
	for _, e := range exitCodes {
		m.item(fmt.Sprint(e.code), e.text+".")
	}
	m.macro("SH", "ENVIRONMENT")
	for _, e := range environment {
		m.item(e.names, e.text)
	}
	m.macro("SH", "FILES")
	for _, f := range files {
		m.item(f.name, f.text)
	}
	m.macro("SH", "SEE ALSO")
	m.text("mbsync(1), mutt(1), cron(8), systemd.timer(5)")
	return m.b.String()
}

// roff writes a manual page.
type roff struct{ b strings.Builder }

// plain writes text that is not to be taken for requests.
func plain(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(escape(text))
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}

func (m *roff) macro(name string, args ...string) {
	m.b.WriteString("." + name)
	for _, arg := range args {
		m.b.WriteString(` "` + strings.ReplaceAll(plain(arg), `"`, `\(dq`) + `"`)
	}
	m.b.WriteString("\n")
}

// text writes paragraphs, which have empty lines between them.
func (m *roff) text(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			m.macro("PP")
		}
		line := ""
		for _, word := range strings.Fields(paragraph) {
			word = plain(word)
			switch {
			case line == "":
				line = word
			case len(line)+1+len(word) > columns-2 || strings.HasSuffix(line, "."): // a sentence begins a line
				m.b.WriteString(line + "\n")
				line = word
			default:
				line += " " + word
			}
		}
		m.b.WriteString(line + "\n")
	}
}

// verbatim writes lines that stay as they are.
func (m *roff) verbatim(text string) {
	m.macro("PP")
	m.macro("nf")
	m.macro("RS", "4n")
	for line := range strings.Lines(text) {
		m.b.WriteString(plain(strings.TrimSuffix(strings.TrimPrefix(line, "  "), "\n")) + "\n")
	}
	m.macro("RE")
	m.macro("fi")
}

// usage writes one way to call the program.
func (m *roff) usage(line string) {
	m.b.WriteString(`\fBpostbag\fR ` + plain(line) + "\n")
}

// item writes an entry of a list.
func (m *roff) item(name, text string) {
	m.macro("TP")
	m.macro("B", name)
	m.text(text)
}

// command writes about one command, or about those that it is.
func (m *roff) command(cmd *cli.Command) {
	m.macro("SS", "postbag "+fullName(cmd))
	m.text(strings.ToUpper(cmd.Usage[:1]) + cmd.Usage[1:] + ".")
	for _, line := range strings.Split(cmd.UsageText, "\n") {
		m.macro("PP")
		m.usage(line)
	}
	if cmd.Description != "" {
		m.macro("PP")
		m.text(cmd.Description)
	}
	var names []string
	for _, f := range cmd.Flags {
		names = append(names, "--"+f.Names()[0])
	}
	if names != nil {
		m.macro("PP")
		m.text("Flags: " + strings.Join(names, ", ") + ".")
	}
	m.verbatim(cmd.ArgsUsage)
	for _, sub := range cmd.Subcommands {
		m.command(sub)
	}
}

// options writes every flag once, or once for each of its meanings, with the
// commands that have it.
func (m *roff) options(commands []*cli.Command) {
	type entry struct {
		name, usage string
		of          []string
	}
	var list []*entry
	for _, cmd := range commands {
		for _, f := range cmd.Flags {
			name, usage := flagHelp(f)
			i := slices.IndexFunc(list, func(e *entry) bool { return e.name == name && e.usage == usage })
			if i < 0 {
				i = len(list)
				list = append(list, &entry{name: name, usage: usage})
			}
			list[i].of = append(list[i].of, fullName(cmd))
		}
	}
	long := func(e *entry) string { return e.name[strings.Index(e.name, "--"):] }
	slices.SortStableFunc(list, func(a, b *entry) int { return cmp.Compare(long(a), long(b)) })
	for _, e := range list {
		m.item(e.name, strings.ToUpper(e.usage[:1])+e.usage[1:]+". Of "+strings.Join(e.of, ", ")+".")
	}
}
