package imapstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// parcel is a message to be delivered, and what became of it.
type parcel struct {
	body    []byte
	ref     mail.Ref
	err     *mail.Error
	pending *mail.Pending // on its way when a commit failed
}

func (p *parcel) open() bool { return p.ref.IsZero() && p.err == nil }

// parcels are messages of which five are the same in every octet, and some hold
// the word poison.
func parcels(poison ...int) []*parcel {
	var all []*parcel
	for i := range 14 {
		n := max(i-4, 0)
		body := fmt.Sprintf("Message-ID: <%d@x>\r\nSubject: %d\r\n\r\nThis is message %d.\r\n", n, n, n)
		if slices.Contains(poison, i) {
			body += fmt.Sprintf("poison %d\r\n", i)
		}
		all = append(all, &parcel{body: []byte(body)})
	}
	return all
}

// deliver does what the engine does: one commit after the other, each after a
// failure with a store of its own that first finds out what arrived. It answers
// with the errors of the commits.
func deliver(t *testing.T, open func() (*Store, error), all []*parcel) (errs []error) {
	t.Helper()
	for range 5 {
		err := deliverOnce(t, open, all)
		if err == nil {
			return errs
		}
		errs = append(errs, err)
	}
	t.Errorf("nothing gets through: %v", errs)
	return errs
}

func deliverOnce(t *testing.T, open func() (*Store, error), all []*parcel) error {
	t.Helper()
	store, err := open()
	if err != nil {
		return err
	}
	m, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		return err
	}
	if err := findDelivered(t, m, all); err != nil {
		return err
	}
	b, err := m.Batch(t.Context())
	if err != nil {
		return err
	}
	defer b.Abort()
	var on []*parcel
	var pending []mail.Pending
	for _, p := range all {
		if !p.open() {
			continue
		}
		id := mail.Identity{MessageID: mail.MessageIDOf(p.body), Described: true, Digest: mail.Digest(sha256.Sum256(p.body))}
		q := add(t, b, mail.Message{ID: id, Flags: mail.ParseFlags(`\Seen`, "Word"), Date: time.Unix(1e9, 0)}, p.body)
		q.Message.ID = id
		p.pending = &q
		on, pending = append(on, p), append(pending, q)
	}
	landed, err := b.Commit(t.Context(), pending)
	for i, p := range on {
		if p.ref, p.err = landed[i].Ref, landed[i].Err; !p.open() {
			p.pending = nil
		} else if err == nil {
			t.Errorf("no answer for message %d, and no error", i)
		}
	}
	return err
}

// findDelivered asks what became of the messages that were on their way.
func findDelivered(t *testing.T, m mail.WritableMailbox, all []*parcel) error {
	t.Helper()
	known := newKnown()
	var pending []mail.Pending
	var on []*parcel
	for _, p := range all {
		switch {
		case !p.ref.IsZero():
			known.flags[p.ref.UID] = mail.Flags{}
		case p.pending != nil:
			pending, on = append(pending, *p.pending), append(on, p)
		}
	}
	landed, err := m.Recover(t.Context(), pending, known)
	for i := range landed {
		on[i].ref, on[i].pending = landed[i].Ref, nil
	}
	return err
}

// checkDelivered compares a mailbox with what was delivered: each message once,
// under the UID that was told, and none of those that were refused.
func checkDelivered(t *testing.T, all []*parcel, there map[uint32]mail.Digest) {
	t.Helper()
	seen := make(map[uint32]bool)
	n := 0
	for i, p := range all {
		if p.err != nil {
			continue
		}
		n++
		if got, ok := there[p.ref.UID]; !ok || got != mail.Digest(sha256.Sum256(p.body)) || seen[p.ref.UID] {
			t.Errorf("message %d is said to have UID %d, which is another one (there: %v, taken: %v)", i, p.ref.UID, ok, seen[p.ref.UID])
		}
		seen[p.ref.UID] = true
	}
	if len(there) != n {
		t.Errorf("the mailbox holds %d messages, want %d", len(there), n)
	}
}

