package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// crossing is an account with n messages that wait on each side for a sync, behind
// a proxy that passes so many octets a second each way.
func crossing(t *testing.T, n int, rate int64) *twoWay {
	t.Helper()
	w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
	if _, err := w.target.Fill(brief("old", 20, "INBOX", "Work")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	if _, err := w.target.Fill(brief("down", n, "INBOX")); err != nil {
		t.Fatal(err)
	}
	for m := range brief("up", n, "Work") {
		must(t, w.reader.deliver("Work", w.reader.base(), fileOf(m.Raw, false), mail.Flags{}, m.Date, true))
	}
	w.proxy.Set(imaptest.Rules{Rate: [2]int64{imaptest.ToClient: rate, imaptest.ToServer: rate}})
	return w
}

// passing waits until so many more octets have gone both ways.
func (w *twoWay) passing(t *testing.T, before [2]int64, octets int64) {
	t.Helper()
	for _, dir := range []imaptest.Direction{imaptest.ToClient, imaptest.ToServer} {
		for end := time.Now().Add(30 * time.Second); w.proxy.Bytes(dir) < before[dir]+octets; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing goes over the wire")
			}
		}
	}
}

func (w *twoWay) passed() [2]int64 {
	return [2]int64{imaptest.ToClient: w.proxy.Bytes(imaptest.ToClient), imaptest.ToServer: w.proxy.Bytes(imaptest.ToServer)}
}

// An interruption in the middle of uploads and downloads ends the sync in order:
// it tells what is on each side by then, and the next one does the rest. Nothing
// is there twice.
func TestTwoWayInterrupt(t *testing.T) {
	t.Parallel()
	const each = 4000 // more than is read before the first is up
	w := crossing(t, each, 200<<10)
	before := w.passed()
	r := w.start(t, w.pair("sync", "--json")...)
	w.passing(t, before, 40<<10)
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	c := r.wait().want(t, 130)
	s := c.summary(t)
	if s.Outcome != "interrupted" || s.A.New == 0 || s.A.New == each || s.B.New == 0 || s.B.New == each {
		t.Errorf("got %q, %d and %d new, want a part of %d each\n%s", s.Outcome, s.A.New, s.B.New, each, c)
	}
	server, local := w.sides(t)
	if got := server.Count(); got != 20+each+s.A.New {
		t.Errorf("the server holds %d messages; it had %d, and %d new ones are reported", got, 20+each, s.A.New)
	}
	if got := local.Count(); got != 20+each+s.B.New {
		t.Errorf("the Maildir holds %d messages; it had %d, and %d new ones are reported", got, 20+each, s.B.New)
	}
	w.proxy.Set(imaptest.Rules{})
	again := w.sync(t, "--json").want(t, 0).summary(t)
	if again.A.New+s.A.New != each || again.B.New+s.B.New != each {
		t.Errorf("got %d and then %d new on the server, %d and then %d in the Maildir, want %d each in all",
			s.A.New, again.A.New, s.B.New, again.B.New, each)
	}
	if got := w.settled(t).Count(); got != 20+2*each {
		t.Errorf("there are %d messages, want %d", got, 20+2*each)
	}
}

// The second interruption waits for nothing, not even for what is under way; and
// what was on its way is there once in the end.
func TestTwoWayInterruptTwice(t *testing.T) {
	t.Parallel()
	const each = 400
	for _, after := range []int64{5 << 10, 15 << 10} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel()
			w := crossing(t, each, 30<<10)
			before := w.passed()
			r := w.start(t, w.pair("sync")...)
			w.passing(t, before, after)
			for range 2 {
				if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
					break // it was quick
				}
				time.Sleep(30 * time.Millisecond)
			}
			r.wait().want(t, 130)
			if server, local := w.sides(t); server.Count() == 20+2*each && local.Count() == 20+2*each {
				t.Errorf("it did all of its work first: the server has %d messages, the Maildir %d", server.Count(), local.Count())
			}
			w.proxy.Set(imaptest.Rules{})
			w.sync(t).want(t, 0)
			if got := w.settled(t).Count(); got != 20+2*each {
				t.Errorf("there are %d messages, want %d", got, 20+2*each)
			}
		})
	}
}
