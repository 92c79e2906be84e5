package mapping

import (
	"errors"
	"strings"
	"testing"

	"postbag/internal/mail"
)

func boxes(names ...string) (list []mail.MailboxInfo) {
	for _, n := range names {
		name, use, _ := strings.Cut(n, " ")
		list = append(list, mail.MailboxInfo{Name: name, Use: mail.SpecialUse(use), Messages: -1, Bytes: -1})
	}
	return list
}

// noDots is a server whose delimiter is a dot, and that takes no blank at the ends.
func noDots(name string) error {
	for _, c := range mail.SplitName(name) {
		if strings.Contains(c, ".") || strings.TrimSpace(c) != c {
			return errors.New("cannot be")
		}
	}
	return nil
}

// keeps is a server that keeps a name for itself, has nothing below INBOX, and takes
// no two spaces in a row.
func keeps(name string) error {
	if name == "Files" || strings.HasPrefix(name, "Files/") || strings.HasPrefix(name, "INBOX/") || strings.Contains(name, "  ") {
		return errors.New("cannot be")
	}
	return nil
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		source, dest []string
		rules        []string
		under        string
		fits         func(string) error
		want         string
	}{
		"names stay": {source: []string{"INBOX", "Work", "Work/A"}, want: "INBOX>INBOX name, Work>Work name, Work/A>Work/A name"},
		"roles meet": {source: []string{`Gesendet \Sent`, `Papierkorb \Trash`, "Gesendet/2024"}, dest: []string{"INBOX", `Sent_Items \Sent`, `Bin \Trash`},
			want: "Gesendet>Sent_Items role, Gesendet/2024>Sent_Items/2024 role, Papierkorb>Bin role"},
		"a role that nobody has there": {source: []string{`Gesendet \Sent`}, dest: []string{"INBOX"}, want: "Gesendet>Gesendet name"},
		"views are no mailboxes":       {source: []string{`All \All`}, dest: []string{`Everything \All`}, want: "All>All name"},
		"rules go first": {source: []string{`Gesendet \Sent`, "INBOX/Work", "INBOX/Work/A", "INBOX"}, dest: []string{`Sent \Sent`},
			rules: []string{"Gesendet=Old/Sent", "INBOX/*=*"}, want: "Gesendet>Old/Sent rule, INBOX>INBOX name, INBOX/Work>Work rule, INBOX/Work/A>Work/A rule"},
		"an exact rule before a pattern": {source: []string{"A", "AB"}, rules: []string{"A*=X*", "AB=Y"}, want: "A>X rule, AB>Y rule"},
		"left out":                       {source: []string{"A", "B"}, rules: []string{"A="}, want: "A> rule, B>B name"},
		"under":                          {source: []string{"INBOX", `Sent \Sent`}, dest: []string{`Sent \Sent`}, under: "Old", want: "INBOX>Old/INBOX name, Sent>Old/Sent name"},
		"kept for something else":        {source: []string{"Files", "Files/A", "INBOX", "INBOX/A"}, fits: keeps, want: "Files>Files_ changed, Files/A>Files_/A changed, INBOX>INBOX name, INBOX/A>INBOX_/A changed, a   b>a _ b changed"},
		"changed":                        {source: []string{"a.b/c", "trail /x"}, fits: noDots, want: "a.b/c>a_b/c changed, trail /x>trail_/x changed"},
	} {
		var rules []Rule
		for _, text := range tt.rules {
			r, err := ParseRule(text)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, r)
		}
		source := boxes(tt.source...)
		if name == "changed" {
			source = []mail.MailboxInfo{{Name: "a.b/c"}, {Name: "trail /x"}}
		}
		if name == "kept for something else" {
			source = append(source, mail.MailboxInfo{Name: "a   b"})
		}
		routes, err := Plan(source, Dest{Listed: boxes(tt.dest...), Fits: tt.fits}, rules, tt.under)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, r := range routes {
			got = append(got, r.From+">"+r.To+" "+string(r.Why))
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, ", "), tt.want)
		}
	}
}

// Two mailboxes never become one: that is said before anything is sent.
func TestCollisions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		source []string
		dest   Dest
		rules  []Rule
		want   bool
	}{
		"by a rule":     {source: []string{"A", "B"}, rules: []Rule{{"A", "B"}}, want: true},
		"by a role":     {source: []string{`Gesendet \Sent`, "Sent"}, dest: Dest{Listed: boxes(`Sent \Sent`)}, want: true},
		"by a change":   {source: []string{"a.b", "a_b"}, dest: Dest{Fits: noDots}, want: true},
		"by case":       {source: []string{"Foo", "foo"}, dest: Dest{Fold: true}, want: true},
		"case matters":  {source: []string{"Foo", "foo"}},
		"both left out": {source: []string{"A", "B"}, rules: []Rule{{"A", ""}, {"B", ""}}},
	} {
		_, err := Plan(boxes(tt.source...), tt.dest, tt.rules, "")
		if got := err != nil; got != tt.want {
			t.Errorf("%s: got %v, want a refusal: %v", name, err, tt.want)
		}
	}
}

func TestParseRule(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "A", "=B", "A*B*=C*", "A*=B", "A=B*", "A*=*x*"} {
		if _, err := ParseRule(bad); err == nil || mail.AsError(err).Hint == "" {
			t.Errorf("%q: got %v, want an error with a hint", bad, err)
		}
	}
}

// Order of the listings does not matter.
func TestPlanIsIndependentOfOrder(t *testing.T) {
	t.Parallel()
	a, err := Plan(boxes("B", `S \Sent`, "A"), Dest{Listed: boxes("X", `Sent \Sent`)}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Plan(boxes("A", "B", `S \Sent`), Dest{Listed: boxes(`Sent \Sent`, "X")}, nil, "")
	if err != nil || len(a) != len(b) {
		t.Fatal(err, a, b)
	}
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("got %+v and %+v", a[i], b[i])
		}
	}
}