// scripted is a server whose INBOX is empty, and a way to open stores on it.
func scripted(t *testing.T, setup func(*imaptest.Script)) (*imaptest.Scripted, func() (*Store, error)) {
	t.Helper()
	server := imaptest.StartScripted(t, func(s *imaptest.Script) {
		s.Box("INBOX").Messages = nil
		if setup != nil {
			setup(s)
		}
	})
	return server, func() (*Store, error) {
		s, err := Open(t.Context(), Config{TempDir: t.TempDir(), Log: t.Logf, Conn: imapconn.Config{
			Addr: server.Addr(), TLS: imapconn.TLSNone,
			Auth: imapconn.Auth{User: "u", Secret: func(context.Context) (string, error) { return "p", nil }},
		}})
		if err != nil {
			return nil, err
		}
		s.wait = func(context.Context, time.Duration) error { return nil }
		t.Cleanup(func() { s.Close() })
		return s, nil
	}
}

// stored is what the server's INBOX holds.
func stored(server *imaptest.Scripted) map[uint32]mail.Digest {
	there := make(map[uint32]mail.Digest)
	server.Edit(func(s *imaptest.Script) {
		for _, m := range s.Box("INBOX").Messages {
			there[m.UID] = mail.Digest(sha256.Sum256(m.Raw))
		}
	})
	return there
}

// appends are the commands that upload, one of them as one line.
func appends(server *imaptest.Scripted) (all []string) {
	for _, c := range server.Commands() {
		if strings.HasPrefix(c, "APPEND") {
			all = append(all, c)
		}
	}
	return all
}

func several(cmd *imaptest.ScriptCommand) bool { return strings.Count(cmd.Line, "{") > 1 }

func poisoned(cmd *imaptest.ScriptCommand) bool {
	return slices.ContainsFunc(cmd.Args, func(t imaptest.Token) bool { return strings.Contains(t.Text, "poison") })
}

// refuse answers an APPEND that has the property with a reply.
func refuse(which func(*imaptest.ScriptCommand) bool, reply string) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		s.OnCommand("APPEND", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
			if which(cmd) {
				c.Done("%s", reply)
				return true
			}
			return false
		})
	}
}

var appendUID = regexp.MustCompile(`\[APPENDUID (\d+) (\S+)\]`)

// tells makes the server's APPENDUIDs say something else.
func tells(with string) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		s.OnReply(func(_ *imaptest.ScriptConn, _ *imaptest.ScriptCommand, r string) []string {
			return []string{appendUID.ReplaceAllString(r, with)}
		})
	}
}

// once runs a hook for the first APPEND only.
func once(fn func(*imaptest.ScriptConn, *imaptest.ScriptCommand)) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		done := false
		s.OnCommand("APPEND", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
			if done {
				return false
			}
			done = true
			fn(c, cmd)
			return true
		})
	}
}

// keep stores an APPEND's messages and drops all but the first n again.
func keep(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand, n int) {
	c.Default(cmd)
	b := c.Script.Box("INBOX")
	b.Messages = b.Messages[:min(n, len(b.Messages))]
}

// partly stores four messages of the first APPEND and answers what it is told to,
// or nothing.
func partly(reply string, end func(*imaptest.ScriptConn)) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		silent := false
		once(func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) {
			silent = true
			keep(c, cmd, 4)
			end(c)
		})(s)
		s.OnReply(func(_ *imaptest.ScriptConn, cmd *imaptest.ScriptCommand, r string) []string {
			switch {
			case !silent:
				return []string{r}
			case reply == "":
				silent = false
				return nil
			}
			silent = false
			return []string{cmd.Tag + " " + reply + "\r\n"}
		})
	}
}

