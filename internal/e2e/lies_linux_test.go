package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// liar changes what a server says, once in a while of a sync: never what is in a
// literal, and never so that the next response is taken for another one's.
type liar struct {
	mu     sync.Mutex
	random *rand.Rand
	at     int    // the response that is a lie
	seen   int    // responses so far
	held   []byte // one that comes after the next
	told   string // what was done, "" when the lie was never told
}

var (
	number = regexp.MustCompile(`\b[0-9]+\b`)
	// telling are the responses that something follows from.
	telling = regexp.MustCompile(`^\* [0-9]+ (FETCH|EXISTS|EXPUNGE)|^\* (VANISHED|SEARCH|ESEARCH|LIST|STATUS|ENABLED|CAPABILITY)|[[](UID|HIGHEST|COPYUID|APPENDUID|PERMANENT|CLOSED)|^[A-Z][0-9]+ `)
)

// unasked are responses that nobody asked for, or that contradict others.
var unasked = []string{
	"* 1 EXPUNGE", "* 5 EXPUNGE", "* 0 EXPUNGE", "* 4294967295 EXPUNGE", "* VANISHED 1:*", "* VANISHED (EARLIER) 1:4294967295", "* VANISHED 3", "* VANISHED (EARLIER) 2:4",
	"* 0 EXISTS", "* 1 EXISTS", "* 100000 EXISTS", "* 4294967296 EXISTS",
	"* 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen))", "* 2 FETCH (UID 77 FLAGS ())", "* 1 FETCH (UID 0 FLAGS ())", "* 1 FETCH (UID 4294967296 FLAGS ())",
	"* 1 FETCH (FLAGS ())", "* 3 FETCH (UID 3 FLAGS (x) MODSEQ (1) RFC822.SIZE 4294967296)", "* 1 FETCH (UID 2 BODY[] NIL)", "* 1 FETCH (UID 3 BODY[] {5}\r\nwrong)",
	"* OK [UIDVALIDITY 7] x", "* OK [UIDNEXT 1] x", "* OK [UIDNEXT 4294967295] x", "* OK [HIGHESTMODSEQ 1] x", "* OK [NOMODSEQ] x", "* OK [CLOSED] x", "* OK [READ-ONLY] x",
	"* OK [COPYUID 1 1:3 7:9] x", "* OK [COPYUID 7 1:* 1:*] x", "* OK [APPENDUID 1 3] x", "* OK [PERMANENTFLAGS ()] x", "* OK [PERMANENTFLAGS (\\Deleted)] x",
	"* SEARCH 1 2 3", "* SEARCH", "* ESEARCH UID ALL 1:4294967295", "* ESEARCH (TAG \"T1\") UID", "* LIST () \"/\" Ghost", "* LIST (\\NonExistent) \"/\" INBOX",
	"* LIST () \"/\" \"../../x\"", "* LIST () \"/\" \"a//b\"", "* LIST () \"/\" \"&\"", "* LIST () \"/\" work", "* LIST () NIL Work", "* LIST () \"/\" {5}\r\na\r\nb/",
	"* LIST () \"/\" \"" + strings.Repeat("d/", 10_000) + "d\"",
	"* STATUS Work (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1)", "* STATUS INBOX (MESSAGES 0)", "* STATUS Ghost (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1)",
	"* FLAGS ()", "* CAPABILITY IMAP4rev1", "* BYE [UNAVAILABLE] later", "* NO [ALERT] x", "* BAD what", "+ go on", "T1 OK done", "* \x00\x00", "* 1 FETCH " + strings.Repeat("(", 10_000),
	"* 1 FETCH (UID 1 BODY[] {2147483648}", "* LIST () \"/\" {2147483648}", "* OK " + strings.Repeat("x", 1<<20),
}

// lie is a proxy's.
func (l *liar) lie(response []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held
	l.held = nil
	if telling.Match(response) {
		if l.seen++; l.seen-1 == l.at {
			response = l.change(response)
		}
	}
	return append(response, held...)
}

