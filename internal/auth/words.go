package auth

import (
	"fmt"
	"strings"

	"postbag/internal/mail"
)

// SplitCommand splits a command line into words as a POSIX shell would, with
// single quotes, double quotes and backslashes, but runs no shell: nothing is
// expanded. What a shell would act on outside of quotes (| & ; < > ( ) $ ` * ?)
// is refused, since it would otherwise be passed on in silence.
func SplitCommand(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case c == '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, commandLine("a ' is not closed")
			}
			word.WriteString(line[i+1 : i+1+end])
			i += end + 1
		case c == '"':
			n, err := doubleQuoted(line[i+1:], &word)
			if err != nil {
				return nil, err
			}
			i += n
		case c == '\\':
			if i++; i == len(line) {
				return nil, commandLine("it ends in a backslash")
			}
			word.WriteByte(line[i])
		case c == 0:
			return nil, commandLine("it holds a NUL")
		case strings.IndexByte("|&;<>()$`*?", c) >= 0:
			return nil, commandLine(fmt.Sprintf("%q is for a shell, and none runs", c))
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, commandLine("it names no program")
	}
	return words, nil
}

// doubleQuoted reads up to the closing quote and answers with the octets used.
func doubleQuoted(line string, word *strings.Builder) (int, error) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '"':
			return i + 1, nil
		case '$', '`':
			return 0, commandLine(fmt.Sprintf("%q is for a shell, and none runs", c))
		case '\\':
			if i+1 < len(line) && strings.IndexByte("\"\\$`", line[i+1]) >= 0 {
				i++
			}
			word.WriteByte(line[i])
		default:
			word.WriteByte(c)
		}
	}
	return 0, commandLine(`a " is not closed`)
}

func commandLine(why string) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Op: "command line",
		Err:  fmt.Errorf("%s", why),
		Hint: `quote it, or run a shell yourself: sh -c '...'`}
}
