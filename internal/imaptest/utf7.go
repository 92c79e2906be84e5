package imaptest

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
)

// Modified UTF-7 (RFC 3501, 5.1.3), written apart from the code under test.
var base64Names = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// EncodeName is the name of a mailbox as it goes over the wire.
func EncodeName(name string) string {
	var out strings.Builder
	var pending []rune
	flush := func() {
		if len(pending) == 0 {
			return
		}
		var raw []byte
		for _, unit := range utf16.Encode(pending) {
			raw = append(raw, byte(unit>>8), byte(unit))
		}
		out.WriteString("&" + base64Names.EncodeToString(raw) + "-")
		pending = nil
	}
	for _, r := range name {
		switch {
		case r < 0x20 || r > 0x7e:
			pending = append(pending, r)
			continue
		case r == '&':
			flush()
			out.WriteString("&-")
		default:
			flush()
			out.WriteRune(r)
		}
	}
	flush()
	return out.String()
}

// DecodeName is the inverse of EncodeName. A name that is not valid comes back
// as it is, with ok false.
func DecodeName(wire string) (name string, ok bool) {
	var out strings.Builder
	for rest := wire; rest != ""; {
		i := strings.IndexByte(rest, '&')
		if i < 0 {
			out.WriteString(rest)
			break
		}
		out.WriteString(rest[:i])
		encoded, after, closed := strings.Cut(rest[i+1:], "-")
		if !closed {
			return wire, false
		}
		rest = after
		if encoded == "" {
			out.WriteByte('&')
			continue
		}
		raw, err := base64Names.DecodeString(encoded)
		if err != nil || len(raw)%2 != 0 {
			return wire, false
		}
		units := make([]uint16, len(raw)/2)
		for j := range units {
			units[j] = uint16(raw[2*j])<<8 | uint16(raw[2*j+1])
		}
		out.WriteString(string(utf16.Decode(units)))
	}
	if EncodeName(out.String()) != wire {
		return wire, false
	}
	return out.String(), true
}

// Quote is s as a quoted string. s must hold no CR, LF, NUL or octet above 0x7f.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
