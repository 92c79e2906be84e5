package imapconn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"postbag/internal/mail"
)

// script connects to a server that answers the first commands with the given
// texts, in which "TAG" stands for the command's tag, and OK to all others.
func script(t testing.TB, answers ...string) *Conn {
	t.Helper()
	return dialPeer(t, testCaps, func(p *peer) {
		for _, answer := range answers {
			if p.command() == "" {
				return
			}
			p.raw(strings.ReplaceAll(answer, "TAG", p.tag))
		}
		p.rest()
	})
}

// alive fails the test unless the connection takes commands, ours and the
// library's.
func alive(t *testing.T, c *Conn) {
	t.Helper()
	if _, err := c.Command(t.Context(), nil, Raw("NOOP")); err != nil {
		t.Errorf("the next command fails: %v", err)
	}
	if err := c.Client().Noop().Wait(); err != nil {
		t.Errorf("the library's next command fails: %v", err)
	}
}

// What must cost nothing at all, whoever's command it comes with.
func TestOddResponsesAreDropped(t *testing.T) {
	for name, response := range map[string]string{
		"unknown untagged":             "* FOO bar baz\r\n",
		"apple push":                   "* XAPPLEPUSHSERVICE \"a\" \"b\"\r\n",
		"vanished":                     "* VANISHED 1:5\r\n",
		"xlist":                        "* XLIST (\\Inbox) \"/\" INBOX\r\n",
		"lsub":                         "* LSUB () \"/\" x\r\n",
		"untagged OK without text":     "* OK\r\n",
		"untagged OK and a blank":      "* OK \r\n",
		"code only":                    "* OK [ALERT]\r\n",
		"unknown code":                 "* OK [FOO bar] x\r\n",
		"code with a list":             "* OK [BADCHARSET (UTF-8 \"x]\")] x\r\n",
		"empty line":                   "\r\n",
		"blanks":                       "   \r\n",
		"star only":                    "*\r\n",
		"star and blank":               "* \r\n",
		"star and number":              "* 5\r\n",
		"star and huge number":         "* 99999999999999999999 EXISTS\r\n",
		"NO alert":                     "* NO [ALERT] disk nearly full\r\n",
		"empty code":                   "* OK [] hello\r\n",
		"unclosed code":                "* OK [UIDVALIDITY 7 hello\r\n",
		"unclosed code, later bracket": "* OK [UIDVALIDITY 7 hello\r\n* OK ]\r\n",
		"stray continuation":           "+ go ahead\r\n",
		"stray continuation, bare":     "+\r\n",
		"unknown tag":                  "Z99 OK done\r\n",
		"tag only":                     "Z99\r\n",
		"LF only":                      "* OK hello\n* 3 EXISTS\n",
		"text like a literal":          "* OK see {5}\r\n",
		"lower case":                   "* ok [uidvalidity 7] hello\r\n* 3 exists\r\n",
		"UIDNEXT overflow":             "* OK [UIDNEXT 99999999999] x\r\n",
		"UIDVALIDITY not a number":     "* OK [UIDVALIDITY abc] x\r\n",
		"HIGHESTMODSEQ empty":          "* OK [HIGHESTMODSEQ] x\r\n",
		"PERMANENTFLAGS bad":           "* OK [PERMANENTFLAGS (\\Seen [Gmail] a]b \\ %x \\*)] x\r\n",
		"PERMANENTFLAGS no list":       "* OK [PERMANENTFLAGS \\Seen] x\r\n",
		"FLAGS bad":                    "* FLAGS (\\Seen [Gmail]/Trash \"x\" caf\xc3\x89)\r\n",
		"FLAGS no list":                "* FLAGS NIL\r\n",
		"COPYUID zero":                 "* OK [COPYUID 1 0 0] x\r\n",
		"COPYUID empty":                "* OK [COPYUID] x\r\n",
		"APPENDUID zero":               "* OK [APPENDUID 0 0] x\r\n",
		"capability bad":               "* CAPABILITY IMAP4rev1 (x) [y] \"z\"\r\n",
		"capability empty":             "* CAPABILITY\r\n",
		"id NIL value":                 "* ID (\"name\" NIL)\r\n",
		"fetch of nobody":              "* 4 FETCH (UID 7 FLAGS (\\Seen) X-GM-MSGID 5 EMAILID (M1))\r\n",
		"fetch with a body":            "* 4 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n",
		"fetch without a list":         "* 4 FETCH\r\n",
		"uidfetch":                     "* 4 UIDFETCH (FLAGS (\\Seen))\r\n",
		"search of nobody":             "* SEARCH 1 2 3\r\n",
		"esearch of nobody":            "* ESEARCH (TAG \"x\") UID ALL 1:4294967295\r\n",
		"status of nobody":             "* STATUS x (MESSAGES 99999999999 FOO (a b))\r\n",
		"list of nobody":               "* LIST (\\Noselect) \"/\" \"x\"\r\n",
		"list without a name":          "* LIST () \"/\"\r\n",
		"namespace bad":                "* NAMESPACE ((\r\n",
		"expunge zero":                 "* 0 EXPUNGE\r\n",
		"NUL":                          "* OK \x00\x01\x02\r\n",
		"literal in something unknown": "* FOO {5}\r\nhello bar\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := script(t, response+"TAG OK done\r\n", response+"TAG OK done\r\n", response+"TAG OK\r\n", "TAG OK \r\n")
			within(t, 10*time.Second, func() {
				for range 2 {
					if _, err := c.Command(t.Context(), func(Response) error { return nil }, Raw("NOOP")); err != nil {
						t.Error(err)
					}
					if err := c.Client().Noop().Wait(); err != nil {
						t.Errorf("library: %v", err)
					}
				}
				alive(t, c)
			})
		})
	}
}

