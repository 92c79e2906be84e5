package demo

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"postbag/internal/mail"
)

// TortureMailbox is the mailbox of the Torture samples.
const TortureMailbox = "Torture"

// Torture is the hostile set: messages that are legal or seen in the wild and
// that tools have truncated, rewritten, skipped or duplicated. Each has a Label,
// unique in the set. The bytes are what a server would send; some servers alter
// some of them when they are uploaded (see Safe).
func Torture() []Sample {
	var out []Sample
	for _, group := range [][]labelled{
		lineEnds(), degenerate(), octets(), longLines(), protocolLookalikes(), brokenMIME(), headers(), messageIDs(),
	} {
		for _, l := range group {
			out = append(out, Sample{
				Label: l.label, Mailbox: TortureMailbox, Raw: []byte(l.raw),
				Date: time.Date(2020, time.February, 29, 12, 0, len(out)%60, 0, time.UTC),
			})
		}
	}
	out = append(out, oddDates()...)
	return append(out, oddFlags()...)
}

// ServerSafe reports whether every server is known to store raw as it is.
// Dovecot refuses messages without an octet, turns NUL into 0x80 and LF and
// CRCRLF into CRLF, and drops a CR at the very end.
func ServerSafe(raw []byte) bool {
	if len(raw) == 0 || bytes.IndexByte(raw, 0) >= 0 || bytes.Contains(raw, []byte("\r\r\n")) || raw[len(raw)-1] == '\r' {
		return false
	}
	return bytes.Count(raw, []byte("\n")) == bytes.Count(raw, []byte("\r\n"))
}

// DateSafe reports whether every server is known to keep an INTERNALDATE.
// Dovecot answers with another date before 1970 and from 2038 on.
func DateSafe(at time.Time) bool { return at.Unix() >= 0 && at.Unix() < 1<<31 }

// Safe reports whether every server is known to keep the message as it is.
func (s Sample) Safe() bool { return ServerSafe(s.Raw) && DateSafe(s.Date) }

type labelled struct{ label, raw string }

// head is a plain header with its own Message-ID, without the empty line.
func head(id string) string {
	return "Date: Sat, 29 Feb 2020 12:00:00 +0000\r\nFrom: a@example.org\r\nTo: b@example.org\r\n" +
		"Subject: torture\r\nMessage-ID: <" + id + "@torture.example>\r\n"
}

func lineEnds() []labelled {
	lf := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
	return []labelled{
		{"crlf", head("crlf") + "\r\nline one\r\nline two\r\n"},
		{"bare lf", lf(head("lf") + "\r\nline one\r\nline two\r\n")},
		{"crlf header, lf body", head("mixed") + "\r\n" + "one\ntwo\r\nthree\n"},
		{"lf header, crlf body", lf(head("mixed2")) + "\n" + "one\r\ntwo\r\n"},
		{"bare cr", head("cr") + "\r\nhi\rthere\r\r\rend\r\n"},
		{"cr before lf only", head("crcrlf") + "\r\none\r\r\ntwo\r\r\r\n"},
		{"lf cr", head("lfcr") + "\r\none\n\rtwo\r\n"},
		{"no end of line", head("noeol") + "\r\nlast line without an end"},
		{"ends in cr", head("endcr") + "\r\nlast line\r"},
		{"many blank lines at the end", head("blanks") + "\r\ntext\r\n" + strings.Repeat("\r\n", 40)},
		{"trailing blanks", head("trail") + "\r\ntext \t \r\n   \r\n\t\r\n-- \r\nsig\r\n"},
	}
}

func degenerate() []labelled {
	return []labelled{
		{"empty", ""},
		{"one octet", "x"},
		{"only crlf", "\r\n"},
		{"only lf", "\n"},
		{"only cr", "\r"},
		{"two crlf", "\r\n\r\n"},
		{"no header", "\r\nbody without any header\r\n"},
		{"header only, with separator", head("honly") + "\r\n"},
		{"header only, no separator", head("hopen")},
		{"header only, no end of line", strings.TrimSuffix(head("hcut"), "\r\n")},
		{"no colon anywhere", "this is not a message at all\r\nnot even a bit\r\n"},
	}
}

