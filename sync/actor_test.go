package sync_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

var flagSets = []mail.Flags{{}, mail.ParseFlags(`\Seen`), mail.ParseFlags(`\Seen`, `\Answered`), mail.ParseFlags(`\Flagged`, "work"),
	mail.ParseFlags(`\Draft`, "$Forwarded", "later")}

// body makes a message. Few distinct ones, so that duplicates and look-alikes are
// common: kinds without a Message-ID, with one shared by different contents of
// one size, and exact duplicates.
func body(rng *rand.Rand) string {
	n := rng.IntN(12)
	switch rng.IntN(4) {
	case 0:
		return fmt.Sprintf("Subject: none\r\n\r\nno id %02d\r\n", n)
	case 1:
		return fmt.Sprintf("Message-ID: <shared@x>\r\n\r\ncontent %02d\r\n", n)
	case 2:
		return fmt.Sprintf("Message-ID: <m%d@x>\r\n\r\n%s\r\n", n, strings.Repeat("x", n))
	}
	return fmt.Sprintf("Message-ID: <u%d@x>\r\n\r\nunique\r\n", rng.Uint32())
}

// body makes a message. On a first run, also of a mailbox, a Message-ID and a size
// are believed: where there is one, no two contents share them.
func (a *actor) body() string {
	content := body(a.rng)
	if _, n, shared := strings.Cut(content, "content "); shared && a.believed {
		k, _ := strconv.Atoi(strings.TrimSpace(n))
		content += strings.Repeat("y", k)
	}
	return content
}

// dateOf gives different contents different dates, as messages have.
func dateOf(content string) time.Time {
	h := fnv.New32a()
	h.Write([]byte(content))
	return day.Add(time.Duration(h.Sum32()) * time.Second)
}

var boxNames = []string{"INBOX", "Work", "Archive/2024"}

// actor plays other programs at work on both sides of a world.
type actor struct {
	rng *rand.Rand
	w   *world
	// drops, renumbers and marks let it delete mailboxes, number messages anew,
	// and mark messages as deleted.
	drops, renumbers, marks bool
	// believed keeps it from making contents that share a Message-ID and a size.
	believed bool
	// deleted counts what it deleted, by content; renumbered says that it numbered
	// messages anew.
	deleted    map[string]int
	renumbered bool
	// brought is what came to which mailbox on each side in this round, and met are the
	// contents that came to one mailbox on both sides in any.
	brought [2]map[[2]string]bool
	met     map[string]bool
}

func newActor(rng *rand.Rand, w *world) *actor {
	return &actor{rng: rng, w: w, deleted: make(map[string]int), met: make(map[string]bool), brought: [2]map[[2]string]bool{{}, {}}}
}

// bring notes that a content came to a mailbox. Where it comes to the same one on the
// other side before the next run, the two become a pair that has no base: its \Deleted
// stays where it was put.
func (a *actor) bring(s state.Side, box, content string) {
	key := [2]string{box, content}
	a.brought[s][key] = true
	a.met[content] = a.met[content] || a.brought[s.Other()][key]
}

// flags are some that a side can hold.
func (a *actor) flags(s state.Side) mail.Flags {
	f := flagSets[a.rng.IntN(len(flagSets))]
	if a.marks && a.rng.IntN(5) == 0 {
		f.System |= mail.Deleted
	}
	if holds := a.w.store[s].Holds; holds != nil {
		f = holds(f)
	}
	return f
}

// act makes one random change on side s.
func (a *actor) act(s state.Side) {
	st, rng := a.w.store[s], a.rng
	boxes := st.Boxes()
	if len(boxes) == 0 || rng.IntN(12) == 0 {
		st.AddBox(boxNames[rng.IntN(len(boxNames))])
		return
	}
	box := boxes[rng.IntN(len(boxes))]
	if rng.IntN(16) == 0 {
		a.actOnBox(s, box)
		return
	}
	msgs := st.Messages(box)
	if len(msgs) == 0 || rng.IntN(3) == 0 {
		content := a.body()
		a.bring(s, box, content)
		st.Put(box, a.flags(s), dateOf(content), content)
		return
	}
	m := msgs[rng.IntN(len(msgs))]
	to := boxes[rng.IntN(len(boxes))]
	switch rng.IntN(12) {
	case 0, 1:
		st.Del(box, m.Ref)
		a.deleted[string(m.Body)]++
	case 2, 3, 4:
		a.bring(s, to, string(m.Body))
		st.MoveMsg(box, m.Ref, to)
	case 5:
		a.bring(s, to, string(m.Body))
		st.Copy(box, m.Ref, to)
	case 6:
		content := a.body()
		a.bring(s, box, content)
		st.Edit(box, m.Ref, dateOf(content), content)
		a.deleted[string(m.Body)]++
	case 7:
		if !st.Keyed { // a new message, unless its object ID is on record
			a.bring(s, box, string(m.Body))
		}
		st.Rekey(box, m.Ref)
	case 8: // a client that cannot move: it copies, marks, and sometimes expunges
		if a.marks {
			a.bring(s, to, string(m.Body))
			st.Copy(box, m.Ref, to)
			if rng.IntN(2) == 0 {
				st.Del(box, m.Ref)
			} else {
				st.Flag(box, m.Ref, m.Flags.Union(mail.Flags{System: mail.Deleted}))
			}
		}
	default:
		st.Flag(box, m.Ref, a.flags(s))
	}
}

// actOnBox changes a whole mailbox.
func (a *actor) actOnBox(s state.Side, box string) {
	st := a.w.store[s]
	switch a.rng.IntN(3) {
	case 0:
		if box != "INBOX" && st.ObjectIDs {
			st.RenameBox(box, fmt.Sprintf("%s%d%v", boxNames[1+a.rng.IntN(2)], a.rng.IntN(10000), s))
		}
	case 1:
		if box != "INBOX" && a.drops {
			for _, m := range st.Messages(box) {
				a.deleted[string(m.Body)]++
			}
			st.DropBox(box)
		}
	case 2:
		if a.renumbers {
			st.Renumber(box)
			a.renumbered = true
		}
	}
}

// acts makes 1 to 10 changes on the sides given.
func (a *actor) acts(sides ...state.Side) {
	a.brought = [2]map[[2]string]bool{{}, {}}
	for range a.rng.IntN(10) + 1 {
		a.act(sides[a.rng.IntN(len(sides))])
	}
}

// edit makes one random change of the kind that needs no identity of mailboxes but
// what the store has, and answers with the content that it deleted, "" when none.
func (w *world) edit(rng *rand.Rand, s state.Side) (deleted string) {
	a := newActor(rng, w)
	a.act(s)
	for content := range a.deleted {
		return content
	}
	return ""
}