// What ends the connection, and must end it with the reason and in time.
func TestConnectionEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		close  func(net.Conn)
		kind   mail.Kind
		want   string
	}{
		"bye":                 {answer: "* BYE [UNAVAILABLE] maintenance\r\n", kind: mail.KindUnreachable, want: "maintenance"},
		"bye, throttled":      {answer: "* BYE Too many simultaneous connections\r\n", kind: mail.KindThrottled, want: "simultaneous"},
		"bye without a close": {answer: "* BYE idle for too long\r\n", close: func(net.Conn) { time.Sleep(20 * time.Second) }, kind: mail.KindUnreachable, want: "idle for too long"},
		"end in a line":       {answer: "* OK hal", kind: mail.KindUnreachable, want: "closed the connection"},
		"end in a literal":    {answer: "* LIST () \"/\" {50}\r\nhal", kind: mail.KindUnreachable, want: "closed the connection"},
		"reset": {answer: "* OK hal", kind: mail.KindUnreachable, want: "reset", close: func(conn net.Conn) {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}},
		"tagged nonsense":    {answer: "TAG MAYBE done\r\n", kind: mail.KindProtocol, want: "neither OK nor NO"},
		"a literal too long": {answer: "* LIST () \"/\" {99999999999999999999}\r\n", kind: mail.KindProtocol, want: "beyond all bounds"},
		"a literal of 4 GiB": {answer: "* LIST () \"/\" {4294967296}\r\n", kind: mail.KindProtocol, want: "4294967296"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dialPeer(t, testCaps, func(p *peer) {
				p.command()
				p.raw(strings.ReplaceAll(tt.answer, "TAG", p.tag))
				if tt.close != nil {
					tt.close(p.conn)
				}
			})
			within(t, 10*time.Second, func() {
				_, err := c.Command(t.Context(), nil, Raw("NOOP"))
				e := mail.AsError(err)
				if err == nil || e.Kind != tt.kind || !strings.Contains(err.Error(), tt.want) || e.Kind == mail.KindUnreachable && !e.Temporary {
					t.Errorf("error = %#v: %v; want kind %d, %q", e, err, tt.kind, tt.want)
				}
				if c.Err() == nil {
					t.Error("the connection counts as alive")
				}
			})
		})
	}
}

// fetched is one message as FetchBodies gave it, in one line.
func fetchAll(t *testing.T, c *Conn, uids ...uint32) (got []string, err error) {
	within(t, 20*time.Second, func() {
		err = c.FetchBodies(t.Context(), NewUIDSet(uids...), func(it Item, size int64, body io.Reader) error {
			b, err := io.ReadAll(body)
			line := fmt.Sprintf("%d %q", it.UID, b)
			if it.HasFlags {
				line += " (" + it.Flags.String() + ")"
			}
			if !it.Date.IsZero() {
				line += " " + it.Date.Format(time.DateOnly)
			}
			if err == nil && size != int64(len(b)) {
				line += " wrong size"
			}
			if err != nil {
				line += fmt.Sprintf(" scope %d", mail.AsError(err).Scope)
			}
			got = append(got, line)
			return nil
		})
	})
	return got, err
}

