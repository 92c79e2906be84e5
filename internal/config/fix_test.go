package config

import (
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/internal/repair"
)

// Repairs are named in the file as a text or a list; what is misspelt is named.
func TestFix(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]repair.Set{
		`fix = "crlf"`: repair.CRLF, `fix = ["nul", "long-lines"]`: repair.NUL | repair.LongLines, `fix = "all"`: repair.All, ``: 0,
	} {
		c := &Config{Path: "/etc/x.toml", Accounts: map[string]*Account{}}
		if err := c.parse([]byte("[accounts.a]\nserver = \"imaps://u@h\"\n"+text), Environment{}); err != nil || c.Accounts["a"].Fix != want {
			t.Errorf("%s: %v, %v", text, c.Accounts["a"], err)
		}
	}
	for _, text := range []string{`fix = "clrf"`, `fix = []`, `fix = 3`} {
		c := &Config{Path: "/etc/x.toml", Accounts: map[string]*Account{}}
		if err := c.parse([]byte("[accounts.a]\nserver = \"imaps://u@h\"\n"+text), Environment{}); err == nil || !strings.Contains(err.Error(), "accounts.a.fix") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := ParseFix([]string{"crfl"}); !strings.Contains(mail.AsError(err).Hint, `did you mean "crlf"`) {
		t.Errorf("the hint is %q", mail.AsError(err).Hint)
	}
}
