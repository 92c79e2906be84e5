// Package repair makes messages acceptable to servers that refuse them for their
// form: line ends, NUL octets, lines that are too long, fields that are missing.
// It streams: of a message it holds the header of one part and one line.
//
// A repair never guesses. Where it could change what a reader sees (a part that
// is signed, or whose encoding is binary or not known) it is not made, and Stuck
// says so. What every repair leaves as it is:
//
//   - a message that needs none of the repairs that are asked for,
//   - all octets but those that it is about: line ends, NULs, and what is added.
package repair

import (
	"fmt"
	"strings"
)

// Set is a set of repairs.
type Set uint8

// The repairs.
const (
	// CRLF ends every line, and the last one, in CRLF (RFC 5322, 2.3). Of CR CR LF
	// one is left. A CR alone ends a line of a body; in a header it becomes a
	// blank, where it would make a field of nothing.
	CRLF Set = 1 << iota
	// NUL leaves NUL octets out (RFC 9051, 4.3: not in a literal).
	NUL
	// LongLines breaks lines of more than MaxLine octets: fields at white space,
	// which unfolding takes back; base64 and quoted-printable as their encodings
	// have it, which decoding takes back; plain text after white space.
	LongLines
	// From adds a From field where there is none.
	From
	// Date adds a Date field where there is none: INTERNALDATE.
	Date

	// All are all of them.
	All = CRLF | NUL | LongLines | From | Date
)

// MaxLine is the most octets of a line, without its end (RFC 5322, 2.1.1).
const MaxLine = 998

// NoSender is the address of an added From field. Nobody has it (RFC 6761, 6.4).
const NoSender = "unknown@unknown.invalid"

var names = []struct {
	set  Set
	name string
	did  string
}{
	{CRLF, "crlf", "line ends made CRLF"},
	{NUL, "nul", "NUL octets left out"},
	{LongLines, "long-lines", "long lines broken"},
	{From, "from", "a From field added"},
	{Date, "date", "a Date field added"},
}

// AllNames are the names of the repairs.
func AllNames() []string { return All.Names() }

// Parse reads the names of repairs; "all" is all of them. unknown is the first
// that is none.
func Parse(words ...string) (s Set, unknown string) {
next:
	for _, word := range words {
		word = strings.ToLower(strings.TrimSpace(word))
		if word == "all" {
			s |= All
			continue
		}
		for _, n := range names {
			if n.name == word {
				s |= n.set
				continue next
			}
		}
		return 0, word
	}
	return s, ""
}

// Names are the names of the repairs in s.
func (s Set) Names() []string {
	var list []string
	for _, n := range names {
		if s&n.set != 0 {
			list = append(list, n.name)
		}
	}
	return list
}

// String is the names with commas between them.
func (s Set) String() string { return strings.Join(s.Names(), ",") }

// Text says what was done, for people.
func (s Set) Text() string {
	var list []string
	for _, n := range names {
		if s&n.set != 0 {
			list = append(list, n.did)
		}
	}
	return strings.Join(list, ", ")
}

// stuck is why something was not repaired.
func stuck(what, where string) string { return fmt.Sprintf("%s in %s", what, where) }
