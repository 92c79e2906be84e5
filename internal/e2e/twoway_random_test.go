package e2e

import (
	"bytes"
	"crypto/sha256"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// minutes is how long the random tests go on, with POSTBAG_MINUTES; 0 for a few
// rounds.
func minutes(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv("POSTBAG_MINUTES")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n * float64(time.Minute))
}

// seeds calls fn with one seed after another, that of POSTBAG_SEED only, or as
// many as there is time for; and at least n.
func seeds(t *testing.T, n int, fn func(seed uint64)) {
	t.Helper()
	if text := os.Getenv("POSTBAG_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		fn(seed)
		return
	}
	limit := minutes(t)
	begun := time.Now()
	var seed uint64
	defer func() {
		if t.Failed() {
			t.Logf("POSTBAG_SEED=%d", seed)
		}
	}()
	for i := 0; i < n || time.Since(begun) < limit; i++ {
		if seed = drawn() + uint64(i); limit > 0 {
			seed = uint64(time.Now().UnixNano())
		}
		if fn(seed); t.Failed() {
			return
		}
	}
}

// begin fills the server, and makes both sides agree for the first time.
func (h *history) begin(messages int) imaptest.Dump {
	h.t.Helper()
	var samples []demo.Sample
	boxes := []string{"INBOX", "Work", "Archive/2024", "Projets/Été", "Sent"}
	for i := range messages {
		wire := h.compose()
		samples = append(samples, demo.Sample{Mailbox: boxes[i%len(boxes)], Raw: wire, Flags: h.flags(), Date: dateOf(wire)})
	}
	if _, err := h.target.Fill(slices.Values(samples)); err != nil {
		h.t.Fatal(err)
	}
	h.sync(h.t).want(h.t, 0)
	return h.settled(h.t)
}

// round changes both sides, syncs once, and checks everything that has to hold
// then. It answers with what both sides hold.
func (h *history) round(base imaptest.Dump, edits int) imaptest.Dump {
	t := h.t
	t.Helper()
	h.change(edits)
	x := h.expected(base)
	trash, held := h.trash(t), h.holdings()
	c := h.syncWhole()
	h.parkWhatStayed()
	after := h.settled(t, h.options()...)
	x.stayed = h.inParked()
	x.check(t, after)
	h.checkHoldings(held)
	x.checkTrash(t, trash, h.trash(t), placesOf(after))
	if t.Failed() {
		t.Fatalf("POSTBAG_SEED=%d; the edits were\n%s%s", h.seed, describe(h.edits), c)
	}
	return after
}

// options are those of the syncs.
func (h *history) options() []string {
	if h.deletes {
		return []string{"--force-deletes", "--delete-mailboxes"}
	}
	return []string{"--force-deletes"}
}

// syncWhole runs a sync that has to get through.
func (h *history) syncWhole() *call {
	h.t.Helper()
	c := h.sync(h.t, h.options()...)
	if c.code != 0 {
		h.t.Fatalf("POSTBAG_SEED=%d; the edits were\n%s%s", h.seed, describe(h.edits), c)
	}
	return c
}

// expected is what has to become of both sides as they are now.
func (h *history) expected(base imaptest.Dump) *expect {
	h.t.Helper()
	server, local := h.sides(h.t)
	unnamed := map[mail.Digest]bool{}
	for _, wire := range h.written {
		if !bytes.Contains(bytes.ToLower(wire), []byte("message-id:")) {
			unnamed[sha256.Sum256(wire)] = true
		}
	}
	x := &expect{base: placesOf(base), server: placesOf(server), local: placesOf(local), odd: h.odd, unnamed: unnamed, touched: h.touched, renewed: h.renewed, met: h.met, forgets: h.forgets}
	for d := range x.server {
		_, in := changed(x.base[d], x.server[d])
		_, in2 := changed(x.base[d], x.local[d])
		h.met[d] = h.met[d] || in > 0 && in2 > 0
	}
	return x
}

// checkTrash fails the test when a message that only the server removed does not
// lie in the retention area.
func (x *expect) checkTrash(t testing.TB, before, now map[mail.Digest]int, end places) {
	t.Helper()
	for d, local := range x.local {
		if x.stayed[d] || where(local) != where(x.base[d]) || slices.ContainsFunc(local, func(p place) bool { return x.odd[p.box] }) {
			continue
		}
		if gone := len(local) - len(end[d]); now[d]-before[d] < gone {
			t.Errorf("%d of %.12s are gone from the Maildir, and %d went to the retention area", gone, d, now[d]-before[d])
		}
	}
}

// Whatever is changed on both sides between two syncs, one sync makes them agree:
// nothing is lost that nobody removed, nothing is doubled, and the next sync does
// nothing.
func TestTwoWayHistories(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name           string
		names, deletes bool
	}{{"messages", false, false}, {"mailboxes", true, false}, {"mailboxes deleted", true, true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
			histories, rounds := 0, 0
			seeds(t, 1, func(seed uint64) {
				h := newHistory(t, newTwoWay(t, dovecot), seed, test.names)
				h.deletes = test.deletes
				d := h.begin(40)
				for range 8 {
					d = h.round(d, 10)
					rounds++
				}
				histories++
				if len(h.parked) == 0 {
					h.verify(t).want(t, 0)
				}
			})
			t.Logf("%d histories of %d rounds", histories, rounds)
		})
	}
}
