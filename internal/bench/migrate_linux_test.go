package bench

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// BenchmarkMigrate copies 2,000 messages of 10 KB on average in five mailboxes from
// one Dovecot to another, beside mbsync, imapsync and doveadm between the same two.
func BenchmarkMigrate(b *testing.B) { migrate(b, 2000, 0) }

// BenchmarkMigrate40ms is the same with the second server behind 40 ms.
func BenchmarkMigrate40ms(b *testing.B) { migrate(b, 2000, 40*time.Millisecond) }

// BenchmarkMigrate10k is the same with 10,000 messages, on this machine.
func BenchmarkMigrate10k(b *testing.B) { migrate(b, 10_000, 0) }

// BenchmarkMigrateNothing40ms is the run after it, when nothing has changed.
func BenchmarkMigrateNothing40ms(b *testing.B) {
	s, to := twoServers(b, 2000, 40*time.Millisecond)
	run := func() command { return s.migrateTo(to, "dest", filepath.Join(s.dir, "state")) }
	run().must(b)
	settle(b)
	run().must(b) // servers learn, too, that nothing happens any more
	contest(b, nil, contender{name: "postbag", run: run, check: func(r result) { s.changed(r, 0, 0) }})
}

// BenchmarkMigrateCourier40ms copies 500 messages to a Courier behind 40 ms, which
// takes one message in a round trip.
func BenchmarkMigrateCourier40ms(b *testing.B) {
	const n = 500
	s := newScene(b, imaptest.DovecotOptions{})
	s.fill(ended(spread(n, 5)))
	courier := imaptest.StartCourier(b)
	far := imaptest.StartProxy(b, courier.Addr())
	far.RTT(40 * time.Millisecond)
	d := dest{addr: far.Addr(), password: imaptest.CourierPassword, plain: true}
	var target imaptest.Target
	fresh := func() (string, string) {
		target = courier.Target(courier.NewUser())
		return target.User, s.tree("state")
	}
	check := func(result) {
		if got := target.MustDump(b).Count(); got != n {
			b.Fatalf("the destination holds %d messages, want %d", got, n)
		}
	}
	contest(b, nil, s.migrations(d, fresh, check)...)
}

// ended are samples whose last line ends: Courier does not keep others.
func ended(samples iter.Seq[demo.Sample]) iter.Seq[demo.Sample] {
	return func(yield func(demo.Sample) bool) {
		for s := range samples {
			if !bytes.HasSuffix(s.Raw, []byte("\r\n")) {
				s.Raw = append(s.Raw, "\r\n"...)
			}
			if !yield(s) {
				return
			}
		}
	}
}

// twoServers are a scene whose account is filled, and a second server with its
// address, behind a line.
func twoServers(b *testing.B, n int, rtt time.Duration) (*scene, dest) {
	s := newScene(b, imaptest.DovecotOptions{})
	s.fill(spread(n, 5))
	to := imaptest.StartDovecot(b, imaptest.DovecotOptions{})
	s.second = to
	d := dest{addr: to.TLSAddr(), ca: to.CAFile(), password: imaptest.DovecotPassword}
	if rtt > 0 {
		far := imaptest.StartProxy(b, d.addr)
		far.RTT(rtt)
		d.addr = far.Addr()
	}
	return s, d
}

func migrate(b *testing.B, n int, rtt time.Duration) {
	s, to := twoServers(b, n, rtt)
	user, users := "", 0
	fresh := func() (string, string) {
		users++
		user = fmt.Sprintf("dest%d", users)
		return user, s.tree("state")
	}
	check := func(result) {
		was, old := s.user, s.dovecot
		s.user, s.dovecot = user, s.second
		s.received(n)
		s.user, s.dovecot = was, old
	}
	contest(b, nil, s.migrations(to, fresh, check)...)
}

