package imapstore

import (
	"strings"
	"testing"

	"postbag/internal/mail"
)

// hostileNames are names on the wire that servers list, or could.
var hostileNames = []string{
	"INBOX", "inbox/x", "INBOX.INBOX", "INBOX.INBOX.x", "INBOX.Sent", "INBOX/Sent", "Inbox/x", "INBOX/x",
	"", "/", "a/", "a//b", "/a", ".", "..", "../x", "a/../b", "./x", "~root/x", "$HOME", "cur", "new/tmp",
	"a.b", "a\\b", "a\"b", "a*b", "a%b", "a%2Fb", "a%252Fb", " a ", "a  b", "-rf", "`id`",
	"&AAA-", "&AAo-", "&ABs-", "&IK4-", "&2D0-", "&2D3cAA-", "bad&", "&AGE-", "a&AC8-b", "&&-", "&AAk", "&-", "a&-b",
	"caf\xe9", "caf\xc3\xa9", "caf&AOk-", "cafe&AwE-", "&Jjo-&Jjo-", "&Jjomug-", "a\tb", "a\x7fb", "a\x1bb",
	"=raw=x", "=raw=", "=raw==3D", "=wire=x", "=wire==2F", "x/=raw=y", "x/=wire=y", "=RAW=x",
	strings.Repeat("x", 300), strings.Repeat("a/", 100) + "a",
}

var layouts = []layout{
	{delim: '/'}, {delim: '.'}, {delim: '.', prefix: "INBOX."}, {delim: '/', prefix: "INBOX/"}, {delim: '\\'}, {delim: '"'},
	{delim: '/', prefix: "Mail/"}, {},
}

// What is listed gets a name of its own, and the name leads back to the bytes
// that were listed, with the listing at hand and, for one mailbox by itself,
// without.
func TestNamesOfListedMailboxes(t *testing.T) {
	t.Parallel()
	for _, l := range layouts {
		var mailboxes []*listed
		for _, wire := range hostileNames {
			mailboxes = append(mailboxes, &listed{wire: wire, delim: l.delim})
		}
		s := &Store{}
		infos := s.adopt(l, mailboxes, false)
		seen := make(map[string]bool)
		for _, info := range infos {
			if seen[info.Name] {
				t.Errorf("%+v: two mailboxes are called %q", l, info.Name)
			}
			seen[info.Name] = true
			if !strings.EqualFold(info.Name, "INBOX") && mail.JoinName(mail.SplitName(info.Name)...) != info.Name {
				t.Errorf("%+v: %q is not as JoinName writes it", l, info.Name)
			}
		}
		back := make(map[string]bool)
		for _, p := range s.names {
			back[p.wire] = true
		}
		for _, wire := range hostileNames {
			if !back[wire] {
				t.Errorf("%+v: no name leads to %q", l, wire)
			}
			name := l.name(wire, l.delim)
			if got, err := l.wireName(name); err == nil && got != wire && !strings.EqualFold(got, wire) && !caught(l, wire, got) {
				t.Errorf("%+v: %q is called %q, which leads to %q", l, wire, name, got)
			}
		}
	}
}

// caught reports whether the names of two mailboxes may be one: those within the
// personal namespace and those outside it, which names keeps apart.
func caught(l layout, a, b string) bool {
	_, inA := l.cutPrefix(a)
	_, inB := l.cutPrefix(b)
	return inA != inB
}

