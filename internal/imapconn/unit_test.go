package imapconn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
)

// A set is what a map would be: random additions against the model.
func TestUIDSetModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var s UIDSet
		model := make(map[uint32]bool)
		for range 1 + rnd.IntN(40) {
			lo := 1 + rnd.Uint32N(60)
			hi := lo + rnd.Uint32N(1+rnd.Uint32N(8))
			if rnd.IntN(2) == 0 {
				lo, hi = hi, lo
			}
			s.AddRange(lo, hi)
			for uid := min(lo, hi); uid <= max(lo, hi); uid++ {
				model[uid] = true
			}
		}
		var uids []uint32
		for uid := range uint32(80) {
			if s.Contains(uid) != model[uid] {
				t.Fatalf("seed %d: Contains(%d) = %v", seed, uid, !model[uid])
			}
			if model[uid] {
				uids = append(uids, uid)
			}
		}
		if got := NewUIDSet(uids...).String(); s.Count() != len(model) || got != s.String() {
			t.Fatalf("seed %d: Count = %d, set %s; want %d, %s", seed, s.Count(), s, len(model), got)
		}
		back, err := ParseUIDSet(s.String())
		if err != nil || !slices.Equal(back.Ranges(), s.Ranges()) {
			t.Fatalf("seed %d: ParseUIDSet(%q) = %v, %v", seed, s, back, err)
		}
		size := 5 + rnd.IntN(20)
		var joined []string
		for _, chunk := range s.Chunks(size) {
			text := chunk.String()
			joined = append(joined, text)
			if len(text) > size && strings.Contains(text, ",") {
				t.Fatalf("seed %d: chunk %q is longer than %d", seed, text, size)
			}
		}
		if strings.Join(joined, ",") != s.String() {
			t.Fatalf("seed %d: chunks %q of %q", seed, joined, s)
		}
	}
}

func TestUIDSetEdges(t *testing.T) {
	t.Parallel()
	var s UIDSet
	s.AddRange(0, 0)
	if !s.IsEmpty() || s.String() != "" || s.Count() != 0 || len(s.Chunks(0)) != 0 {
		t.Errorf("a set of nothing is %q", s)
	}
	s.AddRange(math.MaxUint32, math.MaxUint32-1)
	s.Add(1)
	s.AddRange(0, 2)
	if got, want := s.String(), "1:2,4294967294:4294967295"; got != want || s.Count() != 4 {
		t.Errorf("got %s, want %s", got, want)
	}
	s.AddRange(3, math.MaxUint32)
	if got, want := s.String(), "1:4294967295"; got != want || uint64(s.Count()) != min(math.MaxUint32, math.MaxInt) {
		t.Errorf("got %s, %d, want %s", got, s.Count(), want)
	}
	if got := NewUIDSet(9, 3, 4, 3, 0).String(); got != "3:4,9" {
		t.Errorf("NewUIDSet = %s", got)
	}
	if len(NewUIDSet(seq(1, 20_000)...).Chunks(0)) != 1 {
		t.Error("a range is not one chunk")
	}
	for _, bad := range []string{"*", "1:*", "0", "1,,2", ",1", "1,", "1:", ":1", "1:2:3", "a", "-1", "4294967296", " 1", "1 "} {
		if got, err := ParseUIDSet(bad); err == nil {
			t.Errorf("ParseUIDSet(%q) = %v, want an error", bad, got)
		}
	}
	if got, err := ParseUIDSet("9:7,3,4:5,1,8"); err != nil || got.String() != "1,3:5,7:9" {
		t.Errorf("ParseUIDSet = %v, %v", got, err)
	}
}

func seq(lo, hi uint32) []uint32 {
	var uids []uint32
	for uid := lo; uid <= hi; uid++ {
		uids = append(uids, uid)
	}
	return uids
}

