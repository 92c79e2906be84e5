package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/imaptest"
)

// A connection that is cut at any octet, in either direction, while messages, flags,
// moves and removals go both ways, costs nothing: the next sync ends as an
// undisturbed one.
func TestTwoWayCutAnywhere(t *testing.T) {
	t.Parallel()
	const workers = 2
	points := 6
	if long() {
		points = 1000
	}
	seed := drawn()
	var next, whole, left atomic.Int64
	t.Cleanup(func() { t.Logf("seed %d: %d got through by themselves, %d did not", seed, whole.Load(), left.Load()) })
	for n := range workers {
		t.Run(fmt.Sprint("worker ", n), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			r := fixedWork(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
			r.flags = append(r.flags, "--connections", "1")
			r.sync(t).want(t, 0)
			conns := r.proxy.Conns()
			last := conns[len(conns)-1]
			end := r.agree(t)
			for i := next.Add(1) - 1; i < int64(2*points); i = next.Add(1) - 1 {
				dir := imaptest.Direction(i % 2)
				cut := imaptest.Cut{Dir: dir, After: (i/2*last.Bytes(dir) + random.Int64N(last.Bytes(dir))) / int64(points), Reset: i%3 == 0}
				if r.cut(t, cut, i%5 == 4, end) == 0 {
					whole.Add(1)
				} else {
					left.Add(1)
				}
				if t.Failed() {
					t.Fatalf("the cut was %+v of %d", cut, last.Bytes(dir))
				}
			}
		})
	}
}

// cut runs a sync whose first connection is cut, or each of them, and then one
// that is not.
func (r *rewind) cut(t testing.TB, cut imaptest.Cut, all bool, end imaptest.Dump) int {
	t.Helper()
	r.back(t)
	rules := imaptest.Rules{Cut: []imaptest.Cut{cut}}
	r.proxy.SetNth(len(r.proxy.Conns()), rules)
	if all {
		r.proxy.Set(rules)
	}
	c := r.run(t, r.pair("sync")...) // the log may end within a command
	r.proxy.Set(imaptest.Rules{})
	r.log.Reset()
	switch c.code {
	case 0, 3, 7:
	default:
		t.Errorf("got exit code %d, want 0, 3 or 7\n%s", c.code, c)
	}
	if r.endsAs(t, end); t.Failed() {
		t.Logf("the sync that was cut: %s", c)
	}
	return c.code
}

// A server that is killed in the middle of a sync and started again costs nothing.
func TestTwoWayServerRestart(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	r := fixedWork(t, dovecot)
	r.flags = append(r.flags, "--connections", "1")
	r.sync(t).want(t, 0)
	conns := r.proxy.Conns()
	total := conns[len(conns)-1].Bytes(imaptest.ToServer)
	end := r.agree(t)
	rounds := 3
	if long() {
		rounds = 60
	}
	random := rand.New(rand.NewPCG(drawn(), 3))
	for range rounds {
		r.back(t)
		after := random.Int64N(total)
		before := r.proxy.Bytes(imaptest.ToServer)
		r.proxy.RTT(5 * time.Millisecond) // so that there is a middle
		p := r.start(t, r.pair("sync")...)
		for give := time.Now().Add(20 * time.Second); r.proxy.Bytes(imaptest.ToServer)-before < after && time.Now().Before(give); {
			time.Sleep(time.Millisecond)
		}
		dovecot.Restart()
		r.proxy.Set(imaptest.Rules{})
		c := p.wait()
		if c.code != 0 && c.code != 3 && c.code != 7 {
			t.Errorf("got exit code %d, want 0, 3 or 7\n%s", c.code, c)
		}
		r.log.Reset()
		if r.endsAs(t, end); t.Failed() {
			t.Fatalf("killed after %d of %d octets: %s", after, total, c)
		}
	}
}
