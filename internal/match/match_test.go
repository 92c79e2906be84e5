package match

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"postbag/internal/mail"
)

// What a person sees of a header, whatever it was written in.
func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ head, from, to, subject string }{
		"plain":         {"From: a@b\r\nTo: c@d\r\nSubject: x y\r\n\r\nSubject: body", "a@b", "c@d", "x y"},
		"LF":            {"From: a@b\nSubject: x\n\n", "a@b", "", "x"},
		"folded":        {"Subject: one\r\n two\r\n\tthree\r\n\r\n", "", "", "one two three"},
		"base64":        {"Subject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n\r\n", "", "", "Grüße"},
		"two words":     {"Subject: =?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe?=\r\n\r\n", "", "", "Grüße"},
		"latin1":        {"From: =?iso-8859-1?Q?J=FCrgen?= <j@x>\r\n\r\n", "Jürgen <j@x>", "", ""},
		"iso-2022-jp":   {"Subject: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?=\r\n\r\n", "", "", "日本"},
		"koi8-r":        {"Subject: =?koi8-r?B?8NLJ18XU?=\r\n\r\n", "", "", "Привет"},
		"gb2312":        {"Subject: =?gb2312?B?xOO6ww==?=\r\n\r\n", "", "", "你好"},
		"unknown":       {"Subject: =?x-none?Q?abc?= =?utf-8?Q?d=C3=A9f?=\r\n\r\n", "", "", "=?x-none?Q?abc?= déf"},
		"raw UTF-8":     {"Subject: Grüße\r\n\r\n", "", "", "Grüße"},
		"raw latin1":    {"Subject: Gr\xfc\xdfe\r\n\r\n", "", "", "Grüße"},
		"cc":            {"To: a@b\r\nCc: c@d\r\nBcc: e@f\r\n\r\n", "", "a@b, c@d, e@f", ""},
		"first counts":  {"Subject: one\r\nSubject: two\r\n\r\n", "", "", "one"},
		"control":       {"Subject: a\x1b[31mb\x00c\r\n\r\n", "", "", "a[31mbc"},
		"blank in name": {"Subject : x\r\n\r\n", "", "", "x"},
		"no colon":      {"From someone\r\nSubject: x\r\n\r\n", "", "", "x"},
		"cut off":       {"From: a@b\r\nSubj", "a@b", "", ""},
		"empty":         {"", "", "", ""},
	} {
		h := Parse([]byte(c.head))
		if h.From != c.from || h.To != c.to || h.Subject != c.subject {
			t.Errorf("%s: got %q, %q, %q, want %q, %q, %q", name, h.From, h.To, h.Subject, c.from, c.to, c.subject)
		}
		if got := Subject([]byte(c.head)); got != c.subject {
			t.Errorf("%s: the subject alone is %q, want %q", name, got, c.subject)
		}
		for chunk, r := range map[string]io.Reader{"whole": strings.NewReader(c.head), "octets": iotest.OneByteReader(strings.NewReader(c.head))} {
			if got, err := Read(r); err != nil || got != h {
				t.Errorf("%s, %s: got %+v, %v, want %+v", name, chunk, got, err, h)
			}
		}
	}
	h := Parse([]byte("Date: Fri, 1 Mar 2024 12:00:00 +0100\r\nMessage-ID: <a@b>\r\n\r\n"))
	if want := time.Date(2024, 3, 1, 11, 0, 0, 0, time.UTC); !h.Date.Equal(want) || h.MessageID != "<a@b>" {
		t.Errorf("got %v and %q", h.Date, h.MessageID)
	}
}

