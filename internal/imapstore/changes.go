package imapstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// How the changes of a mailbox are found. Invariants:
//
//   - The cursor and the stamp hold numbers from before the listing, so that what
//     happens during it is told again next time.
//   - New messages are those with a UID from the cursor's on. That is believed
//     when the count closes: EXISTS is what is known plus what is new. When it
//     does not close, something is gone, or a listing was not complete, and the
//     next rung has to say which.
//   - A message is gone when a complete listing lacks it. A listing is complete
//     when it ended with a tagged OK and told as many messages below UIDNEXT as
//     EXISTS said when UIDNEXT was told: what arrives later has higher UIDs. So
//     an OK with nothing in it deletes nothing.
//   - Nothing is gone when UIDNEXT went back, or when the mailbox holds as many
//     messages as the server shows at most.

// abilities are the rungs of the ladder that may be used with a connection.
type abilities struct {
	condstore bool // FETCH CHANGEDSINCE
	qresync   bool // and VANISHED
	search    bool
}

// look is one look at a mailbox.
type look struct {
	conn  lister
	known mail.Known
	limit int
	items imapconn.Items // to ask of new messages
	shows []uint32       // numbers of messages at which the server stops to show more
	can   *abilities     // rungs that turn out not to work are taken out
	// again selects the mailbox anew, and answers its counters of now.
	again func(context.Context) (counters, error)
	// altered picks from listed messages those that have another size than they
	// were sent with; nil picks none.
	altered func([]mail.SizeState) []mail.SizeState

	before counters // from before the listing
	since  cursor
	count  int    // known messages
	next   uint64 // new messages below it have been listed
	delta  mail.Delta
}

// changes answers what happened since the cursor.
func (l *look) changes(ctx context.Context, since mail.Cursor) (mail.Delta, error) {
	l.since = parseCursor(since, l.before.validity)
	l.limit = max(l.limit, 1)
	l.count = l.known.Count()
	back, err := l.wentBack(ctx)
	if err != nil {
		return mail.Delta{}, err
	}
	more, err := l.listNew(ctx)
	if err != nil {
		return mail.Delta{}, err
	}
	if more {
		return l.cut(), nil
	}
	if err := l.settle(ctx, back); err != nil {
		return mail.Delta{}, err
	}
	if l.delta.More {
		return l.delta, nil
	}
	c := cursor{validity: l.before.validity, next: uint32(min(l.next, maxUID))}
	if back {
		l.delta.Gone, l.delta.Unsettled = nil, fmt.Sprintf("the server's UIDNEXT went back from %d to %d", l.since.next, l.before.next)
	}
	l.outOfSight()
	// After an answer that was not complete, the next look is at everything.
	if l.can.condstore && l.delta.Unsettled == "" {
		c.modseq = l.before.modseq
	}
	l.delta.Cursor = mail.Cursor(c.String())
	if l.can.condstore && l.delta.Unsettled == "" {
		l.delta.Stamp = l.before.stamp()
	}
	return l.delta, nil
}

// outOfSight takes back what is told as gone where a message may only be out of sight.
func (l *look) outOfSight() {
	if slices.Contains(l.shows, l.before.messages) {
		l.delta.Gone = nil
		l.delta.Unsettled = fmt.Sprintf("there are exactly %d messages, where this server stops to show more", l.before.messages)
	}
}

// wentBack reports whether UIDNEXT is lower than the cursor's, as after a server
// was restored from a backup. When known messages have UIDs that the server is
// about to give away again, no UID can be trusted, and that is an error.
func (l *look) wentBack(ctx context.Context) (bool, error) {
	next := l.before.next
	if next == 0 || next >= l.since.next {
		return false, nil
	}
	err := l.known.Each(ctx, mail.Ref{UID: next}, mail.Ref{}, func(r mail.Ref, _ mail.Flags) error {
		return &mail.Error{
			Scope: mail.ScopeMailbox, Kind: mail.KindIntegrity, Temporary: true,
			Err: fmt.Errorf("the server's UIDNEXT is %d, but there was a message with UID %d, under the same UIDVALIDITY", next, r.UID),
			Hint: "the server may have been restored from a backup: its message numbers cannot be trusted. " +
				"Pair this mailbox anew by content (state rebuild).",
		}
	})
	return true, err
}