// RFC 3501, 5.1.3 and what goes wrong in practice.
func TestNames(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"INBOX":              "INBOX",
		"Entwürfe":           "Entw&APw-rfe",
		"A&B":                "A&-B",
		"&":                  "&-",
		"&&":                 "&-&-",
		"台北":                 "&U,BTFw-",
		"~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"☺!":                 "&Jjo-!",
		"😀":                  "&2D3eAA-",
		"a\tb":               "a&AAk-b",
		"":                   "",
		"é&é":                "&AOk-&-&AOk-",
		`"\`:                 `"\`,
	} {
		if got := string(EncodeName(name)); got != wire {
			t.Errorf("EncodeName(%q) = %q, want %q", name, got, wire)
		}
		if got, err := DecodeName([]byte(wire)); err != nil || got != name {
			t.Errorf("DecodeName(%q) = %q, %v, want %q", wire, got, err, name)
		}
	}
	for _, bad := range []string{
		"&", "a&b", "&AGE-", "&2D0-", "&3gA-", "&AOk-&AOk-", "caf\xe9", "café", "a\tb", "&AOl-x&", "&AOk", "&A-", "&AO-",
		"&AOk=-", "&AOl-", "&\r\n-", "&Jjo/-", "&--x&", "\x00", "\x7f", "&APwAZQ-",
	} {
		if got, err := DecodeName([]byte(bad)); err == nil && string(EncodeName(got)) == bad {
			continue
		} else if err == nil {
			t.Errorf("DecodeName(%q) = %q, which encodes to %q", bad, got, EncodeName(got))
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		parts   []Part
		nonSync int64
		want    string // segments, joined by "|"
		bad     bool
	}{
		"raw":             {parts: []Part{Raw("NOOP")}, want: "P1 NOOP"},
		"string":          {parts: []Part{Raw("CREATE"), Str(`a "b" \c`)}, want: `P1 CREATE "a \"b\" \\c"`},
		"empty":           {parts: []Part{Raw("LIST"), Str(""), Str("*")}, want: `P1 LIST "" "*"`},
		"list":            {parts: []Part{Raw("ID ("), Str("a"), Str("b"), Raw(")")}, want: `P1 ID ("a" "b")`},
		"8 bit":           {parts: []Part{Raw("CREATE"), Mbox([]byte("caf\xe9"))}, nonSync: -1, want: "P1 CREATE {4}|"},
		"8 bit, non-sync": {parts: []Part{Raw("CREATE"), Mbox([]byte("caf\xe9")), Raw("(USE (\\Sent))")}, nonSync: 4096, want: "P1 CREATE {4+}| (USE (\\Sent))"},
		"long":            {parts: []Part{Raw("CREATE"), Str(strings.Repeat("x", 1001))}, nonSync: -1, want: "P1 CREATE {1001}|"},
		"literals":        {parts: []Part{Raw("APPEND"), Str("x"), Literal(3, nil), Raw("()"), Literal(5000, nil)}, nonSync: 4096, want: `P1 APPEND "x" {3+}| () {5000}|`},
		"line end in raw": {parts: []Part{Raw("NOOP\r\nx DELETE INBOX")}, bad: true},
		"8 bit in raw":    {parts: []Part{Raw("CREATE caf\xe9")}, bad: true},
		"line end":        {parts: []Part{Raw("CREATE"), Str("x\r\nP9 DELETE INBOX")}, bad: true},
		"line feed":       {parts: []Part{Raw("CREATE"), Mbox([]byte("x\ny"))}, bad: true},
		"NUL":             {parts: []Part{Raw("CREATE"), Str("x\x00")}, bad: true},
	} {
		segments, err := encode("P1", tt.nonSync, tt.parts)
		var texts []string
		for _, s := range segments {
			texts = append(texts, s.text)
		}
		if got := strings.Join(texts, "|"); got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, tt.want)
		}
	}
}

// An unsafe command is refused before a byte is sent; the connection lives.
func TestUnsafeCommand(t *testing.T) {
	t.Parallel()
	c := dialPeer(t, testCaps, (*peer).rest)
	_, err := c.Command(t.Context(), nil, Raw("CREATE"), Str("x\r\nP9 DELETE INBOX"))
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindUsage || e.Scope != mail.ScopeMailbox {
		t.Errorf("error = %#v", err)
	}
	alive(t, c)
}

