package imapconn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/mail"
)

// peakHeap runs fn and answers how much the heap grew meanwhile at most, as
// sampled every few milliseconds.
func peakHeap(fn func()) uint64 {
	var base, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&base)
	var peak atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	<-done
	return max(peak.Load(), base.HeapAlloc) - base.HeapAlloc
}

// repeat writes text again and again until n octets are out or the client goes.
func (p *peer) repeat(text string, n int64) {
	chunk := strings.Repeat(text, max(1, (64<<10)/len(text)))
	for sent := int64(0); sent < n; sent += int64(len(chunk)) {
		if _, err := io.WriteString(p.conn, chunk); err != nil {
			return
		}
	}
}

// Whatever a server sends, memory stays bounded and an end comes. The test is
// not parallel: it looks at the heap.
func TestHostileSizes(t *testing.T) {
	noLeaks(t)
	noop := func(c *Conn) error {
		_, err := c.Command(t.Context(), func(Response) error { return nil }, Raw("NOOP"))
		return err
	}
	library := func(c *Conn) error { return c.Client().Noop().Wait() }
	var all UIDSet
	all.AddRange(1, 100)
	list := func(c *Conn) error {
		return c.FetchList(t.Context(), all, Flags, 0, true, func(Item) error { return nil }, func(uint32, uint32) error { return nil })
	}
	bodies := func(c *Conn) error {
		return c.FetchBodies(t.Context(), all, func(_ Item, _ int64, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			return err
		})
	}
	search := func(c *Conn) error {
		_, err := c.Search(t.Context(), "ALL")
		return err
	}
	const mib = 1 << 20
	for name, tt := range map[string]struct {
		serve func(p *peer)
		do    func(c *Conn) error
		want  string // in the error; "" for none
		limit uint64 // of the heap
	}{
		"endless line":          {func(p *peer) { p.raw("* OK "); p.repeat("x", 1<<40) }, noop, "a line of more than", 16 * mib},
		"endless tagged line":   {func(p *peer) { p.raw(p.tag + " OK "); p.repeat("x", 1<<40) }, noop, "a line of more than", 16 * mib},
		"endless line, library": {func(p *peer) { p.raw("* OK "); p.repeat("x", 1<<40) }, library, "", 16 * mib},
		"endless body head":     {func(p *peer) { p.raw("* 1 FETCH (UID 1 FLAGS ("); p.repeat("x ", 1<<40) }, bodies, "a line of more than", 32 * mib},
		"untagged flood":        {func(p *peer) { p.repeat("* FOO bar\r\n", 1<<40) }, list, "nobody asked for", 16 * mib},
		"empty lines":           {func(p *peer) { p.repeat("\r\n", 1<<40) }, list, "nobody asked for", 16 * mib},
		"unknown tags":          {func(p *peer) { p.repeat("Z1 OK\r\n", 1<<40) }, noop, "nobody asked for", 16 * mib},
		"continuations":         {func(p *peer) { p.repeat("+ x\r\n", 1<<40) }, noop, "nobody asked for", 16 * mib},
		"flood for a command":   {func(p *peer) { p.repeat("* LIST () \"/\" "+strings.Repeat("x", 10_000)+"\r\n", 1<<40) }, noop, "octets for one command", 32 * mib},
		"a message for ever":    {func(p *peer) { p.repeat("* 1 FETCH (UID 1 FLAGS ("+strings.Repeat("y", 500)+"))\r\n", 1<<40) }, list, "nobody asked for", 32 * mib},
		"new flags for ever": {func(p *peer) {
			out := bufio.NewWriter(p.conn)
			for i := range 60_000 {
				fmt.Fprintf(out, "* 1 FETCH (UID 1 FLAGS (k%d %s))\r\n", i, strings.Repeat("y", 200))
			}
			out.Flush()
			p.send("TAG OK done")
			p.rest()
		}, list, "", 16 * mib},
		"a body for ever": {func(p *peer) { p.repeat("* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n", 1<<40) }, bodies, "nobody asked for", 16 * mib},
		"huge string": {func(p *peer) {
			p.raw("* LIST () \"/\" {50000000}\r\n")
			p.repeat("x", 50_000_000/65536*65536)
			p.raw(strings.Repeat("x", 50_000_000%65536) + "\r\n" + p.tag + " OK done\r\n")
			p.rest()
		}, noop, "", 16 * mib},
		"huge body behind": {func(p *peer) {
			p.raw("* 1 FETCH (BODY[] {67108864}\r\n")
			p.repeat("x", 64*mib)
			p.raw(")\r\n" + p.tag + " OK done\r\n")
			p.rest()
		}, bodies, "", 32 * mib},
		"huge body": {func(p *peer) {
			p.raw("* 1 FETCH (UID 1 BODY[] {67108864}\r\n")
			p.repeat("x", 64*mib)
			p.raw(")\r\n" + p.tag + " OK done\r\n")
			p.rest()
		}, bodies, "", 16 * mib},
		"many strings": {func(p *peer) { p.raw("* LIST () \"/\" "); p.repeat("{1000}\r\n"+strings.Repeat("x", 1000), 1<<40) }, noop, "a response of more than 10000 literals", 32 * mib},
		"deep list":    {func(p *peer) { p.send("* FOO "+strings.Repeat("(", 900_000), "TAG OK done"); p.rest() }, noop, "", 32 * mib},
		"deep fetch":   {func(p *peer) { p.send("* 1 FETCH (UID 1 FLAGS "+strings.Repeat("(", 900_000), "TAG OK done"); p.rest() }, list, "", 32 * mib},
		"many tokens":  {func(p *peer) { p.send("* FOO"+strings.Repeat(" a", 500_000), "TAG OK done"); p.rest() }, noop, "", 32 * mib},
		"many flags": {func(p *peer) {
			p.send("* 1 FETCH (UID 1 FLAGS (a"+strings.Repeat(" a", 500_000)+"))", "TAG OK done")
			p.rest()
		}, list, "", 16 * mib},
		"vanished everything": {func(p *peer) { p.send("* VANISHED (EARLIER) 1:4294967295", "TAG OK done"); p.rest() }, list, "", 4 * mib},
		"found everything":    {func(p *peer) { p.send("* ESEARCH UID ALL 1:4294967295", "TAG OK done"); p.rest() }, search, "", 4 * mib},
		"long search": {func(p *peer) {
			p.raw("* SEARCH")
			p.repeat(" 4000000000", 12*mib)
			p.send("", "TAG OK done")
			p.rest()
		}, search, "", 64 * mib},
		"endless search": {func(p *peer) { p.raw("* SEARCH"); p.repeat(" 1", 1<<40) }, search, "a line of more than", 64 * mib},
		"flags for 2^32 uids": {func(p *peer) {
			out := bufio.NewWriter(p.conn)
			for uid := range 200_000 {
				fmt.Fprintf(out, "* 1 FETCH (UID %d FLAGS ())\r\n", uid+1)
			}
			out.Flush()
			p.send("TAG OK done")
			p.rest()
		}, func(c *Conn) error {
			var set UIDSet
			set.AddRange(1, 1<<32-1)
			return c.FetchBodies(t.Context(), set, func(Item, int64, io.Reader) error { return nil })
		}, "", 32 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialConfig(t, testCaps, func(cfg *Config) { cfg.patience = 4 << 20 }, func(p *peer) {
				p.command()
				tt.serve(p)
			})
			var err error
			start := time.Now()
			grew := peakHeap(func() { within(t, 60*time.Second, func() { err = tt.do(c) }) })
			t.Logf("heap +%d KiB, %v", grew>>10, time.Since(start).Round(time.Millisecond))
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) || tt.want == "" && err != nil && !strings.Contains(name, "library") {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
			if e, ok := errors.AsType[*mail.Error](err); tt.want != "" && (!ok || e.Kind != mail.KindProtocol || e.Scope != mail.ScopeMailbox) {
				t.Errorf("error = %#v", err)
			}
			if grew > tt.limit {
				t.Errorf("the heap grew by %d MiB, want at most %d", grew/mib, tt.limit/mib)
			}
		})
	}
}

// Before login a server cannot hold us for ever either.
func TestHostileGreeting(t *testing.T) {
	noLeaks(t)
	for name, serve := range map[string]func(p *peer){
		"endless greeting":  func(p *peer) { p.raw("* OK "); p.repeat("x", 1<<40) },
		"endless responses": func(p *peer) { p.repeat("* OK hello\r\n", 1<<40) },
		"a drip": func(p *peer) {
			p.raw("* OK ")
			for {
				time.Sleep(20 * time.Millisecond)
				if _, err := io.WriteString(p.conn, "x"); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(listen(t, serve))
			cfg.IdleTimeout = 100 * time.Millisecond
			if name != "a drip" {
				cfg.IdleTimeout = 5 * time.Second
			}
			var err error
			grew := peakHeap(func() {
				within(t, 30*time.Second, func() { _, err = Dial(t.Context(), cfg) })
			})
			if err == nil || grew > 16<<20 {
				t.Errorf("error = %v, heap +%d", err, grew)
			}
		})
	}
}
