package imapstore

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "renew docs/providers.md")

// The second part of docs/providers.md is the table.
func TestProvidersDocument(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "providers.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const first = "\n## All short names\n"
	head, _, _ := strings.Cut(string(text), first)
	var b strings.Builder
	b.WriteString(strings.TrimRight(head, "\n") + "\n" + first + "\n" + presetsDocument())
	for _, q := range Quirks() {
		b.WriteString("\n" + rowDocument(q))
	}
	if b.String() == string(text) {
		return
	}
	if !*update {
		t.Fatal("docs/providers.md is not the table: renew it with go test ./internal/imapstore -run TestProvidersDocument -update")
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func presetsDocument() string {
	var lines []string
	for _, q := range Quirks() {
		for _, p := range q.Presets {
			lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |\n", p.Name, code(p.Server), strings.Join(p.Domains, ", ")))
		}
	}
	slices.Sort(lines)
	return "| name | server | mail addresses at |\n|---|---|---|\n" + strings.Join(lines, "")
}

func code(text string) string {
	if text == "" {
		return "your own"
	}
	return "`" + text + "`"
}

func rowDocument(q Quirk) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", q.Name)
	var ways []string
	add := func(format string, list []string) {
		for _, text := range list {
			ways = append(ways, fmt.Sprintf(format, text))
		}
	}
	add("the host `%s`", q.Hosts)
	add("the capability `%s`", q.Caps)
	add("`%s` in its ID", q.ID)
	add("`%s` in its greeting", q.Greeting)
	for _, p := range q.Presets {
		ways = append(ways, fmt.Sprintf("the name `%s`", p.Name))
	}
	if len(q.Lacks) > 0 {
		ways[len(ways)-1] += fmt.Sprintf(" (and `%s` is not offered)", strings.Join(q.Lacks, "`, `"))
	}
	fmt.Fprintf(&b, "Known by %s.\n", strings.Join(ways, ", "))
	if effects := q.Effects(); len(effects) > 0 {
		b.WriteString("\n- " + strings.Join(effects, "\n- ") + "\n")
	}
	if q.Login != "" {
		fmt.Fprintf(&b, "\nWhen a login is refused: %s.\n", q.Login)
	}
	for _, text := range q.Advice {
		b.WriteString("\n" + text + "\n")
	}
	b.WriteString("\nSources:")
	for i, s := range q.Sources {
		where := s.Where
		if strings.Contains(where, "://") {
			where = "<" + where + ">"
		}
		if i > 0 {
			b.WriteString(";")
		}
		fmt.Fprintf(&b, " %s (%s)", where, s.Date)
	}
	return b.String() + "\n"
}
