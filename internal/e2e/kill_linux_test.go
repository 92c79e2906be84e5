package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// deathPoints are the system calls at which a run is killed: first all by which it
// changes files or speaks to the server, then those that lie between them.
var deathPoints = []string{
	"openat", "write", "pwrite64", "fsync", "fdatasync", "syncfs", "renameat2", "linkat", "unlinkat", "mkdirat", "ftruncate",
	"utimensat", "fchmod", "connect",
	"close", "read", "pread64", "getdents64", "fcntl",
}

// changingCalls is how many of deathPoints change something.
const changingCalls = 14

// killWorld is an account with a backup of it, and with changes since then: each
// run that is killed begins with a copy of that backup.
type killWorld struct {
	server imaptest.Dump // as it is now
	model  *account      // where the copies go; its Maildir is the undisturbed run's
	before string        // the backup before the changes; "" for none
	dump   string        // what the Maildir holds after an undisturbed run
	rows   string        // what the state says after it
}

// newKillWorld makes one. From scratch there is no backup before.
func newKillWorld(t *testing.T, fromScratch bool) *killWorld {
	t.Helper()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, into(demo.Corpus(10, 40), "INBOX", "Work", "Archive", "Projets/Été"))
	target := dovecot.Target(user)
	w := &killWorld{model: onTarget(t, target)}
	if !fromScratch {
		w.model.backup(t).want(t, 0)
		w.before = w.model.dir
	}
	dovecot.Fill(user, into(demo.Corpus(11, 12), "INBOX", "Work", "New/Mailbox"))
	c := client(t, target)
	do(t, c,
		"SELECT INBOX", `UID STORE 2 +FLAGS.SILENT (\Flagged \Answered)`, `UID STORE 3 FLAGS.SILENT ()`, "UID STORE 4 +FLAGS.SILENT (Later $Label2)",
		`UID STORE 5 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 5", "UID MOVE 7,8 Work", "UID COPY 9 Archive",
		"SELECT Archive", `UID STORE 1 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 1", "UID MOVE 2 INBOX", "UNSELECT", `DELETE "Projets/&AMk-t&AOk-"`)
	w.server = target.MustDump(t)
	undisturbed := w.fresh(t)
	undisturbed.backup(t).want(t, 0)
	undisturbed.verify(t).want(t, 0)
	undisturbed.checkNoop(t)
	w.dump, w.rows = treeDump(t, undisturbed.dir).Content(), undisturbed.rows(t)
	return w
}

// fresh is the account with a Maildir of its own, as it was before the changes.
func (w *killWorld) fresh(t testing.TB) *account {
	t.Helper()
	a := *w.model
	a.home = scratch(t)
	a.dir = filepath.Join(a.home, "mail")
	if w.before != "" {
		copyTree(t, w.before, a.dir)
	}
	return &a
}

// checkEnd runs once more after a disaster, and fails the test when that does not
// end where the undisturbed run ended.
func (w *killWorld) checkEnd(t testing.TB, a *account) {
	t.Helper()
	a.backup(t).want(t, 0)
	w.checkSame(t, a)
	a.verify(t).want(t, 0)
	a.checkState(t)
	a.checkNoop(t)
}

// checkKept is checkEnd after a run that failed in a mailbox: a message that was
// moved from there on the server may then be in both places, kept in one.
func (w *killWorld) checkKept(t testing.TB, a *account) {
	t.Helper()
	a.backup(t).want(t, 0)
	for line := range strings.Lines(imaptest.Diff(w.dump, treeDump(t, a.dir).Content())) {
		if strings.HasSuffix(line, " -\n") {
			t.Errorf("this is missing: %s", line)
		}
	}
	a.sameOrKept(t, w.server)
	a.verify(t).want(t, 0)
	a.checkState(t)
	a.checkNoop(t)
}

