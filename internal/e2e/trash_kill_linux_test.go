package e2e

import (
	"testing"
)

// A restore that is killed leaves each message in the trash or in its mailbox; one
// more, and a sync, end as if nothing had happened.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	strace := need(t, "strace")
	w, before := filled(t)
	points := 0
	for _, name := range []string{"renameat2", "renameat", "linkat", "unlinkat", "fsync", "openat"} {
		step := 1
		if name == "openat" {
			step = 25
		}
		for n, killed := 1, true; killed && n < 200; n += step {
			must(t, w.server.rest()) // a session does not know of what came since
			list := w.target.MustDump(t)["INBOX"].Messages
			for _, e := range list[len(list)-3:] {
				must(t, w.server.remove("INBOX", e.UID))
			}
			w.sync(t).want(t, 0)
			if got := len(w.retained(t)); got != 3 {
				t.Fatalf("%s %d: got %d messages in the trash, want 3", name, n, got)
			}
			c := w.straced(strace, name, n).trashed(t, "restore", "--all")
			if killed = c.killed(); killed {
				points++
			} else {
				c.want(t, 0)
			}
			w.trashed(t, "restore", "--all").want(t, 0)
			w.sync(t).want(t, 0)
			same(t, before, w.agree(t))
			if t.Failed() {
				t.Fatalf("killed at %s number %d", name, n)
			}
		}
	}
	w.settled(t)
	t.Logf("killed at %d points", points)
	if points < 5 {
		t.Errorf("got %d points: strace does not do what it should", points)
	}
}
