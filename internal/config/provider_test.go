package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/mail"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	env := Environment{LookupEnv: func(string) (string, bool) { return "", false }, Home: t.TempDir(),
		Preset: func(name string) (string, bool, []string) {
			switch strings.ToLower(name) {
			case "near":
				return "imaps://imap.near.example", true, nil
			case "own":
				return "", true, nil
			}
			return "", false, []string{"near", "own"}
		}}
	tests := []struct{ text, server, provider, wrong string }{
		{text: `provider = "Near"` + "\n" + `user = "me@x.example"`, server: "imaps://me@x.example@imap.near.example", provider: "near"},
		{text: `provider = "near"` + "\n" + `server = "imap://you@other.example"`, server: "imap://you@other.example", provider: "near"},
		{text: `provider = "own"` + "\n" + `server = "imaps://you@other.example"`, server: "imaps://you@other.example", provider: "own"},
		{text: `provider = "own"` + "\n" + `user = "me"`, wrong: "has no server"},
		{text: `provider = "nera"` + "\n" + `user = "me"`, wrong: `no provider "nera"`},
		{text: `provider = "near"`, wrong: "user: is missing"},
	}
	for _, test := range tests {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte("[accounts.a]\n"+test.text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, env)
		if test.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), test.wrong) || mail.AsError(err).Hint == "" {
				t.Errorf("%s: got %v, want %q with a hint", test.text, err, test.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		} else if a := c.Accounts["a"]; a.Server.String() != test.server || a.Provider != test.provider {
			t.Errorf("%s: got %s, %q, want %s, %q", test.text, a.Server, a.Provider, test.server, test.provider)
		}
	}
	for _, user := range []string{"", "a\r\nb"} {
		if a, err := ServerOf("near", user, env); err == nil {
			t.Errorf("%q is a user: %v", user, a)
		}
	}
	if a, err := ServerOf("NEAR", `me@x.example\shared@x.example`, env); err != nil || a.Server.User != `me@x.example\shared@x.example` || a.Server.Host != "imap.near.example" {
		t.Errorf("got %+v, %v", a, err)
	}
}