// Whatever a server makes of a group, each message arrives once, those at fault
// are refused by themselves, and what is said of it is true.
func TestUploadInGroups(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		setup  func(*imaptest.Script)
		poison []int
		errs   int       // commits that fail
		kind   mail.Kind // of those, or of the messages that are refused
		most   int       // commands
	}{
		{name: "good", most: 1},
		{name: "no APPENDUID", setup: tells(""), most: 1},
		{name: "another UIDVALIDITY", setup: tells("[APPENDUID 4711 $2]"), most: 1},
		{name: "too few", setup: tells("[APPENDUID $1 11:13]"), most: 1},
		{name: "too many", setup: tells("[APPENDUID $1 11:40]"), most: 1},
		{name: "four thousand million", setup: tells("[APPENDUID $1 1:4294967295]"), most: 1},
		{name: "reversed", setup: tells("[APPENDUID $1 24,23,22,21,20,19,18,17,16,15,14,13,12,11]"), most: 1},
		{name: "old ones", setup: tells("[APPENDUID $1 1:14]"), most: 1},
		{name: "one twice", setup: tells("[APPENDUID $1 11,11:23]"), most: 1},
		{name: "fields reversed", setup: tells("[APPENDUID $2 $1]"), most: 1},
		{name: "NO over one", setup: refuse(poisoned, "NO virus"), poison: []int{9}, kind: mail.KindRefused, most: 9},
		{name: "NO over three", setup: refuse(poisoned, "NO [TOOBIG] x"), poison: []int{0, 6, 13}, kind: mail.KindTooLarge, most: 27},
		{name: "NO [LIMIT] over one", setup: refuse(poisoned, "NO [LIMIT] Too many identical emails"), poison: []int{3}, kind: mail.KindRefused, most: 9},
		{name: "BAD over one", setup: refuse(poisoned, "BAD what"), poison: []int{7}, kind: mail.KindProtocol, most: 15},
		{name: "BAD over two", setup: refuse(poisoned, "BAD what"), poison: []int{1, 12}, kind: mail.KindProtocol, most: 15},
		{name: "BAD to all groups", setup: refuse(several, "BAD one at a time"), most: 15},
		{name: "BAD to what does not wait", setup: refuse(func(c *imaptest.ScriptCommand) bool { return strings.Contains(c.Line, "+}") }, "BAD no"), most: 15},
		{name: "part of it stored, and then cut", setup: partly("", (*imaptest.ScriptConn).Reset), errs: 1, kind: mail.KindUnreachable, most: 2},
		{name: "NO, and part of it stored", setup: partly("NO disk", func(*imaptest.ScriptConn) {}), most: 3},
		{name: "BAD, and part of it stored", setup: partly("BAD what", func(*imaptest.ScriptConn) {}), most: 11},
		{name: "BYE", setup: once(func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) {
			c.Send("BYE [UNAVAILABLE] going down")
			c.Close()
		}), errs: 1, kind: mail.KindUnreachable, most: 2},
		{name: "stored, and then cut", setup: imaptest.ApplyQuirk(t, "append-cut-after"), errs: 1, kind: mail.KindUnreachable, most: 1},
		{name: "stray continuations", setup: func(s *imaptest.Script) {
			s.OnCommand("APPEND", func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool { c.Raw("+ what\r\n"); return false })
		}, most: 1},
		{name: "NO [LIMIT] to all", setup: refuse(several, "NO [LIMIT] not so many"), errs: 5, kind: mail.KindThrottled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, open := scripted(t, test.setup)
			all := parcels(test.poison...)
			if test.errs == 5 {
				if err := deliverOnce(t, open, all); mail.AsError(err).Kind != test.kind || len(stored(server)) > 0 {
					t.Errorf("got %v with %d messages there", err, len(stored(server)))
				}
				return
			}
			errs := deliver(t, open, all)
			if len(errs) != test.errs || len(errs) > 0 && mail.AsError(errs[0]).Kind != test.kind {
				t.Errorf("got errors %v, want %d of kind %d", errs, test.errs, test.kind)
			}
			for i, p := range all {
				if bad := slices.Contains(test.poison, i); bad != (p.err != nil) || bad && (p.err.Kind != test.kind || p.err.Scope != mail.ScopeMessage) {
					t.Errorf("message %d: got %+v", i, p.err)
				}
			}
			checkDelivered(t, all, stored(server))
			if got := appends(server); len(got) > test.most {
				t.Errorf("%d commands, want at most %d: %q", len(got), test.most, got)
			}
		})
	}
}