func TestNames(t *testing.T) {
	t.Parallel()
	slash, dot, below := layout{delim: '/'}, layout{delim: '.'}, layout{delim: '.', prefix: "INBOX."}
	tests := []struct {
		layout layout
		wire   string
		want   string
	}{
		{slash, "iNbOx", "INBOX"},
		{slash, "Inbox/a", "INBOX/a"},
		{slash, "a.b/c", "a.b/c"},
		{slash, "Entw&APw-rfe/&-", "Entwürfe/&"},
		{dot, "a/b.c", "a%2Fb/c"},
		{dot, "a%2Fb", "a%252Fb"},
		{below, "INBOX.Work.a", "Work/a"},
		{below, "inbox.Work.a", "Work/a"},
		{below, "INBOX.INBOX", "=raw=INBOX"},
		{below, "INBOX.INBOX.x", "INBOX/x"},
		{below, "Public.x", "Public/x"},
		{slash, "A&B", "=raw=A&B"},
		{slash, "x/caf\xe9", "x/=raw=caf=E9"},
		{slash, "x/=raw=y", "x/=raw==3Draw=3Dy"},
		{slash, "", ""},
		{slash, "a//b", "a//b"},
		{slash, "..", ".."},
		{layout{}, "a/b.c", "a%2Fb.c"},
	}
	for _, test := range tests {
		if got := test.layout.name(test.wire, test.layout.delim); got != test.want {
			t.Errorf("%+v: %q is called %q, want %q", test.layout, test.wire, got, test.want)
		}
	}
}

func TestWireNamesOfNewMailboxes(t *testing.T) {
	t.Parallel()
	slash, dot, below := layout{delim: '/'}, layout{delim: '.'}, layout{delim: '.', prefix: "INBOX."}
	tests := []struct {
		layout layout
		name   string
		want   string // "" for an error
	}{
		{slash, "Entwürfe/a", "Entw&APw-rfe/a"},
		{slash, "a%2Fb", ""}, // holds the delimiter
		{dot, "a%2Fb", "a/b"},
		{dot, "a.b", ""},
		{below, "Work/a", "INBOX.Work.a"},
		{below, "INBOX", "INBOX"},
		{below, "INBOX/a", "INBOX.INBOX.a"},
		{slash, "a\xffb", ""},
		{slash, "=raw=A&B", "A&B"},
		{slash, "=raw=a=0D=0Ab", ""},
		{slash, "=raw=a=00", ""},
		{slash, "=raw=zz=", ""},
		{slash, "a/=wire=b", ""},
		{layout{}, "a/b", ""},
		{layout{}, "a", "a"},
	}
	for _, test := range tests {
		got, err := test.layout.wireName(test.name)
		if (err != nil) != (test.want == "") || got != test.want && err == nil {
			t.Errorf("%+v: %q is %q, %v on the wire, want %q", test.layout, test.name, got, err, test.want)
		}
	}
}

// Two mailboxes whose names become one, as only some servers allow them, stay
// two, and which is which does not depend on the order of the listing.
func TestNamesWhenTwoMailboxesShareOne(t *testing.T) {
	t.Parallel()
	lists := [][]*listed{
		{{wire: "Inbox/x", delim: '/'}, {wire: "INBOX/x", delim: '/'}, {wire: "a.b", delim: '.'}, {wire: "a/b", delim: '/'}},
		{{wire: "a/b", delim: '/'}, {wire: "a.b", delim: '.'}, {wire: "INBOX/x", delim: '/'}, {wire: "Inbox/x", delim: '/'}},
	}
	want := map[string]string{"INBOX/x": "INBOX/x", "=wire=Inbox=2Fx": "Inbox/x", "a/b": "a/b", "=wire=a.b": "a.b"}
	for _, list := range lists {
		s := &Store{}
		s.adopt(layout{delim: '/'}, list, false)
		for name, wire := range want {
			if got := s.names[name].wire; got != wire {
				t.Errorf("%q leads to %q, want %q", name, got, wire)
			}
		}
	}
}

