package auth

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestSplitCommand(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line    string
		want    []string
		wantErr string
	}{
		{"pass show mail/work", []string{"pass", "show", "mail/work"}, ""},
		{"  a\t b\n", []string{"a", "b"}, ""},
		{`a 'b c' "d e" f\ g`, []string{"a", "b c", "d e", "f g"}, ""},
		{`a '' ""`, []string{"a", "", ""}, ""},
		{`a'b'"c"d`, []string{"abcd"}, ""},
		{`a 'x"$(y)' "it's" \"`, []string{"a", `x"$(y)`, "it's", `"`}, ""},
		{`a "b\"c\\d\$e\f"`, []string{"a", `b"c\d$e\f`}, ""},
		{`sh -c 'pass a | head -n1'`, []string{"sh", "-c", "pass a | head -n1"}, ""},
		{"", nil, "command line: it names no program"},
		{"'' a", nil, "command line: it names no program"},
		{"a 'b", nil, "command line: a ' is not closed"},
		{`a "b`, nil, `command line: a " is not closed`},
		{`a \`, nil, "command line: it ends in a backslash"},
		{"a | b", nil, "command line: '|' is for a shell, and none runs"},
		{"a $HOME", nil, "command line: '$' is for a shell, and none runs"},
		{`a "$HOME"`, nil, "command line: '$' is for a shell, and none runs"},
		{"a `b`", nil, "command line: '`' is for a shell, and none runs"},
		{"a; b", nil, "command line: ';' is for a shell, and none runs"},
		{"a > b", nil, "command line: '>' is for a shell, and none runs"},
		{"a *", nil, "command line: '*' is for a shell, and none runs"},
		{"a\x00b", nil, "command line: it holds a NUL"},
	}
	for _, test := range tests {
		got, err := SplitCommand(test.line)
		if !slices.Equal(got, test.want) || errText(err) != test.wantErr {
			t.Errorf("%q: got %q, %q, want %q, %q", test.line, got, errText(err), test.want, test.wantErr)
		}
	}
}

// What SplitCommand accepts, a shell splits the same way.
func FuzzSplitCommand(f *testing.F) {
	for _, line := range []string{"pass show x", `a 'b c' "d\"e" f\ g''`, `a"'"b`, `"\x"`, "a\tb\nc", `'a'\''b'`} {
		f.Add(line)
	}
	sh, err := exec.LookPath("sh")
	f.Fuzz(func(t *testing.T, line string) {
		words, splitErr := SplitCommand(line)
		if splitErr != nil {
			if words != nil {
				t.Errorf("%q: words with an error: %q", line, words)
			}
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		again, againErr := SplitCommand(strings.Join(quoted, " "))
		if againErr != nil || !slices.Equal(again, words) {
			t.Errorf("%q: got %q, then %q, %v", line, words, again, againErr)
		}
		// The shell has more syntax than we take: comments, tildes, braces,
		// assignments, a backslash before a newline.
		if err != nil || strings.ContainsAny(line, "#~={}[]!\n") || !plainASCII(line) {
			return
		}
		out, runErr := exec.Command(sh, "-c", `set -f; printf '%s\n' `+line).Output()
		if got, want := string(out), strings.Join(words, "\n")+"\n"; runErr == nil && got != want {
			t.Errorf("%q: a shell splits it into %q, we into %q", line, got, want)
		}
	})
}

func plainASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' })
}

func TestParseMechanism(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": "", "auto": "", "Plain": "PLAIN", "login": "LOGIN", "xoauth2": "XOAUTH2", "OAUTHBEARER": "OAUTHBEARER"} {
		if got, err := ParseMechanism(name); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := ParseMechanism("ntlm"); errText(err) != `auth: unknown mechanism "ntlm"` {
		t.Errorf("got %v", err)
	}
	if !IsToken("XOAUTH2") || IsToken("PLAIN") {
		t.Error("IsToken is wrong")
	}
}