func octets() []labelled {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return []labelled{
		{"nul in body", head("nul") + "\r\nbefore\x00after\r\n\x00\x00\r\n"},
		{"nul in header", "Subject: a\x00b\r\n" + head("nulh") + "\r\nbody\r\n"},
		{"8-bit header latin1", "X-Name: J\xfcrgen Wei\xdf\r\n" + head("latin1") + "\r\nbody\r\n"},
		{"8-bit header utf-8", "X-Name: Jürgen 日本語 \U0001F4EC\r\n" + head("utf8h") + "\r\nÄÖÜ\r\n"},
		{"8-bit body latin1", head("latin1b") + "\r\ncaf\xe9 \xe0 la carte\r\n"},
		{"octet 0xff", head("ff") + "\r\n\xff\xfe\xff\xff\r\n"},
		{"every octet but cr lf nul", head("bin") + "\r\n" + string(all[1:10]) + string(all[11:13]) + string(all[14:]) + "\r\n"},
		{"every octet", head("bin0") + "\r\n" + string(all) + "\r\n"},
		{"utf-8 bom", "\xef\xbb\xbf" + head("bom") + "\r\nbody\r\n"},
		{"utf-16 bom", "\xff\xfeS\x01u\x01b\x01" + head("bom16") + "\r\nbody\r\n"},
		{"ebcdic", "\xe2\x81\x82\x91\x85\x83\xa3\x7a\x40\xa3\x85\xa2\xa3\x25\x25\x88\x85\x93\x93\x96\x25"},
		{"escape codes in subject", "Subject: \x1b[2J\x1b]0;owned\x07\r\n" + head("esc") + "\r\n\x1b[31mred\x1b[0m\r\n"},
	}
}

func longLines() []labelled {
	line := func(n int) string { return strings.Repeat("0123456789", n/10+1)[:n] }
	return []labelled{
		{"line of 998", head("l998") + "\r\n" + line(998) + "\r\n"},
		{"line of 1000", head("l1000") + "\r\n" + line(1000) + "\r\n"},
		{"line of 10k", head("l10k") + "\r\n" + line(10_000) + "\r\n"},
		{"line of 1M", head("l1m") + "\r\n" + line(1_000_000) + "\r\n"},
		{"line of 64K and no end", head("l64k") + "\r\n" + line(1<<16)},
		{"header line of 10k", "X-Long: " + line(10_000) + "\r\n" + head("h10k") + "\r\nbody\r\n"},
		{"header folded 2000 times", "X-Folded: a" + strings.Repeat("\r\n b", 2000) + "\r\n" + head("fold") + "\r\nbody\r\n"},
	}
}

// protocolLookalikes hold lines that a reader which loses count of a literal
// would take for the protocol or for a mailbox format.
func protocolLookalikes() []labelled {
	return []labelled{
		{"From line first", "From a@example.org Sat Feb 29 12:00:00 2020\r\n" + head("from") + "\r\nbody\r\n"},
		{"From lines in the body", head("fromb") + "\r\nFrom here on\r\n>From there\r\n>>From everywhere\r\n\r\nFrom x\r\n"},
		{"dots", head("dots") + "\r\n.\r\n..\r\n.hidden\r\n.\r\n"},
		{"lines of imap", head("imap") + "\r\n)\r\n* 1 FETCH (UID 1)\r\n* BYE gone\r\n* 99 EXISTS\r\n+ go ahead\r\n" +
			"T1 OK done\r\nA1 OK done\r\n{5}\r\n{1000+}\r\n~{3}\r\nDONE\r\n"},
		{"begins with a parenthesis", ")\r\n* OK\r\n" + head("paren") + "\r\nbody\r\n"},
		{"commands", head("cmds") + "\r\nT7 DELETE INBOX\r\nT8 LOGOUT\r\n"},
		{"mbox separators", head("mbox") + "\r\n\x01\x01\x01\x01\r\n\x1f\x0c\r\nBABYL OPTIONS:\r\n"},
	}
}