// A header is read no further than it goes, and never without a bound.
func TestReadIsBounded(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if h, err := Read(io.MultiReader(strings.NewReader("Subject: x\r\n\r\n"), iotest.ErrReader(broken))); err != nil || h.Subject != "x" {
		t.Errorf("got %+v, %v, want no look at what follows", h, err)
	}
	if h, err := Read(io.MultiReader(strings.NewReader("Subject: x\r\nFrom"), iotest.ErrReader(broken))); !errors.Is(err, broken) || h.Subject != "x" {
		t.Errorf("got %+v, %v, want what came and the error", h, err)
	}
	endless := strings.NewReader("Subject: " + strings.Repeat("a", 10<<20))
	h, err := Read(endless)
	if err != nil || len(h.Subject) > MaxValue || endless.Len() < 9<<20 {
		t.Errorf("got %d octets, %v, with %d left of the message", len(h.Subject), err, endless.Len())
	}
}

// Texts are found whatever their case, form and blanks; fields restrict together.
func TestMatcher(t *testing.T) {
	t.Parallel()
	h := &Header{From: "Jürgen Müller <JM@Example.org>", To: "a@b, ops@x", Subject: "Re:  Straße  des 17. Juni"}
	flags := mail.ParseFlags(`\Seen`, "$Work")
	for name, c := range map[string]struct {
		rule Rule
		want bool
	}{
		"nothing":        {Rule{}, true},
		"name":           {Rule{From: []string{"müller"}}, true},
		"decomposed":     {Rule{From: []string{"mu\u0308ller"}}, true},
		"address":        {Rule{From: []string{"jm@example"}}, true},
		"folding":        {Rule{Subject: []string{"STRASSE"}}, true},
		"blanks":         {Rule{Subject: []string{"re: straße des"}}, true},
		"one of two":     {Rule{From: []string{"nobody", "jürgen"}}, true},
		"other field":    {Rule{From: []string{"ops@x"}}, false},
		"recipient":      {Rule{To: []string{"OPS@x"}}, true},
		"all fields":     {Rule{From: []string{"jm"}, Subject: []string{"absent"}}, false},
		"flag":           {Rule{Flags: mail.ParseFlags(`\Seen`, "$work")}, true},
		"flag lacking":   {Rule{Flags: mail.ParseFlags(`\Flagged`)}, false},
		"without":        {Rule{Without: mail.ParseFlags(`\Flagged`)}, true},
		"without, it is": {Rule{Without: mail.ParseFlags("$WORK", `\Flagged`)}, false},
	} {
		m := New(c.rule)
		if got := m.Header(h) && m.Flags(flags); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	if r := (Rule{Flags: flags}); r.NeedsHeader() || r.IsZero() || !(&Rule{}).IsZero() || !New(Rule{To: []string{"x"}}).NeedsHeader() {
		t.Error("a rule does not know what it needs")
	}
}

// Flags are written with and without the backslash.
func TestParseFlag(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"seen": `\Seen`, `\FLAGGED`: `\Flagged`, "Draft": `\Draft`, "$Label1": "$Label1", `\Recent`: "", "a b": "", "": ""} {
		got, ok := ParseFlag(name)
		if got.String() != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", name, got, ok, want)
		}
	}
}

// Whatever a header holds, what comes out can be shown, and is bounded.
func FuzzParse(f *testing.F) {
	f.Add([]byte("From: =?utf-8?q?a?= <b@c>\r\nSubject: x\r\n\r\n"))
	f.Add([]byte("Subject: =?gb2312?B?xOO6ww==?= =?x?Q?"))
	f.Fuzz(func(t *testing.T, head []byte) {
		h := Parse(head)
		if got := Subject(head); got != h.Subject {
			t.Errorf("the subject alone is %q, want %q", got, h.Subject)
		}
		for _, s := range []string{h.From, h.Subject, h.MessageID} {
			if !utf8.ValidString(s) || len(s) > MaxValue || strings.ContainsAny(s, "\r\n\x00\x1b") {
				t.Errorf("got %q", s)
			}
		}
		if len(h.To) > 3*MaxValue {
			t.Errorf("got %d octets of recipients", len(h.To))
		}
	})
}
