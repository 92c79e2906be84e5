package e2e

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// history makes random edits on both sides of an account, from a seed. The same
// seed and the same sides give the same edits.
type history struct {
	*twoWay
	t       *testing.T
	seed    uint64
	random  *rand.Rand
	written [][]byte // wire forms, for writing one of them again
	made    int      // mailboxes
	edits   []string
	// odd are mailboxes that were renamed or removed in this round, by any of
	// their names: what becomes of the messages in them depends on both sides.
	odd  map[string]bool
	lost map[string]bool // of these, those that were removed
	// doubled are messages of the server that were copied in their own mailbox in
	// this round: a server does not tell which of the two is gone later.
	doubled map[string]bool
	// touched are the messages that came, went or moved in this round, on the server and
	// in the Maildir: of equal ones, one may have gone where another came.
	touched [2]map[mail.Digest]bool
	renewed [2]map[mail.Digest]bool // those that were removed or moved
	// names lets mailboxes be made, renamed and removed.
	names   bool
	deletes bool                   // the syncs delete mailboxes
	takes   func(wire []byte) bool // whether the server keeps a message as it is
	// forgets: the server gives a mailbox that is renamed another UIDVALIDITY. One
	// that another client renames is one that was removed beside one that is new.
	forgets bool
}

func newHistory(t *testing.T, w *twoWay, seed uint64, names bool) *history {
	return &history{twoWay: w, t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 7)), odd: map[string]bool{}, names: names}
}

func (h *history) did(format string, args ...any) {
	h.edits = append(h.edits, fmt.Sprintf(format, args...))
}

func (h *history) chance(percent int) bool { return h.random.IntN(100) < percent }

func pick[T any](h *history, list []T) T { return list[h.random.IntN(len(list))] }

// dateOf is the date of a message, wherever it is: that of a copy is the same.
func dateOf(wire []byte) time.Time {
	return time.Unix(1500000000+int64(crc32.ChecksumIEEE(wire)%200000000), 0)
}

// compose writes a message: one like any other, one with a Message-ID that others
// have, of the same size or not, or none, one that was there before, an odd one.
func (h *history) compose() []byte {
	for {
		if wire := h.composeAny(); h.takes == nil || h.takes(wire) {
			return wire
		}
	}
}

func (h *history) composeAny() []byte {
	n := len(h.written)
	var wire []byte
	switch kind := h.random.IntN(20); {
	case kind < 3 && n > 0:
		return pick(h, h.written)
	case kind < 5:
		wire = fmt.Appendf(nil, "Message-ID: <shared%d@example.org>\r\nSubject: %d\r\n\r\n%s\r\n", h.random.IntN(3), n, strings.Repeat("x", h.random.IntN(3)))
	case kind < 7:
		wire = fmt.Appendf(nil, "Message-ID: <shared@example.org>\r\nSubject: same size\r\n\r\n%08d\r\n", n)
	case kind < 9:
		wire = fmt.Appendf(nil, "Subject: no Message-ID\r\n\r\n%08d\r\n", n)
	case kind < 10:
		wire = fmt.Appendf(nil, "no header %d", n)
	case kind < 12:
		samples := slices.DeleteFunc(demo.Torture(), func(s demo.Sample) bool { return !s.Safe() || len(s.Raw) > 100000 })
		wire = pick(h, samples).Raw
	case kind < 14:
		for s := range demo.Corpus(h.random.Uint64(), 1) {
			wire = s.Raw
		}
	default:
		wire = fmt.Appendf(nil, "Message-ID: <m%d.%d@example.org>\r\nSubject: %d\r\n\r\n%s\r\n", n, h.random.Uint32(), n, strings.Repeat("text\r\n", h.random.IntN(30)))
	}
	h.written = append(h.written, wire)
	return wire
}

