package export

import (
	"path"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"postbag/internal/mail"
)

// checkComponent fails the test when a component of a path can do harm, or does not
// say what it was made of.
func checkComponent(t *testing.T, name string) {
	t.Helper()
	c := escape(name)
	if c == "" || c == "." || c == ".." || len(c) > maxComponent || strings.ContainsAny(c, "/\\:*?\"<>|\x00\r\n\x7f") ||
		c[0] == '.' || c[len(c)-1] == '.' || c[len(c)-1] == ' ' || isDevice(c) || utf8.ValidString(name) && !utf8.ValidString(c) {
		t.Errorf("%q becomes %q", name, c)
	}
	if got := unescape(c); len(c) < maxComponent-20 && name != "" && name != "%" && got != name {
		t.Errorf("%q becomes %q, which stands for %q", name, c, got)
	}
}

func FuzzComponent(f *testing.F) {
	for _, s := range []string{"", ".", "..", "../x", "a/b", "con", "CON.txt", "lpt1", "a:b", "%41", "100%", strings.Repeat("ü", 200), "\xff", "x.", "x ", "-rf", "~x", "a\x00b", "\u0085"} {
		f.Add(s)
	}
	f.Fuzz(checkComponent)
}

// Mailboxes whose names differ have paths that differ, also where case does not
// count, and none is another's folder.
func TestPaths(t *testing.T) {
	t.Parallel()
	boxes := []string{"A", "a", "B/c", "b/C", "manifest.jsonl", "x", "x.mbox", "x.mbox/y", "X.MBOX/Y", "é", "e\u0301", "..", ".", "", "/", "a/../b"}
	for _, ending := range []string{"", ".mbox"} {
		p := newPaths()
		seen := map[string]string{}
		for _, name := range boxes {
			got := p.of(name, ending)
			folded := strings.ToLower(got)
			if other, ok := seen[folded]; ok {
				t.Errorf("%q and %q are both %q", other, name, got)
			}
			seen[folded] = name
			if path.Clean(got) != got || strings.HasPrefix(got, "/") || strings.HasPrefix(got, "..") {
				t.Errorf("%q becomes %q", name, got)
			}
			if folded == ManifestName {
				t.Errorf("%q has the manifest's name", name)
			}
		}
		for name := range seen {
			for dir := path.Dir(name); ending != "" && dir != "."; dir = path.Dir(dir) {
				if _, ok := seen[dir]; ok {
					t.Errorf("%q would be a file and a folder", dir)
				}
			}
		}
	}
}

// The name of a member says when and what about, and is fit for every system.
func TestMemberNames(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 1, 31, 12, 30, 5, 0, time.FixedZone("", 3600))
	digest := mail.Digest{0xab, 0xcd}
	for subject, want := range map[string]string{
		"Lunch on Friday?":                   "20240131T113005Z-Lunch-on-Friday-abcd000000000000",
		"":                                   "20240131T113005Z-abcd000000000000",
		"../../etc/passwd":                   "20240131T113005Z-etc-passwd-abcd000000000000",
		"=?utf-8?q?Gr=C3=BC=C3=9Fe?=":        "20240131T113005Z-Grüße-abcd000000000000",
		"=?iso-2022-jp?b?GyRCRnxLXDhsGyhC?=": "20240131T113005Z-日本語-abcd000000000000",
		"=?x-unknown?q?a?= b":                "20240131T113005Z-x-unknown-q-a-b-abcd000000000000",
		"caf\xe9 \x1b[2J":                    "20240131T113005Z-café-2J-abcd000000000000",
		strings.Repeat("abcdefghij ", 10):    "20240131T113005Z-abcdefghij-abcdefghij-abcdefghij-abcdefghij-abc-abcd000000000000",
	} {
		if got := baseName(at, decode(subject), digest); got != want {
			t.Errorf("%q: got %q, want %q", subject, got, want)
		}
	}
	if got := baseName(time.Time{}, "x", digest); got != "undated-x-abcd000000000000" {
		t.Errorf("without a date: got %q", got)
	}
	n := names{}
	var got []string
	for range 3 {
		got = append(got, n.of(&item{base: "x", msg: mail.Message{Date: at}}))
	}
	if strings.Join(got, " ") != "x.eml x-2.eml x-3.eml" {
		t.Errorf("equal names: got %q", got)
	}
}
