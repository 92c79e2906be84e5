package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"postbag/internal/mail"
)

func needShell(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
}

func shell(script string) Source { return Source{Command: []string{"sh", "-c", script}} }

func TestReadCommand(t *testing.T) {
	t.Parallel()
	needShell(t)
	tests := []struct {
		name, script, want, wantErr string
	}{
		{"newline taken off", "echo secret", "secret", ""},
		{"CRLF taken off", `printf 'secret\r\n'`, "secret", ""},
		{"no newline", "printf secret", "secret", ""},
		{"blanks stay", `printf ' se cret \n'`, " se cret ", ""},
		{"odd characters stay", `printf '"\\{5}\303\251'`, "\"\\{5}\xc3\xa9", ""},
		{"not UTF-8", `printf '\377'`, "\xff", ""},
		{"nothing", "true", "", "password command sh: gave nothing"},
		{"only a newline", "echo", "", "password command sh: gave nothing"},
		{"two lines", "echo a; echo b", "", "password command sh: gave more than one line"},
		{"two newlines", `printf 'a\n\n'`, "", "password command sh: gave more than one line"},
		{"CR inside", `printf 'a\rb'`, "", "password command sh: gave more than one line"},
		{"NUL", `printf 'a\000b'`, "", "password command sh: gave a NUL octet, which no password may hold"},
		{"much", "head -c 1000000 /dev/zero | tr '\\0' x", "", "password command sh: gave more than 65536 octets"},
		{"fails", "echo no such key >&2; exit 3", "", "password command sh: exit status 3: no such key"},
		{"fails and shows the secret", "echo " + canary + "; echo + echo " + canary + " >&2; exit 3", "", "password command sh: exit status 3"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			secret, err := shell(test.script).Read(t.Context(), System{}, "")
			if got := errText(err); got != test.wantErr {
				t.Fatalf("got error %q, want %q", got, test.wantErr)
			}
			if got := secret.Reveal(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err != nil && mail.AsError(err).Kind != mail.KindUsage {
				t.Errorf("got kind %v, want usage", mail.AsError(err).Kind)
			}
		})
	}
}

