package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"postbag/internal/config"
	"postbag/internal/mail"
)

// call is a command line that has been taken apart. urfave/cli stops looking for
// flags at the first argument, so that "backup work --dry-run" would run in
// earnest: all flags are found here, wherever they stand, and put in front.
type call struct {
	command string   // "" when none was named
	flags   []string // canonical: --name=value
	args    []string
	help    bool
	version bool
	json    bool
	quiet   bool
}

// flagInfo is what is to be known of a flag to take a command line apart.
type flagInfo struct {
	name  string // the long name
	value bool   // takes a value
}

// takeApart finds the command, its flags and its arguments. Each flag must be
// one of the command's; a value that begins with a dash is written --flag=-value.
// The call is usable for reporting even with an error.
func takeApart(args []string, commands []*cli.Command) (call, error) {
	var c call
	known := flagsOf(commands...)
	var used []string // long names, in order
	var firstErr error
	fail := func(err error) {
		if firstErr == nil {
			firstErr = err
		}
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			c.args = append(c.args, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			c.args = append(c.args, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		short := arg[1] != '-'
		if c.special(name, short, hasValue) {
			continue
		}
		infos, err := findFlags(name, short, known, commandOf(c.args, commands))
		if err != nil {
			fail(err)
			continue
		}
		for _, info := range infos {
			switch {
			case !info.value && !hasValue:
				value = "true"
			case !info.value:
				if value != "true" && value != "false" {
					fail(usageError("--"+info.name, "", "takes no value"))
				}
			case !hasValue:
				if i+1 == len(args) || len(args[i+1]) > 1 && args[i+1][0] == '-' {
					fail(usageError("--"+info.name, fmt.Sprintf("a value that begins with a dash is written --%s=-value", info.name), "a value is missing"))
					continue
				}
				i++
				value = args[i]
			}
			used = append(used, info.name)
			c.flags = append(c.flags, "--"+info.name+"="+value)
			c.json = c.json || info.name == "json" && value == "true"
			c.quiet = c.quiet || info.name == "quiet" && value == "true"
		}
	}
	c.splitCommand()
	if firstErr != nil || c.help || c.version {
		return c, firstErr
	}
	return c, c.check(used, commands)
}

// special notes the flags that are commands.
func (c *call) special(name string, short, hasValue bool) bool {
	switch {
	case hasValue:
		return false
	case !short && name == "help" || short && name == "h":
		c.help = true
	case !short && name == "version":
		c.version = true
	default:
		return false
	}
	return true
}

// splitCommand takes the command off the arguments; "help backup" is
// "backup --help".
func (c *call) splitCommand() {
	for len(c.args) > 0 && c.command == "" {
		c.command, c.args = c.args[0], c.args[1:]
		if c.command == "help" {
			c.help, c.command = true, ""
		}
	}
}

// check makes sure that the command exists and has the flags.
func (c *call) check(used []string, commands []*cli.Command) error {
	if c.command == "" {
		return usageError("", "postbag help lists the commands", "no command was given")
	}
	cmd := commandOf([]string{c.command}, commands)
	if cmd == nil {
		return unknownCommand(c.command, commands)
	}
	own := flagsOf(cmd)
	for _, name := range used {
		if _, ok := own[name]; ok {
			continue
		}
		var others []string
		for _, other := range commands {
			if _, ok := flagsOf(other)[name]; ok && !other.Hidden {
				others = append(others, other.Name)
			}
		}
		return usageError(cmd.Name, "it belongs to "+strings.Join(others, ", "), "has no flag --%s", name)
	}
	return nil
}

func unknownCommand(name string, commands []*cli.Command) error {
	var names []string
	for _, cmd := range commands {
		names = append(names, cmd.Name)
	}
	hint := "postbag help lists the commands"
	if near := config.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return usageError("", hint, "there is no command %q", name)
}

// findFlags finds the flag that an argument names, or the several that one dash
// with several letters names.
func findFlags(name string, short bool, known map[string]flagInfo, cmd *cli.Command) ([]flagInfo, error) {
	shown := "--" + name
	if short {
		shown = "-" + name
		var infos []flagInfo
		for _, letter := range name {
			info, ok := known[string(letter)]
			if !ok || info.value && len(name) > 1 {
				infos = nil
				break
			}
			infos = append(infos, info)
		}
		if infos != nil {
			return infos, nil
		}
	} else if info, ok := known[name]; ok && len(name) > 1 {
		return []flagInfo{info}, nil
	}
	if cmd != nil {
		known = flagsOf(cmd)
	}
	var names []string
	for key := range known {
		if len(key) > 1 {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	hint := ""
	if near := config.Nearest(name, append(names, "help", "version")); near != "" {
		hint = fmt.Sprintf("did you mean --%s?", near)
	}
	return nil, usageError(shown, hint, "there is no such flag")
}

// flagsOf are the flags of commands under all their names.
func flagsOf(commands ...*cli.Command) map[string]flagInfo {
	known := map[string]flagInfo{}
	for _, cmd := range commands {
		for _, f := range cmd.Flags {
			_, isBool := f.(*cli.BoolFlag)
			for _, name := range f.Names() {
				known[name] = flagInfo{f.Names()[0], !isBool}
			}
		}
	}
	return known
}

// commandOf is the command that the first argument names; nil when there is
// none.
func commandOf(args []string, commands []*cli.Command) *cli.Command {
	for _, cmd := range commands {
		if len(args) > 0 && cmd.Name == args[0] {
			return cmd
		}
	}
	return nil
}

// usageError is an error in what the user gave; what names it.
func usageError(what, hint, format string, args ...any) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: what, Err: fmt.Errorf(format, args...), Hint: hint}
}