// Literals of our own commands: waited for, refused, cut short, risky.
func TestLiterals(t *testing.T) {
	t.Parallel()
	body := func(n int64) Part { return Literal(n, io.LimitReader(zeros{}, n)) }
	t.Run("two in one command", func(t *testing.T) {
		t.Parallel()
		c := dialPeer(t, testCaps, func(p *peer) {
			got := p.command()
			p.send("* 1 EXISTS", "+ go")
			_, _ = io.CopyN(io.Discard, p.r, 5)
			got += p.line()
			p.send("+ on")
			_, _ = io.CopyN(io.Discard, p.r, 3)
			got += p.line()
			p.send("TAG OK [APPENDUID 7 " + fmt.Sprint(len(got)) + "] done")
			p.rest()
		})
		s, err := c.Command(t.Context(), nil, Raw("APPEND x"), body(5), Raw("()"), body(3))
		if want := fmt.Sprint("7 ", len("APPEND x {5} () {3}")); err != nil || s.CodeArgs != want {
			t.Errorf("status = %+v, %v; want %s", s, err, want)
		}
		alive(t, c)
	})
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		c := script(t, "TAG NO [OVERQUOTA] full\r\n")
		_, err := c.Command(t.Context(), nil, Raw("APPEND x"), body(5))
		if mail.AsError(err).Kind != mail.KindQuota {
			t.Errorf("error = %v", err)
		}
		alive(t, c)
	})
	t.Run("BAD, having waited", func(t *testing.T) {
		t.Parallel()
		c := script(t, "TAG BAD what\r\n")
		if _, err := c.Command(t.Context(), nil, Raw("APPEND x"), body(5)); mail.AsError(err).Kind != mail.KindProtocol {
			t.Errorf("error = %v", err)
		}
		alive(t, c)
	})
	t.Run("OK to half of it", func(t *testing.T) {
		t.Parallel()
		c := script(t, "TAG OK done\r\n")
		if _, err := c.Command(t.Context(), nil, Raw("APPEND x"), body(5)); err == nil || c.Err() == nil {
			t.Errorf("error = %v, connection %v", err, c.Err())
		}
	})
	t.Run("BAD, not having waited", func(t *testing.T) {
		t.Parallel()
		c := dialPeer(t, testCaps+" LITERAL+", func(p *peer) {
			p.command()
			p.send("TAG BAD [CLIENTBUG] flags", "x9 OK Create completed")
			p.rest()
		})
		_, err := c.Command(t.Context(), nil, Raw("APPEND x"), body(5))
		if s, ok := errors.AsType[*StatusError](err); !ok || s.Type != "BAD" || c.Err() == nil {
			t.Errorf("error = %v, connection %v: what the server executes now is the message", err, c.Err())
		}
	})
	t.Run("short", func(t *testing.T) {
		t.Parallel()
		got := make(chan string, 1)
		c := dialPeer(t, testCaps+" LITERAL+", func(p *peer) {
			p.command()
			rest, _ := io.ReadAll(p.r)
			got <- string(rest)
		})
		_, err := c.Command(t.Context(), nil, Raw("APPEND x"), Literal(10, strings.NewReader("short")))
		if !errors.Is(err, io.ErrUnexpectedEOF) || c.Err() == nil {
			t.Errorf("error = %v, connection %v", err, c.Err())
		}
		if rest := <-got; len(rest) > 5 {
			t.Errorf("behind the short literal the server got %q", rest)
		}
	})
	t.Run("LITERAL-", func(t *testing.T) {
		t.Parallel()
		c := dialPeer(t, testCaps+" LITERAL-", func(p *peer) {
			if got := p.command(); got != "APPEND x {4096+}" {
				p.send("TAG NO " + got)
			}
			_, _ = io.CopyN(io.Discard, p.r, 4096)
			p.line()
			p.send("TAG OK done")
			if got := p.command(); got != "APPEND x {4097}" {
				p.send("TAG NO " + got)
			}
			p.send("+ go")
			_, _ = io.CopyN(io.Discard, p.r, 4097)
			p.line()
			p.send("TAG OK done")
		})
		for _, n := range []int64{4096, 4097} {
			if _, err := c.Command(t.Context(), nil, Raw("APPEND x"), body(n)); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status    Status
		kind      mail.Kind
		temporary bool
		scope     mail.Scope
		after     time.Duration
	}{
		{Status{Type: "NO", Code: "AUTHENTICATIONFAILED"}, mail.KindLogin, false, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "UNAVAILABLE"}, mail.KindUnreachable, true, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "INUSE"}, mail.KindRefused, true, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "SERVERBUG"}, mail.KindRefused, true, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "THROTTLED"}, mail.KindThrottled, true, mail.ScopeAccount, 0},
		{Status{Type: "NO", Code: "LIMIT", Text: "Rate"}, mail.KindThrottled, true, mail.ScopeAccount, 0},
		{Status{Type: "NO", Code: "LIMIT", Text: "Too many identical emails"}, mail.KindRefused, false, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "OVERQUOTA"}, mail.KindQuota, false, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "OVERQUOTA", Text: "Account exceeded command or bandwidth limits"}, mail.KindThrottled, true, mail.ScopeAccount, 0},
		{Status{Type: "NO", Code: "TOOBIG"}, mail.KindTooLarge, false, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "NONEXISTENT"}, mail.KindGone, false, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "TRYCREATE"}, mail.KindGone, false, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Code: "ALREADYEXISTS"}, mail.KindRefused, false, mail.ScopeMailbox, 0},
		{Status{Type: "NO", Text: "no"}, mail.KindRefused, false, mail.ScopeMailbox, 0},
		{Status{Type: "BAD", Text: "what"}, mail.KindProtocol, false, mail.ScopeMailbox, 0},
		{Status{Type: "BAD", Text: "Request is throttled. Suggested Backoff Time: 299961 milliseconds"}, mail.KindThrottled, true, mail.ScopeAccount, 299961 * time.Millisecond},
		{Status{Type: "NO", Text: "Too many simultaneous connections. (Failure)"}, mail.KindThrottled, true, mail.ScopeAccount, 0},
		{Status{Type: "NO", Text: "Suggested Backoff Time: 999999999 milliseconds"}, mail.KindThrottled, true, mail.ScopeAccount, maxRetryAfter},
	} {
		e := classify("test", tt.status)
		if e.Kind != tt.kind || e.Temporary != tt.temporary || e.Scope != tt.scope || e.RetryAfter != tt.after {
			t.Errorf("%v: got %+v", tt.status, e)
		}
		if s, ok := errors.AsType[*StatusError](e); !ok || s.Status != tt.status {
			t.Errorf("%v: the status is lost", tt.status)
		}
	}
	long := &StatusError{Status{Type: "NO", Text: strings.Repeat("x", 10_000)}}
	if len(long.Error()) > 600 {
		t.Errorf("an error of %d octets", len(long.Error()))
	}
}

