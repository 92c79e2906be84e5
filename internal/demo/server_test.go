package demo_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// script runs commands on a new connection and answers with what each gave, the
// tagged reply last.
func script(t *testing.T, target imaptest.Target, commands ...string) [][]string {
	t.Helper()
	c := connect(t, target)
	var out [][]string
	for _, command := range commands {
		out = append(out, do(t, c, command))
	}
	return out
}

func connect(t *testing.T, target imaptest.Target) *imaptest.Client {
	t.Helper()
	c, err := imaptest.Dial(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func do(t *testing.T, c *imaptest.Client, command string) []string {
	t.Helper()
	responses, err := c.Do(command)
	var lines []string
	for _, r := range responses {
		text := r.Text
		for _, lit := range r.Literals {
			text += "|" + string(lit)
		}
		lines = append(lines, text)
	}
	var refused *imaptest.StatusError
	if errors.As(err, &refused) {
		return append(lines, refused.Reply)
	} else if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return lines
}

func has(lines []string, want string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) })
}

func small(n int) []demo.Sample {
	var out []demo.Sample
	for i := range n {
		out = append(out, demo.Sample{
			Mailbox: "INBOX", Date: time.Date(2024, time.May, 1, 10, i, 0, 0, time.FixedZone("", 2*3600)),
			Raw: fmt.Appendf(nil, "Subject: number %d\r\nMessage-ID: <%d@x>\r\n\r\nbody %d\r\n", i+1, i+1, i+1),
		})
	}
	return out
}

func TestServerServesWhatWasPutIn(t *testing.T) {
	t.Parallel()
	samples := append(slices.Collect(demo.Corpus(5, 40)), demo.Torture()...)
	e := imaptest.StartEmbedded(t, slices.Values(samples))
	d := e.TLSTarget().MustDump(t)
	next := map[string]int{}
	for _, s := range samples {
		box := d[s.Mailbox]
		got := box.Messages[next[s.Mailbox]]
		next[s.Mailbox]++
		if got.Digest != sha256.Sum256(s.Raw) || got.Size != int64(len(s.Raw)) {
			t.Errorf("%s %q: the body differs", s.Mailbox, s.Label)
		}
		if !got.Flags.Equal(s.Flags) || !got.Date.Equal(s.Date) {
			t.Errorf("%s %q: got %s, %s; want %s, %s", s.Mailbox, s.Label, got.Flags, got.Date, s.Flags, s.Date)
		}
	}
	if got, want := d.Count(), len(samples); got != want {
		t.Errorf("%d messages, want %d", got, want)
	}
}

func TestServerTakesAppendedOctetsAsTheyAre(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, nil)
	c := connect(t, e.Target())
	torture := demo.Torture()
	for _, s := range torture {
		command := fmt.Sprintf("APPEND INBOX (%s) %s {%d+}", s.Flags, imaptest.Quote(s.Date.Format("_2-Jan-2006 15:04:05 -0700")), len(s.Raw))
		if _, err := c.DoLiteral(command, s.Raw, ""); err != nil {
			t.Fatalf("%s: %v", s.Label, err)
		}
	}
	for i, m := range e.Account.Messages("INBOX") {
		s := torture[i]
		if !bytes.Equal(m.Raw, s.Raw) || !m.Flags.Equal(s.Flags) || !m.Date.Equal(s.Date) {
			t.Errorf("%s: it is not what was sent", s.Label)
		}
	}
}

func TestServerListing(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(5, 30))
	out := script(t, e.Target(), `LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY SIZE))`, `LIST "" "%"`,
		`LIST "" ""`, `LIST (SUBSCRIBED) "" "*"`, `NAMESPACE`)
	for _, want := range []string{
		`* LIST (\HasNoChildren \Sent) "/" "Sent"`, `* LIST (\HasChildren \Noselect) "/" "Projets"`,
		`* LIST (\HasNoChildren) "/" "Projets/&AMk-t&AOk-"`, `* LIST (\HasNoChildren) "/" "Family &- Friends"`,
		`* STATUS "Projets/&AMk-t&AOk-" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 1700000014 SIZE `,
	} {
		if !has(out[0], want) {
			t.Errorf("no %s in\n%s", want, strings.Join(out[0], "\n"))
		}
	}
	if has(out[0], `STATUS "Projets" `) {
		t.Error("STATUS of a name that holds no mail")
	}
	if has(out[1], "Archive/2024") || !has(out[1], `"Archive"`) {
		t.Errorf(`LIST "%%" gave %q`, out[1])
	}
	if !has(out[2], `* LIST (\Noselect) "/" ""`) || !has(out[4], `* NAMESPACE (("" "/")) NIL NIL`) {
		t.Errorf("delimiter %q, namespace %q", out[2], out[4])
	}
	if has(out[3], `"Projets"`) || !has(out[3], `"Work"`) {
		t.Errorf("subscribed: %q", out[3])
	}
}

