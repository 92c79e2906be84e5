// Package cli is the command line: it takes arguments apart, reads the
// configuration, opens what the engine works on, and tells what came of it. One
// file is one command. The library that defines commands and flags is known here
// only.
//
// Results go to stdout, all else to stderr. Every text that is shown passes
// escape: names and reasons come from servers.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"
)

// session is one call of Main.
type session struct {
	ctx    context.Context
	env    *Env
	out    *output
	asking atomic.Bool // a question waits at the terminal, and nothing is under way
	watch  watch       // whom to tell how it went
}

// commands are all commands, in the order of the help.
func commands(s *session) []*cli.Command {
	return []*cli.Command{
		syncCommand(s),
		backupCommand(s),
		restoreCommand(s),
		migrateCommand(s),
		verifyCommand(s),
		exportCommand(s),
		importCommand(s),
		statusCommand(s),
		listCommand(s),
		historyCommand(s),
		trashCommand(s),
		pruneCommand(s),
		stateCommand(s),
		mailboxesCommand(s),
		doctorCommand(s),
		demoCommand(s),
		completionCommand(s),
		manCommand(s),
		versionCommand(s),
	}
}

// Main runs one command line, without the program's name, and answers with the
// exit code. The first signal of env ends the run gently; the second makes Main
// return at once, whatever still runs, for the process to end.
func Main(args []string, env Env) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &session{ctx: ctx, env: &env}
	list := commands(s)
	if len(args) > 0 && args[0] == completeWord {
		s.out = newOutput(ctx, &env, call{})
		return s.complete(args[1:], list)
	}
	c, err := takeApart(args, list)
	s.out = newOutput(ctx, &env, c)
	done := make(chan int, 1)
	go func() { done <- s.main(c, list, err) }()
	for signals := 0; ; signals++ {
		select {
		case code := <-done:
			return code
		case <-env.Signals:
			if signals > 0 {
				return exitInterrupted
			}
			if !s.asking.Load() {
				s.out.warn("stopping after what is under way; once more stops at once")
			}
			cancel()
		}
	}
}

// main does what the call asks for and reports its error.
func (s *session) main(c call, list []*cli.Command, err error) int {
	if err == nil && c.version {
		c = call{command: "version"}
	}
	if err == nil && c.help {
		if err = s.help(c, list); err == nil {
			return s.out.close(exitDone)
		}
	}
	if err == nil {
		err = s.run(c, list)
	}
	code := exitDone
	if reported, ok := errors.AsType[exitError](err); ok {
		code = int(reported)
	} else if err != nil {
		code = s.out.fail("", err)
	}
	return s.out.end(s.watch.finish(code))
}

// help writes the help of the command, or the list of commands.
func (s *session) help(c call, list []*cli.Command) error {
	text := topHelp(list)
	if c.command != "" {
		cmd, err := c.find(list)
		if err != nil {
			return err
		}
		text = commandHelp(cmd)
	}
	s.out.text(text)
	return nil
}

// run hands the call to the library, flags first.
func (s *session) run(c call, list []*cli.Command) error {
	for _, cmd := range slices.Concat(list, leaves(list)) {
		cmd.HideHelp, cmd.HideHelpCommand = true, true
	}
	app := &cli.App{
		Name: "postbag", Commands: list, HideHelp: true, HideVersion: true,
		Writer: io.Discard, ErrWriter: io.Discard,
		// Without these the library ends the process, and splits values at commas.
		ExitErrHandler:            func(*cli.Context, error) {},
		DisableSliceFlagSeparator: true,
	}
	args := append([]string{"postbag"}, strings.Fields(c.name())...)
	args = append(args, c.flags...)
	return app.RunContext(s.ctx, append(append(args, "--"), c.args...))
}

// action makes the action of a command: it reads the flags, and then runs.
func (s *session) action(run func(o *options, args []string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s.out.verbose = c.Bool("verbose")
		if s.out.verbose && s.out.quiet {
			return usageError("--quiet", "", "does not go with --verbose")
		}
		o, err := readOptions(c, s.env)
		if err != nil {
			return err
		}
		s.watch.begin(s, c, o)
		return run(o, c.Args().Slice())
	}
}

// opening is action for a command that opens things, which are closed when it ends.
func (s *session) opening(run func(o *options, args []string, open *closers) error) cli.ActionFunc {
	return s.action(func(o *options, args []string) (err error) {
		var open closers
		defer func() {
			if closeErr := open.Close(); err == nil {
				err = closeErr
			}
		}()
		return run(o, args, &open)
	})
}

// noArguments refuses arguments.
func noArguments(command string, args []string) error {
	if len(args) > 0 {
		return usageError(command, fmt.Sprintf("postbag help %s", command), "takes no argument %q", args[0])
	}
	return nil
}
