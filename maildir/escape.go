package maildir

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// A component of a mailbox's name becomes one directory name and back. The
// encoding is total (every string has a directory name), injective, and plain
// names stay plain:
//
//   - "%XX" (two upper-case hexadecimal digits) stands for one octet, "%-" alone
//     for the empty component, and "%~" with 32 digits at the end for the tail of
//     a name too long for a file system (the real one is in a side file). A "%"
//     that would read as one of these is written "%25".
//   - Escaped are "/", control characters (C0, DEL, C1), what is not UTF-8, the
//     replacement for none; a leading "." (which covers "." and ".." and our own
//     control files); a trailing "." or blank (Windows and SMB drop them); the
//     first letter of "cur", "new" and "tmp" in any case.
//   - A portable tree, one on a file system that refuses them, also escapes
//     \ : * ? " < > | and the device names of Windows.
//
// Decoding accepts every escape wherever it stands, so that a component can be
// escaped more than it must be: that is how two names find room that differ in
// case only (see crowded).

const upperHex = "0123456789ABCDEF"

// maxComponent is the longest directory name that we make. NAME_MAX is 255,
// eCryptfs has 143 for a plain name.
const maxComponent = 143

// escaper says what else a layout and a file system want escaped.
type escaper struct {
	portable bool // escape what Windows and SMB refuse
	dots     bool // escape every "." and a leading "~" (Maildir++)
	crowded  bool // escape all letters and whatever is not ASCII
}

func (e escaper) escape(c string) string {
	if c == "" {
		return "%-"
	}
	var b strings.Builder
	first := isReserved(c) || e.portable && isDevice(c) || e.dots && c[0] == '~' || c[0] == '.'
	for i := 0; i < len(c); {
		r, size := utf8.DecodeRuneInString(c[i:])
		last := i+size == len(c)
		plain := !(i == 0 && first) && !(last && (r == '.' || r == ' ')) && e.plain(c[i:], r, size)
		for range size {
			if plain {
				b.WriteByte(c[i])
			} else {
				b.WriteByte('%')
				b.WriteByte(upperHex[c[i]>>4])
				b.WriteByte(upperHex[c[i]&15])
			}
			i++
		}
	}
	return b.String()
}

// plain reports whether the rune at the start of s may stand for itself.
func (e escaper) plain(s string, r rune, size int) bool {
	switch {
	case r == utf8.RuneError && size == 1, r < ' ', r == '/', r >= 0x7f && r <= 0x9f:
		return false
	case r == '%':
		return !e.crowded && !looksEscaped(s)
	case r == '.':
		return !e.dots
	case e.crowded && (r >= utf8.RuneSelf || isLetter(byte(r))):
		return false
	case e.portable:
		return !strings.ContainsRune(`\:*?"<>|`, r)
	}
	return true
}

// looksEscaped reports whether s, which begins with "%", could be read as an
// escape once the rest of it is escaped, too.
func looksEscaped(s string) bool {
	if len(s) < 2 {
		return false
	}
	if s[1] == '~' || s[1] == '-' {
		return true
	}
	return len(s) > 2 && isUpperHex(s[1]) && isUpperHex(s[2])
}

func isUpperHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

func isReserved(c string) bool {
	return strings.EqualFold(c, "cur") || strings.EqualFold(c, "new") || strings.EqualFold(c, "tmp")
}

// isDevice reports whether Windows takes c, with or without an extension, for a
// device.
func isDevice(c string) bool {
	c, _, _ = strings.Cut(c, ".")
	c = strings.TrimRight(c, " ")
	for _, d := range []string{"con", "prn", "aux", "nul"} {
		if strings.EqualFold(c, d) {
			return true
		}
	}
	return len(c) == 4 && c[3] >= '0' && c[3] <= '9' &&
		(strings.EqualFold(c[:3], "com") || strings.EqualFold(c[:3], "lpt"))
}

// unescape is the inverse of escape for whatever escaper. It never fails: what is
// no escape stands for itself.
func unescape(c string) string {
	if c == "%-" {
		return ""
	}
	if !strings.Contains(c, "%") {
		return c
	}
	var b strings.Builder
	for i := 0; i < len(c); i++ {
		if c[i] == '%' && i+2 < len(c) && isUpperHex(c[i+1]) && isUpperHex(c[i+2]) {
			b.WriteByte(byte(strings.IndexByte(upperHex, c[i+1])<<4 | strings.IndexByte(upperHex, c[i+2])))
			i += 2
			continue
		}
		b.WriteByte(c[i])
	}
	return b.String()
}

// longMark begins the digest in the place of a long name's tail.
const longMark = "%~"

// shorten makes a directory name of at most maxComponent octets of an encoded
// one that is longer: its beginning, and a digest of name, the real one.
func shorten(encoded, name string) string {
	sum := sha256.Sum256([]byte(name))
	tail := longMark + hex.EncodeToString(sum[:16])
	keep := encoded[:maxComponent-len(tail)]
	// Neither an escape nor a character is cut in two.
	if i := strings.LastIndexByte(keep, '%'); i > len(keep)-3 {
		keep = keep[:i]
	}
	for !utf8.ValidString(keep) {
		keep = keep[:len(keep)-1]
	}
	return keep + tail
}

// isShortened reports whether a directory name is one that shorten made.
func isShortened(dir string) bool {
	i := strings.LastIndex(dir, longMark)
	return i >= 0 && len(dir)-i == len(longMark)+32 && strings.Trim(dir[i+2:], "0123456789abcdef") == ""
}

// shortenedFrom reports whether it stands for name.
func shortenedFrom(dir, name string) bool {
	sum := sha256.Sum256([]byte(name))
	return strings.HasSuffix(dir, longMark+hex.EncodeToString(sum[:16]))
}