// A refusal that is about the room in the account is that of the messages that did
// not fit, with groups and without: all others arrive.
func TestUploadWhenFullBetweenGroups(t *testing.T) {
	t.Parallel()
	for _, caps := range [][]string{nil, {"MULTIAPPEND"}, {"MULTIAPPEND", "LITERAL+"}} {
		server, open := scripted(t, func(s *imaptest.Script) {
			s.Without(caps...)
			refuse(poisoned, "NO [OVERQUOTA] full")(s)
		})
		all := parcels(8)
		for _, p := range all { // a group each, where there are groups
			p.body = append(p.body, bytes.Repeat([]byte("x"), groupOctets*2/3)...)
		}
		if err := deliverOnce(t, open, all); err != nil {
			t.Errorf("without %v: %v", caps, err)
		}
		there := stored(server)
		answered := 0
		for i, p := range all {
			if p.err != nil && mail.AsError(p.err).Kind != mail.KindQuota {
				t.Errorf("without %v: message %d is refused: %v", caps, i, p.err)
			}
			if !p.ref.IsZero() {
				answered++
				if there[p.ref.UID] != mail.Digest(sha256.Sum256(p.body)) {
					t.Errorf("without %v: message %d is not what UID %d is", caps, i, p.ref.UID)
				}
			}
		}
		if answered != len(there) || answered < 1 {
			t.Errorf("without %v: %d messages are there, %d were answered", caps, len(there), answered)
		}
	}
}

// A server that takes only some of a group, and says that it took all: what is
// missing is told, and what is there is not sent again.
func TestUploadWhenSomeAreDropped(t *testing.T) {
	t.Parallel()
	server, open := scripted(t, func(s *imaptest.Script) {
		tells("")(s)
		once(func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) { keep(c, cmd, 7) })(s)
	})
	all := parcels()
	if errs := deliver(t, open, all); len(errs) > 0 {
		t.Fatal(errs)
	}
	missing := 0
	for _, p := range all {
		if p.err != nil && p.err.Kind == mail.KindProtocol {
			missing++
			p.err = nil // the engine tries it again in the next run
		}
	}
	if missing != 7 {
		t.Errorf("%d messages are told to be missing, want 7", missing)
	}
	deliver(t, open, all)
	checkDelivered(t, all, stored(server))
}

// What a server offers and refuses is not tried again; that it refused one
// message is no reason.
func TestUploadRemembersWhatDoesNotWork(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		setup  func(*imaptest.Script)
		poison []int
		most   int // commands of the second commit
		plus   bool
	}{
		{"MULTIAPPEND", refuse(several, "BAD no"), nil, 14, true},
		{"LITERAL+", func(s *imaptest.Script) {
			s.Without("MULTIAPPEND")
			refuse(func(c *imaptest.ScriptCommand) bool { return strings.Contains(c.Line, "+}") }, "BAD no")(s)
		}, nil, 14, false},
		{"one message", refuse(poisoned, "BAD no"), []int{5}, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, open := scripted(t, test.setup)
			store, err := open()
			if err != nil {
				t.Fatal(err)
			}
			same := func() (*Store, error) { return store, nil }
			all := parcels(test.poison...)
			deliver(t, same, all)
			before := len(appends(server))
			more := parcels()
			deliver(t, same, more)
			checkDelivered(t, append(all, more...), stored(server))
			got := appends(server)[before:]
			if len(got) != test.most || strings.Contains(got[0], "+}") != test.plus {
				t.Errorf("got %d commands: %q", len(got), got)
			}
		})
	}
}