func TestReadLongestSecret(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pass")
	for _, test := range []struct {
		size int
		ok   bool
	}{{MaxSecret, true}, {MaxSecret + 1, false}, {10 * MaxSecret, false}} {
		if err := os.WriteFile(path, []byte(strings.Repeat("x", test.size)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		secret, err := Source{File: path}.Read(t.Context(), System{}, "")
		if got := err == nil && len(secret.Reveal()) == test.size; got != test.ok {
			t.Errorf("%d octets: got ok %v (%v), want %v", test.size, got, err, test.ok)
		}
	}
}

func TestReadCommandThatHangs(t *testing.T) {
	t.Parallel()
	needShell(t)
	start := time.Now()
	_, err := shell("sleep 30 | cat").Read(t.Context(), System{Patience: 100 * time.Millisecond}, "")
	if got, want := errText(err), "password command sh: gave no answer within 100ms"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = shell("sleep 30 | cat").Read(ctx, System{}, ""); !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(errText(err), "deadline") {
		t.Errorf("got %v, want the context's error", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestReadCommandThatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := Source{Command: []string{"/no/such/program"}}.Read(t.Context(), System{}, "")
	if err == nil || !strings.HasPrefix(err.Error(), "password command /no/such/program: ") {
		t.Errorf("got %v", err)
	}
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "pass")
	if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode os.FileMode
		want string
	}{
		{0o600, ""}, {0o400, ""},
		{0o640, "password file " + path + ": can be read by other users (mode 0640)"},
		{0o604, "password file " + path + ": can be read by other users (mode 0604)"},
	} {
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		secret, err := Source{File: path}.Read(t.Context(), System{}, "")
		if got := errText(err); got != test.want {
			t.Errorf("mode %04o: got %q, want %q", test.mode, got, test.want)
		}
		if err == nil && secret.Reveal() != "secret" {
			t.Errorf("mode %04o: got %q", test.mode, secret.Reveal())
		}
		if err != nil && mail.AsError(err).Hint != "chmod 600 it" {
			t.Errorf("hint: got %q", mail.AsError(err).Hint)
		}
	}
	_, err := Source{File: dir}.Read(t.Context(), System{}, "")
	if got, want := errText(err), "password file "+dir+": is no regular file"; got != want {
		t.Errorf("directory: got %q, want %q", got, want)
	}
	_, err = Source{File: dir + "/none"}.Read(t.Context(), System{}, "")
	if got, want := errText(err), "password file "+dir+"/none: no such file or directory"; got != want {
		t.Errorf("missing: got %q, want %q", got, want)
	}
}

// A shell's <(command) is a pipe under /dev/fd.
func TestReadFileThatIsAPipe(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/fd"); err != nil {
		t.Skip("no /dev/fd")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.WriteString("secret\n")
	w.Close()
	secret, err := Source{File: fmt.Sprintf("/dev/fd/%d", r.Fd())}.Read(t.Context(), System{}, "")
	if err != nil || secret.Reveal() != "secret" {
		t.Errorf("got %q, %v", secret.Reveal(), err)
	}
}

func TestReadPipeThatHangs(t *testing.T) {
	t.Parallel()
	mkfifo, err := exec.LookPath("mkfifo")
	if err != nil {
		t.Skip("no mkfifo")
	}
	path := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command(mkfifo, "-m", "600", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Without a writer.
	_, err = Source{File: path}.Read(t.Context(), System{Patience: 100 * time.Millisecond}, "")
	if err == nil {
		t.Error("no error")
	}
	// With one that never writes.
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	start := time.Now()
	if _, err = (Source{File: path}).Read(t.Context(), System{Patience: 100 * time.Millisecond}, ""); err == nil {
		t.Error("no error")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestReadEnv(t *testing.T) {
	t.Parallel()
	sys := System{LookupEnv: func(name string) (string, bool) { return "secret", name == "SET" }}
	secret, err := Source{Env: "SET"}.Read(t.Context(), sys, "")
	if err != nil || secret.Reveal() != "secret" {
		t.Errorf("got %q, %v", secret.Reveal(), err)
	}
	_, err = Source{Env: "UNSET"}.Read(t.Context(), sys, "")
	if got, want := errText(err), "environment variable UNSET: is not set"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	_, err := Source{}.Read(t.Context(), System{}, "Password: ")
	if got, want := errText(err), "password: stdin is not a terminal, so that nobody can be asked for it"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if mail.AsError(err).Hint == "" {
		t.Error("no hint")
	}
	var prompt string
	ask := func(_ context.Context, p string) (string, error) { prompt = p; return "typed", nil }
	secret, err := Source{}.Read(t.Context(), System{Ask: ask}, "Password: ")
	if err != nil || secret.Reveal() != "typed" || prompt != "Password: " {
		t.Errorf("got %q, %v, prompt %q", secret.Reveal(), err, prompt)
	}
}

func TestOnce(t *testing.T) {
	t.Parallel()
	asked := 0
	fail := true
	sys := System{Ask: func(context.Context, string) (string, error) {
		asked++
		if fail {
			return "", errors.New("no")
		}
		return fmt.Sprint("secret", asked), nil
	}}
	clock := time.Unix(1e9, 0)
	for _, test := range []struct {
		token bool
		want  []string
	}{{false, []string{"secret2", "secret2", "secret2"}}, {true, []string{"secret2", "secret2", "secret3"}}} {
		asked, fail = 0, true
		get := Once(Source{}, sys, "", test.token, func() time.Time { return clock })
		if _, err := get(t.Context()); err == nil {
			t.Error("no error")
		}
		fail = false
		for i, want := range test.want {
			got, err := get(t.Context())
			if err != nil || got != want {
				t.Errorf("token %v, call %d: got %q, %v, want %q", test.token, i, got, err, want)
			}
			clock = clock.Add(3 * time.Minute)
		}
	}
	asked = 0
	get := Once(Source{}, sys, "", false, time.Now)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := get(t.Context()); got != "secret1" || err != nil {
				t.Errorf("got %q, %v, want secret1", got, err)
			}
		})
	}
	wg.Wait()
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
