package imapstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// server is a real server.
type server interface {
	NewUser() string
	Target(user string) imaptest.Target
}

// account is a user of a server, seen by a store and by another client.
type account struct {
	t      *testing.T
	server server
	user   string
	proxy  *imaptest.Proxy // what the store goes through
	store  *Store
	other  *imaptest.Client
}

// newAccount opens a store for a new user. change may alter its configuration.
func newAccount(t *testing.T, d server, change func(*Config)) *account {
	t.Helper()
	user := d.NewUser()
	target := d.Target(user)
	a := &account{t: t, server: d, user: user, proxy: imaptest.StartProxy(t, target.Addr)}
	var err error
	if a.other, err = imaptest.Dial(target); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.other.Close() })
	a.store = a.open(change)
	return a
}

// open opens one more store.
func (a *account) open(change func(*Config)) *Store {
	a.t.Helper()
	cfg := Config{
		Conn: imapconn.Config{
			Addr: a.proxy.Addr(), TLS: imapconn.TLSNone,
			Auth:     imapconn.Auth{User: a.user, Secret: func(context.Context) (string, error) { return imaptest.DovecotPassword, nil }},
			ClientID: map[string]string{"name": "postbag test"},
		},
		Account: a.user,
		TempDir: a.t.TempDir(),
		Log:     a.t.Logf,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(a.t.Context(), cfg)
	if err != nil {
		a.t.Fatalf("open: %v", err)
	}
	s.wait = func(context.Context, time.Duration) error { return nil }
	a.t.Cleanup(func() { s.Close() })
	return s
}

// do runs a command of the other client.
func (a *account) do(format string, args ...any) []imaptest.Response {
	a.t.Helper()
	r, err := a.other.Do(fmt.Sprintf(format, args...))
	if err != nil {
		a.t.Fatal(err)
	}
	return r
}

func message(n int) []byte {
	return fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <%d@example.org>\r\nSubject: %d\r\n\r\n%s\r\n", n, n, strings.Repeat("x", n%500))
}

// put appends a message as the other client.
func (a *account) put(mailbox, flags string, body []byte) {
	a.t.Helper()
	name := imaptest.Quote(mailbox)
	if a.server.Target(a.user).Delimiter != "" {
		name = a.other.Name(mailbox)
	}
	plus := ""
	if a.other.Offers("LITERAL+") {
		plus = "+"
	}
	if _, err := a.other.DoLiteral(fmt.Sprintf("APPEND %s (%s) {%d%s}", name, flags, len(body), plus), body, ""); err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) list() map[string]mail.MailboxInfo {
	a.t.Helper()
	infos, err := a.store.List(a.t.Context())
	if err != nil {
		a.t.Fatalf("list: %v", err)
	}
	all := make(map[string]mail.MailboxInfo)
	for i, info := range infos {
		if i > 0 && infos[i-1].Name >= info.Name {
			a.t.Errorf("%q after %q in the listing", info.Name, infos[i-1].Name)
		}
		all[info.Name] = info
	}
	return all
}

func (a *account) selectMailbox(name string) mail.WritableMailbox {
	a.t.Helper()
	m, err := a.store.Select(a.t.Context(), name)
	if err != nil {
		a.t.Fatalf("select: %v", err)
	}
	return m
}

// state is what is really in a mailbox, as the other client sees it.
func (a *account) state(mailbox string) map[uint32]mail.Flags {
	a.t.Helper()
	all := make(map[uint32]mail.Flags)
	for _, e := range a.server.Target(a.user).MustDump(a.t)[mailbox].Messages {
		all[e.UID] = e.Flags
	}
	return all
}

var long = os.Getenv("POSTBAG_LONG") != ""

func TestDovecot(t *testing.T) {
	t.Parallel()
	// One wrong password must not slow down the logins of the other tests.
	d := imaptest.StartDovecot(t, imaptest.DovecotOptions{Extra: "service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}"})
	t.Run("tests", func(t *testing.T) {
		for _, test := range []struct {
			name string
			fn   func(*testing.T, server)
		}{
			{"Ladder", testLadder},
			{"List", testList},
			{"Fetch", testFetch},
			{"SetFlags", testSetFlags},
			{"Remove", testRemove},
			{"Move", testMove},
			{"Upload", testUpload},
			{"Recover", testRecover},
			{"Manage", testManage},
			{"Names", testNames},
			{"UIDValidity", testUIDValidity},
			{"Skip", testSkip},
			{"Pool", testPool},
			{"LostConnections", testLostConnections},
			{"Latency", testLatency},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				test.fn(t, d)
			})
		}
	})
}

