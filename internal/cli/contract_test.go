package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/config"
	"postbag/internal/monitor"
)

// The tests of this file hold every command to docs/scripting.md. They find the
// commands in the program: one that comes later has to keep the contract as well.

var quoted = regexp.MustCompile("`([^`]+)`(\\?)?")

// document is docs/scripting.md, or a part of it: from a heading to the next one.
func document(t *testing.T, name, heading string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if heading != "" {
		_, rest, ok := strings.Cut(text, "\n"+heading+"\n")
		if !ok {
			t.Fatalf("%s has no %q", name, heading)
		}
		text = regexp.MustCompile(`(?m)^##`).Split(rest, 2)[0]
	}
	return text
}

// cells are the cells of the tables in a text, row by row.
func cells(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| `") {
			row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
			for i := range row {
				row[i] = strings.TrimSpace(row[i])
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// backquoted is what stands between backquotes; true for those without a "?" after it.
func backquoted(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2] == ""
	}
	return found
}

// Every command says whether it has --json and -q, and which objects it writes; and
// each of these objects is described.
func TestDocumentedStreams(t *testing.T) {
	t.Parallel()
	objects := map[string]bool{"account": true} // described with the summary
	described := document(t, "json.md", "")
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)`).FindAllStringSubmatch(described, -1) {
		objects[m[1]] = true
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `event` \\| (.*)$").FindAllString(described, -1) {
		for name := range backquoted(row) {
			objects[name] = true
		}
	}
	rows := map[string][]string{}
	for _, row := range cells(document(t, "scripting.md", "## Output")) {
		for name := range backquoted(row[0]) {
			rows[name] = row
		}
	}
	all := map[string]bool{}
	for _, cmd := range leaves(commands(&session{})) {
		name := fullName(cmd)
		all[name] = true
		row := rows[name]
		if len(row) != 3 {
			t.Errorf("docs/scripting.md does not say what %s writes", name)
			continue
		}
		own := flagsOf(cmd)
		if _, has := own["json"]; has != (row[1] != "no") {
			t.Errorf("%s: has --json: %v, and docs/scripting.md says %q", name, has, row[1])
		}
		if _, has := own["quiet"]; has != (row[2] == "yes") || !has && row[2] != "no" {
			t.Errorf("%s: has --quiet: %v, and docs/scripting.md says %q", name, has, row[2])
		}
		for event := range backquoted(row[1]) {
			if !objects[event] {
				t.Errorf("%s: docs/json.md does not describe %q", name, event)
			}
		}
	}
	for name := range rows {
		if !all[name] {
			t.Errorf("docs/scripting.md describes %s, which is no command", name)
		}
	}
}

// The status file has the fields that are described, and no others.
func TestDocumentedStatusFile(t *testing.T) {
	t.Parallel()
	got, want := map[string]bool{}, map[string]bool{}
	for _, row := range cells(document(t, "scripting.md", "### Files")) {
		if !strings.Contains(row[0], "postbag_") {
			for name, always := range backquoted(row[0]) {
				got[name] = always
			}
		}
	}
	jsonFields(reflect.TypeFor[monitor.Run](), "", want)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Hooks get the variables that are described, and no others of that prefix.
func TestDocumentedHookVariables(t *testing.T) {
	t.Parallel()
	described := map[string]bool{}
	for _, row := range cells(document(t, "scripting.md", "### Hooks")) {
		for name := range backquoted(row[0]) {
			described[name] = true
		}
	}
	var got []string
	tell := telling{&watch{}, config.Monitor{}, "", time.Time{}, nil}
	for _, entry := range tell.hookVariables("on_change", 0, summary{Verified: &verified{}}) {
		name, _, _ := strings.Cut(entry, "=")
		got = append(got, name)
		if !described[name] {
			t.Errorf("%s is not described", name)
		}
	}
	for name := range described {
		if !slices.Contains(got, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// Every environment variable that the program looks at is described, and the manual
// page has the same list.
func TestDocumentedEnvironment(t *testing.T) {
	t.Parallel()
	described := backquoted(document(t, "scripting.md", "## Environment"))
	found := map[string]bool{pingVariable: true}
	var listed []string
	for _, row := range cells(document(t, "scripting.md", "## Environment")) {
		listed = append(listed, strings.ReplaceAll(row[0], "`", ""))
	}
	for i, e := range environment {
		if i >= len(listed) || listed[i] != e.names || len(listed) != len(environment) {
			t.Errorf("the manual page has %q, docs/scripting.md %q", e.names, listed)
		}
	}
	lookup := regexp.MustCompile(`(?:LookupEnv|Getenv)\("([A-Z_]+)"\)`)
	list := regexp.MustCompile(`range \[\]string\{((?:"[A-Z_]+"(?:, )?)+)\}`)
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		if d != nil && d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || slices.Contains([]string{"imaptest", "bench", "e2e", "storetest", "testdata"}, d.Name())) {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range lookup.FindAllStringSubmatch(string(text), -1) {
			found[m[1]] = true
		}
		for _, m := range list.FindAllStringSubmatch(string(text), -1) {
			for _, name := range regexp.MustCompile(`[A-Z_]+`).FindAllString(m[1], -1) {
				found[name] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !found["LC_ALL"] || !found["XDG_STATE_HOME"] || !found["JOB_COMPLETION_INDEX"] {
		t.Errorf("not all variables were found: %v", found)
	}
	for name := range found {
		if _, ok := described[name]; !ok {
			t.Errorf("%s is not described", name)
		}
	}
}

// What --json writes is in a golden file for every command that has it, as it
// stands: a script of testdata runs it.
func TestEveryCommandHasGoldenObjects(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var now string
		for line := range strings.Lines(string(text)) {
			if call, ok := strings.CutPrefix(line, "$ postbag "); ok {
				now = ""
				if strings.Contains(call, "--json") {
					now = call
				}
			} else if now != "" && strings.HasPrefix(line, `{"event":"summary"`) && strings.Contains(line, `"exit":0`) {
				for _, cmd := range leaves(commands(&session{})) {
					if strings.Contains(line, `"command":"`+fullName(cmd)+`"`) {
						golden[fullName(cmd)] = true
					}
				}
			}
		}
	}
	for _, cmd := range leaves(commands(&session{})) {
		if _, has := flagsOf(cmd)["json"]; has && !golden[fullName(cmd)] {
			t.Errorf("%s --json: no script in testdata runs it with exit code 0: write one, and run the test with -update", fullName(cmd))
		}
	}
}
