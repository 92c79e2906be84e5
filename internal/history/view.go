package history

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

// View is the account as it was at a point. Its memory follows what changed since
// then, not the size of the account.
type View struct {
	Point Point
	db    *state.DB
	past  map[int64]*state.Past // rows as they were, where they changed since
	boxes map[int64]boxThen
}

// boxThen is a mailbox as it was.
type boxThen struct {
	name  string // "" when the account did not have it
	nameB string
	use   mail.SpecialUse
}

// Message is one message as it was.
type Message struct {
	Row     int64
	Box     int64
	Mailbox string
	Ref     [2]mail.Ref // as it was then; the key may have changed since
	InB     bool        // the Maildir had it
	Flags   mail.Flags
	Size    int64
	Date    time.Time
	Ident   mail.Identity
	// Now is its row as it is; nil when the message left the mailbox on both sides.
	Now *state.Row
}

// Lost reports whether the account has the message no more in the mailbox in which it
// was.
func (m *Message) Lost() bool { return m.Now == nil || !m.Now.Alive(state.A) }

// Kept reports whether the message is lost, and lies in the Maildir's mailbox all the
// same: a backup keeps it.
func (m *Message) Kept() bool { return m.Lost() && m.Now != nil && m.Now.Alive(state.B) }

// Open makes the view of a point.
func Open(ctx context.Context, db *state.DB, p Point) (*View, error) {
	v := &View{Point: p, db: db, past: make(map[int64]*state.Past), boxes: make(map[int64]boxThen)}
	if err := v.mailboxes(ctx); err != nil {
		return nil, err
	}
	return v, db.PastAfter(ctx, p.Run, func(past *state.Past) error {
		if v.past[past.ID] == nil {
			v.past[past.ID] = past
		}
		return nil
	})
}

func (v *View) mailboxes(ctx context.Context) error {
	records, err := v.db.Mailboxes(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		v.boxes[r.ID] = v.then(r.Name, r.Use, r.Gone)
	}
	past, err := v.db.PastMailboxes(ctx)
	if err != nil {
		return err
	}
	for _, p := range slices.Backward(past) { // of each mailbox the first entry counts
		if p.Until > v.Point.Run {
			v.boxes[p.ID] = v.then(p.Name, p.Use, p.Gone)
		}
	}
	return nil
}

func (v *View) then(name [2]string, use mail.SpecialUse, gone [2]int64) boxThen {
	b := boxThen{name[state.A], name[state.B], use}
	if gone[state.A] != 0 && gone[state.A] <= v.Point.Run {
		b.name = ""
	}
	return b
}

// Mailboxes are the account's mailboxes as they were, by name.
func (v *View) Mailboxes() []mail.MailboxInfo {
	var list []mail.MailboxInfo
	for _, b := range v.boxes {
		if b.name != "" {
			list = append(list, mail.MailboxInfo{Name: b.name, Use: b.use, Messages: -1, Bytes: -1})
		}
	}
	slices.SortFunc(list, func(a, b mail.MailboxInfo) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(list, func(a, b mail.MailboxInfo) bool { return a.Name == b.Name })
}

// Each calls fn for the messages of one mailbox, as they were, in any order.
func (v *View) Each(ctx context.Context, mailbox string, fn func(*Message) error) error {
	for _, id := range slices.Sorted(maps.Keys(v.boxes)) {
		if v.boxes[id].name != mailbox {
			continue
		}
		if err := v.eachRow(ctx, id, fn); err != nil {
			return err
		}
		if err := v.eachPast(ctx, id, fn); err != nil {
			return err
		}
	}
	return nil
}

// eachRow gives the messages whose rows did not change since.
func (v *View) eachRow(ctx context.Context, box int64, fn func(*Message) error) error {
	return v.db.Each(ctx, box, func(r *state.Row) error {
		// Before there was a history, that a message went is on record in its row.
		there := r.Alive(state.A) || r.Gone[state.A] > v.Point.Run
		if v.past[r.ID] != nil || r.Born > v.Point.Run || !there {
			return nil
		}
		m := &Message{Row: r.ID, Box: box, Mailbox: v.boxes[box].name, Ref: r.Ref, Flags: r.Flags[state.A], Size: r.Size, Date: r.Date,
			Ident: r.Ident, InB: r.Alive(state.B) || r.Gone[state.B] > v.Point.Run, Now: r}
		m.asSent()
		return fn(m)
	})
}

// asSent gives a message the size and identity of what the Maildir holds in its
// place, where that did not take it as it is.
func (m *Message) asSent() {
	if m.Now != nil && m.Now.Sent != nil && m.Now.Sent.Side == state.B {
		m.Size, m.Ident = m.Now.Sent.Size, m.Now.Sent.ID
	}
}

// eachPast gives those whose rows changed or were deleted.
func (v *View) eachPast(ctx context.Context, box int64, fn func(*Message) error) error {
	var ids []int64
	for id, p := range v.past {
		if p.Mailbox == box && p.There[state.A] && p.Born <= v.Point.Run {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for chunk := range slices.Chunk(ids, 500) {
		rows, err := v.db.Rows(ctx, chunk)
		if err != nil {
			return err
		}
		now := make(map[int64]*state.Row, len(rows))
		for _, r := range rows {
			now[r.ID] = r
		}
		for _, id := range chunk {
			p := v.past[id]
			m := &Message{Row: id, Box: box, Mailbox: v.boxes[box].name, Ref: p.Ref, Flags: p.Flags[state.A], Size: p.Size, Date: p.Date,
				Ident: p.Ident, InB: p.There[state.B], Now: now[id]}
			if m.Now != nil && m.Now.Mailbox != box {
				m.Now = nil
			}
			if m.Now != nil {
				m.Ident = m.Now.Ident
				m.Size = cmp.Or(max(m.Now.Size, 0), p.Size)
			}
			m.asSent()
			if err := fn(m); err != nil {
				return err
			}
		}
	}
	return nil
}
