// Package mail is the vocabulary that every other package of postbag speaks:
// messages and how to name them, flags, mailbox names, errors with a scope, and
// the Store and Mailbox interfaces that an IMAP account and a Maildir tree both
// implement. It does no I/O and imports no other package of this module.
package mail

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

// Ref names one message within one mailbox of one store. Exactly one field is
// set: UID by stores that number their messages (IMAP, RFC 9051, 2.3.1.1; valid
// under one Validity of the mailbox only), Key by stores that name them (the
// base name of a Maildir file, without its info part). The zero Ref names
// nothing. Refs are comparable and may be used as map keys.
type Ref struct {
	UID uint32
	Key string
}

// IsZero reports whether r names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// Compare orders refs: by UID, then by Key bytewise. Listings and Known.Each
// use this order.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.UID, o.UID), strings.Compare(r.Key, o.Key))
}

// String is for reports and logs: "uid 42" or the key. It may hold any byte of
// a file name: escape it before it reaches a terminal.
func (r Ref) String() string {
	if r.Key != "" {
		return r.Key
	}
	return "uid " + strconv.FormatUint(uint64(r.UID), 10)
}

// Digest is the SHA-256 of a message's wire form: the octets of its BODY[]
// literal. The zero Digest means "not known" and never equals anything.
type Digest [sha256.Size]byte

// Known reports whether d holds a digest.
func (d Digest) Known() bool { return d != Digest{} }

// String is the digest in lower-case hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MessageID is a 64-bit hash of a normalised Message-ID header field. Zero means
// that the header is absent, empty, or that nobody has looked (see
// Identity.Described). It saves memory; it is never the only proof of identity.
type MessageID uint64

// HashMessageID hashes the value of a Message-ID header field: folding and the
// white space around it do not count, everything else does. An empty value
// hashes to zero.
func HashMessageID(value string) MessageID {
	value = strings.Join(strings.Fields(value), " ")
	if value == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(value))
	return MessageID(max(h.Sum64(), 1))
}

// Identity is what is known of a message's content, from weakest to strongest.
// Two messages are one when their digests are known and equal; when either
// digest is unknown, equal Message-ID and Size may pair them (see package sync).
type Identity struct {
	MessageID MessageID // meaningful when Described
	Described bool      // the Message-ID header was looked for
	Digest    Digest    // zero when not computed
	ObjectID  string    // EMAILID (RFC 8474) or X-GM-MSGID; "" when the store has none
	// Added is how many octets a header line has that another sync program put in,
	// see AddedLine; 0 for none. Plain is then the Digest without that line, zero
	// when not computed. Neither is kept in the state.
	Added int64
	Plain Digest
}

// Message is one message as a store lists it, without its content.
type Message struct {
	Ref   Ref
	Flags Flags
	Size  int64     // octets of the wire form (CRLF); -1 when not known
	Date  time.Time // INTERNALDATE; zero when the store has none that can be used
	ID    Identity
}
