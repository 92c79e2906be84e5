package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestHelp(t *testing.T) {
	t.Parallel()
	all := commands(&session{})
	for _, cmd := range slices.Concat(all, leaves(all)) {
		text := commandHelp(cmd)
		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns+1 {
				t.Errorf("%s: a line of %d columns: %s", cmd.Name, n, line)
			}
		}
		for _, e := range exitCodes {
			if !strings.Contains(text, fmt.Sprintf("%5d  %s\n", e.code, e.text)) {
				t.Errorf("%s: exit code %d is missing", cmd.Name, e.code)
			}
		}
		if cmd.ArgsUsage == "" || cmd.Usage == "" || cmd.UsageText == "" {
			t.Errorf("%s: there is no example or usage", cmd.Name)
		}
		for line := range strings.Lines(cmd.ArgsUsage) {
			if !strings.HasPrefix(line, "  postbag "+fullName(cmd)) && !strings.HasPrefix(line, "    -") {
				t.Errorf("%s: odd example: %s", cmd.Name, line)
			}
		}
		if cmd.HelpName == "" && !strings.Contains(topHelp(all), "\n  "+cmd.Name+" ") {
			t.Errorf("%s is not in the list of commands", cmd.Name)
		}
	}
}
