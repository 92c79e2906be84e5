package config

import (
	"strings"
	"testing"

	"postbag/internal/mail"
)

var tree = []mail.MailboxInfo{
	{Name: "INBOX"}, {Name: "INBOX/Old"}, {Name: "Sent Items", Use: mail.UseSent}, {Name: "Spam", Use: mail.UseJunk},
	{Name: "Work"}, {Name: "Work/A"}, {Name: "Work/A/deep"}, {Name: "Workshop"}, {Name: "a*b"}, {Name: "a!b"}, {Name: "Entwürfe"}, {Name: `\odd`},
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	const all = `INBOX,INBOX/Old,Sent Items,Spam,Work,Work/A,Work/A/deep,Workshop,a*b,a!b,Entwürfe,\odd`
	tests := []struct{ patterns, want string }{
		{"", all},
		{"*", all},
		{"Work", "Work"},
		{"work", ""},
		{"Work/*", "Work/A,Work/A/deep"},
		{"Work*", "Work,Work/A,Work/A/deep,Workshop"},
		{"*/*", "INBOX/Old,Work/A,Work/A/deep"},
		{"*/*e*", "Work/A/deep"},
		{"inbox", "INBOX"},
		{"Inbox/*", "INBOX/Old"},
		{"INBOX/old", ""},
		{"inbox*", ""},
		{`\Sent`, "Sent Items"},
		{`\sent|\Junk`, "Sent Items,Spam"},
		{`!\Junk`, strings.Replace(all, "Spam,", "", 1)},
		{`!Work*|Work`, ""},
		{`Work*|!Work/A*`, "Work,Workshop"},
		{`a\*b`, "a*b"},
		{"a?b", "a*b,a!b"},
		{`a\!b`, "a!b"},
		{`\\odd`, `\odd`},
		{"Entw?rfe", "Entwürfe"},
		{"Entw??rfe", ""},
		{"Work/A|INBOX", "INBOX,Work/A"},
	}
	for _, test := range tests {
		var list []string
		if test.patterns != "" {
			list = strings.Split(test.patterns, "|")
		}
		p, err := ParsePatterns(list)
		if err != nil {
			t.Errorf("%s: %v", test.patterns, err)
			continue
		}
		var got []string
		for _, info := range tree {
			if p.Match(info) {
				got = append(got, info.Name)
			}
		}
		if got := strings.Join(got, ","); got != test.want {
			t.Errorf("%s: got %s, want %s", test.patterns, got, test.want)
		}
	}
	if !(*Patterns)(nil).Match(tree[0]) || (*Patterns)(nil).Check(tree) != nil {
		t.Error("nil patterns do not choose all")
	}
}

func TestPatternsCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ patterns, want, hint string }{
		{"Work|INBOX|!Nothing", "", ""},
		{"INBOX|Wrok", "mailbox Wrok: no mailbox matches", "did you mean Work?"},
		{"work", "mailbox work: no mailbox matches", "did you mean Work?"},
		{"Zzzzz/*", "mailbox Zzzzz/*: no mailbox matches", "the command mailboxes lists what is there"},
		{`\Trash`, `mailbox \Trash: no mailbox has this role`, "the server may not tell roles: give the mailbox's name"},
	} {
		p, err := ParsePatterns(strings.Split(test.patterns, "|"))
		if err != nil {
			t.Fatal(err)
		}
		err = p.Check(tree)
		if got := errText(err); got != test.want {
			t.Errorf("%s: got %q, want %q", test.patterns, got, test.want)
		}
		if err != nil && mail.AsError(err).Hint != test.hint {
			t.Errorf("%s: got hint %q, want %q", test.patterns, mail.AsError(err).Hint, test.hint)
		}
	}
}

func TestParsePatternsErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":      "mailbox : the pattern is empty",
		"!":     "mailbox !: the pattern is empty",
		`\Snet`: `mailbox \Snet: there is no role of that name`,
		`a\`:    `mailbox a\: the pattern ends in a backslash`,
		"\xff":  "mailbox \xff: the pattern is no UTF-8",
	} {
		if _, err := ParsePatterns([]string{text}); errText(err) != want {
			t.Errorf("%q: got %q, want %q", text, errText(err), want)
		}
	}
}

// A name with its special characters escaped is a pattern for that name and for
// no other; and no pattern takes long.
func FuzzPattern(f *testing.F) {
	f.Add("Work/*", "Work/A")
	f.Add("!a?b", "axb")
	f.Add(strings.Repeat("*a", 50)+"b", strings.Repeat("a", 200))
	f.Add(`\\Sent`, `\Sent`)
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if p, err := ParsePatterns([]string{pattern}); err == nil {
			p.Match(mail.MailboxInfo{Name: name})
		}
		p, err := ParsePatterns([]string{strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "!", `\!`).Replace(name)})
		if err != nil {
			return // empty, or no UTF-8
		}
		isInbox := strings.EqualFold(strings.Split(name, "/")[0], "INBOX")
		if !isInbox && !p.Match(mail.MailboxInfo{Name: name}) {
			t.Errorf("%q does not match itself", name)
		}
		if p.Match(mail.MailboxInfo{Name: name + "x"}) {
			t.Errorf("%q matches with an x behind it", name)
		}
	})
}