func TestServerTellsOfChangesFromOutside(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, slices.Values(small(4)))
	c := connect(t, e.Target())
	do(t, c, "SELECT INBOX")
	check := func(what string, want ...string) {
		t.Helper()
		got := do(t, c, "NOOP")
		got = got[:len(got)-1]
		if !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	check("nothing")
	if _, err := e.Account.Add(small(1)[0]); err != nil {
		t.Fatal(err)
	}
	check("added", "* 5 EXISTS")
	if err := e.Account.SetFlags("INBOX", 2, mail.ParseFlags(`\Seen`, "Later")); err != nil {
		t.Fatal(err)
	}
	check("flags", `* 2 FETCH (UID 2 FLAGS (\Seen Later))`)
	if err := e.Account.Expunge("INBOX", 1, 3); err != nil {
		t.Fatal(err)
	}
	if got := do(t, c, "UID FETCH 1:3 (FLAGS)"); has(got, "UID 1 ") || !has(got, "UID 2 ") {
		t.Errorf("fetch of what is gone: %q", got)
	}
	check("expunged, told with the fetch")
	if got := do(t, c, "UID FETCH 2 (FLAGS)"); !has(got, "* 1 FETCH (UID 2") {
		t.Errorf("sequence numbers did not move: %q", got)
	}
	if err := e.Account.Create(demo.Mailbox{Name: "Else"}); err != nil {
		t.Fatal(err)
	}
	moved, err := e.Account.Move("INBOX", "Else", 4, 99)
	if err != nil || !slices.Equal(moved, []uint32{1, 0}) {
		t.Errorf("moved to %v, %v", moved, err)
	}
	check("moved", "* 2 EXPUNGE")
	if err := e.Account.BumpUIDValidity("INBOX", false); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do("NOOP"); err == nil {
		t.Error("the session outlived its UIDVALIDITY")
	}
}

func TestServerHoldsBackExpungeDuringFetchBySequence(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, slices.Values(small(3)))
	c := connect(t, e.Target())
	do(t, c, "SELECT INBOX")
	if err := e.Account.Expunge("INBOX", 1); err != nil {
		t.Fatal(err)
	}
	if got := do(t, c, "FETCH 2 (UID)"); has(got, "EXPUNGE") || !has(got, "* 2 FETCH (UID 2)") {
		t.Errorf("got %q", got)
	}
	if got := do(t, c, "NOOP"); !has(got, "* 1 EXPUNGE") {
		t.Errorf("got %q", got)
	}
}

