package mail

import (
	"context"
	"io"
)

// Store is a place that holds mailboxes: an IMAP account or a Maildir tree. Its
// methods may be called from several goroutines at once. Errors are *Error.
type Store interface {
	// Account names the place for the state's check that it still talks about
	// the same one: stable between runs, without secrets, fit to be shown.
	Account() string
	// List lists all mailboxes, sorted by name, each with a Stamp where one is
	// cheap. It is one round trip where the store can do that. A mailbox whose
	// name cannot be used is listed with Err set.
	List(ctx context.Context) ([]MailboxInfo, error)
	// Examine opens a mailbox for reading; nothing done through it changes the
	// store (EXAMINE, RFC 9051, 6.3.3).
	Examine(ctx context.Context, name string) (Mailbox, error)
	// Select opens a mailbox for reading and writing. It must exist.
	Select(ctx context.Context, name string) (WritableMailbox, error)
	// Create makes a mailbox, and its parents where the store wants them; one
	// that exists is no error. use is a wish.
	Create(ctx context.Context, name string, use SpecialUse) error
	// Rename renames a mailbox; its children follow.
	Rename(ctx context.Context, from, to string) error
	// Delete deletes a mailbox and the messages in it; children stay.
	Delete(ctx context.Context, name string) error
	// Close ends all connections. It does not wait for a peer that does not
	// answer, and may be called twice.
	Close() error
}

// MailboxInfo describes one mailbox.
type MailboxInfo struct {
	Name string // see JoinName
	Use  SpecialUse
	// ObjectID stays with the mailbox through renames (MAILBOXID, RFC 8474; the
	// identity of the directory); "" when the store has none.
	ObjectID string
	// Validity is the epoch of the refs: when it differs from the one on record,
	// every ref on record is void (UIDVALIDITY, RFC 9051, 2.3.1.1). It is ""
	// where the listing does not tell.
	Validity string
	// Stamp proves, when it equals the one on record, that nothing happened in
	// the mailbox since. "" proves nothing.
	Stamp string
	// Messages is the number of messages, -1 when the listing does not tell.
	Messages int
	// Bytes is the size of all messages, -1 when the listing does not tell.
	Bytes int64
	// NoSelect marks a name that holds no messages (\Noselect, \NonExistent).
	NoSelect bool
	// View marks a mailbox that only shows messages of others: it is worked on only
	// where it is asked for by name.
	View bool
	// ReadOnly marks a mailbox that cannot be written even when selected.
	ReadOnly bool
	// Err tells why this mailbox cannot be used at all; nil for the others.
	Err error
}

// Cursor is how far a side of a mailbox has been looked at: a store writes it,
// the state keeps it, nobody else reads it. "" is the beginning.
type Cursor string

// Known is what the state remembers of one side of one mailbox: the messages
// that were there when it was last looked at, gone ones left out.
type Known interface {
	// Count is the number of messages.
	Count() int
	// Each calls fn for the messages with from <= ref <= to, in the order of
	// Ref.Compare. A zero to means no upper bound. An error of fn ends the walk
	// and is returned. It holds no more than a batch in memory.
	Each(ctx context.Context, from, to Ref, fn func(Ref, Flags) error) error
}

// Delta is what happened in one mailbox since a cursor. The slices are sorted
// by Ref. A superset is allowed where noted: the planner compares with the
// state anyway.
type Delta struct {
	// New lists messages that are not in Known. With Size, Date and Flags where
	// the store can tell cheaply.
	New []Message
	// Flags lists known messages whose flags may differ from Known's, with the
	// flags as they are now.
	Flags []FlagState
	// Gone lists known messages that have been proved to be absent. An absence
	// without proof is left out, and then Unsettled is set.
	Gone []Ref
	// Altered lists known messages that were sent through this store since the
	// mailbox was last asked, and that have another size there than they were sent
	// with, as far as the store finds that out at no cost.
	Altered []SizeState
	// Unsettled says why the list of Gone is not complete ("changed during five
	// scans"); "" when it is.
	Unsettled string
	// Missing is how many messages the store counts and does not list, however
	// often it is asked: they cannot be had. Unsettled is set then, too.
	Missing int
	// More says that New was cut at the limit and Gone was not looked at: handle
	// this delta, then ask again from Cursor.
	More bool
	// Cursor and Stamp may be recorded once all of the delta is handled. Stamp is
	// "" when More, when Unsettled, or when the store cannot vouch for it.
	Cursor Cursor
	Stamp  string
}

// Empty reports whether nothing happened.
func (d *Delta) Empty() bool {
	return len(d.New) == 0 && len(d.Flags) == 0 && len(d.Gone) == 0 && !d.More
}

// FlagState is a message's flags as a store has them.
type FlagState struct {
	Ref   Ref
	Flags Flags
}

// SizeState is a message's size as a store has it.
type SizeState struct {
	Ref  Ref
	Size int64
}

