package imapconn

import (
	"bytes"
	"strconv"
	"time"

	"postbag/internal/mail"
)

// Items says what FetchList asks for.
type Items uint16

// The items. EmailID is EMAILID (RFC 8474), GmailMsgID is X-GM-MSGID; both land
// in Item.EmailID, and must be asked for only where the server has them.
const (
	Flags Items = 1 << iota
	Size
	Date
	ModSeq
	EmailID
	GmailMsgID
	GmailLabels
	HeaderMessageID // BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)], hashed
	HeaderFields    // the fields that people choose by, in Item.Header; not with HeaderMessageID
)

// Item is what one FETCH response says of a message.
type Item struct {
	UID         uint32
	Flags       mail.Flags // without what is no valid flag
	HasFlags    bool
	ModSeq      uint64
	Size        int64     // RFC822.SIZE, -1 when absent
	Date        time.Time // INTERNALDATE in UTC; zero when absent or unusable
	EmailID     string
	GmailLabels []string // as on the wire, in modified UTF-7; nil when absent, and empty when there are none
	MessageID   mail.MessageID
	HasHeader   bool   // the header was there to be looked at: MessageID tells
	Header      []byte // where HeaderFields was asked for; valid during the call only
}

// fetchScanner walks over the items of a FETCH response.
type fetchScanner struct {
	b    []byte
	i    int
	name []byte // of the item, with its section
	val  []byte // its raw value
	// closed says that the list ended with a parenthesis and nothing but blanks
	// behind it, open that b ends where name's value would begin: so it does
	// when that is a literal which has not been read yet.
	closed, open bool
}

// fetchItems begins to walk over a response that begins with "* NUM FETCH (".
// ok is false for any other.
func fetchItems(resp []byte) (s fetchScanner, seq uint32, ok bool) {
	i := 2
	for i < len(resp) && resp[i]-'0' <= 9 {
		i++
	}
	if i == 2 || len(resp) < i+8 || resp[1] != ' ' || resp[i] != ' ' || !equalFold(resp[i+1:i+6], "FETCH") {
		return s, 0, false
	}
	seq, _ = parseUint32(resp[2:i])
	i = skipBlanks(resp, i+6)
	if i >= len(resp) || resp[i] != '(' {
		return s, 0, false
	}
	return fetchScanner{b: resp, i: i + 1}, seq, true
}

// next moves to the next item; false at the end, and where it is malformed.
func (s *fetchScanner) next() bool {
	b, i := s.b, s.i
	for i < len(b) && b[i] == ' ' {
		i++
	}
	if i >= len(b) {
		return false
	}
	if b[i] == ')' {
		s.closed = skipBlanks(b, i+1) == len(b)
		return false
	}
	start := i
	for i < len(b) && b[i] != ' ' && b[i] != '(' && b[i] != ')' {
		if b[i] == '[' {
			end := bytes.IndexByte(b[i:], ']')
			if end < 0 {
				return false
			}
			i += end
		}
		i++
	}
	s.name = b[start:i]
	if i = skipBlanks(b, i); i >= len(b) {
		s.open = len(s.name) > 0
		return false
	}
	end := skipValue(b, i)
	if end < 0 {
		return false
	}
	s.val, s.i = b[i:end], end
	return true
}

// itemParser turns the items of FETCH responses into Items. It remembers flag
// lists: a mailbox has few different ones, and so a line costs no allocation.
//
// IDs are taken only where they were asked for: who trusts them does so because the
// server says that it has them, and one that sends them unasked may mean anything.
type itemParser struct {
	asked Items
	flags map[string]mail.Flags
}

// Bounds on the memory that flags take: a server could send a new list in each
// line, and lists without an end.
const (
	maxFlagLists = 4096
	maxFlagList  = 32 << 10
)

func newItemParser(asked Items) *itemParser {
	return &itemParser{asked: asked, flags: make(map[string]mail.Flags)}
}

