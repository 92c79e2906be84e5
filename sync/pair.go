package sync

import (
	"cmp"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// arrival is a message that has no counterpart yet: one that a delta lists as
// new, or a row of one side.
type arrival struct {
	msg       mail.Message
	row       *state.Row
	candidate bool // takes part in pairing only
	taken     bool
	held      bool // may be a message that is about to be copied here: wait for that
	going     bool // about to be copied: it waits for nothing
	ghost     bool // the row of a message that was removed here: not to be brought back
}

// arrivals are the messages of one side that need a decision, and the rows that
// they may be equal to, in the order of their refs.
func arrivals(in Input, s state.Side) []*arrival {
	var list []*arrival
	have := make(map[mail.Ref]bool)
	for _, ref := range in.Delta[s].Gone { // a row says that it was there
		have[ref] = true
	}
	add := func(a *arrival) {
		if !have[a.msg.Ref] {
			have[a.msg.Ref] = true
			list = append(list, a)
		}
	}
	now := make(map[mail.Ref]mail.Flags, len(in.Delta[s].Flags))
	for _, f := range in.Delta[s].Flags {
		now[f.Ref] = f.Flags
	}
	of := func(r *state.Row) mail.Message {
		m := rowMessage(r, s)
		if f, changed := now[m.Ref]; changed {
			m.Flags = f
		}
		return m
	}
	for _, r := range in.Retry {
		if r.Alone(s) {
			add(&arrival{msg: of(r), row: r})
		}
	}
	for _, r := range in.Alone[s] {
		if r.Alone(s) {
			add(&arrival{msg: of(r), row: r, candidate: true})
		}
	}
	for _, m := range in.Delta[s].New {
		add(&arrival{msg: m})
	}
	for _, r := range in.Ghosts[s] {
		m := rowMessage(r, s)
		list = append(list, &arrival{msg: m, row: r, candidate: true, ghost: true})
	}
	slices.SortFunc(list, func(a, b *arrival) int { return a.msg.Ref.Compare(b.msg.Ref) })
	return list
}

// rowMessage is the message of a row as side s has it.
func rowMessage(r *state.Row, s state.Side) mail.Message {
	m := mail.Message{Ref: r.Ref[s], Flags: r.Flags[s], Size: r.Size, Date: r.Date, ID: r.Ident}
	if r.Sent != nil && r.Sent.Side == s {
		m.Size, m.ID = r.Sent.Size, r.Sent.ID
		return m
	}
	if r.Mark == markAdded {
		m.ID.Added = mail.AddedLine
	}
	return m
}

// faces are the message of a row, and what one side holds in its place.
func faces(r *state.Row) []mail.Message {
	if r.Sent == nil {
		return []mail.Message{rowMessage(r, state.A)}
	}
	return []mail.Message{rowMessage(r, r.Sent.Side.Other()), rowMessage(r, r.Sent.Side)}
}

// markAdded is the Mark of a row of one side whose message has a line that another
// sync program added. It lasts until the row is a pair.
const markAdded = "added"

// joinIdentity is all that is known of a message that is a and b.
func joinIdentity(a, b mail.Identity) mail.Identity {
	id := a
	if !id.Digest.Known() {
		id.Digest = b.Digest
	}
	if !id.Described {
		id.MessageID, id.Described = b.MessageID, b.Described
	}
	id.ObjectID, id.Added = cmp.Or(a.ObjectID, b.ObjectID), max(a.Added, b.Added)
	if !id.Plain.Known() {
		id.Plain = b.Plain
	}
	return id
}

// Trust says what may pair two messages when not both digests are known.
// Everything else is read before it is paired, which costs no more than copying
// it.
type Trust uint8

// The degrees of trust.
const (
	// TrustDigest: equal digests only. The rule where both sides have a base.
	TrustDigest Trust = iota
	// TrustDate: also Message-ID (or its absence), size and date. For a mailbox
	// whose messages were numbered anew.
	TrustDate
	// TrustID: Message-ID and size, but for drafts, which change under one
	// Message-ID: those need an equal date, too. For adopting a tree that another program filled, and dated as it
	// liked.
	TrustID
)

// match pairs arrivals of both sides that are one message, each at most once, by
// the first rule that finds it:
//
//  0. what the row says that was sent in place of the message;
//  1. equal digests, those of one date first: what a server altered may have become
//     equal to another message, and is known by its date; and digests that are equal
//     without a line that another sync program added to one of them;
//  2. with TrustDate, an unknown digest, equal Message-ID (or none on either),
//     size and date, when that names one message on each side, or when all that
//     it names on one side are known to be equal, and no fewer than on the other;
//  3. with TrustID, an unknown digest, equal Message-ID, size and date, or
//     Message-ID and size, when that names one message on each side. A message
//     that has no Message-ID is read: strangers of one size may have come in one
//     second. A line that another sync program added to one of them does not count.
//
// What stays unclear is left to the copy, which learns the digest (see maybe).
func match(sides [2][]*arrival, trust Trust) [][2]*arrival {
	var pairs [][2]*arrival
	if len(sides[0]) == 0 || len(sides[1]) == 0 {
		return nil
	}
	take := func(a, b *arrival) {
		a.taken, b.taken = true, true
		pairs = append(pairs, [2]*arrival{a, b})
	}
	for _, p := range matchSent(sides, trust) {
		take(p[0], p[1])
	}
	for _, key := range []func(*mail.Message) (identityKey, bool){datedDigestKey, digestKey, plainKey} {
		zip(sides, key, func(as, bs []*arrival) {
			for i := range min(len(as), len(bs)) {
				take(as[i], bs[i])
			}
		})
	}
	one := func(as, bs []*arrival) {
		if len(as) == 1 && len(bs) == 1 && !contradict(as[0], bs[0]) {
			take(as[0], bs[0])
		}
	}
	some := func(as, bs []*arrival) {
		if len(as) == 1 && len(bs) == 1 || alike(as) && len(bs) <= len(as) || alike(bs) && len(as) <= len(bs) {
			for i := range min(len(as), len(bs)) {
				if !contradict(as[i], bs[i]) {
					take(as[i], bs[i])
				}
			}
		}
	}
	switch trust {
	case TrustDate:
		zip(sides, datedKey, some)
	case TrustID:
		zip(sides, datedIDKey, one)
		zip(sides, messageIDKey, one)
		zip(sides, withoutAdded, func(as, bs []*arrival) {
			if as[0].msg.ID.Added != bs[0].msg.ID.Added {
				one(as, bs)
			}
		})
	}
	return pairs
}

// matchSent finds the other half of messages that were sent with repairs, where a
// side was numbered anew. It is the first message that has the digest of what that
// side held, or, with more than TrustDigest and no digest, its Message-ID (or none),
// size and date.
func matchSent(sides [2][]*arrival, trust Trust) (pairs [][2]*arrival) {
	taken := make(map[*arrival]bool)
	for s, list := range sides {
		for _, a := range list {
			if a.row == nil || a.row.Sent == nil {
				continue
			}
			want := rowMessage(a.row, state.Side(1-s))
			key, dated := datedKey(&want)
			i := slices.IndexFunc(sides[1-s], func(o *arrival) bool {
				if o.ghost || taken[o] || o.msg.ID.Digest.Known() {
					return !o.ghost && !taken[o] && o.msg.ID.Digest == want.ID.Digest
				}
				k, ok := datedKey(&o.msg)
				return trust > TrustDigest && dated && ok && k == key
			})
			if i >= 0 {
				pair := [2]*arrival{a, sides[1-s][i]}
				if s == 1 {
					pair[0], pair[1] = pair[1], pair[0]
				}
				taken[sides[1-s][i]] = true
				pairs = append(pairs, pair)
			}
		}
	}
	return pairs
}

// alike reports whether all of list are known to have one digest.
func alike(list []*arrival) bool {
	for _, a := range list {
		if d := a.msg.ID.Digest; !d.Known() || d != list[0].msg.ID.Digest {
			return false
		}
	}
	return true
}

// contradict reports whether both digests are known: then they differ, or the
// first rule would have paired them.
func contradict(a, b *arrival) bool { return a.msg.ID.Digest.Known() && b.msg.ID.Digest.Known() }

// identityKey groups arrivals that may be one message.
type identityKey struct {
	digest mail.Digest
	id     mail.MessageID
	size   int64
	date   int64
}

func digestKey(m *mail.Message) (identityKey, bool) {
	return identityKey{digest: m.ID.Digest}, m.ID.Digest.Known()
}

func datedDigestKey(m *mail.Message) (identityKey, bool) {
	return identityKey{digest: m.ID.Digest, date: m.Date.Unix()}, m.ID.Digest.Known() && !m.Date.IsZero()
}

// plainKey is digestKey of a message as it was before another sync program added a
// line to it.
func plainKey(m *mail.Message) (identityKey, bool) {
	if m.ID.Plain.Known() {
		return identityKey{digest: m.ID.Plain}, true
	}
	return digestKey(m)
}

func messageIDKey(m *mail.Message) (identityKey, bool) {
	return identityKey{id: m.ID.MessageID, size: m.Size},
		m.ID.Described && m.ID.MessageID != 0 && m.Size >= 0 && m.Flags.System&mail.Draft == 0
}

// withoutAdded is messageIDKey of a message as it was before another sync program
// added a line to it.
func withoutAdded(m *mail.Message) (identityKey, bool) {
	k, ok := messageIDKey(m)
	k.size -= m.ID.Added
	return k, ok
}

func datedKey(m *mail.Message) (identityKey, bool) {
	return identityKey{id: m.ID.MessageID, size: m.Size, date: m.Date.Unix()},
		m.ID.Described && m.Size >= 0 && !m.Date.IsZero()
}

func datedIDKey(m *mail.Message) (identityKey, bool) {
	k, ok := datedKey(m)
	return k, ok && m.ID.MessageID != 0
}

// zip calls fn with the untaken arrivals of both sides that share a key, in the
// order of the first side.
func zip(sides [2][]*arrival, key func(*mail.Message) (identityKey, bool), fn func(as, bs []*arrival)) {
	groups := make(map[identityKey]*[2][]*arrival)
	var order []*[2][]*arrival
	for s, list := range sides {
		for _, a := range list {
			k, ok := key(&a.msg)
			if a.taken || !ok {
				continue
			}
			g := groups[k]
			if g == nil {
				if s == 1 {
					continue
				}
				g = new([2][]*arrival)
				groups[k] = g
				order = append(order, g)
			}
			g[s] = append(g[s], a)
		}
	}
	for _, g := range order {
		if len(g[1]) > 0 {
			fn(g[0], g[1])
		}
	}
}

// read are arrivals of one side whose digest is known and that have no counterpart,
// which copies may turn out to be.
type read struct {
	all    []*arrival
	byDate map[int64][]*arrival // those on a server
}

func readOf(list []*arrival) read {
	r := read{byDate: make(map[int64][]*arrival)}
	for _, o := range list {
		if o.taken || !o.msg.ID.Digest.Known() {
			continue
		}
		r.all = append(r.all, o)
		if o.msg.Ref.UID != 0 {
			r.byDate[o.msg.Date.Unix()] = append(r.byDate[o.msg.Date.Unix()], o)
		}
	}
	return r
}

// maybe lists those of others that a may be, or that a server may have made of it.
func maybe(a *arrival, others read) []*arrival {
	var list []*arrival
	if !a.msg.ID.Digest.Known() {
		for _, o := range others.all {
			if !o.going && maySame(a, o) {
				list = append(list, o)
			}
		}
	}
	for _, o := range others.byDate[a.msg.Date.Unix()] {
		if !o.going && mayBeOf(a, o) && !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list
}

// maySame reports whether only the content of a can tell whether it is o: same
// size, Message-ID not different, a's digest not known.
func maySame(a, o *arrival) bool {
	switch {
	case a.msg.ID.Digest.Known(), a.msg.Size >= 0 && o.msg.Size != a.msg.Size && o.msg.Size-o.msg.ID.Added != a.msg.Size:
		return false
	case a.msg.ID.Described && o.msg.ID.Described && a.msg.ID.MessageID != o.msg.ID.MessageID:
		return false
	}
	return true
}

// mayBeOf reports whether o, on a server, may be what that server made of a (see
// mail.Alteration): of one date, and with one Message-ID or none, or of one size.
// Their content has to prove it.
func mayBeOf(a, o *arrival) bool {
	if o.msg.Ref.UID == 0 || o.ghost || a.msg.Date.IsZero() || a.msg.Date.Unix() != o.msg.Date.Unix() {
		return false
	}
	if a.msg.Size == o.msg.Size {
		return true
	}
	return a.msg.ID.Described && o.msg.ID.Described && a.msg.ID.MessageID == o.msg.ID.MessageID && a.msg.Size >= 0 &&
		o.msg.Size <= 2*a.msg.Size+2 && a.msg.Size <= 2*o.msg.Size+2
}

// undescribed lists, for each side, the messages whose identity decides whether
// something is paired: those of a size or a date that the other side has too. A
// size of -1 may be any.
func undescribed(sides [2][]*arrival) [2][]mail.Ref {
	var refs [2][]mail.Ref
	var sizes, dates [2]map[int64]bool
	for s, list := range sides {
		sizes[s], dates[s] = make(map[int64]bool), make(map[int64]bool)
		for _, a := range list {
			sizes[s][a.msg.Size] = true
			if !a.msg.Date.IsZero() {
				dates[s][a.msg.Date.Unix()] = true
			}
			if a.msg.Size >= 0 {
				sizes[s][a.msg.Size-a.msg.ID.Added] = true
			}
			if a.row != nil && a.row.Sent != nil {
				sizes[s][rowMessage(a.row, state.Side(1-s)).Size] = true
			}
		}
	}
	for s, list := range sides {
		other := sizes[1-s]
		if len(other) == 0 {
			continue
		}
		for _, a := range list {
			if !a.msg.ID.Described && (a.msg.Size < 0 || other[a.msg.Size] || other[-1] ||
				!a.msg.Date.IsZero() && dates[1-s][a.msg.Date.Unix()]) {
				refs[s] = append(refs[s], a.msg.Ref)
			}
		}
	}
	return refs
}

// unfathomed lists, for each side, the messages of which only their content can
// tell whether they are ones that are to be copied there, and whose digest is not
// known: of one size, with no Message-ID that differs; and what a server may have made
// of one. Of two that may be one, and both are to be copied, side B's is read here, and
// side A's with its copy.
func unfathomed(in Input, sides [2][]*arrival) [2][]mail.Ref {
	var refs [2][]mail.Ref
	for s, list := range sides {
		to, from := state.Side(s), state.Side(1-s)
		bySize, byDate := make(map[int64][]*arrival), make(map[int64][]*arrival)
		for _, a := range sides[from] {
			if a.taken || a.candidate || !in.wants(to, a.msg) {
				continue
			}
			byDate[a.msg.Date.Unix()] = append(byDate[a.msg.Date.Unix()], a)
			if a.msg.Size >= 0 && (to == state.A || !a.msg.ID.Digest.Known()) {
				bySize[a.msg.Size] = append(bySize[a.msg.Size], a)
			}
		}
		for _, o := range list {
			if o.taken || o.ghost || o.msg.ID.Digest.Known() {
				continue
			}
			same := func(a *arrival) bool {
				return !a.msg.ID.Described || !o.msg.ID.Described || a.msg.ID.MessageID == o.msg.ID.MessageID
			}
			both := to == state.A && !o.candidate && in.wants(from, o.msg)
			if !both && slices.ContainsFunc(bySize[o.msg.Size], same) ||
				slices.ContainsFunc(byDate[o.msg.Date.Unix()], func(a *arrival) bool { return mayBeOf(a, o) }) {
				refs[to] = append(refs[to], o.msg.Ref)
			}
		}
	}
	return refs
}

// wants reports whether a message that side to does not have is to be copied there.
func (in *Input) wants(to state.Side, m mail.Message) bool {
	return in.Policy.May[to].New && (in.Pass == nil || in.Pass(m))
}
