package config

import (
	"net/url"
	"strings"

	"postbag/internal/auth"
)

// Monitor says whom to tell how a run went: a whole run at the top of the file, an
// account's part in it in the account. Paths are expanded. Zero values mean that the
// key is absent.
type Monitor struct {
	StatusFile  string
	MetricsFile string
	PingURL     auth.Secret // whoever knows it can say that all is well
	OnChange    []string    // argv, as OnSuccess and OnFailure
	OnSuccess   []string
	OnFailure   []string
}

// watched is a Monitor as it is written, at the top of the file or in an account.
type watched struct {
	StatusFile  string      `toml:"status_file"`
	MetricsFile string      `toml:"metrics_file"`
	PingURL     auth.Secret `toml:"ping_url"`
	OnChange    any         `toml:"on_change"` // command line or argv
	OnSuccess   any         `toml:"on_success"`
	OnFailure   any         `toml:"on_failure"`
}

// resolve checks and expands it. Errors name the key.
func (w watched) resolve(base string, env Environment) (m Monitor, err error) {
	for _, p := range []struct {
		key, value string
		to         *string
	}{{"status_file", w.StatusFile, &m.StatusFile}, {"metrics_file", w.MetricsFile, &m.MetricsFile}} {
		if p.value == "" {
			continue
		}
		if *p.to, err = expand(p.value, base, env); err != nil {
			return m, atKey(p.key, err)
		}
	}
	for _, h := range []struct {
		key   string
		value any
		to    *[]string
	}{{"on_change", w.OnChange, &m.OnChange}, {"on_success", w.OnSuccess, &m.OnSuccess}, {"on_failure", w.OnFailure, &m.OnFailure}} {
		if *h.to, err = command(h.value, env); err != nil {
			return m, atKey(h.key, err)
		}
	}
	if !w.PingURL.IsZero() {
		if m.PingURL, err = ParsePingURL(w.PingURL.Reveal()); err != nil {
			return m, atKey("ping_url", err)
		}
	}
	return m, nil
}

// ParsePingURL checks the URL of a ping. One without a scheme is taken to be of
// https; one of http is refused, but to this machine. No error repeats it.
func ParsePingURL(text string) (auth.Secret, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || strings.ContainsAny(text, " \t\r\n"):
		return auth.Secret{}, usage("", "such as https://hc-ping.com/ and what the service gave you", "is no URL") // err would repeat it
	case u.Scheme != "https" && (u.Scheme != "http" || !(Server{Host: u.Hostname()}).IsLoopback()):
		return auth.Secret{}, usage("", "write https://", "is not of https: who can read it on the way can say that all is well")
	}
	return auth.NewSecret(text), nil
}
