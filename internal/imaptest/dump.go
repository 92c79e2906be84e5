package imaptest

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
)

// Dump is everything that an account holds, by the names of its mailboxes in
// UTF-8. A mailbox that cannot be selected is left out.
type Dump map[string]Box

// Box is one mailbox of a Dump.
type Box struct {
	UIDValidity uint32
	Messages    []Entry // in the order of UIDs
}

// Entry is one message of a Dump.
type Entry struct {
	UID    uint32
	Flags  mail.Flags
	Date   time.Time
	Size   int64 // of the body as it came
	Digest mail.Digest
}

// Dump reads the whole account with a raw client, changing nothing: EXAMINE and
// BODY.PEEK.
func (t Target) Dump() (Dump, error) {
	c, err := Dial(t)
	if err != nil {
		return nil, err
	}
	d, err := c.Dump()
	if closeErr := c.Close(); err == nil {
		err = closeErr
	}
	return d, err
}

// MustDump is Dump for tests.
func (t Target) MustDump(tb TB) Dump {
	tb.Helper()
	d, err := t.Dump()
	if err != nil {
		tb.Fatalf("dump of %s at %s: %v", t.User, t.Addr, err)
	}
	return d
}

// Dump reads the whole account.
func (c *Client) Dump() (Dump, error) {
	names, err := c.Mailboxes()
	if err != nil {
		return nil, err
	}
	d := Dump{}
	for _, name := range names {
		box, err := c.dumpBox(name)
		if err != nil {
			return nil, fmt.Errorf("mailbox %s: %w", name, err)
		}
		d[name] = box
	}
	return d, nil
}

var listLine = regexp.MustCompile(`^\* LIST \(([^)]*)\) (?:"\\?.?"|NIL) (.*)$`)

// Mailboxes lists the names that can be selected, decoded, sorted.
func (c *Client) Mailboxes() ([]string, error) {
	lines, err := c.Do(`LIST "" "*"`)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range lines {
		m := listLine.FindStringSubmatch(r.Text)
		if m == nil || strings.Contains(strings.ToLower(m[1]), `\noselect`) || strings.Contains(strings.ToLower(m[1]), `\nonexistent`) {
			continue
		}
		wire := m[2]
		switch {
		case len(r.Literals) > 0:
			wire = string(r.Literals[0])
		case strings.HasPrefix(wire, `"`):
			wire = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(strings.Trim(wire, `"`))
		}
		name, ok := DecodeName(wire)
		if !ok {
			return nil, fmt.Errorf("LIST: name %q is not modified UTF-7", wire)
		}
		names = append(names, c.target.local(name))
	}
	slices.Sort(names)
	return names, nil
}

var (
	uidValidityCode = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	uidItem         = regexp.MustCompile(`[( ]UID (\d+)`)
	flagsItem       = regexp.MustCompile(`[( ]FLAGS \(([^)]*)\)`)
	dateItem        = regexp.MustCompile(`INTERNALDATE "([^"]*)"`)
)

func (c *Client) dumpBox(name string) (box Box, err error) {
	lines, err := c.Do("EXAMINE " + c.Name(name))
	if err != nil {
		return box, err
	}
	for _, r := range lines {
		if m := uidValidityCode.FindStringSubmatch(r.Text); m != nil {
			v, err := strconv.ParseUint(m[1], 10, 32)
			if err != nil {
				return box, err
			}
			box.UIDValidity = uint32(v)
		}
	}
	lines, err = c.do("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])", nil, hashLiteral)
	if err != nil {
		return box, err
	}
	for _, r := range lines {
		if !strings.Contains(r.Text, " FETCH (") || !strings.Contains(r.Text, "BODY[]") {
			continue // flags on their own, EXISTS, the tagged OK
		}
		e, err := parseEntry(r)
		if err != nil {
			return box, fmt.Errorf("%q: %w", r.Text, err)
		}
		box.Messages = append(box.Messages, e)
	}
	slices.SortFunc(box.Messages, func(a, b Entry) int { return cmp.Compare(a.UID, b.UID) })
	return box, nil
}

