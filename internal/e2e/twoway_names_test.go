package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

func removeFile(m stored) error { return os.Remove(m.path) }

// newName is a name that no mailbox has had, now and then below another.
func (h *history) newName(boxes []string) string {
	h.made++
	name := fmt.Sprintf("Made %d", h.made)
	if parent := pick(h, boxes); parent != "INBOX" && !h.odd[parent] && h.chance(30) && strings.Count(parent, "/") < 3 {
		name = parent + "/" + name
		for i := range name { // those above keep their names in this round: it would go with them
			if name[i] == '/' {
				h.odd[name[:i]] = true
			}
		}
	}
	return name
}

// lone is a mailbox that may be renamed: not INBOX, with none below it, and with
// messages in it on both sides, by which it is known again; "" when there is none.
func (h *history) lone(boxes []string) string {
	server, local := h.sides(h.t)
	var list []string
	for _, b := range boxes {
		alone := b != "INBOX" && !h.odd[b] && len(server[b].Messages) > 2 && len(local[b].Messages) > 2
		for _, o := range boxes {
			alone = alone && !strings.HasPrefix(o, b+"/")
		}
		if alone {
			list = append(list, b)
		}
	}
	if len(list) == 0 || len(boxes) < 4 {
		return ""
	}
	return pick(h, list)
}

// park is called for a mailbox that one side is about to lose: unless the syncs
// delete mailboxes, the other keeps what is in it, and from then on the sides differ
// there.
func (h *history) park(name string) {
	h.odd[name], h.lost[name] = true, true
	if !h.deletes {
		h.parked[name] = true
	}
}

// along parks what one side gave up below a mailbox that is renamed under its new name,
// too: on the other side it goes along.
func (h *history) along(old, name string) {
	for _, set := range []map[string]bool{h.parked, h.odd, h.lost} {
		for _, gone := range slices.Collect(maps.Keys(set)) {
			if rest, below := strings.CutPrefix(gone, old+"/"); below {
				set[name+"/"+rest] = true
			}
		}
	}
}

// parkWhatStayed parks the mailboxes that were to be deleted, and that new mail
// kept where it was.
func (h *history) parkWhatStayed() {
	for _, d := range h.everything() {
		for name := range h.lost {
			if _, ok := d[name]; ok {
				h.parked[name] = true
			}
		}
	}
}

// holdings are the contents of the mailboxes that one side lost in this round, by
// the side that has them.
func (h *history) holdings() [2]map[mail.Digest]bool {
	var held [2]map[mail.Digest]bool
	for s, d := range h.everything() {
		held[s] = map[mail.Digest]bool{}
		for name := range h.odd {
			if h.parked[name] && h.lost[name] {
				for _, e := range d[name].Messages {
					held[s][e.Digest] = true
				}
			}
		}
	}
	return held
}

// inParked are the contents of the mailboxes in which the sides differ.
func (h *history) inParked() map[mail.Digest]bool {
	held := map[mail.Digest]bool{}
	for _, d := range h.everything() {
		for name := range h.parked {
			for _, e := range d[name].Messages {
				held[e.Digest] = true
			}
		}
	}
	return held
}

func (h *history) everything() [2]imaptest.Dump {
	return [2]imaptest.Dump{h.target.MustDump(h.t), treeDump(h.t, h.dir)}
}

// checkHoldings fails the test when a message went with a mailbox that only the
// other side gave up.
func (h *history) checkHoldings(held [2]map[mail.Digest]bool) {
	h.t.Helper()
	for s, d := range h.everything() {
		now := placesOf(d)
		for digest := range held[s] {
			if len(now[digest]) == 0 {
				h.t.Errorf("%.12s was in a mailbox that the other side gave up, and is gone from side %d", digest, s)
			}
		}
	}
}

func (h *history) nameOnServer(boxes []string) {
	old := h.lone(boxes)
	name := h.newName(boxes)
	if old == "" || h.chance(50) || strings.HasPrefix(name, old+"/") {
		h.did("server: create %s", name)
		must(h.t, h.server.names("CREATE", name))
		return
	}
	if h.chance(30) {
		h.did("server: delete %s", old)
		h.park(old)
		must(h.t, h.server.names("DELETE", old))
		return
	}
	h.did("server: rename %s to %s", old, name)
	h.along(old, name)
	if h.forgets {
		h.park(old)
	}
	h.odd[old], h.odd[name] = true, true
	must(h.t, h.server.names("RENAME", old, name))
}

func (h *history) nameInMaildir(boxes []string) {
	old := h.lone(boxes)
	name := h.newName(boxes)
	if old == "" || h.chance(50) || strings.HasPrefix(name, old+"/") {
		h.did("maildir: create %s", name)
		must(h.t, h.reader.create(name))
		return
	}
	if h.chance(30) {
		h.did("maildir: remove the mailbox %s", old)
		h.park(old)
		must(h.t, os.RemoveAll(h.reader.box(old)))
		return
	}
	h.odd[old], h.odd[name] = true, true
	h.did("maildir: rename %s to %s", old, name)
	h.along(old, name)
	must(h.t, h.reader.rename(old, name))
	for _, left := range []string{"cur", "new", "tmp"} {
		if _, err := os.Stat(filepath.Join(h.reader.box(old), left)); err == nil {
			h.t.Fatalf("%s is still there", old)
		}
	}
}
