package imapconn

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// fuzzConn is a server that says what the fuzzer wants, whatever it hears.
type fuzzConn struct {
	r       io.Reader
	hears   chan struct{} // gets an element with the first command
	started bool
	closed  chan struct{}
	once    sync.Once
}

func (c *fuzzConn) Read(p []byte) (int, error) {
	if !c.started {
		select {
		case <-c.hears:
			c.started = true
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	return c.r.Read(p)
}

func (c *fuzzConn) Write(p []byte) (int, error) {
	select {
	case c.hears <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (c *fuzzConn) Close() error {
	c.once.Do(func() { close(c.closed) }) // two may close it at one time
	return nil
}

func (*fuzzConn) LocalAddr() net.Addr              { return tunnelAddr("fuzz") }
func (*fuzzConn) RemoteAddr() net.Addr             { return tunnelAddr("fuzz") }
func (*fuzzConn) SetDeadline(time.Time) error      { return nil }
func (*fuzzConn) SetReadDeadline(time.Time) error  { return nil }
func (*fuzzConn) SetWriteDeadline(time.Time) error { return nil }

// fuzzClient is a connection past login whose server says stream.
func fuzzClient(t *testing.T, stream []byte) *Conn {
	conn := &fuzzConn{r: bytes.NewReader(stream), hears: make(chan struct{}, 1), closed: make(chan struct{})}
	w := newWire(conn, &Config{IdleTimeout: 10 * time.Second}, &trace{w: io.Discard})
	w.greeted = true
	c := &Conn{wire: w, caps: map[string]bool{"IMAP4REV1": true}}
	if err := c.greet(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// FuzzStream gives the whole client any stream of a server: nothing panics,
// nothing hangs, and a body that ended well has the length that was announced.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		"* 1 FETCH (UID 1 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nhello)\r\nT1 OK done\r\nP1 OK done\r\n",
		"* 1 FETCH (BODY[] {5}\r\nhello UID 1)\r\n* 2 FETCH (UID 2 BODY[] NIL)\r\n* 3 FETCH (UID 3 BODY[] \"x\")\r\nT1 OK\r\n",
		"* LIST (\\Noselect) \"/\" {3}\r\na&b ()\r\n* STATUS x (MESSAGES 3 UIDNEXT 9)\r\nP1 OK [COPYUID 1 2 3] done\r\nT1 NO [MODIFIED 3] x\r\n",
		"* VANISHED (EARLIER) 1:5,9\r\n* ESEARCH (TAG \"P1\") UID ALL 1:*\r\n* SEARCH 1 2 3\r\n+ x\r\n* BYE [UNAVAILABLE] x\r\n",
		"* OK [PERMANENTFLAGS (\\* a]b)] x\r\n* FLAGS (\\Seen)\r\n* OK [CAPABILITY A B] x\r\n* 3 EXISTS\r\n* ENABLED X\r\nP1 BAD x\r\n",
		"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (MESSAGE-ID)] {21}\r\nMessage-ID: <a@b>\r\n\r\n X-GM-LABELS (a \"b\" {1}\r\nc))\r\nP1 OK\r\n",
		"* 1 FETCH (UID 1 BODY[] ~{2+}\nab)\n* 2 FETCH (UID 2 RFC822 {0}\r\n GARBAGE\r\nT1 OK\r\n",
		"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n* QUOTA \"\" (STORAGE 1 2)\r\n* THREAD (1 2)(3)\r\n* ACL x y z\r\n* METADATA \"\" (/a \"b\")\r\nT1 OK\r\n",
	} {
		for op := range byte(5) {
			f.Add(op, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, op byte, stream []byte) {
		c := fuzzClient(t, stream)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var all UIDSet
		all.AddRange(1, 1000)
		switch op % 5 {
		case 0:
			_ = c.FetchBodies(ctx, all, func(it Item, size int64, body io.Reader) error {
				n, err := io.Copy(io.Discard, body)
				if err == nil && n != size || !all.Contains(it.UID) {
					t.Errorf("message %d: %d of %d octets, %v", it.UID, n, size, err)
				}
				return nil
			})
		case 1:
			_ = c.FetchList(ctx, all, Flags, 1, true, func(it Item) error {
				if !all.Contains(it.UID) || it.Size < -1 {
					t.Errorf("item %+v", it)
				}
				return nil
			}, func(lo, hi uint32) error {
				if lo == 0 || hi < lo {
					t.Errorf("gone %d:%d", lo, hi)
				}
				return nil
			})
		case 2:
			_, _ = c.Command(ctx, func(r Response) error {
				ParseList(r)
				return nil
			}, Raw("NOOP"))
		case 3:
			_, _ = c.Select(ctx, []byte("x"), false)
			_, _ = c.Search(ctx, "ALL")
		case 4:
			_, _ = c.Client().Fetch(imap.UIDSetNum(1, 2, 3), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}}).Collect()
		}
		if ctx.Err() != nil {
			t.Fatal("hangs")
		}
		c.Close()
		<-c.client.Closed()
	})
}

// FuzzFetchItems: what the parser makes of a FETCH response is within bounds, and
// a response that the filter prints for the library reads the same again.
func FuzzFetchItems(f *testing.F) {
	for _, seed := range []string{
		`* 1 FETCH (UID 5 FLAGS (\Seen Junk) MODSEQ (77) RFC822.SIZE 9 INTERNALDATE "17-Jul-1996 02:44:25 +0200")`,
		`* 1 FETCH (UID 5 EMAILID (M1) X-GM-MSGID 9 X-GM-LABELS (\Inbox "a b" {1}` + "\r\nx))",
		"* 1 FETCH (BODY[HEADER.FIELDS (MESSAGE-ID)] {9}\r\nabcdefghi UID 7)",
		`* 1 FETCH (BODY[] "x" UID 7 ENVELOPE ("x" NIL) BODY[1.2]<5> NIL)`,
		`* 4294967296 FETCH (FLAGS NIL INTERNALDATE NIL UID 99999999999)`,
	} {
		f.Add([]byte(seed))
	}
	parser := newItemParser(EmailID | GmailMsgID)
	parse := func(resp []byte) (Item, bool) {
		s, _, ok := fetchItems(resp)
		it := Item{Size: -1}
		for ok && s.next() {
			parser.apply(&it, s.name, s.val)
		}
		return it, s.closed
	}
	f.Fuzz(func(t *testing.T, resp []byte) {
		it, closed := parse(resp)
		if it.Size < -1 || it.HasFlags && !it.Flags.Equal(it.Flags.Union(it.Flags)) {
			t.Errorf("item %+v", it)
		}
		w := &wire{}
		if !w.fetchToLibrary(resp) || !closed {
			return
		}
		again, closed := parse(w.out)
		if !closed || again.UID != it.UID || !again.Flags.Equal(it.Flags) || again.ModSeq != it.ModSeq || again.Size != it.Size {
			t.Errorf("%q\nprinted as %q\nreads %+v, was %+v", resp, w.out, again, it)
		}
	})
}

// FuzzName: what decodes encodes to the same octets, and what encodes decodes to
// the same name.
func FuzzName(f *testing.F) {
	for _, seed := range []string{"INBOX", "Entw&APw-rfe", "A&-B", "&2D3eAA-", "&AOk-&AOk-", "&", "caf\xe9", "&AGE-"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		if name, err := DecodeName(wire); err == nil && !bytes.Equal(EncodeName(name), wire) {
			t.Errorf("%q decodes to %q, which encodes to %q", wire, name, EncodeName(name))
		}
		encoded := EncodeName(string(wire))
		name, err := DecodeName(encoded)
		if err != nil || name != string([]rune(string(wire))) {
			t.Errorf("%q encodes to %q, which decodes to %q, %v", wire, encoded, name, err)
		}
	})
}

// FuzzResponse: the parsers of one response keep within it.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		`* LIST (\Noselect) "/" "x" ("CHILDINFO" ("SUBSCRIBED"))`, "* OK [UIDNEXT 5] x", "* 3 EXISTS", "* VANISHED (EARLIER) 1:5",
		"* ESEARCH (TAG \"x\") UID ALL 1:5", "* SEARCH 1 2 (MODSEQ 5)", "* OK [PERMANENTFLAGS (a]b)] x", "* FOO {3}\r\nabc (a (b))",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, ok := parseResponse(raw)
		if !ok {
			return
		}
		ParseList(r)
		_, _ = ParseVanished(r)
		if _, _, rest, ok := splitUntagged(raw); ok {
			_, _ = appendSearch(nil, rest)
			_, _ = appendESearch(nil, rest)
		}
		if r.Tokens == nil {
			return
		}
		var b []byte
		for _, token := range r.Tokens {
			b = append(appendToken(b, token), ' ')
		}
		again, ok := parseTokens(b)
		if !ok || len(again) != len(r.Tokens) {
			t.Errorf("%q is printed as %q", raw, b)
		}
	})
}