// listNew lists the messages from the cursor's UID on. It answers true when the
// limit was reached before the end.
func (l *look) listNew(ctx context.Context) (more bool, err error) {
	span := uidSpan{lo: uint64(l.since.next), hi: maxUID}
	if l.before.next != 0 {
		span.hi = uint64(l.before.next) - 1
	}
	l.next = span.hi + 1
	if l.before.next == 0 {
		l.next = span.lo
	}
	if l.before.messages == 0 || span.hi < span.lo {
		return false, nil
	}
	remaining := uint64(1)
	if int64(l.before.messages) > int64(l.count) {
		remaining = uint64(l.before.messages) - uint64(l.count)
	}
	if l.since.next == 1 { // known messages may be among them
		remaining = uint64(l.before.messages)
	}
	err = windows(ctx, l.conn, span, l.limit, remaining, l.items, func(found []imapconn.Item, covered uidSpan) (bool, error) {
		if err := l.sortOut(ctx, found); err != nil {
			return false, err
		}
		if covered.hi < span.hi || l.before.next != 0 {
			l.next = covered.hi + 1
		} else if n := len(found); n > 0 { // UIDNEXT was not told
			l.next = uint64(found[n-1].UID) + 1
		}
		more = covered.hi < span.hi && len(l.delta.New) >= l.limit
		return !more, nil
	})
	return more, err
}

// sortOut files listed messages: those that are known by their flags, the others
// as new.
func (l *look) sortOut(ctx context.Context, found []imapconn.Item) error {
	uids := make([]uint32, len(found))
	for i := range found {
		uids[i] = found[i].UID
	}
	var sizes []mail.SizeState
	err := lookUp(ctx, l.known, uids, func(i int, flags mail.Flags, isKnown bool) {
		it := &found[i]
		if isKnown && l.altered != nil {
			sizes = append(sizes, mail.SizeState{Ref: mail.Ref{UID: it.UID}, Size: it.Size})
		}
		switch {
		case !isKnown:
			l.delta.New = append(l.delta.New, listedMessage(it))
		case it.HasFlags && !it.Flags.Equal(flags):
			l.delta.Flags = append(l.delta.Flags, flagState(it.UID, it.Flags))
		}
	})
	if l.altered != nil {
		l.delta.Altered = append(l.delta.Altered, l.altered(sizes)...)
	}
	return err
}

// cut is the delta when the limit was reached.
func (l *look) cut() mail.Delta {
	c := cursor{validity: l.before.validity, next: uint32(min(l.next, maxUID)), modseq: l.since.modseq}
	if l.since.next == 1 && l.can.condstore {
		c.modseq = l.before.modseq // all flags below next were looked at just now
	}
	l.delta.More, l.delta.Gone, l.delta.Stamp = true, nil, ""
	l.delta.Cursor = mail.Cursor(c.String())
	return l.delta
}

// settle finds out about the known messages: their flags, and which are gone.
func (l *look) settle(ctx context.Context, back bool) error {
	if l.closes(0) && l.count == 0 {
		return nil
	}
	since, now := l.since.modseq, l.before.modseq
	if back || !l.can.condstore || since == 0 || now < since || l.before.next == 0 {
		return l.full(ctx)
	}
	vanished, err := l.changedSince(ctx)
	if err == nil && !l.can.condstore { // CHANGEDSINCE was refused
		return l.full(ctx)
	}
	if err != nil {
		return err
	}
	gone, err := l.knownWithin(ctx, vanished)
	if err != nil {
		return err
	}
	if l.closes(len(gone)) {
		l.delta.Gone = gone
		return nil
	}
	if done, err := l.compareSearch(ctx); err != nil || done {
		return err
	}
	return l.full(ctx)
}

// closes reports whether EXISTS is what it has to be when gone of the known
// messages are gone, and no other.
func (l *look) closes(gone int) bool {
	return int64(l.before.messages) == int64(l.count)-int64(gone)+int64(len(l.delta.New))
}

// changedSince asks for flags that changed since the cursor (RFC 7162, 3.1.4),
// and with QRESYNC for what is gone (3.2.6).
func (l *look) changedSince(ctx context.Context) (vanished imapconn.UIDSet, err error) {
	if l.before.modseq == l.since.modseq && l.closes(0) {
		return vanished, nil
	}
	old := uint64(l.since.next) - 1
	if old == 0 {
		return vanished, nil
	}
	kept := len(l.delta.Flags)
	batch := flagBatch{look: l, ctx: ctx, below: uint64(l.since.next)}
	askVanished := l.can.qresync
	gone := func(lo, hi uint32) error {
		if lo > 0 && lo <= hi {
			vanished.AddRange(lo, hi)
		}
		return nil
	}
	err = l.conn.FetchList(ctx, uidRange(1, old), imapconn.Flags|imapconn.ModSeq, l.since.modseq, askVanished, batch.add, gone)
	if err == nil {
		err = batch.flush()
	}
	if refused(err) {
		l.delta.Flags = l.delta.Flags[:kept]
		if askVanished {
			l.can.qresync = false
			return l.changedSince(ctx)
		}
		l.can.condstore = false
		return vanished, nil
	}
	sortFlags(&l.delta)
	return vanished, err
}

