package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// columns is the width of help texts.
const columns = 80

// indent is where the second column of a list begins.
const indent = 30

// tagline says what the program does.
const tagline = "keeps IMAP accounts and Maildir trees in step: both ways, or as a backup"

// topHelp is the help without a command.
func topHelp(commands []*cli.Command) string {
	var b strings.Builder
	b.WriteString("postbag " + tagline + "\n\nUsage:\n")
	b.WriteString("  postbag COMMAND [ARGUMENT...] [--FLAG...]\n\nCommands:\n")
	for _, cmd := range commands {
		if !cmd.Hidden {
			item(&b, cmd.Name, cmd.Usage, 14)
		}
	}
	b.WriteString("\nA server is imaps://USER@HOST, imap://USER@HOST for STARTTLS, or the name of its\n" +
		"provider with a user, such as gmail:me@gmail.com (docs/providers.md has all).\n")
	b.WriteString("\nFlags may stand before and after arguments. \"postbag help COMMAND\" or\n" +
		"\"postbag COMMAND --help\" tells more of each.\n\nAccounts, in place of addresses, come from the configuration, by default\n" +
		"$XDG_CONFIG_HOME/postbag/config.toml (or ~/.config/postbag/config.toml).\n")
	b.WriteString("\nExit codes:\n")
	writeExitCodes(&b)
	return b.String()
}

// commandHelp is the help of one command.
func commandHelp(cmd *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "postbag %s: %s\n\nUsage:\n", fullName(cmd), cmd.Usage)
	for _, line := range strings.Split(cmd.UsageText, "\n") {
		fmt.Fprintf(&b, "  postbag %s\n", line)
	}
	if cmd.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(cmd.Description))
	}
	if len(cmd.Subcommands) > 0 {
		b.WriteString("\nCommands:\n")
		for _, sub := range cmd.Subcommands {
			item(&b, fullName(sub), sub.Usage, 18)
		}
		fmt.Fprintf(&b, "\n\"postbag help %s COMMAND\" tells more of each.\n", cmd.Name)
	}
	var categories []string
	lists := map[string][]cli.Flag{}
	for _, f := range cmd.Flags {
		category := f.(cli.CategorizableFlag).GetCategory()
		if lists[category] == nil {
			categories = append(categories, category)
		}
		lists[category] = append(lists[category], f)
	}
	order := []string{catWhat, catSafety, catServer, catLogin, catMaildir, catMonitor, catOutput}
	slices.SortFunc(categories, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	for _, category := range categories {
		fmt.Fprintf(&b, "\n%s:\n", category)
		for _, f := range lists[category] {
			name, usage := flagHelp(f)
			item(&b, name, usage, indent)
		}
	}
	if cmd.ArgsUsage != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", strings.TrimRight(cmd.ArgsUsage, "\n"))
	}
	b.WriteString("\nExit codes:\n")
	writeExitCodes(&b)
	return b.String()
}

func writeExitCodes(b *strings.Builder) {
	for _, e := range exitCodes {
		fmt.Fprintf(b, "  %3d  %s\n", e.code, e.text)
	}
}

// flagHelp is a flag's name with the placeholder of its value, and its text.
func flagHelp(f cli.Flag) (name, usage string) {
	usage = f.(cli.DocGenerationFlag).GetUsage()
	for _, n := range f.Names()[1:] {
		name += "-" + n + ", "
	}
	name += "--" + f.Names()[0]
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		placeholder, after, _ := strings.Cut(rest, "`")
		name += " " + placeholder
		usage = before + placeholder + after
	}
	return name, usage
}

// item writes one entry of a list in two columns.
func item(b *strings.Builder, name, text string, at int) {
	line := "  " + name
	if len(line) >= at-1 {
		b.WriteString(line + "\n")
		line = ""
	}
	line += strings.Repeat(" ", at-len(line))
	length := at
	for i, word := range strings.Fields(text) {
		if i > 0 && length+1+len(word) > columns {
			b.WriteString(line + "\n")
			line, length = strings.Repeat(" ", at), at
		} else if i > 0 {
			line += " "
			length++
		}
		line += word
		length += len(word)
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}