func TestOddBodies(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string   // to UID FETCH 1:2; "TAG OK done" follows unless there is one in it
		more   []string // to further commands
		want   string
		err    string // in the error; "" for none
		dead   bool
	}{
		"plain":                {answer: "* 1 FETCH (UID 1 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {5}\r\nhello)\r\n", want: `1 "hello" (\Seen) 1996-07-17`},
		"nil":                  {answer: "* 1 FETCH (UID 1 BODY[] NIL)\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\n", want: `2 "x"`},
		"empty literal":        {answer: "* 1 FETCH (UID 1 BODY[] {0}\r\n)\r\n", want: `1 ""`},
		"quoted":               {answer: "* 1 FETCH (UID 1 FLAGS () BODY[] \"a \\\"b\\\"\")\r\n", want: `1 "a \"b\"" ()`},
		"empty quoted":         {answer: "* 1 FETCH (UID 1 BODY[] \"\")\r\n", want: `1 ""`},
		"literal8":             {answer: "* 1 FETCH (UID 1 BODY[] ~{5}\r\nhello)\r\n", want: `1 "hello"`},
		"non-sync literal":     {answer: "* 1 FETCH (UID 1 BODY[] {5+}\r\nhello)\r\n", want: `1 "hello"`},
		"lower case":           {answer: "* 1 fetch (uid 1 flags (\\seen) body[] {5}\r\nhello)\r\n", want: `1 "hello" (\Seen)`},
		"RFC822":               {answer: "* 1 FETCH (UID 1 RFC822 {5}\r\nhello)\r\n", want: `1 "hello"`},
		"other uid first":      {answer: "* 9 FETCH (UID 99 BODY[] {5}\r\nwrong)\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n", want: `1 "hello"`},
		"flags without uid":    {answer: "* 1 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n", want: `1 "hello"`},
		"flags in a line":      {answer: "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (7))\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n", want: `1 "hello" (\Seen)`},
		"uid behind":           {answer: "* 1 FETCH (BODY[] {5}\r\nhello FLAGS (\\Seen) UID 1)\r\n", want: `1 "hello" (\Seen)`},
		"flags behind":         {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhello FLAGS (\\Seen))\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\n", want: `1 "hello"; 2 "x"`},
		"twice":                {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nworld)\r\n", want: `1 "hello"`},
		"out of order":         {answer: "* 2 FETCH (UID 2 BODY[] {1}\r\nb)\r\n* 1 FETCH (UID 1 BODY[] {1}\r\na)\r\n", want: `2 "b"; 1 "a"`},
		"missing":              {answer: "", want: ""},
		"no uid at all":        {answer: "* 1 FETCH (BODY[] {5}\r\nhello)\r\n", want: ""},
		"uid 0":                {answer: "* 1 FETCH (UID 0 BODY[] {5}\r\nhello)\r\n", want: ""},
		"uid overflow":         {answer: "* 1 FETCH (UID 4294967297 BODY[] {5}\r\nhello)\r\n", want: ""},
		"NO with some":         {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\nTAG NO [SERVERBUG] some could not be read\r\n", want: `1 "hello"`, err: "some could not be read"},
		"BAD":                  {answer: "TAG BAD what\r\n", err: "BAD what"},
		"header for body":      {answer: "* 1 FETCH (UID 1 BODY[HEADER] {5}\r\nhello)\r\n", want: ""},
		"part for body":        {answer: "* 1 FETCH (UID 1 BODY[]<0> {5}\r\nhello)\r\n", want: ""},
		"unknown items":        {answer: "* 1 FETCH (X-GM-MSGID 5 X-GM-LABELS (\"a b\" {3}\r\nx)y \\Inbox) UID 1 EMAILID (M1) FLAGS (\\Seen) BODY[] {5}\r\nhello)\r\n", want: `1 "hello" (\Seen)`},
		"odd flags":            {answer: "* 1 FETCH (UID 1 FLAGS (\\Seen [Gmail] \\ % \"x\" caf\xc3\x89  ok \\Recent ) BODY[] {5}\r\nhello)\r\n", want: `1 "hello" (\Seen ok)`},
		"flags NIL":            {answer: "* 1 FETCH (UID 1 FLAGS NIL BODY[] {5}\r\nhello)\r\n", want: `1 "hello"`},
		"odd date":             {answer: "* 1 FETCH (UID 1 INTERNALDATE NIL BODY[] {5}\r\nhello)\r\n* 2 FETCH (UID 2 INTERNALDATE \"31-Feb-2020 00:00:00 +0000\" BODY[] {1}\r\nx)\r\n", want: `1 "hello"; 2 "x"`},
		"LF only":              {answer: "* 1 FETCH (UID 1 BODY[] {5}\nhello)\n", want: `1 "hello"`},
		"blank before the end": {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhello ) \r\n", want: `1 "hello"`},
		"responses between":    {answer: "* 5 EXISTS\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n* 1 EXPUNGE\r\n* VANISHED 4\r\n+ what\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\n", want: `1 "hello"; 2 "x"`},
		"garbage behind":       {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhelloX)\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\n", want: `1 "hello" scope 1; 2 "x"`},
		"another uid behind":   {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhello UID 2)\r\n", want: `1 "hello" scope 1`},
		"length too short":     {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhello, this is\r\nthe text of it\r\n)\r\n", want: `1 "hello" scope 1`, err: "length was wrong", dead: true},
		"negative length":      {answer: "* 1 FETCH (UID 1 BODY[] {-5}\r\nhello)\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\n", want: `2 "x"`},
		"length overflow":      {answer: "* 1 FETCH (UID 1 BODY[] {99999999999999999999}\r\nhello)\r\n", err: "beyond all bounds", dead: true},
		"cut short":            {answer: "* 1 FETCH (UID 1 BODY[] {100}\r\nonly a few", want: `1 "only a few" scope 3`, err: "closed the connection", dead: true},
		"cut behind the body":  {answer: "* 1 FETCH (UID 1 BODY[] {5}\r\nhello", want: `1 "hello" scope 3`, err: "closed the connection", dead: true},
		"unclosed quote":       {answer: "* 1 FETCH (UID 1 BODY[] \"hello)\r\n* 2 FETCH (UID 2 BODY[] {1}\r\nx)\r\n", want: `2 "x"`},
		"uid behind a large body": {
			answer: "* 1 FETCH (BODY[] {5000000}\r\n" + strings.Repeat("x", 5000000) + " UID 1)\r\n",
			more: []string{
				"* 1 FETCH (UID 1 FLAGS (\\Draft) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")\r\nTAG OK done\r\n",
				"* 1 FETCH (BODY[] {5}\r\nhello UID 1)\r\nTAG OK done\r\n",
			},
			want: `1 "hello" (\Draft) 1996-07-17`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := tt.answer
			if !strings.Contains(answer, "TAG ") && !strings.HasPrefix(name, "cut") {
				answer += "TAG OK done\r\n"
			}
			c := dialPeer(t, testCaps, func(p *peer) {
				for _, answer := range append([]string{answer}, tt.more...) {
					p.command()
					p.raw(strings.ReplaceAll(answer, "TAG", p.tag))
				}
				if !strings.HasPrefix(name, "cut") {
					p.rest()
				}
			})
			got, err := fetchAll(t, c, 1, 2)
			if text := strings.Join(got, "; "); text != tt.want {
				t.Errorf("got  %s\nwant %s", text, tt.want)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error = %v, want %q", err, tt.err)
			}
			if _, ok := errors.AsType[*mail.Error](err); err != nil && !ok {
				t.Errorf("%v is no *mail.Error", err)
			}
			if tt.dead != (c.Err() != nil) {
				t.Errorf("Err = %v, want dead %v", c.Err(), tt.dead)
			}
			if !tt.dead {
				alive(t, c)
			}
		})
	}
}

