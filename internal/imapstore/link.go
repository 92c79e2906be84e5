package imapstore

import (
	"context"
	"errors"
	"math"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// Linking is UID COPY from the mailbox that has the message (RFC 9051, 6.4.7): the
// server keeps content, flags and INTERNALDATE, and flags that are to be others are
// stored afterwards. With UIDPLUS the server tells the new UIDs; without, they are
// looked for among the arrivals, as those of uploads are. A copy that was made and not
// told of, because the connection was lost, is found in the same way by Recover, which
// then sets the flags.

// origin is where a message comes from that is copied within the account.
type origin struct {
	place    place
	mailbox  string
	validity string
	uid      uint32
}

var (
	errOtherDate = errors.New("it has another date there")
	errCopyGone  = errors.New("it is not there any more")
	errNotNew    = errors.New("the server answered with a message that was here before")
)

// Link implements mail.Linker.
func (b *batch) Link(ctx context.Context, m mail.Message, from mail.Place) (mail.Pending, error) {
	if err := ctx.Err(); err != nil {
		return mail.Pending{}, err
	}
	if m.Date.Unix() != from.Date.Unix() || from.Ref.UID == 0 {
		return mail.Pending{}, b.refusal(mail.KindRefused, errOtherDate)
	}
	at, err := b.box.store.resolve(ctx, "copy", from.Mailbox)
	if err != nil {
		if e := mail.AsError(err); e.Scope != mail.ScopeAccount {
			return mail.Pending{}, b.refusal(e.Kind, err)
		}
		return mail.Pending{}, err
	}
	m.Ref = mail.Ref{}
	u := &upload{msg: m, from: &origin{at, from.Mailbox, from.Validity, from.Ref.UID}}
	u.mark = mark{validity: b.box.sel.UIDValidity, next: b.box.floorNow(), copied: true}
	u.want = wanted{size: m.Size, id: m.ID.MessageID, described: m.ID.Described, digest: m.ID.Digest}
	b.mu.Lock()
	defer b.mu.Unlock()
	u.mark.index = len(b.uploads)
	b.uploads = append(b.uploads, u)
	return mail.Pending{Mark: u.mark.String(), Message: m}, nil
}

// runCopies carries out what was linked, and leaves the rest to be sent.
func (c *commit) runCopies(ctx context.Context) error {
	var copies, rest []sending
	for _, s := range c.todo {
		if s.from != nil {
			copies = append(copies, s)
		} else {
			rest = append(rest, s)
		}
	}
	c.todo = rest
	if len(copies) == 0 {
		return nil
	}
	c.box.store.pool.stale(c.box.wire)
	defer c.box.store.pool.stale(c.box.wire)
	err := c.copyAll(ctx, copies)
	var highest uint32
	for uid := range c.claimed {
		highest = max(highest, uid)
	}
	if highest > 0 && highest < math.MaxUint32 {
		c.box.raiseFloor(highest + 1)
	}
	return err
}

// copyAll carries out what was linked, one mailbox after the other. What was copied
// gets its flags, whatever became of the rest.
func (c *commit) copyAll(ctx context.Context, all []sending) error {
	groups := make(map[origin][]sending)
	var order []origin
	for _, s := range all {
		key := *s.from
		key.uid = 0
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], s)
	}
	var err error
	for _, key := range order {
		if err = c.copyFrom(ctx, key, groups[key]); err != nil {
			break
		}
	}
	if ferr := c.flagCopies(ctx, all); err == nil {
		err = ferr
	}
	return err
}

// copyFrom copies messages of one mailbox. What cannot be copied is answered so; the
// caller sends it.
func (c *commit) copyFrom(ctx context.Context, from origin, all []sending) error {
	s := c.box.store
	sess, err := s.open(ctx, from.place.wire, true, false)
	if refused(err) {
		c.notCopied(all, mail.KindGone, err)
		return nil
	}
	if err != nil {
		return err
	}
	giveBack := func() {
		if sess != nil {
			s.pool.give(sess)
			sess = nil
		}
	}
	defer giveBack()
	if from.place.labels.validity(validityString(sess.sel.UIDValidity)) != from.validity {
		c.notCopied(all, mail.KindGone, errCopyGone)
		return nil
	}
	byUID := make(map[uint32][]sending, len(all))
	var list []uint32
	for _, one := range all {
		byUID[one.from.uid] = append(byUID[one.from.uid], one)
		list = append(list, one.from.uid)
	}
	to := place{wire: c.box.wire, validity: c.box.sel.UIDValidity}
	var untold imapconn.UIDSet
	for _, set := range imapconn.NewUIDSet(list...).Chunks(setBytes) {
		pairs, err := sess.copyOrMove(ctx, "UID COPY", set, to)
		if refused(err) {
			uids(set, func(uid uint32) { c.notCopied(byUID[uid], mail.KindRefused, err) })
			continue
		}
		if err != nil {
			return err
		}
		if pairs == nil {
			there, err := present(ctx, sess, set)
			if err != nil {
				return err
			}
			uids(there, func(uid uint32) { untold.AddRange(uid, uid) })
		}
		uids(set, func(uid uint32) { c.copied(byUID[uid], pairs[uid]) })
	}
	giveBack()
	s.pool.arrived(c.box.wire, nil)
	return c.findCopied(ctx, untold, byUID)
}