func TestLookUpBelowOddParents(t *testing.T) {
	t.Parallel()
	s := &Store{}
	s.adopt(layout{delim: '/'}, []*listed{
		{wire: "Inbox", delim: '/'}, {wire: "Inbox/a", delim: '/'}, {wire: "caf\xe9", delim: '/'}, {wire: "flat"}, {wire: "#news", delim: '.'},
	}, false)
	for name, want := range map[string]string{
		"INBOX/a/b": "Inbox/a/b", "INBOX/c": "Inbox/c", "=raw=caf=E9/ü": "caf\xe9/&APw-", "#news/x": "#news.x", "flat/x": "flat/x",
	} {
		p, err := s.lookUp(name)
		if err != nil || p.wire != want {
			t.Errorf("%q: got %q, %v, want %q", name, p.wire, err, want)
		}
	}
	s = &Store{}
	s.adopt(layout{delim: '.', prefix: "INBOX."}, []*listed{{wire: "INBOX", delim: '.'}, {wire: "INBOX.a", delim: '.'}}, false)
	for name, want := range map[string]string{"a/b": "INBOX.a.b", "c": "INBOX.c", "INBOX/x": "INBOX.INBOX.x"} {
		p, err := s.lookUp(name)
		if err != nil || p.wire != want {
			t.Errorf("%q: got %q, %v, want %q", name, p.wire, err, want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, wire := range hostileNames {
		f.Add(wire, byte('/'), "")
		f.Add(wire, byte('.'), "INBOX.")
	}
	f.Fuzz(func(t *testing.T, wire string, delim byte, prefix string) {
		l := layout{delim: usableDelim(delim)}
		if prefix != "" && l.delim != 0 {
			l.prefix = "INBOX" + string(l.delim)
		}
		name := l.name(wire, delim)
		if mail.JoinName(mail.SplitName(name)...) != name {
			t.Fatalf("%q is called %q, which is not as JoinName writes it", wire, name)
		}
		if strings.ContainsAny(wire, "\x00\r\n") {
			return
		}
		back, err := l.wireName(name)
		if err != nil || strings.EqualFold(back, wire) {
			return
		}
		if _, within := l.cutPrefix(wire); within {
			t.Fatalf("%q is called %q, which leads to %q", wire, name, back)
		}
	})
}

func TestRoles(t *testing.T) {
	t.Parallel()
	list := []*listed{
		{wire: "INBOX"}, {wire: "Sent"}, {wire: "Sent Items"}, {wire: "Spam"}, {wire: "Trash", attrs: []string{`\NOSELECT`}},
		{wire: "Papierkorb"}, {wire: "x"},
	}
	names := []string{"INBOX", "Sent", "Sent Items", "Spam", "Trash", "Papierkorb", "x"}
	want := []mail.SpecialUse{"", mail.UseSent, "", mail.UseJunk, "", mail.UseTrash, ""}
	for i, got := range rolesOf(list, names) {
		if got != want[i] {
			t.Errorf("%s: got %q, want %q", names[i], got, want[i])
		}
	}
	list[6].attrs = []string{`\HASNOCHILDREN`, `\ALLMAIL`}
	for i, got := range rolesOf(list, names) {
		if want := map[int]mail.SpecialUse{6: mail.UseAll}[i]; got != want {
			t.Errorf("%s, when the server tells roles: got %q, want %q", names[i], got, want)
		}
	}
}

func TestDoubtful(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		list []*listed
		want bool
	}{
		{"plain", []*listed{{wire: "INBOX", delim: '/'}, {wire: "a", delim: '/'}, {wire: "a/b", delim: '/'}, {wire: "INBOX/x", delim: '/'}}, false},
		{"below INBOX", []*listed{{wire: "INBOX", delim: '.'}, {wire: "INBOX.a", delim: '.'}}, true},
		{"only INBOX", []*listed{{wire: "INBOX", delim: '/'}}, true},
		{"no parent", []*listed{{wire: "INBOX", delim: '/'}, {wire: "Shared/bob", delim: '/'}}, true},
		{"parent without messages", []*listed{{wire: "user", delim: '.', attrs: []string{`\NOSELECT`}}, {wire: "user.bob", delim: '.'}}, true},
		{"two delimiters", []*listed{{wire: "a", delim: '/'}, {wire: "b", delim: '.'}, {wire: "c", delim: '/'}}, true},
		{"news", []*listed{{wire: "#news", delim: '/'}}, true},
	}
	for _, test := range tests {
		if got := doubtful(test.list, commonDelim(test.list)); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}
