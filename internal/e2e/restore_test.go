package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

func (a *account) restore(t testing.TB, more ...string) *call {
	t.Helper()
	args := append([]string{"restore", a.dir, a.url}, a.flags...)
	return a.run(t, append(args, more...)...)
}

// After a mass deletion on the server a restore brings everything back, once, with
// flags and dates; a second one copies nothing, and the next backup fetches nothing.
func TestRestoreAfterADisaster(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, into(demo.Corpus(101, 100), "INBOX", "Work", "Archive/2024"))
	target := dovecot.Target(user)
	a := onTarget(t, target)
	a.backup(t).want(t, 0)
	want := target.MustDump(t)
	c := client(t, target)
	do(t, c, "SELECT INBOX", `UID STORE 1:30 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1:30", "UNSELECT", "DELETE Archive/2024")
	a.backup(t).want(t, 0)
	tree := treeDump(t, a.dir).Content()

	plan := a.restore(t, "--dry-run", "--json").want(t, 0).summary(t)
	s := a.restore(t, "--json").want(t, 0).summary(t)
	if diff := imaptest.Diff(want.Content(), target.MustDump(t).Content()); diff != "" {
		t.Errorf("the server is not as it was (- missing, + extra):\n%s", clip(diff))
	}
	if s.B != (counts{}) || treeDump(t, a.dir).Content() != tree {
		t.Error("a restore changed the Maildir")
	}
	t.Logf("planned %+v, did %+v", plan.A, s.A)
	a.restore(t, "--json").want(t, 0).unchanged(t)
	if b := a.backup(t, "--json").want(t, 0).summary(t); b.B.New != 0 {
		t.Errorf("the next backup fetched %d messages", b.B.New)
	}
	a.verify(t, "--deep").want(t, 0)
	if treeDump(t, a.dir).Content() != tree {
		t.Error("the next backup changed the Maildir")
	}
}

// A Maildir goes to a server that it did not come from, under a mailbox of its
// own or not, and what is there already is not doubled.
func TestRestoreToAnotherServer(t *testing.T) {
	t.Parallel()
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := from.NewUser()
	from.Fill(user, into(demo.Corpus(102, 60), "INBOX", "Work"))
	from.Fill(user, slices.Values(slices.DeleteFunc(demo.Torture(), func(s demo.Sample) bool { return !s.Safe() })))
	a := onTarget(t, from.Target(user))
	a.backup(t).want(t, 0)
	want := from.Target(user).MustDump(t)

	other := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	target := other.Target(other.NewUser())
	b := *a
	b.url = "imap://" + target.User + "@" + target.Addr
	b.restore(t).want(t, 0)
	if diff := imaptest.Diff(want.Content(), target.MustDump(t).Content()); diff != "" {
		t.Errorf("the other server has something else (- missing, + extra):\n%s", clip(diff))
	}
	b.restore(t, "--json").want(t, 0).unchanged(t)

	b.restore(t, "--under", "Old mail", "--mailbox", "Work").want(t, 0)
	d := target.MustDump(t)
	if got := len(d["Old mail/Work"].Messages); got != len(want["Work"].Messages) || got == 0 {
		t.Errorf("under another mailbox there are %d messages", got)
	}
	b.restore(t, "--under", "Old mail", "--mailbox", "Work", "--json").want(t, 0).unchanged(t)

	third := other.Target(other.NewUser())
	if _, err := third.Fill(into(demo.Corpus(102, 60), "INBOX", "Work")); err != nil {
		t.Fatal(err)
	}
	b.url = fmt.Sprintf("imap://%s@%s", third.User, third.Addr)
	s := b.restore(t, "--json", "--mailbox", "INBOX").want(t, 0).summary(t)
	if s.A.New != 0 {
		t.Errorf("%d messages that are there already were uploaded", s.A.New)
	}
}

// A restore of a part puts that part there and nothing else: by mailbox, by date, by
// size, by role, to another name, below a mailbox. A second one copies nothing, a
// wider one the rest.
func TestRestoreOfAPart(t *testing.T) {
	t.Parallel()
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := from.NewUser()
	from.Fill(user, into(demo.Corpus(103, 80), "INBOX", "Work", "Archive/2023", "Archive/2024"))
	a := onTarget(t, from.Target(user))
	a.backup(t).want(t, 0)
	all := from.Target(user).MustDump(t)
	var dates []time.Time
	var sizes []int64
	for _, box := range all {
		for _, m := range box.Messages {
			dates, sizes = append(dates, m.Date), append(sizes, m.Size)
		}
	}
	slices.SortFunc(dates, time.Time.Compare)
	slices.Sort(sizes)
	day, size := dates[len(dates)/2].UTC().Truncate(24*time.Hour), sizes[len(sizes)/2]
	other := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	for name, test := range map[string]struct {
		flags []string
		takes func(box string, m imaptest.Entry) bool
		name  func(string) string
	}{
		"mailbox": {[]string{"--mailbox", "Archive/*"}, func(box string, _ imaptest.Entry) bool { return strings.HasPrefix(box, "Archive/") }, nil},
		"all but": {[]string{"--mailbox", "!Work"}, func(box string, _ imaptest.Entry) bool { return box != "Work" }, nil},
		"since":   {[]string{"--since", day.Format(time.DateOnly)}, func(_ string, m imaptest.Entry) bool { return !m.Date.Before(day) }, nil},
		"before":  {[]string{"--before", day.Format(time.DateOnly)}, func(_ string, m imaptest.Entry) bool { return m.Date.Before(day) }, nil},
		"larger":  {[]string{"--larger", strconv.FormatInt(size, 10)}, func(_ string, m imaptest.Entry) bool { return m.Size > size }, nil},
		"smaller": {[]string{"--smaller", strconv.FormatInt(size, 10), "--mailbox", "INBOX"}, func(box string, m imaptest.Entry) bool { return m.Size < size && box == "INBOX" }, nil},
		"mapped":  {[]string{"--map", "Archive/*=Old/*", "--map", "Work="}, func(box string, _ imaptest.Entry) bool { return box != "Work" }, func(s string) string { return strings.Replace(s, "Archive/", "Old/", 1) }},
		"below":   {[]string{"--under", "From 2024/Backup", "--since", day.Format(time.DateOnly)}, func(_ string, m imaptest.Entry) bool { return !m.Date.Before(day) }, func(s string) string { return "From 2024/Backup/" + s }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := other.Target(other.NewUser())
			b := *a
			b.url = "imap://" + target.User + "@" + target.Addr
			want := imaptest.Dump{}
			n := 0
			for box, d := range all {
				to := box
				if test.name != nil {
					to = test.name(box)
				}
				part := d
				part.Messages = slices.DeleteFunc(slices.Clone(d.Messages), func(m imaptest.Entry) bool { return !test.takes(box, m) })
				n += len(part.Messages)
				want[to] = part
			}
			if total := all.Count(); n == 0 || n == total {
				t.Fatalf("the part is %d of %d messages", n, total)
			}
			plan := b.restore(t, append(test.flags, "--dry-run", "--json")...).want(t, 0).summary(t)
			if target.MustDump(t).Count() != 0 {
				t.Error("a dry run restored something")
			}
			s := b.restore(t, append(test.flags, "--json")...).want(t, 0).summary(t)
			if s.A.New != n || s.B != (counts{}) || plan.A.New != n {
				t.Errorf("%d were planned and %d restored, want %d", plan.A.New, s.A.New, n)
			}
			same := func(name string) string { return name }
			if diff := imaptest.Diff(renamed(want, same).Content(), renamed(target.MustDump(t), same).Content()); diff != "" {
				t.Errorf("the server has something else (- missing, + extra):\n%s", clip(diff))
			}
			b.restore(t, append(test.flags, "--json")...).want(t, 0).unchanged(t)
			if test.name == nil {
				if s := b.restore(t, "--json").want(t, 0).summary(t); s.A.New != all.Count()-n {
					t.Errorf("all of it is %d messages more, want %d", s.A.New, all.Count()-n)
				}
				b.restore(t, "--json").want(t, 0).unchanged(t)
			}
		})
	}
}
