package imapconn

import (
	"io"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	c := dialPeer(t, testCaps, func(p *peer) {
		p.answer("* 2 EXISTS", "* OK [UIDVALIDITY 7] v", "* OK [UIDNEXT 9] n", "TAG OK [READ-WRITE] done")
		p.answer("* 1 FETCH (UID 1 FLAGS (\\Seen Junk))", "* 2 FETCH (FLAGS () UID 4)", "TAG OK done")
		p.command()
		p.raw("* 1 FETCH (UID 1 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nhello)\r\n")
		p.raw("* 2 FETCH (BODY[] {5}\r\nworld UID 4 FLAGS (X))\r\n")
		p.send("TAG OK done")
		p.rest()
	})
	sel, err := c.Select(t.Context(), []byte("INBOX"), false)
	if err != nil || sel.UIDValidity != 7 || sel.Exists != 2 || sel.UIDNext != 9 {
		t.Fatalf("Select = %+v, %v", sel, err)
	}
	n := 0
	if err := c.FetchList(t.Context(), NewUIDSet(1, 4), Flags, 0, false, func(it Item) error {
		n++
		return nil
	}, nil); err != nil || n != 2 {
		t.Fatalf("FetchList: %d, %v", n, err)
	}
	within(t, 5*time.Second, func() {
		err = c.FetchBodies(t.Context(), NewUIDSet(1, 4), func(it Item, size int64, body io.Reader) error {
			b, err := io.ReadAll(body)
			t.Logf("%+v %d %q %v", it, size, b, err)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
