package sync

import (
	"cmp"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// The planner is pure: values in, values out, no I/O, no clock, and the order of
// its input does not matter. It keeps these rules:
//
//   - A deletion needs proof: a row that both sides had, and a Delta that lists
//     the message as Gone. Absence from anything else means nothing.
//   - Deleted on one side, flags changed on the other: the deletion wins, and is
//     reported. Deleted on both: forgotten.
//   - New on both sides with one identity: paired, not copied, and flags are only
//     added, never \Deleted, unless it is on record what both agreed on (see
//     markBase). Equal messages stay as many as they are.
//   - A policy that may not change a side gets no action on that side.
//   - A row of one side, or with one side gone, never brings a message back by
//     itself.

// Input is what the planner knows of one mailbox. Moved messages have been taken
// out of the deltas before (see FindMoves).
type Input struct {
	Mailbox int64
	Policy  Policy
	Delta   [2]mail.Delta
	Rows    []*state.Row    // every row that a delta's Flags or Gone name, once
	Retry   []*state.Row    // rows of one side that are to be copied now
	Alone   [2][]*state.Row // rows of one side that New of the other may be equal to
	// Ghosts are rows whose message was removed from this side, and whose ref on
	// the other is void since the mailbox's validity changed there.
	Ghosts [2][]*state.Row
	Trust  Trust
	// Park keeps what is new on a side from being copied yet: the other side is
	// not all known.
	Park     [2]bool
	Pass     func(mail.Message) bool
	Storable [2]func(mail.Flags) mail.Flags // nil: everything
}

// Plan is what to do in one mailbox, in the order of the fields. Each row in it
// is a new value: what the state shall say when the action is done.
type Plan struct {
	Records []*state.Row // nothing to do but to write down
	Copies  []Copy
	Flags   []SetFlags
	Removes [2][]*state.Row
	Forget  []int64 // rows that mean nothing any more
	Notes   []Note
	// Waiting are those of Records that the policy would copy, and that must wait:
	// they may be equal to a message on its way to them.
	Waiting []*state.Row
	// Unlike says that flags differ which the policy leaves to another one.
	Unlike bool
}

// Copy brings a message to side To.
type Copy struct {
	To  state.Side
	Msg mail.Message // as the other side has it
	Row *state.Row   // the message's row, when it has one
	// Maybe are rows of messages on side To that may be this one: nobody can tell
	// before its digest is known. When one has the digest, it is paired instead.
	// They may be among the plan's Records.
	Maybe []*state.Row
}

// SetFlags changes a pair's flags on one or both sides.
type SetFlags struct {
	Do  [2]mail.FlagDelta
	Row *state.Row
	// Forget is a row that went into Row, when it is not 0. It is forgotten when Row is
	// written down, and not before: until then the two are to be paired.
	Forget int64
}

// Note is something that the user may want to know of a row.
type Note struct {
	Row  *state.Row
	Text string
}

// Empty reports whether the plan changes neither a side nor the state.
func (p *Plan) Empty() bool {
	return len(p.Copies)+len(p.Flags)+len(p.Records)+len(p.Removes[0])+len(p.Removes[1])+len(p.Forget) == 0
}

// PlanKnown plans for messages that have a row: flags, deletions.
func PlanKnown(in Input) Plan {
	var p Plan
	events := make(map[int64]*event)
	var touched [2]map[mail.Ref]*event
	for s := range touched {
		touched[s] = make(map[mail.Ref]*event)
	}
	for _, r := range in.Rows {
		if r.Status != state.Here || events[r.ID] != nil {
			continue
		}
		e := &event{row: r, flags: r.Flags}
		events[r.ID] = e
		for s := range touched {
			if r.Alive(state.Side(s)) {
				touched[s][r.Ref[s]] = e
			}
		}
	}
	for s, d := range in.Delta {
		for _, f := range d.Flags {
			if e := touched[s][f.Ref]; e != nil {
				e.flags[s] = f.Flags
			}
		}
		for _, ref := range d.Gone {
			if e := touched[s][ref]; e != nil {
				e.gone[s] = true
			}
		}
	}
	for _, e := range sortedEvents(events) {
		e.plan(&p, in)
	}
	return p
}

// event is what happened to one row.
type event struct {
	row   *state.Row
	gone  [2]bool
	flags [2]mail.Flags // as they are now
}

func sortedEvents(events map[int64]*event) []*event {
	all := make([]*event, 0, len(events))
	for _, e := range events {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *event) int { return cmp.Compare(a.row.ID, b.row.ID) })
	return all
}

