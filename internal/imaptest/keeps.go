package imaptest

import (
	"bytes"
	"strings"
	"time"

	"postbag/internal/demo"
	"postbag/internal/mail"
)

// Habits are what a server makes of the messages that are uploaded to it. They
// were found with the torture set, and a test compares them with the server.
type Habits struct {
	// Keeps reports whether the server surely keeps a sample as it is: every octet,
	// the date, the keywords.
	Keeps func(demo.Sample) bool
	// Odd are the samples of the torture set that it does not keep, by their
	// labels: what it answered when it refused one, else what it did.
	Odd map[string]string
}

// CourierHabits: lines end in CRLF and the last one ends, whatever they were; CR
// elsewhere is dropped. A message with very many parts within parts is cut off,
// in RFC822.SIZE as well.
var CourierHabits = Habits{
	Keeps: func(s demo.Sample) bool {
		return demo.ServerSafe(s.Raw) && bytes.HasSuffix(s.Raw, []byte("\r\n")) && bytes.Count(s.Raw, []byte("\r")) == bytes.Count(s.Raw, []byte("\n")) &&
			bytes.Count(s.Raw, []byte("\nContent-Type: multipart/")) < 50 && storableDate(s.Date) && plainKeywords(s.Flags)
	},
	Odd: map[string]string{
		"bare lf":                           "altered",
		"crlf header, lf body":              "altered",
		"lf header, crlf body":              "altered",
		"bare cr":                           "altered",
		"cr before lf only":                 "altered",
		"lf cr":                             "altered",
		"no end of line":                    "altered",
		"ends in cr":                        "altered",
		"empty":                             "altered",
		"one octet":                         "altered",
		"only lf":                           "altered",
		"only cr":                           "altered",
		"header only, no end of line":       "altered",
		"every octet":                       "altered",
		"ebcdic":                            "altered",
		"line of 64K and no end":            "altered",
		"1000 nested multiparts":            "altered",
		"bad quoted-printable":              "altered",
		"internaldate 1969-12-31T23:59:59Z": "NO Error in IMAP command received by server.",
		"internaldate 1970-01-01T00:00:00Z": "date of today",
		"internaldate 9999-12-31T23:59:59Z": "another date",
		"flags " + oddKeywords:              "NO Error in IMAP command received by server.",
	},
}

// CyrusHabits: messages with NUL, with LF outside of CRLF, without an octet, or
// with a header that is none are refused. Octets above 127 in a header become X,
// unless the administrator has set munge8bit to no. Dates have 32 bits.
var CyrusHabits = Habits{
	Keeps: func(s demo.Sample) bool {
		return demo.ServerSafe(s.Raw) && plainHeader(s.Raw) && storableDate(s.Date)
	},
	Odd: map[string]string{
		"bare lf":                           "NO Message contains bare newlines",
		"crlf header, lf body":              "NO Message contains bare newlines",
		"lf header, crlf body":              "NO Message contains bare newlines",
		"lf cr":                             "NO Message contains bare newlines",
		"only lf":                           "NO Message contains bare newlines",
		"empty":                             "NO Zero-length message literal",
		"one octet":                         "NO Message contains invalid header",
		"header only, no end of line":       "NO Message contains invalid header",
		"no colon anywhere":                 "NO Message contains invalid header",
		"utf-16 bom":                        "NO Message contains invalid header",
		"ebcdic":                            "NO Message contains invalid header",
		"begins with a parenthesis":         "NO Message contains invalid header",
		"field without colon":               "NO Message contains invalid header",
		"blank before colon":                "NO Message contains invalid header",
		"empty field name":                  "NO Message contains invalid header",
		"nul in body":                       "NO Message contains NUL characters",
		"nul in header":                     "NO Message contains NUL characters",
		"every octet":                       "NO Message contains NUL characters",
		"8-bit header latin1":               "altered",
		"8-bit header utf-8":                "altered",
		"utf-8 bom":                         "altered",
		"message-id of 8-bit octets":        "altered",
		"internaldate 1969-12-31T23:59:59Z": "BAD Invalid date-time in Append command",
		"internaldate 1970-01-01T00:00:00Z": "date of today",
		"internaldate 2106-02-07T06:28:16Z": "another date",
		"internaldate 9999-12-31T23:59:59Z": "another date",
	},
}

// oddKeywords are those of the torture set's sample of keywords.
const oddKeywords = "$Forwarded $Junk $MDNSent a.b-c_d NonJunk x!#&'+,/:;<=>?@^`|~"

// storableDate reports whether a date is one that both servers keep: they take
// the first second of 1970 for none.
func storableDate(at time.Time) bool { return at.Unix() > 0 && demo.DateSafe(at) }

// plainKeywords reports whether Courier takes the keywords: it refuses all of a
// command with "[", "}" or "~" in one, which are valid (RFC 9051, 9: atom).
func plainKeywords(f mail.Flags) bool {
	return !strings.ContainsAny(strings.Join(f.Keywords.Words(), ""), "[}~")
}

// plainHeader reports whether every line of the header is a field of ASCII or the
// continuation of one, and an empty line ends it.
func plainHeader(raw []byte) bool {
	header, _, ended := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !ended {
		return false
	}
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		name, _, colon := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.ContainsFunc(line, func(r rune) bool { return r >= 0x7f || r < ' ' && r != '\t' }):
			return false
		case len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
		case !colon || len(name) == 0 || bytes.ContainsAny(name, " \t("):
			return false
		}
	}
	return true
}
