package imaptest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"postbag/internal/demo"
)

// standardSession touches everything that quirks are about.
var standardSession = []string{
	"CAPABILITY", "LOGIN u p", "ENABLE QRESYNC",
	`LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ))`,
	"STATUS INBOX (UIDVALIDITY UIDNEXT MESSAGES HIGHESTMODSEQ)", "SELECT INBOX (CONDSTORE)",
	"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ)", "UID FETCH 1:* (UID FLAGS BODY.PEEK[])",
	"UID FETCH 7 (UID BODY.PEEK[])", "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 8 VANISHED)", "UID SEARCH RETURN (ALL) ALL", "UID SEARCH ALL",
	`UID STORE 7 +FLAGS ($Custom \Flagged)`, "APPEND Archive (\\Seen) {41}|Subject: poison\r\n\r\nThe evil text here.\r\n.",
	"APPEND Archive {2+}\r\nhi", "CREATE New", "DELETE New", "UID COPY 1 Archive", "UID MOVE 2:3 Archive", `UID STORE 1 +FLAGS.SILENT (\Deleted)`,
	"UID EXPUNGE 1", "EXAMINE INBOX", "UID FETCH 7 (BODY.PEEK[])", "UNSELECT", "NOOP",
}

// transcript runs the standard session and answers with all that the server
// said, and with what became of its mail. A connection on which nothing comes
// for silence counts as dead.
func transcript(t *testing.T, setup func(*Script), silence time.Duration) string {
	t.Helper()
	s := StartScripted(t, setup)
	var out strings.Builder
	for range 2 {
		talk(t, s, &out, silence)
	}
	s.Edit(func(s *Script) {
		for _, b := range s.Boxes {
			fmt.Fprintf(&out, "%s\n", b)
			for _, m := range b.Messages {
				out.Write(m.Raw)
			}
		}
	})
	return out.String()
}

func talk(t *testing.T, s *Scripted, out *strings.Builder, silence time.Duration) {
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	// until reads up to a line that begins with one of the prefixes.
	until := func(prefixes ...string) bool {
		for {
			_ = conn.SetReadDeadline(time.Now().Add(silence))
			line, err := r.ReadString('\n')
			out.WriteString(line)
			if err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					fmt.Fprintf(out, "[silence]\n")
				} else {
					fmt.Fprintf(out, "[%v]\n", strings.Contains(err.Error(), "reset"))
				}
				return false
			}
			if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(line, p) }) {
				return true
			}
		}
	}
	if !until("") {
		return
	}
	for i, command := range standardSession {
		tag := fmt.Sprintf("T%d ", i)
		command, literal, hasLiteral := strings.Cut(command, "|")
		fmt.Fprintf(conn, "%s%s\r\n", tag, command)
		at := out.Len()
		if hasLiteral {
			if !until("+", tag) {
				return
			}
			if strings.Contains(out.String()[at:], tag) {
				continue
			}
			fmt.Fprintf(conn, "%s\r\n", literal)
		}
		if !until(tag) {
			return
		}
	}
}

// TestQuirksAreOdd: each quirk changes what a client sees or what becomes of
// the mail, and none of them wedges the server.
func TestQuirksAreOdd(t *testing.T) {
	t.Parallel()
	plain := transcript(t, nil, 5*time.Second)
	if strings.Contains(plain, " BAD ") || strings.Contains(plain, " NO ") || strings.Contains(plain, "[silence]") {
		t.Fatalf("the default script refuses something:\n%s", plain)
	}
	if again := transcript(t, nil, 5*time.Second); again != plain {
		t.Fatalf("two default sessions differ:\n%s\n---\n%s", plain, again)
	}
	names := map[string]bool{}
	for _, q := range Quirks() {
		if names[q.Name] || q.Name == "" || q.About == "" {
			t.Errorf("quirk %q is twice in the table, or lacks a text", q.Name)
		}
		names[q.Name] = true
		t.Run(q.Name, func(t *testing.T) {
			t.Parallel()
			if transcript(t, q.Apply, 200*time.Millisecond) == plain {
				t.Errorf("nothing is odd about: %s", q.About)
			}
		})
	}
}

