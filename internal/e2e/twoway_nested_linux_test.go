package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// nesting is an account in which both sides rename, make and fill mailboxes below
// mailboxes, on a real server; with deletes they give some up, too.
type nesting struct {
	*twoWay
	random  *rand.Rand
	deletes bool
	made    int
	edits   []string
	gaveUp  map[mail.Digest]bool // they were in a mailbox that a side gave up
}

func (n *nesting) did(format string, args ...any) {
	n.edits = append(n.edits, fmt.Sprintf(format, args...))
}

// name is a name of up to three levels, of few.
func (n *nesting) name() string {
	parts := make([]string, 1+n.random.IntN(3))
	for i := range parts {
		parts[i] = string(rune('A' + n.random.IntN(3)))
	}
	return strings.Join(parts, "/")
}

func (n *nesting) letter() []byte {
	n.made++
	return fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <n%d@example.org>\r\nSubject: %d\r\n\r\nbody %d\r\n", n.made, n.made, n.made)
}

func (n *nesting) options() []string {
	if n.deletes {
		return []string{"--force-deletes", "--delete-mailboxes"}
	}
	return []string{"--force-deletes"}
}

var nestedDay = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// onServer changes something on the server. What it refuses did not happen.
func (n *nesting) onServer(t *testing.T) {
	t.Helper()
	held := n.target.MustDump(t)
	boxes := n.mailboxes(held)
	// Without identities an empty mailbox under a new name is a new one.
	empty := func(boxes []string, box string) bool {
		return slices.ContainsFunc(boxes, func(b string) bool {
			return (b == box || strings.HasPrefix(b, box+"/")) && len(held[b].Messages) == 0
		})
	}
	box, to := boxes[n.random.IntN(len(boxes))], n.name()
	switch kind := n.random.IntN(10); {
	case kind < 4 && box != "INBOX" && !slices.Contains(boxes, to) && !strings.HasPrefix(to, box+"/") && !empty(boxes, box):
		n.did("server: rename %s %s: %v", box, to, n.server.names("RENAME", box, to))
	case kind < 5:
		n.did("server: create %s: %v", to, n.server.names("CREATE", to))
	case kind < 6 && n.deletes && box != "INBOX":
		for _, e := range held[box].Messages {
			n.gaveUp[e.Digest] = true
		}
		n.did("server: delete %s: %v", box, n.server.names("DELETE", box))
	default:
		n.did("server: new in %s", box)
		must(t, n.server.deliver(box, n.letter(), mail.Flags{}, nestedDay))
	}
	must(t, n.server.rest())
}

// inMaildir changes something in the Maildir.
func (n *nesting) inMaildir(t *testing.T) {
	t.Helper()
	tree := readTree(t, n.dir, true)
	var boxes []string
	for box := range tree {
		boxes = append(boxes, box)
	}
	slices.Sort(boxes)
	box, to := boxes[n.random.IntN(len(boxes))], n.name()
	_, taken := os.Stat(n.reader.box(to))
	switch kind := n.random.IntN(10); {
	case kind < 4 && box != "INBOX" && taken != nil && !strings.HasPrefix(to, box+"/") && n.known(boxes, box):
		n.did("maildir: rename %s %s", box, to)
		must(t, n.reader.rename(box, to))
	case kind < 5:
		n.did("maildir: create %s", to)
		must(t, n.reader.create(to))
	case kind < 6 && n.deletes && box != "INBOX":
		for _, m := range tree[box] {
			n.gaveUp[m.Digest] = true
		}
		n.did("maildir: remove %s", box)
		must(t, n.remove(n.reader.box(box)))
	default:
		n.did("maildir: new in %s", box)
		must(t, n.reader.deliver(box, n.reader.base(), fileOf(n.letter(), false), mail.Flags{}, nestedDay, true))
	}
}

// known reports whether a mailbox of the Maildir and all below it have an identity: what
// other programs made has none, and is not known again when it is empty and renamed.
func (n *nesting) known(boxes []string, box string) bool {
	return !slices.ContainsFunc(boxes, func(b string) bool {
		_, err := os.Stat(filepath.Join(n.reader.box(b), ".postbag-id"))
		return (b == box || strings.HasPrefix(b, box+"/")) && err != nil
	})
}

// remove takes a mailbox away, and leaves those below it.
func (n *nesting) remove(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		own := slices.Contains([]string{"tmp", "new", "cur"}, e.Name())
		if e.IsDir() && !own {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (n *nesting) change(t *testing.T) {
	t.Helper()
	n.edits = nil
	for range 1 + n.random.IntN(5) {
		if n.random.IntN(2) == 0 {
			n.onServer(t)
		} else {
			n.inMaildir(t)
		}
	}
}

// whole fails the test when a side lacks a message that nobody gave up, or, unless sides
// gave mailboxes up, when they differ.
func (n *nesting) whole(t *testing.T) {
	t.Helper()
	n.quietly(t, n.options()...)
	if n.deletes {
		server, local := n.sides(t)
		for _, at := range []places{placesOf(server), placesOf(local)} {
			lost := n.made
			for d := range at {
				if !n.gaveUp[d] {
					lost--
				}
			}
			if lost > len(n.gaveUp) {
				t.Errorf("%d of %d messages are lost", lost-len(n.gaveUp), n.made)
			}
		}
		return
	}
	held := placesOf(n.agree(t))
	if len(held) != n.made {
		t.Errorf("%d messages are there, want %d", len(held), n.made)
	}
	for d, at := range held {
		if len(at) != 1 {
			t.Errorf("%.8s is in {%s}", d, where(at))
		}
	}
}

// Mailboxes below mailboxes, as a real server and a file system rename them: one sync
// makes both sides agree, and the next does nothing; a sync that is killed at any time
// is finished by the next, as if nothing had been.
func TestTwoWayNestedNames(t *testing.T) {
	t.Parallel()
	dovecot := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	histories, kills := 0, 0
	t.Cleanup(func() { t.Logf("%d histories, %d kills", histories, kills) })
	seeds(t, 2, func(seed uint64) {
		n := &nesting{twoWay: newTwoWay(t, dovecot), random: rand.New(rand.NewPCG(seed, 12)), deletes: seed%2 == 0, gaveUp: make(map[mail.Digest]bool)}
		n.sync(t).want(t, 0)
		for range 5 {
			box := n.name()
			_ = n.server.names("CREATE", box) // there already, perhaps
			for range 1 + n.random.IntN(2) {
				must(t, n.server.deliver(box, n.letter(), mail.Flags{}, nestedDay))
			}
		}
		must(t, n.server.rest())
		n.sync(t, n.options()...).want(t, 0)
		for range 4 {
			n.change(t)
			r := keep(t, dovecot, n.twoWay)
			c := n.sync(t, n.options()...)
			if n.whole(t); c.code != 0 || t.Failed() {
				t.Fatalf("POSTBAG_SEED=%d: exit %d; the edits were\n%s\n%s", seed, c.code, strings.Join(n.edits, "\n"), c)
			}
			if end := n.target.MustDump(t); !n.deletes {
				for range 3 {
					r.back(t)
					after := time.Duration(n.random.Int64N(int64(c.elapsed)))
					if r.killWhen(t, after, n.options()...).killed() {
						kills++
					}
					if r.endsAs(t, end, n.options()...); t.Failed() {
						t.Fatalf("POSTBAG_SEED=%d: killed after %v of %v; the edits were\n%s", seed, after, c.elapsed, strings.Join(n.edits, "\n"))
					}
				}
			}
			r.resume(t)
		}
		histories++
	})
}