// The same random edits by another client on each rung of the ladder: the
// deltas add up to what is there.
func testLadder(t *testing.T, d server) {
	runLadder(t, d, []rung{
		{"QRESYNC", nil, "VANISHED"},
		{"CONDSTORE", []string{"QRESYNC"}, "CHANGEDSINCE"},
		{"CONDSTORE without ESEARCH", []string{"QRESYNC", "ESEARCH"}, "UID SEARCH UID"},
		{"plain", []string{"QRESYNC", "CONDSTORE"}, "UID FETCH 1:4294967295 (UID FLAGS)"},
		{"plain without ESEARCH", []string{"QRESYNC", "CONDSTORE", "ESEARCH", "LIST-STATUS"}, "STATUS"},
	})
}

// rung is a way of finding out what changed.
type rung struct {
	name    string
	noCaps  []string
	command string // that proves which rung it was
}

func runLadder(t *testing.T, d server, rungs []rung) {
	for _, rung := range rungs {
		t.Run(rung.name, func(t *testing.T) {
			t.Parallel()
			seeds := uint64(2)
			if long {
				seeds = 20
			}
			for seed := range seeds {
				a := newAccount(t, d, func(c *Config) { c.Conn.NoCaps = rung.noCaps })
				log := a.proxy.WireLog()
				second := a.open(func(c *Config) { c.Conn.NoCaps = rung.noCaps })
				a.randomEdits(second, rand.New(rand.NewPCG(seed, 9)), seed)
				found := false
				for _, c := range log.Commands() {
					found = found || strings.Contains(c.Line, rung.command)
				}
				if !found {
					t.Errorf("seed %d: no command holds %q", seed, rung.command)
				}
				log.Assert(t, imaptest.ReadOnly)
			}
		})
	}
}