// copied answers one message that was copied. One that was to be copied several times
// was once; the others are sent.
func (c *commit) copied(list []sending, uid uint32) {
	for i, one := range list {
		switch {
		case uid == 0 || i > 0:
			c.notCopied(list[i:i+1], mail.KindGone, errCopyGone)
		case uid < c.floorOf(one.upload) || c.claimed[uid]:
			c.notCopied(list[i:i+1], mail.KindRefused, errNotNew)
		default:
			c.claimed[uid] = true
			one.answer.Ref = mail.Ref{UID: uid}
		}
	}
}

// findCopied looks for copies whose UIDs the server did not tell.
func (c *commit) findCopied(ctx context.Context, untold imapconn.UIDSet, byUID map[uint32][]sending) error {
	var all []sending
	uids(untold, func(uid uint32) {
		if list := byUID[uid]; len(list) > 0 {
			list[0].answer.Err = nil
			all = append(all, list[0])
		}
	})
	missing, err := c.find(ctx, all, true)
	if err != nil {
		return err
	}
	c.notCopied(missing, mail.KindProtocol, errNotFound)
	return nil
}

// notCopied answers messages that have to be sent.
func (c *commit) notCopied(all []sending, kind mail.Kind, err error) {
	for _, s := range all {
		s.answer.Err = c.batch.refusal(kind, err)
	}
}

// flagCopies gives copies the flags that they are to have. With an error, those that
// are not known to have them are left to Recover: answered as arrived, they would seem
// to have been given the flags of the message that they were copied from.
func (c *commit) flagCopies(ctx context.Context, all []sending) error {
	want := make(map[uint32]mail.Flags)
	for _, s := range all {
		if uid := s.answer.Ref.UID; uid != 0 {
			want[uid] = s.msg.Flags
		}
	}
	now, err := c.box.matchFlags(ctx, want)
	for _, s := range all {
		got, ok := now[s.answer.Ref.UID]
		switch {
		case s.answer.Ref.IsZero():
		case err != nil && !(ok && got.Equal(s.msg.Flags)):
			*s.answer = mail.Landed{}
		case ok:
			s.answer.Unheld = s.msg.Flags.Minus(got)
		}
	}
	return err
}

// matchFlags makes messages have just these flags, and answers which they have then.
func (m *mailbox) matchFlags(ctx context.Context, want map[uint32]mail.Flags) (map[uint32]mail.Flags, error) {
	now := make(map[uint32]mail.Flags, len(want))
	if len(want) == 0 {
		return now, nil
	}
	sess, err := m.session(ctx, false)
	if err != nil {
		return nil, err
	}
	defer m.store.pool.give(sess)
	var list []uint32
	for uid := range want {
		list = append(list, uid)
	}
	states, err := sess.flagsOf(ctx, imapconn.NewUIDSet(list...))
	if err != nil {
		return nil, err
	}
	var changes []mail.FlagChange
	for _, f := range states {
		now[f.Ref.UID] = f.Flags
		if d := mail.DiffFlags(f.Flags, want[f.Ref.UID]); !d.IsZero() {
			changes = append(changes, mail.FlagChange{Ref: f.Ref, Delta: d})
		}
	}
	if len(changes) == 0 {
		return now, nil
	}
	states, err = m.setFlags(ctx, sess, changes)
	for _, f := range states {
		now[f.Ref.UID] = f.Flags
	}
	return now, err
}

// flagRecovered sets the flags that a run which was cut off may not have set any more:
// all of copies, and of uploads those that do not go with APPEND.
func (m *mailbox) flagRecovered(ctx context.Context, pending []mail.Pending, landed []mail.Landed) error {
	want := make(map[uint32]mail.Flags)
	var uploads []int
	for i, p := range pending {
		mk, ok := parseMark(p.Mark)
		switch uid := landed[i].Ref.UID; {
		case uid == 0:
		case ok && mk.copied:
			want[uid] = p.Message.Flags
		case !p.Message.Flags.IsZero():
			uploads = append(uploads, i)
		}
	}
	now, err := m.matchFlags(ctx, want)
	for i := range landed {
		if got, ok := now[landed[i].Ref.UID]; ok {
			landed[i].Unheld = pending[i].Message.Flags.Minus(got)
		}
	}
	if err != nil || len(uploads) == 0 {
		return err
	}
	return m.storeRecovered(ctx, pending, landed, uploads)
}

// storeRecovered stores, of those of pending that were uploaded, what does not go with
// APPEND.
func (m *mailbox) storeRecovered(ctx context.Context, pending []mail.Pending, landed []mail.Landed, uploads []int) error {
	sess, err := m.session(ctx, false)
	if err != nil {
		return err
	}
	defer m.store.pool.give(sess)
	later := make(map[mail.Ref]mail.Flags)
	at := make(map[mail.Ref]int)
	var changes []mail.FlagChange
	for _, i := range uploads {
		_, flags := splitFlags(pending[i].Message.Flags, sess.quirk.StoreAfterAppend, sess.quirk.KeywordsAfterAppend)
		if ref := landed[i].Ref; !flags.IsZero() {
			later[ref], at[ref] = flags, i
			changes = append(changes, mail.FlagChange{Ref: ref, Delta: mail.FlagDelta{Add: flags}})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	states, err := m.setFlags(ctx, sess, changes)
	for _, f := range states {
		if flags, ok := later[f.Ref]; ok {
			landed[at[f.Ref]].Unheld = flags.Minus(f.Flags)
		}
	}
	return err
}
