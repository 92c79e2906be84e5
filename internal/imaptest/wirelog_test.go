package imaptest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
)

// feed gives a log alternating octets of the client ("C...") and the server
// ("S..."), whole or octet by octet.
func feed(l *WireLog, bytewise bool, turns ...string) {
	taps := map[byte]func([]byte){'C': l.tap(0, ToServer), 'S': l.tap(0, ToClient)}
	for _, turn := range turns {
		octets := []byte(turn[1:])
		if !bytewise {
			taps[turn[0]](octets)
			continue
		}
		for i := range octets {
			taps[turn[0]](octets[i : i+1])
		}
	}
}

func TestWireLogParses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		turns []string
		want  []string // "VERB|LINE"
	}{
		{"plain", []string{"CA1 noop\r\nA2 uid fetch 1 (FLAGS)\r\n"}, []string{"NOOP|noop", "UID FETCH|uid fetch 1 (FLAGS)"}},
		{"secrets", []string{"CA1 LOGIN me hunter2\r\nA2 AUTHENTICATE PLAIN AG1lAGh1bnRlcjI=\r\n", "SA2 OK\r\n", "CA3 NOOP\r\n"},
			[]string{"LOGIN|LOGIN ...", "AUTHENTICATE|AUTHENTICATE PLAIN ...", "NOOP|NOOP"}},
		{"non-synchronising literal", []string{"CA1 APPEND INBOX {7+}\r\nA2 NOOP\r\nA3 NOOP\r\n"},
			[]string{"APPEND|APPEND INBOX {7+}", "NOOP|NOOP"}},
		{"multiappend", []string{"CA1 APPEND x {2+}\r\n)\r () {1+}\r\n\n\r\nA2 NOOP\r\n"},
			[]string{"APPEND|APPEND x {2+} () {1+}", "NOOP|NOOP"}},
		{"synchronising literal", []string{"CA1 APPEND INBOX {9}\r\n", "S* OK x\r\n+ go\r\n", "CA9 NOOP\r\n\r\nA2 NOOP\r\n"},
			[]string{"APPEND|APPEND INBOX {9}", "NOOP|NOOP"}},
		{"literal refused", []string{"CA1 APPEND INBOX {9}\r\n", "SA1 NO [TRYCREATE] no\r\n", "CA2 NOOP\r\n"},
			[]string{"APPEND|APPEND INBOX {9}", "NOOP|NOOP"}},
		{"sasl", []string{"CA1 AUTHENTICATE PLAIN\r\n", "S+ \r\n", "CAG1lAGh1bnRlcjI=\r\n", "SA1 OK in\r\n", "CA2 NOOP\r\n"},
			[]string{"AUTHENTICATE|AUTHENTICATE PLAIN ...", "NOOP|NOOP"}},
		{"idle", []string{"CA1 IDLE\r\n", "S+ idling\r\n* 3 EXISTS\r\n", "CDONE\r\nA2 NOOP\r\n"}, []string{"IDLE|IDLE", "NOOP|NOOP"}},
		{"server literal looks like a reply", []string{"CA1 AUTHENTICATE X\r\n", "S* 1 FETCH (BODY[] {9}\r\nA1 OK no\r\n)\r\n+ \r\n", "CAA==\r\n", "SA1 OK\r\n", "CA2 NOOP\r\n"},
			[]string{"AUTHENTICATE|AUTHENTICATE X ...", "NOOP|NOOP"}},
		{"compress refused", []string{"CA1 COMPRESS DEFLATE\r\n", "SA1 NO\r\n", "CA2 NOOP\r\n"}, []string{"COMPRESS|COMPRESS DEFLATE", "NOOP|NOOP"}},
	} {
		for _, bytewise := range []bool{false, true} {
			l := newWireLog()
			feed(l, bytewise, c.turns...)
			var got []string
			for _, cmd := range l.Commands() {
				got = append(got, cmd.Verb+"|"+cmd.Line)
			}
			if !slices.Equal(got, c.want) || len(l.Check(ReadWrite)) > 0 {
				t.Errorf("%s (octet by octet: %v): got %q, want %q; %q", c.name, bytewise, got, c.want, l.Check(ReadWrite))
			}
		}
	}
}

func TestWireLogCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line  string
		write bool // allowed in ReadWrite
		read  bool // allowed in ReadOnly
	}{
		{"NOOP", true, true},
		{"EXAMINE INBOX", true, true},
		{"SELECT INBOX", true, false},
		{`LIST "" "*" RETURN (STATUS (MESSAGES))`, true, true},
		{"UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])", true, true},
		{"UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (X)])", true, true},
		{"UID FETCH 1 (BODY[])", false, false},
		{"UID FETCH 1 RFC822", false, false},
		{"UID FETCH 1 (RFC822 FLAGS)", false, false},
		{"UID FETCH 1 (FLAGS BINARY[])", false, false},
		{"FETCH 1 (FLAGS)", false, false},
		{"SEARCH ALL", false, false},
		{"UID SEARCH ALL", true, true},
		{`UID STORE 1 +FLAGS.SILENT (\Seen)`, true, false},
		{`UID STORE 1 (UNCHANGEDSINCE 12) -FLAGS (\Seen)`, true, false},
		{`UID STORE 1 FLAGS (\Seen)`, false, false},
		{`STORE 1 +FLAGS (\Seen)`, false, false},
		{"EXPUNGE", false, false},
		{"UID EXPUNGE 1:3", true, false},
		{"CLOSE", false, false},
		{"UNSELECT", true, true},
		{"UID MOVE 1 Trash", true, false},
		{"UID COPY 1 Trash", true, false},
		{"MOVE 1 Trash", false, false},
		{"CREATE x", true, false},
		{"DELETE x", true, false},
		{"RENAME x y", true, false},
		{"SUBSCRIBE x", true, false},
		{"APPEND x {3+}\r\nabc", true, false},
		{"", false, false},
		{"(not a verb)", false, false},
	} {
		for mode, want := range map[Mode]bool{ReadWrite: c.write, ReadOnly: c.read} {
			l := newWireLog()
			feed(l, false, "CT1 "+c.line+"\r\n")
			if got := len(l.Check(mode)) == 0; got != want || len(l.Commands()) != 1 {
				t.Errorf("%q in mode %d: allowed %v, want %v (%d commands)", c.line, mode, got, want, len(l.Commands()))
			}
		}
	}
	l := newWireLog()
	feed(l, false, "CA1 STARTTLS\r\n", "SA1 OK go\r\n", "C\x16\x03\x01garbage\n")
	if bad := l.Check(ReadOnly); len(bad) != 1 || !strings.Contains(bad[0], "TLS") {
		t.Errorf("a connection that went blind gave %q", bad)
	}
}

// recorder takes the place of a test to see whether it fails.
type recorder struct {
	TB
	failed string
}

func (r *recorder) Helper() {}

// Fatalf ends the goroutine, as that of testing.T does.
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// caught runs fn, which is expected to fail its test, and answers with how.
func caught(fn func(TB)) string {
	var r recorder
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(&r)
	}()
	<-done
	return r.failed
}

func TestWireLogThroughProxy(t *testing.T) {
	t.Parallel()
	e := StartEmbedded(t, demo.Corpus(1, 20))
	p := StartProxy(t, e.Addr())
	log := p.WireLog()
	e.Target().Via(p).MustDump(t)
	log.Assert(t, ReadOnly)
	if got, want := log.Count("UID FETCH"), len(demo.Mailboxes()); got != want {
		t.Errorf("%d times UID FETCH, want %d", got, want)
	}
	c, err := Dial(e.Target().Via(p))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.DoLiteral("APPEND INBOX {12}", []byte("T1 EXPUNGE\r\n"), ""); err != nil {
		t.Fatal(err)
	}
	log.Assert(t, ReadWrite)
	if failed := caught(func(tb TB) { log.Assert(tb, ReadOnly) }); !strings.Contains(failed, "APPEND INBOX {12}") {
		t.Errorf("the check said %q", failed)
	}
	log.Reset()
	log.Assert(t, ReadOnly)
	for _, line := range []string{"NOOP", "LOGOUT"} {
		if _, err := c.Do(line); err != nil {
			t.Fatal(err)
		}
	}
	if got := log.Commands(); len(got) != 1 || got[0].Verb != "NOOP" {
		t.Errorf("after Reset the log holds %v, want NOOP alone", got)
	}
}

func FuzzWireLog(f *testing.F) {
	f.Add([]byte("A1 NOOP\r\nA2 APPEND x {3+}\r\nabc\r\n"), []byte("+ go\r\nA2 OK\r\n"))
	f.Add([]byte("A1 APPEND x {3}\r\n"), []byte("A1 NO\r\n"))
	f.Add([]byte("A1 AUTHENTICATE X\r\nAA\r\n"), []byte("* 1 FETCH (BODY[] {99}\r\n"))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		whole, pieces := newWireLog(), newWireLog()
		feed(whole, false, "C"+string(client), "S"+string(server))
		feed(pieces, true, "C"+string(client), "S"+string(server))
		if got, want := fmt.Sprint(pieces.Commands()), fmt.Sprint(whole.Commands()); got != want {
			t.Errorf("in pieces %s, whole %s", got, want)
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"INBOX", "Projets/Été", "a&b", "&AMk-", "日本語\U0001F4EC", "&", "&-", "&AGE-", "bad&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, ok := DecodeName(s); ok && EncodeName(name) != s {
			t.Errorf("%q decodes to %q, which encodes to %q", s, name, EncodeName(name))
		}
		clean := strings.ToValidUTF8(s, "")
		if name, ok := DecodeName(EncodeName(clean)); !ok || name != clean {
			t.Errorf("%q comes back as %q, %v", clean, name, ok)
		}
	})
}

// CLOSE expunges only where the mailbox may be written to.
func TestWireLogClose(t *testing.T) {
	t.Parallel()
	for verb, want := range map[string]bool{"EXAMINE": true, "SELECT": false} {
		l := newWireLog()
		feed(l, false, "CT1 "+verb+" INBOX\r\n")
		feed(l, false, "CT2 CLOSE\r\n")
		if got := len(l.Check(ReadWrite)) == 0; got != want {
			t.Errorf("CLOSE after %s allowed: %v, want %v", verb, got, want)
		}
	}
}
