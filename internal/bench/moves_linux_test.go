package bench

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// What is moved in each round, among how many messages.
const (
	movedMessages = 1000
	moveMessages  = 10_000
)

// BenchmarkMovesInTree brings over that 1,000 messages of 10 KB on average were
// moved between two mailboxes in the Maildir.
func BenchmarkMovesInTree(b *testing.B) {
	moves(b, (*twin).moveInTree, done{Moved: movedMessages}, done{})
}

// BenchmarkMovesOnServer is the same for messages that were moved on the server.
func BenchmarkMovesOnServer(b *testing.B) {
	moves(b, (*twin).moveOnServer, done{}, done{Moved: movedMessages})
}

// moves compares runs that bring moves over. They go forth in one round and back
// in the next. It reports how much went over the wire, and fails when postbag
// transferred bodies.
func moves(b *testing.B, move func(t *twin, from, to string), server, tree done) {
	s := newScene(b, imaptest.DovecotOptions{})
	twins := s.twins(func() iter.Seq[demo.Sample] { return plain(spread(moveMessages, 2)) })
	from, to := boxName(1), boxName(0)
	holds := map[string]int{from: moveMessages / 2, to: moveMessages / 2}
	wire, most := make(map[*twin]int64), make(map[*twin]int64)
	prepare := func(t *twin) {
		move(t, from, to)
		wire[t] = t.octets()
	}
	before := func() {
		from, to = to, from
		holds[from] -= movedMessages
		holds[to] += movedMessages
	}
	contest(b, before, contenders(b, twins, prepare, func(t *twin, r result) {
		t.did(r, server, tree)
		most[t] = max(most[t], t.octets()-wire[t])
		for mailbox, want := range holds {
			if near, far := t.count(filepath.Join(t.tree, mailbox)), t.found(mailbox, "ALL"); near != want || far != want {
				b.Fatalf("%s: %s holds %d messages in the tree and %d on the server, want %d", t.name, mailbox, near, far, want)
			}
		}
	})...)
	for _, t := range twins {
		b.ReportMetric(float64(most[t])/1e3, t.name+"-wire-KB")
	}
	// 1,000 messages are 10 MB, and what tells a message apart is some 300 octets.
	if got := most[twins[0]]; got > movedMessages*1000 {
		b.Fatalf("postbag sent and received %d octets for %d moves", got, movedMessages)
	}
}

// plain leaves keywords out: their letters mean something else in another Maildir,
// which a mail reader that moves files does not know.
func plain(samples iter.Seq[demo.Sample]) iter.Seq[demo.Sample] {
	return func(yield func(demo.Sample) bool) {
		for s := range samples {
			s.Flags.Keywords = mail.NewKeywords()
			if !yield(s) {
				return
			}
		}
	}
}

// octets is how much went over the wire so far, in both directions.
func (t *twin) octets() int64 {
	return t.proxy.Bytes(imaptest.ToClient) + t.proxy.Bytes(imaptest.ToServer)
}

// moveOnServer moves the mailbox's first messages, as another client would.
func (t *twin) moveOnServer(from, to string) {
	t.b.Helper()
	t.do(from, fmt.Sprintf("MOVE 1:%d %s", movedMessages, imaptest.Quote(to)))
}

// moveInTree moves the mailbox's first files, as a mail reader would: without
// the UID that mbsync puts into names, as its manual asks for.
func (t *twin) moveInTree(from, to string) {
	t.b.Helper()
	dir := filepath.Join(t.tree, from, "cur")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.b.Fatal(err)
	}
	if len(entries) < movedMessages {
		t.b.Fatalf("%s has %d messages only", dir, len(entries))
	}
	for _, e := range entries[:movedMessages] {
		key, letters, _ := strings.Cut(e.Name(), ":2,")
		key, _, _ = strings.Cut(key, ",")
		if err := os.Rename(filepath.Join(dir, e.Name()), filepath.Join(t.tree, to, "cur", key+":2,"+letters)); err != nil {
			t.b.Fatal(err)
		}
	}
}