// apply takes the scanner's current item into it.
func (p *itemParser) apply(it *Item, name, val []byte) {
	switch len(name) {
	case 3:
		if equalFold(name, "UID") {
			it.UID, _ = parseUint32(val)
		}
	case 5:
		if equalFold(name, "FLAGS") {
			it.Flags, it.HasFlags = p.flagList(val)
		}
	case 6:
		if equalFold(name, "MODSEQ") {
			it.ModSeq, _ = parseUint64(inParens(val))
		}
	case 7:
		if p.asked&EmailID != 0 && equalFold(name, "EMAILID") {
			it.EmailID = string(inParens(val))
		}
	case 10:
		if p.asked&GmailMsgID != 0 && equalFold(name, "X-GM-MSGID") && it.EmailID == "" {
			if id, ok := parseUint64(val); ok {
				it.EmailID = strconv.FormatUint(id, 10)
			}
		}
	case 11:
		switch {
		case equalFold(name, "RFC822.SIZE"):
			if n, ok := parseUint64(val); ok && n < 1<<62 {
				it.Size = int64(n)
			}
		case equalFold(name, "X-GM-LABELS"):
			it.GmailLabels = append([]string{}, stringList(val)...)
		}
	case 12:
		if equalFold(name, "INTERNALDATE") {
			it.Date = parseDate(unquote(val))
		}
	default:
		if hasPrefixFold(name, "BODY[HEADER.FIELDS") && !equalFold(val, "NIL") {
			it.Header = unquote(val)
			it.MessageID, it.HasHeader = mail.MessageIDOf(it.Header), true
		}
	}
}

// flagList parses "(\Seen Junk)". NIL, or what is no list, says nothing.
func (p *itemParser) flagList(val []byte) (mail.Flags, bool) {
	if f, ok := p.flags[string(val)]; ok {
		return f, true
	}
	if val[0] != '(' || len(val) > maxFlagList {
		return mail.Flags{}, false
	}
	f := parseFlags(val)
	if len(p.flags) < maxFlagLists && len(val) < 1000 {
		p.flags[string(val)] = f
	}
	return f, true
}

// parseFlags parses a list of flags in parentheses.
func parseFlags(val []byte) mail.Flags {
	var names []string
	for _, name := range bytes.Fields(inParens(val)) {
		names = append(names, string(name))
	}
	return mail.ParseFlags(names...)
}

// inParens is b without parentheses around it.
func inParens(b []byte) []byte {
	if n := len(b); n >= 2 && b[0] == '(' && b[n-1] == ')' {
		return b[1 : n-1]
	}
	return b
}

// stringList is the content of a list of strings and atoms.
func stringList(val []byte) []string {
	tokens, ok := parseTokens(inParens(val))
	if !ok {
		return nil
	}
	var list []string
	for _, t := range tokens {
		if t.Kind != List {
			list = append(list, t.Text())
		}
	}
	return list
}

// parseDate parses a date-time (RFC 9051, 9) into UTC: "17-Jul-1996 02:44:25
// -0700", with one digit, a blank and one, or two for the day. The zero Time
// means that b is none, or that there is no such day.
func parseDate(b []byte) time.Time {
	if len(b) == 25 { // a one-digit day without its blank
		return parseDate(append([]byte{' '}, b...))
	}
	if len(b) != 26 || b[2] != '-' || b[6] != '-' || b[11] != ' ' || b[14] != ':' || b[17] != ':' || b[20] != ' ' {
		return time.Time{}
	}
	day, ok1 := digits(bytes.TrimLeft(b[:2], " "))
	month := monthOf(b[3:6])
	year, ok2 := digits(b[7:11])
	hour, ok3 := digits(b[12:14])
	minute, ok4 := digits(b[15:17])
	second, ok5 := digits(b[18:20])
	zoneHour, ok6 := digits(b[22:24])
	zoneMinute, ok7 := digits(b[24:26])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || month == 0 || year == 0 ||
		hour > 23 || minute > 59 || second > 59 || zoneHour > 24 || zoneMinute > 59 {
		return time.Time{}
	}
	t := time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	if t.Day() != day {
		return time.Time{}
	}
	zone := time.Duration(zoneHour)*time.Hour + time.Duration(zoneMinute)*time.Minute
	switch b[21] {
	case '+':
		return t.Add(-zone)
	case '-':
		return t.Add(zone)
	}
	return time.Time{}
}

func digits(b []byte) (int, bool) {
	n, ok := parseUint32(b)
	return int(n), ok
}

func monthOf(b []byte) time.Month {
	const names = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
	for m := range 12 {
		if equalFold(b, names[3*m:3*m+3]) {
			return time.Month(m + 1)
		}
	}
	return 0
}