// Mailbox is one mailbox open for reading. Its methods are called by one
// goroutine at a time unless stated otherwise. Messages' bytes pass through
// unaltered; reading never changes a flag.
type Mailbox interface {
	// Info is the mailbox as it was when opened, with its Validity.
	Info() MailboxInfo
	// Changes says what happened since the cursor. known is this side of the
	// mailbox in the state, valid under the Validity of Info (the caller passes
	// an empty one, and the cursor "", when the validity changed). At most about
	// limit new messages are listed at a time. What was done through this store
	// since the cursor may be left out: the caller knows it.
	Changes(ctx context.Context, since Cursor, known Known, limit int) (Delta, error)
	// Describe finds the identities of messages without moving their bodies over
	// a network: Message-ID always, Digest where reading the message is local and
	// withDigest is set. fn gets a message with Ref, Size and ID set; messages
	// that vanished are left out.
	Describe(ctx context.Context, refs []Ref, withDigest bool, fn func(Message) error) error
	// Fetch reads messages and calls fn for each, in any order, from one
	// goroutine. What vanished meanwhile is left out without an error; a message
	// that is there but cannot be read arrives with Err set. An error of fn ends
	// the fetch and is returned as it is.
	Fetch(ctx context.Context, refs []Ref, fn func(Fetched) error) error
	// Close gives the mailbox back. Nothing is expunged.
	Close() error
}

// Fetched is one message on its way. Body gives the wire form and must be read
// within fn: to its end, or the message does not count. A Read fails with an
// *Error when the message ends early; io.EOF is a proof that all of it came.
type Fetched struct {
	Message // Ref, Flags, Date and Size (that of the body) as of now
	Body    io.Reader
	Err     *Error // of ScopeMessage: the store has the message but cannot give it
}

// WritableMailbox is a mailbox open for writing as well.
type WritableMailbox interface {
	Mailbox
	// Storable is the part of f that the mailbox can hold (PERMANENTFLAGS).
	Storable(f Flags) Flags
	// Batch begins an upload. Batches of one mailbox are independent and may be
	// used from different goroutines, beside one other call of this mailbox.
	Batch(ctx context.Context) (Batch, error)
	// Recover finds out what became of messages that were on their way in when a
	// run was cut off, and finishes those that are complete. It answers for each
	// one of pending, in its order: Landed.Ref zero when the message is not there.
	// Messages in known, which may be nil, have a row of their own: none of them
	// is an answer.
	Recover(ctx context.Context, pending []Pending, known Known) ([]Landed, error)
	// SetFlags applies the deltas and answers with the flags that the messages
	// hold afterwards, as verified, not as hoped. Messages that vanished, and
	// those whose flags could not be set, are told by what is left out or differs.
	SetFlags(ctx context.Context, changes []FlagChange) ([]FlagState, error)
	// Remove takes messages away, to where the store keeps removed ones when it
	// does, and answers with those that are verified to be absent.
	Remove(ctx context.Context, refs []Ref) ([]Ref, error)
	// Move moves messages to another mailbox of the same store, which exists, and
	// answers for each that arrived. A message that did not move stays as it was.
	Move(ctx context.Context, refs []Ref, to string) ([]Moved, error)
}

// FlagChange is a change of one message's flags.
type FlagChange struct {
	Ref   Ref
	Delta FlagDelta
}

// Moved is one message that moved. To is zero when the store cannot tell.
type Moved struct{ From, To Ref }

// Batch is a group of messages on their way into a mailbox. The order of calls
// is Add..., Prepare, Commit; Abort in place of any. A crash before Commit
// leaves nothing visible in the mailbox; the caller journals what Add answered
// between Prepare (or before it, see FlushesWith) and Commit, and gives it to
// Recover after a crash.
type Batch interface {
	// Add takes one message in: flags and date from m (already Storable), the
	// wire form from body, exactly m.Size octets when m.Size >= 0. The answer's
	// Ref is the one that the message will have, when the store can tell before
	// Commit; its Mark is what Recover needs. An error of ScopeMessage leaves the
	// batch usable. Add may be called from several goroutines at once.
	Add(ctx context.Context, m Message, body io.Reader) (Pending, error)
	// Prepare makes all that was added durable, without making it visible.
	Prepare(ctx context.Context) error
	// Commit makes the messages visible, durably. It answers for each one of
	// added, in its order: with Err when this message was refused.
	Commit(ctx context.Context, added []Pending) ([]Landed, error)
	// Abort drops what was not committed. It is safe after Commit, where it does
	// nothing.
	Abort()
}

// Pending is a message on its way into a mailbox, as the journal keeps it.
type Pending struct {
	Ref     Ref    // the message's future ref; zero when only Commit will tell
	Mark    string // the store's own note for Recover, e.g. UIDNEXT before the upload
	Message Message
}

// Landed is what became of a Pending.
type Landed struct {
	Ref Ref    // zero: it is not in the mailbox
	Err *Error // why it was refused; nil with a zero Ref means "lost with the crash: send it again"
	// Unheld are flags of a message that arrived which the store turned out not to
	// take, beyond those that Storable leaves out.
	Unheld Flags
	// Old says that the message was in the mailbox before: the store keeps one of
	// equal ones, and another row may be about it.
	Old bool
}

// Flusher is implemented by a Batch whose Prepare makes a whole filesystem
// durable: a journal written under path before Prepare needs no flush of its
// own.
type Flusher interface {
	FlushesWith(path string) bool
}

// HeaderReader is implemented by a Mailbox that can read the headers of messages
// without moving their bodies over a network. fn gets a message with Ref and, where the
// store can tell, Size and Date, and the header, or the fields of it that people choose
// by, which is valid during the call only. It may be cut off, and may be followed by a
// body. What vanished is left out, and so is what cannot be read.
type HeaderReader interface {
	Headers(ctx context.Context, refs []Ref, fn func(m Message, header []byte) error) error
}
