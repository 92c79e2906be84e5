package cli

import (
	"strings"
	"testing"

	"postbag/internal/mail"
)

// The subject of a message is found in what is stored, whatever else is there.
func TestReadSubject(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Subject: plain\n\nbody":                       "plain",
		"From: a\r\nsubject:one\r\n\ttwo\r\nTo: b":     "one two",
		"X: y\n Subject: no\nSUBJECT : yes":            "yes",
		"From: a\n\nSubject: in the body":              "",
		"":                                             "",
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n":       "Grüße",
		"Subject: =?iso-8859-1?b?/A==?= =?utf-8?q?x?=": "üx",
		"Subject: =?koi8-r?b?8NLJ18XU?=\n":             "=?koi8-r?b?8NLJ18XU?=",
		"Subject: a\nSubject: b\n":                     "a",
	} {
		if got := readSubject(strings.NewReader(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTrashTexts(t *testing.T) {
	t.Parallel()
	for names, want := range map[string]string{"": "-", `\Seen \Flagged`: "SF", `\Draft Work $Forwarded`: "DP Work", "Work": "- Work"} {
		if got := flagLetters(mail.ParseFlags(strings.Fields(names)...)); got != want {
			t.Errorf("%s: got %q, want %q", names, got, want)
		}
	}
	for text, want := range map[string]string{"": "", "Grüße": "Grüße", "Grüße von mir": "Grüß..."} {
		if got := clipText(text, 7); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
