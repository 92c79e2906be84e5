package mail

import (
	"context"
	"time"
)

// Linker is implemented by a Batch that can take in a message which the store
// holds already, in this or another mailbox, so that its content need not come
// from the other side once more. What is linked is part of the batch as if it had
// been added: it becomes durable, visible and recoverable in the same way. A
// wrapper of a Batch forwards it.
type Linker interface {
	// Link takes in a second time what is at from: a message of its own, with the
	// flags and the date of m, which are Storable. m.Size and m.ID, with its Digest,
	// say what the content has to be. An error of ScopeMessage says that nothing was
	// taken in, because it is not there any more, is another content, or cannot be
	// had with that date, and that the message has to be copied the ordinary way; so
	// does an Err of Commit. Like Add it may be called from several goroutines.
	Link(ctx context.Context, m Message, from Place) (Pending, error)
}

// Place is where a message is in a store.
type Place struct {
	Mailbox  string
	Validity string // of the mailbox when Ref was told
	Ref      Ref
	Date     time.Time // INTERNALDATE as it was sent there; zero when not known
}
