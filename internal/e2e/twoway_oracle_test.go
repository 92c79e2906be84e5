package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// places are the mailboxes of each message, by its content, with its flags.
type places map[mail.Digest][]place

func placesOf(d imaptest.Dump) places {
	p := places{}
	for box, b := range d {
		for _, e := range b.Messages {
			p[e.Digest] = append(p[e.Digest], place{box: box, Entry: e})
		}
	}
	for _, list := range p {
		ordered(list)
	}
	return p
}

// where are the mailboxes, for comparing.
func where(list []place) string {
	var names []string
	for _, p := range list {
		names = append(names, p.box)
	}
	return strings.Join(names, ", ")
}

// expect are the rules for what a sync makes of two sides that agreed on base.
type expect struct {
	base, server, local places
	odd                 map[string]bool
	// unnamed are the messages without a Message-ID: one that the server moved is a
	// new message to everybody, and so its flags are those that the server has.
	unnamed map[mail.Digest]bool
	// touched are the messages that somebody did something to, on each side.
	touched [2]map[mail.Digest]bool
	// renewed are the messages that a side removed or moved: one that is in its place all
	// the same came there anew, and is not the one that the other side knew.
	renewed [2]map[mail.Digest]bool
	// met are the messages whose \Deleted the sides need not agree on (twoWay.met).
	met map[mail.Digest]bool
	// stayed are the messages in mailboxes that only one side has in full.
	stayed map[mail.Digest]bool
	// forgets: what was removed from a mailbox that was renamed in the same round may
	// come back, since the server gives such a mailbox another UIDVALIDITY.
	forgets bool
}

// check fails the test when after is not what the sides had to become. A message
// that only one side moved, copied or removed is where that side has it; one that
// both did something to is as many times there as their changes together allow;
// flags are merged one by one.
func (x *expect) check(t testing.TB, after imaptest.Dump) {
	t.Helper()
	end := placesOf(after)
	all := map[mail.Digest]bool{}
	for _, p := range []places{x.base, x.server, x.local, end} {
		for d := range p {
			all[d] = true
		}
	}
	for d := range all {
		if why := x.wrong(d, end[d]); why != "" {
			t.Errorf("%s of %.12s: it was in {%s}, then in {%s} on the server and in {%s} in the Maildir, and is in {%s}", why, d,
				where(x.base[d]), where(x.server[d]), where(x.local[d]), where(end[d]))
		}
	}
}

func (x *expect) wrong(d mail.Digest, end []place) string {
	base, server, local := x.base[d], x.server[d], x.local[d]
	odd := slices.ContainsFunc(slices.Concat(base, server, local, end), func(p place) bool { return x.odd[p.box] })
	onServer, onLocal := where(base) != where(server), where(base) != where(local)
	if len(base) > 1 {
		onServer, onLocal = x.touched[0][d], x.touched[1][d]
	}
	least := min(len(server), len(local), len(server)+len(local)-len(base))
	most := max(len(server), len(local), len(server)+len(local)-len(base))
	if len(base) > 1 { // both may have removed the same one of equals, and put it elsewhere
		out, in := changed(base, server)
		out2, in2 := changed(base, local)
		most = max(most, len(base)+in+in2-max(out, out2))
	}
	switch {
	case len(end) < least && !x.stayed[d]:
		return fmt.Sprintf("%d lost", least-len(end))
	case len(end) > most && !(odd && x.forgets):
		return fmt.Sprintf("%d too many", len(end)-most)
	case odd:
		return ""
	case !onLocal && !x.renewed[1][d] && where(end) != where(server), !onServer && !x.renewed[0][d] && where(end) != where(local):
		return "wrong place"
	case len(base) == 1 && len(server) == 1 && len(local) == 1 && onServer && onLocal && where(end) != where(server):
		return "not in the server's place"
	}
	if x.unnamed[d] && onServer {
		return ""
	}
	if len(base) == 1 && len(server) == 1 && len(local) == 1 && len(end) == 1 {
		return x.wrongFlags(base[0], server[0], local[0], end[0], onServer || onLocal || x.met[d])
	}
	return ""
}

// changed counts, by mailbox, what went from where it was and what came.
func changed(before, after []place) (out, in int) {
	n := map[string]int{}
	for _, p := range before {
		n[p.box]--
	}
	for _, p := range after {
		n[p.box]++
	}
	for _, k := range n {
		out, in = out-min(k, 0), in+max(k, 0)
	}
	return out, in
}

func (x *expect) wrongFlags(base, server, local, end place, moved bool) string {
	a, b := server.Flags, local.Flags
	want := a.Intersect(b).Union(a.Union(b).Minus(base.Flags))
	got := end.Flags
	if moved { // clients that move by copy leave \Deleted behind
		deleted := mail.Flags{System: mail.Deleted}
		want, got = want.Minus(deleted), got.Minus(deleted)
	}
	if want.Equal(got) {
		return ""
	}
	return fmt.Sprintf("flags [%s], not [%s],", got, want)
}