func (a *account) randomEdits(store *Store, rnd *rand.Rand, seed uint64) {
	t := a.t
	known := newKnown()
	var cursor mail.Cursor
	var here []uint32 // what the other client may touch
	n := 0
	a.do("SELECT INBOX")
	flags := []string{`\Seen`, `\Flagged`, `\Answered`, `\Deleted`, "$Junk", "Label1", `\Draft`}
	for round := range 8 {
		for range rnd.IntN(25) {
			switch k := rnd.IntN(10); {
			case k < 5 || len(here) == 0:
				a.put("INBOX", flags[rnd.IntN(len(flags))], message(n))
				n++
				here = append(here, uint32(n))
			case k < 8:
				sign := "+-"[rnd.IntN(2)]
				a.do("UID STORE %d %cFLAGS.SILENT (%s)", here[rnd.IntN(len(here))], sign, flags[rnd.IntN(len(flags))])
			default:
				i := rnd.IntN(len(here))
				a.do("UID STORE %d +FLAGS.SILENT (\\Deleted)", here[i])
				a.do("UID EXPUNGE %d", here[i])
				here = slices.Delete(here, i, i+1)
			}
		}
		m, err := store.Examine(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		var d mail.Delta
		for d.More = true; d.More; {
			if d, err = m.Changes(t.Context(), cursor, known, 1+rnd.IntN(20)); err != nil {
				t.Fatalf("seed %d, round %d: %v", seed, round, err)
			}
			known.apply(t, d)
			cursor = d.Cursor
			for _, msg := range d.New {
				if msg.Size <= 0 || msg.Date.IsZero() {
					t.Errorf("seed %d: %v without size or date: %+v", seed, msg.Ref, msg)
				}
			}
		}
		want := a.state("INBOX")
		if !maps.EqualFunc(known.flags, want, mail.Flags.Equal) {
			t.Fatalf("seed %d, round %d: got %v, want %v", seed, round, known.flags, want)
		}
		if d.Unsettled != "" {
			t.Errorf("seed %d, round %d: unsettled: %s", seed, round, d.Unsettled)
		}
		info := m.Info()
		listed := a.infoOf(store, "INBOX")
		if d.Stamp != info.Stamp || d.Stamp != listed.Stamp {
			t.Errorf("seed %d: stamps of delta %q, selection %q and listing %q differ", seed, d.Stamp, info.Stamp, listed.Stamp)
		}
		if listed.Messages != len(want) {
			t.Errorf("seed %d: got %d messages in the listing, want %d", seed, listed.Messages, len(want))
		}
	}
}

func (a *account) infoOf(s *Store, name string) mail.MailboxInfo {
	a.t.Helper()
	infos, err := s.List(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == name {
			return info
		}
	}
	a.t.Fatalf("%q is not listed", name)
	return mail.MailboxInfo{}
}

func testList(t *testing.T, d server) {
	for _, noCaps := range [][]string{nil, {"LIST-STATUS"}, {"LIST-STATUS", "SPECIAL-USE"}} {
		t.Run(strings.Join(noCaps, " "), func(t *testing.T) {
			t.Parallel()
			a := newAccount(t, d, func(c *Config) { c.Conn.NoCaps = noCaps })
			a.do("CREATE Sent")
			a.do("CREATE a/b/c")
			a.do(`CREATE "Entw&APw-rfe"`)
			a.put("INBOX", "", message(1))
			a.put("a/b/c", `\Seen`, message(2))
			all := a.list()
			if got, want := slices.Sorted(maps.Keys(all)), []string{"Entwürfe", "INBOX", "Sent", "a", "a/b", "a/b/c"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if m := all["INBOX"]; m.Messages != 1 || m.Validity == "" || m.Stamp == "" || m.Bytes != int64(len(message(1))) {
				t.Errorf("got %+v for INBOX", m)
			}
			if m := all["a/b/c"]; m.Messages != 1 || m.NoSelect {
				t.Errorf("got %+v for a/b/c", m)
			}
			if !all["a"].NoSelect || !all["a/b"].NoSelect || all["a"].Validity != "" {
				t.Errorf("got %+v and %+v for parents without messages", all["a"], all["a/b"])
			}
			if got := all["Sent"].Use; got != mail.UseSent {
				t.Errorf("got role %q for Sent", got)
			}
			if got := all["Entwürfe"].Messages; got != 0 {
				t.Errorf("got %d messages in an empty mailbox", got)
			}
		})
	}
}

func fetchAll(t *testing.T, m mail.Mailbox, refs []mail.Ref) map[mail.Ref][]byte {
	t.Helper()
	got := make(map[mail.Ref][]byte)
	err := m.Fetch(t.Context(), refs, func(f mail.Fetched) error {
		if f.Err != nil {
			t.Errorf("%v: %v", f.Ref, f.Err)
			return nil
		}
		body, err := io.ReadAll(f.Body)
		if err != nil {
			return err
		}
		if int64(len(body)) != f.Size || f.Date.IsZero() {
			t.Errorf("%v: got %d octets, size %d, date %v", f.Ref, len(body), f.Size, f.Date)
		}
		if got[f.Ref] != nil {
			t.Errorf("%v came twice", f.Ref)
		}
		got[f.Ref] = body
		return nil
	})
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return got
}

func testFetch(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	log := a.proxy.WireLog()
	a.store = a.open(nil)
	want := make(map[mail.Ref][]byte)
	var refs []mail.Ref
	for n := 1; n <= 60; n++ {
		a.put("INBOX", `\Flagged Word`, message(n))
		ref := mail.Ref{UID: uint32(n)}
		refs = append(refs, ref)
		want[ref] = message(n)
	}
	a.do("SELECT INBOX")
	a.do("UID STORE 7,30:32 +FLAGS (\\Deleted)")
	a.do("UID EXPUNGE 7,30:32")
	for _, uid := range []uint32{7, 30, 31, 32} {
		delete(want, mail.Ref{UID: uid})
	}
	m, err := a.store.Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(refs)
	if got := fetchAll(t, m, append(refs, mail.Ref{UID: 2_000_000_000})); !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("got %d messages, want %d", len(got), len(want))
	}
	described := 0
	err = m.Describe(t.Context(), refs, true, func(msg mail.Message) error {
		described++
		body := want[msg.Ref]
		if msg.Size != int64(len(body)) || !msg.ID.Described || msg.ID.MessageID != mail.MessageIDOf(body) || msg.Flags.String() != `\Flagged Word` {
			t.Errorf("got %+v for %v", msg, msg.Ref)
		}
		return nil
	})
	if err != nil || described != len(want) {
		t.Errorf("described %d messages (%v), want %d", described, err, len(want))
	}
	stop := errors.New("stop")
	n := 0
	err = m.Fetch(t.Context(), refs, func(mail.Fetched) error {
		if n++; n == 3 {
			return stop
		}
		return nil // without reading the body
	})
	if !errors.Is(err, stop) || err != stop {
		t.Errorf("got %v, want the error of fn as it is", err)
	}
	if err := m.Describe(t.Context(), refs, false, func(mail.Message) error { return stop }); err != stop {
		t.Errorf("got %v, want the error of fn as it is", err)
	}
	if got := fetchAll(t, m, refs[:1]); len(got) != 1 {
		t.Errorf("got %d messages after an end by fn, want 1", len(got))
	}
	for uid, f := range a.state("INBOX") {
		if f.System&mail.Seen != 0 {
			t.Errorf("UID %d is seen after it was read", uid)
		}
	}
	log.Assert(t, imaptest.ReadOnly)
}

func refsOf(uids ...uint32) []mail.Ref { return uidRefs(uids) }

func testSetFlags(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	log := a.proxy.WireLog()
	a.store = a.open(nil)
	for n := 1; n <= 20; n++ {
		a.put("INBOX", `\Answered`, message(n))
	}
	m := a.selectMailbox("INBOX")
	var changes []mail.FlagChange
	for n := uint32(1); n <= 20; n++ {
		delta := mail.FlagDelta{Add: mail.ParseFlags(`\Seen`)}
		if n%2 == 0 {
			delta = mail.FlagDelta{Add: mail.ParseFlags(`\Flagged`, "Word"), Remove: mail.ParseFlags(`\Answered`)}
		}
		changes = append(changes, mail.FlagChange{Ref: mail.Ref{UID: n}, Delta: delta})
	}
	changes = append(changes, mail.FlagChange{Ref: mail.Ref{UID: 99}, Delta: mail.FlagDelta{Add: mail.ParseFlags(`\Seen`)}})
	states, err := m.SetFlags(t.Context(), changes)
	if err != nil || len(states) != 20 {
		t.Fatalf("got %d states, %v, want 20", len(states), err)
	}
	real := a.state("INBOX")
	for _, s := range states {
		want := `\Seen \Answered`
		if s.Ref.UID%2 == 0 {
			want = `\Flagged Word`
		}
		if s.Flags.String() != want || !real[s.Ref.UID].Equal(s.Flags) {
			t.Errorf("%v: told %q, is %q, want %q", s.Ref, s.Flags, real[s.Ref.UID], want)
		}
	}
	stores := 0
	for _, c := range log.Commands() {
		if c.Verb == "UID STORE" {
			stores++
		}
	}
	if stores != 3 {
		t.Errorf("got %d STOREs, want 3", stores)
	}
	// One keyword that the server does not take costs nothing else.
	long := "k" + strings.Repeat("x", 240)
	states, err = m.SetFlags(t.Context(), []mail.FlagChange{{
		Ref: mail.Ref{UID: 1}, Delta: mail.FlagDelta{Add: mail.Flags{System: mail.Flagged, Keywords: mail.NewKeywords(long, "Other")}},
	}})
	if err != nil || len(states) != 1 || states[0].Flags.System&mail.Flagged == 0 || !states[0].Flags.Keywords.Has("Other") {
		t.Errorf("got %+v, %v, want \\Flagged and Other set", states, err)
	}
	r, err := a.store.Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.(mail.WritableMailbox).SetFlags(t.Context(), changes)
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMailbox || e.Kind != mail.KindRefused {
		t.Errorf("got %v, want a refusal to write to an examined mailbox", err)
	}
	log.Assert(t, imaptest.ReadWrite)
}

func testRemove(t *testing.T, d server) {
	t.Run("expunge", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, nil)
		log := a.proxy.WireLog()
		a.store = a.open(nil)
		for n := range 10 {
			a.put("INBOX", "", message(n))
		}
		a.do("SELECT INBOX")
		a.do("UID STORE 9 +FLAGS (\\Deleted)") // another client's business
		gone, err := a.selectMailbox("INBOX").Remove(t.Context(), refsOf(2, 3, 4, 77))
		if want := refsOf(2, 3, 4, 77); err != nil || !slices.Equal(gone, want) {
			t.Errorf("got %v, %v, want %v", gone, err, want)
		}
		if got, want := slices.Sorted(maps.Keys(a.state("INBOX"))), []uint32{1, 5, 6, 7, 8, 9, 10}; !slices.Equal(got, want) {
			t.Errorf("got %v left, want %v", got, want)
		}
		log.Assert(t, imaptest.ReadWrite)
	})
	t.Run("without UIDPLUS", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, func(c *Config) { c.Conn.NoCaps = []string{"UIDPLUS"} })
		a.put("INBOX", "", message(1))
		gone, err := a.selectMailbox("INBOX").Remove(t.Context(), refsOf(1))
		if err != nil || len(gone) != 0 {
			t.Errorf("got %v, %v, want nothing removed", gone, err)
		}
		if got := a.state("INBOX")[1]; got.System != mail.Deleted {
			t.Errorf("got flags %q, want \\Deleted", got)
		}
	})
	for _, trash := range []string{`\Trash`, "Trash"} {
		t.Run("to "+trash, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t, d, func(c *Config) { c.Trash = trash })
			a.do("CREATE %s", a.other.Name("Trash"))
			a.put("INBOX", "", message(1))
			a.put("INBOX", "", message(2))
			gone, err := a.selectMailbox("INBOX").Remove(t.Context(), refsOf(1))
			if err != nil || !slices.Equal(gone, refsOf(1)) {
				t.Errorf("got %v, %v, want 1", gone, err)
			}
			if in, bin := len(a.state("INBOX")), len(a.state("Trash")); in != 1 || bin != 1 {
				t.Errorf("got %d messages in INBOX and %d in Trash, want 1 and 1", in, bin)
			}
			gone, err = a.selectMailbox("Trash").Remove(t.Context(), refsOf(1))
			if err != nil || len(gone) != 1 || len(a.state("Trash")) != 0 {
				t.Errorf("got %v, %v for a message in the trash, want it expunged", gone, err)
			}
		})
	}
	t.Run("no trash", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, func(c *Config) { c.Trash = `\All` })
		a.put("INBOX", "", message(1))
		_, err := a.selectMailbox("INBOX").Remove(t.Context(), refsOf(1))
		if e := mail.AsError(err); err == nil || e.Kind != mail.KindGone {
			t.Errorf("got %v, want that there is no such mailbox", err)
		}
		if len(a.state("INBOX")) != 1 {
			t.Error("the message is gone")
		}
	})
}