// sameOrKept fails the test when the tree holds a message twice that the server
// has once, and the state does not say that one of them is kept.
func (a *account) sameOrKept(t testing.TB, server imaptest.Dump) {
	t.Helper()
	gone := strings.Count(a.rows(t), "gone true false size")
	local := treeDump(t, a.dir)
	extra := 0
	for name, box := range local {
		if _, ok := server[name]; !ok { // the whole mailbox is kept
			extra += len(box.Messages)
			delete(local, name)
		}
	}
	extra += strings.Count(imaptest.Diff(server.Content(), local.Content()), "] ")
	if extra != gone {
		t.Errorf("%d messages are not on the server, and %d are on record as kept", extra, gone)
	}
}

func (w *killWorld) checkSame(t testing.TB, a *account) {
	t.Helper()
	if diff := imaptest.Diff(w.dump, treeDump(t, a.dir).Content()); diff != "" {
		t.Errorf("the Maildir is not that of an undisturbed run (- missing, + extra):\n%s", clip(diff))
	}
	if diff := imaptest.Diff(w.rows, a.rows(t)); diff != "" {
		t.Errorf("the state is not that of an undisturbed run (- missing, + extra):\n%s", clip(diff))
	}
}

// straced makes the account's calls run under strace, which kills them when one
// of their threads is about to make the n-th call of that name.
func (a *account) straced(strace, name string, n int) *account {
	b := *a
	b.wrap = []string{strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + name,
		"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", name, n)}
	return &b
}

// killed reports whether the call ended by SIGKILL, its own or that which strace
// passes on.
func (c *call) killed() bool {
	status, ok := c.state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// sampled are the occurrences of a system call at which a run is killed, in
// order: all of them, or ever fewer, others each time.
func sampled(random *rand.Rand) func(n int) (next int) {
	return func(n int) int {
		if long() {
			return n + 1
		}
		return 2*n + 1 + random.IntN(2*n+1)
	}
}

// A run that is killed at any system call is finished by the next one.
func TestKillAtEverySystemCall(t *testing.T) {
	t.Parallel()
	strace := need(t, "strace")
	for _, fromScratch := range []bool{false, true} {
		t.Run(map[bool]string{false: "changes", true: "first"}[fromScratch], func(t *testing.T) {
			t.Parallel()
			w := newKillWorld(t, fromScratch)
			random := rand.New(rand.NewPCG(drawn(), 1))
			next := sampled(random)
			names := deathPoints
			if !long() { // those that change something, and of them some
				names = slices.Clone(names[:changingCalls])
				random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
				names = names[:9]
			}
			points := 0
			for _, name := range names {
				for n := next(0); killAt(t, w, strace, name, n); n = next(n) {
					points++
					if t.Failed() {
						t.Fatalf("killed at %s number %d", name, n)
					}
				}
			}
			t.Logf("killed at %d points", points)
			if points < 8 {
				t.Errorf("got %d points: strace does not do what it should", points)
			}
		})
	}
}

// killAt kills one run at one point and has the next one finish. It tells whether
// the run came as far as that.
func killAt(t *testing.T, w *killWorld, strace, name string, n int) bool {
	t.Helper()
	a := w.fresh(t)
	c := a.straced(strace, name, n).backup(t)
	if !c.killed() {
		c.want(t, 0)
		w.checkSame(t, a)
		return false
	}
	w.checkEnd(t, a)
	return true
}

// A run that is killed while it cleans up after one that was killed is finished
// by the next one, however often that happens.
func TestKillDuringRecovery(t *testing.T) {
	t.Parallel()
	strace := need(t, "strace")
	w := newKillWorld(t, false)
	rounds := 5
	if long() {
		rounds = 500
	}
	seed := drawn()
	random := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		a := w.fresh(t)
		var log []string
		for range 2 + random.IntN(3) {
			name, n := deathPoints[random.IntN(len(deathPoints))], 1+random.IntN(20)
			c := a.straced(strace, name, n).backup(t)
			log = append(log, fmt.Sprintf("%s:%d", name, n))
			if !c.killed() {
				c.want(t, 0)
			}
		}
		w.checkEnd(t, a)
		if t.Failed() {
			t.Fatalf("seed %d, killed at %s", seed, strings.Join(log, ", "))
		}
	}
}

