package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// No password appears anywhere: not on the screen, not in the trace, not in what
// is left on the disk.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const secret = `canary "pass\word` + " \u00e9"
	s := imaptest.StartScripted(t, nil)
	a := newAccount(t, "imap://me@"+s.Addr(), secret, "--allow-plaintext")
	trace := filepath.Join(a.home, "trace")
	calls := []*call{
		a.backup(t, "-v", "--trace", trace).want(t, 0),
		a.verify(t, "-v", "--trace", trace, "--deep").want(t, 0),
	}
	s.Edit(func(script *imaptest.Script) { imaptest.ApplyQuirk(t, "login-refused")(script) })
	calls = append(calls, a.backup(t, "-v", "--trace", trace).want(t, 5))
	for _, c := range calls {
		if strings.Contains(c.stdout+c.stderr, "canary") || strings.Contains(c.stdout+c.stderr, "Y2FuYXJ5") {
			t.Errorf("the password is shown\n%s", c)
		}
	}
	err := filepath.WalkDir(a.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "canary") || strings.Contains(string(data), "Y2FuYXJ5") || strings.Contains(string(data), "bWUAY2FuYXJ5") {
			t.Errorf("the password is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
