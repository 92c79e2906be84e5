package mail

import (
	"slices"
	"strings"
)

// System is the set of system flags of a message (RFC 9051, 2.3.2). \Recent is
// no flag of a message and is never represented.
type System uint8

// The system flags.
const (
	Seen System = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

var systemNames = []struct {
	flag System
	name string
}{
	{Seen, `\Seen`}, {Answered, `\Answered`}, {Flagged, `\Flagged`}, {Deleted, `\Deleted`}, {Draft, `\Draft`},
}

// Flags is the set of flags of one message. It is comparable, but two spellings
// of one keyword compare unequal: use Equal.
type Flags struct {
	System   System
	Keywords Keywords
}

// ParseFlags makes a Flags of flags in their IMAP spelling. System flags are
// matched without regard to case; \Recent, other unknown names that begin with
// a backslash, and invalid keywords are left out.
func ParseFlags(names ...string) Flags {
	var f Flags
	var words []string
next:
	for _, name := range names {
		if strings.HasPrefix(name, `\`) {
			for _, s := range systemNames {
				if strings.EqualFold(s.name, name) {
					f.System |= s.flag
					continue next
				}
			}
			continue
		}
		words = append(words, name)
	}
	f.Keywords = NewKeywords(words...)
	return f
}

// Names are the flags in their IMAP spelling: system flags in the order of
// their constants, then keywords in theirs.
func (f Flags) Names() []string {
	var names []string
	for _, s := range systemNames {
		if f.System&s.flag != 0 {
			names = append(names, s.name)
		}
	}
	return append(names, f.Keywords.Words()...)
}

// String is Names joined by blanks.
func (f Flags) String() string { return strings.Join(f.Names(), " ") }

// IsZero reports whether no flag is set.
func (f Flags) IsZero() bool { return f == Flags{} }

// Equal reports whether f and o hold the same flags, keywords compared without
// regard to case.
func (f Flags) Equal(o Flags) bool {
	return f.System == o.System && (f.Keywords == o.Keywords ||
		strings.EqualFold(string(f.Keywords), string(o.Keywords)))
}

// Union is the set of flags in f or o.
func (f Flags) Union(o Flags) Flags {
	return Flags{f.System | o.System, f.Keywords.Union(o.Keywords)}
}

// Minus is the set of flags in f and not in o.
func (f Flags) Minus(o Flags) Flags {
	return Flags{f.System &^ o.System, f.Keywords.Minus(o.Keywords)}
}

// Intersect is the set of flags in both f and o, in f's spelling.
func (f Flags) Intersect(o Flags) Flags {
	return Flags{f.System & o.System, f.Keywords.Minus(f.Keywords.Minus(o.Keywords))}
}

// FlagDelta is a change of flags, the only form in which flags are written: a
// flag that another client changes meanwhile survives (RFC 4549, 4.2.3). Add and
// Remove are disjoint.
type FlagDelta struct{ Add, Remove Flags }

// IsZero reports whether the delta changes nothing.
func (d FlagDelta) IsZero() bool { return d.Add.IsZero() && d.Remove.IsZero() }

// DiffFlags is the delta that turns from into to.
func DiffFlags(from, to Flags) FlagDelta {
	if from.Equal(to) {
		return FlagDelta{}
	}
	return FlagDelta{Add: to.Minus(from), Remove: from.Minus(to)}
}

// Apply is f after d.
func (f Flags) Apply(d FlagDelta) Flags { return f.Minus(d.Remove).Union(d.Add) }

// Keywords is a set of keywords: valid ones, without two that differ in case
// only, sorted without regard to case and joined by blanks. Being a string it is
// comparable and costs nothing when empty.
type Keywords string

// NewKeywords makes the set of the valid words; the first spelling of each wins.
func NewKeywords(words ...string) Keywords {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !ValidKeyword(w) })
	slices.SortStableFunc(words, compareFold)
	words = slices.CompactFunc(words, strings.EqualFold)
	return Keywords(strings.Join(words, " "))
}

// ValidKeyword reports whether w may be sent to an IMAP server as a keyword: an
// ASCII atom (RFC 9051, 9, flag-keyword) without "]", of 1 to 250 octets.
// Servers answer anything else with BAD or worse.
func ValidKeyword(w string) bool {
	if w == "" || len(w) > 250 {
		return false
	}
	for i := range len(w) {
		if c := w[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return true
}

// Words are the keywords, one by one.
func (k Keywords) Words() []string {
	if k == "" {
		return nil
	}
	return strings.Split(string(k), " ")
}

// Has reports whether the set holds word, in any case.
func (k Keywords) Has(word string) bool {
	return slices.ContainsFunc(k.Words(), func(w string) bool { return strings.EqualFold(w, word) })
}

// Union is the set of keywords in k or o, k's spelling first.
func (k Keywords) Union(o Keywords) Keywords {
	if o == "" || k == o {
		return k
	}
	if k == "" {
		return o
	}
	return NewKeywords(append(k.Words(), o.Words()...)...)
}

// Minus is the set of keywords in k and not in o.
func (k Keywords) Minus(o Keywords) Keywords {
	if k == "" || o == "" {
		return k
	}
	words := slices.DeleteFunc(k.Words(), o.Has)
	return Keywords(strings.Join(words, " "))
}

func compareFold(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }
