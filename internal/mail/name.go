package mail

import "strings"

// A mailbox's name is one string everywhere in postbag: its components in UTF-8
// joined by "/", whatever the store's delimiter and encoding. INBOX is always
// "INBOX". A "/" inside a component (legal where the delimiter is another) is
// written "%2F", and the "%" of a "%2F" that is really there "%25", so that names
// and component lists map one to one.

// JoinName makes a name of its components.
func JoinName(components ...string) string {
	escaped := make([]string, len(components))
	for i, c := range components {
		escaped[i] = strings.ReplaceAll(escapePercent(c), "/", "%2F")
	}
	return strings.Join(escaped, "/")
}

// SplitName is the inverse of JoinName.
func SplitName(name string) []string {
	components := strings.Split(name, "/")
	for i, c := range components {
		components[i] = unescapePercent(c)
	}
	return components
}

// escapePercent doubles, as "%25", each "%" that unescapePercent would read as
// the start of an escape.
func escapePercent(c string) string {
	if !strings.Contains(c, "%") {
		return c
	}
	var b strings.Builder
	for i := range len(c) {
		if c[i] == '%' && escapeFollows(c[i+1:]) {
			b.WriteString("%25")
			continue
		}
		b.WriteByte(c[i])
	}
	return b.String()
}

func unescapePercent(c string) string {
	if !strings.Contains(c, "%") {
		return c
	}
	var b strings.Builder
	for i := 0; i < len(c); i++ {
		switch {
		case strings.HasPrefix(c[i:], "%2F"):
			b.WriteByte('/')
			i += 2
		case strings.HasPrefix(c[i:], "%25") && escapeFollows(c[i+3:]):
			b.WriteByte('%')
			i += 2
		default:
			b.WriteByte(c[i])
		}
	}
	return b.String()
}

// escapeFollows reports whether rest, which follows a "%", is any number of
// "25" and then "2F".
func escapeFollows(rest string) bool {
	for strings.HasPrefix(rest, "25") {
		rest = rest[2:]
	}
	return strings.HasPrefix(rest, "2F")
}

// SpecialUse is the role of a mailbox (RFC 6154), in its canonical spelling
// with the backslash: `\Sent`; "" for none.
type SpecialUse string

// The roles that postbag maps between stores.
const (
	UseAll     SpecialUse = `\All`
	UseArchive SpecialUse = `\Archive`
	UseDrafts  SpecialUse = `\Drafts`
	UseFlagged SpecialUse = `\Flagged`
	UseJunk    SpecialUse = `\Junk`
	UseSent    SpecialUse = `\Sent`
	UseTrash   SpecialUse = `\Trash`
)

// ParseSpecialUse is the role that s names in any case; "" when it names none.
func ParseSpecialUse(s string) SpecialUse {
	for _, use := range []SpecialUse{UseAll, UseArchive, UseDrafts, UseFlagged, UseJunk, UseSent, UseTrash} {
		if strings.EqualFold(string(use), s) {
			return use
		}
	}
	return ""
}
