package monitor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// ended is a run that took a minute and ended at the given hour.
func ended(hour, exit int, accounts map[string]Run) Run {
	end := noon.Add(time.Duration(hour) * time.Hour)
	outcome := "done"
	if exit != 0 {
		outcome = "failed"
	}
	return Run{Start: end.Add(-time.Minute), End: end, Outcome: outcome, Exit: exit, Accounts: accounts}
}

func everyone(string) bool { return true }

func readStatus(t *testing.T, path string) map[string]Run {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := map[string]Run{}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return file
}

// Whoever watches a file sees when a run last went well, however often it failed
// since; other commands and other accounts keep what they had.
func TestLastSuccessIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	status, metrics := filepath.Join(dir, "status.json"), filepath.Join(dir, "postbag.prom")
	update := func(command string, run Run, known func(string) bool) {
		t.Helper()
		if err := UpdateStatus(status, command, run, known); err != nil {
			t.Fatal(err)
		}
		if err := UpdateMetrics(metrics, command, run, known); err != nil {
			t.Fatal(err)
		}
	}
	check := func(command, account string, exit int, hour *int) {
		t.Helper()
		run := readStatus(t, status)[command]
		name, labels := "postbag_run", fmt.Sprintf(`command=%q`, command)
		if account != "" {
			run = run.Accounts[account]
			name, labels = "postbag_account", labels+fmt.Sprintf(`,account=%q`, account)
		}
		want := "0"
		switch {
		case hour != nil:
			at := noon.Add(time.Duration(*hour) * time.Hour)
			if run.LastSuccess == nil || !run.LastSuccess.Equal(at) {
				t.Errorf("%s %s: got last success %v, want %v", command, account, run.LastSuccess, at)
			}
			want = fmt.Sprintf("%d.000", at.Unix())
		case run.LastSuccess != nil:
			t.Errorf("%s %s: got last success %v, want none", command, account, run.LastSuccess)
		}
		if run.Exit != exit {
			t.Errorf("%s %s: got exit %d, want %d", command, account, run.Exit, exit)
		}
		text, _ := os.ReadFile(metrics)
		for _, line := range []string{
			fmt.Sprintf("%s_success_timestamp_seconds{%s} %s\n", name, labels, want), fmt.Sprintf("%s_exit_code{%s} %d\n", name, labels, exit),
		} {
			if !strings.Contains(string(text), line) {
				t.Errorf("there is no line %s in\n%s", line, text)
			}
		}
	}
	one, two, five := 1, 2, 5
	update("backup", ended(1, 7, map[string]Run{"home": ended(1, 0, nil), "work": ended(1, 7, nil)}), everyone)
	check("backup", "", 7, nil)
	check("backup", "home", 0, &one)
	check("backup", "work", 7, nil)
	update("backup", ended(2, 0, map[string]Run{"work": ended(2, 0, nil)}), everyone)
	check("backup", "", 0, &two)
	check("backup", "home", 0, &one)
	check("backup", "work", 0, &two)
	update("verify", ended(3, 3, map[string]Run{"work": ended(3, 3, nil)}), everyone)
	update("backup", ended(4, 5, map[string]Run{"home": ended(4, 1, nil), "work": ended(4, 5, nil)}), everyone)
	check("verify", "work", 3, nil)
	check("backup", "", 5, &two)
	check("backup", "home", 1, &one)
	check("backup", "work", 5, &two)
	// An account that was taken out of the configuration is forgotten.
	update("backup", ended(5, 0, map[string]Run{"work": ended(5, 0, nil)}), func(name string) bool { return name != "home" })
	check("backup", "work", 0, &five)
	text, _ := os.ReadFile(metrics)
	if _, there := readStatus(t, status)["backup"].Accounts["home"]; there || strings.Contains(string(text), "home") {
		t.Errorf("an account that is no more is still there\n%s", text)
	}
}

// Jobs that end at the same moment share a file without losing each other's part.
func TestUpdatesAtOnce(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no lock between processes here")
	}
	status := filepath.Join(t.TempDir(), "status.json")
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			if err := UpdateStatus(status, "backup", ended(i, 0, map[string]Run{fmt.Sprint("account", i): ended(i, 0, nil)}), everyone); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := len(readStatus(t, status)["backup"].Accounts); got != 20 {
		t.Errorf("got %d accounts, want 20", got)
	}
}

// A file that something else wrote is not replaced, and what cannot be a file is
// said to be none.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	updates := map[string]func(string, string, Run, func(string) bool) error{"status": UpdateStatus, "metrics": UpdateMetrics}
	for name, update := range updates {
		for i, text := range []string{"hello\n", "{\"scripts\":{\"a\":\"b\"}}", "[1]", "node_load1 0.5\n", "{\"backup\":"} {
			path := filepath.Join(dir, fmt.Sprint(name, i))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := update(path, "backup", ended(1, 0, nil), everyone)
			if err == nil || !strings.Contains(err.Error(), "not written by postbag") {
				t.Errorf("%s: %q: got error %v", name, text, err)
			}
			if got, _ := os.ReadFile(path); string(got) != text {
				t.Errorf("%s: %q was replaced by %q", name, text, got)
			}
		}
		for _, path := range []string{dir, filepath.Join(dir, "missing", "file")} {
			if err := update(path, "backup", ended(1, 0, nil), everyone); err == nil || strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %s: got error %v, want one without the path", name, path, err)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// A new file is as private as the umask says, one that is replaced as it was; a
// link stays a link; and an empty file, or what a crash left beside it, is in
// nobody's way.
func TestModeAndLinks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there are no modes here")
	}
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "link.json")
	plain, err := os.OpenFile(filepath.Join(dir, "plain"), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	info, err := plain.Stat()
	if err != nil {
		t.Fatal(err)
	}
	mode := func(want os.FileMode) {
		t.Helper()
		if got, err := os.Stat(real); err != nil || got.Mode().Perm() != want {
			t.Errorf("got %v, %v, want mode %v", got.Mode(), err, want)
		}
	}
	update := func(path string) {
		t.Helper()
		if err := UpdateStatus(path, "backup", ended(1, 0, nil), everyone); err != nil {
			t.Fatal(err)
		}
	}
	update(real)
	mode(info.Mode().Perm())
	for _, step := range []error{os.Chmod(real, 0o640), os.Symlink("real.json", link), os.WriteFile(filepath.Join(dir, ".real.json.new"), []byte("half"), 0o600)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	update(link)
	mode(0o640)
	if to, err := os.Readlink(link); err != nil || to != "real.json" {
		t.Errorf("the link is %q, %v", to, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".real.json.new")); err == nil {
		t.Errorf("what a crash left is still there")
	}
	if err := os.Truncate(real, 0); err != nil {
		t.Fatal(err)
	}
	update(real)
	if readStatus(t, real)["backup"].Outcome != "done" {
		t.Errorf("an empty file was not filled")
	}
}
