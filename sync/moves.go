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
	return findMoves(lost, found, byDigest, byObject, byMessageID)
}

// findMovesLoosely also takes equal size and date for identity where there is no
// Message-ID. It is for messages that both sides moved to one place, one of which
// may be able to prove it.
func findMovesLoosely(lost []Lost, found []Found) []Moved {
	return findMoves(lost, found, byDigest, byObject, byMessageID, byDate)
}

func findMoves(lost []Lost, found []Found, keys ...func(mail.Message) (moveKey, bool)) []Moved {
	lost = slices.Clone(lost)
	slices.SortFunc(lost, func(a, b Lost) int { return cmp.Compare(a.Row.ID, b.Row.ID) })
	found = slices.Clone(found)
	slices.SortFunc(found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Mailbox, b.Mailbox), a.Msg.Ref.Compare(b.Msg.Ref))
	})
	var moves []Moved
	gone := make(map[*state.Row]bool)
	for _, key := range keys {
		waiting := make(map[moveKey][]*state.Row)
		for _, l := range lost {
			if k, ok := key(rowMessage(l.Row, state.A)); ok && !gone[l.Row] {
				waiting[k] = append(waiting[k], l.Row)
			}
		}
		found = slices.DeleteFunc(found, func(f Found) bool {
			k, ok := key(f.Msg)
			if !ok {
				return false
			}
			i := slices.IndexFunc(waiting[k], func(r *state.Row) bool { return r.Mailbox != f.Mailbox && sameContent(r.Ident, f.Msg.ID) })
			if i < 0 {
				return false
			}
			r := waiting[k][i]
			waiting[k] = slices.Delete(waiting[k], i, i+1)
			gone[r] = true
			moves = append(moves, Moved{Row: r, To: f.Mailbox, Msg: f.Msg})
			return true
		})
	}
	return moves
}

// sameContent is false when both digests are known and differ.
func sameContent(a, b mail.Identity) bool {
	return !a.Digest.Known() || !b.Digest.Known() || a.Digest == b.Digest
}

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
