package imapstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

// How the changes of \All are found when it shows only what has no label. The rules of
// changes.go hold, with these differences:
//
//   - What is known are the messages without a label; the server counts all. So the
//     cursor holds how many there were, and when that does not add up with what is new,
//     something was expunged, or a listing was not complete: SEARCH says which.
//   - A change of a message's labels moves its MODSEQ (as a change of flags does, and
//     as other programs have relied on for years). So CHANGEDSINCE tells which messages
//     lost their last label, and are new here, and which got one, and are gone.
//   - Without a MODSEQ to start from, all messages are listed with their labels.

// viewCursor is a cursor of \All. While a listing goes on, modseq is from before it
// began.
type viewCursor struct {
	cursor
	count uint32 // messages below next, with or without labels
	// known: when the listing is complete, the known messages have to be looked at one
	// by one.
	known bool
	hash  string
}

// String is "v=UIDVALIDITY n=UIDNEXT m=MODSEQ c=MESSAGES k=KNOWN l=HASH".
func (c viewCursor) String() string {
	k := 0
	if c.known {
		k = 1
	}
	return fmt.Sprintf("%s c=%d k=%d l=%s", c.cursor, c.count, k, c.hash)
}

// parseViewCursor is the inverse of String. Everything else, and what was taken with
// other labels, is the beginning.
func parseViewCursor(s mail.Cursor, validity uint32, hash string) viewCursor {
	begin := viewCursor{cursor: cursor{validity: validity, next: 1}, hash: hash}
	head, tail, ok := strings.Cut(string(s), " c=")
	n, rest, ok2 := field("c="+tail, "c=", 32)
	k, rest, ok3 := field(rest, " k=", 1)
	if !ok || !ok2 || !ok3 || rest != " l="+hash {
		return begin
	}
	c := viewCursor{cursor: parseCursor(mail.Cursor(head), validity), count: uint32(n), known: k == 1, hash: hash}
	if c.String() != string(s) {
		return begin
	}
	return c
}

// labelItems are the items to ask of messages whose labels count.
const labelItems = imapconn.GmailLabels

// viewChanges answers what happened in \All since the cursor.
func (l *look) viewChanges(ctx context.Context, since mail.Cursor, set *labelSet) (mail.Delta, error) {
	v := viewLook{look: l, set: set}
	l.limit = max(l.limit, 1)
	v.since = parseViewCursor(since, l.before.validity, set.hash)
	l.since = v.since.cursor
	l.count = l.known.Count()
	if back, err := l.wentBack(ctx); err != nil || back {
		if err == nil {
			err = &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindIntegrity, Temporary: true,
				Err: fmt.Errorf("the server's UIDNEXT went back from %d to %d", l.since.next, l.before.next)}
		}
		return mail.Delta{}, err
	}
	if v.since.modseq > 0 && (!l.can.condstore || l.before.modseq < v.since.modseq) {
		v.since = parseViewCursor("", l.before.validity, set.hash)
	}
	if v.since.next == 1 { // what is listed from now on is as of now, or later
		v.since.known = l.count > 0
		if v.since.modseq, v.since.count = 0, 0; l.can.condstore {
			v.since.modseq = l.before.modseq
		}
	}
	l.since = v.since.cursor
	return v.run(ctx)
}

// viewLook is one look at \All.
type viewLook struct {
	*look
	set   *labelSet
	since viewCursor
	met   uint32 // messages that were listed as new, with or without labels
}

func (v *viewLook) run(ctx context.Context) (mail.Delta, error) {
	first := v.since.next
	more, err := v.listNewOnes(ctx)
	if err != nil {
		return mail.Delta{}, err
	}
	next := v.since
	next.next, next.count = uint32(min(v.next, maxUID)), v.since.count+v.met
	if more {
		// A label that is missed here is a change since modseq.
		v.delta.More, v.delta.Gone = true, nil
		v.delta.Cursor = mail.Cursor(next.String())
		return v.delta, nil
	}
	if v.since.known {
		err = v.eachKnown(ctx)
	}
	if err == nil && v.since.modseq > 0 && first > 1 {
		err = v.changedLabels(ctx, first-1)
	}
	if err == nil && !v.addsUp() {
		err = v.expunged(ctx)
	}
	if err != nil {
		return mail.Delta{}, err
	}
	v.outOfSight()
	v.sort()
	next.known = false
	if v.delta.Unsettled == "" && v.can.condstore {
		next.modseq, next.count = v.before.modseq, v.before.messages
		v.delta.Stamp = v.set.stamp(v.before.stamp())
	} else {
		next.next, next.modseq, next.count = 1, 0, 0
	}
	v.delta.Cursor = mail.Cursor(next.String())
	return v.delta, nil
}

// sort sorts what was found in several listings, and leaves one of each.
func (v *viewLook) sort() {
	d := &v.delta
	sortFlags(d)
	slices.SortStableFunc(d.New, func(a, b mail.Message) int { return a.Ref.Compare(b.Ref) })
	d.New = slices.CompactFunc(d.New, func(a, b mail.Message) bool { return a.Ref == b.Ref })
	slices.SortFunc(d.Gone, mail.Ref.Compare)
	d.Gone = slices.Compact(d.Gone)
	d.Flags = slices.DeleteFunc(d.Flags, func(f mail.FlagState) bool {
		_, gone := slices.BinarySearchFunc(d.Gone, f.Ref, mail.Ref.Compare)
		return gone
	})
}

