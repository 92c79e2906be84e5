package sync

import (
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// box is one mailbox in a run. It belongs to one goroutine at a time.
type box struct {
	rec   *state.Mailbox // as committed, but for cursors on their way
	saved state.Mailbox  // as committed
	info  [2]*mail.MailboxInfo
	look  [2]bool // sides to be looked at in the next pass
	wrote [2]bool // sides changed in this pass
	delta [2]mail.Delta
	heard [2]bool      // the store told of something, be it known
	rows  []*state.Row // that the deltas name
	retry []*state.Row // rows of one side to be copied now, see line
	lined map[int64]bool
	alone [2][]*state.Row
	ghost [2][]*state.Row
	known Plan // for messages with a row
	// learned are rows whose identity was found out in this pass.
	learned  []*state.Row
	problems map[int64]bool          // rows that the journal has a problem of
	tries    map[int64]state.Problem // those problems, as the run began
	waiting  map[int64]bool          // rows of one side to be copied when the other is known
	trust    Trust
	// poison counts, in this run, how often a message ended the fetch that it was
	// part of.
	poison  map[mail.Ref]int
	left    int // messages that were listed, and then not delivered
	again   bool
	err     error  // of this pass
	count   [2]int // see run.held
	counted [2]bool
	noted   MailboxReport // what the verbose were told of
	ahead   ahead
	holds   [2]mail.Flags // flags that messages of a side were seen to take
	made    [2]bool       // sides on which this run made the mailbox
	orphan  bool          // side lost has the mailbox no more, see orphan.go
	lost    state.Side
	// replaced says that side lost has another mailbox of this name.
	replaced bool
	alters   [2]alterations // messages that a side altered as it took them
	remake   bool           // of an orphan: it is made again in the next pass
	waited   bool           // of an orphan: see newlyLost
	unlike   bool           // flags differ that another policy has to see: see Plan
}

// newBox makes a box of a join.
func newBox(j *Join) *box {
	return &box{rec: j.Record, saved: j.Saved, info: j.Info, replaced: j.replaced, lined: make(map[int64]bool), problems: make(map[int64]bool),
		tries: make(map[int64]state.Problem), waiting: make(map[int64]bool), poison: make(map[mail.Ref]int)}
}

// line adds a row of one side to those that are to be copied now, once.
func (b *box) line(row *state.Row) {
	if !b.lined[row.ID] {
		b.lined[row.ID] = true
		b.retry = append(b.retry, row)
	}
}

// forget takes a row that is deleted out of all that is to be done.
func (b *box) forget(id int64) {
	if b.lined[id] {
		b.retry = slices.DeleteFunc(b.retry, func(r *state.Row) bool { return r.ID == id })
		delete(b.lined, id)
	}
	delete(b.problems, id)
	delete(b.waiting, id)
}

// taken takes rows that are on both sides by now, and those that are deleted, out of
// the ones that are to be copied: the next try of a pass that failed must not copy
// them once more. Rows in the list are as they were when they were lined up.
func (b *box) taken(rows []*state.Row, deleted []int64) {
	if len(b.retry) == 0 {
		return
	}
	gone := make(map[int64]bool, len(rows)+len(deleted))
	for _, row := range rows {
		if row.Alive(state.A) && row.Alive(state.B) && row.Status == state.Here {
			gone[row.ID] = true
		}
	}
	for _, id := range deleted {
		gone[id] = true
	}
	b.retry = slices.DeleteFunc(b.retry, func(row *state.Row) bool { return gone[row.ID] })
	for id := range gone {
		delete(b.lined, id)
	}
}

// unline empties that list.
func (b *box) unline() {
	b.retry = nil
	clear(b.lined)
}

// loses reports whether the plan for known messages removes any.
func (b *box) loses() bool { return len(b.known.Removes[0]) > 0 || len(b.known.Removes[1]) > 0 }

// name is the box's name for people: side A's, unless it has none.
func (b *box) name() string {
	if b.rec.Name[0] != "" {
		return b.rec.Name[0]
	}
	return b.rec.Name[1]
}
