package imapstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// wanted is a message that is looked for among the arrivals of a mailbox.
type wanted struct {
	floor     uint32 // it has this UID or a higher one
	size      int64
	id        mail.MessageID
	described bool
	digest    mail.Digest // zero: not known
	// accepted: the server said that it took the message.
	accepted bool
	uid      uint32 // the answer, 0: it is not there
}

// search looks for messages among those that arrived in a mailbox since a UID.
type search struct {
	box     *mailbox
	sess    *session // with the mailbox selected
	claimed map[uint32]bool
	items   []imapconn.Item // sorted
	digests map[uint32]mail.Digest
}

// list lists the arrivals from the lowest floor of wants on. Only what may be one
// of wants is kept: the arrivals may be the whole mailbox.
func (f *search) list(ctx context.Context, wants []*wanted) error {
	lowest := uint64(maxUID)
	sizes, ids := make(map[int64]bool), make(map[mail.MessageID]bool)
	for _, w := range wants {
		lowest = min(lowest, uint64(max(w.floor, 1)))
		sizes[w.size] = true
		ids[w.id] = true
	}
	all := collector{want: math.MaxInt / 4, span: uidSpan{lowest, maxUID}}
	items := imapconn.Flags | imapconn.Size | imapconn.HeaderMessageID
	err := f.sess.conn.FetchList(ctx, uidRange(lowest, maxUID), items, 0, false, func(it imapconn.Item) error {
		if !sizes[it.Size] && (it.MessageID == 0 || !ids[it.MessageID]) {
			return nil
		}
		return all.add(it)
	}, nil)
	if err != nil {
		return err
	}
	f.items, _ = all.finish()
	if f.digests == nil {
		f.digests = make(map[uint32]mail.Digest)
	}
	return nil
}

// match finds each of wants, one message for each, the first UIDs first. Size
// and Message-ID choose; the content decides, unless the server said that it
// took the message and only one can be meant.
func (f *search) match(ctx context.Context, wants []*wanted) error {
	for _, w := range wants {
		same := f.candidates(w, true)
		if len(same) == 1 && w.accepted && w.id != 0 {
			f.claim(w, same[0])
			continue
		}
		if err := f.byContent(ctx, w, same); err != nil {
			return err
		}
		if w.uid == 0 && w.accepted && w.id != 0 {
			// Some servers change a message that they take.
			if other := f.candidates(w, false); len(other) == 1 {
				f.claim(w, other[0])
			}
		}
	}
	return nil
}

// byContent chooses among messages of the right size and Message-ID.
func (f *search) byContent(ctx context.Context, w *wanted, same []uint32) error {
	if len(same) == 0 {
		return nil
	}
	if !w.digest.Known() {
		if w.id != 0 {
			f.claim(w, same[0])
		}
		return nil
	}
	if err := f.readDigests(ctx, same); err != nil {
		return err
	}
	for _, uid := range same {
		if f.digests[uid] == w.digest {
			f.claim(w, uid)
			return nil
		}
	}
	// Another content of the same length under the same Message-ID is ours after
	// the server replaced octets that it does not store (NUL).
	if w.id != 0 {
		f.claim(w, same[0])
	}
	return nil
}

func (f *search) claim(w *wanted, uid uint32) {
	w.uid = uid
	f.claimed[uid] = true
}

// candidates are the arrivals that nobody claimed with the Message-ID of w, and
// its size if that counts.
func (f *search) candidates(w *wanted, sized bool) []uint32 {
	var all []uint32
	for i := range f.items {
		it := &f.items[i]
		if it.UID < w.floor || f.claimed[it.UID] || sized && it.Size != w.size {
			continue
		}
		if w.described && it.HasHeader && it.MessageID != w.id {
			continue
		}
		all = append(all, it.UID)
	}
	return all
}

// readDigests reads messages to compute their digests.
func (f *search) readDigests(ctx context.Context, all []uint32) error {
	all = slices.DeleteFunc(slices.Clone(all), func(uid uint32) bool { return f.digests[uid].Known() })
	for _, set := range f.sess.chunks(imapconn.NewUIDSet(all...)) {
		err := f.sess.conn.FetchBodies(ctx, set, func(it imapconn.Item, _ int64, body io.Reader) error {
			h := sha256.New()
			if _, err := io.Copy(h, body); err != nil {
				return err
			}
			f.digests[it.UID] = mail.Digest(h.Sum(nil))
			return nil
		})
		if err != nil && !refused(err) {
			return err
		}
	}
	return nil
}

// findLost looks for messages that the server took without telling their UIDs.
func (c *commit) findLost(ctx context.Context) error {
	lost := c.lost
	c.lost = nil
	missing, err := c.find(ctx, lost, true)
	if err == nil {
		missing, err = c.findOld(ctx, missing)
	}
	if err != nil {
		return err
	}
	for _, s := range missing {
		s.answer.Err = c.batch.refusal(mail.KindProtocol, errNotFound)
	}
	return nil
}

