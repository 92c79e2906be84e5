package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/mail"
)

// headed are messages with headers that people look for.
func headed() []demo.Sample {
	var list []demo.Sample
	for i, h := range []string{
		"From: =?iso-8859-1?Q?J=FCrgen_M=FCller?= <jm@example.org>\r\nTo: me@example.org\r\nSubject: =?UTF-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?=",
		"From: Alice <alice@example.org>\r\nTo: you@example.org\r\nCc: me@example.org\r\nSubject: Invoice 17",
		"From: Alice <alice@example.org>\r\nTo: me@example.org\r\nSubject: lunch",
		"From: =?koi8-r?B?8NLJ18XU?= <p@example.ru>\r\nTo: me@example.org\r\nSubject: invoice\r\n 18",
	} {
		list = append(list, demo.Sample{Mailbox: "Post", Raw: []byte(fmt.Sprintf("%s\r\nMessage-ID: <l%d@x>\r\n\r\ntext\r\n", h, i))})
	}
	return list
}

// ids are the IDs that a list shows.
func (a *account) ids(t testing.TB, args ...string) []string {
	t.Helper()
	return strings.Fields(a.run(t, append(append([]string{"list"}, args...), "--only-ids")...).want(t, 0).stdout)
}

// Messages are found by what a person reads, in a Maildir with a state and without, and
// on a server; a second look costs no header; what changed since is seen.
func TestList(t *testing.T) {
	t.Parallel()
	a, target := filledDovecot(t, 221, 40, "INBOX", "Work")
	if _, err := target.Fill(slices.Values(headed())); err != nil {
		t.Fatal(err)
	}
	a.mustDo(t, target, "SELECT Post", `UID STORE 2 +FLAGS.SILENT (\Seen $Paid)`, "UNSELECT")
	a.backup(t).want(t, 0)
	foreign := filepath.Join(a.home, "foreign")
	copyTree(t, filepath.Join(a.dir, "Post"), filepath.Join(foreign, "Post"))
	for name, place := range map[string][]string{"Maildir": {a.dir}, "no state": {foreign}, "server": append([]string{a.url}, a.flags...)} {
		list := func(more ...string) *call {
			t.Helper()
			return a.run(t, append(append([]string{"list"}, place...), append(more, "-v")...)...).want(t, 0)
		}
		for _, c := range []struct {
			args []string
			want int
		}{
			{[]string{"--from", "müller"}, 1}, {[]string{"--subject", "GRÜSSE aus köln"}, 1}, {[]string{"--subject", "invoice"}, 2},
			{[]string{"--from", "привет"}, 1}, {[]string{"--to", "me@example.org", "--from", "ALICE@"}, 2}, {[]string{"--from", "alice", "--from", "jm@"}, 3},
			{[]string{"--flag", "seen", "--flag", "$paid"}, 1}, {[]string{"--not-flag", "seen", "--subject", "invoice"}, 1},
			{[]string{"--larger", "1M"}, 0}, {[]string{"--before", "2001-01-01"}, 0}, {nil, 4},
		} {
			out := list(append(c.args, "--mailbox", "Post")...)
			if n := strings.Count(out.stdout, "  Post  "); n != c.want {
				t.Errorf("%s: %q found %d, want %d\n%s", name, c.args, n, c.want, out)
			}
		}
		if out := list("--mailbox", "Post"); strings.Contains(out.stderr, "header") {
			t.Errorf("%s: headers were read again\n%s", name, out)
		}
		if out := list("--mailbox", "Post", "--fresh"); !strings.Contains(out.stderr, "read 4 headers") {
			t.Errorf("%s: headers were not read with --fresh\n%s", name, out)
		}
		if one := list("--from", "müller", "--json").events(t); len(one) != 2 || !strings.Contains(list("--from", "müller", "--json").stdout, `"from":"Jürgen Müller `) {
			t.Errorf("%s: got %d objects", name, len(one))
		}
	}
	all := a.ids(t, a.dir)
	if len(all) != 44 || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 44 {
		t.Errorf("got %d IDs, want 44 different ones", len(all))
	}
	a.mustDo(t, target, "SELECT Post", `UID STORE 3 +FLAGS.SILENT (\Flagged)`, `UID STORE 1 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1", "UNSELECT")
	if _, err := target.Fill(into(demo.Corpus(222, 2), "Post")); err != nil {
		t.Fatal(err)
	}
	a.backup(t).want(t, 0)
	for name, c := range map[string]struct {
		place []string
		want  int
	}{"Maildir": {[]string{a.dir}, 6}, "server": {append([]string{a.url}, a.flags...), 5}} {
		if n := len(a.ids(t, append(slices.Clone(c.place), "--mailbox", "Post")...)); n != c.want {
			t.Errorf("%s: after changes there are %d messages, want %d", name, n, c.want)
		}
		if n := len(a.ids(t, append(slices.Clone(c.place), "--flag", "flagged", "--subject", "lunch")...)); n != 1 {
			t.Errorf("%s: a flag that was set is not seen: %d", name, n)
		}
	}
	// A cache that is damaged is made again.
	caches, err := filepath.Glob(filepath.Join(a.dir, ".postbag", "headers", "*"))
	if err != nil || len(caches) != 3 {
		t.Fatalf("got caches %q, %v", caches, err)
	}
	for i, f := range caches {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
		data, err := os.ReadFile(f)
		if err == nil {
			data[len(data)*(i+1)/5] ^= 1
			err = os.WriteFile(f, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if again := a.ids(t, a.dir); len(again) != 46 {
		t.Errorf("with damaged caches there are %d messages, want 46", len(again))
	}
	a.verify(t).want(t, 0)
	a.checkState(t)
}

// IDs choose what is restored, and are the same as of any time.
func TestListIDs(t *testing.T) {
	t.Parallel()
	a, target := filledDovecot(t, 223, 30, "INBOX")
	if _, err := target.Fill(slices.Values(headed())); err != nil {
		t.Fatal(err)
	}
	a.backup(t).want(t, 0)
	want := target.MustDump(t)
	run := a.runs(t)[0]
	chosen := a.ids(t, a.dir, "--from", "alice")
	if then := a.ids(t, a.dir, "--from", "alice", "--run", run); !slices.Equal(chosen, then) || len(chosen) != 2 {
		t.Errorf("got %q now and %q of then", chosen, then)
	}
	a.mustDo(t, target, "SELECT Post", `UID STORE 1:* +FLAGS.SILENT (\Deleted)`, "EXPUNGE", "SELECT INBOX", `UID STORE 1:5 +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
	a.backup(t).want(t, 0)
	if then := a.ids(t, a.dir, "--run", run); len(then) != 34 {
		t.Errorf("got %d messages of then, want 34", len(then))
	}
	file := filepath.Join(a.home, "chosen.txt")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, more := range [][]string{nil, {"--run", run}} {
		write(chosen[i] + "\n")
		if s := a.restore(t, append(more, "--ids", file, "--json")...).want(t, 0).summary(t); s.A.New != 1 {
			t.Errorf("%q: put %d messages back, want 1", more, s.A.New)
		}
		a.restore(t, append(more, "--ids", file, "--json")...).want(t, 0).unchanged(t)
	}
	got := map[mail.Digest]bool{}
	for _, e := range target.MustDump(t)["Post"].Messages {
		got[e.Digest] = true
	}
	if len(got) != 2 || !got[want["Post"].Messages[1].Digest] || !got[want["Post"].Messages[2].Digest] {
		t.Errorf("got %d messages, or other ones", len(got))
	}
	if b := a.backup(t, "--json").want(t, 0).summary(t); b.B.New != 0 {
		t.Errorf("the next backup fetched %d messages", b.B.New)
	}
	for name, more := range map[string][]string{"then": {"--run", run}, "then.chosen": {"--run", run, "--ids", file}, "chosen": {"--ids", file}} {
		out := filepath.Join(a.home, name+".mbox")
		write(strings.Join(chosen, "\n"))
		a.run(t, append([]string{"export", a.dir, out}, more...)...).want(t, 0)
		n := strings.Count("\n"+read(t, out), "\nFrom ")
		if wanted := map[bool]int{true: 34, false: 2}[name == "then"]; n != wanted {
			t.Errorf("%s: exported %d messages, want %d", name, n, wanted)
		}
	}
	write("no id\n")
	if r := a.restore(t, "--ids", file); r.code != 2 || !strings.Contains(r.stderr, `"no" is no ID`) {
		t.Errorf("got %s", r)
	}
	a.checkState(t)
}
