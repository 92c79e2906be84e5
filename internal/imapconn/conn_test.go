package imapconn

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// Close says LOGOUT when nothing is on its way, and never waits for long.
func TestClose(t *testing.T) {
	noLeaks(t)
	last := make(chan string, 1)
	c := dialPeer(t, testCaps, func(p *peer) {
		last <- p.command()
		time.Sleep(50 * time.Millisecond) // it does not answer, and we do not wait
	})
	within(t, 900*time.Millisecond, func() {
		for range 3 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	if got := <-last; got != "LOGOUT" {
		t.Errorf("the last command is %q, want LOGOUT", got)
	}
	if e := mail.AsError(c.Err()); e.Kind != mail.KindOther || e.Temporary {
		t.Errorf("Err = %#v", e)
	}
	if _, err := c.Command(t.Context(), nil, Raw("NOOP")); err == nil {
		t.Error("a command after Close succeeds")
	}
}

// A body's reader may be the one who closes.
func TestCloseFromWithin(t *testing.T) {
	noLeaks(t)
	c := dialPeer(t, testCaps, func(p *peer) {
		p.command()
		p.raw("* 1 FETCH (UID 1 BODY[] {100}\r\nabc")
		_, _ = io.Copy(io.Discard, p.conn)
	})
	within(t, 5*time.Second, func() {
		err := c.FetchBodies(t.Context(), NewUIDSet(1), func(_ Item, _ int64, body io.Reader) error {
			c.Close()
			_, err := io.Copy(io.Discard, body)
			return err
		})
		if err == nil {
			t.Error("the fetch succeeds")
		}
	})
}

// Nothing is ever expunged by leaving a mailbox.
func TestUnselect(t *testing.T) {
	for name, tt := range map[string]struct {
		caps     string
		readOnly bool
		answer   string
		want     string
		fails    bool
	}{
		"unselect":               {" UNSELECT", false, "TAG OK", "UNSELECT", false},
		"examined":               {"", true, "TAG OK", "CLOSE", false},
		"selected":               {"", false, "TAG NO no such mailbox", "EXAMINE postbag-none-", false},
		"selected, refused":      {"", false, "TAG BAD what", "EXAMINE postbag-none-", true},
		"selected as read-only":  {"", false, "TAG OK", "CLOSE", false},
		"unselect, but refused":  {" UNSELECT", false, "TAG NO no", "UNSELECT", true},
		"never with a read-only": {" UNSELECT", true, "TAG OK", "UNSELECT", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			c := dialPeer(t, testCaps+tt.caps, func(p *peer) {
				code := "[READ-WRITE]"
				if name == "selected as read-only" {
					code = "[READ-ONLY]"
				}
				p.answer("TAG OK " + code + " done")
				got <- p.answer(tt.answer)
				p.rest()
			})
			if err := c.Unselect(t.Context()); err != nil {
				t.Errorf("Unselect of nothing: %v", err)
			}
			if _, err := c.Select(t.Context(), []byte("x"), tt.readOnly); err != nil {
				t.Fatal(err)
			}
			if err := c.Unselect(t.Context()); (err != nil) != tt.fails {
				t.Errorf("Unselect: %v", err)
			}
			if cmd := <-got; !strings.HasPrefix(cmd, tt.want) || strings.Contains(cmd, "EXAMINE") && len(cmd) < 30 {
				t.Errorf("sent %q, want %q", cmd, tt.want)
			}
			alive(t, c)
		})
	}
}

func TestSelectCommand(t *testing.T) {
	t.Parallel()
	got := make(chan string, 3)
	c := dialPeer(t, testCaps+" CONDSTORE", func(p *peer) {
		got <- p.answer("TAG OK")
		got <- p.answer("TAG OK")
		got <- p.answer("TAG NO [NOPERM] not yours")
	})
	_, _ = c.Select(t.Context(), []byte("Entw&APw-rfe"), false)
	sel, err := c.Select(t.Context(), []byte(`a "b"`), true)
	if err != nil || !sel.ReadOnly || sel.Name != `a "b"` {
		t.Errorf("Select = %+v, %v", sel, err)
	}
	_, err = c.Select(t.Context(), []byte("x"), true)
	if e := mail.AsError(err); e.Kind != mail.KindRefused || e.Op != "examine" || e.Mailbox != "x" || c.selected {
		t.Errorf("error = %#v, selected %v", e, c.selected)
	}
	for _, want := range []string{`SELECT "Entw&APw-rfe" (CONDSTORE)`, `EXAMINE "a \"b\"" (CONDSTORE)`, `EXAMINE "x" (CONDSTORE)`} {
		if cmd := <-got; cmd != want {
			t.Errorf("sent %q, want %q", cmd, want)
		}
	}
}

// What the fetches ask for.
func TestFetchCommands(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	c := dialPeer(t, testCaps, func(p *peer) {
		for {
			cmd := p.answer("TAG OK")
			if cmd == "" {
				return
			}
			got <- cmd
		}
	})
	nothing := func(Item) error { return nil }
	ctx := t.Context()
	all := Flags | Size | Date | ModSeq | EmailID | GmailMsgID | GmailLabels | HeaderMessageID
	_ = c.FetchList(ctx, NewUIDSet(1, 2, 9), all, 0, false, nothing, nil)
	_ = c.FetchList(ctx, NewUIDSet(1), Flags, 7, false, nothing, nil)
	_ = c.FetchList(ctx, NewUIDSet(1), Flags, 7, true, nothing, nil)
	_ = c.FetchList(ctx, UIDSet{}, Flags, 0, false, nothing, nil) // nothing to ask for
	_, _ = c.Search(ctx, "UID 1:*")
	for _, want := range []string{
		"UID FETCH 1:2,9 (UID FLAGS RFC822.SIZE INTERNALDATE MODSEQ EMAILID X-GM-MSGID X-GM-LABELS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])",
		"UID FETCH 1 (UID FLAGS) (CHANGEDSINCE 7)",
		"UID FETCH 1 (UID FLAGS) (CHANGEDSINCE 7 VANISHED)",
		"UID SEARCH UID 1:*",
	} {
		if cmd := <-got; cmd != want {
			t.Errorf("sent %q, want %q", cmd, want)
		}
	}
	var uids []uint32
	for uid := uint32(1); uid < 6000; uid += 2 {
		uids = append(uids, uid)
	}
	set := NewUIDSet(uids...)
	for _, fetch := range []func() error{
		func() error { return c.FetchList(ctx, set, Flags, 0, false, nothing, nil) },
		func() error {
			return c.FetchBodies(ctx, set, func(Item, int64, io.Reader) error { return nil })
		},
	} {
		if err := fetch(); err != nil {
			t.Fatal(err)
		}
		var sent UIDSet
		for range 2 {
			cmd := <-got
			words := strings.Fields(cmd)
			part, err := ParseUIDSet(words[2])
			if err != nil || len(words[2]) > MaxSetBytes || strings.Contains(cmd, "BODY[") {
				t.Fatalf("sent %.50q: %v", cmd, err)
			}
			for _, r := range part.Ranges() {
				sent.AddRange(r.Lo, r.Hi)
			}
		}
		if sent.String() != set.String() {
			t.Errorf("%d of %d UIDs were asked for", sent.Count(), set.Count())
		}
	}
}

// An error of a callback stops the calls, and the connection lives on.
func TestCallbackError(t *testing.T) {
	t.Parallel()
	answer := "* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\n* VANISHED 5,7\r\nTAG OK done\r\n"
	c := script(t, answer, answer, answer)
	n := 0
	if err := c.FetchList(t.Context(), NewUIDSet(1, 2), Flags, 0, false, func(Item) error {
		n++
		return context.Canceled
	}, nil); err != context.Canceled || n != 1 {
		t.Errorf("FetchList: %v after %d calls", err, n)
	}
	n = 0
	if err := c.FetchList(t.Context(), NewUIDSet(1, 2), Flags, 0, true, func(Item) error { return nil }, func(lo, hi uint32) error {
		n++
		return io.EOF
	}); err != io.EOF || n != 1 {
		t.Errorf("FetchList: %v after %d calls", err, n)
	}
	n = 0
	if _, err := c.Command(t.Context(), func(Response) error {
		n++
		return io.EOF
	}, Raw("NOOP")); err != io.EOF || n != 1 {
		t.Errorf("Command: %v after %d calls", err, n)
	}
	alive(t, c)
}
