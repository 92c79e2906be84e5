package imapconn

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"postbag/internal/mail"
)

// refCaps is what the server of the reference session offers.
const refCaps = "IMAP4rev1 AUTH=PLAIN SASL-IR ID ENABLE QRESYNC CONDSTORE LITERAL+ ESEARCH"

// serveReference is the server of the reference session.
func serveReference(p *peer) {
	p.login(refCaps)
	for {
		cmd := p.command()
		word, _, _ := strings.Cut(cmd, " ")
		switch {
		case cmd == "":
			return
		case word == "ID":
			p.send(`* ID ("name" "Ref")`, "TAG OK done")
		case word == "ENABLE":
			p.send("* ENABLED QRESYNC", "TAG OK done")
		case word == "SELECT":
			p.send("* 3 EXISTS", "* OK [UIDVALIDITY 7] v", "* OK [UIDNEXT 9] n", "* OK [HIGHESTMODSEQ 12] m", "TAG OK [READ-WRITE] done")
		case strings.Contains(cmd, "SEARCH"):
			p.send(`* ESEARCH (TAG "`+p.tag+`") UID ALL 1:3`, "TAG OK done")
		case strings.Contains(cmd, "CHANGEDSINCE"):
			p.send("* VANISHED (EARLIER) 4:8", `* 1 FETCH (UID 1 FLAGS (\Seen) MODSEQ (11))`, `* 2 FETCH (UID 2 FLAGS () MODSEQ (12))`, `* 3 FETCH (UID 3 FLAGS (x))`, "TAG OK done")
		case strings.Contains(cmd, "BODY.PEEK[]"):
			p.raw("* 1 FETCH (UID 1 FLAGS (\\Seen) BODY[] {12}\r\nhello world.)\r\n* 2 FETCH (UID 2 BODY[] {0}\r\n)\r\n* 3 FETCH (BODY[] {5}\r\nthree UID 3)\r\n")
			p.send("TAG OK done")
		case word == "APPEND":
			_, _ = io.CopyN(io.Discard, p.r, 10)
			p.line()
			p.send("TAG OK [APPENDUID 7 9] done")
		default:
			p.send("TAG OK done")
		}
	}
}

