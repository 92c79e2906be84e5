package demo

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
)

// kind is the structure of a message.
type kind int

const (
	plain kind = iota
	html
	attachment
	list
	foreign // headers in encoded words, body beyond ASCII
)

func pickKind(box Mailbox, r *rand.Rand) kind {
	p := r.IntN(100)
	switch {
	case strings.HasPrefix(box.Name, "Lists/"):
		return list
	case box.Name == "Projets/Été" || box.Name == "Ünïcödé/日本語":
		return foreign
	case p < 45:
		return plain
	case p < 70:
		return html
	case p < 85:
		return attachment
	default:
		return foreign
	}
}

// message is what compose needs to know.
type message struct {
	corpus
	index int
	box   Mailbox
	sent  time.Time
	size  int // what the message should come to, in octets
	kind  kind
}

// compose writes the message. It comes close to m.size, never far above it
// unless the headers alone do.
func compose(m message) []byte {
	var b bytes.Buffer
	b.Grow(m.size + 2<<10)
	m.header(&b)
	r := m.rng(m.index, forBody)
	room := m.size - b.Len()
	switch m.kind {
	case html:
		writeAlternative(&b, r, room)
	case attachment:
		writeAttachment(&b, r, room)
	case foreign:
		writeQuotedPrintable(&b, r, room, foreignWords)
	default:
		b.WriteString("Content-Type: text/plain; charset=us-ascii\r\n\r\n")
		writeText(&b, r, m.size-b.Len(), words)
	}
	return b.Bytes()
}

func (m message) header(b *bytes.Buffer) {
	r := m.rng(m.index, forHead)
	from, to := pick(r, people), pick(r, people)
	date := m.sent.Format(time.RFC1123Z)
	if m.size > 900 {
		fmt.Fprintf(b, "Return-Path: <%s>\r\n", from.address)
		for hop := range 1 + r.IntN(2) {
			fmt.Fprintf(b, "Received: from relay%d.example.net (relay%d.example.net [192.0.2.%d])\r\n"+
				"\tby mx%d.example.org with ESMTPS id %012x\r\n\tfor <%s>; %s\r\n",
				hop, hop, 1+r.IntN(250), hop, r.Uint64()>>16, to.address, date)
		}
	}
	fmt.Fprintf(b, "Date: %s\r\nFrom: %s\r\nTo: %s\r\n", date, from, to)
	m.thread(b)
	if m.kind == list {
		b.WriteString("List-Id: Users of Maildir <maildir-users.lists.example.org>\r\n" +
			"List-Post: <mailto:maildir-users@lists.example.org>\r\n" +
			"List-Unsubscribe: <https://lists.example.org/leave/maildir-users>\r\nPrecedence: list\r\n")
	}
	if m.size > 900 || m.kind != plain {
		b.WriteString("MIME-Version: 1.0\r\n")
	}
}

// thread writes Subject, Message-ID and, in a third of the messages, the header
// fields of a reply.
func (m message) thread(b *bytes.Buffer) {
	parent, isReply := m.parent(m.index)
	subject, prefix := m.subject(m.index), ""
	if isReply {
		subject, prefix = m.subject(m.root(parent)), "Re: "
	}
	fmt.Fprintf(b, "Subject: %s\r\nMessage-ID: %s\r\n", encodeWords(prefix+subject), m.id(m.index))
	if !isReply {
		return
	}
	fmt.Fprintf(b, "In-Reply-To: %s\r\nReferences:", m.id(parent))
	for _, ancestor := range m.ancestors(parent) {
		fmt.Fprintf(b, " %s\r\n", m.id(ancestor))
	}
}

func (c corpus) id(i int) string {
	return fmt.Sprintf("<%08x.%016x@mail.example.org>", i, c.rng(i, forThread).Uint64())
}

// parent is the message that message i answers.
func (c corpus) parent(i int) (int, bool) {
	r := c.rng(i, forThread)
	if i == 0 || r.IntN(3) > 0 {
		return 0, false
	}
	return i - 1 - r.IntN(min(i, 20)), true
}

// ancestors are the last few messages of the thread up to i, oldest first.
func (c corpus) ancestors(i int) []int {
	chain := []int{i}
	for len(chain) < 8 {
		parent, ok := c.parent(chain[0])
		if !ok {
			break
		}
		chain = append([]int{parent}, chain...)
	}
	return chain
}

func (c corpus) root(i int) int {
	for {
		parent, ok := c.parent(i)
		if !ok {
			return i
		}
		i = parent
	}
}

func (c corpus) subject(i int) string {
	r := c.rng(i, forHead)
	from := words
	if r.IntN(5) == 0 {
		from = foreignWords
	}
	parts := make([]string, 2+r.IntN(6))
	for j := range parts {
		parts[j] = pick(r, from)
	}
	return strings.Join(parts, " ")
}

