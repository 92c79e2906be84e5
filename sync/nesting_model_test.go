package sync_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// Random histories of mailboxes below mailboxes, which both sides make, rename, move
// and delete, and of messages in them, of which no two are equal.

func TestNestedModel(t *testing.T) {
	t.Parallel()
	histories(t, 100, nestedHistory)
}

// nester changes mailboxes and messages on both sides.
type nester struct {
	rng  *rand.Rand
	w    *world
	made int // messages
	log  []string
	// dropped are the contents that went on each side in this round, by themselves or
	// with their mailbox.
	dropped [2]map[string]bool
	// ever are those of all rounds.
	ever map[string]bool
	// touched are the contents that something else happened to, if only to a mailbox
	// that they are below.
	touched [2]map[string]bool
	// remade says that a side made a mailbox in this round: what it deleted before may
	// be what is made again.
	remade [2]bool
	// from are the mailboxes that contents were moved out of in this round, as they are
	// called now; new are the names that mailboxes got in it, and lost those that were
	// deleted.
	from      [2]map[string]string
	new, lost [2]map[string]bool
	// twice are the contents that may be in two places: they were moved out of a mailbox
	// that the same side deleted, or renamed while it gives no identities, so that it may
	// not be known again. What the other side did to that mailbox keeps it.
	twice map[string]bool
}

// begin forgets the round before.
func (n *nester) begin() {
	n.dropped, n.touched, n.remade = [2]map[string]bool{{}, {}}, [2]map[string]bool{{}, {}}, [2]bool{}
	n.from = [2]map[string]string{{}, {}}
	n.new, n.lost = [2]map[string]bool{{}, {}}, [2]map[string]bool{{}, {}}
}

// left notes that the contents which were moved out of box may stay in it on the other side.
func (n *nester) left(s state.Side, box string) {
	for content, from := range n.from[s] {
		n.twice[content] = n.twice[content] || from == box
	}
}

// rename renames a mailbox. Without an identity one under another's name may be taken for
// that one, made again.
func (n *nester) rename(s state.Side, box, to string) {
	st := n.w.store[s]
	n.touch(s, n.below(s, box)...)
	n.did(s, "rename %s %s", box, to)
	if !st.ObjectIDs {
		n.remade[s] = n.remade[s] || n.lost[s][to]
		for _, b := range n.below(s, box) {
			n.left(s, b)
			n.new[s][to+strings.TrimPrefix(b, box)] = true
		}
	}
	for content, from := range n.from[s] {
		if rest, ok := strings.CutPrefix(from+"/", box+"/"); ok {
			n.from[s][content] = strings.TrimSuffix(to+"/"+rest, "/")
		}
	}
	st.RenameBox(box, to)
}

func (n *nester) name() string {
	parts := make([]string, 1+n.rng.IntN(3))
	for i := range parts {
		parts[i] = string(rune('A' + n.rng.IntN(3)))
	}
	return strings.Join(parts, "/")
}

// below are the mailboxes of a side that are box, or below it.
func (n *nester) below(s state.Side, box string) []string {
	return slices.DeleteFunc(n.w.store[s].Boxes(), func(b string) bool { return b != box && !strings.HasPrefix(b, box+"/") })
}

func (n *nester) touch(s state.Side, boxes ...string) {
	for _, box := range boxes {
		for _, m := range n.w.store[s].Messages(box) {
			n.touched[s][string(m.Body)] = true
		}
	}
}

func (n *nester) did(s state.Side, format string, args ...any) {
	n.log = append(n.log, fmt.Sprintf("%v: ", s)+fmt.Sprintf(format, args...))
}

func (n *nester) drop(s state.Side, box string) {
	n.did(s, "delete %s", box)
	n.left(s, box)
	n.lost[s][box] = true
	for _, m := range n.w.store[s].Messages(box) {
		n.dropped[s][string(m.Body)] = true
	}
	n.w.store[s].DropBox(box)
}

func (n *nester) act(s state.Side) {
	st := n.w.store[s]
	boxes := st.Boxes()
	box := boxes[n.rng.IntN(len(boxes))]
	to := boxes[n.rng.IntN(len(boxes))]
	msgs := st.Messages(box)
	kind := n.rng.IntN(14)
	switch {
	case box != "INBOX" && kind < 4:
		if to := n.name(); !slices.Contains(boxes, to) && !strings.HasPrefix(to, box+"/") {
			n.rename(s, box, to)
		}
	case box != "INBOX" && kind < 5:
		n.drop(s, box)
	case box != "INBOX" && kind < 6:
		for _, b := range n.below(s, box) {
			n.drop(s, b)
		}
	case kind < 7:
		name := n.name()
		n.did(s, "create %s", name)
		st.AddBox(name)
		n.remade[s] = true
	case kind < 10 || len(msgs) == 0:
		n.made++
		n.touched[s][text(n.made)] = true
		n.did(s, "put %s %d", box, n.made)
		st.Put(box, mail.Flags{}, day, text(n.made))
	default:
		m := msgs[n.rng.IntN(len(msgs))]
		switch kind {
		case 10:
			n.dropped[s][string(m.Body)] = true
			n.did(s, "take %s %.10q", box, m.Body[12:])
			st.Del(box, m.Ref)
		case 11, 12:
			if to != box { // without an identity that is another message
				n.touched[s][string(m.Body)] = true
				n.did(s, "move %s %.10q %s", box, m.Body[12:], to)
				n.from[s][string(m.Body)] = box
				st.MoveMsg(box, m.Ref, to)
				if n.new[s][box] {
					n.left(s, box)
				}
			}
		default:
			n.touched[s][string(m.Body)] = true
			st.Flag(box, m.Ref, flagSets[n.rng.IntN(len(flagSets))])
		}
	}
}

func nestedHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 6))
	n := &nester{rng: rng, w: newWorld(), ever: make(map[string]bool), twice: make(map[string]bool)}
	w := n.w
	p := sync.TwoWay()
	if seed%4 > 0 {
		p = deleting()
	}
	w.store[0].ObjectIDs, w.store[1].ObjectIDs = rng.IntN(2) == 0, rng.IntN(2) == 0
	w.store[0].AddBox("INBOX")
	for range 6 {
		box := n.name()
		w.store[0].AddBox(box)
		for range rng.IntN(3) {
			n.made++
			w.store[0].Put(box, mail.Flags{}, day, text(n.made))
		}
	}
	apart := make(map[int64]bool)
	show := showWhenFailed(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("identity %v %v; the edits were\n%s", w.store[0].ObjectIDs, w.store[1].ObjectIDs, strings.Join(n.log, "\n"))
		}
	})
	w.mustRun(t, p, nil)
	for range 3 {
		n.log = append(n.log, "run")
		n.begin()
		had := [2]map[string]int{bodies(w.store[0]), bodies(w.store[1])}
		for range 1 + rng.IntN(8) {
			n.act(state.Side(rng.IntN(2)))
		}
		before := w.clone(-1)
		*show = rounds{before, w}
		w.mustRun(t, p, nil)
		n.check(t, had)
		checkNames(t, w, apart)
		w.checkQuiet(t, p)
		crashEverywhere(t, before, p, w, true)
	}
}

// check expects that nothing is lost that nobody deleted, nothing is there twice, and
// what one side deleted while nothing happened to it on the other stays deleted.
func (n *nester) check(t *testing.T, had [2]map[string]int) {
	t.Helper()
	now := [2]map[string]int{bodies(n.w.store[0]), bodies(n.w.store[1])}
	for _, dropped := range n.dropped {
		maps.Copy(n.ever, dropped)
	}
	for i := range n.made {
		content := text(i + 1)
		for s := range now {
			o := 1 - s
			if now[s][content] > 1 && !n.twice[content] {
				t.Errorf("%q is on side %v %d times", content, state.Side(s), now[s][content])
			}
			if now[s][content] == 0 && !n.ever[content] {
				t.Errorf("%q is lost on side %v", content, state.Side(s))
			}
			if had[s][content] > 0 && n.dropped[s][content] && !n.touched[s][content] && !n.touched[o][content] && !n.remade[s] && now[s][content] > 0 {
				t.Errorf("%q was deleted on side %v, and is there again", content, state.Side(s))
			}
		}
	}
}

// checkNames expects that what is one mailbox has one name, unless neither side can
// have the other's: apart are those that had two before.
func checkNames(t *testing.T, w *world, apart map[int64]bool) {
	t.Helper()
	boxes, err := w.journal.Mailboxes(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range boxes {
		a, b := m.Name[0], m.Name[1]
		if apart[m.ID] || a == b || a == "" || b == "" {
			continue
		}
		apart[m.ID] = true
		for path.Base(a) == path.Base(b) && path.Dir(a) != "." && path.Dir(b) != "." { // those above it have two names
			a, b = path.Dir(a), path.Dir(b)
		}
		if w.store[0].Renamable(a, b) || w.store[1].Renamable(b, a) {
			t.Errorf("mailbox %d is %q on one side and %q on the other", m.ID, m.Name[0], m.Name[1])
		}
	}
}