// The trace shows what happened in lines of printable text, and no secret in any
// spelling.
func TestTrace(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	tr := &trace{w: &log}
	const secret = "s3\"cr\\et+/é"
	tr.hide(secret, "\x00bob\x00"+secret)
	tr.line("S", []byte("* OK \x1b[31mred\x07\r\x00 \xff"))
	tr.line("C", []byte("P1 LOGIN bob "+quote(secret)+" "+secret))
	tr.line("S", fmt.Appendf(nil, "* NO %q %s", secret, "AGJvYgBzMyJjclxldCsvw6k="))
	tr.line("S", []byte(strings.Repeat("x", 5000)))
	for i, line := range strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n") {
		if len(line) > maxTraceLine+100 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("line %d: %q", i, line)
		}
	}
	if strings.Contains(log.String(), "s3") || strings.Contains(log.String(), "et+") || strings.Contains(log.String(), "AGJvYg") {
		t.Errorf("a secret shows:\n%s", log.String())
	}
	if strings.Count(log.String(), "[secret]") < 4 {
		t.Errorf("trace:\n%s", log.String())
	}
	tr = &trace{}
	tr.hide("ab")
	if tr.redact("grab it") == "grab it" {
		t.Error("a short secret is not hidden during login")
	}
	tr.forgetShort()
	if tr.redact("grab it") != "grab it" {
		t.Error("a short secret is hidden for ever")
	}
}
