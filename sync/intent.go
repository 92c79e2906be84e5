package sync

import (
	"fmt"
	"strings"

	"postbag/internal/mail"
	"postbag/state"
)

// intent is what a row's Mark says while its message is being moved on one side,
// as the other side did: which message of which mailbox it was found to be there,
// and the flags that it has where it is moved. A row at rest with an intent is
// one of which nobody wrote down how the move ended; the intent then tells which
// of several equal messages are its own, and means nothing else.
type intent struct {
	moved state.Side // the side that moved it first
	to    int64      // the mailbox, by ID
	ref   mail.Ref   // there, on that side
	flags mail.Flags // on the other side
}

// markBase is the Mark of a row that lost its ref on one side to a rename of our own:
// the flags of both sides that were on record. It lasts until the row is a pair again.
func markBase(flags [2]mail.Flags) string {
	return fmt.Sprintf("base %q %q", flags[0].String(), flags[1].String())
}

// baseOf is the inverse of markBase; false when a Mark is something else.
func baseOf(mark string) (base [2]mail.Flags, ok bool) {
	var flags [2]string
	if n, err := fmt.Sscanf(mark, "base %q %q", &flags[0], &flags[1]); err != nil || n != 2 {
		return base, false
	}
	for s, text := range flags {
		base[s] = mail.ParseFlags(strings.Fields(text)...)
	}
	return base, true
}

// String is the intent as a Mark.
func (i intent) String() string {
	return fmt.Sprintf("move %d %d %d %q %q", i.moved, i.to, i.ref.UID, i.ref.Key, i.flags.String())
}

// parseIntent is the inverse of String; false when a Mark is no intent.
func parseIntent(mark string) (intent, bool) {
	var i intent
	var flags string
	n, err := fmt.Sscanf(mark, "move %d %d %d %q %q", &i.moved, &i.to, &i.ref.UID, &i.ref.Key, &flags)
	if err != nil || n != 5 || i.moved != state.A && i.moved != state.B {
		return intent{}, false
	}
	i.flags = mail.ParseFlags(strings.Fields(flags)...)
	return i, true
}
