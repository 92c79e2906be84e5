package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
)

// The keys that say whom to tell stand at the top of the file and in accounts, and
// mean each its own place.
func TestMonitorKeys(t *testing.T) {
	t.Parallel()
	load := func(text string) (*Config, error) {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return Load(path, Environment{Home: "/home/me", LookupEnv: func(string) (string, bool) { return "", false }})
	}
	const account = "[accounts.a]\nserver = 'imaps://me@h.example'\n"
	c, err := load("status_file = '~/s.json'\non_change = ['~/bin/x', 'a b']\nping_url = 'hc.example/1'\n" + account + "metrics_file = 'm.prom'\non_failure = 'sh -c \"a b\"'\n")
	if err != nil {
		t.Fatal(err)
	}
	a := c.Accounts["a"].Monitor
	if c.Monitor.StatusFile != filepath.Join("/home/me", "s.json") || !slices.Equal(c.Monitor.OnChange, []string{filepath.Join("/home/me", "bin", "x"), "a b"}) || c.Monitor.PingURL.Reveal() != "https://hc.example/1" || c.Monitor.MetricsFile != "" {
		t.Errorf("got %+v", c.Monitor)
	}
	if a.MetricsFile != filepath.Join(filepath.Dir(c.Path), "m.prom") || !slices.Equal(a.OnFailure, []string{"sh", "-c", "a b"}) || a.StatusFile != "" || !a.PingURL.IsZero() {
		t.Errorf("got %+v", a)
	}
	for text, want := range map[string]string{
		"on_sucess = 'x'\n" + account:                  `did you mean "on_success"?`,
		account + "on_chang = 'x'\n":                   `did you mean "on_change"?`,
		"on_change = 'a | b'\n" + account:              "on_change: ",
		"on_change = 1\n" + account:                    "on_change: a text or a list of texts is wanted",
		account + "on_failure = []\n":                  "accounts.a.on_failure: names no program",
		"ping_url = 'http://hc.example/s3cret'\n":      "ping_url: is not of https",
		account + "ping_url = 'http://a b/s3cret'\n":   "accounts.a.ping_url: is no URL",
		account + "ping_url = 'gopher://hc.example'\n": "accounts.a.ping_url: is not of https",
	} {
		_, err := load(text)
		if err == nil || !strings.Contains(err.Error()+" "+mail.AsError(err).Hint, want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for url, want := range map[string]string{"http://127.0.0.1:8000/x": "http://127.0.0.1:8000/x", "http://localhost/x": "http://localhost/x", "hc.example/x": "https://hc.example/x"} {
		if got, err := ParsePingURL(url); err != nil || got.Reveal() != want {
			t.Errorf("%s: got %s, %v", url, got.Reveal(), err)
		}
	}
}
