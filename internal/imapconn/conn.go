package imapconn

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"postbag/internal/mail"
)

// Conn is one connection, logged in.
type Conn struct{}

var errSkeleton = errors.New("skeleton")

// Dial connects and logs in.
func Dial(ctx context.Context, cfg Config) (*Conn, error) { return nil, errSkeleton }

// Has reports whether the server has a capability.
func (c *Conn) Has(capability string) bool { return false }

// Enabled reports whether ENABLE was answered for ext.
func (c *Conn) Enabled(ext string) bool { return false }

// Caps are the capabilities.
func (c *Conn) Caps() []string { return nil }

// ServerID is the reply to ID.
func (c *Conn) ServerID() map[string]string { return nil }

// Client is the library.
func (c *Conn) Client() *imapclient.Client { return nil }

// Err says why the connection is dead.
func (c *Conn) Err() error { return errSkeleton }

// Close ends the connection.
func (c *Conn) Close() error { return nil }

// Abort closes it now.
func (c *Conn) Abort() {}

// Command runs a command.
func (c *Conn) Command(ctx context.Context, on func(Response) error, parts ...Part) (*Status, error) {
	return nil, errSkeleton
}

// Items says what FetchList asks for.
type Items uint16

// The items.
const (
	Flags Items = 1 << iota
	Size
	Date
	ModSeq
	EmailID
	GmailMsgID
	GmailLabels
	HeaderMessageID
)

// Item is one message of FetchList.
type Item struct {
	UID         uint32
	Flags       mail.Flags
	HasFlags    bool
	ModSeq      uint64
	Size        int64     // -1 when absent
	Date        time.Time // zero when absent or unusable
	EmailID     string
	GmailLabels []string
	MessageID   mail.MessageID
	HasHeader   bool
}

// FetchList lists.
func (c *Conn) FetchList(ctx context.Context, set UIDSet, items Items, changedSince uint64, vanished bool, fn func(Item) error, gone func(lo, hi uint32) error) error {
	return errSkeleton
}

// FetchBodies streams bodies.
func (c *Conn) FetchBodies(ctx context.Context, set UIDSet, fn func(item Item, size int64, body io.Reader) error) error {
	return errSkeleton
}

// Selected is the answer to SELECT.
type Selected struct {
	Name           string
	UIDValidity    uint32
	UIDNext        uint32
	Exists         uint32
	HighestModSeq  uint64
	ReadOnly       bool
	PermanentFlags mail.Flags
	PermanentAny   bool
	HasPermanent   bool
	MailboxID      string
	NoModSeq       bool
}

// Select opens a mailbox.
func (c *Conn) Select(ctx context.Context, mbox []byte, readOnly bool) (Selected, error) {
	return Selected{}, errSkeleton
}

// Unselect closes it.
func (c *Conn) Unselect(ctx context.Context) error { return errSkeleton }

// Search is UID SEARCH.
func (c *Conn) Search(ctx context.Context, criteria string) (UIDSet, error) {
	return UIDSet{}, errSkeleton
}

// IsNIL reports whether the token is the atom NIL.
func (t Token) IsNIL() bool { return false }

// Is compares.
func (t Token) Is(word string) bool { return false }

// Text is the content.
func (t Token) Text() string { return "" }

// Uint64 parses.
func (t Token) Uint64() (uint64, bool) { return 0, false }

// Uint32 parses.
func (t Token) Uint32() (uint32, bool) { return 0, false }

// Mailbox is one LIST response.
type Mailbox struct {
	Attrs    []string
	Delim    string
	Name     []byte
	Extended []Token
}

// ParseList parses a LIST response.
func ParseList(r Response) (Mailbox, bool) { return Mailbox{}, false }

// String is the status.
func (s Status) String() string { return s.Type }