func TestServerSelectedCommands(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, slices.Values(small(5)))
	c := connect(t, e.Target())
	do(t, c, "CREATE Target (USE (\\Archive))")
	steps := []struct{ command, want, not string }{
		{"SELECT INBOX", "[UIDNEXT 6]", ""},
		{`UID STORE 1:2 +FLAGS.SILENT (\Flagged keyword)`, "OK", "FETCH"},
		{`UID STORE 2 +FLAGS (KEYWORD \Seen)`, `* 2 FETCH (UID 2 FLAGS (\Seen \Flagged keyword))`, ""},
		{`UID SEARCH RETURN (ALL) KEYWORD Keyword`, "ALL 1:2", ""},
		{`UID SEARCH UNSEEN NOT FLAGGED`, "* SEARCH 3 4 5", ""},
		{`UID SEARCH OR UID 5 HEADER Subject "number 3"`, "* SEARCH 3 5", ""},
		{`UID SEARCH BODY "body 4" SINCE 1-May-2024 BEFORE 2-May-2024`, "* SEARCH 4", ""},
		{`UID SEARCH SINCE 2-May-2024`, "* SEARCH", "* SEARCH 1"},
		{`UID FETCH 100:* (FLAGS)`, "* 5 FETCH (UID 5", ""},
		{`UID FETCH 3 (RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])`,
			"* 3 FETCH (UID 3 INTERNALDATE \" 1-May-2024 10:02:00 +0200\" RFC822.SIZE 48 BODY[HEADER.FIELDS (\"MESSAGE-ID\")] {21})|Message-ID: <3@x>\r\n\r\n", ""},
		{`UID FETCH 3 (FLAGS)`, "FLAGS ()", ""},
		{`UID FETCH 3 (BODY[]<4.6>)`, "BODY[]<4> {6})|ect: n", ""},
		{`UID FETCH 3 (FLAGS)`, `FLAGS (\Seen)`, ""},
		{`UID COPY 1:2 Target`, "[COPYUID 1700000002 1:2 1:2]", ""},
		{`UID MOVE 3 Target`, "[COPYUID 1700000002 3 3]", ""},
		{`UID MOVE 3 Target`, "OK", "COPYUID"},
		{`UID COPY 1 Nowhere`, "NO [TRYCREATE]", ""},
		{`UID STORE 1,4 +FLAGS.SILENT (\Deleted)`, "OK", ""},
		{`UID EXPUNGE 4:5`, "* 3 EXPUNGE", "* 1 EXPUNGE"},
		{`UID SEARCH ALL`, "* SEARCH 1 2 5", ""},
		{`STATUS Target (MESSAGES UNSEEN UIDNEXT)`, "(MESSAGES 3 UIDNEXT 4 UNSEEN 1)", ""},
		{"EXAMINE INBOX", "[READ-ONLY]", ""},
		{`UID STORE 1 +FLAGS (\Seen)`, "NO [READ-ONLY]", ""},
		{`UID EXPUNGE 1`, "NO [READ-ONLY]", ""},
		{`UID FETCH 1 (BODY[] FLAGS)`, `FLAGS (\Flagged \Deleted keyword)`, ""},
		{"CLOSE", "OK", ""},
		{"RENAME Target Other/Place", "OK", ""},
		{`STATUS Other/Place (UIDVALIDITY)`, "UIDVALIDITY 1700000002", ""},
		{"DELETE Other/Place", "OK", ""},
		{"SELECT Other/Place", "NO [NONEXISTENT]", ""},
		{"DELETE INBOX", "NO", ""},
	}
	for _, s := range steps {
		got := do(t, c, s.command)
		if !has(got, s.want) || s.not != "" && has(got, s.not) {
			t.Errorf("%s: got %q, want %q and not %q", s.command, got, s.want, s.not)
		}
	}
}

func TestServerIdle(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, slices.Values(small(1)))
	conn, err := net.Dial("tcp", e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(conn, "1 LOGIN %s %s\r\n2 SELECT INBOX\r\n3 IDLE\r\n", imaptest.EmbeddedUser, imaptest.EmbeddedPassword); err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	read := func(until string) {
		t.Helper()
		buf := make([]byte, 4096)
		for !strings.Contains(seen.String(), until) {
			n, err := conn.Read(buf)
			seen.Write(buf[:n])
			if err != nil {
				t.Fatalf("%v; so far %q", err, &seen)
			}
		}
	}
	read("+ ")
	if _, err := e.Account.Add(small(1)[0]); err != nil {
		t.Fatal(err)
	}
	read("* 2 EXISTS")
	if _, err := conn.Write([]byte("DONE\r\n")); err != nil {
		t.Fatal(err)
	}
	read("3 OK")
}

func TestServerUIDValidity(t *testing.T) {
	t.Parallel()
	for _, renumber := range []bool{false, true} {
		e := imaptest.StartEmbedded(t, slices.Values(small(4)))
		if err := e.Account.Expunge("INBOX", 2); err != nil {
			t.Fatal(err)
		}
		before := e.Target().MustDump(t)
		if err := e.Account.BumpUIDValidity("INBOX", renumber); err != nil {
			t.Fatal(err)
		}
		after := e.Target().MustDump(t)
		if diff := imaptest.Diff(before.Content(), after.Content()); diff != "" {
			t.Errorf("the content changed:\n%s", diff)
		}
		want := []uint32{1, 3, 4}
		if renumber {
			want = []uint32{5, 6, 7}
		}
		var got []uint32
		for _, m := range e.Account.Messages("INBOX") {
			got = append(got, m.UID)
		}
		if !slices.Equal(got, want) || after["INBOX"].UIDValidity == before["INBOX"].UIDValidity {
			t.Errorf("renumber %v: UIDs %v, want %v; UIDVALIDITY %d, was %d",
				renumber, got, want, after["INBOX"].UIDValidity, before["INBOX"].UIDValidity)
		}
	}
}

