package sync

import (
	"cmp"
	"slices"

	"postbag/internal/mail"
	"postbag/state"
)

// Lost is a row whose message is gone from its mailbox on one side, and is
// still there on the other.
type Lost struct{ Row *state.Row }

// Found is a message that is new in a mailbox.
type Found struct {
	Mailbox int64
	Msg     mail.Message
}

// Moved is a lost message found again in another mailbox of the same side.
type Moved struct {
	Row *state.Row // as it was
	To  int64      // the mailbox it went to
	Msg mail.Message
}

// FindMoves pairs what is gone from one mailbox with what is new in another, on
// one side, by identity: digest, or object id, or Message-ID, size and date (a
// server keeps INTERNALDATE when it moves, RFC 9051, 6.4.7). A move is
// an optimisation: what is not found is copied and deleted. Several messages of
// one identity are paired in the order of their rows and refs; which is which
// does not matter then. No message is paired twice.
func FindMoves(lost []Lost, found []Found) []Moved {
	return findMoves(lost, found, []moveRule{byDigest, byObject, byMessageID}, func(r *state.Row, f Found) bool { return r.Mailbox != f.Mailbox })
}

// FindRekeyed pairs what is gone from a mailbox with what is new in the same one,
// where nothing but the ref changed. Only what proves the content counts: two
// copies of one mail may have all else in common. On a server that is the object id.
// The digest is known there of what happened to be read in this run, and a deletion
// must not hang on that: the run after one that was cut off reads other messages.
func FindRekeyed(lost []Lost, found []Found) []Moved {
	return findMoves(lost, found, []moveRule{byDigest, byObject}, func(r *state.Row, f Found) bool {
		return r.Mailbox == f.Mailbox && (f.Msg.Ref.Key != "" || sameObject(r, f.Msg))
	})
}

// sameObject reports whether a server tells m to be a row's message.
func sameObject(r *state.Row, m mail.Message) bool {
	return m.ID.ObjectID != "" && slices.ContainsFunc(faces(r), func(f mail.Message) bool { return f.ID.ObjectID == m.ID.ObjectID })
}

func findMoves(lost []Lost, found []Found, rules []moveRule, fits func(*state.Row, Found) bool) []Moved {
	lost = slices.Clone(lost)
	slices.SortFunc(lost, func(a, b Lost) int { return cmp.Compare(a.Row.ID, b.Row.ID) })
	found = slices.Clone(found)
	slices.SortFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), a.Msg.Ref.Compare(b.Msg.Ref))
	})
	var moves []Moved
	gone := make(map[*state.Row]bool)
	for _, key := range rules {
		waiting := make(map[moveKey][]*state.Row)
		for _, l := range lost {
			for _, m := range faces(l.Row) {
				if k, ok := key(m); ok && !gone[l.Row] {
					waiting[k] = append(waiting[k], l.Row)
				}
			}
		}
		found = slices.DeleteFunc(found, func(f Found) bool {
			k, ok := key(f.Msg)
			if !ok {
				return false
			}
			i := slices.IndexFunc(waiting[k], func(r *state.Row) bool { return fits(r, f) && sameAsRow(r, f.Msg.ID) })
			if i < 0 {
				return false
			}
			r := waiting[k][i]
			waiting[k] = slices.Delete(waiting[k], i, i+1)
			if r.Sent != nil { // it waits under its other face, too
				for k, rows := range waiting {
					waiting[k] = slices.DeleteFunc(rows, func(o *state.Row) bool { return o == r })
				}
			}
			gone[r] = true
			moves = append(moves, Moved{Row: r, To: f.Mailbox, Msg: f.Msg})
			return true
		})
	}
	return moves
}

// JointMove is a message gone from its mailbox on both sides, and found again on
// both.
type JointMove struct {
	Row   *state.Row
	Found [2]Found
}