// Each message arrives once with fewer extensions as well; literals go ahead of
// the server's leave where they may.
func TestUploadWithFewerExtensions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		without []string
		minus   bool // LITERAL-
		waits   func(size int) bool
	}{
		{"no MULTIAPPEND", []string{"MULTIAPPEND"}, false, func(int) bool { return false }},
		{"LITERAL-", []string{"LITERAL+", "MULTIAPPEND"}, true, func(n int) bool { return n > 4096 }},
		{"LITERAL- and MULTIAPPEND", []string{"LITERAL+"}, true, func(n int) bool { return n > 4096 }},
		{"MULTIAPPEND only", []string{"LITERAL+"}, false, func(int) bool { return true }},
		{"nothing", []string{"LITERAL+", "MULTIAPPEND", "UIDPLUS"}, false, func(int) bool { return true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, open := scripted(t, func(s *imaptest.Script) {
				s.Without(test.without...)
				if test.minus {
					s.Caps = append(s.Caps, "LITERAL-")
				}
			})
			var all []*parcel
			for range 4 {
				all = append(all, parcels()...)
			}
			for _, p := range all[20:30] {
				p.body = append(p.body, bytes.Repeat([]byte("x"), 5000)...)
			}
			deliver(t, open, all)
			checkDelivered(t, all, stored(server))
			for _, c := range appends(server) {
				for _, m := range regexp.MustCompile(`\{(\d+)(\+?)\}`).FindAllStringSubmatch(c, -1) {
					var size int
					fmt.Sscan(m[1], &size)
					if (m[2] == "") != test.waits(size) {
						t.Errorf("%q", c)
					}
				}
			}
			if got, alone := server.Connections(), !test.waits(1); (got == 1) != alone {
				t.Errorf("%d connections", got)
			}
		})
	}
}

// Messages of a batch are not taken for those of the batch before, which landed
// while this one was filled.
func TestUploadWhenBatchesOverlap(t *testing.T) {
	t.Parallel()
	server, open := scripted(t, tells(""))
	store, err := open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var batches []mail.Batch
	var pending []mail.Pending
	for range 2 {
		b, err := m.Batch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		batches, pending = append(batches, b), append(pending, add(t, b, mail.Message{}, parcels()[0].body))
	}
	var all []*parcel
	for i, b := range batches {
		landed, err := b.Commit(t.Context(), pending[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &parcel{body: parcels()[0].body, ref: landed[0].Ref, err: landed[0].Err})
	}
	checkDelivered(t, all, stored(server))
}

func TestParseAppendUID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args string
		n    int
		want []uint32
	}{
		{"9 5", 1, []uint32{5}},
		{"9 5:7", 3, []uint32{5, 6, 7}},
		{"9 5,8:9", 3, []uint32{5, 8, 9}},
		{"9 5:7", 2, nil}, {"9 5:7", 4, nil}, // not as many
		{"8 5", 1, nil},             // another mailbox
		{"9 7,6", 2, nil},           // not in order
		{"9 6,6", 2, nil},           // one twice
		{"9 5:4294967295", 2, nil},  // four thousand million
		{"9 *", 1, nil},             //
		{"9 0", 1, nil},             //
		{"9", 1, nil}, {"", 1, nil}, //
		{"9 5 6", 1, nil}, {"9 5,", 1, nil}, {"9x 5", 1, nil},
	}
	for _, test := range tests {
		if got := parseAppendUID(test.args, 9, test.n); !slices.Equal(got, test.want) {
			t.Errorf("%q for %d: got %v, want %v", test.args, test.n, got, test.want)
		}
	}
}

func FuzzParseAppendUID(f *testing.F) {
	f.Add("9 5:7", 3)
	f.Add("9 1:4294967295", 2)
	f.Fuzz(func(t *testing.T, args string, n int) {
		got := parseAppendUID(args, 9, n%1000)
		if got != nil && (len(got) != n%1000 || !slices.IsSorted(got) || got[0] == 0) {
			t.Errorf("%q for %d: got %v", args, n%1000, got)
		}
	})
}