// A server that sends IDs without being asked gives one to all messages, perhaps: they
// are not taken.
func TestIDsAreTakenWhenAskedFor(t *testing.T) {
	t.Parallel()
	for asked, want := range map[Items]string{Flags: "", Flags | EmailID: "M1", Flags | GmailMsgID: "7"} {
		c := script(t, "* 1 FETCH (X-GM-MSGID 7 UID 5 FLAGS () EMAILID (M1))\r\nTAG OK done\r\n")
		got := "-"
		err := c.FetchList(t.Context(), NewUIDSet(5, 5), asked, 0, false, func(it Item) error {
			got = it.EmailID
			return nil
		}, nil)
		if err != nil || got != want {
			t.Errorf("asked for %v: got %q, %v, want %q", asked, got, err, want)
		}
	}
}

func TestOddListings(t *testing.T) {
	for name, tt := range map[string]struct{ line, want string }{
		"all":             {`UID 5 FLAGS (\Seen) MODSEQ (77) RFC822.SIZE 9 INTERNALDATE "17-Jul-1996 02:44:25 +0200" EMAILID (M1)`, `5 (\Seen) 77 9 1996-07-17T00:44:25 M1`},
		"uid last":        {`FLAGS (\Seen) UID 5`, `5 (\Seen) 0 -1 - `},
		"no uid":          {`FLAGS (\Seen)`, ``},
		"not asked for":   {`UID 9999 FLAGS (\Seen)`, ``},
		"gmail":           {`X-GM-MSGID 1278455344230334865 UID 5 X-GM-LABELS (\Inbox "a b" Foo)`, `5 - 0 -1 - 1278455344230334865 \Inbox|a b|Foo`},
		"size negative":   {`UID 5 RFC822.SIZE -1`, `5 - 0 -1 - `},
		"size NIL":        {`UID 5 RFC822.SIZE NIL`, `5 - 0 -1 - `},
		"modseq bare":     {`UID 5 MODSEQ 7`, `5 - 7 -1 - `},
		"modseq too big":  {`UID 5 MODSEQ (99999999999999999999)`, `5 - 0 -1 - `},
		"recent":          {`UID 5 FLAGS (\Recent \seen)`, `5 (\Seen) 0 -1 - `},
		"keyword percent": {`UID 5 FLAGS (100% x)`, `5 (x) 0 -1 - `},
		"flags nested":    {`UID 5 FLAGS (\Seen (x) y)`, `5 (\Seen y) 0 -1 - `},
		"date, one digit": {`UID 5 INTERNALDATE "1-Jan-2020 00:00:00 +0000"`, `5 - 0 -1 2020-01-01T00:00:00 `},
		"date, blank":     {`UID 5 INTERNALDATE " 1-jan-2020 00:00:00 +0000"`, `5 - 0 -1 2020-01-01T00:00:00 `},
		"date, zone 24":   {`UID 5 INTERNALDATE "02-Jan-2020 00:00:00 +2400"`, `5 - 0 -1 2020-01-01T00:00:00 `},
		"date NIL":        {`UID 5 INTERNALDATE NIL`, `5 - 0 -1 - `},
		"date empty":      {`UID 5 INTERNALDATE ""`, `5 - 0 -1 - `},
		"date ISO":        {`UID 5 INTERNALDATE "2020-01-01 00:00:00 +0000"`, `5 - 0 -1 - `},
		"date, no zone":   {`UID 5 INTERNALDATE "01-Jan-2020 00:00:00"`, `5 - 0 -1 - `},
		"date, GMT":       {`UID 5 INTERNALDATE "01-Jan-2020 00:00:00 GMT"`, `5 - 0 -1 - `},
		"date, 31 Feb":    {`UID 5 INTERNALDATE "31-Feb-2020 00:00:00 +0000"`, `5 - 0 -1 - `},
		"date, year 0":    {`UID 5 INTERNALDATE "00-Jan-0000 00:00:00 +0000"`, `5 - 0 -1 - `},
		"date, second 60": {`UID 5 INTERNALDATE "01-Jan-2020 00:00:60 +0000"`, `5 - 0 -1 - `},
		"unknown items":   {`X-FOO (a (b "c)")) UID 5 ENVELOPE ("x" NIL) FLAGS ()`, `5 () 0 -1 - `},
		"two blanks":      {`UID  5  FLAGS  (\Seen)`, `5 (\Seen) 0 -1 - `},
		"header":          {"UID 5 BODY[HEADER.FIELDS (MESSAGE-ID)] {21}\r\nMessage-ID: <a@b>\r\n\r\n", `5 - 0 -1 -  id`},
		"header, quoted":  {"UID 5 BODY[HEADER.FIELDS (\"MESSAGE-ID\")] {21}\r\nmessage-id: <a@b>\r\n\r\n", `5 - 0 -1 -  id`},
		"header, folded":  {"UID 5 BODY[HEADER.FIELDS (MESSAGE-ID)] {23}\r\nMessage-ID:\r\n <a@b>\r\n\r\n", `5 - 0 -1 -  id`},
		"header, empty":   {"UID 5 BODY[HEADER.FIELDS (MESSAGE-ID)] {2}\r\n\r\n", `5 - 0 -1 -  noid`},
		"header, NIL":     {"UID 5 BODY[HEADER.FIELDS (MESSAGE-ID)] NIL", `5 - 0 -1 - `},
		"unclosed list":   {`UID 5 FLAGS (\Seen`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := script(t, "* 1 FETCH ("+tt.line+")\r\nTAG OK done\r\n")
			var set UIDSet
			set.AddRange(1, 100)
			got := ""
			err := c.FetchList(t.Context(), set, Flags|EmailID|GmailMsgID, 0, false, func(it Item) error {
				got = fmt.Sprint(it.UID)
				if it.HasFlags {
					got += " (" + it.Flags.String() + ")"
				} else {
					got += " -"
				}
				got += fmt.Sprintf(" %d %d ", it.ModSeq, it.Size)
				if it.Date.IsZero() {
					got += "- "
				} else {
					got += it.Date.Format("2006-01-02T15:04:05 ")
				}
				got += it.EmailID
				if len(it.GmailLabels) > 0 {
					got += " " + strings.Join(it.GmailLabels, "|")
				}
				switch {
				case it.HasHeader && it.MessageID == mail.HashMessageID("<a@b>"):
					got += " id"
				case it.HasHeader && it.MessageID == 0:
					got += " noid"
				}
				return nil
			}, nil)
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			alive(t, c)
		})
	}
}

