package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// endsAs fails the test when one more sync does not end where the undisturbed one
// ended, on both sides.
func (r *rewind) endsAs(t testing.TB, end imaptest.Dump, more ...string) {
	t.Helper()
	c := r.sync(t, more...).want(t, 0)
	server, local := r.sides(t)
	if diff := imaptest.Diff(end.Content(), server.Content()); diff != "" {
		t.Errorf("the server is not as after an undisturbed sync (- missing, + extra):\n%s", clip(diff))
	}
	if diff := imaptest.Diff(end.Content(), local.Content()); diff != "" {
		t.Errorf("the Maildir is not as after an undisturbed sync (- missing, + extra):\n%s", clip(diff))
	}
	r.checkState(t)
	r.sync(t, append([]string{"--json"}, more...)...).want(t, 0).unchanged(t)
	if t.Failed() {
		t.Logf("the sync after it: %s", c)
	}
}

// killWhen runs a sync that is killed after a while.
func (r *rewind) killWhen(t testing.TB, after time.Duration, more ...string) *call {
	t.Helper()
	p := r.start(t, r.pair("sync", more...)...)
	timer := time.AfterFunc(after, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	c := p.wait()
	if !c.killed() {
		c.want(t, 0)
	}
	return c
}

// A sync with work of every kind that is killed at any time, once or twice in a
// row, is finished by the next one, and that ends as if nothing had been.
func TestTwoWayKillAtRandomTimes(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	kills, rounds, kept := 0, 0, 0
	t.Cleanup(func() { t.Logf("%d rounds, %d kills, %d syncs that got through first", rounds, kills, kept) })
	seeds(t, 1, func(seed uint64) {
		h := newHistory(t, newTwoWay(t, dovecot), seed, true)
		h.deletes = seed%2 == 0
		d := h.begin(40)
		random := rand.New(rand.NewPCG(seed, 8))
		for range 4 {
			h.change(20)
			x := h.expected(d)
			r := keep(t, dovecot, h.twoWay)
			c := h.syncWhole()
			h.parkWhatStayed()
			end := r.agree(t)
			x.stayed = h.inParked()
			x.check(t, end)
			for range 4 {
				r.back(t)
				var log []string
				for range 1 + random.IntN(2) {
					after := time.Duration(random.Int64N(int64(c.elapsed)))
					log = append(log, fmt.Sprint(after))
					if c := r.killWhen(t, after, h.options()...); c.killed() {
						kills++
					} else {
						kept++
					}
				}
				if r.endsAs(t, end, h.options()...); t.Failed() {
					t.Fatalf("POSTBAG_SEED=%d; killed after %s of %v; the edits were\n%s", seed, strings.Join(log, " and "), c.elapsed, describe(h.edits))
				}
			}
			r.resume(t)
			h.sync(t, h.options()...).want(t, 0)
			d = h.settled(t, h.options()...)
			rounds++
		}
	})
}

// fixedWork is a sync with a little of everything: uploads, downloads, flags,
// moves and removals both ways, a mailbox that is new on either side, and one that
// was renamed.
func fixedWork(t testing.TB, dovecot *imaptest.Dovecot) *rewind {
	t.Helper()
	w := newTwoWay(t, dovecot)
	if _, err := w.target.Fill(brief("old", 60, "INBOX", "Work", "Archive", "Projets/Été", "Old name")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	w.settled(t)
	if _, err := w.target.Fill(brief("down", 6, "INBOX", "Work", "Made there")); err != nil {
		t.Fatal(err)
	}
	c := w.server
	must(t, c.in("INBOX", `UID STORE 2 +FLAGS.SILENT (\Flagged Later)`, `UID STORE 3 -FLAGS.SILENT (\Seen)`, "UID MOVE 4 Work", `UID STORE 5 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 5"))
	must(t, c.in("Archive", "UID MOVE 1:2 INBOX", `UID COPY 3 "Made there"`, `UID MOVE 4 "Made there"`))
	must(t, c.names("RENAME", "Old name", "New name"))
	tree := readTree(t, w.dir, true)
	r := w.reader
	must(t, r.create("Made here"))
	for i, s := range slices.Collect(brief("up", 6, "INBOX", "Work", "Made here")) {
		must(t, r.deliver(s.Mailbox, r.base(), fileOf(s.Raw, false), mail.Flags{}, s.Date, i%2 == 0))
	}
	inbox, work := byDate(tree["INBOX"]), byDate(tree["Work"])
	must(t, r.setFlags("INBOX", inbox[1], mail.ParseFlags(`\Seen`, "Later")))
	must(t, r.setFlags("INBOX", inbox[5], mail.ParseFlags(`\Answered`, "Sooner")))
	must(t, r.move(inbox[6], "Work", keyOf(inbox[6].path)))
	must(t, r.move(inbox[7], "Made here", r.base()))
	must(t, r.move(work[2], "Archive", keyOf(work[2].path)))
	must(t, removeFile(work[3]))
	must(t, r.deliver("Work", r.base(), fileOf(work[4].raw, false), work[4].Flags, work[4].Date, false))
	return keep(t, dovecot, w)
}

// twoWayDeaths are the system calls at which a sync is killed: by which it changes
// files, or speaks to the server.
var twoWayDeaths = []string{"write", "pwrite64", "fsync", "fdatasync", "syncfs", "renameat2", "unlinkat", "mkdirat", "openat"}

// A sync that is killed at any system call is finished by the next one.
func TestTwoWayKillAtSystemCalls(t *testing.T) {
	t.Parallel()
	strace := need(t, "strace")
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	r := fixedWork(t, dovecot)
	r.sync(t).want(t, 0)
	end := r.agree(t)
	random := rand.New(rand.NewPCG(drawn(), 9))
	next := sampled(random)
	names := slices.Clone(twoWayDeaths)
	if !long() {
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = names[:3]
	}
	points := 0
	for _, name := range names {
		for n := next(0); ; n = next(n) {
			r.back(t)
			c := r.straced(strace, name, n).run(t, r.pair("sync")...)
			if r.endsAs(t, end); t.Failed() {
				t.Fatalf("killed at %s number %d\n%s", name, n, c)
			}
			if !c.killed() {
				c.want(t, 0)
				break
			}
			points++
		}
	}
	r.resume(t)
	r.settled(t)
	t.Logf("killed at %d points of %v", points, names)
	if points < 3 {
		t.Errorf("got %d points: strace does not do what it should", points)
	}
}
