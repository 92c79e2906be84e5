package cli

import (
	"cmp"
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
	sub     string   // of a command that is several
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

// name is the command with its sub-command.
func (c *call) name() string { return strings.TrimSpace(c.command + " " + c.sub) }

// takeApart finds the command, its flags and its arguments. Each flag must be
// one of the command's; a value that begins with a dash is written --flag=-value.
// The call is usable for reporting even with an error.
func takeApart(args []string, commands []*cli.Command) (call, error) {
	var c call
	known := flagsOf(leaves(commands)...)
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
		infos, err := findFlags(name, short, known, find(commands, c.args...))
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
	c.splitCommand(commands)
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

// splitCommand takes the command off the arguments, and the sub-command of one
// that is several; "help backup" is "backup --help".
func (c *call) splitCommand(commands []*cli.Command) {
	take := func() (word string) {
		for len(c.args) > 0 && word == "" {
			word, c.args = c.args[0], c.args[1:]
			if word == "help" {
				c.help, word = true, ""
			}
		}
		return word
	}
	c.command = take()
	if cmd := find(commands, c.command); cmd != nil && len(cmd.Subcommands) > 0 {
		c.sub = take()
	}
}

// check makes sure that the command exists and has the flags.
func (c *call) check(used []string, commands []*cli.Command) error {
	if c.command == "" {
		return usageError("", "postbag help lists the commands", "no command was given")
	}
	cmd, err := c.find(commands)
	if err != nil {
		return err
	}
	if len(cmd.Subcommands) > 0 {
		return usageError(c.command, "postbag help "+c.command, "needs one of %s after it", strings.Join(names(cmd.Subcommands), ", "))
	}
	own := flagsOf(cmd)
	for _, name := range used {
		if _, ok := own[name]; ok {
			continue
		}
		var others []string
		for _, other := range leaves(commands) {
			if _, ok := flagsOf(other)[name]; ok && !other.Hidden {
				others = append(others, fullName(other))
			}
		}
		return usageError(c.name(), "it belongs to "+strings.Join(others, ", "), "has no flag --%s", name)
	}
	return nil
}

// find is the command that the call names, and an error that knows the nearest
// when there is none.
func (c *call) find(commands []*cli.Command) (*cli.Command, error) {
	cmd := find(commands, c.command)
	switch {
	case cmd == nil:
		return nil, unknownCommand(c.command, "", "postbag help lists the commands", commands)
	case c.sub == "":
		return cmd, nil
	}
	if sub := find(cmd.Subcommands, c.sub); sub != nil {
		return sub, nil
	}
	hint := fmt.Sprintf("%s is followed by one of %s", c.command, strings.Join(names(cmd.Subcommands), ", "))
	return nil, unknownCommand(c.sub, c.command+" ", hint, cmd.Subcommands)
}

func unknownCommand(name, above, hint string, commands []*cli.Command) error {
	if near := config.Nearest(name, names(commands)); near != "" {
		hint = fmt.Sprintf("did you mean %s%s?", above, near)
	}
	return usageError("", hint, "there is no command %q", above+name)
}

func names(commands []*cli.Command) (list []string) {
	for _, cmd := range commands {
		list = append(list, cmd.Name)
	}
	return list
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

// find is the command that the first arguments name; nil when there is none.
func find(commands []*cli.Command, args ...string) *cli.Command {
	for _, cmd := range commands {
		if len(args) == 0 || cmd.Name != args[0] {
			continue
		}
		if sub := find(cmd.Subcommands, args[1:]...); sub != nil {
			return sub
		}
		return cmd
	}
	return nil
}

// leaves are the commands that can be run: those that are several count as these.
func leaves(commands []*cli.Command) (list []*cli.Command) {
	for _, cmd := range commands {
		if len(cmd.Subcommands) > 0 {
			list = append(list, leaves(cmd.Subcommands)...)
		} else {
			list = append(list, cmd)
		}
	}
	return list
}

// fullName is a command's name, with that of the command that it is part of.
func fullName(cmd *cli.Command) string { return cmp.Or(cmd.HelpName, cmd.Name) }

// usageError is an error in what the user gave; what names it.
func usageError(what, hint, format string, args ...any) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: what, Err: fmt.Errorf(format, args...), Hint: hint}
}
