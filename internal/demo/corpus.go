// Package demo holds an IMAP server that lives in the process and the mail to
// fill it with: what "postbag demo" shows, and what tests of other packages run
// against when no real server is installed. The mail is deterministic: one seed
// gives one corpus, on every machine.
package demo

import (
	"iter"
	"math"
	"math/rand/v2"
	"time"

	"postbag/internal/mail"
)

// Sample is one message to put into a mailbox.
type Sample struct {
	Label   string          // what is special about it; "" in a Corpus
	Mailbox string          // UTF-8, components joined by "/"
	Use     mail.SpecialUse // role of the mailbox; "" for none
	Flags   mail.Flags
	Date    time.Time // INTERNALDATE, whole seconds
	Raw     []byte    // the wire form; owned by whoever got the sample
}

// Mailbox is one mailbox of the sample account.
type Mailbox struct {
	Name string // UTF-8, components joined by "/"
	Use  mail.SpecialUse
}

// Mailboxes are the mailboxes that a Corpus fills: nested ones, names beyond
// ASCII, a name with "&" (which modified UTF-7 must escape), special-use ones.
func Mailboxes() []Mailbox {
	boxes := make([]Mailbox, len(shares))
	for i, s := range shares {
		boxes[i] = s.Mailbox
	}
	return boxes
}

// shares says how many of 100 messages a mailbox gets.
var shares = []struct {
	Mailbox
	percent int
}{
	{Mailbox{"INBOX", ""}, 27},
	{Mailbox{"Sent", mail.UseSent}, 12},
	{Mailbox{"Drafts", mail.UseDrafts}, 2},
	{Mailbox{"Trash", mail.UseTrash}, 4},
	{Mailbox{"Junk", mail.UseJunk}, 4},
	{Mailbox{"Archive", mail.UseArchive}, 2},
	{Mailbox{"Archive/2023", ""}, 9},
	{Mailbox{"Archive/2024", ""}, 11},
	{Mailbox{"Work", ""}, 3},
	{Mailbox{"Work/Projects", ""}, 3},
	{Mailbox{"Work/Projects/postbag", ""}, 8},
	{Mailbox{"Lists/maildir-users", ""}, 7},
	{Mailbox{"Family & Friends", ""}, 3},
	{Mailbox{"Projets/Été", ""}, 3},
	{Mailbox{"Ünïcödé/日本語", ""}, 2},
}

// The bounds of a message of a Corpus, in octets.
const (
	minSize = 300
	maxSize = 200 << 10
)

// The years that a Corpus spans.
var (
	firstDay = time.Date(2012, time.January, 3, 8, 0, 0, 0, time.UTC)
	lastDay  = time.Date(2025, time.November, 20, 18, 0, 0, 0, time.UTC)
)

// Corpus yields n messages in the order of their dates, one at a time, so that
// a large corpus costs no memory. Sizes are 300 octets to 200 KiB, 10 KB on
// average; every line ends in CRLF. The first messages go to one mailbox each,
// so that a small corpus has them all. No message has \Deleted set.
func Corpus(seed uint64, n int) iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		c := corpus{seed: seed, n: n}
		for i := range n {
			if !yield(c.sample(i)) {
				return
			}
		}
	}
}

// corpus derives everything about message i from the seed and i alone, so that
// a reply can name its parent without anything being remembered.
type corpus struct {
	seed uint64
	n    int
}

func (c corpus) rng(i int, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(c.seed, uint64(i)<<8|purpose))
}

// The purposes of the random sources of one message.
const (
	forBox uint64 = iota
	forHead
	forBody
	forThread
)

func (c corpus) sample(i int) Sample {
	r := c.rng(i, forBox)
	box := c.mailbox(i, r)
	s := Sample{Mailbox: box.Name, Use: box.Use, Flags: flagsFor(box, r)}
	sent := c.date(i)
	s.Date = sent.Add(time.Duration(r.IntN(90)) * time.Second)
	s.Raw = compose(message{
		corpus: c, index: i, box: box, sent: sent, size: pickSize(r), kind: pickKind(box, r),
	})
	return s
}

func (c corpus) mailbox(i int, r *rand.Rand) Mailbox {
	if i < len(shares) {
		return shares[i].Mailbox
	}
	p := r.IntN(100)
	for _, s := range shares {
		if p -= s.percent; p < 0 {
			return s.Mailbox
		}
	}
	return shares[0].Mailbox
}

var zones = []*time.Location{
	time.UTC, time.FixedZone("", 3600), time.FixedZone("", 2*3600), time.FixedZone("", -5*3600),
	time.FixedZone("", 9*3600), time.FixedZone("", 5*3600+1800), time.FixedZone("", -9*3600-1800),
}

func (c corpus) date(i int) time.Time {
	step := lastDay.Sub(firstDay) / time.Duration(max(c.n, 1))
	r := c.rng(i, forThread)
	at := firstDay.Add(step*time.Duration(i) + time.Duration(r.Int64N(int64(max(step, time.Second)))))
	return at.Truncate(time.Second).In(zones[r.IntN(len(zones))])
}

// pickSize draws from a log-normal distribution, the shape that sizes of mail
// have, with a mean of about 10 KB.
func pickSize(r *rand.Rand) int {
	const median, sigma = 3600, 1.45
	size := median * math.Exp(sigma*r.NormFloat64())
	return int(min(max(size, minSize), maxSize))
}

func flagsFor(box Mailbox, r *rand.Rand) mail.Flags {
	var f mail.Flags
	chance := func(percent int) bool { return r.IntN(100) < percent }
	switch {
	case box.Use == mail.UseDrafts:
		return mail.Flags{System: mail.Draft | mail.Seen}
	case box.Use == mail.UseJunk:
		f.Keywords = mail.NewKeywords("$Junk")
	case box.Use == mail.UseSent || chance(75):
		f.System |= mail.Seen
	}
	if chance(12) {
		f.System |= mail.Answered
	}
	if chance(6) {
		f.System |= mail.Flagged
	}
	for _, k := range []struct {
		word    string
		percent int
	}{{"$Forwarded", 4}, {"$Label1", 3}, {"NotJunk", 3}, {"receipts", 2}} {
		if chance(k.percent) {
			f.Keywords = f.Keywords.Union(mail.NewKeywords(k.word))
		}
	}
	return f
}
