package e2e

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// otherServer is a real server that is no Dovecot.
type otherServer struct {
	name   string
	start  func(testing.TB) (target func(user string) imaptest.Target, log func() string)
	habits imaptest.Habits
	loud   bool // it cannot tell that nothing happened in a mailbox
}

var otherServers = []otherServer{
	{"cyrus", func(t testing.TB) (func(string) imaptest.Target, func() string) {
		c := imaptest.StartCyrus(t, imaptest.CyrusOptions{})
		return c.Target, c.Log
	}, imaptest.CyrusHabits, false},
	{"cyrus old face", func(t testing.TB) (func(string) imaptest.Target, func() string) {
		c := imaptest.StartCyrus(t, imaptest.CyrusOptions{OldFace: true})
		return c.Target, c.Log
	}, imaptest.CyrusHabits, false},
	{"courier", func(t testing.TB) (func(string) imaptest.Target, func() string) {
		c := imaptest.StartCourier(t)
		return c.Target, c.Log
	}, imaptest.CourierHabits, true},
}

func eachOtherServer(t *testing.T, test func(*testing.T, otherServer, func(user string) imaptest.Target)) {
	t.Parallel()
	for _, s := range otherServers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			target, log := s.start(t)
			t.Cleanup(func() {
				if t.Failed() {
					text := log()
					t.Logf("the server says\n%s", text[max(0, len(text)-1500):])
				}
			})
			test(t, s, target)
		})
	}
}

// A backup of Cyrus and of Courier holds all that they hold, also of what they
// altered; the second one does nothing; all of it can be proved; and nothing was
// said that changes an account.
func TestOtherServersBackup(t *testing.T) {
	eachOtherServer(t, func(t *testing.T, s otherServer, account func(string) imaptest.Target) {
		target := account("someone")
		if _, err := target.Fill(demo.Corpus(11, 150)); err != nil {
			t.Fatal(err)
		}
		c := client(t, target)
		do(t, c, "CREATE "+c.Name(demo.TortureMailbox))
		taken, refused := 0, 0
		for _, m := range demo.Torture() {
			if !demo.DateSafe(m.Date) {
				continue
			}
			var status *imaptest.StatusError
			if err := c.Append(demo.TortureMailbox, m.Flags, m.Date, m.Raw); errors.As(err, &status) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			} else {
				taken++
			}
		}
		t.Logf("%d taken, %d refused", taken, refused)
		if taken < 60 {
			t.Errorf("the server took only %d of the torture set", taken)
		}
		a := onTarget(t, target)
		log := a.via(t, target).WireLog()
		a.configure(t, "compress = false")
		a.backup(t).want(t, 0)
		server := target.MustDump(t)
		a.sameAs(t, server)
		log.Reset()
		a.checkNoop(t)
		if !s.loud {
			checkQuiet(t, log)
		}
		checkProof(t, a, server.Count())
		log.Assert(t, imaptest.ReadOnly)
		if diff := imaptest.Diff(server.String(), target.MustDump(t).String()); diff != "" {
			t.Errorf("the server was changed:\n%s", diff)
		}
	})
}

// Cyrus and Courier, whatever their names look like and whatever they can do, agree
// with a Maildir after each sync of changes on both sides: messages, flags,
// keywords, moves, and mailboxes made, renamed and deleted.
func TestOtherServersTwoWay(t *testing.T) {
	eachOtherServer(t, func(t *testing.T, s otherServer, account func(string) imaptest.Target) {
		users := 0
		seeds(t, 1, func(seed uint64) {
			users++
			h := newHistory(t, newTwoWayAt(t, account("user"+strings.Repeat("x", users))), seed, true)
			h.configure(t, "compress = false")
			h.loud, h.forgets, h.deletes = s.loud, s.loud, seed%2 == 0
			h.takes = func(wire []byte) bool { return s.habits.Keeps(demo.Sample{Raw: wire, Date: dateOf(wire)}) }
			d := h.begin(30)
			for range 5 {
				d = h.round(d, 10)
			}
			if len(h.parked) == 0 {
				h.verify(t, "--deep").want(t, 0)
			}
		})
	})
}

// A tree goes up to a new account as it is, with its mailboxes below others, and
// what the server does not take is said and costs nothing else.
func TestOtherServersUpload(t *testing.T) {
	eachOtherServer(t, func(t *testing.T, s otherServer, account func(string) imaptest.Target) {
		from := imaptest.StartEmbedded(t, demo.Corpus(12, 150)).Target()
		a := onTarget(t, from)
		a.backup(t).want(t, 0)
		w := newTwoWayAt(t, account("new"))
		w.loud = s.loud
		w.configure(t, "compress = false")
		w.reader.root = w.dir
		for name, list := range readTree(t, a.dir, true) {
			must(t, w.reader.create(name))
			for _, m := range list {
				must(t, w.reader.deliver(name, w.reader.base(), fileOf(m.raw, false), m.Flags, m.Date, false))
			}
		}
		w.sync(t).want(t, 0)
		server, local := w.sides(t)
		for name, box := range server { // Cyrus makes the mailboxes above others
			if _, ok := local[name]; !ok && len(box.Messages) == 0 {
				delete(server, name)
			}
		}
		if diff := imaptest.Diff(server.Content(), local.Content()); diff != "" {
			t.Errorf("the sides differ (- only on the server, + only in the Maildir):\n%s", clip(diff))
		}
		w.sync(t).want(t, 0)
		w.settled(t)
		if fetched, uploaded := w.bodies(); len(fetched)+len(uploaded) > 0 {
			t.Errorf("messages were carried again:\n%s", strings.Join(slices.Concat(fetched, uploaded), "\n"))
		}
	})
}
