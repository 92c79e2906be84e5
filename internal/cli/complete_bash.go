package cli

import (
	"regexp"
	"strings"
)

// What bash hands over are words as they are written, and taken apart at "=".

// joinSplit puts together what bash takes apart at "=", and says whether the last
// word was.
func joinSplit(words []string) (joined []string, last bool) {
	for i, w := range words {
		n := len(joined)
		switch {
		case w == "=" && n > 0 && strings.HasPrefix(joined[n-1], "--"):
			joined[n-1] += "="
			last = i == len(words)-1
		case i > 0 && words[i-1] == "=" && n > 0 && strings.HasPrefix(joined[n-1], "--"):
			joined[n-1] += w
			last = i == len(words)-1
		default:
			joined = append(joined, w)
			last = false
		}
	}
	return joined, last
}

// dequote is what a word means that is written for bash, as far as it goes, and the
// quote that is open at its end.
func dequote(raw string) (text string, open byte) {
	var out strings.Builder
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case open != 0 && c == open:
			open = 0
		case open == 0 && (c == '\'' || c == '"'):
			open = c
		case open != '\'' && c == '\\' && i+1 < len(raw):
			if open == '"' && !strings.ContainsRune("\"\\$`", rune(raw[i+1])) {
				out.WriteByte(c)
			}
			i++
			out.WriteByte(raw[i])
		case open != '\'' && c == '\\': // at the end: nobody knows yet
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), open
}

// special are the characters that mean something to bash.
var special = regexp.MustCompile("[^A-Za-z0-9_./:=@%+,-]")

// requote writes a word for bash, within the quote that is open.
func requote(text string, open byte) string {
	switch open {
	case '\'':
		return text
	case '"':
		return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(text)
	}
	return special.ReplaceAllString(text, `\$0`)
}
