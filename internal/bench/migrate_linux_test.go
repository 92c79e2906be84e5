package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
)

// BenchmarkMigrate copies 2,000 messages of 10 KB on average in five mailboxes from
// one Dovecot to another, beside mbsync between the same two.
func BenchmarkMigrate(b *testing.B) { migrate(b, 0) }

// BenchmarkMigrate40ms is the same with the second server behind 40 ms.
func BenchmarkMigrate40ms(b *testing.B) { migrate(b, 40*time.Millisecond) }

// BenchmarkMigrateNothing40ms is the run after it, when nothing has changed.
func BenchmarkMigrateNothing40ms(b *testing.B) {
	s, to := twoServers(b, 40*time.Millisecond)
	run := func() command { return s.migrateTo(to, "dest", filepath.Join(s.dir, "state")) }
	run().must(b)
	contest(b, nil, contender{name: "postbag", run: run, check: func(r result) { s.changed(r, 0, 0) }})
}

// twoServers are a scene whose account is filled, and a second server with its
// address, behind a line.
func twoServers(b *testing.B, rtt time.Duration) (*scene, string) {
	s := newScene(b, imaptest.DovecotOptions{})
	s.fill(spread(2000, 5))
	to := imaptest.StartDovecot(b, imaptest.DovecotOptions{})
	s.second = to
	addr := to.TLSAddr()
	if rtt > 0 {
		far := imaptest.StartProxy(b, addr)
		far.RTT(rtt)
		addr = far.Addr()
	}
	return s, addr
}

func migrate(b *testing.B, rtt time.Duration) {
	s, to := twoServers(b, rtt)
	user, n := "", 0
	fresh := func(program string) (string, string) {
		n++
		user = fmt.Sprintf("%s%d", program, n)
		return user, s.tree(program)
	}
	check := func(result) {
		was, old := s.user, s.dovecot
		s.user, s.dovecot = user, s.second
		s.received(2000)
		s.user, s.dovecot = was, old
	}
	contest(b, nil, contender{
		name: "postbag",
		run: func() command {
			user, dir := fresh("postbag")
			return s.migrateTo(to, user, dir)
		},
		check: check,
	}, contender{
		name: "mbsync",
		run: func() command {
			user, dir := fresh("mbsync")
			return s.mbsyncTo(to, user, dir)
		},
		check: check,
	})
}

// migrateTo is postbag's migration of the account to a user of the second server,
// with its state in dir.
func (s *scene) migrateTo(to, user, dir string) command {
	return command{Path: s.postbag, Env: []string{"POSTBAG_BENCH_PW=" + imaptest.DovecotPassword, "XDG_STATE_HOME=" + dir}, Args: []string{
		"migrate", "--json", "--tls-ca", s.dovecot.CAFile(), "--password-env", "POSTBAG_BENCH_PW",
		"--to-tls-ca", s.second.CAFile(), "--to-password-env", "POSTBAG_BENCH_PW",
		"imaps://" + s.user + "@" + s.addr, "imaps://" + user + "@" + to}}
}

// mbsyncTo is mbsync's copy of the account to a user of the second server, with its
// state in dir.
func (s *scene) mbsyncTo(to, user, dir string) command {
	s.b.Helper()
	var b strings.Builder
	for _, a := range []struct{ name, user, addr, ca string }{{"from", s.user, s.addr, s.dovecot.CAFile()}, {"to", user, to, s.second.CAFile()}} {
		_, port, _ := strings.Cut(a.addr, ":")
		fmt.Fprintf(&b, "IMAPAccount %[1]s\nHost localhost\nPort %[2]s\nUser %[3]s\nPass %[4]s\nSSLType IMAPS\nSystemCertificates no\nCertificateFile %[5]s\n\nIMAPStore %[1]s\nAccount %[1]s\n\n",
			a.name, port, a.user, imaptest.DovecotPassword, a.ca)
	}
	fmt.Fprintf(&b, "Channel channel\nFar :from:\nNear :to:\nPatterns *\nSync Pull\nCreate Near\nCopyArrivalDate yes\nSyncState %s/\n", dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.b.Fatal(err)
	}
	path := filepath.Join(dir, "mbsyncrc")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		s.b.Fatal(err)
	}
	return command{Path: "mbsync", Args: []string{"-q", "-c", path, "channel"}}
}
