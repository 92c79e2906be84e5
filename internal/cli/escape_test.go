package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"INBOX":                 "INBOX",
		`\Sent`:                 `\Sent`,
		"Entwürfe 日本語 ☃ 🎉":      "Entwürfe 日本語 ☃ 🎉",
		"a\x1b[31mred":          `a\x1b[31mred`,
		"a\nb\rc\td":            `a\x0ab\x0dc\x09d`,
		"\x00\x07\x08\x7f":      `\x00\x07\x08\x7f`,
		"\u0085\u009b31m":       `\u0085\u009b31m`,
		"\xff\xc3":              `\xff\xc3`,
		"a\u202eb\u2066c":       `a\u202eb\u2066c`,
		"a\u200bb\u200dc\ufeff": `a\u200bb\u200dc\ufeff`,
		"\u2028\u2029":          `\u2028\u2029`,
		"\U000e0041":            `\U000e0041`,
		"\u3164\u2800":          `\u3164\u2800`,
		"100%s %d":              "100%s %d",
		"\u00a0\u3000":          "\u00a0\u3000",
	} {
		if got := escape(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if got := escape(strings.Repeat("x", 1e6)); len(got) > maxShown+3 {
		t.Errorf("got %d octets", len(got))
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b]0;title\x07")
	f.Add("\u202e\xff\x00")
	f.Add("\U0001f600\u0085")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range escape(text) {
			if r != ' ' && !unicode.IsGraphic(r) {
				t.Errorf("%q: got %U", text, r)
			}
		}
		encoded, err := json.Marshal(valid(text))
		if err != nil {
			t.Fatal(err)
		}
		shown := escapeJSON(encoded, false)
		if !utf8.Valid(shown) || strings.ContainsFunc(string(shown), func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Errorf("%q: got %q", text, shown)
		}
		var back string
		if err := json.Unmarshal(shown, &back); err != nil || back != valid(text) {
			t.Errorf("%q: got %q back, %v", text, back, err)
		}
	})
}

func TestASCII(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "Projets/\u00c9t\u00e9": `Projets/\u00c9t\u00e9`, "\u65e5\U0001f4e7": `\u65e5\U0001f4e7`,
		"\u021b": `\u021b`, // its second octet is a C1 control
	} {
		if got := ascii(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		encoded, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		got := escapeJSON(encoded, true)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != in || strings.ContainsFunc(string(got), func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%q: got %s, %q, %v", in, got, back, err)
		}
	}
}
