package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

func (a *account) stateFile() string { return filepath.Join(a.dir, ".postbag", "state.db") }

// state runs a command on the state of the server and the Maildir.
func (a *account) state(t testing.TB, command string, more ...string) *call {
	t.Helper()
	return a.run(t, append([]string{"state"}, a.pair(command, more...)...)...)
}

// lose takes the state away, with all that belongs to it.
func (a *account) lose(t testing.TB) {
	t.Helper()
	files, err := filepath.Glob(a.stateFile() + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %q, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}

// A state that is gone, or damaged beyond reading, is made anew by content: nothing is
// downloaded again, nothing is sent, both sides stay as they are, and the next runs go
// on as if nothing had happened. A damaged file is kept.
func TestStateRebuild(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"backup", "sync"} {
		a, target := filledDovecot(t, 211, 150, "INBOX", "Work", "Archive/2024")
		for _, s := range demo.Torture() {
			if s.Safe() {
				if _, err := target.Fill(slices.Values([]demo.Sample{s})); err != nil {
					t.Fatal(err)
				}
			}
		}
		run := func(more ...string) *call { return a.run(t, a.pair(command, more...)...).want(t, 0) }
		run()
		for _, how := range []string{"lost", "damaged"} {
			server, tree := target.MustDump(t), treeDump(t, a.dir).Content()
			if how == "lost" {
				a.lose(t)
				if r := a.state(t, "check"); r.code != 2 || !strings.Contains(r.stderr, "there is none") {
					t.Errorf("%s, %s: check: %s", command, how, r)
				}
			} else {
				if err := os.WriteFile(a.stateFile(), []byte(strings.Repeat("no state at all\n", 1000)), 0o600); err != nil {
					t.Fatal(err)
				}
				if r := a.run(t, a.pair(command)...); r.code != 1 || !strings.Contains(r.stderr, "postbag state rebuild") {
					t.Errorf("%s, %s: got %s, want a hint at rebuild", command, how, r)
				}
			}
			r := a.state(t, "rebuild").want(t, 0)
			kept, _ := filepath.Glob(a.stateFile() + ".2*")
			if want := map[string]int{"lost": 0, "damaged": 1}[how]; len(kept) != want || want == 1 && !strings.Contains(r.stdout, kept[0]) {
				t.Errorf("%s, %s: kept %q\n%s", command, how, kept, r)
			}
			if strings.Contains(r.stdout, "only") {
				t.Errorf("%s, %s: not everything was paired\n%s", command, how, r)
			}
			if diff := imaptest.Diff(server.Content(), target.MustDump(t).Content()); diff != "" || treeDump(t, a.dir).Content() != tree {
				t.Errorf("%s, %s: a rebuild changed something:\n%s", command, how, clip(diff))
			}
			s := run("--json").summary(t)
			if s.A != (counts{}) || s.B != (counts{}) {
				t.Errorf("%s, %s: the next run did %+v and %+v", command, how, s.A, s.B)
			}
			if treeDump(t, a.dir).Content() != tree {
				t.Errorf("%s, %s: the next run changed the Maildir", command, how)
			}
			a.state(t, "check").want(t, 0)
			a.verify(t, "--deep").want(t, 0)
			a.checkState(t)
		}
	}
}

// What arrived and what went while there was no state is left to the next run, which
// adds, and deletes nothing. A sound state is not made anew without a word for it.
func TestStateRebuildLeavesTheRest(t *testing.T) {
	t.Parallel()
	a, target := filledDovecot(t, 212, 40, "INBOX", "Work")
	a.backup(t).want(t, 0)
	if r := a.state(t, "rebuild"); r.code != 2 || !strings.Contains(r.stderr, "it is sound") {
		t.Errorf("of a sound state: got %s", r)
	}
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 1:3 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:3", `UID STORE 4:5 +FLAGS.SILENT ($New)`, "UNSELECT", "CREATE Empty", "DELETE Work")
	if _, err := target.Fill(into(demo.Corpus(213, 6), "INBOX", "Late")); err != nil {
		t.Fatal(err)
	}
	r := a.state(t, "check").want(t, 0)
	for _, want := range []string{"INBOX: since the last run: server: 3 new, 3 gone, 2 with other flags\n", "Work: since the last run: server: the mailbox is gone\n", "the state is sound"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("check does not say %q\n%s", want, r)
		}
	}
	if r := a.run(t, "state", "check", a.dir).want(t, 0); strings.Contains(r.stdout, "server") {
		t.Errorf("of a Maildir: got %s", r)
	}
	a.state(t, "rebuild", "--force", "-q").want(t, 0)
	show := a.run(t, "state", "show", a.dir).want(t, 0).stdout
	if !strings.Contains(show, "INBOX: 17 paired, 3 on the server only, 3 in the Maildir only\n") {
		t.Errorf("got %s", show)
	}
	s := a.backup(t, "--json").want(t, 0).summary(t)
	if s.B.New != 6 || s.B.Flags != 2 || s.B.Deleted != 0 {
		t.Errorf("the next backup did %+v, want 6 new and 2 with other flags", s.B)
	}
	a.checkState(t)
}

// One flipped octet in the state is found, told, and no harm.
func TestStateCheckFindsDamage(t *testing.T) {
	t.Parallel()
	a, _ := filledDovecot(t, 214, 30, "INBOX")
	a.backup(t).want(t, 0)
	data, err := os.ReadFile(a.stateFile())
	if err != nil {
		t.Fatal(err)
	}
	i := strings.LastIndex(string(data), "INBOX")
	data[i] ^= 0x20
	if err := os.WriteFile(a.stateFile(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := a.state(t, "check", "--offline", "--json").want(t, 3)
	if !strings.Contains(r.stdout, `"event":"damage"`) || !strings.Contains(r.stdout, "checksum is wrong") {
		t.Errorf("got %s", r)
	}
	a.state(t, "rebuild", "-q").want(t, 0)
	a.state(t, "check", "-q").want(t, 0)
	if s := a.backup(t, "--json").want(t, 0).summary(t); s.B.New != 0 {
		t.Errorf("the next backup did %+v", s.B)
	}
}
