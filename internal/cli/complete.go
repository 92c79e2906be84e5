package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/auth"
	"postbag/internal/config"
	"postbag/internal/mail"
)

// completeWord is the first argument by which the scripts of completion ask what a
// word can be. It is followed by the shell and the words of the command line, of
// which the last one is to be completed. It is no command: the words after it need
// be none that a command line can have.
const completeWord = "__complete"

// filesToo is the line that says that paths are wanted, too.
const filesToo = ":files"

// candidate is one thing that a word can be.
type candidate struct{ text, about string }

// listed is how the text of a flag lists the words that it takes.
var listed = regexp.MustCompile("`: ([a-z][a-z0-9.+-]*(?:, [a-z][a-z0-9.+-]*)+(?: or [a-z][a-z0-9.+-]+)?)")

// choices are the words of a flag that takes one of a few, or a list of them with
// commas between them: those that the configuration knows, or that the flag's text
// lists.
func choices(f cli.Flag) (words []string, list bool) {
	flag := f.Names()[0]
	switch flag {
	case "auth", toPrefix + "auth":
		words := []string{"auto"}
		for _, m := range auth.Mechanisms {
			words = append(words, strings.ToLower(m))
		}
		return words, false
	case "fix":
		return config.Choices("fix"), true
	case "to-server", "to-maildir":
		return config.Choices("to_server"), true
	}
	if words = config.Choices(strings.ReplaceAll(flag, "-", "_")); words != nil {
		return words, false
	}
	if m := listed.FindStringSubmatch(f.(cli.DocGenerationFlag).GetUsage()); m != nil {
		return strings.Split(strings.ReplaceAll(m[1], " or ", ", "), ", "), false
	}
	return nil, false
}

// roles are the mailboxes that every account may have.
var roles = []mail.SpecialUse{mail.UseAll, mail.UseArchive, mail.UseDrafts, mail.UseFlagged, mail.UseJunk, mail.UseSent, mail.UseTrash}

// complete answers a script of completion. What goes wrong is told to nobody, in the
// middle of a line that somebody writes.
func (s *session) complete(args []string, commands []*cli.Command) int {
	if len(args) < 2 {
		return exitUsage
	}
	shell, words := args[0], args[1:]
	w := word{s: s, commands: commands}
	quote := byte(0)
	if shell == "bash" {
		words, w.split = joinSplit(words)
		for i := range words {
			words[i], quote = dequote(words[i])
		}
	}
	list, files := w.candidates(words[:len(words)-1], words[len(words)-1])
	var out strings.Builder
	for _, c := range list {
		switch {
		case shell != "bash":
			fmt.Fprintf(&out, "%s\t%s\n", c.text, escape(c.about))
		case strings.HasPrefix(c.text, w.stem):
			out.WriteString(requote(c.text, quote) + "\n")
		}
	}
	if files {
		out.WriteString(filesToo + "\n")
	}
	s.out.text(out.String())
	return exitDone
}

// word is a word that is to be completed.
type word struct {
	s        *session
	commands []*cli.Command
	split    bool   // bash took --flag=value apart: only the value is completed
	stem     string // what the candidates have to begin with
	config   string // the file that --config names
}

// candidates are what the word can be after the ones before it, and whether it can
// be a path.
func (w *word) candidates(before []string, current string) (list []candidate, files bool) {
	w.stem = current
	args, waiting, plain := w.read(before)
	if len(args) > 0 && args[0] == "help" {
		args = args[1:]
		return commandsAt(w.commands, args), false
	}
	cmd := find(w.commands, args...)
	name, value, has := strings.Cut(strings.TrimPrefix(current, "--"), "=")
	switch {
	case waiting != "":
		return w.values(cmd, waiting, current, "")
	case !plain && strings.HasPrefix(current, "--") && has:
		prefix := "--" + name + "="
		if w.split {
			prefix, w.stem = "", value
		}
		return w.values(cmd, name, value, prefix)
	case !plain && strings.HasPrefix(current, "-"):
		return flagCandidates(cmd), false
	case cmd == nil && len(args) == 0 || cmd != nil && len(cmd.Subcommands) > 0:
		return commandsAt(w.commands, args), false
	case cmd == nil:
		return nil, false
	}
	return w.arguments(cmd)
}

