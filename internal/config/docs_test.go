package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// docs/configuration.md lists the keys of an account and of its password, and no
// others; and every role.
func TestDocumentedKeys(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split(string(data), "\n## ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		sections[name] = rest
	}
	keysIn := func(section, lines string) (list []string) {
		if sections[section] == "" {
			t.Fatalf("there is no section %q", section)
		}
		for _, line := range regexp.MustCompile(lines).FindAllStringSubmatch(sections[section], -1) {
			list = append(list, regexp.MustCompile(`[a-z_]+`).FindAllString(strings.TrimSuffix(line[1], " = true"), -1)...)
		}
		slices.Sort(list)
		return list
	}
	for _, test := range []struct {
		section, lines string
		of             reflect.Type
	}{
		{"Keys of an account", "(?m)^\\| ((?:`[a-z_]+`(?:, )?)+) \\|", reflect.TypeFor[account]()},
		{"Passwords", "(?m)^- `([a-z_]+(?: = true)?)`:", reflect.TypeFor[password]()},
	} {
		want := keys(test.of)
		slices.Sort(want)
		if got := keysIn(test.section, test.lines); !slices.Equal(got, want) {
			t.Errorf("%s: got  %q\nwant %q", test.section, got, want)
		}
	}
	for _, use := range []mail.SpecialUse{mail.UseAll, mail.UseArchive, mail.UseDrafts, mail.UseFlagged, mail.UseJunk, mail.UseSent, mail.UseTrash} {
		if !strings.Contains(sections["Patterns"], "`"+string(use)+"`") {
			t.Errorf("Patterns: %s is not named", use)
		}
	}
	for _, layout := range layouts {
		if !strings.Contains(sections["Keys of an account"], "`"+layout+"`") {
			t.Errorf("the layout %s is not named", layout)
		}
	}
}
