package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// records are the files under the directory of records.
func (w *world) records() []string {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, ".local", "state", "postbag", "trees", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

func (w *world) mustRun(want int, args ...string) (stderr string) {
	w.t.Helper()
	var out, errs lockedBuffer
	if got := Main(args, w.env(&out, &errs)); got != want {
		w.t.Fatalf("%v: got %d, want %d\n%s%s", args, got, want, out.String(), errs.String())
	}
	return errs.String()
}

// A tree is on record once it was written to, for the user alone, and the record
// is left as it is while nothing changes.
func TestRecord(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.mustRun(2, w.args("verify")...)
	w.mustRun(0, w.args("backup", "--dry-run")...)
	if got := w.records(); len(got) != 0 {
		t.Fatalf("a tree that nobody made is on record: %q", got)
	}
	w.mustRun(0, w.args("backup")...)
	files := w.records()
	if len(files) != 1 {
		t.Fatalf("got records %q, want one", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var r treeRecord
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if r.Path != filepath.Join(w.dir, "mail") || r.Account != "me@"+w.server.Addr() || len(r.Roots) != 1 || len(r.root()) != 32 {
		t.Errorf("got %+v", r)
	}
	for path, want := range map[string]os.FileMode{files[0]: 0o600, filepath.Dir(files[0]): 0o700 | os.ModeDir} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: got %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(files[0], long, long); err != nil {
		t.Fatal(err)
	}
	w.hook([]string{"deliver", "INBOX", "1"})
	w.mustRun(0, w.args("backup")...)
	w.mustRun(0, w.args("verify")...)
	if info, err := os.Stat(files[0]); err != nil || !info.ModTime().Equal(long) || len(w.records()) != 1 {
		t.Errorf("the record was written again: %v, %v, %q", info.ModTime(), err, w.records())
	}
}

// Without a place for records, or with one that cannot be read or written, a
// backup is made all the same, and says nothing of it.
func TestRecordThatCannotBe(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	env := func(stdout, stderr *lockedBuffer) Env { e := w.env(stdout, stderr); e.Home = ""; return e }
	var stdout, stderr lockedBuffer
	if got := Main(w.args("backup"), env(&stdout, &stderr)); got != 0 || stderr.String() != "" {
		t.Errorf("no home: got %d, %q", got, stderr.String())
	}
	for name, spoil := range map[string]func(file string) error{
		"damaged":         func(file string) error { return os.WriteFile(file, []byte("{"), 0o600) },
		"of another path": func(file string) error { return os.WriteFile(file, []byte(`{"path":"/x","roots":["1"]}`), 0o600) },
		"no file":         func(file string) error { return os.MkdirAll(filepath.Join(file, "x"), 0o700) },
		"no directory":    func(file string) error { return os.WriteFile(filepath.Dir(file), nil, 0o600) },
		"larger than any": func(file string) error { return os.WriteFile(file, make([]byte, 1<<20), 0o600) },
		"without any root": func(file string) error {
			return os.WriteFile(file, []byte(`{"path":"`+filepath.Join(w.dir, "mail")+`"}`), 0o600)
		},
	} {
		env := w.env(&stdout, &stderr)
		file := env.recordPath(filepath.Join(w.dir, "mail"))
		if err := os.RemoveAll(filepath.Dir(file)); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(file)
		if name == "no directory" {
			dir = filepath.Dir(dir)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := spoil(file); err != nil {
			t.Fatal(err)
		}
		if got := w.mustRun(0, w.args("backup")...); got != "" {
			t.Errorf("%s: got %q, want silence", name, got)
		}
		if !strings.HasPrefix(name, "no ") && len(rootsOn(t, file)) != 1 {
			t.Errorf("%s: it was not put right", name)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "new-*")); len(left) != 0 {
			t.Errorf("%s: left behind: %q", name, left)
		}
	}
}

func rootsOn(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r treeRecord
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r.Roots
}

// Records go where XDG_STATE_HOME says, when it is absolute.
func TestRecordPath(t *testing.T) {
	t.Parallel()
	vars := map[string]string{}
	env := Env{Home: "/home/me", LookupEnv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok }}
	for _, test := range []struct{ xdg, home, want string }{
		{"", "/home/me", "/home/me/.local/state"},
		{"/var/state", "/home/me", "/var/state"},
		{"state", "/home/me", "/home/me/.local/state"},
		{"/var/state", "", "/var/state"},
		{"", "", ""},
	} {
		env.Home, vars["XDG_STATE_HOME"] = test.home, test.xdg
		got := env.recordPath("/mail")
		if dir, _, _ := strings.Cut(got, "/postbag/trees/"); dir != test.want {
			t.Errorf("%+v: got %s", test, got)
		}
	}
	if a, b := env.recordPath("/a"), env.recordPath("/b"); a != "" || b != "" {
		t.Errorf("got %q, %q without a home", a, b)
	}
	env.Home = "/home/me"
	if env.recordPath("/a") == env.recordPath("/b") {
		t.Error("two paths have one record")
	}
}

// The demo's Maildir is nobody's backup.
func TestDemoLeavesNoRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	want := "Look at it with\n  postbag mailboxes DIR\n  postbag verify DIR\n  mutt -f DIR/INBOX\n"
	if got, want := w.out("demo", "here"), strings.ReplaceAll(want, "DIR", filepath.Join(w.dir, "here")); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
	if got := w.records(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}