// runReference is the client of the reference session. What it answers must be
// right as far as it came: done are the steps that succeeded.
func runReference(t *testing.T, cfg Config) (done []string, err error) {
	ctx := t.Context()
	c, err := Dial(ctx, cfg)
	if err != nil {
		return done, err
	}
	defer c.Close()
	done = append(done, "dial")
	sel, err := c.Select(ctx, []byte("INBOX"), false)
	if err != nil {
		return done, err
	}
	done = append(done, fmt.Sprintf("select %d %d %d %d", sel.UIDValidity, sel.UIDNext, sel.Exists, sel.HighestModSeq))
	set, err := c.Search(ctx, "ALL")
	if err != nil {
		return done, err
	}
	done = append(done, "search "+set.String())
	list := ""
	err = c.FetchList(ctx, set, Flags|ModSeq, 10, true, func(it Item) error {
		list += fmt.Sprintf(" %d(%s)%d", it.UID, it.Flags, it.ModSeq)
		return nil
	}, func(lo, hi uint32) error {
		list += fmt.Sprintf(" gone %d:%d", lo, hi)
		return nil
	})
	if err != nil {
		return done, err
	}
	done = append(done, "list"+list)
	err = c.FetchBodies(ctx, set, func(it Item, size int64, body io.Reader) error {
		b, err := io.ReadAll(body)
		if err == nil {
			done = append(done, fmt.Sprintf("body %d %q", it.UID, b))
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	s, err := c.Command(ctx, nil, Raw("APPEND"), Mbox([]byte("INBOX")), Literal(10, strings.NewReader("0123456789")))
	if err != nil {
		return done, err
	}
	done = append(done, "append "+s.CodeArgs)
	return done, nil
}

var referenceSteps = []string{
	"dial", "select 7 9 3 12", "search 1:3", "list gone 4:8 1(\\Seen)11 2()12 3(x)0",
	`body 1 "hello world."`, `body 2 ""`, `body 3 "three"`, "append 7 9",
}

var errReset = &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}

// cutConn ends its stream after a number of octets in one direction.
type cutConn struct {
	net.Conn
	mu    sync.Mutex
	limit [2]int // read, write; negative for none
	moved [2]int
	end   error // of the reading side: io.EOF for FIN
	small bool  // one octet a read
}

func (c *cutConn) part(dir int, p []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit[dir] >= 0 {
		p = p[:min(len(p), max(0, c.limit[dir]-c.moved[dir]))]
	}
	if c.small && dir == 0 {
		p = p[:min(len(p), 1)]
	}
	return p
}

func (c *cutConn) count(dir, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved[dir] += n
}

func (c *cutConn) Read(p []byte) (int, error) {
	q := c.part(0, p)
	if len(q) == 0 {
		return 0, c.end
	}
	n, err := c.Conn.Read(q)
	c.count(0, n)
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	q := c.part(1, p)
	n, err := c.Conn.Write(q)
	c.count(1, n)
	if err == nil && n < len(p) {
		return n, errReset
	}
	return n, err
}

// The connection is cut after each octet of the reference session, in each
// direction: no wait hangs, no step succeeds that did not come to its end, and
// nothing comes out cut short.
func TestCutAnywhere(t *testing.T) {
	noLeaks(t)
	addr := listen(t, serveReference)
	total := reference(t, addr, [2]int{-1, -1}, io.EOF, false)
	for at := range total[0] {
		reference(t, addr, [2]int{at, -1}, io.EOF, false)
		reference(t, addr, [2]int{at, -1}, errReset, false)
	}
	for at := range total[1] {
		reference(t, addr, [2]int{-1, at}, io.EOF, false)
	}
	// In pieces of one octet nothing changes.
	reference(t, addr, [2]int{-1, -1}, io.EOF, true)
}

// reference runs the reference session with the limits, and checks how far it
// came. It answers with the octets that moved.
func reference(t *testing.T, addr string, limit [2]int, end error, small bool) [2]int {
	t.Helper()
	var conn *cutConn
	cfg := testConfig(addr)
	cfg.ClientID = map[string]string{"name": "postbag"}
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		conn = &cutConn{Conn: raw, limit: limit, end: end, small: small}
		return conn, err
	}
	var done []string
	var err error
	within(t, 20*time.Second, func() { done, err = runReference(t, cfg) })
	for i, step := range done {
		if step != referenceSteps[i] {
			t.Fatalf("limits %d: step %d is %q, want %q", limit, i, step, referenceSteps[i])
		}
	}
	if complete := limit[0] < 0 && limit[1] < 0; complete && (err != nil || len(done) != len(referenceSteps)) {
		t.Fatalf("undisturbed: %v after %q", err, done)
	}
	if e, ok := errors.AsType[*mail.Error](err); err != nil && (!ok || e.Scope != mail.ScopeAccount || e.Kind != mail.KindUnreachable || !e.Temporary) {
		t.Fatalf("limits %d: error = %#v", limit, err)
	}
	conn.mu.Lock()
	defer conn.mu.Unlock()
	return conn.moved
}

// The same over TLS: a cut may fall within a record.
func TestCutWithinTLS(t *testing.T) {
	noLeaks(t)
	cert, pool := testTLS(t, "127.0.0.1", time.Now().Add(time.Hour))
	addr := listen(t, func(p *peer) {
		if p.encrypt(cert) {
			serveReference(p)
		}
	})
	for at := 1; at < 4000; at += 97 {
		cfg := testConfig(addr)
		cfg.TLS, cfg.TLSConfig = TLSImplicit, &tls.Config{RootCAs: pool}
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			raw, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &cutConn{Conn: raw, limit: [2]int{at, -1}, end: io.EOF}, err
		}
		var done []string
		within(t, 20*time.Second, func() { done, _ = runReference(t, cfg) })
		for i, step := range done {
			if step != referenceSteps[i] {
				t.Fatalf("cut at %d: step %d is %q, want %q", at, i, step, referenceSteps[i])
			}
		}
	}
}

// deflated is a connection with COMPRESS=DEFLATE on.
type deflated struct {
	net.Conn
	r io.Reader
	w *flate.Writer
}

func (d *deflated) Read(p []byte) (int, error) { return d.r.Read(p) }

func (d *deflated) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err == nil {
		err = d.w.Flush()
	}
	return n, err
}

// With COMPRESS, a small stream in is a large one out: what the caller sees is
// bounded by what it asked for, and the OK may share a packet with compressed
// data.
func TestCompress(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	c := dialConfig(t, testCaps+" COMPRESS=DEFLATE", func(cfg *Config) { cfg.Compress = true }, func(p *peer) {
		p.command()
		var early bytes.Buffer
		early.WriteString(p.tag + " OK compressing\r\n")
		w, _ := flate.NewWriter(&early, 6)
		_, _ = io.WriteString(w, "* 3 EXISTS\r\n")
		_ = w.Flush()
		p.raw(early.String())
		w.Reset(p.conn)
		// A new writer begins a new stream; a final block would end it, so the
		// server goes on with raw blocks of the same stream.
		p.conn = &deflated{Conn: p.conn, r: flate.NewReader(p.conn), w: w}
		p.r.Reset(p.conn)
		p.command()
		p.raw("* 1 FETCH (UID 1 BODY[] {" + fmt.Sprint(len(big)) + "}\r\n" + big + ")\r\n" + p.tag + " OK done\r\n")
		p.rest()
	})
	got, err := fetchAll(t, c, 1)
	if err != nil || len(got) != 1 || len(got[0]) != len(big)+4 {
		t.Fatalf("FetchBodies: %d messages, %v", len(got), err)
	}
	alive(t, c)
}

// A server that says NO to COMPRESS is used without.
func TestCompressRefused(t *testing.T) {
	c := dialConfig(t, testCaps+" COMPRESS=DEFLATE", func(cfg *Config) { cfg.Compress = true }, func(p *peer) {
		p.answer("TAG NO [COMPRESSIONACTIVE] no")
		p.rest()
	})
	alive(t, c)
}
