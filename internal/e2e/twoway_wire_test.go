package e2e

import (
	"strings"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// What moved between mailboxes on either side, into new ones as well, moves on the
// other: no message is fetched and none is uploaded.
func TestTwoWayMovesCarryNothing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		noCaps []string
	}{
		{"all", nil},
		{"without QRESYNC", []string{"QRESYNC"}},
		{"without CONDSTORE", []string{"QRESYNC", "CONDSTORE"}},
		{"without MOVE", []string{"MOVE"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{NoCaps: test.noCaps}))
			if _, err := w.target.Fill(brief("moved", 80, "INBOX", "Work", "Archive", "Old name")); err != nil {
				t.Fatal(err)
			}
			w.sync(t).want(t, 0)
			before := w.agree(t)
			moveAbout(t, w)
			w.log.Reset()
			s := w.sync(t, "--json").want(t, 0).summary(t)
			if fetched, uploaded := w.bodies(); len(fetched)+len(uploaded) > 0 {
				t.Errorf("messages were carried:\n%s\n%s", strings.Join(fetched, "\n"), strings.Join(uploaded, "\n"))
			}
			if want := (counts{Moved: 10}); s.A != want || s.B != want {
				t.Errorf("got %+v and %+v, want %+v on both sides", s.A, s.B, want)
			}
			after := w.agree(t)
			if got := after.Count(); got != before.Count() {
				t.Errorf("there were %d messages, and now %d", before.Count(), got)
			}
			if kept := w.retained(t); len(kept) > 0 {
				t.Errorf("messages that moved are in the retention area: %q", kept)
			}
			w.sync(t, "--json").want(t, 0).unchanged(t)
			w.checkState(t)
		})
	}
}

// moveAbout moves ten messages on each side, and renames a mailbox.
func moveAbout(t testing.TB, w *twoWay) {
	t.Helper()
	c, r := w.server, w.reader
	must(t, c.names("CREATE", "New there"))
	must(t, c.in("INBOX", "UID MOVE 1:4 Work", `UID MOVE 5:7 "New there"`))
	for uid := uint32(1); uid < 4; uid++ {
		must(t, c.move("Work", uid, "Archive", true))
	}
	must(t, c.rest())
	must(t, c.names("RENAME", "Old name", "New name"))
	tree := readTree(t, w.dir, false)
	inbox, archive := byDate(tree["INBOX"]), byDate(tree["Archive"])
	must(t, r.create("New here"))
	for i := range 4 {
		must(t, r.move(inbox[10+i], "Work", keyOf(inbox[10+i].path)))
	}
	for i := range 3 {
		must(t, r.move(inbox[15+i], "New here", r.base()))
		must(t, r.move(archive[10+i], "INBOX", r.base()))
	}
}

// Whatever there is to do, on servers that can do more and less: every command is
// by UID, changes flags by what to add and take away, and expunges no more than
// it names. The log checks that after every sync.
func TestTwoWayWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		noCaps []string
	}{
		{"without QRESYNC", []string{"QRESYNC"}},
		{"without CONDSTORE", []string{"QRESYNC", "CONDSTORE"}},
		{"without MOVE", []string{"MOVE"}},
		{"bare", []string{
			"QRESYNC", "CONDSTORE", "LIST-STATUS", "STATUS=SIZE", "LIST-EXTENDED", "SPECIAL-USE", "ESEARCH", "MOVE",
			"NAMESPACE", "ENABLE", "LITERAL+", "SASL-IR", "UNSELECT", "ID", "MULTIAPPEND", "BINARY", "SEARCHRES", "NOTIFY",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{NoCaps: test.noCaps})
			seeds(t, 1, func(seed uint64) {
				h := newHistory(t, newTwoWay(t, dovecot), seed, false)
				h.loud = true
				d := h.begin(30)
				for range 3 {
					d = h.round(d, 12)
				}
				if t.Failed() {
					t.Logf("POSTBAG_SEED=%d", seed)
				}
			})
		})
	}
}

// The log tells bodies from what describes a message, or the tests about moves
// could not fail.
func TestBodiesAreCounted(t *testing.T) {
	t.Parallel()
	w := newTwoWay(t, imaptest.StartDovecot(t, imaptest.DovecotOptions{}))
	if _, err := w.target.Fill(brief("one", 3, "INBOX")); err != nil {
		t.Fatal(err)
	}
	w.sync(t).want(t, 0)
	must(t, w.reader.deliver("INBOX", w.reader.base(), []byte("Subject: up\n\ntext\n"), mail.Flags{}, dateOf(nil), false))
	w.sync(t).want(t, 0)
	if fetched, uploaded := w.bodies(); len(fetched) == 0 || len(uploaded) == 0 {
		t.Errorf("3 messages came and one went, and the log has %q and %q", fetched, uploaded)
	}
}