// listNewOnes lists the messages from the cursor's UID on.
func (v *viewLook) listNewOnes(ctx context.Context) (more bool, err error) {
	l := v.look
	span := uidSpan{lo: uint64(v.since.next), hi: maxUID}
	if l.before.next != 0 {
		span.hi = uint64(l.before.next) - 1
	}
	l.next = span.hi + 1
	if l.before.messages == 0 || span.hi < span.lo {
		return false, nil
	}
	err = windows(ctx, l.conn, span, l.limit, max(uint64(l.before.messages), 1), l.items|labelItems, func(found []imapconn.Item, covered uidSpan) (bool, error) {
		if err := v.file(ctx, found); err != nil {
			return false, err
		}
		v.met += uint32(len(found))
		if covered.hi < span.hi || l.before.next != 0 {
			l.next = covered.hi + 1
		} else if n := len(found); n > 0 {
			l.next = uint64(found[n-1].UID) + 1
		}
		more = covered.hi < span.hi && len(l.delta.New) >= l.limit
		return !more, nil
	})
	return more, err
}

// file sorts listed messages: new ones, known ones whose flags differ, and known ones
// that have a label now. What was told without labels counts as having none: so it is
// copied once too often, and not lost.
func (v *viewLook) file(ctx context.Context, found []imapconn.Item) error {
	uids := make([]uint32, len(found))
	for i := range found {
		uids[i] = found[i].UID
	}
	return lookUp(ctx, v.known, uids, func(i int, flags mail.Flags, isKnown bool) {
		it := &found[i]
		labelled := v.set.has(it.GmailLabels)
		switch {
		case !isKnown && !labelled:
			v.delta.New = append(v.delta.New, listedMessage(it))
		case isKnown && labelled:
			v.delta.Gone = append(v.delta.Gone, mail.Ref{UID: it.UID})
		case isKnown && !labelled && it.HasFlags && !it.Flags.Equal(flags):
			v.delta.Flags = append(v.delta.Flags, flagState(it.UID, it.Flags))
		}
	})
}

// changedLabels asks for what changed below a UID since the cursor's MODSEQ.
func (v *viewLook) changedLabels(ctx context.Context, last uint32) error {
	if v.before.modseq == v.since.modseq {
		return nil
	}
	var found []imapconn.Item
	flush := func() error {
		w := collector{want: max(len(found), 1), items: found, span: uidSpan{1, uint64(last)}}
		all, _ := w.finish()
		err := v.file(ctx, all)
		found = nil
		return err
	}
	items := v.items | labelItems | imapconn.ModSeq
	err := v.conn.FetchList(ctx, uidRange(1, uint64(last)), items, v.since.modseq, false, func(it imapconn.Item) error {
		// An unsolicited response tells flags and no labels.
		if it.UID == 0 || it.UID > last || it.GmailLabels == nil {
			return nil
		}
		if found = append(found, it); len(found) < pageSize {
			return nil
		}
		return flush()
	}, nil)
	if err == nil {
		err = flush()
	}
	return err
}

// eachKnown looks at the labels and flags of all known messages.
func (v *viewLook) eachKnown(ctx context.Context) error {
	var page []uint32
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		for _, set := range imapconn.NewUIDSet(page...).Chunks(setBytes) {
			w := collector{want: pageSize, span: uidSpan{1, maxUID}}
			if err := v.conn.FetchList(ctx, set, imapconn.Flags|labelItems, 0, false, w.add, nil); err != nil {
				return err
			}
			found, _ := w.finish()
			for i := range found {
				if set.Contains(found[i].UID) && v.set.has(found[i].GmailLabels) {
					v.delta.Gone = append(v.delta.Gone, mail.Ref{UID: found[i].UID})
				}
			}
		}
		page = page[:0]
		return nil
	}
	err := v.known.Each(ctx, mail.Ref{UID: 1}, mail.Ref{}, func(r mail.Ref, _ mail.Flags) error {
		if page = append(page, r.UID); len(page) < pageSize {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return err
}

// addsUp reports whether the server has as many messages as it has to have when none
// was expunged and all were listed.
func (v *viewLook) addsUp() bool {
	return !v.since.known && uint64(v.before.messages) == uint64(v.since.count)+uint64(v.met)
}

// expunged finds the known messages that the server has no more, and notices when it
// has some that it did not list.
func (v *viewLook) expunged(ctx context.Context) error {
	const incomplete = "the server lists fewer messages than it has"
	if !v.can.search {
		v.delta.Unsettled = incomplete
		return nil
	}
	set, err := v.conn.Search(ctx, "UID 1:*")
	if err != nil && !refused(err) {
		return err
	}
	all := countBelow(set, uint64(v.before.next))
	if err != nil || all != uint64(v.before.messages) {
		v.delta.Unsettled = incomplete
		return nil
	}
	old := countBelow(set, uint64(v.since.next)) // not more than there were: of them some can only have gone
	missing := max(int64(old)-int64(v.since.count), 0) + max(int64(all-old)-int64(v.met), 0)
	if missing > 0 {
		v.delta.Unsettled, v.delta.Missing = incomplete, int(missing)
	}
	return v.known.Each(ctx, mail.Ref{UID: 1}, mail.Ref{}, func(r mail.Ref, _ mail.Flags) error {
		if !set.Contains(r.UID) {
			v.delta.Gone = append(v.delta.Gone, r)
		}
		return nil
	})
}
