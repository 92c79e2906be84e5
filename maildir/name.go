package maildir

import (
	"bytes"
	"slices"
	"strings"

	gomaildir "github.com/emersion/go-maildir"
	"postbag/internal/mail"
)

// The name of a message's file is its key and, after a separator, its info part
// (https://cr.yp.to/proto/maildir.html): "KEY:2,FS". Readers and writers of all
// kinds left their traces, so that everything that is not a dot file is read as
// a message:
//
//   - The info part begins at the first ":"; without one, at the first ";" or
//     "!" that is followed by "1," or "2," (file systems without colons).
//   - Its flags are the ASCII letters that follow "2,". The rest of it is kept
//     byte for byte when the flags change.
//   - Fields after a comma in the key (",S=123", ",W=130", ",U=5") are part of
//     the key: other tools put them there and rely on them.

// forwarded is the keyword that the letter P stands for. Dovecot shows it only
// under a letter of its own, other readers only as P: it is written as both.
const forwarded = "$Forwarded"

// systemLetters are the letters of the info part, in ASCII order.
var systemLetters = []struct {
	letter byte
	flag   mail.System
}{
	{byte(gomaildir.FlagDraft), mail.Draft},
	{byte(gomaildir.FlagFlagged), mail.Flagged},
	{byte(gomaildir.FlagReplied), mail.Answered},
	{byte(gomaildir.FlagSeen), mail.Seen},
	{byte(gomaildir.FlagTrashed), mail.Deleted},
}

const passedLetter = byte(gomaildir.FlagPassed)

// fileName is the name of a message's file, taken apart.
type fileName struct {
	key     string
	sep     byte   // 0 when there is no info part
	letters string // the flags as they are, unsorted
	rest    string // what else the info part holds, after the letters
}

// keyLength is the length of the key within name; 0 when name is no message's.
func keyLength(name []byte) int {
	if len(name) == 0 || name[0] == '.' {
		return 0
	}
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		return i
	}
	for i := 1; i+2 < len(name); i++ {
		if c := name[i]; (c == ';' || c == '!') && (name[i+1] == '1' || name[i+1] == '2') && name[i+2] == ',' {
			return i
		}
	}
	return len(name)
}

// parseName takes name apart. ok is false when it is no message's name: empty,
// a dot file, or without a key.
func parseName(name string) (f fileName, ok bool) {
	n := keyLength([]byte(name))
	if n == 0 {
		return fileName{}, false
	}
	f.key = name[:n]
	if n == len(name) {
		return f, true
	}
	f.sep = name[n]
	info := name[n+1:]
	flags, isFlags := strings.CutPrefix(info, "2,")
	switch {
	case isFlags:
		end := 0
		for end < len(flags) && isLetter(flags[end]) {
			end++
		}
		f.letters, f.rest = flags[:end], flags[end:]
	case info != "" && info != "2":
		// An experimental or damaged info part: kept behind the flags, once there
		// are some.
		f.rest = string(f.sep) + info
	}
	return f, true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// withLetters is the file name with other flags, sorted as the standard wants
// it. sep serves names that have no separator yet.
func (f fileName) withLetters(letters string, sep byte) string {
	if f.sep != 0 {
		sep = f.sep
	}
	sorted := []byte(letters)
	slices.Sort(sorted)
	return f.key + string(sep) + "2," + string(slices.Compact(sorted)) + f.rest
}

// flagsOf translates letters. Letters that mean nothing are left out.
func flagsOf(letters string, words *keywordTable) mail.Flags {
	var f mail.Flags
	var keywords []string
	for i := range len(letters) {
		c := letters[i]
		if c == passedLetter {
			keywords = append(keywords, forwarded)
			continue
		}
		if c >= 'a' && c <= 'z' {
			if w := words.word(c); w != "" {
				keywords = append(keywords, w)
			}
			continue
		}
		for _, s := range systemLetters {
			if s.letter == c {
				f.System |= s.flag
			}
		}
	}
	if keywords != nil {
		f.Keywords = mail.NewKeywords(keywords...)
	}
	return f
}

// lettersOf is the inverse of flagsOf: the letters for f, and those of old that
// mean nothing to us. Keywords without a letter are left out.
func lettersOf(f mail.Flags, old string, words *keywordTable) string {
	var out []byte
	for i := range len(old) {
		if c := old[i]; flagsOf(string(c), words).IsZero() {
			out = append(out, c)
		}
	}
	for _, s := range systemLetters {
		if f.System&s.flag != 0 {
			out = append(out, s.letter)
		}
	}
	for _, w := range f.Keywords.Words() {
		if strings.EqualFold(w, forwarded) {
			out = append(out, passedLetter)
		}
		out = append(out, words.letters(w)...)
	}
	slices.Sort(out)
	return string(slices.Compact(out))
}

// sizeFields reads the ",S=" (octets of the file) and ",W=" (octets with CRLF)
// fields of a key; -1 where there is none.
func sizeFields(key string) (file, wire int64) {
	file, wire = -1, -1
	_, fields, _ := strings.Cut(key, ",")
	for field := range strings.SplitSeq(fields, ",") {
		if v, ok := strings.CutPrefix(field, "S="); ok {
			file = parseSize(v)
		} else if v, ok := strings.CutPrefix(field, "W="); ok {
			wire = parseSize(v)
		}
	}
	return file, wire
}

func parseSize(s string) int64 {
	if s == "" || len(s) > 15 {
		return -1
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n
}