// hashLiteral keeps the SHA-256 of a literal in place of the literal, so that a
// large account can be dumped.
func hashLiteral(_ string, _ int64, r io.Reader) ([]byte, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return h.Sum(nil), err
}

func parseEntry(r Response) (e Entry, err error) {
	uid, flags, date := uidItem.FindStringSubmatch(r.Text), flagsItem.FindStringSubmatch(r.Text), dateItem.FindStringSubmatch(r.Text)
	if uid == nil || flags == nil || date == nil {
		return e, fmt.Errorf("UID, FLAGS or INTERNALDATE is missing")
	}
	n, err := strconv.ParseUint(uid[1], 10, 32)
	if err != nil {
		return e, err
	}
	if e.Date, err = time.Parse("_2-Jan-2006 15:04:05 -0700", date[1]); err != nil {
		return e, err
	}
	e.UID, e.Flags = uint32(n), mail.ParseFlags(strings.Fields(flags[1])...)
	switch _, body, _ := strings.Cut(r.Text, "BODY[] "); {
	case len(r.Literals) == 1:
		copy(e.Digest[:], r.Literals[0])
		i := strings.Index(r.Text, "BODY[] {") + len("BODY[] ")
		e.Size, _ = literalSize(r.Text[i : i+strings.IndexByte(r.Text[i:], '}')+1])
	case strings.HasPrefix(body, `"`):
		// A short body may come as a quoted string: without CR, LF and NUL.
		text, ok := unquote(body)
		if !ok {
			return e, fmt.Errorf("quoted body does not end")
		}
		e.Digest, e.Size = sha256.Sum256([]byte(text)), int64(len(text))
	default:
		return e, fmt.Errorf("BODY[] is neither a literal nor a string")
	}
	return e, nil
}

// unquote reads the quoted string that s begins with.
func unquote(s string) (string, bool) {
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return out.String(), true
		case '\\':
			i++
			if i == len(s) {
				return "", false
			}
		}
		out.WriteByte(s[i])
	}
	return "", false
}

// Count is the number of messages.
func (d Dump) Count() (n int) {
	for _, box := range d {
		n += len(box.Messages)
	}
	return n
}

// String is the account as text, one message a line, fit to be compared and
// shown: two dumps are equal when their strings are.
func (d Dump) String() string {
	return d.text(func(name string, box Box, e Entry) string {
		return fmt.Sprintf("%s %d/%d [%s] %s %d %.12s", name, box.UIDValidity, e.UID, e.Flags, stamp(e), e.Size, e.Digest)
	})
}

// Content is the account without UIDs and UIDVALIDITY, for comparing two
// servers: messages sorted within their mailbox.
func (d Dump) Content() string {
	return d.text(func(name string, _ Box, e Entry) string {
		return fmt.Sprintf("%s [%s] %s %d %.12s", name, strings.ToLower(e.Flags.String()), stamp(e), e.Size, e.Digest)
	})
}

func stamp(e Entry) string { return e.Date.UTC().Format(time.RFC3339) }

func (d Dump) text(line func(string, Box, Entry) string) string {
	var lines []string
	for name, box := range d {
		lines = append(lines, name)
		for _, e := range box.Messages {
			lines = append(lines, line(name, box, e))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// Diff is what a has and b has not ("-") and the other way round ("+"), line by
// line of two of these texts; "" when they are equal.
func Diff(a, b string) string {
	count := map[string]int{}
	for line := range strings.Lines(a) {
		count[line]--
	}
	for line := range strings.Lines(b) {
		count[line]++
	}
	var out []string
	for line, n := range count {
		for ; n < 0; n++ {
			out = append(out, line[:len(line)-1]+" -\n")
		}
		for ; n > 0; n-- {
			out = append(out, line[:len(line)-1]+" +\n")
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}
