package e2e

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// Twenty accounts of a list, of which one has a wrong password, one is larger than
// the destination lets it be, and one's server is not there: seventeen are done, the
// three are named with their reasons and codes. After mending, the same list finishes
// those three alone.
func TestMigrateList(t *testing.T) {
	t.Parallel()
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	to := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	small := imaptest.StartDovecot(t, imaptest.DovecotOptions{Extra: `
mail_plugins = $mail_plugins quota
protocol imap {
  mail_plugins = $mail_plugins imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=20K
}
`})
	a := newAccount(t, "", imaptest.DovecotPassword)
	a.env = append(a.env, "RIGHT="+imaptest.DovecotPassword, "WRONG=no")
	var sources, dests []imaptest.Target
	list := func(bad bool) string {
		var b strings.Builder
		b.WriteString("# from everywhere\nfrom,to,from_password_env,to_password_env,mailbox\n")
		for i := range sources {
			dest, password, box := "imap://"+dests[i].User+"@"+dests[i].Addr, "RIGHT", ""
			switch {
			case bad && i == 3:
				password = "WRONG"
			case bad && i == 7:
				dest = "imap://full@" + small.Addr()
			case bad && i == 11:
				dest = "imap://nobody@127.0.0.1:1"
			}
			fmt.Fprintf(&b, "imap://%s@%s,%s,%s,RIGHT,%s\n", sources[i].User, sources[i].Addr, dest, password, box)
		}
		path := filepath.Join(a.home, "list.csv")
		must(t, os.WriteFile(path, []byte(b.String()), 0o600))
		return path
	}
	for i := range 20 {
		user := from.NewUser()
		from.Fill(user, into(demo.Corpus(uint64(200+i), 12), "INBOX", "Work"))
		sources, dests = append(sources, from.Target(user)), append(dests, to.Target(to.NewUser()))
	}
	run := func(path string, more ...string) *call {
		return a.run(t, append([]string{"migrate", "--csv", path, "--jobs", "4", "--allow-plaintext", "--to-allow-plaintext"}, more...)...)
	}
	report := filepath.Join(a.home, "report.csv")
	c := run(list(true), "--report", report).want(t, 5)
	if !strings.Contains(c.stdout, "17 of 20 accounts done") {
		t.Errorf("of the list it says\n%s", c)
	}
	codes := map[string]int{}
	f, err := os.Open(report)
	must(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	must(t, err)
	for _, row := range rows[1:] {
		codes[row[2]]++
		if row[2] != "0" && row[8] == "" {
			t.Errorf("no reason for %q", row)
		}
	}
	if len(rows) != 21 || codes["0"] != 17 || codes["5"] != 1 || codes["8"] != 1 || codes["7"] != 1 {
		t.Errorf("the report has the codes %v: %q", codes, rows)
	}
	s := run(list(false), "--json").want(t, 0).summary(t)
	if s.B.New != 36 {
		t.Errorf("after mending %d messages were copied, want the 36 of three accounts", s.B.New)
	}
	for i := range sources {
		m := &moving{from: sources[i], to: dests[i]}
		m.same(t)
	}
	run(list(false), "--json").want(t, 0).unchanged(t)
}

// A list is read whole before anything is done, and its mistakes are named by line.
func TestMigrateListIsChecked(t *testing.T) {
	t.Parallel()
	a := newAccount(t, "", "x")
	path := filepath.Join(a.home, "list.csv")
	for name, tt := range map[string]struct{ text, want string }{
		"empty":           {"", "has no header"},
		"nothing in it":   {"from,to\n", "lists nothing"},
		"unknown column":  {"from,too\n", `line 1: unknown column "too"`},
		"a password":      {"from,to,from_password\n", `unknown column "from_password"`},
		"too many fields": {"from,to\na,b,c\n", "line 2"},
		"no server":       {"from,to\n/tmp,imaps://b@example.org\n", "line 2"},
		"to itself":       {"from,to\nimaps://b@example.org,imaps://b@example.org\n", "copied to itself"},
		"one goes twice":  {"from,to\nimaps://a@example.org,imaps://c@example.net\nimaps://b@example.org,imaps://c@example.net\n", "line 3: goes to c@example.net, as line 2 does"},
		"two passwords":   {"from,to,from_password_env,from_password_file\nimaps://a@example.org,imaps://c@example.net,A,b\n", "more than one password"},
	} {
		must(t, os.WriteFile(path, []byte(tt.text), 0o600))
		if c := a.run(t, "migrate", "--csv", path).want(t, 2); !strings.Contains(c.stderr, tt.want) {
			t.Errorf("%s: it says %s, want %q in it", name, c.stderr, tt.want)
		}
	}
	must(t, os.WriteFile(path, []byte("from,to\nimaps://a@example.org,imaps://c@example.net\n"), 0o600))
	for _, bad := range []string{"0/2", "3/2", "x", "/0", "/2"} {
		a.run(t, "migrate", "--csv", path, "--shard", bad).want(t, 2)
	}
}
