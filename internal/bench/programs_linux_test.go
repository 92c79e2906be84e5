package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// scene is a server with one account, and the programs that back it up.
type scene struct {
	b       *testing.B
	dovecot *imaptest.Dovecot
	second  *imaptest.Dovecot // that mail is moved to
	user    string
	addr    string // where the programs connect
	postbag string // the program
	dir     string // for trees; they are removed with the benchmark
	trees   int
}

// newScene builds postbag and starts a server. It skips the benchmark where
// Dovecot or mbsync is missing.
func newScene(b *testing.B, o imaptest.DovecotOptions) *scene {
	b.Helper()
	if _, err := exec.LookPath("mbsync"); err != nil {
		b.Skip("mbsync is not installed: apt-get install isync")
	}
	d := imaptest.StartDovecot(b, o)
	s := &scene{b: b, dovecot: d, user: d.NewUser(), addr: d.TLSAddr(), dir: b.TempDir()}
	s.build()
	return s
}

// build builds postbag.
func (s *scene) build() {
	s.b.Helper()
	s.postbag = filepath.Join(s.dir, "postbag")
	build := exec.Command("go", "build", "-o", s.postbag, "postbag")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.b.Fatalf("go build: %v\n%s", err, out)
	}
}

// long skips a benchmark that takes many minutes.
func long(b *testing.B) {
	b.Helper()
	if os.Getenv("POSTBAG_LONG") != "1" {
		b.Skip("takes many minutes: set POSTBAG_LONG=1")
	}
}

// fill uploads samples, and answers with their number.
func (s *scene) fill(samples iter.Seq[demo.Sample]) int {
	s.b.Helper()
	return s.dovecot.Fill(s.user, samples)
}

// tree names a tree that does not exist yet.
func (s *scene) tree(program string) string {
	s.trees++
	return filepath.Join(s.dir, fmt.Sprintf("%s-%d", program, s.trees))
}

// backup is postbag's backup of the account into a tree.
func (s *scene) backup(tree string) command {
	return command{Path: s.postbag, Env: []string{"POSTBAG_BENCH_PW=" + imaptest.DovecotPassword, "XDG_STATE_HOME=" + s.dir}, Args: []string{
		"backup", "--json", "--tls-ca", s.dovecot.CAFile(), "--password-env", "POSTBAG_BENCH_PW",
		"imaps://" + s.user + "@" + s.addr, tree}}
}

// changed checks what postbag says that it did in the tree.
func (s *scene) changed(r result, messages, flags int) {
	s.b.Helper()
	var sum struct {
		Outcome string
		B       struct{ New, Flags int }
	}
	lines := bytes.Split(bytes.TrimSpace(r.stdout), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &sum); err != nil {
		s.b.Fatalf("postbag: %v in %q", err, tail(r.stdout))
	}
	if sum.Outcome != "done" || sum.B.New != messages || sum.B.Flags != flags {
		s.b.Fatalf("postbag: %s with %d messages and %d flags, want done with %d and %d", sum.Outcome, sum.B.New, sum.B.Flags, messages, flags)
	}
}

// mbsync is mbsync's pull of the account into a tree, with its state inside it.
// Neither program reads the system's certificates. It does not take an address
// for the name in a certificate.
func (s *scene) mbsync(tree string, fsync bool) command {
	s.b.Helper()
	_, port, _ := strings.Cut(s.addr, ":")
	yes := map[bool]string{true: "yes", false: "no"}
	config := fmt.Sprintf(`FSync %s

IMAPAccount account
Host localhost
Port %s
User %s
Pass %s
SSLType IMAPS
SystemCertificates no
CertificateFile %s

IMAPStore far
Account account

MaildirStore near
Path %s/
Inbox %[6]s/INBOX
SubFolders Verbatim

Channel channel
Far :far:
Near :near:
Patterns *
Sync Pull
Create Near
CopyArrivalDate yes
SyncState *
`, yes[fsync], port, s.user, imaptest.DovecotPassword, s.dovecot.CAFile(), tree)
	path := tree + ".mbsyncrc"
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		s.b.Fatal(err)
	}
	if err := os.MkdirAll(tree, 0o700); err != nil {
		s.b.Fatal(err)
	}
	return command{Path: "mbsync", Args: []string{"-q", "-c", path, "channel"}}
}

// count is the number of messages in a tree.
func (s *scene) count(tree string) (n int) {
	s.b.Helper()
	err := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if dir := filepath.Base(filepath.Dir(path)); (dir == "cur" || dir == "new") && e.Name()[0] != '.' {
			n++
		}
		return nil
	})
	if err != nil {
		s.b.Fatal(err)
	}
	return n
}

// holds checks how many messages a tree has.
func (s *scene) holds(tree string, want int) {
	s.b.Helper()
	if got := s.count(tree); got != want {
		s.b.Fatalf("%s holds %d messages, want %d", filepath.Base(tree), got, want)
	}
}