// refused reports whether the server took a command and said no, so that another
// way can be tried on the same connection.
func refused(err error) bool {
	status, ok := errors.AsType[*imapconn.StatusError](err)
	return ok && (status.Type == "NO" || status.Type == "BAD") && mail.AsError(err).Kind != mail.KindThrottled
}

// flagBatch compares flags that the server sends with what is known, a batch at
// a time.
type flagBatch struct {
	look  *look
	ctx   context.Context
	below uint64
	items []imapconn.Item
}

func (b *flagBatch) add(it imapconn.Item) error {
	if it.UID == 0 || uint64(it.UID) >= b.below || !it.HasFlags {
		return nil
	}
	b.items = append(b.items, it)
	if len(b.items) < pageSize {
		return nil
	}
	return b.flush()
}

func (b *flagBatch) flush() error {
	w := collector{want: len(b.items), items: b.items}
	found, _ := w.finish()
	uids := make([]uint32, len(found))
	for i := range found {
		uids[i] = found[i].UID
	}
	l := b.look
	err := lookUp(b.ctx, l.known, uids, func(i int, flags mail.Flags, isKnown bool) {
		if isKnown && !found[i].Flags.Equal(flags) {
			l.delta.Flags = append(l.delta.Flags, flagState(found[i].UID, found[i].Flags))
		}
	})
	b.items = b.items[:0]
	return err
}

// knownWithin are the known messages within set.
func (l *look) knownWithin(ctx context.Context, set imapconn.UIDSet) ([]mail.Ref, error) {
	var refs []mail.Ref
	walk := func(lo, hi uint32) error {
		return l.known.Each(ctx, mail.Ref{UID: lo}, mail.Ref{UID: hi}, func(r mail.Ref, _ mail.Flags) error {
			if set.Contains(r.UID) {
				refs = append(refs, r)
			}
			return nil
		})
	}
	ranges := set.Ranges()
	const few = 64 // walks that cost less than one over everything
	if len(ranges) > few {
		err := walk(ranges[0].Lo, ranges[len(ranges)-1].Hi)
		return refs, err
	}
	for _, r := range ranges {
		if err := walk(r.Lo, r.Hi); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

// compareSearch finds what is gone by the UIDs of all messages. It answers false
// when they are not complete, or hold one that is neither known nor new.
func (l *look) compareSearch(ctx context.Context) (done bool, err error) {
	if !l.can.search {
		return false, nil
	}
	// Not ALL: iCloud answers it with part of the messages.
	set, err := l.conn.Search(ctx, "UID 1:*")
	if refused(err) {
		l.can.search = false
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if countBelow(set, uint64(l.before.next)) != uint64(l.before.messages) {
		return false, nil
	}
	var gone []mail.Ref
	err = l.known.Each(ctx, mail.Ref{UID: 1}, mail.Ref{}, func(r mail.Ref, _ mail.Flags) error {
		if !set.Contains(r.UID) {
			gone = append(gone, r)
		}
		return nil
	})
	if err != nil || !l.closes(len(gone)) {
		return false, err
	}
	l.delta.Gone = gone
	return true, nil
}

// countBelow is the number of UIDs of set that are below next; of all when next
// is 0.
func countBelow(set imapconn.UIDSet, next uint64) uint64 {
	var n uint64
	for _, r := range set.Ranges() {
		lo, hi := uint64(r.Lo), uint64(r.Hi)
		if next > 0 {
			hi = min(hi, next-1)
		}
		if lo <= hi {
			n += hi - lo + 1
		}
	}
	return n
}

// sortFlags sorts delta's flag states and leaves one per message, the last told.
func sortFlags(d *mail.Delta) {
	slices.SortStableFunc(d.Flags, func(a, b mail.FlagState) int { return a.Ref.Compare(b.Ref) })
	kept := d.Flags[:0]
	for _, f := range d.Flags {
		if n := len(kept); n > 0 && kept[n-1].Ref == f.Ref {
			kept[n-1] = f
			continue
		}
		kept = append(kept, f)
	}
	d.Flags = kept
}

func flagState(uid uint32, f mail.Flags) mail.FlagState {
	return mail.FlagState{Ref: mail.Ref{UID: uid}, Flags: f}
}

// listedMessage is a new message as it is told to the engine.
func listedMessage(it *imapconn.Item) mail.Message {
	return mail.Message{
		Ref: mail.Ref{UID: it.UID}, Flags: it.Flags, Size: it.Size, Date: it.Date,
		ID: mail.Identity{MessageID: it.MessageID, Described: it.HasHeader, ObjectID: it.EmailID},
	}
}