func TestScriptedHoldsADefaultAccount(t *testing.T) {
	t.Parallel()
	s := StartScripted(t, nil)
	p := StartProxy(t, s.Addr())
	log := p.WireLog()
	d := s.Target().Via(p).MustDump(t)
	log.Assert(t, ReadOnly)
	if len(d) != 3 || len(d["INBOX"].Messages) != 10 || len(d["Archive"].Messages) != 2 || d["INBOX"].UIDValidity != 1001 {
		t.Errorf("got\n%s", d)
	}
	if got := d["INBOX"].Messages[2].Flags.String(); got != `\Seen $Forwarded` {
		t.Errorf("flags of message 3: %s", got)
	}
}

// checkSession runs commands and looks for text in what each gives.
func checkSession(t *testing.T, target Target, steps [][2]string) {
	t.Helper()
	c, err := Dial(target)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range steps {
		responses, err := c.Do(step[0])
		var got []string
		for _, r := range responses {
			got = append(got, r.Text)
		}
		if err != nil {
			got = append(got, err.Error())
		}
		if all := strings.Join(got, "\n"); !strings.Contains(all, step[1]) {
			t.Errorf("%s: got %q, want %q", step[0], all, step[1])
		}
	}
}

func TestScriptedCommands(t *testing.T) {
	t.Parallel()
	checkSession(t, StartScripted(t, nil).Target(), [][2]string{
		{"SELECT INBOX", "[UIDNEXT 11]"},
		{"UID STORE 2 +FLAGS (\\Flagged kw)", `2 FETCH (UID 2 FLAGS (\Seen \Flagged kw) MODSEQ (12))`},
		{"UID STORE 2 (UNCHANGEDSINCE 5) -FLAGS.SILENT (kw)", "[MODIFIED 2]"},
		{"UID STORE 2 (UNCHANGEDSINCE 12) -FLAGS.SILENT (kw)", "2 FETCH (UID 2 MODSEQ (13))"},
		{"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12)", "2 FETCH (UID 2 FLAGS (\\Seen \\Flagged) MODSEQ (13))"},
		{"UID SEARCH UNSEEN UID 1:4", "* SEARCH 1 4"},
		{"UID SEARCH RETURN (MIN MAX COUNT) ALL", `UID MIN 1 MAX 10 COUNT 10`},
		{"UID SEARCH HEADER Message-ID <5.inbox", "* SEARCH 5"},
		{"UID FETCH 5 (BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])", "BODY[HEADER.FIELDS (MESSAGE-ID)] {40}"},
		{"UID COPY 1:2 Archive", "[COPYUID 1002 1:2 3:4]"},
		{"UID MOVE 3 Archive", "* 3 EXPUNGE"},
		{"ENABLE QRESYNC", "ENABLED QRESYNC"},
		{"UID STORE 9 +FLAGS.SILENT (\\Deleted)", "OK"},
		{"UID EXPUNGE 8:9", "* VANISHED 9"},
		{"UID FETCH 1:* (UID) (CHANGEDSINCE 1 VANISHED)", "VANISHED (EARLIER) 3,9"},
		{"UID FETCH 100:* (UID)", "* 8 FETCH (UID 10)"},
		{"RENAME Archive Old", "OK"},
		{"STATUS Old (MESSAGES)", "(MESSAGES 5)"},
		{"DELETE Old", "OK"},
		{"STATUS Old (MESSAGES)", "[NONEXISTENT]"},
		{"EXAMINE INBOX", "[READ-ONLY]"},
		{"UID EXPUNGE 1", "NO"},
		{"FROBNICATE", "BAD"},
		{`LIST "" ""`, `LIST (\Noselect) "/" ""`},
	})
}

// TestScriptedTakesFill: literals, MULTIAPPEND and names work as with a real
// server.
func TestScriptedTakesFill(t *testing.T) {
	t.Parallel()
	s := StartScripted(t, nil)
	samples := safe(take(demo.Corpus(2, 40)))
	if _, err := s.Target().Fill(slices.Values(samples)); err != nil {
		t.Fatal(err)
	}
	want := StartEmbedded(t, slices.Values(samples)).Target().MustDump(t)
	got := s.Target().MustDump(t)
	for name, box := range want {
		if name == "INBOX" || name == "Archive" {
			continue // hold other messages as well
		}
		one, other := Dump{name: box}, Dump{name: got[name]}
		if diff := Diff(one.Content(), other.Content()); diff != "" {
			t.Errorf("embedded (-) and scripted (+):\n%s", diff)
		}
	}
}

