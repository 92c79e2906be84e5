package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// What is on record of a Gmail account is compared with what a backup sees of it: with
// nothing changed nothing is, and a label that comes or goes is a change where it is.
func TestGmailStateCheck(t *testing.T) {
	t.Parallel()
	const n = 28
	for _, how := range []string{"labels", "plain"} {
		from, g := startGmail(t, n)
		a := onTarget(t, from.Target())
		a.backup(t, "--gmail", how).want(t, 0)
		check := func(want ...string) {
			t.Helper()
			r := a.state(t, "check", "--gmail", how).want(t, 0)
			var got []string
			for line := range strings.Lines(r.stdout) {
				if box, rest, ok := strings.Cut(strings.TrimSpace(line), ": since the last run: server: "); ok {
					got = append(got, box+": "+rest)
				}
			}
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(got, want) {
				t.Errorf("%s: check says %q, want %q", how, got, want)
			}
		}
		check()
		from.Edit(func(*imaptest.Script) {
			g.Label("letter 3.", "Work", true)
			g.Label("letter 1.", "INBOX", false)
			g.Label("letter 1.", "Work", false)
		})
		if how == "labels" {
			check("INBOX: 1 gone", "Work: 1 new, 1 gone", "[Gmail]/All Mail: 1 new, 1 gone")
		} else {
			check("INBOX: 1 gone", "Work: 1 new, 1 gone")
		}
	}
}

// One mailbox that is looked at by itself is what it was in a backup of all: All Mail has
// what no label has, whether it was named or not.
func TestGmailOneMailbox(t *testing.T) {
	t.Parallel()
	from, _ := startGmail(t, 28)
	a := onTarget(t, from.Target())
	a.backup(t).want(t, 0)
	for _, box := range []string{`\All`, "Work"} {
		a.verify(t, "--mailbox", box).want(t, 0)
		if r := a.state(t, "check", "--mailbox", box).want(t, 0); strings.Contains(r.stdout, "since the last run: ") {
			t.Errorf("check of %s: %s", box, r)
		}
	}
	// An account of which a label is left out, each time, keeps its mail out of All Mail.
	b := onTarget(t, from.Target())
	b.configure(t, `mailboxes = ["!Work"]`)
	b.backup(t).want(t, 0)
	for _, command := range [][]string{{"verify"}, {"state", "check"}} {
		r := b.run(t, append(command, b.name, "--mailbox", `\All`)...).want(t, 0)
		if strings.Contains(r.stdout, "since the last run: ") {
			t.Errorf("%s of All Mail: %s", command, r)
		}
	}
}

// A state that is lost is made anew as a backup sees the account: everything is paired,
// nothing is fetched, and the next backup has nothing to do.
func TestGmailStateRebuild(t *testing.T) {
	t.Parallel()
	const n = 28
	for _, how := range []string{"labels", "plain"} {
		from, _ := startGmail(t, n)
		a := onTarget(t, from.Target())
		a.backup(t, "--gmail", how).want(t, 0)
		tree := treeDump(t, a.dir).Content()
		a.lose(t)
		before, _ := wireBodies(from.Commands())
		if r := a.state(t, "rebuild", "--gmail", how).want(t, 0); strings.Contains(r.stdout, "only") {
			t.Errorf("%s: not everything was paired\n%s", how, r)
		}
		a.backup(t, "--gmail", how, "--json").want(t, 0).unchanged(t)
		if after, _ := wireBodies(from.Commands()); after != before {
			t.Errorf("%s: %d bodies were fetched", how, after-before)
		}
		if treeDump(t, a.dir).Content() != tree {
			t.Errorf("%s: the Maildir is not as it was", how)
		}
		a.verify(t, "--deep", "--gmail", how).want(t, 0)
	}
}

// What a Gmail account has lost since a time comes back under its labels, with what was
// archived in All Mail. What has other labels since is lost in none of its places. A
// second restore, and the next backup, find nothing to do.
func TestGmailAsOf(t *testing.T) {
	t.Parallel()
	const n = 28
	for _, mirror := range []bool{false, true} {
		from, g := startGmail(t, n)
		a := onTarget(t, from.Target())
		backup := func(more ...string) *call {
			if mirror {
				more = append(more, "--mirror", "--force-deletes")
			}
			return a.backup(t, more...).want(t, 0)
		}
		backup()
		run := a.runs(t)[0]
		from.Edit(func(*imaptest.Script) {
			g.Delete("letter 2.")
			g.Delete("letter 6.")
			g.Delete("letter 8.")
			g.Label("letter 3.", "Work", true)
			g.Label("letter 0.", "INBOX", false)
		})
		backup()
		a.run(t, "verify", a.dir, "--run", run).want(t, 0)
		restore := func(more ...string) *call {
			t.Helper()
			return a.restore(t, append(more, "--run", run)...).want(t, 0)
		}
		if plan := restore("--dry-run"); strings.Count(plan.stdout, "\nINBOX: ") != 1 {
			t.Errorf("mirror %v: a dry run tells of INBOX more than once, or not at all\n%s", mirror, plan)
		}
		if labels := gmailLabelsOf(from, g); len(labels) != n-3 {
			t.Fatalf("a dry run made %d letters of %d", len(labels), n-3)
		}
		restore()
		labels := gmailLabelsOf(from, g)
		for which, want := range map[int][]string{0: {`\Inbox`}, 2: {"Work", "Work/Deep", `\Inbox`, `\Starred`}, 3: {"Work"}, 6: nil, 8: {"Work", `\Inbox`, `\Starred`}} {
			if got := labels[letter(which)]; !slices.Equal(got, want) {
				t.Errorf("mirror %v: letter %d has the labels %q, want %q", mirror, which, got, want)
			}
		}
		if len(labels) != n {
			t.Errorf("mirror %v: there are %d letters, want %d", mirror, len(labels), n)
		}
		restore("--json").unchanged(t)
		backup()
		backup("--json").unchanged(t)
		a.verify(t, "--deep").want(t, 0)
	}
}

// An export from a Gmail account has each letter where a backup has it, and those that
// an ID chooses are found in All Mail, whatever labels they have.
func TestGmailExport(t *testing.T) {
	t.Parallel()
	const n = 28
	from, _ := startGmail(t, n)
	a := onTarget(t, from.Target())
	out := filepath.Join(a.home, "gmail.zip")
	a.run(t, a.server("export", nil, out)...).want(t, 0)
	tree := filepath.Join(a.home, "again")
	a.run(t, "import", out, tree).want(t, 0)
	sameLetters(t, lettersIn(t, treeDump(t, tree), letterDigests(n)), wantGmail(n, "[Gmail]/All Mail", "[Gmail]/Sent Mail"))

	ids := filepath.Join(a.home, "ids")
	list := a.run(t, a.server("list", nil, "--mailbox", `\All`, "--subject", "letter 2", "--only-ids")...).want(t, 0).stdout
	if err := os.WriteFile(ids, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	a.run(t, a.server("export", nil, out, "--ids", ids)...).want(t, 0)
	chosen := filepath.Join(a.home, "chosen")
	a.run(t, "import", out, chosen).want(t, 0)
	want := map[string][]int{"[Gmail]/All Mail": {2, 20, 21, 22, 23, 24, 25, 26, 27}}
	sameLetters(t, lettersIn(t, treeDump(t, chosen), letterDigests(n)), want)
}
