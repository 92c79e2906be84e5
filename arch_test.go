package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// may says which packages of this module each package may import. Arrows point
// down: the front end knows everything, the engine knows the state and the
// vocabulary, the stores know neither the engine nor the state.
var may = map[string][]string{
	"": {"internal/cli"},
	"internal/cli": {
		"internal/auth", "internal/config", "internal/demo", "internal/imapconn", "internal/imapstore",
		"internal/export", "internal/headers", "internal/history", "internal/mail", "internal/mapping", "internal/match", "internal/monitor", "internal/progress",
		"internal/repair",
		"maildir", "state", "sync",
	},
	"internal/config":    {"internal/auth", "internal/mail", "internal/repair"},
	"internal/e2e":       {},
	"internal/bench":     {"internal/demo", "internal/imaptest", "internal/mail"},
	"internal/auth":      {"internal/mail"},
	"internal/progress":  {},
	"internal/export":    {"internal/mail", "internal/match"},
	"internal/demo":      {"internal/mail"},
	"internal/imapstore": {"internal/imapconn", "internal/mail"},
	"internal/imapconn":  {"internal/mail"},
	"internal/mail":      {},
	"internal/headers":   {"internal/mail", "internal/match"},
	"internal/history":   {"internal/mail", "maildir", "state"},
	"internal/mapping":   {"internal/mail"},
	"internal/match":     {"internal/mail"},
	"internal/monitor":   {},
	"internal/repair":    {},
	"internal/storetest": {"internal/mail", "state"},
	"internal/imaptest":  {"internal/demo", "internal/mail"},
	"maildir":            {"internal/mail"},
	"state":              {"internal/mail"},
	"sync":               {"internal/mail", "internal/repair", "state"},
}

// pure are the files of the engine that decide and do nothing else.
var pure = []string{"sync/policy.go", "sync/plan.go", "sync/pair.go", "sync/moves.go", "sync/guard.go", "sync/tree.go", "sync/intent.go", "internal/mapping/mapping.go"}

var impure = []string{"os", "net", "time", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog", "context"}

// only are packages from elsewhere that one place alone may import.
var only = map[string]string{
	"github.com/urfave/cli/v2":                  "internal/cli",
	"github.com/schollz/progressbar/v3":         "internal/progress",
	"modernc.org/sqlite":                        "state",
	"github.com/emersion/go-maildir":            "maildir",
	"github.com/pelletier/go-toml/v2":           "internal/config",
	"github.com/emersion/go-imap/v2/imapclient": "internal/imapconn",
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	for path, imports := range sources(t) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir == "." {
			dir = ""
		}
		allowed, known := may[dir]
		if !known {
			t.Errorf("%s: package %q is in no list: say what it may import", path, dir)
			continue
		}
		for _, imp := range imports {
			if own, ok := strings.CutPrefix(imp, "postbag/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s; %q may import %v", path, own, dir, allowed)
			}
			if slices.Contains(pure, path) && slices.Contains(impure, imp) {
				t.Errorf("%s is pure and imports %s", path, imp)
			}
			if home, ok := only[imp]; ok && dir != home {
				t.Errorf("%s imports %s, which only %s may", path, imp, home)
			}
		}
	}
}

// sources are the imports of every file that is not a test.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	files := make(map[string][]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, imp := range f.Imports {
			imports = append(imports, strings.Trim(imp.Path.Value, `"`))
		}
		files[filepath.ToSlash(path)] = imports
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < len(may) {
		t.Fatalf("only %d source files were found", len(files))
	}
	for _, path := range pure {
		if files[path] == nil {
			t.Errorf("%s is on the list of pure files and is not there", path)
		}
	}
	return files
}