// TestLibraryTakesTheDefaultScript: a client that closes the connection at
// whatever it does not understand gets along with the default.
func TestLibraryTakesTheDefaultScript(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{StartScripted(t, nil).Addr(), StartEmbedded(t, demo.Corpus(1, 60)).Addr()} {
		c, err := imapclient.DialInsecure(addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Login(EmbeddedUser, EmbeddedPassword).Wait(); err != nil {
			t.Fatal(err)
		}
		boxes, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true}}).Collect()
		if err != nil || len(boxes) < 3 || boxes[0].Status == nil {
			t.Errorf("LIST gave %d mailboxes, %v", len(boxes), err)
		}
		box, err := c.Select("INBOX", nil).Wait()
		if err != nil {
			t.Fatal(err)
		}
		all := imap.UIDSet{imap.UIDRange{Start: 1}}
		found, err := c.UIDSearch(&imap.SearchCriteria{}, &imap.SearchOptions{ReturnAll: true}).Wait()
		if err != nil || uint32(len(found.AllUIDs())) != box.NumMessages {
			t.Errorf("SEARCH: %v, want %d messages: %v", found, box.NumMessages, err)
		}
		messages, err := c.Fetch(all, &imap.FetchOptions{
			UID: true, Flags: true, InternalDate: true, RFC822Size: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}},
		}).Collect()
		if err != nil || uint32(len(messages)) != box.NumMessages {
			t.Errorf("FETCH gave %d messages, want %d: %v", len(messages), box.NumMessages, err)
		}
		for _, m := range messages {
			if got := int64(len(m.BodySection[0].Bytes)); got != m.RFC822Size {
				t.Errorf("uid %d: %d octets, want %d", m.UID, got, m.RFC822Size)
			}
		}
		flags := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged, "kw"}}
		if err := c.Store(imap.UIDSetNum(2), flags, nil).Close(); err != nil {
			t.Error(err)
		}
		moved, err := c.Move(imap.UIDSetNum(2), "Archive").Wait()
		if err != nil || moved.SourceUIDs.String() != "2" {
			t.Errorf("MOVE gave %+v, %v", moved, err)
		}
		appended := c.Append("Sent", 5, nil)
		if _, err := appended.Write([]byte("a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := appended.Close(); err != nil {
			t.Fatal(err)
		}
		if data, err := appended.Wait(); err != nil || data.UID == 0 {
			t.Errorf("APPEND gave %+v, %v", data, err)
		}
		if err := c.Logout().Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestQuirksDoWhatTheySay(t *testing.T) {
	t.Parallel()
	const fetch = "UID FETCH 6:8 (UID BODY.PEEK[])"
	for _, c := range []struct {
		quirk string
		steps [][2]string
	}{
		{"fetch-no", [][2]string{{"SELECT INBOX", "OK"}, {fetch, "NO [SERVERBUG]"}, {"UID FETCH 6 (UID BODY.PEEK[])", "OK"}}},
		{"fetch-omits-body", [][2]string{{"SELECT INBOX", "OK"}, {fetch, "* 7 FETCH (UID 7)"}}},
		{"fetch-uid-last", [][2]string{{"SELECT INBOX", "OK"}, {fetch, "} UID 7)"}}},
		{"fetch-twice", [][2]string{{"SELECT INBOX", "OK"}, {fetch, "})\n* 7 FETCH (UID 7 BODY[] {"}}},
		{"fetch-truncated", [][2]string{{"SELECT INBOX", "OK"}, {fetch, "unexpected EOF"}}},
		{"bye-between-messages", [][2]string{{"SELECT INBOX", "OK"}, {fetch, "* BYE [UNAVAILABLE]"}, {"NOOP", "raw client"}}},
		{"store-ignored", [][2]string{{"SELECT INBOX", "OK"}, {`UID STORE 1 +FLAGS (\Seen)`, "OK"}, {"UID FETCH 1 (FLAGS)", "FLAGS ()"}}},
		{"append-lost", [][2]string{{"APPEND Archive {2+}\r\nhi", "[APPENDUID 1002 3]"}, {"STATUS Archive (MESSAGES)", "(MESSAGES 2)"}}},
		{"append-twice", [][2]string{{"APPEND Archive {2+}\r\nhi", "[APPENDUID 1002 3]"}, {"STATUS Archive (MESSAGES)", "(MESSAGES 4)"}}},
		{"append-cut-after", [][2]string{{"APPEND Archive {2+}\r\nhi", "EOF"}}},
		{"search-empty", [][2]string{{"SELECT INBOX", "* 10 EXISTS"}, {"UID SEARCH RETURN (ALL) ALL", "UID\n"}}},
		{"uidvalidity-once", [][2]string{{"SELECT INBOX", "[UIDVALIDITY 1001]"}, {"SELECT INBOX", "[UIDVALIDITY 1002]"}, {"UID SEARCH ALL", "SEARCH 11 12"}}},
		{"list-misses", [][2]string{{`LIST "" "*"`, "INBOX"}, {"STATUS Archive (MESSAGES)", "OK"}}},
		{"read-only", [][2]string{{"SELECT INBOX", "[READ-ONLY]"}, {`UID STORE 1 +FLAGS (\Seen)`, "OK"}, {"UID FETCH 1 (FLAGS)", "FLAGS ()"}}},
		{"esearch-bad", [][2]string{{"SELECT INBOX", "OK"}, {"UID SEARCH RETURN (ALL) ALL", "BAD"}, {"UID SEARCH ALL", "SEARCH 1 2"}}},
		{"throttled", [][2]string{{"SELECT INBOX", "OK"}, {fetch, "OK"}, {fetch, "OK"}, {fetch, "Suggested Backoff Time"}, {fetch, "OK"}}},
		{"same-uid-other-message", [][2]string{{"SELECT INBOX", "OK"}, {"UID FETCH 7 (RFC822.SIZE)", "SIZE 108"}, {"SELECT INBOX", "OK"}, {"UID FETCH 7 (RFC822.SIZE)", "SIZE 72"}}},
		{"bare", [][2]string{{"CAPABILITY", "* CAPABILITY IMAP4rev1\n"}, {"SELECT INBOX (CONDSTORE)", "BAD"}, {"SELECT INBOX", "OK"}, {"UID MOVE 1 Archive", "BAD"}}},
	} {
		t.Run(c.quirk, func(t *testing.T) {
			t.Parallel()
			checkSession(t, StartScripted(t, ApplyQuirk(t, c.quirk)).Target(), c.steps)
		})
	}
}

func TestUnknownQuirkFailsTheTest(t *testing.T) {
	t.Parallel()
	if failed := caught(func(tb TB) { ApplyQuirk(tb, "no-such-quirk") }); !strings.Contains(failed, "no-such-quirk") {
		t.Errorf("an unknown quirk gave %q", failed)
	}
}

func TestScriptedAuthenticate(t *testing.T) {
	t.Parallel()
	s := StartScripted(t, nil)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "A AUTHENTICATE PLAIN\r\nAHUAcA==\r\nB AUTHENTICATE PLAIN AHUAcA==\r\nC LOGOUT\r\n")
	var got []string
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		word, _, _ := strings.Cut(lines.Text(), " [")
		got = append(got, word)
	}
	if want := []string{"* OK", "+ ", "A OK", "B OK", "* BYE bye", "C OK done"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzScriptCommand(f *testing.F) {
	for _, s := range standardSession {
		f.Add([]byte("T1 " + strings.ReplaceAll(s, "|", "\r\n")))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		cmd, err := parseScriptCommand(raw)
		if err == nil && cmd.Verb == "" {
			t.Errorf("%q has no verb", raw)
		}
		total := 0
		for _, a := range cmd.Args {
			total += len(a.Text)
		}
		if total > len(raw) {
			t.Errorf("%q grew to %d octets", raw, total)
		}
		list(cmd.Args)
	})
}

func TestSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set  string
		last uint32
		want []uint32
	}{
		{"1:3,7", 10, []uint32{1, 2, 3, 7}}, {"*", 10, []uint32{10}}, {"8:*", 10, []uint32{8, 9, 10}},
		{"20:*", 10, []uint32{10}}, {"3:1", 10, []uint32{1, 2, 3}},
	} {
		s, ok := parseSet(c.set)
		var got []uint32
		for n := range c.last + 1 {
			if s.has(n, c.last) {
				got = append(got, n)
			}
		}
		if !ok || !slices.Equal(got, c.want) {
			t.Errorf("%s gives %v, want %v", c.set, got, c.want)
		}
	}
	for _, s := range []string{"", "0", "1:", "a", "1,,2", "-1", "4294967296"} {
		if _, ok := parseSet(s); ok {
			t.Errorf("%q is taken for a set", s)
		}
	}
	if got, want := compact([]uint32{1, 2, 3, 7, 9, 10}), "1:3,7,9:10"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
