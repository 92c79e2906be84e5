package config

import (
	"slices"
	"strings"
	"unicode/utf8"

	"postbag/internal/mail"
)

// Patterns choose mailboxes by name or role:
//
//   - "Work" is the mailbox of that name, and none below it;
//   - "*" stands for any text, across levels: "Work/*" is all below Work; "?"
//     stands for one character;
//   - `\Sent` is the mailbox with that role (RFC 6154), whatever its name;
//   - "!" before any of these leaves mailboxes out, and wins over all others;
//   - a backslash before "*", "?", "!" or "\" takes away its meaning.
//
// Names are compared as they are written, except for INBOX, which is one in any
// case. Without a pattern that chooses, all mailboxes are chosen but those that are
// views of others; so do nil Patterns.
type Patterns struct{ list []pattern }

type pattern struct {
	text    string // as given
	exclude bool
	use     mail.SpecialUse // set for a role
	name    []token
}

// token is a literal character, or a wildcard when wild is set.
type token struct {
	r    rune
	wild bool
}

// ParsePatterns reads a list of patterns.
func ParsePatterns(texts []string) (*Patterns, error) {
	p := &Patterns{}
	for _, text := range texts {
		one, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		p.list = append(p.list, one)
	}
	return p, nil
}

func parsePattern(text string) (pattern, error) {
	fail := func(hint, format string, args ...any) (pattern, error) {
		return pattern{}, usage("mailbox "+text, hint, format, args...)
	}
	p := pattern{text: text}
	rest, exclude := strings.CutPrefix(text, "!")
	p.exclude = exclude
	if rest == "" {
		return fail("", "the pattern is empty")
	}
	if !utf8.ValidString(rest) {
		return fail("", "the pattern is no UTF-8")
	}
	if rest[0] == '\\' && len(rest) > 1 && !strings.ContainsRune(`*?!\`, rune(rest[1])) {
		if p.use = mail.ParseSpecialUse(rest); p.use == "" {
			return fail(`one of \All, \Archive, \Drafts, \Flagged, \Junk, \Sent, \Trash`, "there is no role of that name")
		}
		return p, nil
	}
	escaped := false
	for _, r := range rest {
		if !escaped && r == '\\' {
			escaped = true
			continue
		}
		p.name = append(p.name, token{r, !escaped && (r == '*' || r == '?')})
		escaped = false
	}
	if escaped {
		return fail("", "the pattern ends in a backslash")
	}
	p.foldInbox()
	return p, nil
}

// foldInbox spells a first level that is INBOX in any case as mail.Store does.
func (p *pattern) foldInbox() {
	const inbox = "INBOX"
	if len(p.name) < len(inbox) || len(p.name) > len(inbox) && p.name[len(inbox)].r != '/' {
		return
	}
	for i, r := range inbox {
		if p.name[i].wild || !strings.EqualFold(string(p.name[i].r), string(r)) {
			return
		}
	}
	for i, r := range inbox {
		p.name[i].r = r
	}
}

// Match reports whether the mailbox is chosen. A view has to be chosen by a pattern.
func (p *Patterns) Match(info mail.MailboxInfo) bool {
	if p == nil {
		return !info.View
	}
	chosen, choosing := false, false
	for i := range p.list {
		one := &p.list[i]
		hit := one.match(info)
		if one.exclude && hit {
			return false
		}
		if !one.exclude {
			choosing = true
			chosen = chosen || hit
		}
	}
	return chosen || !choosing && !info.View
}

// Excludes reports whether a pattern leaves the mailbox out.
func (p *Patterns) Excludes(info mail.MailboxInfo) bool {
	return p != nil && slices.ContainsFunc(p.list, func(one pattern) bool { return one.exclude && one.match(info) })
}

func (p *pattern) match(info mail.MailboxInfo) bool {
	if p.use != "" {
		return info.Use == p.use
	}
	return matchTokens(p.name, []rune(info.Name))
}

// matchTokens matches in time proportional to the product of both lengths: on a
// mismatch only the last "*" takes more.
func matchTokens(pat []token, name []rune) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(name) {
		switch {
		case i < len(pat) && pat[i].wild && pat[i].r == '*':
			star, mark = i, j
			i++
		case i < len(pat) && (pat[i].wild || pat[i].r == name[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(pat) && pat[i].wild && pat[i].r == '*' {
		i++
	}
	return i == len(pat)
}

// Check refuses a pattern that chooses none of the mailboxes there are: it is
// misspelt, and a run that is silent about it would pass for a backup. Patterns
// that leave mailboxes out may find nothing to leave out.
func (p *Patterns) Check(list []mail.MailboxInfo) error {
	if p == nil {
		return nil
	}
next:
	for i := range p.list {
		one := &p.list[i]
		if one.exclude {
			continue
		}
		names := make([]string, 0, len(list))
		for _, info := range list {
			if one.match(info) {
				continue next
			}
			names = append(names, info.Name)
		}
		if one.use != "" {
			return usage("mailbox "+one.text, "the server may not tell roles: give the mailbox's name", "no mailbox has this role")
		}
		hint := "the command mailboxes lists what is there"
		if near := Nearest(one.text, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		return usage("mailbox "+one.text, hint, "no mailbox matches")
	}
	return nil
}