var someFlags = []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`, `\Deleted`, "$Forwarded", "Later", "$Label1", "Work-Thing"}

func (h *history) flags() mail.Flags {
	var names []string
	for _, f := range someFlags {
		if h.chance(15) {
			names = append(names, f)
		}
	}
	return mail.ParseFlags(names...)
}

// toggle is the flags with one or two turned over.
func (h *history) toggle(f mail.Flags) mail.Flags {
	for range 1 + h.random.IntN(2) {
		one := mail.ParseFlags(pick(h, someFlags))
		if f.Intersect(one).IsZero() {
			f = f.Union(one)
		} else {
			f = f.Minus(one)
		}
	}
	return f
}

// place is a message to be changed.
type place struct {
	box string
	imaptest.Entry
	file stored // of the Maildir's
}

// ordered is the order in which messages are picked, which does not depend on how
// files are named.
func ordered(list []place) []place {
	slices.SortFunc(list, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.box, b.box), bytes.Compare(a.Digest[:], b.Digest[:]), cmp.Compare(a.Flags.String(), b.Flags.String()), cmp.Compare(a.UID, b.UID), cmp.Compare(a.file.path, b.file.path))
	})
	return list
}

// change makes up to n edits on each side.
func (h *history) change(n int) {
	h.t.Helper()
	h.edits, h.odd, h.lost, h.doubled = nil, map[string]bool{}, map[string]bool{}, map[string]bool{}
	h.touched, h.renewed = [2]map[mail.Digest]bool{{}, {}}, [2]map[mail.Digest]bool{{}, {}}
	for _, on := range h.random.Perm(2) {
		for range h.random.IntN(n + 1) {
			if on == 0 {
				h.changeServer()
			} else {
				h.changeMaildir()
			}
		}
	}
	must(h.t, h.server.rest())
}

func (h *history) changeServer() {
	t, c := h.t, h.server
	d := h.target.MustDump(t)
	boxes := h.mailboxes(d)
	var all []place
	for _, box := range boxes {
		for _, e := range d[box].Messages {
			all = append(all, place{box: box, Entry: e})
		}
	}
	kind := h.random.IntN(100)
	if h.names && kind < 8 {
		h.nameOnServer(boxes)
		return
	}
	if kind < 30 || len(all) == 0 {
		box := pick(h, boxes)
		wire, f := h.compose(), h.flags()
		h.did("server: new in %s, %d octets [%s]", box, len(wire), f)
		h.touched[0][sha256.Sum256(wire)] = true
		must(t, c.deliver(box, wire, f, dateOf(wire)))
		return
	}
	m := pick(h, ordered(all))
	twin := m.box + m.Digest.String()
	h.touched[0][m.Digest] = true // if only by its flags
	switch to := pick(h, boxes); {
	case kind < 55 || h.doubled[twin]:
		f := h.toggle(m.Flags)
		h.did("server: %s: [%s] of %.8s", m.box, f, m.Digest)
		must(t, c.setFlags(m.box, m.UID, mail.DiffFlags(m.Flags, f)))
	case kind < 68:
		h.renewed[0][m.Digest] = true
		h.did("server: %s: remove %.8s", m.box, m.Digest)
		must(t, c.remove(m.box, m.UID))
	case kind < 90 && to != m.box:
		h.renewed[0][m.Digest] = true
		byCopy := h.chance(30)
		h.did("server: %s: move %.8s to %s, by copy %v", m.box, m.Digest, to, byCopy)
		must(t, c.move(m.box, m.UID, to, byCopy))
	default:
		h.did("server: %s: copy %.8s to %s", m.box, m.Digest, to)
		h.doubled[twin] = h.doubled[twin] || to == m.box
		must(t, c.copy(m.box, m.UID, to))
	}
}

func (h *history) changeMaildir() {
	t, r := h.t, h.reader
	tree := readTree(t, h.dir, true)
	var boxes []string
	var all []place
	for box, list := range tree {
		if h.parked[box] {
			continue
		}
		boxes = append(boxes, box)
		for _, m := range list {
			all = append(all, place{box: box, Entry: m.Entry, file: m})
		}
	}
	slices.Sort(boxes)
	kind := h.random.IntN(100)
	if h.names && kind < 8 {
		h.nameInMaildir(boxes)
		return
	}
	if kind < 30 || len(all) == 0 {
		box := pick(h, boxes)
		wire, f := h.compose(), h.flags()
		fresh, crlf := h.chance(70), h.chance(20)
		if fresh {
			f = mail.Flags{}
		}
		h.touched[1][sha256.Sum256(wire)] = true
		h.did("maildir: new in %s, %d octets [%s], CRLF %v", box, len(wire), f, crlf)
		must(t, r.deliver(box, r.base(), fileOf(wire, crlf), f, dateOf(wire), fresh))
		return
	}
	m := pick(h, ordered(all))
	h.touched[1][m.Digest] = true
	base := keyOf(m.file.path)
	to, renew := pick(h, boxes), h.chance(50)
	if renew {
		base = r.base()
	}
	switch {
	case kind < 50:
		f := h.toggle(m.Flags)
		h.did("maildir: %s: [%s] of %.8s", m.box, f, m.Digest)
		must(t, r.setFlags(m.box, m.file, f))
	case kind < 63:
		h.renewed[1][m.Digest] = true
		h.did("maildir: %s: remove %.8s", m.box, m.Digest)
		must(t, removeFile(m.file))
	case kind < 82 && (to != m.box || renew):
		h.renewed[1][m.Digest] = h.renewed[1][m.Digest] || to != m.box
		h.did("maildir: %s: move %.8s to %s, new name %v", m.box, m.Digest, to, renew)
		must(t, r.move(m.file, to, base))
	case kind < 92:
		h.did("maildir: %s: copy %.8s to %s", m.box, m.Digest, to)
		must(t, r.deliver(to, r.base(), fileOf(m.file.raw, false), m.Flags, m.Date, false))
	default:
		wire := append(slices.Clone(m.file.raw), fmt.Sprintf("edited %d\r\n", len(h.written))...)
		h.written = append(h.written, wire)
		h.did("maildir: %s: edit %.8s", m.box, m.Digest)
		must(t, r.deliver(m.box, r.base(), fileOf(wire, false), m.Flags, dateOf(wire), false))
		must(t, removeFile(m.file))
	}
}
