package export

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"postbag/internal/mail"
)

// The path of a mailbox is that of its components, each made fit for every file
// system: "%XX" stands for an octet that is not, and for a "%" that would read as
// that. A member is named for its date, subject and content, so that it keeps its
// name whatever else is in the mailbox.

const (
	maxComponent = 120 // octets of a component; what is longer ends in a digest
	maxSubject   = 48  // octets of a subject in a name
	upperHex     = "0123456789ABCDEF"
)

// escape makes a component fit for a path.
func escape(c string) string {
	var b strings.Builder
	for i := 0; i < len(c); {
		r, size := utf8.DecodeRuneInString(c[i:])
		last := i+size == len(c)
		bad := r == utf8.RuneError && size == 1 || unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`, r) ||
			r == '%' && isEscape(c[i:]) || i == 0 && strings.ContainsRune(".-~ ", r) || last && (r == '.' || r == ' ')
		if i == 0 && isDevice(c) {
			bad = true
		}
		for range size {
			if bad {
				b.WriteByte('%')
				b.WriteByte(upperHex[c[i]>>4])
				b.WriteByte(upperHex[c[i]&15])
			} else {
				b.WriteByte(c[i])
			}
			i++
		}
	}
	out := b.String()
	if out == "" {
		return "%"
	}
	if len(out) > maxComponent {
		sum := sha256.Sum256([]byte(c))
		out = cut(out, maxComponent-17) + "~" + hex.EncodeToString(sum[:8])
	}
	return out
}

// cut shortens s without cutting an escape or a character in two.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n]
	if i := strings.LastIndexByte(s, '%'); i >= 0 && i > len(s)-3 {
		s = s[:i]
	}
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

func isEscape(s string) bool {
	return len(s) > 2 && s[0] == '%' && strings.IndexByte(upperHex, s[1]) >= 0 && strings.IndexByte(upperHex, s[2]) >= 0
}

// isDevice reports whether Windows takes c for a device, whatever its ending.
func isDevice(c string) bool {
	c, _, _ = strings.Cut(strings.ToLower(c), ".")
	switch c = strings.TrimRight(c, " "); c {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(c) == 4 && c[3] >= '0' && c[3] <= '9' && (c[:3] == "com" || c[:3] == "lpt")
}

// unescape is the inverse of escape, as far as nothing was cut.
func unescape(c string) string {
	if c == "%" {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(c); i++ {
		if isEscape(c[i:]) {
			b.WriteByte(byte(strings.IndexByte(upperHex, c[i+1])<<4 | strings.IndexByte(upperHex, c[i+2])))
			i += 2
			continue
		}
		b.WriteByte(c[i])
	}
	return b.String()
}

// paths gives each mailbox a path that no other has, also where names that differ
// in case only are one.
type paths struct{ used map[string]bool }

func newPaths() *paths { return &paths{used: map[string]bool{ManifestName: true}} }

// of is the path of a mailbox, with slashes, and with ending behind it. A folder
// never has that ending.
func (p *paths) of(mailbox, ending string) string {
	components := mail.SplitName(mailbox)
	for i, c := range components {
		c = escape(c)
		if ending != "" && len(c) > len(ending) && strings.EqualFold(c[len(c)-len(ending):], ending) {
			c = c[:len(c)-len(ending)] + "%2E" + c[len(c)-len(ending)+1:]
		}
		components[i] = c
	}
	path := strings.Join(components, "/")
	for n := 2; ; n++ {
		folded := strings.ToLower(norm.NFC.String(path + ending))
		if !p.used[folded] {
			p.used[folded] = true
			return path + ending
		}
		path = fmt.Sprintf("%s~%d", strings.Join(components, "/"), n)
	}
}

// names names the members of one mailbox, in the order of their dates.
type names struct {
	second int64
	used   map[string]bool // of this second
}

// of is the name of a member.
func (n *names) of(it *item) string {
	if at := it.msg.Date.Unix(); n.used == nil || at != n.second {
		n.second, n.used = at, map[string]bool{}
	}
	name := it.base
	for i := 2; n.used[name]; i++ {
		name = fmt.Sprintf("%s-%d", it.base, i)
	}
	n.used[name] = true
	return name + ".eml"
}

// baseName is what a member is called: the date, the beginning of the subject, and
// the beginning of the digest.
func baseName(date time.Time, subject string, digest mail.Digest) string {
	at := "undated"
	if !date.IsZero() {
		at = date.UTC().Format("20060102T150405Z")
	}
	name := at
	if words := plainWords(subject); words != "" {
		name += "-" + words
	}
	return name + "-" + hex.EncodeToString(digest[:8])
}

// plainWords are the letters and digits of a text, with one "-" for all else.
func plainWords(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range norm.NFC.String(s) {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) || r == utf8.RuneError {
			gap = b.Len() > 0
			continue
		}
		if b.Len()+utf8.RuneLen(r)+1 > maxSubject {
			break
		}
		if gap {
			b.WriteByte('-')
			gap = false
		}
		b.WriteRune(r)
	}
	return b.String()
}