func brokenMIME() []labelled {
	multipart := func(id, boundary string) string {
		return head(id) + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"" + boundary + "\"\r\n\r\n"
	}
	var nested strings.Builder
	nested.WriteString(multipart("nest", "b0"))
	for i := range 1000 {
		fmt.Fprintf(&nested, "--b%d\r\nContent-Type: multipart/mixed; boundary=\"b%d\"\r\n\r\n", i, i+1)
	}
	return []labelled{
		{"boundary never closed", multipart("open", "xx") + "preamble\r\n--xx\r\n\r\npart\r\n"},
		{"boundary never used", multipart("unused", "xx") + "only a preamble\r\n"},
		{"empty boundary", multipart("nobound", "") + "--\r\n\r\npart\r\n----\r\n"},
		{"epilogue", multipart("epi", "xx") + "pre\r\n--xx\r\n\r\npart\r\n--xx--\r\nepilogue stays\r\n\r\n"},
		{"1000 nested multiparts", nested.String()},
		{"bad base64", head("b64") + "Content-Transfer-Encoding: base64\r\n\r\n!!!not base64===\r\nQQ=Q\r\n"},
		{"bad quoted-printable", head("qp") + "Content-Transfer-Encoding: quoted-printable\r\n\r\n=ZZ=\r\n==3=\r\n="},
		{"unknown encoding", head("enc") + "Content-Transfer-Encoding: x-uue-ish\r\nContent-Type: ;;;=\r\n\r\nbody\r\n"},
		{"bad encoded word", "Subject: =?utf-8?B?////?= =?x?Q?\r\n" + head("word") + "\r\nbody\r\n"},
	}
}

func headers() []labelled {
	var many strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, "X-%d: %d\r\n", i, i)
	}
	return []labelled{
		{"20000 header fields", many.String() + head("many") + "\r\nbody\r\n"},
		{"field without colon", "Subject: one\r\nthis has no colon\r\n" + head("nocolon") + "\r\nbody\r\n"},
		{"blank before colon", "Subject : one\r\nX-Y\t: two\r\n" + head("spcolon") + "\r\nbody\r\n"},
		{"begins with a fold", " folded from nothing\r\n" + head("fold0") + "\r\nbody\r\n"},
		{"blank line that is not empty", "X-A: 1\r\n   \r\nX-B: 2\r\n" + head("spline") + "\r\nbody\r\n"},
		{"empty field name", ": value\r\n" + head("noname") + "\r\nbody\r\n"},
		{"duplicate fields", "Subject: one\r\nSubject: two\r\nFrom: z@example.org\r\n" + head("dup") + "\r\nbody\r\n"},
		{"headers of other tools", "X-TUID: abcdefghijkl\r\nX-OfflineIMAP: 123-456\r\nStatus: RO\r\nX-Status: A\r\n" +
			"X-Keywords: foo\r\nX-UID: 7\r\nX-IMAPbase: 1 9\r\nContent-Length: 4\r\nLines: 1\r\nX-Mozilla-Status: 0001\r\n" +
			head("tools") + "\r\nbody\r\n"},
		{"no date", "From: a@example.org\r\nMessage-ID: <nodate@torture.example>\r\n\r\nbody\r\n"},
		{"bad date", "Date: 31 Feb 99 25:61:61 +9999\r\nMessage-ID: <baddate@torture.example>\r\n\r\nbody\r\n"},
		{"date of 1900", "Date: Mon, 01 Jan 1900 00:00:00 GMT\r\nMessage-ID: <d1900@torture.example>\r\n\r\nbody\r\n"},
	}
}

func messageIDs() []labelled {
	const twin = "Message-ID: <twin@torture.example>\r\nSubject: twin\r\n\r\n"
	return []labelled{
		{"twin a", twin + "content A\r\n"},
		{"twin b", twin + "content B\r\n"},
		{"duplicate 1", head("same") + "\r\nthe same message\r\n"},
		{"duplicate 2", head("same") + "\r\nthe same message\r\n"},
		{"duplicate 3", head("same") + "\r\nthe same message\r\n"},
		{"no message-id", "Subject: none\r\n\r\nnone\r\n"},
		{"no message-id, same size", "Subject: none\r\n\r\nnooe\r\n"},
		{"empty message-id", "Message-ID:\r\nSubject: empty\r\n\r\nempty\r\n"},
		{"blank message-id", "Message-ID:   \r\nSubject: blank\r\n\r\nblank\r\n"},
		{"folded message-id", "Message-ID:\r\n <folded@torture.example>\r\nSubject: fold\r\n\r\nfold\r\n"},
		{"message-id in odd case", "mEsSaGe-Id: <case@torture.example>\r\nSubject: case\r\n\r\ncase\r\n"},
		{"two message-ids", "Message-ID: <first@torture.example>\r\nMessage-ID: <second@torture.example>\r\n\r\ntwo\r\n"},
		{"message-id of 10k", "Message-ID: <" + strings.Repeat("a", 10_000) + "@torture.example>\r\n\r\nlong\r\n"},
		{"message-id without brackets", "Message-ID: bare id with blanks\r\n\r\nbare\r\n"},
		{"message-id of 8-bit octets", "Message-ID: <\xff\xe9\x01@torture.example>\r\n\r\n8bit\r\n"},
		{"message-id in the body", "Subject: body\r\n\r\nMessage-ID: <body@torture.example>\r\n"},
	}
}

// oddDates have an INTERNALDATE that clocks and formats trip over.
func oddDates() []Sample {
	var out []Sample
	for i, at := range []time.Time{
		time.Date(1969, time.December, 31, 23, 59, 59, 0, time.UTC),
		time.Date(1970, time.January, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1970, time.January, 1, 0, 0, 1, 0, time.UTC),
		time.Date(2000, time.January, 1, 0, 0, 0, 0, time.FixedZone("", 14*3600)),
		time.Date(2001, time.September, 9, 1, 46, 40, 0, time.FixedZone("", -12*3600)),
		time.Date(2038, time.January, 19, 3, 14, 8, 0, time.UTC),
		time.Date(2106, time.February, 7, 6, 28, 16, 0, time.UTC),
		time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC),
	} {
		label := "internaldate " + at.Format(time.RFC3339)
		out = append(out, Sample{
			Label: label, Mailbox: TortureMailbox, Date: at,
			Raw: fmt.Appendf(nil, "%s\r\n%s\r\n", head(fmt.Sprintf("date%d", i)), label),
		})
	}
	return out
}

func oddFlags() []Sample {
	day := time.Date(2021, time.March, 1, 0, 0, 0, 0, time.UTC)
	all := mail.Seen | mail.Answered | mail.Flagged | mail.Deleted | mail.Draft
	var out []Sample
	for i, f := range []mail.Flags{
		{System: all},
		{System: mail.Deleted},
		{Keywords: mail.NewKeywords("$Forwarded", "$MDNSent", "$Junk", "NonJunk", "a.b-c_d", "x!#&'+,/:;<=>?@^`|~")},
		{System: mail.Seen, Keywords: mail.NewKeywords("Seen", "OIB-Seen-INBOX")},
	} {
		label := "flags " + f.String()
		out = append(out, Sample{
			Label: label, Mailbox: TortureMailbox, Date: day, Flags: f,
			Raw: fmt.Appendf(nil, "%s\r\n%s\r\n", head(fmt.Sprintf("flags%d", i)), label),
		})
	}
	return out
}
