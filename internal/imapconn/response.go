package imapconn

// Status is a status response (RFC 9051, 7.1), tagged or not.
type Status struct {
	Type     string // OK, NO, BAD, BYE, PREAUTH
	Code     string // response code in upper case; "" for none
	CodeArgs string // what follows the code within its brackets
	Text     string // for humans; hostile: escape before showing
}

// StatusError is a tagged NO or BAD, or a BYE. Errors of this package wrap it.
type StatusError struct{ Status }

// Error is the type, the code and the text.
func (e *StatusError) Error() string { return e.Status.String() }

// Response is one untagged response, parsed one level: Tokens is what follows
// the kind. It belongs to the receiver.
type Response struct {
	Kind   string  // upper case: LIST, STATUS, FETCH, SEARCH, OK, EXISTS, ...
	Num    uint32  // the number before the kind: * 3 EXISTS
	Tokens []Token // empty for status responses
	Status Status  // of OK, NO, BAD, BYE
	Raw    []byte  // from the "*" on, without the line end, literals included
}

// TokenKind says what a token is.
type TokenKind uint8

// The kinds of tokens.
const (
	Atom TokenKind = iota
	Quoted
	LiteralString
	List
)

// Token is one element of a response.
type Token struct {
	Kind TokenKind
	Data []byte  // an atom as it is; the content of a string
	List []Token // of a List
}
