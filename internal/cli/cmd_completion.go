package cli

import (
	_ "embed"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// The scripts know nothing of the commands: they ask the program, by __complete.
var (
	//go:embed shell/postbag.bash
	bashScript string
	//go:embed shell/postbag.zsh
	zshScript string
	//go:embed shell/postbag.fish
	fishScript string
)

// shells are the scripts, by the name of the shell.
var shells = map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}

func completionCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion of commands and flags for a shell",
		UsageText: "completion bash|zsh|fish",
		Description: `Prints a script for the shell. It completes commands, flags, the names of
accounts, and the words that a flag takes.

bash reads it with "source <(postbag completion bash)" in ~/.bashrc. zsh finds
it as the file _postbag in a directory of $fpath, fish as postbag.fish in
~/.config/fish/completions.`,
		ArgsUsage: `  postbag completion bash
  postbag completion zsh
  postbag completion fish`,
		Action: s.action(func(_ *options, args []string) error {
			names := slices.Sorted(maps.Keys(shells))
			if len(args) != 1 {
				return usageError("completion", "one of "+strings.Join(names, ", "), "needs the name of a shell")
			}
			script, ok := shells[args[0]]
			if !ok {
				return usageError("completion", "one of "+strings.Join(names, ", "), "does not know the shell %q", args[0])
			}
			s.out.text(script)
			return nil
		}),
	}
}
