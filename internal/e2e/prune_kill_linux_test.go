package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/cli"
	"postbag/internal/imaptest"
	"postbag/maildir"
	"postbag/state"
)

// agesAgo runs a command in this process, as if it were so many days ago.
func (a *account) agesAgo(t testing.TB, days int, args ...string) {
	t.Helper()
	var out bytes.Buffer
	code := cli.Main(args, cli.Env{
		Stdout: &out, Stderr: &out, Home: a.home, Dir: a.home, Now: func() time.Time { return time.Now().AddDate(0, 0, -days) },
		LookupEnv: func(name string) (string, bool) {
			for _, e := range append([]string{"XDG_CONFIG_HOME=" + filepath.Join(a.home, "config")}, a.env...) {
				if value, ok := strings.CutPrefix(e, name+"="); ok {
					return value, true
				}
			}
			return "", false
		},
	})
	if code != 0 {
		t.Fatalf("%d days ago %q: exit code %d\n%s", days, args, code, out.String())
	}
}

// aged is a backup of which something was deleted long ago and something just now:
// mail that it keeps, and mail in its trash.
func aged(t *testing.T) *account {
	t.Helper()
	a, target := filledDovecot(t, 231, 60, "INBOX", "Work")
	a.configure(t, `keep_deleted = "forever"`)
	a.agesAgo(t, 60, a.pair("backup")...)
	a.mustDo(t, target, "SELECT Work", `UID STORE 1:4 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:4")
	a.agesAgo(t, 50, a.pair("backup", "--mirror")...)
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 1:5 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:5", "UID STORE 6 +FLAGS.SILENT (Old)")
	a.agesAgo(t, 40, a.pair("backup")...)
	a.mustDo(t, target, "SELECT INBOX", `UID STORE 7:9 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 7:9", "SELECT Work", `UID STORE 5:6 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 5:6")
	a.backup(t, "--mirror", "--mailbox", "Work").want(t, 0)
	a.backup(t).want(t, 0)
	return a
}

// mails are the messages of a Maildir and its trash, a line for each. It asks no state,
// which a run that was cut off may leave to the next one to put in order.
func (a *account) mails(t testing.TB) (lines []string) {
	t.Helper()
	lines = slices.Collect(strings.Lines(treeDump(t, a.dir).Content()))
	store, err := maildir.Open(a.dir, maildir.Options{ReadOnly: true})
	must(t, err)
	defer store.Close()
	list, err := store.Trash(t.Context())
	must(t, err)
	for _, one := range list {
		lines = append(lines, fmt.Sprintf("trash: %s of %s, %d octets\n", one.ID, one.Mailbox, one.Bytes))
	}
	return lines
}

// remains is what there is of a Maildir, its trash and its history, a line for each.
func (a *account) remains(t testing.TB) []string {
	t.Helper()
	lines := append(a.mails(t), slices.Collect(strings.Lines(a.rows(t)))...)
	db, err := state.Open(t.Context(), a.statePath(), state.Options{ReadOnly: true})
	must(t, err)
	defer db.Close()
	n, err := db.CountPast(t.Context(), 1<<53)
	must(t, err)
	from, err := db.HistoryFrom(t.Context())
	must(t, err)
	return append(lines, fmt.Sprintf("history: %d entries from run %d\n", n, from))
}

// A prune, or an emptying of the trash, that is killed at any system call takes nothing
// that the policy keeps; the next one ends where an undisturbed one ends.
func TestPruneKilled(t *testing.T) {
	t.Parallel()
	strace := need(t, "strace")
	whole := aged(t)
	all := whole.mails(t)
	for name, args := range map[string][]string{
		"prune":       {"prune", "--keep-deleted", "30d"},
		"trash empty": {"trash", "empty", "--older-than", "30d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh := func() *account {
				a := *whole
				a.home = scratch(t)
				a.dir = filepath.Join(a.home, "mail")
				copyTree(t, whole.dir, a.dir)
				return &a
			}
			line := func(a *account) []string { return append(slices.Clone(args), a.dir) }
			undisturbed := fresh()
			undisturbed.run(t, line(undisturbed)...).want(t, 0)
			want, kept := undisturbed.remains(t), undisturbed.mails(t)
			if n := len(all) - len(kept); n < 4 || len(kept) < 40 {
				t.Fatalf("%d messages of %d went: nothing to test", n, len(all))
			}
			points := 0
			next := sampled(rand.New(rand.NewPCG(drawn(), 31)))
			for _, call := range []string{"unlinkat", "pwrite64", "fsync", "fdatasync", "renameat2", "write", "openat"} {
				for n := next(0); ; n = next(n) {
					a := fresh()
					c := a.straced(strace, call, n).run(t, line(a)...)
					if !c.killed() {
						c.want(t, 0)
						break
					}
					points++
					got := a.mails(t)
					for _, line := range kept {
						if !slices.Contains(got, line) {
							t.Errorf("a kill took what is kept: %s", line)
						}
					}
					a.run(t, line(a)...).want(t, 0)
					if diff := imaptest.Diff(strings.Join(want, ""), strings.Join(a.remains(t), "")); diff != "" {
						t.Errorf("it does not end as an undisturbed one (- missing, + extra):\n%s", clip(diff))
					}
					a.checkState(t)
					if t.Failed() {
						t.Fatalf("killed at %s number %d", call, n)
					}
				}
			}
			t.Logf("killed at %d points", points)
			if points < 5 {
				t.Errorf("got %d points: strace does not do what it should", points)
			}
		})
	}
}
