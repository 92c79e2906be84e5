package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown bounds one piece of text that is shown, in octets.
const maxShown = 4000

// escape makes a text fit for a terminal and for one line of a log, whoever
// wrote it: what is no graphic character (controls, ESC, C1, bidirectional and
// zero-width formatting, line separators, unassigned code points) and what is no
// UTF-8 is shown as \xNN, \uNNNN or \UNNNNNNNN. Backslashes stay as they are:
// \Sent is a word of this trade.
func escape(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case shown(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

// shown reports whether a character shows as itself and as nothing else.
func shown(r rune) bool {
	switch r {
	case 0x2800, 0x3164, 0x115f, 0x1160, 0xffa0: // letters and symbols that look like a blank
		return false
	}
	return unicode.IsGraphic(r)
}

// ascii writes the characters that a terminal without UTF-8 would take for
// several, among them control characters, as escape writes those that do not
// show.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}

// escapeJSON makes encoded JSON fit for a terminal, too, without a change of
// meaning: characters that do not show become \uNNNN, and where the terminal has
// no UTF-8, all but ASCII.
func escapeJSON(encoded []byte, ascii bool) []byte {
	var b []byte
	for i := 0; i < len(encoded); {
		r, n := utf8.DecodeRune(encoded[i:])
		switch {
		case r < 0x80 && r != 0x7f || r >= 0x80 && !ascii && shown(r):
			b = append(b, encoded[i:i+n]...)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			r -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
		i += n
	}
	return b
}

// valid makes a text valid UTF-8, as JSON wants it, without losing octets:
// those that are no UTF-8 become \xNN.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