func (e *event) plan(p *Plan, in Input) {
	r := *e.row
	alive := [2]bool{r.Alive(state.A) && !e.gone[0], r.Alive(state.B) && !e.gone[1]}
	paired := r.Alive(state.A) && r.Alive(state.B)
	switch {
	case !alive[0] && !alive[1]:
		p.Forget = append(p.Forget, r.ID)
	case alive[0] && alive[1] && in.Policy.idle():
		p.Unlike = p.Unlike || e.flags != r.Flags
	case alive[0] && alive[1]:
		var do [2]mail.FlagDelta
		do, r.Flags = mergeFlags(in.Policy, in.Storable, r.Flags, e.flags)
		p.setFlags(SetFlags{Do: do, Row: &r}, e.row)
	case !paired:
		// Only one side was ever known to have it, or the other's is gone already.
		if r.Flags = e.flags; r.Flags != e.row.Flags {
			p.Records = append(p.Records, &r)
		}
	default:
		left := state.A
		if alive[1] {
			left = state.B
		}
		if in.Policy.May[left].Deletes {
			mark := mail.Flags{System: mail.Deleted} // says the same as the deletion
			if !r.Flags[left].Minus(mark).Equal(e.flags[left].Minus(mark)) {
				p.Notes = append(p.Notes, Note{&r, "deleted on one side, flags changed on the other: the deletion wins"})
			}
			p.Removes[left] = append(p.Removes[left], &r)
			return
		}
		r.Gone[left.Other()] = thisRun
		r.Flags[left] = e.flags[left]
		p.Records = append(p.Records, &r)
	}
}

// setFlags adds an action; with nothing to do, its row is recorded when it differs
// from was.
func (p *Plan) setFlags(a SetFlags, was *state.Row) {
	switch {
	case !a.Do[0].IsZero() || !a.Do[1].IsZero():
		p.Flags = append(p.Flags, a)
	case was == nil || a.Row.Flags != was.Flags:
		p.Records = append(p.Records, a.Row)
		if a.Forget != 0 {
			p.Forget = append(p.Forget, a.Forget)
		}
	}
}

// PlanNew plans for messages that have no row yet, and for in.Retry: pair, copy,
// or only write down.
func PlanNew(in Input) Plan {
	var p Plan
	sides := [2][]*arrival{arrivals(in, state.A), arrivals(in, state.B)}
	for _, pair := range match(sides, in.Trust) {
		p.pair(in, pair)
	}
	known := [2]read{readOf(sides[0]), readOf(sides[1])}
	if in.Policy.May[state.A].New && !in.Park[state.B] {
		for _, a := range sides[state.B] { // before any of side A's is copied
			if !a.taken && !a.candidate && in.wants(state.A, a.msg) {
				holdMade(a, known[state.A])
			}
		}
	}
	for s, list := range sides {
		for _, a := range list {
			if !a.taken {
				p.arrive(in, state.Side(s), a, known[1-s])
			}
		}
	}
	return p
}