func testMove(t *testing.T, d server) {
	for _, test := range []struct {
		name   string
		noCaps []string
		told   bool // the new UIDs
	}{
		{"MOVE", nil, true},
		{"COPY", []string{"MOVE"}, true},
		{"MOVE without UIDPLUS", []string{"UIDPLUS"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t, d, func(c *Config) { c.Conn.NoCaps = test.noCaps })
			if slices.Contains(test.noCaps, "UIDPLUS") && !a.other.Offers("MOVE") {
				t.Skip("the server could not move at all")
			}
			a.do("CREATE %s", a.other.Name("b"))
			for n := range 10 {
				a.put("INBOX", `\Flagged`, message(n))
			}
			a.put("b", "", message(99))
			a.list()
			m := a.selectMailbox("INBOX")
			moved, err := m.Move(t.Context(), refsOf(2, 3, 9, 50), "b")
			if err != nil {
				t.Fatal(err)
			}
			want := []mail.Moved{
				{From: mail.Ref{UID: 2}, To: mail.Ref{UID: 2}}, {From: mail.Ref{UID: 3}, To: mail.Ref{UID: 3}}, {From: mail.Ref{UID: 9}, To: mail.Ref{UID: 4}},
			}
			if !slices.Equal(moved, want) {
				t.Errorf("got %v, want %v", moved, want)
			}
			if got := slices.Sorted(maps.Keys(a.state("INBOX"))); !slices.Equal(got, []uint32{1, 4, 5, 6, 7, 8, 10}) {
				t.Errorf("got %v left", got)
			}
			if got := a.state("b"); len(got) != 4 || got[4].String() != `\Flagged` {
				t.Errorf("got %v arrived", got)
			}
			moved, err = m.Move(t.Context(), refsOf(1), "missing")
			if e := mail.AsError(err); err == nil || e.Kind != mail.KindGone || len(moved) != 0 {
				t.Errorf("got %v, %v when the destination does not exist", moved, err)
			}
			if len(a.state("INBOX")) != 7 {
				t.Error("a message that could not be moved is gone")
			}
		})
	}
	t.Run("impossible", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, func(c *Config) { c.Conn.NoCaps = []string{"MOVE", "UIDPLUS"} })
		a.do("CREATE %s", a.other.Name("b"))
		a.put("INBOX", "", message(1))
		moved, err := a.selectMailbox("INBOX").Move(t.Context(), refsOf(1), "b")
		if err != nil || len(moved) != 0 || len(a.state("INBOX")) != 1 || len(a.state("b")) != 0 {
			t.Errorf("got %v, and %d messages there", err, len(a.state("b")))
		}
	})
}

