package maildir

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Modified UTF-7 (RFC 3501, 5.1.3) is what Dovecot and Courier write into the
// directory names of a Maildir++ tree.

var mutf7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// encodeMUTF7 encodes a valid UTF-8 string.
func encodeMUTF7(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f {
			b.WriteByte(c)
			if c == '&' {
				b.WriteByte('-')
			}
			i++
			continue
		}
		start := i
		for i < len(s) && (s[i] < ' ' || s[i] >= 0x7f) {
			i++
		}
		units := utf16.Encode([]rune(s[start:i]))
		raw := make([]byte, 0, 2*len(units))
		for _, u := range units {
			raw = append(raw, byte(u>>8), byte(u))
		}
		b.WriteByte('&')
		b.WriteString(mutf7.EncodeToString(raw))
		b.WriteByte('-')
	}
	return b.String()
}

// decodeMUTF7 is the inverse of encodeMUTF7. A string that is not in the form
// that encodeMUTF7 makes is not modified UTF-7: some trees hold plain UTF-8.
func decodeMUTF7(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c >= 0x7f {
			return "", false
		}
		if c != '&' {
			b.WriteByte(c)
			continue
		}
		end := strings.IndexByte(s[i:], '-')
		if end < 0 {
			return "", false
		}
		if end == 1 {
			b.WriteByte('&')
			i++
			continue
		}
		raw, err := mutf7.DecodeString(s[i+1 : i+end])
		if err != nil || len(raw)%2 != 0 {
			return "", false
		}
		units := make([]uint16, 0, len(raw)/2)
		for j := 0; j < len(raw); j += 2 {
			units = append(units, uint16(raw[j])<<8|uint16(raw[j+1]))
		}
		b.WriteString(string(utf16.Decode(units)))
		i += end
	}
	out := b.String()
	return out, utf8.ValidString(out) && encodeMUTF7(out) == s
}
