package imapstore

import (
	"context"
	"math"
	"slices"

	"postbag/internal/imapconn"
)

// lister is what the detection of changes needs of a connection on which the
// mailbox is selected. *imapconn.Conn is one.
type lister interface {
	FetchList(ctx context.Context, set imapconn.UIDSet, items imapconn.Items, changedSince uint64, vanished bool,
		fn func(imapconn.Item) error, gone func(lo, hi uint32) error) error
	Search(ctx context.Context, criteria string) (imapconn.UIDSet, error)
}

// uidSpan is a range of UIDs, both ends included. hi is below lo when it is
// empty. 64 bits, because UIDs go up to the last number of 32.
type uidSpan struct{ lo, hi uint64 }

// windows lists the messages of a span in windows of about want messages, each
// sorted by UID without duplicates, and calls fn for each until it answers
// false. density is a guess of how many messages there are in the span: UIDs may
// be sparse, so the windows widen and narrow with what they find. No more than
// 2*want items are held, whatever the server sends and in which order.
func windows(ctx context.Context, l lister, span uidSpan, want int, density uint64, items imapconn.Items,
	fn func(found []imapconn.Item, covered uidSpan) (bool, error)) error {
	want = max(want, 1)
	width := windowWidth(span, want, density)
	for lo := span.lo; lo <= span.hi; {
		hi := min(span.hi, lo+width-1)
		w := collector{want: want, span: uidSpan{lo, hi}}
		if err := l.FetchList(ctx, uidRange(lo, hi), items, 0, false, w.add, nil); err != nil {
			return err
		}
		found, covered := w.finish()
		if goOn, err := fn(found, covered); err != nil || !goOn {
			return err
		}
		width = adaptWidth(width, covered, len(found), want)
		lo = covered.hi + 1
	}
	return nil
}

// windowWidth is the first width: such that it holds want messages when they
// are spread evenly.
func windowWidth(span uidSpan, want int, density uint64) uint64 {
	if span.hi < span.lo {
		return 1
	}
	length := span.hi - span.lo + 1
	width := float64(want) * float64(length) / float64(max(density, 1))
	return uint64(min(max(width, float64(want)), float64(length)))
}

// adaptWidth is the width of the window after one that held n messages. A window
// of want UIDs holds at most want messages, so it is never narrower.
func adaptWidth(width uint64, covered uidSpan, n, want int) uint64 {
	const most = 16
	length := covered.hi - covered.lo + 1
	next := width * most
	if n > 0 {
		next = min(length*uint64(want)/uint64(n), next)
	}
	return min(max(next, uint64(want)), math.MaxUint32)
}

// collector gathers the items of one window.
type collector struct {
	want  int
	span  uidSpan // narrowed from above when there are too many items
	items []imapconn.Item
}

// add takes one item in. Servers also send what nobody asked for, and answer
// "n:*" with the last message when it is below n (RFC 9051, 6.4.9).
func (w *collector) add(it imapconn.Item) error {
	if uid := uint64(it.UID); it.UID == 0 || uid < w.span.lo || uid > w.span.hi {
		return nil
	}
	w.items = append(w.items, it)
	if len(w.items) >= 2*w.want+2 {
		w.compact()
	}
	return nil
}

// compact sorts the items, joins those of one message, and forgets the highest
// when there are more than want.
func (w *collector) compact() {
	slices.SortStableFunc(w.items, func(a, b imapconn.Item) int {
		return int(int64(a.UID) - int64(b.UID))
	})
	kept := w.items[:0]
	for _, it := range w.items {
		if n := len(kept); n > 0 && kept[n-1].UID == it.UID {
			kept[n-1] = joinItems(kept[n-1], it)
			continue
		}
		kept = append(kept, it)
	}
	if len(kept) > w.want {
		kept = kept[:w.want]
		w.span.hi = uint64(kept[w.want-1].UID)
	}
	clear(w.items[len(kept):])
	w.items = kept
}

// finish answers what was found, and which part of the span that is all of.
func (w *collector) finish() ([]imapconn.Item, uidSpan) {
	w.compact()
	return w.items, w.span
}

// joinItems is what two FETCH responses of one message say together: the later
// one about flags, the first one that says it about all else.
func joinItems(a, b imapconn.Item) imapconn.Item {
	if b.HasFlags {
		a.Flags, a.HasFlags = b.Flags, true
	}
	a.ModSeq = max(a.ModSeq, b.ModSeq)
	if a.Size < 0 {
		a.Size = b.Size
	}
	if a.Date.IsZero() {
		a.Date = b.Date
	}
	if a.EmailID == "" {
		a.EmailID = b.EmailID
	}
	if b.GmailLabels != nil {
		a.GmailLabels = b.GmailLabels
	}
	if !a.HasHeader {
		a.HasHeader, a.MessageID = b.HasHeader, b.MessageID
	}
	return a
}

func uidRange(lo, hi uint64) imapconn.UIDSet {
	var set imapconn.UIDSet
	set.AddRange(uint32(min(lo, math.MaxUint32)), uint32(min(hi, math.MaxUint32)))
	return set
}