func TestOddMailboxNames(t *testing.T) {
	for name, tt := range map[string]struct {
		line    string
		want    string // attributes, delimiter, name as ParseList has them
		library string
	}{
		"plain":               {`(\HasNoChildren) "/" INBOX`, `[\HasNoChildren] "/" "INBOX"`, "INBOX"},
		"bad utf7":            {`() "/" "A&B"`, `[] "/" "A&B"`, "=raw=412642"},
		"lone surrogate":      {`() "/" "&2D0-"`, `[] "/" "&2D0-"`, "=raw=263244302d"},
		"adjacent shifts":     {`() "/" "&AOk-&AOk-"`, `[] "/" "&AOk-&AOk-"`, "=raw=26414f6b2d26414f6b2d"},
		"latin1":              {"() \"/\" \"caf\xe9\"", "[] \"/\" \"caf\\xe9\"", "=raw=636166e9"},
		"raw utf8":            {`() "/" "café"`, `[] "/" "café"`, "café"},
		"control":             {"() \"/\" \"a\tb\"", `[] "/" "a\tb"`, "=raw=610962"},
		"literal":             {"() \"/\" {7}\r\nfoo\"bar", `[] "/" "foo\"bar"`, `foo"bar`},
		"literal with a CR":   {"() \"/\" {7}\r\nfoo\r\nar", `[] "/" "foo\r\nar"`, `=raw=666f6f0d0a6172`},
		"backslash unquoted":  {`() "\\" foo\bar`, `[] "\\" "foo\\bar"`, `foo\bar`},
		"empty":               {`(\Noselect) "/" ""`, `[\Noselect] "/" ""`, ""},
		"NIL delimiter":       {`() NIL foo`, `[] "" "foo"`, "foo"},
		"two-char delimiter":  {`() "//" foo`, `[] "//" "foo"`, "foo"},
		"empty delimiter":     {`() "" foo`, `[] "" "foo"`, "foo"},
		"brackets":            {`() "/" [Gmail]/All`, `[] "/" "[Gmail]/All"`, "[Gmail]/All"},
		"blank unquoted":      {`() "/" Sent Items`, `[] "/" "Sent Items"`, "Sent Items"},
		"paren":               {`() "/" "a (b)"`, `[] "/" "a (b)"`, "a (b)"},
		"extended":            {`(\Sent) "." INBOX.Sent ("CHILDINFO" ("SUBSCRIBED"))`, `[\Sent] "." "INBOX.Sent" 2`, "INBOX.Sent"},
		"extended, quoted":    {`(\Sent) "." "a b" (OLDNAME ("x"))`, `[\Sent] "." "a b" 2`, "a b"},
		"attributes bad":      {`(\HasNoChildren [x] "y") "/" z`, `[\HasNoChildren [x] "y"] "/" "z"`, "z"},
		"trailing blank":      {`() "/" z `, `[] "/" "z"`, "z"},
		"quoted with a brace": {`() "/" "z {5}"`, `[] "/" "z {5}"`, "z {5}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := "* LIST " + tt.line + "\r\nTAG OK done\r\n"
			c := script(t, answer, answer)
			got := ""
			_, err := c.Command(t.Context(), func(r Response) error {
				if m, ok := ParseList(r); ok {
					got = fmt.Sprintf("%v %q %q", m.Attrs, m.Delim, m.Name)
					if len(m.Extended) > 0 {
						got += fmt.Sprint(" ", len(m.Extended))
					}
				}
				return nil
			}, Raw("LIST"), Str(""), Str("*"))
			if err != nil || got != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
			list, err := c.Client().List("", "*", nil).Collect()
			if err != nil || len(list) != 1 || list[0].Mailbox != tt.library {
				t.Errorf("library: %+v, %v; want %q", list, err, tt.library)
			}
			alive(t, c)
		})
	}
}

