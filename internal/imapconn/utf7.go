package imapconn

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// mailboxBase64 is the modified BASE64 of mailbox names (RFC 3501, 5.1.3),
// strict: set bits that encode nothing make it fail.
var mailboxBase64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

var errName = errors.New("mailbox name is not valid modified UTF-7")

// EncodeName is name, which is UTF-8, in modified UTF-7 (RFC 3501, 5.1.3).
// Octets that are no UTF-8 become U+FFFD: check with utf8.ValidString before.
func EncodeName(name string) (wire []byte) {
	wire = make([]byte, 0, len(name)+8)
	for i := 0; i < len(name); {
		if c := name[i]; c >= ' ' && c <= '~' {
			wire = append(wire, c)
			if c == '&' {
				wire = append(wire, '-')
			}
			i++
			continue
		}
		start := i
		for i < len(name) && (name[i] < ' ' || name[i] > '~') {
			i++
		}
		var units []byte
		for _, unit := range utf16.Encode([]rune(name[start:i])) {
			units = append(units, byte(unit>>8), byte(unit))
		}
		wire = append(wire, '&')
		wire = mailboxBase64.AppendEncode(wire, units)
		wire = append(wire, '-')
	}
	return wire
}

// DecodeName is the inverse of EncodeName. It is strict: a name that EncodeName
// would write in another way is refused (8-bit octets, control characters,
// printable characters in BASE64, two shifts in a row, lone surrogates), so that
// no two names on the server can become one. The caller keeps such names as
// octets.
func DecodeName(wire []byte) (string, error) {
	var b strings.Builder
	b.Grow(len(wire))
	for i, afterShift := 0, false; i < len(wire); i++ {
		c := wire[i]
		if c < ' ' || c > '~' {
			return "", errName
		}
		if c != '&' {
			b.WriteByte(c)
			afterShift = false
			continue
		}
		end := i + 1
		for end < len(wire) && wire[end] != '-' {
			end++
		}
		if end == len(wire) {
			return "", errName
		}
		if end == i+1 {
			b.WriteByte('&')
			afterShift = false
		} else {
			if afterShift || !decodeShift(&b, wire[i+1:end]) {
				return "", errName
			}
			afterShift = true
		}
		i = end
	}
	return b.String(), nil
}

// decodeShift writes the text of one BASE64 run; false when it is not the one
// that EncodeName would have made.
func decodeShift(b *strings.Builder, encoded []byte) bool {
	for _, c := range encoded {
		if c == '\r' || c == '\n' {
			return false // package base64 skips them
		}
	}
	raw, err := mailboxBase64.AppendDecode(nil, encoded)
	if err != nil || len(raw) == 0 || len(raw)%2 != 0 {
		return false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	for i := 0; i < len(units); i++ {
		r := rune(units[i])
		if utf16.IsSurrogate(r) {
			if i+1 == len(units) {
				return false
			}
			i++
			if r = utf16.DecodeRune(r, rune(units[i])); r == utf8.RuneError {
				return false
			}
		} else if r >= ' ' && r <= '~' {
			return false
		}
		b.WriteRune(r)
	}
	return true
}