// FindJointMoves finds messages that both sides moved, which is also what a crash
// between a move and its record leaves. One side's finds that went to the same
// mailbox as the other's are paired; with apart those that went to
// different ones. Since one side may be able to prove the identity, equal size
// and date count on the other where there is no Message-ID. Among equal messages
// those are taken that kept their key, or their flags. Rows with an intent choose
// first, as it says which message is theirs.
func FindJointMoves(lost []Lost, found [2][]Found, apart bool) []JointMove {
	lost = slices.Clone(lost)
	slices.SortFunc(lost, func(a, b Lost) int {
		return cmp.Or(cmp.Compare(noIntent(a.Row), noIntent(b.Row)), cmp.Compare(a.Row.ID, b.Row.ID))
	})
	index := [2]foundIndex{indexFound(found[0]), indexFound(found[1])}
	taken := make(map[Found]bool)
	var moves []JointMove
	for _, l := range lost {
		var best JointMove
		score := -1
		for _, a := range index[0].candidates(l.Row, taken) {
			for _, b := range index[1].candidates(l.Row, taken) {
				if apart == (a.Mailbox == b.Mailbox) || !sameContent(a.Msg.ID, b.Msg.ID) && l.Row.Sent == nil {
					continue
				}
				if n := kept(l.Row, [2]Found{a, b}); n > score {
					best, score = JointMove{l.Row, [2]Found{a, b}}, n
				}
			}
		}
		if score >= 0 {
			taken[best.Found[0]], taken[best.Found[1]] = true, true
			moves = append(moves, best)
		}
	}
	return moves
}

// noIntent is 0 for a row with an intent, and else 1.
func noIntent(r *state.Row) int {
	if _, ok := parseIntent(r.Mark); ok {
		return 0
	}
	return 1
}

// kept counts what a row's finds have kept of it. What its intent says, if it has
// one, goes before all else.
func kept(r *state.Row, found [2]Found) int {
	n := 0
	if i, ok := parseIntent(r.Mark); ok && found[i.moved].Mailbox == i.to && found[i.moved].Msg.Ref == i.ref {
		n = 8
		if found[1-i.moved].Msg.Flags.Equal(i.flags) {
			n += 8
		}
	}
	for s, f := range found {
		if f.Msg.Ref.Key != "" && f.Msg.Ref.Key == r.Ref[s].Key {
			n += 2
		}
		if f.Msg.Flags.Equal(r.Flags[s]) {
			n++
		}
	}
	return n
}

// foundIndex finds messages by any of the rules.
type foundIndex map[moveKey][]Found

var jointRules = []moveRule{byDigest, byObject, byMessageID, byDate}

func indexFound(found []Found) foundIndex {
	index := make(foundIndex)
	for _, f := range found {
		for _, rule := range jointRules {
			if k, ok := rule(f.Msg); ok {
				index[k] = append(index[k], f)
			}
		}
	}
	return index
}

// candidates are the finds that may be a row's message, in order.
func (x foundIndex) candidates(r *state.Row, taken map[Found]bool) []Found {
	var list []Found
	for _, rule := range jointRules {
		for _, m := range faces(r) {
			k, ok := rule(m)
			if !ok {
				continue
			}
			for _, f := range x[k] {
				if f.Mailbox != r.Mailbox && !taken[f] && sameAsRow(r, f.Msg.ID) && !slices.Contains(list, f) {
					list = append(list, f)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), a.Msg.Ref.Compare(b.Msg.Ref))
	})
	return list
}

// sameAsRow is sameContent for what either side holds of a row.
func sameAsRow(r *state.Row, id mail.Identity) bool {
	return sameContent(r.Ident, id) || r.Sent != nil && sameContent(r.Sent.ID, id)
}

// sameContent is false when both digests are known and differ.
func sameContent(a, b mail.Identity) bool {
	return !a.Digest.Known() || !b.Digest.Known() || a.Digest == b.Digest
}

// moveRule gives the key under which messages count as one; false when the
// message cannot tell.
type moveRule func(mail.Message) (moveKey, bool)

type moveKey struct {
	digest mail.Digest
	object string
	id     mail.MessageID
	size   int64
	date   int64
}

func byDigest(m mail.Message) (moveKey, bool) {
	return moveKey{digest: m.ID.Digest}, m.ID.Digest.Known()
}

func byObject(m mail.Message) (moveKey, bool) {
	return moveKey{object: m.ID.ObjectID}, m.ID.ObjectID != ""
}

func byMessageID(m mail.Message) (moveKey, bool) {
	return moveKey{id: m.ID.MessageID, size: m.Size, date: m.Date.Unix()},
		m.ID.Described && m.ID.MessageID != 0 && m.Size >= 0 && !m.Date.IsZero()
}

func byDate(m mail.Message) (moveKey, bool) {
	return moveKey{size: m.Size, date: m.Date.Unix()},
		m.ID.Described && m.ID.MessageID == 0 && m.Size >= 0 && !m.Date.IsZero()
}
