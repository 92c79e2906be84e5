package imapconn

import "io"

// Part is one piece of a command. Pieces are joined by a blank, except after one
// that ends with "(" and before one that begins with ")".
type Part struct {
	kind partKind
	text string
	size int64
	body io.Reader
	wait bool // for the server's leave, whatever it allows
}

type partKind uint8

const (
	partRaw partKind = iota
	partString
	partLiteral
)

// Raw is sent as it is. It must be printable ASCII: anything else is refused
// before a byte is sent, so that no text from outside can end the command.
func Raw(text string) Part { return Part{kind: partRaw, text: text} }

// Str is sent as a quoted string, or as a literal when it holds what a quoted
// string cannot. NUL is refused.
func Str(text string) Part { return Part{kind: partString, text: text} }

// Mbox is a mailbox name as on the wire: encoded already, or the octets that the
// server listed.
func Mbox(name []byte) Part { return Str(string(name)) }

// Literal is a literal of exactly size octets from r; when r gives fewer, or
// fails, the connection is aborted, since the server would take what follows
// for its rest. It is sent without waiting where the server allows that: then
// all arguments must be known to be good, because a server that refuses one may
// execute the literal as commands. A BAD to such a command closes the connection.
func Literal(size int64, r io.Reader) Part {
	return Part{kind: partLiteral, size: size, body: r}
}

// WaitingLiteral is a Literal that is never sent before the server asks for it:
// one that refuses the command sees nothing of it.
func WaitingLiteral(size int64, r io.Reader) Part {
	p := Literal(size, r)
	p.wait = true
	return p
}
