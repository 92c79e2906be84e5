// Package match chooses messages by what their headers say to a person: sender,
// recipients and subject decoded, and flags. It reads headers only, a bounded part
// of each message, and never fails on one: what cannot be decoded stays as it is.
package match

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"postbag/internal/mail"
)

// Rule says which messages are chosen. The texts of one field are alternatives,
// the fields have to match all; an empty field does not restrict. A text matches
// where it occurs, whatever the case and the form of its letters (Unicode NFKC and
// case folding), and however many blanks part its words.
type Rule struct {
	From    []string // in the From field: name or address
	To      []string // in To, Cc or Bcc
	Subject []string
	Flags   mail.Flags // the message has all of these
	Without mail.Flags // and none of these
}

// NeedsHeader reports whether the rule asks for what a header says.
func (r *Rule) NeedsHeader() bool { return len(r.From)+len(r.To)+len(r.Subject) > 0 }

// IsZero reports whether the rule chooses every message.
func (r *Rule) IsZero() bool {
	return !r.NeedsHeader() && r.Flags.IsZero() && r.Without.IsZero()
}

// Matcher is a Rule made ready for many messages.
type Matcher struct {
	rule    Rule
	from    []string
	to      []string
	subject []string
}

// New makes a matcher.
func New(r Rule) *Matcher {
	return &Matcher{rule: r, from: foldAll(r.From), to: foldAll(r.To), subject: foldAll(r.Subject)}
}

// NeedsHeader reports whether Header can be wrong of any header.
func (m *Matcher) NeedsHeader() bool { return m.rule.NeedsHeader() }

// Flags reports whether a message with these flags is chosen, as far as flags tell.
func (m *Matcher) Flags(f mail.Flags) bool {
	return m.rule.Flags.Minus(f).IsZero() && f.Intersect(m.rule.Without).IsZero()
}

// Header reports whether a message with this header is chosen, as far as it tells.
func (m *Matcher) Header(h *Header) bool {
	return found(m.from, h.From) && found(m.to, h.To) && found(m.subject, h.Subject)
}

// found reports whether one of the folded texts occurs in text, or there is none.
func found(texts []string, text string) bool {
	if len(texts) == 0 {
		return true
	}
	text = Fold(text)
	for _, t := range texts {
		if strings.Contains(text, t) {
			return true
		}
	}
	return false
}

func foldAll(texts []string) []string {
	var out []string
	for _, t := range texts {
		out = append(out, Fold(t))
	}
	return out
}

// Fold is a text in the form in which texts are compared.
func Fold(s string) string {
	for i := range len(s) {
		if s[i] >= 0x80 {
			s = cases.Fold().String(norm.NFKC.String(s))
			break
		}
	}
	return strings.Join(strings.Fields(strings.ToLower(s)), " ")
}

// ParseFlag reads one flag as people write it: `\Seen`, "seen", or a keyword.
// "unseen" and the like do not exist: that is a flag which is absent. ok is false for
// what cannot be a flag.
func ParseFlag(name string) (mail.Flags, bool) {
	if f := mail.ParseFlags(`\` + strings.TrimPrefix(name, `\`)); !f.IsZero() {
		return f, true
	}
	f := mail.ParseFlags(name)
	return f, !f.IsZero()
}
