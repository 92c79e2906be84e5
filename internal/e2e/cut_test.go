package e2e

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// brief are small messages, so that a session is short and every part of it is
// cut often.
func brief(prefix string, n int, mailboxes ...string) iter.Seq[demo.Sample] {
	return func(yield func(demo.Sample) bool) {
		for i := range n {
			raw := fmt.Appendf(nil, "Message-ID: <%s%d@example.org>\r\nSubject: %s %d\r\n\r\n%s\r\n", prefix, i, prefix, i, strings.Repeat("text ", i%7))
			if i%5 == 4 {
				raw = []byte(strings.ReplaceAll(string(raw), "\r\n", "\n")) // stored as it is
			}
			s := demo.Sample{Mailbox: mailboxes[i%len(mailboxes)], Raw: raw, Date: time.Date(2024, 1, 1, 0, 0, i, 0, time.UTC)}
			if !yield(s) {
				return
			}
		}
	}
}

// cutWorld is an account behind a proxy, for one run after another that is cut.
type cutWorld struct {
	model  *account
	proxy  *imaptest.Proxy
	before string // a backup before the last changes; "" for none
	server imaptest.Dump
	total  [2]int64 // octets of an undisturbed session
}

func newCutWorld(t *testing.T, dovecot *imaptest.Dovecot) *cutWorld {
	t.Helper()
	var target imaptest.Target
	w := &cutWorld{}
	if dovecot == nil {
		target = imaptest.StartEmbedded(t, brief("one", 12, "INBOX", "Work", "Projets/Été")).Target()
	} else {
		target = dovecot.Target(dovecot.NewUser())
		if _, err := target.Fill(brief("one", 12, "INBOX", "Work", "Projets/Été")); err != nil {
			t.Fatal(err)
		}
	}
	w.model = onTarget(t, target)
	w.model.flags = append(w.model.flags, "--connections", "1")
	w.proxy = w.model.via(t, target)
	if dovecot != nil {
		w.model.backup(t).want(t, 0)
		w.before = w.model.dir
		do(t, client(t, target), "SELECT INBOX", `UID STORE 1 +FLAGS.SILENT (\Seen Later)`, `UID STORE 2 +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE 2", "UID MOVE 3 Work")
		if _, err := target.Fill(brief("two", 6, "INBOX", "New")); err != nil {
			t.Fatal(err)
		}
	}
	w.server = target.MustDump(t)
	a := w.fresh(t)
	a.backup(t, "--mirror").want(t, 0)
	a.sameAs(t, w.server)
	conns := w.proxy.Conns()
	for dir := range w.total {
		w.total[dir] = conns[len(conns)-1].Bytes(imaptest.Direction(dir))
	}
	return w
}

func (w *cutWorld) fresh(t testing.TB) *account {
	t.Helper()
	a := *w.model
	a.home = scratch(t)
	a.dir = filepath.Join(a.home, "mail")
	if w.before != "" {
		copyTree(t, w.before, a.dir)
	}
	return &a
}

// disturb runs a backup whose first connection, or all of whose connections, meet
// the rules, and then one that meets nothing.
func (w *cutWorld) disturb(t *testing.T, rules imaptest.Rules, all bool) (code int) {
	t.Helper()
	a := w.fresh(t)
	w.proxy.SetNth(len(w.proxy.Conns()), rules)
	if all {
		w.proxy.Set(rules)
	}
	c := a.backup(t, "--mirror")
	w.proxy.Set(imaptest.Rules{})
	switch c.code {
	case 0: // it got through by itself, and then it has to be true
		a.sameAs(t, w.server)
	case 3, 7:
		if c.stderr == "" {
			t.Errorf("no word about the reason\n%s", c)
		}
	default:
		t.Errorf("got exit code %d, want 0, 3 or 7\n%s", c.code, c)
	}
	again := a.backup(t, "--mirror")
	again.want(t, 0)
	a.sameAs(t, w.server)
	a.checkState(t)
	a.verify(t).want(t, 0)
	a.checkNoop(t)
	if t.Failed() {
		t.Logf("the run that was disturbed: %s", c)
	}
	return c.code
}

// cuts are the places where a session is cut: every octet of both directions, or
// a sample that differs each time, with FIN and with RST.
func (w *cutWorld) cuts(random *rand.Rand, points int) []imaptest.Cut {
	var list []imaptest.Cut
	for dir, total := range w.total {
		step := max(total/int64(points), 1)
		if long() {
			step = 1
		}
		for at := int64(0); at <= total; at += step {
			after := at
			if step > 1 {
				after += random.Int64N(step)
			}
			list = append(list, imaptest.Cut{Dir: imaptest.Direction(dir), After: min(after, total), Reset: len(list)%2 == 1})
			if long() {
				list = append(list, imaptest.Cut{Dir: imaptest.Direction(dir), After: after, Reset: true})
			}
		}
	}
	return list
}

// A connection that is cut at any octet, in either direction, costs no message
// and doubles none.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	t.Run("first", func(t *testing.T) {
		t.Parallel()
		cutAnywhere(t, nil)
	})
	t.Run("changes", func(t *testing.T) {
		t.Parallel()
		cutAnywhere(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
	})
}

func cutAnywhere(t *testing.T, dovecot *imaptest.Dovecot) {
	const workers, points = 4, 8
	seed := drawn()
	var worlds []*cutWorld
	for range workers { // each has a proxy of its own, whose connections it counts
		worlds = append(worlds, newCutWorld(t, dovecot))
	}
	cuts := worlds[0].cuts(rand.New(rand.NewPCG(seed, 2)), points)
	var next atomic.Int64
	var codes [10]atomic.Int64
	t.Cleanup(func() {
		t.Logf("seed %d: %d cuts of a session of %d and %d octets; exit codes: %d times 0, %d times 3, %d times 7", seed, len(cuts),
			worlds[0].total[0], worlds[0].total[1], codes[0].Load(), codes[3].Load(), codes[7].Load())
	})
	for n, w := range worlds {
		t.Run(fmt.Sprint("worker ", n), func(t *testing.T) {
			t.Parallel()
			for !t.Failed() {
				i := int(next.Add(1)) - 1
				if i >= len(cuts) {
					return
				}
				// Every fifth time the cut meets each new connection as well.
				code := w.disturb(t, imaptest.Rules{Cut: cuts[i : i+1]}, i%5 == 4 && !long())
				if t.Failed() {
					t.Fatalf("the cut was %+v of %v", cuts[i], w.total)
				}
				codes[code].Add(1)
			}
		})
	}
}

// A server that goes down and comes back while a run is under way costs nothing.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	for _, sessions := range []bool{false, true} {
		dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
		user := dovecot.NewUser()
		dovecot.Fill(user, demo.Corpus(20, 600))
		target := dovecot.Target(user)
		server := target.MustDump(t)
		a := onTarget(t, target)
		p := a.via(t, target)
		p.Set(imaptest.Rules{Rate: [2]int64{imaptest.ToClient: 2 << 20}})
		r := a.start(t, a.pair("backup")...)
		for end := time.Now().Add(20 * time.Second); p.Bytes(imaptest.ToClient) < 2<<20 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		if sessions {
			dovecot.KillSessions()
		} else {
			dovecot.Restart()
		}
		p.Set(imaptest.Rules{})
		c := r.wait()
		t.Logf("exit %d after %v", c.code, c.elapsed)
		switch c.code {
		case 0:
			a.sameAs(t, server)
		case 3, 7:
			a.backup(t).want(t, 0)
		default:
			t.Errorf("got exit code %d, want 0, 3 or 7\n%s", c.code, c)
		}
		a.sameAs(t, server)
		a.verify(t).want(t, 0)
		a.checkState(t)
		a.checkNoop(t)
	}
}

// Octets that are not what the server sent are found out, or they are within the
// text of a message, where nobody can tell on a line without TLS: then a deep
// verification names that message.
func TestGarbageOnTheLine(t *testing.T) {
	t.Parallel()
	w := newCutWorld(t, nil)
	seed := drawn()
	random := rand.New(rand.NewPCG(seed, 3))
	rounds := 12
	if long() {
		rounds = 2000
	}
	for range rounds {
		g := imaptest.Garbage{Dir: imaptest.ToClient, At: random.Int64N(w.total[0]), With: byte(random.IntN(256)), Insert: random.IntN(2) == 0}
		a := w.fresh(t)
		w.proxy.SetNth(len(w.proxy.Conns()), imaptest.Rules{Garbage: []imaptest.Garbage{g}})
		c := a.backup(t)
		again := a.backup(t, "--refill")
		a.checkState(t)
		deep := a.verify(t, "--deep")
		switch {
		case deep.code == 0:
			again.want(t, 0)
			for name, box := range w.server { // what arrived is right
				if got := treeDump(t, a.dir)[name]; len(got.Messages) != len(box.Messages) {
					t.Errorf("%s holds %d messages, want %d", name, len(got.Messages), len(box.Messages))
				}
			}
		case deep.code == 3 && (strings.Contains(deep.stdout, "different") || strings.Contains(deep.stdout, "flags") || strings.Contains(deep.stdout, "missing")):
		default:
			t.Errorf("verify --deep says %d\n%s", deep.code, deep)
		}
		if t.Failed() {
			t.Fatalf("seed %d, %+v\n%s\n%s", seed, g, c, again)
		}
	}
}

// A connection on which nothing moves any more is given up after a minute, and
// taken up again. It takes that minute.
func TestStall(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Skip("takes more than a minute: POSTBAG_LONG=1")
	}
	w := newCutWorld(t, nil)
	for _, after := range []int64{0, w.total[0] / 3, w.total[0] * 3 / 4} {
		begun := time.Now()
		code := w.disturb(t, imaptest.Rules{Stall: []imaptest.Stall{{Dir: imaptest.ToClient, After: after}}}, false)
		t.Logf("stalled after %d octets: exit %d after %v", after, code, time.Since(begun))
	}
}