func add(t *testing.T, b mail.Batch, m mail.Message, body []byte) mail.Pending {
	t.Helper()
	m.Size = int64(len(body))
	p, err := b.Add(t.Context(), m, bytes.NewReader(body))
	if err != nil {
		t.Fatalf("add: %v", err)
	}
	return p
}

func testUpload(t *testing.T, d server) {
	for _, test := range []struct {
		name   string
		noCaps []string
	}{
		{"LITERAL+", nil},
		{"synchronising", []string{"LITERAL+"}},
		{"without UIDPLUS", []string{"UIDPLUS"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t, d, func(c *Config) { c.Conn.NoCaps = test.noCaps })
			log := a.proxy.WireLog()
			a.store = a.open(func(c *Config) { c.Conn.NoCaps = test.noCaps })
			a.put("INBOX", "", message(1))
			m := a.selectMailbox("INBOX")
			b, err := m.Batch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			date := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			bodies := [][]byte{message(7), message(7), message(8), bytes.Repeat([]byte("line\r\n"), 300_000), []byte("x"), {}, []byte("a\x00b\r\n")}
			longKeyword := strings.Repeat("k", 60)
			flags := mail.Flags{System: mail.Seen | mail.Draft, Keywords: mail.NewKeywords("Word", longKeyword)}
			var pending []mail.Pending
			for _, body := range bodies {
				pending = append(pending, add(t, b, mail.Message{Flags: flags, Date: date}, body))
			}
			if err := b.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			landed, err := b.Commit(t.Context(), pending)
			if err != nil {
				t.Fatalf("commit: %v", err)
			}
			for i, l := range landed {
				if empty := len(bodies[i]) == 0; empty != (l.Err != nil) || empty != l.Ref.IsZero() {
					t.Errorf("message %d: got %+v", i, l)
				}
				if l.Err != nil && (l.Err.Scope != mail.ScopeMessage || l.Err.Kind != mail.KindRefused) {
					t.Errorf("message %d: got %v, want a refusal of the message", i, l.Err)
				}
			}
			if landed[0].Ref == landed[1].Ref {
				t.Errorf("two messages landed as one: %v", landed[0].Ref)
			}
			b.Abort()
			fetched := fetchAll(t, m, []mail.Ref{landed[0].Ref, landed[3].Ref, landed[4].Ref})
			for _, i := range []int{0, 3, 4} {
				if !bytes.Equal(fetched[landed[i].Ref], bodies[i]) {
					t.Errorf("message %d is not what was sent", i)
				}
			}
			real := a.state("INBOX")
			if len(real) != 1+len(bodies)-1 {
				t.Errorf("got %d messages, want %d", len(real), len(bodies))
			}
			if got := real[landed[0].Ref.UID]; got.System != flags.System || !got.Keywords.Has("Word") {
				t.Errorf("got flags %q, want %q", got, flags)
			}
			log.Assert(t, imaptest.ReadWrite)
			if _, err := b.Commit(t.Context(), pending); err == nil {
				t.Error("a batch was committed twice")
			}
		})
	}
	t.Run("other sizes than said", func(t *testing.T) {
		t.Parallel()
		a := newAccount(t, d, nil)
		b, err := a.selectMailbox("INBOX").Batch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Add(t.Context(), mail.Message{Size: 5}, strings.NewReader("1234"))
		if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMessage || e.Kind != mail.KindIntegrity {
			t.Errorf("got %v, want an integrity error of the message", err)
		}
		p, err := b.Add(t.Context(), mail.Message{Size: -1}, bytes.NewReader(message(3)))
		if err != nil || p.Message.Size != int64(len(message(3))) {
			t.Errorf("got %+v, %v for a message of unknown size", p, err)
		}
		b.Abort()
		if len(a.state("INBOX")) != 0 {
			t.Error("an aborted batch left messages")
		}
	})
}