// read takes apart the words before the one that is completed: the arguments, the
// flag that waits for its value, and whether there was a "--".
func (w *word) read(before []string) (args []string, waiting string, plain bool) {
	known := flagsOf(leaves(w.commands)...)
	for _, arg := range before {
		switch {
		case waiting != "":
			w.note(waiting, arg)
			waiting = ""
		case plain || len(arg) < 2 || arg[0] != '-':
			args = append(args, arg)
		case arg == "--":
			plain = true
		default:
			name, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			if info, ok := known[name]; ok && info.value && !has {
				waiting = info.name
			} else if has {
				w.note(name, value)
			}
		}
	}
	return args, waiting, plain
}

// note remembers what a flag before the word says that matters to it.
func (w *word) note(flag, value string) {
	if flag == "config" {
		w.config = value
	}
}

// commandsAt are the commands, or the sub-commands of the one that args name.
func commandsAt(commands []*cli.Command, args []string) (list []candidate) {
	top := len(args) == 0
	if !top {
		cmd := find(commands, args...)
		if cmd == nil || len(args) > 1 {
			return nil
		}
		commands = cmd.Subcommands
	}
	for _, cmd := range commands {
		if !cmd.Hidden {
			list = append(list, candidate{cmd.Name, cmd.Usage})
		}
	}
	if top {
		list = append(list, candidate{"help", "tell what a command does"})
	}
	return list
}

// flagCandidates are the flags of a command.
func flagCandidates(cmd *cli.Command) (list []candidate) {
	if cmd != nil {
		for _, f := range cmd.Flags {
			_, usage := flagHelp(f)
			list = append(list, candidate{"--" + f.Names()[0], usage})
		}
	}
	list = append(list, candidate{"--help", "tell what the command does"})
	if cmd == nil {
		list = append(list, candidate{"--version", "tell which postbag this is"})
	}
	return list
}

// placeholder is how a flag's value is called in its help; "" when it takes none.
func placeholder(f cli.Flag) string {
	_, rest, _ := strings.Cut(f.(cli.DocGenerationFlag).GetUsage(), "`")
	name, _, _ := strings.Cut(rest, "`")
	return name
}

// values are what a flag can be set to, each after prefix.
func (w *word) values(cmd *cli.Command, flag, current, prefix string) (list []candidate, files bool) {
	var f cli.Flag
	for _, c := range leaves(w.commands) {
		for _, own := range c.Flags {
			if slices.Contains(own.Names(), flag) && (f == nil || c == cmd) {
				f = own
			}
		}
	}
	if f == nil {
		return nil, false
	}
	words, isList := choices(f)
	if i := strings.LastIndexByte(current, ','); isList && i >= 0 {
		prefix += current[:i+1]
	}
	switch placeholder(f) {
	case "FILE", "DIR":
		return nil, true
	case "PATTERN", "MAILBOX":
		if strings.HasPrefix(current, "!") {
			prefix += "!"
		}
		words = append(words, "INBOX")
		for _, role := range roles {
			words = append(words, string(role))
		}
	}
	for _, word := range words {
		list = append(list, candidate{prefix + word, ""})
	}
	return list, false
}

// argument is a word in the usage of a command that stands for what is to be given.
var argument = regexp.MustCompile(`[A-Z]+|[a-z]+(?:\|[a-z]+)+`)

// arguments are what a command takes beside flags, as its usage says.
func (w *word) arguments(cmd *cli.Command) (list []candidate, files bool) {
	accounts := false
	for line := range strings.Lines(cmd.UsageText) {
		line = strings.TrimPrefix(line, fullName(cmd))
		line, _, _ = strings.Cut(line, " --") // what follows is the value of a flag
		for _, name := range argument.FindAllString(line, -1) {
			switch name {
			case "ACCOUNT":
				accounts = true
			case "MAILDIR", "DIR", "FILE", "OUT":
				files = true
			case "FROM", "TO", "SOURCE", "DEST":
				accounts, files = true, true
			}
			if strings.Contains(name, "|") && strings.ToLower(name) == name {
				for _, one := range strings.Split(name, "|") {
					list = append(list, candidate{one, ""})
				}
			}
		}
	}
	if accounts {
		list = append(list, w.accounts()...)
	}
	return list, files
}

// accounts are those of the configuration.
func (w *word) accounts() (list []candidate) {
	path := w.config
	if path != "" {
		var err error
		if path, err = config.ExpandPath(path, w.s.env.Dir, w.s.env.config()); err != nil {
			return nil
		}
	}
	c, err := config.Load(path, w.s.env.config())
	if err != nil {
		return nil
	}
	for _, name := range c.Names() {
		list = append(list, candidate{name, c.Accounts[name].Server.Identity()})
	}
	return list
}
