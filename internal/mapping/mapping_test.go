package mapping

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/internal/storetest"
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

// Where \\All holds only what has no label, it goes to the archive, or to \\All of a
// server with labels; to neither when something else goes there, or a rule says where.
func TestArchive(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		source, dest []string
		rules        []Rule
		labels       bool
		under        string
		want         string
	}{
		"no archive there":   {source: []string{`G/All \All`, "INBOX"}, want: "Archive role"},
		"an archive there":   {source: []string{`G/All \All`}, dest: []string{`Archiv \Archive`, `Virtual \All`}, want: "Archiv role"},
		"labels there":       {source: []string{`G/All \All`}, dest: []string{`Archiv \Archive`, `G/Alles \All`}, labels: true, want: "G/Alles role"},
		"a label Archive":    {source: []string{`G/All \All`, "Archive"}, want: "G/All name"},
		"an archive here":    {source: []string{`G/All \All`, `Old \Archive`}, dest: []string{`Archiv \Archive`}, want: "G/All name"},
		"a rule":             {source: []string{`G/All \All`}, rules: []Rule{{"G/All", "Old"}}, want: "Old rule"},
		"a rule leads there": {source: []string{`G/All \All`, "Work"}, rules: []Rule{{"Work", "Archive"}}, want: "G/All name"},
		"under":              {source: []string{`G/All \All`}, under: "Gmail", want: "Gmail/G/All name"},
	} {
		routes, err := Plan(boxes(tt.source...), Dest{Listed: boxes(tt.dest...), Archive: true, Labels: tt.labels}, tt.rules, tt.under)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := routes[slices.IndexFunc(routes, func(r Route) bool { return r.From == "G/All" })]; got.To+" "+string(got.Why) != tt.want {
			t.Errorf("%s: G/All goes to %s (%s), want %s", name, got.To, got.Why, tt.want)
		}
	}
}

// A store under other names links, and makes the archive as what it is.
func TestStoreUnderOtherNames(t *testing.T) {
	t.Parallel()
	inner := &rolesOf{Store: storetest.NewStore(false)}
	inner.Links = true
	s := New(inner, []Route{{From: "G/All", To: "Archive", Use: mail.UseAll, Why: ByRole}, {From: "Box", To: "There", Why: ByRule}})
	for _, name := range []string{"G/All", "Box"} {
		if err := s.Create(t.Context(), name, mail.UseAll); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{`Archive \Archive`, `There \All`}; !slices.Equal(inner.made, want) {
		t.Errorf("made %q, want %q", inner.made, want)
	}
	body := "Message-ID: <a@x>\r\n\r\nx\r\n"
	ref := inner.Put("There", mail.Flags{}, time.Unix(1700000000, 0), body)
	from, err := s.Examine(t.Context(), "Box")
	if err != nil {
		t.Fatal(err)
	}
	to, err := s.Select(t.Context(), "G/All")
	if err != nil {
		t.Fatal(err)
	}
	b, err := to.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	m := mail.Message{Date: time.Unix(1700000000, 0), Size: int64(len(body)), ID: mail.Identity{Digest: sha256.Sum256([]byte(body))}}
	for name, there := range map[string]bool{"Box": true, "There": false, "G/All": false} {
		p, err := b.(mail.Linker).Link(t.Context(), m, mail.Place{Mailbox: name, Validity: from.Info().Validity, Ref: ref, Date: m.Date})
		if (err == nil) != there || err != nil && mail.AsError(err).Scope != mail.ScopeMessage {
			t.Errorf("link from %s: %v, %v", name, p, err)
		}
	}
}

// rolesOf notes what is made, with its role.
type rolesOf struct {
	*storetest.Store
	made []string
}

func (r *rolesOf) Create(ctx context.Context, name string, use mail.SpecialUse) error {
	r.made = append(r.made, name+" "+string(use))
	return r.Store.Create(ctx, name, use)
}