// A run that was cut off between sending and noting finds what has landed, one
// message for each, and nothing else.
func testRecover(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	a.put("INBOX", "", message(1)) // not ours, and like one of ours
	m := a.selectMailbox("INBOX")
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bodies := [][]byte{message(1), message(1), message(2), message(3), []byte("no header\r\n\r\n"), []byte("no headex\r\n\r\n"), []byte("Message-ID: <z>\r\n\r\na\x00b\r\n")}
	var pending []mail.Pending
	for _, body := range bodies {
		id := mail.Identity{MessageID: mail.MessageIDOf(body), Described: true, Digest: mail.Digest(sha256.Sum256(body))}
		pending = append(pending, add(t, b, mail.Message{ID: id}, body))
	}
	if _, err := b.Commit(t.Context(), []mail.Pending{pending[6], pending[4], pending[2], pending[0], pending[1]}); err != nil {
		t.Fatal(err)
	}
	// UIDs: 2 is message 6, 3 is message 4, 4 is message 2, 5 and 6 are 0 and 1.
	m = a.selectMailbox("INBOX")
	landed, err := m.Recover(t.Context(), pending, newKnown())
	if err != nil {
		t.Fatal(err)
	}
	want := refsOf(5, 6, 4, 0, 3, 0, 2)
	for i, l := range landed {
		if l.Ref != want[i] || l.Err != nil {
			t.Errorf("message %d: got %+v, want %v", i, l, want[i])
		}
	}
	// What has a row already is not what is looked for.
	known := newKnown()
	known.flags[5], known.flags[6] = mail.Flags{}, mail.Flags{}
	landed, err = m.Recover(t.Context(), pending[:3], known)
	if err != nil || !landed[0].Ref.IsZero() || !landed[1].Ref.IsZero() || landed[2].Ref.UID != 4 {
		t.Errorf("got %+v, %v when two messages are known", landed, err)
	}
	// Under a new UIDVALIDITY they may be anywhere.
	a.server.(*imaptest.Dovecot).BumpUIDValidity(a.user, "INBOX")
	a.store = a.open(nil)
	landed, err = a.selectMailbox("INBOX").Recover(t.Context(), pending[2:4], newKnown())
	if err != nil || landed[0].Ref.IsZero() || !landed[1].Ref.IsZero() {
		t.Errorf("got %+v, %v under a new UIDVALIDITY", landed, err)
	}
}