func TestOddSelect(t *testing.T) {
	for name, tt := range map[string]struct{ answer, want string }{
		"plain":           {"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 9] x\r\n* OK [HIGHESTMODSEQ 5] x\r\n* OK [MAILBOXID (F1)] x\r\nTAG OK [READ-WRITE] done\r\n", "7 9 3 5 false F1"},
		"lower case":      {"* 3 exists\r\n* ok [uidvalidity 7] x\r\nTAG ok [read-only] done\r\n", "7 0 3 0 true "},
		"uidnext 0":       {"* OK [UIDNEXT 0] x\r\nTAG OK done\r\n", "0 0 0 0 false "},
		"uidnext big":     {"* OK [UIDNEXT 4294967296] x\r\nTAG OK done\r\n", "0 0 0 0 false "},
		"uidvalidity big": {"* OK [UIDVALIDITY 99999999999] x\r\nTAG OK done\r\n", "0 0 0 0 false "},
		"nothing":         {"TAG OK\r\n", "0 0 0 0 false "},
		"modseq huge":     {"* OK [HIGHESTMODSEQ 18446744073709551615]\r\nTAG OK done\r\n", "0 0 0 18446744073709551615 false "},
		"nomodseq":        {"* OK [NOMODSEQ] x\r\nTAG OK done\r\n", "0 0 0 0 false  nomodseq"},
		"closed":          {"* 9 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 5] x\r\n* OK [CLOSED] x\r\n* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nTAG OK done\r\n", "7 0 2 0 false "},
		"permanent":       {"* OK [PERMANENTFLAGS (\\Seen [Gmail] ok \\*)] x\r\nTAG OK done\r\n", "0 0 0 0 false  perm \\Seen ok any"},
		"permanent empty": {"* OK [PERMANENTFLAGS ()] x\r\nTAG OK done\r\n", "0 0 0 0 false  perm "},
		"permanent bare":  {"* OK [PERMANENTFLAGS \\Seen \\Draft] x\r\nTAG OK done\r\n", "0 0 0 0 false  perm \\Seen \\Draft"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := script(t, tt.answer)
			sel, err := c.Select(t.Context(), []byte("x"), false)
			got := fmt.Sprintf("%d %d %d %d %v %s", sel.UIDValidity, sel.UIDNext, sel.Exists, sel.HighestModSeq, sel.ReadOnly, sel.MailboxID)
			if sel.NoModSeq {
				got += " nomodseq"
			}
			if sel.HasPermanent {
				got += " perm " + sel.PermanentFlags.String()
			}
			if sel.PermanentAny {
				got += " any"
			}
			if err != nil || got != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
			alive(t, c)
		})
	}
}