// settle finds out what became of messages that may have been stored although
// the server did not say so, and lines up those that were not.
func (c *commit) settle(ctx context.Context) error {
	unsure, doubted := c.unsure, c.doubted
	c.unsure, c.doubted = nil, nil
	if len(unsure)+len(doubted) == 0 {
		return nil
	}
	if c.late {
		c.late = false
		if err := c.box.store.wait(ctx, lateCommit); err != nil {
			return err
		}
	}
	// Those that are there for certain come first: one of several equal ones that
	// is not there must not be taken for one that is.
	if err := c.findLost(ctx); err != nil {
		return err
	}
	missing, err := c.find(ctx, unsure, false)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		c.queue = append(c.queue, missing)
	}
	for _, g := range doubted {
		if missing, err = c.find(ctx, g, false); err != nil {
			return err
		}
		c.atomic = c.atomic || len(missing) == len(g)
		if len(missing) > 0 {
			c.queue = append(c.queue, halves(missing)...)
		}
	}
	return nil
}

// find answers messages that have arrived, accepted by the server or perhaps
// not, and gives those that have not.
func (c *commit) find(ctx context.Context, all []sending, accepted bool) (missing []sending, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	sess, err := c.box.session(ctx, !accepted)
	if err != nil {
		return nil, err
	}
	defer c.box.store.pool.give(sess)
	f := &search{box: c.box, sess: sess, claimed: c.claimed}
	wants := make([]*wanted, len(all))
	for i, s := range all {
		if err := s.describe(); err != nil {
			return nil, err
		}
		s.want.floor, s.want.accepted = c.floorOf(s.upload), accepted
		wants[i] = &s.want
	}
	if err := f.list(ctx, wants); err != nil {
		return nil, err
	}
	if err := f.match(ctx, wants); err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.want.uid != 0 {
			s.answer.Ref = mail.Ref{UID: s.want.uid}
		} else {
			missing = append(missing, s)
		}
	}
	return missing, nil
}

var errNotFound = errors.New("the server said that it took the message, which cannot be found in the mailbox")

// describe finds the identity of an upload by its content.
func (u *upload) describe() error {
	if u.from != nil { // it is described already
		return nil
	}
	var head bytes.Buffer
	h := sha256.New()
	r := u.body.open()
	if _, err := io.CopyN(io.MultiWriter(h, &head), r, mail.MaxHeader); err != nil && err != io.EOF {
		return diskError(err)
	}
	if _, err := io.Copy(h, r); err != nil {
		return diskError(err)
	}
	u.want = wanted{
		size: u.body.size,
		id:   mail.MessageIDOf(head.Bytes()), described: true, digest: mail.Digest(h.Sum(nil)),
	}
	return nil
}

// lateCommit is how long a server may take to store a message after the
// connection on which it came was lost.
const lateCommit = 2 * time.Second

// lateLooks is how often it is looked again while messages arrive.
const lateLooks = 6

// Recover looks for messages that may have landed before a run was cut off. It
// answers a zero Ref for those that have to be sent again.
func (m *mailbox) Recover(ctx context.Context, pending []mail.Pending, known mail.Known) ([]mail.Landed, error) {
	landed := make([]mail.Landed, len(pending))
	if len(pending) == 0 {
		return landed, nil
	}
	wants := make([]*wanted, len(pending))
	for i, p := range pending {
		w := &wanted{
			floor: 1, size: p.Message.Size, id: p.Message.ID.MessageID,
			described: p.Message.ID.Described, digest: p.Message.ID.Digest,
		}
		// Under another UIDVALIDITY the message may be anywhere.
		if mk, ok := parseMark(p.Mark); ok && mk.validity == m.sel.UIDValidity {
			w.floor = mk.next
		}
		wants[i] = w
	}
	f := &search{box: m, claimed: make(map[uint32]bool)}
	var next [2]uint32
	for try := range lateLooks {
		uidNext, err := m.recoverOnce(ctx, f, wants, known)
		if err != nil {
			return nil, failed("recover", m.name, err)
		}
		next[0], next[1] = next[1], uidNext
		missing := slices.ContainsFunc(wants, func(w *wanted) bool { return w.uid == 0 })
		if !missing || try > 0 && next[0] == next[1] || try == lateLooks-1 {
			break
		}
		if err := m.store.wait(ctx, lateCommit); err != nil {
			return nil, err
		}
	}
	for i, w := range wants {
		if w.uid != 0 {
			landed[i].Ref = mail.Ref{UID: w.uid}
		}
	}
	if err := m.flagRecovered(ctx, pending, landed); err != nil {
		return nil, failed("recover", m.name, err)
	}
	return landed, nil
}

func (m *mailbox) recoverOnce(ctx context.Context, f *search, wants []*wanted, known mail.Known) (uidNext uint32, err error) {
	sess, err := m.session(ctx, true)
	if err != nil {
		return 0, err
	}
	defer m.store.pool.give(sess)
	f.sess = sess
	if err := f.list(ctx, wants); err != nil {
		return 0, err
	}
	if known == nil {
		known = nothing{}
	}
	// A message with a row of its own is another one, however like it looks.
	all := make([]uint32, len(f.items))
	for i := range f.items {
		all[i] = f.items[i].UID
	}
	err = lookUp(ctx, known, all, func(i int, _ mail.Flags, isKnown bool) {
		if isKnown {
			f.claimed[all[i]] = true
		}
	})
	if err != nil {
		return 0, err
	}
	missing := slices.DeleteFunc(slices.Clone(wants), func(w *wanted) bool { return w.uid != 0 })
	return sess.sel.UIDNext, f.match(ctx, missing)
}

// nothing is a mail.Known without messages.
type nothing struct{}

func (nothing) Count() int { return 0 }

func (nothing) Each(context.Context, mail.Ref, mail.Ref, func(mail.Ref, mail.Flags) error) error {
	return nil
}