// encodeWords is a header value in encoded words (RFC 2047) where it needs
// them, folded between them.
func encodeWords(s string) string {
	return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

const boundary = "=_postbag_demo_part"

func writeAlternative(b *bytes.Buffer, r *rand.Rand, room int) {
	fmt.Fprintf(b, "Content-Type: multipart/alternative; boundary=%q\r\n\r\n--%s\r\n", boundary, boundary)
	b.WriteString("Content-Type: text/plain; charset=us-ascii\r\n\r\n")
	writeText(b, r, room/3, words)
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n", boundary)
	for end := b.Len() + room/2; ; {
		b.WriteString("<p style=\"margin:0\">")
		writeText(b, r, min(400, end-b.Len()), words)
		b.WriteString("</p>\r\n")
		if b.Len() >= end {
			break
		}
	}
	fmt.Fprintf(b, "</body></html>\r\n\r\n--%s--\r\n", boundary)
}

func writeAttachment(b *bytes.Buffer, r *rand.Rand, room int) {
	fmt.Fprintf(b, "Content-Type: multipart/mixed; boundary=%q\r\n\r\n--%s\r\n", boundary, boundary)
	b.WriteString("Content-Type: text/plain; charset=us-ascii\r\n\r\n")
	writeText(b, r, min(room/4, 2000), words)
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: application/pdf; name=\"%s.pdf\"\r\n"+
		"Content-Disposition: attachment; filename=\"%s.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n",
		boundary, pick(r, words), pick(r, words))
	var chunk [57]byte // 76 characters of base64
	for end := b.Len() + max(room*3/4-300, 80); b.Len() < end; {
		for i := 0; i < len(chunk); i += 8 {
			v := r.Uint64()
			for j := i; j < min(i+8, len(chunk)); j++ {
				chunk[j] = byte(v)
				v >>= 8
			}
		}
		b.WriteString(base64.StdEncoding.EncodeToString(chunk[:]))
		b.WriteString("\r\n")
	}
	fmt.Fprintf(b, "\r\n--%s--\r\n", boundary)
}

func writeQuotedPrintable(b *bytes.Buffer, r *rand.Rand, room int, from []string) {
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	var text bytes.Buffer
	writeText(&text, r, room/2, from)
	w := quotedprintable.NewWriter(b)
	// A bytes.Buffer takes everything: neither call can fail.
	_, _ = w.Write(text.Bytes())
	_ = w.Close()
}

// writeText writes about n octets of prose, at least one line, in lines of at
// most 72 columns that end in CRLF.
func writeText(b *bytes.Buffer, r *rand.Rand, n int, from []string) {
	for end := b.Len() + n; ; {
		for col := 0; col < 60; {
			w := pick(r, from)
			if col > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(w)
			col += len(w) + 1
			if b.Len() >= end {
				break
			}
		}
		b.WriteString("\r\n")
		if b.Len() >= end {
			return
		}
	}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// person is a sender or recipient.
type person struct{ name, address string }

// String is the mailbox in the syntax of RFC 5322, 3.4.
func (p person) String() string {
	if name := encodeWords(p.name); name != p.name {
		return name + " <" + p.address + ">"
	}
	return fmt.Sprintf("%q <%s>", p.name, p.address)
}

var people = []person{
	{"Ada Byron", "ada@example.org"}, {"Grace H.", "grace@example.com"}, {"Édith Cresson", "edith@example.fr"},
	{"Jürgen Weiß", "juergen@example.de"}, {"山田 太郎", "taro@example.jp"}, {"Build Robot", "noreply@ci.example.net"},
	{"Zoë van der Berg", "zoe@example.nl"}, {"Accounts, Dept. of", "billing@example.co.uk"},
}

var words = strings.Fields(`the of and to in that is was for it with as on be at by this had not are but from or
	have an they which one you were her all she there would their we him been has when who will more no if out so
	said what up its about into than them can only other new some could time these two may then do first any my now
	such like our over man me even most made after also did many before must through back years where much your way
	well down should because each just those people how too little state good very make world still own see men work
	long get here between both life being under never day same another know while last might us great old year off
	mailbox message server folder attachment invoice meeting schedule tomorrow Thursday deadline release review`)

var foreignWords = strings.Fields(`été déjà où garçon naïve façade œuvre Straße Größe über Äpfel Übung für señor mañana
	año Łódź żółw źródło Ångström smörgåsbord fjörð Пример письма почта ящик сообщение 日本語 郵便 手紙 受信箱 Ελληνικά
	γράμμα the and letter of`)