// A first backup that is killed again and again at random times gets through, and
// nothing is doubled or lost.
func TestKillAtRandomTimes(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := dovecot.NewUser()
	dovecot.Fill(user, demo.Corpus(13, 2000))
	server := dovecot.Target(user).MustDump(t)
	seed := drawn()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	a := onDovecot(t, dovecot, user)
	kills := 0
	for {
		if kills > 200 {
			t.Fatal("it never gets through")
		}
		r := a.start(t, a.pair("backup")...)
		time.AfterFunc(time.Duration(20+random.IntN(100*(kills+1)))*time.Millisecond, func() { _ = r.cmd.Process.Kill() })
		c := r.wait()
		if !c.killed() {
			c.want(t, 0)
			break
		}
		kills++
	}
	t.Logf("killed %d times", kills)
	a.sameAs(t, server)
	a.verify(t).want(t, 0)
	a.checkState(t)
	a.checkNoop(t)
}

// slowly is an account behind a proxy that passes little, so that a run is in the
// middle of its work for long.
func slowly(t *testing.T, seed uint64, rate int64) (*account, *imaptest.Proxy, imaptest.Dump) {
	t.Helper()
	e := imaptest.StartEmbedded(t, demo.Corpus(seed, 400))
	a := onTarget(t, e.Target())
	p := a.via(t, e.Target())
	p.Set(imaptest.Rules{Rate: [2]int64{imaptest.ToClient: rate}})
	return a, p, e.Target().MustDump(t)
}

// flowing waits until so many octets came from the server.
func flowing(t *testing.T, p *imaptest.Proxy, octets int64) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); p.Bytes(imaptest.ToClient) < octets; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing comes from the server")
		}
	}
}

// An interruption ends a run in order and soon: what came so far is kept, and the
// next run goes on from there.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			a, p, server := slowly(t, 14, 1<<20)
			r := a.start(t, a.pair("backup", "--json")...)
			flowing(t, p, 1500<<10)
			sent := time.Now()
			if err := r.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			c := r.wait().want(t, 130)
			if took := time.Since(sent); took > 5*time.Second {
				t.Errorf("it took %v to stop", took)
			}
			s := c.summary(t)
			if s.Outcome != "interrupted" || s.B.New == 0 || s.B.New >= server.Count() {
				t.Errorf("got outcome %q with %d new messages\n%s", s.Outcome, s.B.New, c)
			}
			if got := treeDump(t, a.dir).Count(); got != s.B.New {
				t.Errorf("the Maildir holds %d messages, and %d were reported", got, s.B.New)
			}
			p.Set(imaptest.Rules{})
			again := a.backup(t, "--json").want(t, 0).summary(t)
			if again.B.New+s.B.New != server.Count() {
				t.Errorf("got %d and then %d new messages, want %d in all", s.B.New, again.B.New, server.Count())
			}
			a.sameAs(t, server)
			a.checkState(t)
			a.checkNoop(t)
		})
	}
}

// The second signal does not wait for anything.
func TestInterruptTwice(t *testing.T) {
	t.Parallel()
	a, p, server := slowly(t, 15, 1<<20)
	p.Set(imaptest.Rules{Stall: []imaptest.Stall{{Dir: imaptest.ToClient, After: 200 << 10}}})
	r := a.start(t, a.pair("backup")...)
	flowing(t, p, 200<<10)
	for range 2 {
		if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
			break // it was quick
		}
		time.Sleep(30 * time.Millisecond)
	}
	sent := time.Now()
	r.wait().want(t, 130)
	if took := time.Since(sent); took > 2*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	p.Set(imaptest.Rules{})
	a.backup(t).want(t, 0)
	a.sameAs(t, server)
	a.checkState(t)
	a.checkNoop(t)
}
