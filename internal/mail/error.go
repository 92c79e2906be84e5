package mail

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Scope says how much an error spoils. The engine decides on Scope, Kind and
// Temporary alone, never on an error's text.
type Scope uint8

// The scopes, from the smallest.
const (
	ScopeMessage Scope = iota + 1 // this message only: quarantine it and go on
	ScopeMailbox                  // this mailbox only: end it and go on with the others
	ScopeAccount                  // this store: end the run
)

// Kind says what went wrong, for the exit code and the hint.
type Kind uint8

// The kinds.
const (
	KindOther       Kind = iota
	KindUsage            // the request makes no sense: configuration, names, options
	KindLogin            // the server refused the credentials
	KindUnreachable      // no connection, or it was lost, or TLS failed
	KindThrottled        // the server asks to come back later
	KindQuota            // the destination is full
	KindGone             // the message or mailbox vanished meanwhile
	KindRefused          // the store took the request and said no
	KindProtocol         // the peer broke the protocol
	KindIntegrity        // content is not what it was: a digest or length differs
	KindDisk             // the local filesystem failed: full, read-only, I/O error
	KindLocked           // another run holds the lock
	KindGuard            // a safety check refused to go on; nothing was changed
	KindTooLarge         // the destination takes no message of this size
)

// Error is the error of a store. Err is the reason, lower case, without
// message content and without secrets; it may hold text of a server, so it is
// escaped before it is shown.
type Error struct {
	Scope      Scope
	Kind       Kind
	Temporary  bool          // a new try, on a new connection, may succeed
	RetryAfter time.Duration // how long the server wants us to wait; 0 when it did not say
	Op         string        // what was tried: "fetch", "append", "list"
	Mailbox    string        // "" when no mailbox is concerned
	Ref        Ref           // zero when no message is concerned
	Err        error
	Hint       string // what the user can do; "" for nothing special
}

// Error is "op mailbox ref: reason".
func (e *Error) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Op, e.Mailbox} {
		if part != "" {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(part)
		}
	}
	if !e.Ref.IsZero() {
		fmt.Fprintf(&b, " (%s)", e.Ref)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the *Error in err's chain. An error without one counts as of
// account scope: what nobody classified is not safe to go on after.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Scope: ScopeAccount, Err: err}
}

// ErrUnsupported is the reason when a store cannot do what was asked at all.
var ErrUnsupported = errors.New("not supported by this store")
