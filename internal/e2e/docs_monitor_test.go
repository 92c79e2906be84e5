package e2e

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"postbag/internal/demo"
)

// docPingHost is where the documentation sends pings.
const docPingHost = "hc-ping.com"

// pings is a service that is told of runs, by TLS.
type pings struct {
	addr string
	mu   sync.Mutex
	got  []string
}

func newPings(t *testing.T, certificate *demo.Certificate) *pings {
	t.Helper()
	pair, err := tls.X509KeyPair(certificate.Cert, certificate.Key)
	if err != nil {
		t.Fatal(err)
	}
	p := &pings{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.got = append(p.got, r.URL.Path)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	p.addr = s.Listener.Addr().String()
	return p
}

// taken are the pings since the last call.
func (p *pings) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// The monitored job of the README reports its start and its end, and leaves a status
// file that says so.
func TestMonitoredCronJob(t *testing.T) {
	t.Parallel()
	r := newReader(t, nil)
	jobs := 0
	for _, f := range fences(t, filepath.Join(root, "README.md")) {
		if f.lang == "toml" {
			r.follow(f)
		}
		if f.lang != "crontab" || !strings.Contains(f.text, "PING") {
			continue
		}
		jobs++
		r.follow(f)
		if got := r.pings.taken(); !slices.Equal(got, []string{"/your-own-id/start", "/your-own-id"}) {
			t.Errorf("%s: got pings %q", f, got)
		}
		if text := read(t, filepath.Join(r.home, "mail", "status.json")); !regexp.MustCompile(`(?s)"backup": \{.*"exit": 0,.*"last_success"`).MatchString(text) {
			t.Errorf("%s: got %s", f, text)
		}
		r.write("bin/pass", 0o700, "#!/bin/sh\necho wrong\n")
		stdout, stderr, err := r.sh("POSTBAG_PING_URL=https://" + r.pings.addr + "/your-own-id postbag backup -q --status-file ~/mail/status.json")
		if err == nil || stdout != "" || stderr == "" {
			t.Errorf("with a wrong password: %v, %q, %q", err, stdout, stderr)
		}
		if got := r.pings.taken(); !slices.Equal(got, []string{"/your-own-id/start", "/your-own-id/fail"}) {
			t.Errorf("with a wrong password: got pings %q", got)
		}
	}
	if jobs != 1 {
		t.Errorf("got %d monitored jobs, want 1", jobs)
	}
}

// systemd accepts the units of the documentation.
func TestDocumentedUnits(t *testing.T) {
	t.Parallel()
	analyze := need(t, "systemd-analyze")
	r := newReader(t, nil)
	r.write("go/bin/postbag", 0o755, "#!/bin/sh\n")
	for _, path := range documents(t) {
		var units []string
		for _, f := range fences(t, path) {
			if f.lang != "systemd" {
				continue
			}
			first, _, _ := strings.Cut(f.text, "\n")
			name := strings.TrimPrefix(first, "# ")
			if !regexp.MustCompile(`^[a-z-]+\.(service|timer)$`).MatchString(name) {
				t.Errorf("%s: the first line does not name the unit: %q", f, first)
				continue
			}
			r.write("units/"+name, 0o644, strings.ReplaceAll(f.text, "%h/go/bin", filepath.Join(r.home, "go", "bin")))
			units = append(units, filepath.Join(r.home, "units", name))
		}
		if units == nil {
			continue
		}
		cmd := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...)
		cmd.Env = r.env
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(path), err, out)
		}
	}
}