// pair joins two arrivals of one identity in one row. Where there is no base, both
// start from the flags that they share, and \Deleted stays where it is.
func (p *Plan) pair(in Input, pair [2]*arrival) {
	for s, a := range pair {
		if a.ghost {
			p.revive(state.Side(s).Other(), a.row, pair[1-s])
			return
		}
	}
	a, b := pair[0].msg, pair[1].msg
	r := state.Row{Mailbox: in.Mailbox, Born: thisRun}
	var forget int64
	switch {
	case pair[1].row != nil: // what the state knows of a message is kept
		r = *pair[1].row
		if pair[0].row != nil {
			forget = pair[0].row.ID
		}
	case pair[0].row != nil:
		r = *pair[0].row
	}
	base, known := baseOf(r.Mark)
	r.Ref = [2]mail.Ref{a.Ref, b.Ref}
	r.Gone = [2]int64{}
	r.Size, r.Mark = max(a.Size, b.Size), ""
	if a.Size >= 0 && b.Size >= 0 && a.ID.Added != b.ID.Added { // as it was before
		r.Size = min(a.Size, b.Size)
	}
	if r.Date.IsZero() {
		if r.Date = a.Date; r.Date.IsZero() {
			r.Date = b.Date
		}
	}
	r.Ident = joinIdentity(a.ID, b.ID)
	if sent := sentOf(pair); sent != nil { // the two differ
		r.Size, r.Ident, r.Sent = sent.Size, sent.Ident, sent.Sent
	} else {
		r.Sent = nil
		if b.ID.Digest.Known() { // they differ by an added line: the copy's is kept
			r.Ident.Digest = b.ID.Digest
		}
	}
	now := [2]mail.Flags{a.Flags, b.Flags}
	if !known {
		shared := a.Flags.Intersect(b.Flags)
		base = [2]mail.Flags{shared, shared}
	}
	do, after := mergeFlags(in.Policy, in.Storable, base, now)
	switch {
	case known:
	case in.Policy.idle():
		after, p.Unlike = base, p.Unlike || now != base
	default:
		for s := range now {
			do[s].Add = do[s].Add.Minus(mail.Flags{System: mail.Deleted})
			after[s] = now[s].Apply(do[s])
		}
	}
	r.Flags = after
	p.setFlags(SetFlags{do, &r, forget}, nil)
}

// sentOf is the row, of two arrivals that are paired, that says of the other one how
// it differs; nil for none.
func sentOf(pair [2]*arrival) *state.Row {
	for s, a := range pair {
		if a.row == nil || a.row.Sent == nil {
			continue
		}
		want, got := rowMessage(a.row, state.Side(1-s)), pair[1-s].msg
		if got.ID.Digest == want.ID.Digest || !got.ID.Digest.Known() && got.Size == want.Size {
			return a.row
		}
	}
	return nil
}

// revive gives a ghost its ref on side s again. The message stays removed on the
// other.
func (p *Plan) revive(s state.Side, ghost *state.Row, a *arrival) {
	if a.row != nil {
		p.Forget = append(p.Forget, a.row.ID)
	}
	r := *ghost
	r.Ref[s], r.Flags[s], r.Gone[s] = a.msg.Ref, a.msg.Flags, 0
	p.Records = append(p.Records, &r)
}

// arrive plans for an arrival that is equal to nothing on the other side.
func (p *Plan) arrive(in Input, from state.Side, a *arrival, others read) {
	to := from.Other()
	if a.candidate { // a row that was only there to be compared with
		return
	}
	wanted := in.wants(to, a.msg)
	if wanted && !a.held && !in.Park[from] {
		a.going = true
		c := Copy{To: to, Msg: a.msg, Row: a.row}
		for _, o := range maybe(a, others) {
			c.Maybe = append(c.Maybe, p.hold(in, to, o))
		}
		p.Copies = append(p.Copies, c)
		return
	}
	if a.row == nil {
		p.record(in, from, a)
	}
	if wanted {
		p.Waiting = append(p.Waiting, a.row)
	}
}

// hold keeps an arrival of side s from being copied, and answers with its row, with
// the flags that it has now.
func (p *Plan) hold(in Input, s state.Side, a *arrival) *state.Row {
	a.held = true
	if a.row == nil {
		p.record(in, s, a)
	}
	if !a.row.Flags[s].Equal(a.msg.Flags) {
		r := *a.row
		r.Flags[s] = a.msg.Flags
		a.row = &r
	}
	return a.row
}

// holdMade keeps from being copied what a server may have made of a, which is about
// to be copied to it.
func holdMade(a *arrival, others read) {
	for _, o := range others.byDate[a.msg.Date.Unix()] {
		if mayBeOf(a, o) {
			o.held = true
		}
	}
}

// record gives an arrival a row of one side.
func (p *Plan) record(in Input, s state.Side, a *arrival) {
	r := &state.Row{Mailbox: in.Mailbox, Born: thisRun, Size: a.msg.Size, Date: a.msg.Date, Ident: a.msg.ID}
	r.Ref[s], r.Flags[s] = a.msg.Ref, a.msg.Flags
	if a.msg.ID.Added > 0 {
		r.Mark = markAdded
	}
	a.row = r
	p.Records = append(p.Records, r)
}