func TestOddSearch(t *testing.T) {
	for name, tt := range map[string]struct {
		answer, want string
		fails        bool
	}{
		"plain":          {answer: "* SEARCH 1 2 3 9\r\n", want: "1:3,9"},
		"trailing blank": {answer: "* SEARCH 1 2 3 \r\n", want: "1:3"},
		"two lines":      {answer: "* SEARCH 1 2 3\r\n* SEARCH 7 8\r\n", want: "1:3,7:8"},
		"unsorted":       {answer: "* SEARCH 9 1 5 2 9\r\n", want: "1:2,5,9"},
		"empty":          {answer: "* SEARCH\r\n", want: ""},
		"no answer":      {answer: "", want: ""},
		"modseq":         {answer: "* SEARCH 1 2 (MODSEQ 9)\r\n", want: "1:2"},
		"esearch":        {answer: "* ESEARCH (TAG \"TAG\") UID ALL 1:3,9\r\n", want: "1:3,9"},
		"esearch empty":  {answer: "* ESEARCH (TAG \"TAG\") UID\r\n", want: ""},
		"esearch all":    {answer: "* ESEARCH (TAG \"TAG\") UID ALL 1:4294967295\r\n", want: "1:4294967295"},
		"esearch lower":  {answer: "* esearch (tag \"TAG\") uid all 4,2\r\n", want: "2,4"},
		"zero":           {answer: "* SEARCH 0 1\r\n", fails: true},
		"too big":        {answer: "* SEARCH 1 4294967296\r\n", fails: true},
		"words":          {answer: "* SEARCH 1 x\r\n", fails: true},
		"star":           {answer: "* ESEARCH (TAG \"TAG\") UID ALL 1:*\r\n", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := script(t, tt.answer+"TAG OK done\r\n")
			set, err := c.Search(t.Context(), "ALL")
			if (err != nil) != tt.fails || set.String() != tt.want {
				t.Errorf("got %q, %v; want %q, failure %v", set, err, tt.want, tt.fails)
			}
			alive(t, c)
		})
	}
}