// migrations are the programs that copy the account to a fresh user of a server:
// those that are installed. What is not is said.
func (s *scene) migrations(to dest, fresh func() (user, dir string), check func(result)) []contender {
	programs := []struct {
		name  string
		there bool
		run   func(to dest, user, dir string) command
	}{
		{"postbag", true, s.migrateTo},
		{"mbsync", !to.plain, s.mbsyncTo},
		{"imapsync", installed("imapsync"), s.imapsyncTo},
		{"doveadm", s.second != nil && to.addr == s.second.TLSAddr(), s.doveadmTo},
	}
	var all []contender
	for _, p := range programs {
		if !p.there {
			s.b.Logf("%s does not run here", p.name)
			continue
		}
		all = append(all, contender{name: p.name, check: check, run: func() command {
			user, dir := fresh()
			return p.run(to, user, dir)
		}})
	}
	return all
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// dest is where an account is moved to.
type dest struct {
	addr     string
	ca       string // of TLS; "" with plain
	password string
	plain    bool // no TLS
}

// migrateTo is postbag's migration of the account to a user of the second server,
// with its state in dir.
func (s *scene) migrateTo(to dest, user, dir string) command {
	args := []string{"migrate", "--json", "--tls-ca", s.dovecot.CAFile(), "--password-env", "POSTBAG_BENCH_PW", "--to-password-env", "POSTBAG_BENCH_TO"}
	scheme := "imaps://"
	if to.plain {
		scheme, args = "imap://", append(args, "--to-allow-plaintext")
	} else {
		args = append(args, "--to-tls-ca", to.ca)
	}
	return command{Path: s.postbag, Env: []string{"POSTBAG_BENCH_PW=" + imaptest.DovecotPassword, "POSTBAG_BENCH_TO=" + to.password, "XDG_STATE_HOME=" + dir},
		Args: append(args, "imaps://"+s.user+"@"+s.addr, scheme+user+"@"+to.addr)}
}

// imapsyncTo is imapsync's copy of the account to a user of a server. It keeps no
// state. Certificates are not checked, which costs it nothing.
func (s *scene) imapsyncTo(to dest, user, dir string) command {
	s.b.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.b.Fatal(err)
	}
	host, port, _ := strings.Cut(s.addr, ":")
	host2, port2, _ := strings.Cut(to.addr, ":")
	args := []string{"--nolog", "--noreleasecheck", "--nomodulesversion", "--nofoldersizes", "--nofoldersizesatend", "--tmpdir", dir,
		"--host1", host, "--port1", port, "--user1", s.user, "--password1", imaptest.DovecotPassword, "--ssl1",
		"--host2", host2, "--port2", port2, "--user2", user, "--password2", to.password}
	if to.plain {
		return command{Path: "imapsync", Args: append(args, "--nossl2", "--notls2")}
	}
	return command{Path: "imapsync", Args: append(args, "--ssl2")}
}

// doveadmTo is the pull of the account by the second Dovecot itself, which writes
// into its user's files and speaks IMAP to the first one only. It may not read that one's
// certificate, and does not check it.
func (s *scene) doveadmTo(_ dest, user, _ string) command {
	_, port, _ := strings.Cut(s.addr, ":")
	return command{Path: "doveadm", Args: []string{"-c", s.second.ConfFile(),
		"-o", "imapc_host=localhost", "-o", "imapc_port=" + port, "-o", "imapc_user=" + s.user, "-o", "imapc_password=" + imaptest.DovecotPassword,
		"-o", "imapc_ssl=imaps", "-o", "imapc_ssl_verify=no", "-o", "imapc_features=rfc822.size fetch-headers",
		"backup", "-R", "-u", user, "imapc:"}}
}

// mbsyncTo is mbsync's copy of the account to a user of the second server, with its
// state in dir.
func (s *scene) mbsyncTo(to dest, user, dir string) command {
	s.b.Helper()
	var b strings.Builder
	for _, a := range []struct{ name, user, addr, ca string }{{"from", s.user, s.addr, s.dovecot.CAFile()}, {"to", user, to.addr, to.ca}} {
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
