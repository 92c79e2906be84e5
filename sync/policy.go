package sync

import (
	"postbag/internal/mail"
	"postbag/state"
)

// Allow says what a run may change on one side.
type Allow struct {
	New             bool // add messages
	Flags           bool // add and take away flags
	Deletes         bool // remove messages that the other side deleted
	Moves           bool // move messages that the other side moved
	Mailboxes       bool // create and rename mailboxes
	DeleteMailboxes bool // delete mailboxes that the other side deleted
}

// Policy says what a run may change on each side; it is all that distinguishes
// one command from another. A side with nothing allowed is only ever opened for
// reading.
type Policy struct {
	Name string
	May  [2]Allow
}

// everything but the deletion of whole mailboxes, which is always asked for by
// itself.
var everything = Allow{New: true, Flags: true, Deletes: true, Moves: true, Mailboxes: true}

// Backup copies A to B and keeps on B what A deleted.
func Backup() Policy {
	return Policy{Name: "backup", May: [2]Allow{state.B: {New: true, Flags: true, Moves: true, Mailboxes: true}}}
}

// Mirror makes B follow A in everything.
func Mirror() Policy {
	return Policy{Name: "mirror", May: [2]Allow{state.B: everything}}
}

// Push copies B to A and keeps on A what B deleted.
func Push() Policy {
	return Policy{Name: "push", May: [2]Allow{state.A: {New: true, Flags: true, Moves: true, Mailboxes: true}}}
}

// Migrate copies A to B, both servers, again and again until the move is over: B
// gets what is new and what changed, and keeps what A deleted.
func Migrate() Policy {
	return Policy{Name: "migrate", May: [2]Allow{state.B: {New: true, Flags: true, Moves: true, Mailboxes: true}}}
}

// Restore puts on A what B has and A lacks; what A has stays as it is.
func Restore() Policy {
	return Policy{Name: "restore", May: [2]Allow{state.A: {New: true, Mailboxes: true}}}
}

// Import puts on B what the archive A has and B lacks; what B has stays as it is.
func Import() Policy {
	return Policy{Name: "import", May: [2]Allow{state.B: {New: true, Mailboxes: true}}}
}

// TwoWay makes both sides agree.
func TwoWay() Policy {
	return Policy{Name: "sync", May: [2]Allow{everything, everything}}
}

// reads reports whether the policy changes nothing on side s.
func (p Policy) reads(s state.Side) bool { return p.May[s] == Allow{} }

// mergeFlags finds the flag changes that bring both sides of a row together:
// what one side changed since base is done on the other. base is what each side
// held when both agreed last, now what each holds. Since base is kept per side, a
// flag that one side cannot hold, or that a one-way policy left different, stays
// different and costs nothing. When one side added what the other took away (the
// bases differed), the addition wins.
//
// after is what to record once both changes are done.
func mergeFlags(p Policy, storable [2]func(mail.Flags) mail.Flags, base, now [2]mail.Flags) (do [2]mail.FlagDelta, after [2]mail.Flags) {
	var changed [2]mail.FlagDelta
	for s := range changed {
		changed[s] = mail.DiffFlags(base[s], now[s])
	}
	after = now
	for s := range do {
		o := 1 - s
		if !p.May[s].Flags || changed[o].IsZero() {
			continue
		}
		add := changed[o].Add.Minus(now[s])
		if storable[s] != nil && !add.IsZero() {
			add = storable[s](add)
		}
		do[s] = mail.FlagDelta{Add: add, Remove: changed[o].Remove.Intersect(now[s]).Minus(changed[s].Add)}
		after[s] = now[s].Apply(do[s])
	}
	return do, after
}

// mergeSubscription finds the changes that bring the subscriptions of a mailbox
// together: what one side changed since base is done on the other. Without a base
// both become subscribed. do names the sides whose subscription is to be turned
// round, after is what both hold then; base where they go on to differ.
func mergeSubscription(p Policy, base state.Subscription, now [2]bool) (do [2]bool, after state.Subscription) {
	want := base != state.Subscribed // the side that differs from base has changed
	if now[0] == now[1] {
		want = now[0]
	}
	for s := range now {
		if do[s] = now[s] != want; do[s] && !p.May[s].Mailboxes {
			return [2]bool{}, base
		}
	}
	if want {
		return do, state.Subscribed
	}
	return do, state.Unsubscribed
}
