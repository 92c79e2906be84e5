package imapstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// cutTarget makes a server's account that is empty, and one that is opened
// through a proxy.
type cutTarget struct {
	name   string
	noCaps []string
	new    func(t *testing.T) (imaptest.Target, func() map[uint32]mail.Digest)
}

// openVia opens a store through a proxy. It waits as long as it does in earnest.
func openVia(t *testing.T, target imaptest.Target, p *imaptest.Proxy, noCaps []string) (*Store, error) {
	s, err := Open(t.Context(), Config{TempDir: t.TempDir(), Connections: 1, Conn: imapconn.Config{
		Addr: p.Addr(), TLS: imapconn.TLSNone, NoCaps: noCaps,
		Auth: imapconn.Auth{User: target.User, Secret: func(context.Context) (string, error) { return target.Password, nil }},
	}})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// Wherever an upload is cut, in either direction, each message is there once when
// the next run has looked and sent the rest: also five that are equal.
func TestUploadCutAnywhere(t *testing.T) {
	t.Parallel()
	d := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	dovecot := func(t *testing.T) (imaptest.Target, func() map[uint32]mail.Digest) {
		target := d.Target(d.NewUser())
		return target, func() map[uint32]mail.Digest {
			there := make(map[uint32]mail.Digest)
			for _, e := range target.MustDump(t)["INBOX"].Messages {
				there[e.UID] = e.Digest
				if want := mail.ParseFlags(`\Seen`, "Word"); !e.Flags.Equal(want) || !e.Date.Equal(time.Unix(1e9, 0)) {
					t.Errorf("UID %d has flags %q and date %v", e.UID, e.Flags, e.Date)
				}
			}
			return there
		}
	}
	script := func(setup func(*imaptest.Script)) func(t *testing.T) (imaptest.Target, func() map[uint32]mail.Digest) {
		return func(t *testing.T) (imaptest.Target, func() map[uint32]mail.Digest) {
			server, _ := scripted(t, setup)
			return server.Target(), func() map[uint32]mail.Digest { return stored(server) }
		}
	}
	for _, c := range []cutTarget{
		{"groups", nil, dovecot},
		{"one at a time", []string{"MULTIAPPEND"}, dovecot},
		{"waiting literals", []string{"MULTIAPPEND", "LITERAL+"}, dovecot},
		{"no APPENDUID", nil, script(tells(""))},
		{"part of a group", nil, script(partly("", (*imaptest.ScriptConn).Close))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.cutAnywhere(t)
		})
	}
}

func (c *cutTarget) cutAnywhere(t *testing.T) {
	const workers = 12
	points := 12
	if os.Getenv("POSTBAG_LONG") == "1" {
		points = 1 << 20 // every octet
	}
	seed := uint64(20261125) // the same in every short run
	if os.Getenv("POSTBAG_LONG") == "1" {
		seed = uint64(time.Now().UnixNano())
	}
	random := rand.New(rand.NewPCG(seed, 1))
	total := c.run(t, imaptest.Rules{})
	var cuts []imaptest.Cut
	for dir, n := range total {
		step := max(n/int64(points), 1)
		for at := int64(0); at <= n; at += step {
			cuts = append(cuts, imaptest.Cut{Dir: imaptest.Direction(dir), After: at + random.Int64N(step), Reset: random.IntN(2) == 0})
		}
	}
	t.Logf("seed %d: %d cuts of %v octets", seed, len(cuts), total)
	var wg sync.WaitGroup
	next := make(chan imaptest.Cut)
	for range workers {
		wg.Go(func() {
			for cut := range next {
				t.Run(fmt.Sprintf("%+v", cut), func(t *testing.T) { c.run(t, imaptest.Rules{Cut: []imaptest.Cut{cut}}) })
			}
		})
	}
	for _, cut := range cuts {
		next <- cut
	}
	close(next)
	wg.Wait()
}

// run delivers with a first connection that meets the rules, and answers with
// how much went over it.
func (c *cutTarget) run(t *testing.T, rules imaptest.Rules) (total [2]int64) {
	t.Helper()
	target, there := c.new(t)
	proxy := imaptest.StartProxy(t, target.Addr)
	proxy.SetNth(0, rules)
	all := parcels()
	deliver(t, func() (*Store, error) { return openVia(t, target, proxy, c.noCaps) }, all)
	checkDelivered(t, all, there())
	for dir := range total {
		total[dir] = proxy.Conns()[0].Bytes(imaptest.Direction(dir))
	}
	return total
}

// When the connection is lost after the APPEND, before the flags that do not go with it
// are stored, nobody is told that the message arrived with them: the next run finds it,
// once, and stores them.
func TestUploadCutOffBeforeFlags(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", longestKeyword+1)
	var cut atomic.Bool
	server, open := scripted(t, func(s *imaptest.Script) {
		s.OnCommand("UID STORE", func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
			if !cut.CompareAndSwap(false, true) {
				return false
			}
			c.Reset()
			return true
		})
	})
	store, err := open()
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	b, err := inbox.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	body := message(1)
	p := add(t, b, mail.Message{Flags: mail.ParseFlags(`\Seen`, long), Date: time.Unix(1e9, 0)}, body)
	p.Message.ID = mail.Identity{Digest: sha256.Sum256(body), MessageID: mail.MessageIDOf(body), Described: true}
	landed, err := b.Commit(t.Context(), []mail.Pending{p})
	if err == nil || !cut.Load() {
		t.Fatalf("Commit: %v, cut %v: want an error, since the connection was lost", err, cut.Load())
	}
	if !landed[0].Ref.IsZero() {
		t.Errorf("it is answered as arrived, without a flag that was to be stored: %+v", landed[0])
	}
	if inbox, err = store.Select(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	if landed, err = inbox.Recover(t.Context(), []mail.Pending{p}, nil); err != nil {
		t.Fatal(err)
	}
	server.Edit(func(s *imaptest.Script) {
		if text, want := s.Box("INBOX").String(), fmt.Sprintf(`INBOX: %d[\Seen %s]`, landed[0].Ref.UID, long); text != want {
			t.Errorf("there is %s, want %s", text, want)
		}
	})
}