func testManage(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	ctx := t.Context()
	for _, name := range []string{"a", "a/b", "a/b", "Größe/x", "INBOX/y"} {
		if err := a.store.Create(ctx, name, ""); err != nil {
			t.Errorf("create %q: %v", name, err)
		}
	}
	if err := a.store.Create(ctx, "Sent", mail.UseSent); err != nil {
		t.Errorf("create with a role: %v", err)
	}
	if err := a.store.Create(ctx, "../x", ""); err == nil {
		t.Error("the server takes ../x")
	}
	all := a.list()
	for _, name := range []string{"a", "a/b", "Größe/x", "INBOX/y", "Sent"} {
		if _, ok := all[name]; !ok || all[name].NoSelect {
			t.Errorf("%q is not there: %+v", name, all[name])
		}
	}
	a.put("a/b", "", message(1))
	m := a.selectMailbox("a/b")
	if err := a.store.Rename(ctx, "a", "ä"); err != nil {
		t.Fatalf("rename: %v", err)
	}
	if _, err := m.Changes(ctx, "", newKnown(), 10); err == nil || mail.AsError(err).Scope != mail.ScopeMailbox {
		t.Errorf("got %v for a mailbox that was renamed away", err)
	}
	known := newKnown()
	delta, err := a.selectMailbox("ä/b").Changes(ctx, "", known, 10)
	if err != nil || len(delta.New) != 1 {
		t.Errorf("got %+v, %v after a rename", delta, err)
	}
	if err := a.store.Rename(ctx, "ä", "Sent"); err == nil || mail.AsError(err).Kind != mail.KindUsage {
		t.Errorf("got %v for a rename to a name that is taken", err)
	}
	if err := a.store.Rename(ctx, "missing", "new"); err == nil || mail.AsError(err).Kind != mail.KindGone {
		t.Errorf("got %v for a rename of nothing", err)
	}
	_, err = a.store.Examine(ctx, "a/b")
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindGone || e.Scope != mail.ScopeMailbox {
		t.Errorf("got %v for a mailbox that is gone", err)
	}
	m = a.selectMailbox("ä/b")
	for range 2 {
		if err := a.store.Delete(ctx, "ä/b"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	_, err = m.Changes(ctx, "", known, 10)
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMailbox {
		t.Errorf("got %v for a mailbox that was deleted", err)
	}
	for _, err := range []error{a.store.Delete(ctx, "INBOX"), a.store.Rename(ctx, "INBOX", "x")} {
		if err == nil || mail.AsError(err).Kind != mail.KindUsage {
			t.Errorf("got %v, want that INBOX stays", err)
		}
	}
	if _, ok := a.list()["ä/b"]; ok {
		t.Error("ä/b is still there")
	}
}

// Names that Dovecot takes and other programs stumble over.
func testNames(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	names := []string{
		"new", "cur/x", "a*", "a%b", "x\\y", "q\"uote", "Foo", "foo", "café", "cafe\u0301", "con", "a:b", " lead", "trail ",
		"=raw=x", "=wire=y", "☺☺", "a&b", strings.Repeat("x", 200), "%2F", "%252F", "(x)", "{5}", "a b/c d",
	}
	for _, name := range names {
		a.do("CREATE %s", imaptest.Quote(imaptest.EncodeName(name)))
	}
	n := 0
	for name, info := range a.list() {
		if info.NoSelect {
			continue
		}
		n++
		m, err := a.store.Select(t.Context(), name)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if m.Info().Name != name {
			t.Errorf("got name %q, want %q", m.Info().Name, name)
		}
	}
	if n != len(names)+1 {
		t.Errorf("got %d mailboxes, want %d", n, len(names)+1)
	}
	for _, name := range []string{"a\rb", "a\nb", "a\x00b"} {
		if err := a.store.Create(t.Context(), name, ""); err == nil {
			t.Errorf("the server takes %q", name)
		}
	}
}

func testUIDValidity(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	for n := range 5 {
		a.put("INBOX", "", message(n))
	}
	m := a.selectMailbox("INBOX")
	known := newKnown()
	delta, err := m.Changes(t.Context(), "", known, 100)
	if err != nil {
		t.Fatal(err)
	}
	known.apply(t, delta)
	before := a.list()["INBOX"]
	now := a.server.(*imaptest.Dovecot).BumpUIDValidity(a.user, "INBOX")
	after := a.list()["INBOX"]
	if after.Validity != fmt.Sprint(now) || after.Validity == before.Validity || after.Stamp == before.Stamp {
		t.Errorf("got %+v, then %+v", before, after)
	}
	_, err = m.Changes(t.Context(), delta.Cursor, known, 100)
	if e := mail.AsError(err); err == nil || e.Scope != mail.ScopeMailbox || !e.Temporary {
		t.Errorf("got %v, want that the mailbox is another one", err)
	}
	m = a.selectMailbox("INBOX")
	if got := m.Info().Validity; got != fmt.Sprint(now) {
		t.Errorf("got validity %s, want %d", got, now)
	}
	// A cursor of another epoch is the beginning.
	delta, err = m.Changes(t.Context(), delta.Cursor, newKnown(), 100)
	if err != nil || len(delta.New) != 5 {
		t.Errorf("got %+v, %v under the new UIDVALIDITY", delta, err)
	}
}

// A stamp changes with everything that happens in a mailbox, and with nothing
// else; own writes leave an empty delta.
func testSkip(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	for n := range 3 {
		a.put("INBOX", "", message(n))
	}
	last := a.list()["INBOX"].Stamp
	if again := a.list()["INBOX"].Stamp; again != last || last == "" {
		t.Errorf("got stamps %q and %q without a change", last, again)
	}
	a.do("SELECT INBOX")
	for _, command := range []string{`UID STORE 2 +FLAGS (\Seen)`, `UID STORE 2 -FLAGS (\Seen)`, `UID STORE 2 +FLAGS (Word)`, `UID STORE 1 +FLAGS (\Deleted)`, `UID EXPUNGE 1`} {
		a.do("%s", command)
		now := a.list()["INBOX"].Stamp
		if now == last {
			t.Errorf("the stamp is still %q after %s", now, command)
		}
		last = now
	}
	m := a.selectMailbox("INBOX")
	known := newKnown()
	delta, err := m.Changes(t.Context(), "", known, 100)
	if err != nil {
		t.Fatal(err)
	}
	known.apply(t, delta)
	states, err := m.SetFlags(t.Context(), []mail.FlagChange{{Ref: mail.Ref{UID: 2}, Delta: mail.FlagDelta{Add: mail.ParseFlags(`\Flagged`)}}})
	if err != nil {
		t.Fatal(err)
	}
	known.flags[2] = states[0].Flags
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	landed, err := b.Commit(t.Context(), []mail.Pending{add(t, b, mail.Message{Flags: mail.ParseFlags(`\Seen`)}, message(9))})
	if err != nil {
		t.Fatal(err)
	}
	known.flags[landed[0].Ref.UID] = mail.ParseFlags(`\Seen`)
	gone, err := m.Remove(t.Context(), refsOf(3))
	if err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	delete(known.flags, 3)
	delta, err = m.Changes(t.Context(), delta.Cursor, known, 100)
	if err != nil || !delta.Empty() || delta.Unsettled != "" {
		t.Errorf("got %+v, %v after own writes", delta, err)
	}
	if got := a.list()["INBOX"].Stamp; delta.Stamp != got || got == "" {
		t.Errorf("got stamp %q after own writes, want %q", delta.Stamp, got)
	}
}