func TestServerRenameTakesChildrenAlong(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, demo.Corpus(5, 15))
	if err := e.Account.Rename("Work", "Ünï/Work"); err != nil {
		t.Fatal(err)
	}
	d := e.Target().MustDump(t)
	for _, name := range []string{"Ünï/Work", "Ünï/Work/Projects/postbag"} {
		if len(d[name].Messages) == 0 {
			t.Errorf("nothing in %s", name)
		}
	}
	if err := e.Account.Rename("INBOX", "Old"); err != nil {
		t.Fatal(err)
	}
	d = e.Target().MustDump(t)
	if len(d["INBOX"].Messages) != 0 || len(d["Old"].Messages) == 0 {
		t.Errorf("INBOX holds %d, Old %d", len(d["INBOX"].Messages), len(d["Old"].Messages))
	}
}

func TestServerBefore(t *testing.T) {
	t.Parallel()
	var fetches atomic.Int32
	e := imaptest.StartEmbeddedWith(t, demo.Options{MaxMessage: 100, Before: func(user, verb, mailbox string) error {
		switch {
		case verb == "FETCH" && mailbox == "INBOX" && user == imaptest.EmbeddedUser && fetches.Add(1) == 2:
			return demo.ErrHangUp
		case verb == "STORE":
			return &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeInUse, Text: "not now"}
		}
		return nil
	}}, slices.Values(small(2)))
	c := connect(t, e.Target())
	do(t, c, "SELECT INBOX")
	if got := do(t, c, `UID STORE 1 +FLAGS (\Seen)`); !has(got, "NO [INUSE] not now") {
		t.Errorf("STORE gave %q", got)
	}
	if got := do(t, c, "UID FETCH 1 (UID)"); !has(got, "UID 1") {
		t.Errorf("FETCH gave %q", got)
	}
	if _, err := c.Do("UID FETCH 1 (UID)"); err == nil {
		t.Error("the connection is still open")
	}
	c = connect(t, e.Target())
	if _, err := c.DoLiteral("APPEND INBOX {101}", make([]byte, 101), ""); err == nil || !strings.Contains(err.Error(), "TOOBIG") {
		t.Errorf("APPEND above the limit gave %v", err)
	}
}

func TestServerRefusesBadLogins(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, nil)
	for _, c := range [][2]string{{imaptest.EmbeddedUser, "wrong"}, {"nobody", imaptest.EmbeddedPassword}, {"", ""}} {
		target := e.Target()
		target.User, target.Password = c[0], c[1]
		if _, err := imaptest.Dial(target); err == nil || !strings.Contains(err.Error(), "AUTHENTICATIONFAILED") {
			t.Errorf("login as %q gave %v", c, err)
		}
	}
}

func TestServerEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := demo.Start(ctx, demo.Options{TLS: true, Users: map[string]string{"u": "p"}})
	if err != nil {
		t.Fatal(err)
	}
	idle, err := tls.Dial("tcp", s.TLSAddr(), s.Certificate().ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	silent, err := net.Dial("tcp", s.TLSAddr()) // never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cancel()
	_ = idle.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 1024)
	for err == nil {
		_, err = idle.Read(buf)
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Error("the connection outlived the context")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr()); err == nil {
		t.Error("the port is still open")
	}
}

func TestServerDisconnect(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, slices.Values(small(1)))
	c := connect(t, e.Target())
	e.Disconnect()
	if _, err := c.Do("NOOP"); err == nil {
		t.Error("the connection is still open")
	}
	if got := script(t, e.Target(), "NOOP"); !has(got[0], "OK") {
		t.Errorf("a new connection gave %q", got)
	}
}

// A client that hangs up in the middle of a message leaves no session behind that
// the server would wait for.
func TestServerOutlivesAClientThatHangsUp(t *testing.T) {
	t.Parallel()
	samples := small(1)
	samples[0].Raw = append(samples[0].Raw, bytes.Repeat([]byte("0123456789abcdef\r\n"), 2<<20)...) // more than sockets hold
	e := imaptest.StartEmbedded(t, slices.Values(samples))
	c, err := net.Dial("tcp", e.Addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "1 LOGIN %s %s\r\n2 EXAMINE INBOX\r\n3 UID FETCH 1 BODY.PEEK[]\r\n", imaptest.EmbeddedUser, imaptest.EmbeddedPassword)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	for n := 0; n < 100_000; {
		k, err := c.Read(make([]byte, 1<<16))
		if err != nil {
			t.Fatal(err)
		}
		n += k
	}
	_ = c.Close()
	ended := make(chan error, 1)
	go func() { ended <- e.Close() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server does not end")
	}
}
