package demo

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	netmail "net/mail"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestCorpusIsDeterministic(t *testing.T) {
	t.Parallel()
	sum := func(seed uint64) string {
		h := sha256.New()
		for s := range Corpus(seed, 300) {
			fmt.Fprintf(h, "%s %s %s %s\n", s.Mailbox, s.Use, s.Flags, s.Date)
			h.Write(s.Raw)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	if got, want := sum(1), sum(1); got != want {
		t.Errorf("two corpora of one seed differ: %s, %s", got, want)
	}
	if got, other := sum(1), sum(2); got == other {
		t.Error("two seeds give one corpus")
	}
}

func TestCorpusShape(t *testing.T) {
	t.Parallel()
	const n = 3000
	var total, replies, foreign int
	boxes, ids := map[string]int{}, map[string]bool{}
	first := true
	var lastYear, firstYear int
	for s := range Corpus(7, n) {
		size := len(s.Raw)
		if size < minSize || size > maxSize*5/4 {
			t.Errorf("message of %d octets, want %d to %d", size, minSize, maxSize)
		}
		if !ServerSafe(s.Raw) {
			t.Errorf("message is not in lines of CRLF: %q", s.Raw[:200])
		}
		m, err := netmail.ReadMessage(bytes.NewReader(s.Raw))
		if err != nil {
			t.Fatalf("message does not parse: %v\n%s", err, s.Raw)
		}
		id := m.Header.Get("Message-ID")
		if ids[id] {
			t.Errorf("Message-ID %s twice", id)
		}
		ids[id] = true
		if parent := m.Header.Get("In-Reply-To"); parent != "" {
			replies++
			if !ids[parent] {
				t.Errorf("reply to %s, which did not come before", parent)
			}
		}
		if bytes.Contains(s.Raw, []byte("=?utf-8?b?")) {
			foreign++
		}
		total += size
		boxes[s.Mailbox]++
		if first {
			firstYear, first = s.Date.Year(), false
		}
		lastYear = s.Date.Year()
	}
	if avg := total / n; avg < 8000 || avg > 12500 {
		t.Errorf("messages have %d octets on average, want about 10000", avg)
	}
	if got, want := len(boxes), len(Mailboxes()); got != want {
		t.Errorf("%d mailboxes filled, want %d", got, want)
	}
	if lastYear-firstYear < 10 || replies < n/5 || foreign < n/10 {
		t.Errorf("years %d to %d, %d replies, %d with encoded words", firstYear, lastYear, replies, foreign)
	}
}

func TestSmallCorpusFillsEveryMailbox(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for s := range Corpus(1, len(Mailboxes())) {
		seen[s.Mailbox] = true
	}
	for _, m := range Mailboxes() {
		if !seen[m.Name] {
			t.Errorf("nothing in %s", m.Name)
		}
	}
}

func TestTorture(t *testing.T) {
	t.Parallel()
	labels := map[string]bool{}
	unsafe := 0
	for _, s := range Torture() {
		if s.Label == "" || labels[s.Label] {
			t.Errorf("label %q is empty or used twice", s.Label)
		}
		labels[s.Label] = true
		if !ServerSafe(s.Raw) {
			unsafe++
		}
		if s.Date.Nanosecond() != 0 || s.Mailbox != TortureMailbox {
			t.Errorf("%s: date %v, mailbox %s", s.Label, s.Date, s.Mailbox)
		}
	}
	if len(labels) < 90 || unsafe < 10 {
		t.Errorf("%d samples, %d of them unsafe: the set has shrunk", len(labels), unsafe)
	}
}

func TestServerSafe(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		"": false, "a": true, "a\r\n": true, "a\n": false, "a\r\r\n": false, "a\x00": false, "a\rb\r\n": true, "\r": false, "a\r": false,
	} {
		if got := ServerSafe([]byte(raw)); got != want {
			t.Errorf("ServerSafe(%q) = %v, want %v", raw, got, want)
		}
	}
}

func TestLargeHasTheSizeAskedFor(t *testing.T) {
	t.Parallel()
	sizes := []int64{0, 1, 2, 50, 77, 78, 79, 100_000}
	for d := int64(-3); d < 170; d++ {
		sizes = append(sizes, int64(len(largeHead))+d)
	}
	for _, size := range sizes {
		raw, err := io.ReadAll(Large(size))
		if err != nil || int64(len(raw)) != size {
			t.Fatalf("Large(%d) gave %d octets, %v", size, len(raw), err)
		}
		if size > int64(len(largeHead))+1 && !ServerSafe(raw) {
			t.Errorf("Large(%d) does not end its lines in CRLF: %q", size, raw[len(raw)-5:])
		}
	}
}

func TestLargeIsDeterministic(t *testing.T) {
	t.Parallel()
	var sums [2][sha256.Size]byte
	var g errgroup.Group
	for i, block := range []int{1 << 15, 77} {
		g.Go(func() error {
			h := sha256.New()
			_, err := io.CopyBuffer(h, struct{ io.Reader }{Large(3 << 20)}, make([]byte, block))
			h.Sum(sums[i][:0])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if sums[0] != sums[1] {
		t.Error("the size of the reads changes the message")
	}
}

func BenchmarkCorpus(b *testing.B) {
	b.ReportAllocs()
	total := 0
	for s := range Corpus(1, b.N) {
		total += len(s.Raw)
	}
	b.SetBytes(int64(total / b.N))
}
