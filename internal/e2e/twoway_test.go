package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// twoWay is an account of a server with a Maildir beside it, which others change
// on both sides between the syncs. All that the program says to the server is
// logged.
type twoWay struct {
	*account
	target imaptest.Target // the server itself, without the proxy
	server *imapActor
	reader *mailUser
	proxy  *imaptest.Proxy
	log    *imaptest.WireLog
	// parked are mailboxes that one side removed, and the other keeps.
	parked map[string]bool
	loud   bool // the server cannot tell that nothing happened in a mailbox
	// met are contents that came to a mailbox on both sides between two syncs: a pair
	// of them had no base, and its \Deleted stays where it was put (docs/two-way.md).
	met map[mail.Digest]bool
}

// body is what asks for a message and not only for what describes it.
var body = regexp.MustCompile(`(?i)(BODY|BINARY)(\.PEEK)?\[(\]|TEXT|[0-9])`)

func newTwoWay(t testing.TB, dovecot *imaptest.Dovecot) *twoWay {
	t.Helper()
	return newTwoWayOf(t, dovecot, dovecot.NewUser())
}

func newTwoWayOf(t testing.TB, dovecot *imaptest.Dovecot, user string) *twoWay {
	t.Helper()
	return newTwoWayAt(t, dovecot.Target(user))
}

func newTwoWayAt(t testing.TB, target imaptest.Target) *twoWay {
	t.Helper()
	w := &twoWay{target: target, parked: map[string]bool{}, met: map[mail.Digest]bool{}}
	w.account = onTarget(t, w.target)
	w.proxy = w.via(t, w.target)
	w.log = w.proxy.WireLog()
	w.server = &imapActor{Client: client(t, w.target)}
	w.reader = &mailUser{root: w.dir}
	return w
}

// sync runs a sync both ways, which has to keep the rules of the wire.
func (w *twoWay) sync(t testing.TB, more ...string) *call {
	t.Helper()
	c := w.run(t, w.pair("sync", more...)...)
	w.log.Assert(t, imaptest.ReadWrite)
	return c
}

// sides are what both sides hold now, without the mailboxes that only one side
// has on purpose.
func (w *twoWay) sides(t testing.TB) (server, local imaptest.Dump) {
	t.Helper()
	server, local = w.target.MustDump(t), treeDump(t, w.dir)
	for name := range w.parked {
		delete(server, name)
		delete(local, name)
	}
	return server, local
}

// agree fails the test when the sides do not hold the same: mailboxes, messages,
// flags, keywords, dates. It answers with what they hold.
func (w *twoWay) agree(t testing.TB) imaptest.Dump {
	t.Helper()
	server, local := w.sides(t)
	if diff := imaptest.Diff(w.shared(server).Content(), w.shared(local).Content()); diff != "" {
		t.Errorf("the sides differ (- only on the server, + only in the Maildir):\n%s", clip(diff))
	}
	return server
}

// shared is what both sides have to hold alike: all but the \Deleted of what met.
func (w *twoWay) shared(d imaptest.Dump) imaptest.Dump {
	d = maps.Clone(d)
	for name, box := range d {
		box.Messages = slices.Clone(box.Messages)
		for i, e := range box.Messages {
			if w.met[e.Digest] {
				box.Messages[i].Flags = e.Flags.Minus(mail.Flags{System: mail.Deleted})
			}
		}
		d[name] = box
	}
	return d
}

// quietly runs a sync that has nothing to do, and fails the test when it does
// something, asks for more than a listing, or writes.
func (w *twoWay) quietly(t testing.TB, more ...string) {
	t.Helper()
	w.log.Reset()
	before := snapshot(t, w.dir)
	c := w.sync(t, append([]string{"--json", "-v"}, more...)...).want(t, 0)
	c.unchanged(t)
	if !w.loud {
		checkQuiet(t, w.log)
	}
	if diff := imaptest.Diff(before, snapshot(t, w.dir)); diff != "" {
		t.Errorf("a sync without anything to do wrote (- before, + after):\n%s\n%s", clip(diff), c)
	}
}

// settled is all that has to hold after a sync that got through.
func (w *twoWay) settled(t testing.TB, more ...string) imaptest.Dump {
	t.Helper()
	d := w.agree(t)
	w.quietly(t, more...)
	w.checkState(t)
	return d
}

// bodies counts the bodies that were fetched and the messages that were uploaded
// since the log was reset.
func (w *twoWay) bodies() (fetched, uploaded []string) {
	for _, c := range w.log.Commands() {
		if c.Verb == "UID FETCH" && body.MatchString(c.Line) {
			fetched = append(fetched, c.Line)
		}
		if c.Verb == "APPEND" {
			uploaded = append(uploaded, c.Line)
		}
	}
	return fetched, uploaded
}

// trash is how often each message lies in the retention area, by its content.
func (w *twoWay) trash(t testing.TB) map[mail.Digest]int {
	t.Helper()
	held := map[mail.Digest]int{}
	for _, path := range w.retained(t) {
		held[readStored(t, path, nil, false).Digest]++
	}
	return held
}

// mailboxes are the names that both sides may be changed in.
func (w *twoWay) mailboxes(d imaptest.Dump) []string {
	var names []string
	for name := range d {
		if !w.parked[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// describe is a history for the log of a test.
func describe(edits []string) string {
	var b strings.Builder
	for i, e := range edits {
		fmt.Fprintf(&b, "%3d %s\n", i, e)
	}
	return b.String()
}
