// Package state keeps what both sides of a pair held at the last run: which
// message on one side is which on the other, the flags that both agreed on, the
// journal of messages on their way, the runs, and what could not be copied. It
// is one SQLite file with a checksum in every row. It decides nothing: package
// sync does.
package state

import (
	"time"

	"postbag/internal/mail"
)

// Side is one of the two ends of a pair. The engine does not know which is a
// server.
type Side int

// The sides.
const (
	A Side = 0
	B Side = 1
)

// Other is the opposite side.
func (s Side) Other() Side { return 1 - s }

// String is "A" or "B".
func (s Side) String() string { return [...]string{"A", "B"}[s] }

// Mailbox is one mailbox as both sides last had it. A Name of "" means that the
// side has none.
type Mailbox struct {
	ID       int64 // 0 until committed
	Name     [2]string
	Use      mail.SpecialUse
	ObjectID [2]string
	Validity [2]string
	Cursor   [2]mail.Cursor
	Stamp    [2]string
	Gone     [2]int64 // the run that saw the mailbox go; 0 while it is there
	// Filter is the message filter under which the cursors were taken: with
	// another one, rows of one side only are looked at again.
	Filter string
	// Subscribed is what both sides last agreed on.
	Subscribed Subscription
	// Renaming is what the mailbox is to be called on each side, from when that is
	// decided until all mailboxes have such names.
	Renaming [2]string
}

// Subscription says whether mail readers are to show a mailbox (SUBSCRIBE, RFC
// 9051, 6.3.7).
type Subscription uint8

// The subscriptions.
const (
	Unknown Subscription = iota // nobody asked, or the sides never agreed
	Unsubscribed
	Subscribed
)

// Status says how far a row has come.
type Status uint8

// The statuses. A row on its way to a side may have its Ref there already (a
// Maildir key is chosen beforehand), but no message answers to it for sure.
const (
	Here Status = iota // at rest: each non-zero Ref without Gone is a message that is there
	ToA                // "departing": on its way to side A
	ToB                // "arriving": on its way to side B
)

// Toward is the status of a row on its way to s.
func Toward(s Side) Status { return ToA + Status(s) }

// Row is one message of one mailbox.
//
//   - Both refs, no Gone: a pair.
//   - Both refs, Gone on one side: the message went there and stays here; it is
//     not copied again.
//   - One ref: the other side never had it (filtered out, not allowed, refused);
//     or, with Gone on that side, it had it under a ref that is void by now.
type Row struct {
	ID      int64 // 0 until committed
	Mailbox int64
	Ref     [2]mail.Ref
	// Flags are what each side held when both were last brought together. A side
	// has changed a flag when it differs from this.
	Flags  [2]mail.Flags
	Gone   [2]int64 // the run that saw it go; 0 while it is there
	Size   int64    // octets of the wire form, -1 when unknown
	Date   time.Time
	Ident  mail.Identity // Described and ObjectID are kept too
	Born   int64         // the run that brought the row
	Status Status
	Mark   string // the receiving store's note for Recover, while on its way
	Sent   *Sent  // nil: both sides hold the message as it is
}

// Alive reports whether the row's message is on side s.
func (r *Row) Alive(s Side) bool {
	return !r.Ref[s].IsZero() && r.Gone[s] == 0 && r.Status != Toward(s)
}

// Alone reports whether the row's message is on side s, and the other side never
// had it.
func (r *Row) Alone(s Side) bool {
	return r.Status == Here && r.Alive(s) && r.Ref[s.Other()].IsZero()
}

// Problem is a message that could not be copied or changed: quarantine. It
// hangs on a row, and goes with it.
type Problem struct {
	Row    int64 // the row's ID
	Of     *Row  // when set in a Tx: the row, among the Tx's, whose ID this is about
	Side   Side  // the side that failed
	Kind   mail.Kind
	Reason string // without message content; may hold text of a server
	Tries  int
	First  int64 // the run that met it first
	Last   int64 // the run that tried last
}

// Run is one run that changed the state.
type Run struct {
	ID       int64
	Command  string
	Started  time.Time
	Finished time.Time // zero: it never came to its end
	Outcome  string
	Summary  string // JSON of the report's counts
}

// Tx is a set of changes that reach the state together or not at all.
type Tx struct {
	Mailboxes []*Mailbox // inserted when ID is 0 (which is then set), else replaced
	Rows      []*Row     // likewise
	Delete    []int64    // rows, with their problems
	Problems  []Problem  // inserted or replaced by Row and Side
	Solved    []int64    // rows whose problems are forgotten
}

// Empty reports whether tx changes nothing.
func (tx *Tx) Empty() bool {
	return len(tx.Mailboxes)+len(tx.Rows)+len(tx.Delete)+len(tx.Problems)+len(tx.Solved) == 0
}