func (l *liar) change(response []byte) []byte {
	tagged := !bytes.HasPrefix(response, []byte("* ")) && !bytes.HasPrefix(response, []byte("+"))
	literal := bytes.Count(response, []byte("\n")) > 1
	was := clip(string(response))
	switch n := l.random.IntN(10); {
	case n == 0 && !tagged:
		l.told = fmt.Sprintf("left out %q", was)
		return nil
	case n == 1 && !tagged:
		l.told = fmt.Sprintf("twice %q", was)
		return append(bytes.Clone(response), response...)
	case n == 2 && !tagged:
		l.told = fmt.Sprintf("after the next one %q", was)
		l.held = response
		return nil
	case n == 3 && tagged:
		status := [][2]string{{" OK ", " NO "}, {" OK ", " BAD "}, {" OK ", " NO [SERVERBUG] "}, {" OK ", " NO [EXPUNGEISSUED] "}, {" NO ", " OK "}}[l.random.IntN(5)]
		response = bytes.Replace(response, []byte(status[0]), []byte(status[1]), 1)
		l.told = fmt.Sprintf("%q for %q", response, was)
		return response
	case n <= 6 && !literal && (!tagged || bytes.Contains(response, []byte("UID "))) && number.Match(response):
		all := number.FindAllIndex(response, -1)
		at := all[l.random.IntN(len(all))]
		old, _ := strconv.ParseUint(string(response[at[0]:at[1]]), 10, 64)
		values := []uint64{0, 1, old - 1, old + 1, old + 2, old * 2, 1<<32 - 1, 1 << 32, 1 << 63}
		response = fmt.Appendf(nil, "%s%d%s", response[:at[0]], values[l.random.IntN(len(values))], response[at[1]:])
		l.told = fmt.Sprintf("%q for %q", clip(string(response)), was)
		return response
	}
	more := unasked[l.random.IntN(len(unasked))]
	l.told = fmt.Sprintf("%q before %q", clip(more), was)
	return append([]byte(more+"\r\n"), response...)
}

// A server that says one thing that is not so, of whatever kind, in the middle of a
// sync with work of every kind, loses nobody a message: once it tells the truth again,
// everything is on both sides, once, and nothing that was not written by anybody.
func TestTwoWayLies(t *testing.T) {
	t.Parallel()
	const workers = 2
	lies := 12
	if long() {
		lies = 400
	}
	seed := drawn()
	if s := os.Getenv("POSTBAG_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for n := range workers {
		t.Run(fmt.Sprint("worker ", n), func(t *testing.T) {
			t.Parallel()
			r := fixedWork(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
			r.flags = append(r.flags, "--connections", "1")
			counter := &liar{at: -1}
			r.proxy.Set(imaptest.Rules{Lie: counter.lie})
			r.sync(t).want(t, 0)
			end := r.agree(t)
			for i := n; i < lies; i += workers {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				l := &liar{random: random, at: random.IntN(counter.seen)}
				r.liedTo(t, l, end)
				t.Logf("seed %d, lie %d: %s", seed, i, l.told)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// liedTo runs a sync in which a lie is told, and then such as nobody lies to.
func (r *rewind) liedTo(t testing.TB, l *liar, end imaptest.Dump) {
	t.Helper()
	r.back(t)
	r.proxy.Set(imaptest.Rules{Lie: l.lie})
	lied := r.run(t, r.pair("sync")...)
	r.proxy.Set(imaptest.Rules{})
	r.log.Reset()
	switch lied.code {
	case 0:
	case 1, 3, 4, 7, 8:
		if !strings.HasPrefix(lied.stderr, "postbag: ") {
			t.Errorf("no word about it")
		}
	default:
		t.Errorf("got exit code %d", lied.code)
	}
	var calls []*call
	for range 3 {
		c := r.run(t, r.pair("sync")...)
		if calls = append(calls, c); c.code == 0 && strings.Contains(c.stdout, "nothing to do") {
			break
		}
	}
	if last := calls[len(calls)-1]; last.code != 0 {
		t.Errorf("the last sync ended with exit code %d", last.code)
	}
	server, local := r.sides(t)
	want, doubled := contentsOf(end), 0
	for side, d := range map[string]imaptest.Dump{"server": server, "Maildir": local} {
		got := contentsOf(d)
		for digest, n := range want {
			if got[digest] < n {
				t.Errorf("%d of %.12s are lost from the %s", n-got[digest], digest, side)
			}
		}
		for digest, n := range got {
			if want[digest] == 0 {
				t.Errorf("the %s holds %d of %.12s, which nobody wrote, or somebody removed", side, n, digest)
			} else if n > want[digest] {
				doubled++
			}
		}
	}
	// A mailbox that is not listed is gone for that run, and what comes back is new.
	if doubled > 0 && !strings.Contains(l.told, "LIST") && !strings.Contains(l.told, "STATUS") {
		t.Errorf("%d messages are doubled", doubled)
	}
	r.checkState(t)
	if t.Failed() {
		t.Logf("told %s\n%s", l.told, lied)
		for _, c := range calls {
			t.Logf("%s", c)
		}
	}
}

// contentsOf counts the contents in all mailboxes.
func contentsOf(d imaptest.Dump) map[mail.Digest]int {
	n := map[mail.Digest]int{}
	for _, box := range d {
		for _, e := range box.Messages {
			n[e.Digest]++
		}
	}
	return n
}
