package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func removeFile(m stored) error { return os.Remove(m.path) }

// newName is a name that no mailbox has had, now and then below another.
func (h *history) newName(boxes []string) string {
	h.made++
	name := fmt.Sprintf("Made %d", h.made)
	if parent := pick(h, boxes); parent != "INBOX" && !h.odd[parent] && h.chance(30) && strings.Count(parent, "/") < 3 {
		name = parent + "/" + name
		h.parents[parent] = true
	}
	return name
}

// lone is a mailbox that may be renamed: not INBOX, with none below it, and with
// messages in it on both sides, by which it is known again; "" when there is none.
func (h *history) lone(boxes []string) string {
	server, local := h.sides(h.t)
	var list []string
	for _, b := range boxes {
		alone := b != "INBOX" && !h.odd[b] && !h.parents[b] && len(server[b].Messages) > 2 && len(local[b].Messages) > 2
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

func (h *history) nameOnServer(boxes []string) {
	old := h.lone(boxes)
	name := h.newName(boxes)
	if old == "" || h.chance(50) || strings.HasPrefix(name, old+"/") {
		h.did("server: create %s", name)
		must(h.t, h.server.names("CREATE", name))
		return
	}
	h.did("server: rename %s to %s", old, name)
	h.odd[old], h.odd[name] = true, true
	must(h.t, h.server.names("RENAME", old, name))
}

// nameInMaildir makes or renames a mailbox, once a round: those that a reader made
// have no identity, and two of them that changed are not told apart.
func (h *history) nameInMaildir(boxes []string) {
	if h.named {
		return
	}
	h.named = true
	old := h.lone(boxes)
	name := h.newName(boxes)
	if old == "" || h.chance(50) || strings.HasPrefix(name, old+"/") {
		h.did("maildir: create %s", name)
		must(h.t, h.reader.create(name))
		return
	}
	h.odd[old], h.odd[name] = true, true
	h.did("maildir: rename %s to %s", old, name)
	must(h.t, h.reader.rename(old, name))
	for _, left := range []string{"cur", "new", "tmp"} {
		if _, err := os.Stat(filepath.Join(h.reader.box(old), left)); err == nil {
			h.t.Fatalf("%s is still there", old)
		}
	}
}
