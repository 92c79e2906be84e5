package export

import (
	"strings"
	"unicode/utf8"

	"postbag/internal/mail"
)

// Pick chooses messages by what their header says and by their flags. Texts are
// looked for in the decoded fields (RFC 2047), in any case. Every text and every
// flag has to be there. The zero Pick chooses all.
type Pick struct {
	From, To, Subject []string // To is looked for in To, Cc and Bcc
	Flags, NotFlags   []string // as ParseFlag answers them
}

// ParseFlag is the IMAP name of a flag that somebody wrote: "seen" or "\Seen" is
// the system flag, any other word a keyword. ok is false when it is neither.
func ParseFlag(s string) (name string, ok bool) {
	if f := mail.ParseFlags(`\` + strings.TrimPrefix(s, `\`)); f.System != 0 {
		return f.Names()[0], true
	}
	return s, mail.ValidKeyword(s)
}

// Header reports whether the header of a message has to be read.
func (p *Pick) Header() bool { return len(p.From)+len(p.To)+len(p.Subject) > 0 }

// IsZero reports whether all messages are chosen.
func (p *Pick) IsZero() bool { return !p.Header() && len(p.Flags)+len(p.NotFlags) == 0 }

// Flagged reports whether a message with these flags is chosen by them.
func (p *Pick) Flagged(f mail.Flags) bool {
	for _, name := range p.Flags {
		if !hasFlag(f, name) {
			return false
		}
	}
	for _, name := range p.NotFlags {
		if hasFlag(f, name) {
			return false
		}
	}
	return true
}

func hasFlag(f mail.Flags, name string) bool {
	one := mail.ParseFlags(name)
	return one.System != 0 && f.System&one.System == one.System || one.Keywords != "" && f.Keywords.Has(string(one.Keywords))
}

// Headed reports whether a message is chosen by its header, which may be followed
// by a body and may be cut off.
func (p *Pick) Headed(head []byte) bool {
	if !p.Header() {
		return true
	}
	f := readFields(head, "from", "to", "cc", "bcc", "subject")
	return hasAll(p.From, f["from"]) && hasAll(p.Subject, f["subject"]) &&
		hasAll(p.To, append(append(f["to"], f["cc"]...), f["bcc"]...))
}

// hasAll reports whether each of texts is in one of the values.
func hasAll(texts, values []string) bool {
	if len(texts) == 0 {
		return true
	}
	folded := make([]string, len(values))
	for i, v := range values {
		folded[i] = strings.ToLower(decode(v))
	}
next:
	for _, text := range texts {
		for _, v := range folded {
			if strings.Contains(v, strings.ToLower(text)) {
				continue next
			}
		}
		return false
	}
	return true
}

// utf8Text is s when it is UTF-8, else s read as Latin-1.
func utf8Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}