// The library's own commands, through the filter.
func TestLibrarySurvives(t *testing.T) {
	t.Run("status", func(t *testing.T) {
		c := script(t, "* ID (\"name\" NIL)\r\n* STATUS x (MESSAGES 3 FOO (a b) UIDNEXT 99999999999 UIDVALIDITY 7)\r\nTAG OK done\r\n")
		data, err := c.Client().Status("x", &imap.StatusOptions{NumMessages: true}).Wait()
		if err != nil || data.NumMessages == nil || *data.NumMessages != 3 || data.UIDValidity != 7 || data.UIDNext != 0 {
			t.Errorf("Status = %+v, %v", data, err)
		}
		alive(t, c)
	})
	t.Run("copy", func(t *testing.T) {
		c := script(t, "TAG OK [COPYUID 7 1:2 0] done\r\n", "TAG OK [copyuid 7 1:2 5:6] done\r\n")
		if _, err := c.Client().Copy(imap.UIDSetNum(1), "x").Wait(); err != nil {
			t.Error(err)
		}
		data, err := c.Client().Copy(imap.UIDSetNum(1), "x").Wait()
		if err != nil || data.UIDValidity != 7 || data.DestUIDs.String() != "5:6" {
			t.Errorf("Copy = %+v, %v", data, err)
		}
		alive(t, c)
	})
	t.Run("fetch", func(t *testing.T) {
		big := strings.Repeat("0123456789", 200_000)
		c := script(t, "* 1 FETCH (UID 1 X-GM-MSGID 5 FLAGS (\\Seen a]b) INTERNALDATE \"bad\" RFC822.SIZE -1 ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) MODSEQ (5))\r\n"+
			"* 2 FETCH (UID 2 X {5}\r\nhello BODY[HEADER] {2000000}\r\n"+big+" EMAILID (x) FLAGS (\\Draft))\r\n* 3 FETCH (UID 3 BODY[HEADER] {4}\r\nx: y)\r\nTAG OK done\r\n")
		var set imap.UIDSet
		set.AddRange(1, 3)
		msgs, err := c.Client().Fetch(set, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Specifier: imap.PartSpecifierHeader}}}).Collect()
		if err != nil || len(msgs) != 3 {
			t.Fatalf("Fetch = %d messages, %v", len(msgs), err)
		}
		if fmt.Sprint(msgs[0].Flags, msgs[0].ModSeq, msgs[0].Envelope != nil) != `[\Seen] 5 true` {
			t.Errorf("message 1 = %+v", msgs[0])
		}
		if len(msgs[1].BodySection) != 1 || string(msgs[1].BodySection[0].Bytes) != big || fmt.Sprint(msgs[1].Flags) != `[\Draft]` {
			t.Errorf("message 2 has %d sections, flags %v", len(msgs[1].BodySection), msgs[1].Flags)
		}
		if len(msgs[2].BodySection) != 1 || string(msgs[2].BodySection[0].Bytes) != "x: y" {
			t.Errorf("message 3 = %+v", msgs[2])
		}
		alive(t, c)
	})
	t.Run("search", func(t *testing.T) {
		c := script(t, "* SEARCH 1 x 0 99999999999 3 \r\nTAG OK done\r\n")
		data, err := c.Client().UIDSearch(&imap.SearchCriteria{}, nil).Wait()
		if err != nil || data.All.String() != "1,3" {
			t.Errorf("UIDSearch = %+v, %v", data, err)
		}
		alive(t, c)
	})
	t.Run("append refused", func(t *testing.T) {
		c := script(t, "TAG NO [TRYCREATE] no such mailbox\r\n")
		within(t, 10*time.Second, func() {
			cmd := c.Client().Append("x", 9000, nil)
			_, _ = cmd.Write(make([]byte, 9000))
			_ = cmd.Close()
			if _, err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "TRYCREATE") {
				t.Errorf("error = %v", err)
			}
		})
	})
	t.Run("name that needs a literal", func(t *testing.T) {
		lines := make(chan string, 4)
		c := dialPeer(t, testCaps, func(p *peer) {
			lines <- p.command()
			p.send("+ go")
			lines <- p.line()
			p.send("TAG OK done")
			p.rest()
		})
		within(t, 10*time.Second, func() {
			if err := c.Client().Login("bob", "p\xc3\xa9").Wait(); err != nil {
				t.Error(err)
			}
			if got := <-lines + <-lines; got != `LOGIN "bob" {3}`+"p\xc3\xa9" {
				t.Errorf("sent %q", got)
			}
			alive(t, c)
		})
	})
}
