package imaptest

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Token is one piece of a command: an atom, with what it has in brackets, a
// string, or a parenthesis.
type Token struct {
	Kind byte // 'a' atom, 's' string (quoted or literal), '(' or ')'
	Text string
}

// ScriptCommand is one command that a Scripted server got.
type ScriptCommand struct {
	Tag, Verb string  // the verb in upper case, with its UID
	Args      []Token // without the verb
	Line      string  // without the tag; literals as they came
}

// parseScriptCommand splits a command, literals included.
func parseScriptCommand(raw []byte) (ScriptCommand, error) {
	tag, rest, _ := bytes.Cut(raw, []byte(" "))
	tokens, err := tokenize(rest)
	if err != nil || len(tokens) == 0 || tokens[0].Kind != 'a' {
		return ScriptCommand{Tag: string(tag), Line: string(rest)}, fmt.Errorf("no command: %.80q: %v", raw, err)
	}
	c := ScriptCommand{Tag: string(tag), Verb: strings.ToUpper(tokens[0].Text), Args: tokens[1:], Line: string(rest)}
	if c.Verb == "UID" && len(c.Args) > 0 {
		c.Verb, c.Args = "UID "+strings.ToUpper(c.Args[0].Text), c.Args[1:]
	}
	return c, nil
}

func tokenize(p []byte) (out []Token, err error) {
	for len(p) > 0 {
		var t Token
		switch p[0] {
		case ' ', '\r', '\n':
			p = p[1:]
			continue
		case '(', ')':
			t, p = Token{p[0], string(p[:1])}, p[1:]
		case '"':
			if t, p, err = quoted(p); err != nil {
				return out, err
			}
		case '~':
			p = p[1:]
			continue
		case '{':
			if t, p, err = literal(p); err != nil {
				return out, err
			}
		default:
			t, p = atom(p)
		}
		out = append(out, t)
	}
	return out, nil
}

func quoted(p []byte) (Token, []byte, error) {
	var text []byte
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '"':
			return Token{'s', string(text)}, p[i+1:], nil
		case '\\':
			i++
		}
		if i < len(p) {
			text = append(text, p[i])
		}
	}
	return Token{}, nil, fmt.Errorf("string does not end")
}

func literal(p []byte) (Token, []byte, error) {
	head, rest, ok := bytes.Cut(p, []byte("\r\n"))
	size, valid := literalSize(string(head))
	if !ok || !valid || size > int64(len(rest)) {
		return Token{}, nil, fmt.Errorf("literal does not end")
	}
	return Token{'s', string(rest[:size])}, rest[size:], nil
}

// atom takes everything up to a blank or a parenthesis that is not in brackets.
func atom(p []byte) (Token, []byte) {
	depth := 0
	for i, c := range p {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth <= 0 && (c == ' ' || c == '(' || c == ')' || c == '\r'):
			if i > 0 {
				return Token{'a', string(p[:i])}, p[i:]
			}
		}
	}
	return Token{'a', string(p)}, nil
}

// list takes a parenthesised list, or the one token that stands for it, from
// the front of tokens.
func list(tokens []Token) (inside, rest []Token) {
	if len(tokens) == 0 || tokens[0].Kind != '(' {
		return tokens[:min(1, len(tokens))], tokens[min(1, len(tokens)):]
	}
	depth := 0
	for i, t := range tokens {
		switch t.Kind {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return tokens[1:i], tokens[i+1:]
			}
		}
	}
	return tokens[1:], nil
}

func texts(tokens []Token) []string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = t.Text
	}
	return out
}

// set is a sequence set; 0 is "*".
type set [][2]uint32

func parseSet(s string) (out set, ok bool) {
	number := func(s string) (uint32, bool) {
		if s == "*" {
			return 0, true
		}
		n, err := strconv.ParseUint(s, 10, 32)
		return uint32(n), err == nil && n > 0
	}
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, ":")
		if !isRange {
			to = from
		}
		lo, ok1 := number(from)
		hi, ok2 := number(to)
		if !ok1 || !ok2 {
			return nil, false
		}
		out = append(out, [2]uint32{lo, hi})
	}
	return out, true
}

// has reports whether n is in the set, "*" being last.
func (s set) has(n, last uint32) bool {
	for _, r := range s {
		lo, hi := r[0], r[1]
		if lo == 0 {
			lo = last
		}
		if hi == 0 {
			hi = last
		}
		if min(lo, hi) <= n && n <= max(lo, hi) {
			return true
		}
	}
	return false
}

// compact writes ascending numbers as a set, "1:3,7".
func compact(nums []uint32) string {
	var parts []string
	for i := 0; i < len(nums); {
		j := i
		for j+1 < len(nums) && nums[j] != math.MaxUint32 && nums[j+1] == nums[j]+1 {
			j++
		}
		part := strconv.FormatUint(uint64(nums[i]), 10)
		if j > i {
			part += ":" + strconv.FormatUint(uint64(nums[j]), 10)
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
