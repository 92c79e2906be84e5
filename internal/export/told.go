package export

import (
	"encoding/csv"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
	"postbag/internal/match"
)

// What the header of a message tells where there is no manifest: flags in Status
// and X-Status (UW-IMAP, mutt), X-Keywords (Dovecot), X-Mozilla-Status and
// X-Mozilla-Keys (Thunderbird), mailboxes in X-Gmail-Labels (Google Takeout).

var toldFields = []string{"date", "status", "x-status", "x-keywords", "x-mozilla-status", "x-mozilla-keys", "x-gmail-labels", "x-imap", "subject"}

// told is what a header tells of its message.
type told struct {
	flags  mail.Flags
	date   time.Time // of Date; zero when there is none that can be read
	boxes  []string  // of labels; nil when there are none
	isGone bool      // it was deleted, and only not yet taken out of the file
	isData bool      // it is the file's own, and no message
}

func tell(head []byte) told {
	f := readFields(head, toldFields...)
	t := told{flags: flagsOf(f.first("status")+f.first("x-status"), statusLetters), isData: len(f["x-imap"]) > 0 && strings.Contains(f.first("subject"), "FOLDER INTERNAL DATA")}
	if at, err := netmail.ParseDate(f.first("date")); err == nil && at.Year() > 0 && at.Year() < 10000 {
		t.date = at
	}
	if bits, err := strconv.ParseUint(f.first("x-mozilla-status"), 16, 16); err == nil {
		t.flags = t.flags.Union(mozillaFlags(bits))
		t.isGone = bits&8 != 0
	}
	t.flags = t.flags.Union(keywords(f.first("x-mozilla-keys"), f.first("x-keywords")))
	if f["x-gmail-labels"] != nil {
		flags := mail.Flags{}
		t.boxes, flags = gmailLabels(decode(f.first("x-gmail-labels")))
		t.flags = t.flags.Union(flags)
	}
	return t
}

// decode reads encoded words (RFC 2047) as those of a subject are read.
func decode(s string) string { return match.Parse([]byte("Subject: " + s)).Subject }

// statusLetters are the flags in Status and X-Status.
var statusLetters = map[rune]mail.System{'R': mail.Seen, 'A': mail.Answered, 'F': mail.Flagged, 'T': mail.Draft, 'D': mail.Deleted}

// mozillaFlags reads the bits of nsMsgMessageFlags.
func mozillaFlags(bits uint64) (flags mail.Flags) {
	for bit, f := range map[uint64]mail.System{1: mail.Seen, 2: mail.Answered, 4: mail.Flagged} {
		if bits&bit != 0 {
			flags.System |= f
		}
	}
	if bits&0x1000 != 0 {
		flags.Keywords = "$Forwarded"
	}
	return flags
}

// keywords reads lists of keywords. What is none is left out.
func keywords(lists ...string) (flags mail.Flags) {
	for _, list := range lists {
		words := strings.FieldsFunc(list, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
		flags.Keywords = flags.Keywords.Union(mail.NewKeywords(words...))
	}
	return flags
}

// labelBoxes are the mailboxes of Gmail's own labels.
var labelBoxes = map[string]string{
	"inbox": "INBOX", "sent": "Sent", "drafts": "Drafts", "draft": "Drafts", "trash": "Trash", "spam": "Junk", "chat": "Chats",
}

// gmailLabels reads the labels of a message: the mailboxes that it is in, and flags.
// A message without a label that is a mailbox is in the archive.
func gmailLabels(list string) (boxes []string, flags mail.Flags) {
	r := csv.NewReader(strings.NewReader(list))
	r.LazyQuotes, r.TrimLeadingSpace = true, true
	labels, err := r.Read()
	if err != nil {
		labels = strings.Split(list, ",")
	}
	flags.System = mail.Seen
	seen := map[string]bool{}
	add := func(box string) {
		if box != "" && !seen[box] {
			seen[box] = true
			boxes = append(boxes, box)
		}
	}
	for _, label := range labels {
		label = strings.TrimSpace(label)
		folded := strings.ToLower(label)
		switch box, own := labelBoxes[folded]; {
		case own:
			add(box)
			if box == "Drafts" {
				flags.System |= mail.Draft
			}
		case folded == "unread":
			flags.System &^= mail.Seen
		case folded == "starred":
			flags.System |= mail.Flagged
		case folded == "important":
			flags.Keywords = flags.Keywords.Union("$Important")
		case folded == "opened", folded == "archived", strings.HasPrefix(folded, "category "), strings.HasPrefix(folded, "imap_"):
		default:
			add(boxName(strings.Split(label, "/")))
		}
	}
	if boxes == nil {
		boxes = []string{"Archive"}
	}
	return boxes, flags
}

// boxName makes a mailbox's name of components; "" when there are none.
func boxName(components []string) string {
	var kept []string
	for _, c := range components {
		if c != "" {
			kept = append(kept, c)
		}
	}
	if len(kept) > 0 && strings.EqualFold(kept[0], "inbox") {
		kept[0] = "INBOX"
	}
	return mail.JoinName(kept...)
}
