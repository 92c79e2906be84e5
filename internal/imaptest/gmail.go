package imaptest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Gmail makes a Script a server with labels, as Gmail's IMAP is one: mailboxes are
// views of messages that exist once.
//
//   - A message has an X-GM-MSGID and is in the mailbox of each of its labels, in \All,
//     and, when it is flagged, in \Flagged. Flags are those of the message.
//   - APPEND of a message that the account has gives it the label, and answers with the
//     UID that it has there, if it has one. COPY does the same; MOVE takes the label of
//     the mailbox away. \Deleted with APPEND puts the message into the bin.
//   - What is expunged under a label loses the label, and what is expunged in \All
//     stays. What goes to the bin or to spam loses all labels.
//   - X-GM-LABELS tells the labels but that of the selected mailbox. It changes MODSEQ.
type Gmail struct {
	script *Script
	mails  []*gmail
}

// gmail is one message.
type gmail struct {
	id     uint64
	raw    []byte
	date   string
	flags  []string
	labels []string // as X-GM-LABELS told them last, sorted
	hidden []string // labels without a mailbox
}

const (
	gmailAll     = "[Gmail]/All Mail"
	gmailStarred = "[Gmail]/Starred"
	gmailTrash   = "[Gmail]/Trash"
	gmailSpam    = "[Gmail]/Spam"
)

// gmailCaps are those that Gmail tells after login.
var gmailCaps = []string{"IMAP4rev1", "SASL-IR", "AUTH=PLAIN", "UNSELECT", "ID", "NAMESPACE", "CHILDREN", "X-GM-EXT-1", "UIDPLUS", "ENABLE", "MOVE",
	"CONDSTORE", "ESEARCH", "LIST-EXTENDED", "LIST-STATUS", "LITERAL-", "SPECIAL-USE", "APPENDLIMIT=35651584"}

// NewGmail makes s a Gmail account with no message and the labels given.
func NewGmail(s *Script, labels ...string) *Gmail {
	g := &Gmail{script: s}
	s.Caps = slices.Clone(gmailCaps)
	s.Boxes = nil
	box := func(name string, attrs ...string) {
		s.created++
		s.Boxes = append(s.Boxes, &ScriptBox{Name: name, Attrs: attrs, Validity: 600 + s.created, UIDNext: 1, ModSeq: 1})
	}
	box("INBOX", `\HasNoChildren`)
	box("[Gmail]", `\Noselect`, `\HasChildren`)
	box(gmailAll, `\All`, `\HasNoChildren`)
	box("[Gmail]/Drafts", `\Drafts`, `\HasNoChildren`)
	box("[Gmail]/Important", `\Important`, `\HasNoChildren`)
	box("[Gmail]/Sent Mail", `\Sent`, `\HasNoChildren`)
	box(gmailSpam, `\Junk`, `\HasNoChildren`)
	box(gmailStarred, `\Flagged`, `\HasNoChildren`)
	box(gmailTrash, `\Trash`, `\HasNoChildren`)
	for _, name := range labels {
		box(name, `\HasNoChildren`)
	}
	s.OnCommand("APPEND", g.append)
	s.OnCommand("UID COPY", g.copy)
	s.OnCommand("UID MOVE", g.copy)
	s.OnCommand("UID EXPUNGE", g.expunge)
	s.OnCommand("UID STORE", func(c *ScriptConn, cmd *ScriptCommand) bool {
		c.Default(cmd)
		g.settle(c.Box)
		return true
	})
	s.OnItem(g.item)
	return g
}

// Put adds a message under labels, named as their mailboxes are; without any it is in
// \All only.
func (g *Gmail) Put(raw, date string, flags []string, labels ...string) {
	m := g.mail([]byte(raw), date)
	m.flags = flags
	for _, name := range labels {
		g.view(g.script.Box(name), m)
	}
	g.view(g.script.Box(gmailAll), m)
	g.settle(nil)
}

// Label gives the messages whose content holds text a label, or takes one away.
func (g *Gmail) Label(text, label string, on bool) {
	b := g.script.Box(label)
	for _, m := range g.mails {
		if !bytes.Contains(m.raw, []byte(text)) {
			continue
		}
		if on {
			g.view(b, m)
		} else {
			b.expunge(func(v *ScriptMessage) bool { return v.mail == m })
		}
	}
	g.settle(nil)
}

// Delete removes the messages whose content holds text for good.
func (g *Gmail) Delete(text string) {
	for _, b := range g.script.Boxes {
		b.expunge(func(v *ScriptMessage) bool { return bytes.Contains(v.Raw, []byte(text)) })
	}
	g.settle(nil)
}

// Hide takes a label out of what IMAP shows. Its messages keep it, and X-GM-LABELS tells
// it as before.
func (g *Gmail) Hide(label string) {
	for _, m := range g.mails {
		if g.in(m, g.script.Box(label)) {
			m.hidden = append(m.hidden, label)
		}
	}
	g.script.Boxes = slices.DeleteFunc(g.script.Boxes, func(b *ScriptBox) bool { return b.Name == label })
}

// Labels are the labels of each message, sorted, by content. They do not name \All.
func (g *Gmail) Labels() map[string][]string {
	out := make(map[string][]string)
	for _, m := range g.mails {
		if g.in(m, nil) {
			out[string(m.raw)] = g.labelsOf(m)
		}
	}
	return out
}

// mail is the message of a content.
func (g *Gmail) mail(raw []byte, date string) *gmail {
	for _, m := range g.mails {
		if bytes.Equal(m.raw, raw) && g.in(m, nil) {
			return m
		}
	}
	m := &gmail{id: 1278455344230334865 + uint64(len(g.mails)), raw: raw, date: date}
	g.mails = append(g.mails, m)
	return m
}

// in reports whether a message is in a mailbox; in any, when that is nil.
func (g *Gmail) in(m *gmail, b *ScriptBox) bool {
	for _, o := range g.script.Boxes {
		if (b == nil || o == b) && slices.ContainsFunc(o.Messages, func(v *ScriptMessage) bool { return v.mail == m }) {
			return true
		}
	}
	return false
}

// view puts a message into a mailbox, once, and answers with its UID there.
func (g *Gmail) view(b *ScriptBox, m *gmail) uint32 {
	if i := slices.IndexFunc(b.Messages, func(v *ScriptMessage) bool { return v.mail == m }); i >= 0 {
		return b.Messages[i].UID
	}
	return b.add(&ScriptMessage{Raw: m.raw, Date: m.date, Flags: slices.Clone(m.flags), mail: m}).UID
}

// labelsOf are the labels of a message as X-GM-LABELS has them.
func (g *Gmail) labelsOf(m *gmail) []string {
	names := map[string]string{"INBOX": `\Inbox`, "[Gmail]/Drafts": `\Draft`, "[Gmail]/Important": `\Important`,
		"[Gmail]/Sent Mail": `\Sent`, gmailSpam: `\Spam`, gmailStarred: `\Starred`, gmailTrash: `\Trash`}
	out := slices.Clone(m.hidden)
	for _, b := range g.script.Boxes {
		if b.Name == gmailAll || !g.in(m, b) {
			continue
		}
		if name, ok := names[b.Name]; ok {
			out = append(out, name)
		} else {
			out = append(out, b.Name)
		}
	}
	slices.Sort(out)
	return out
}

// settle makes all views agree: after a change of flags in one mailbox, which may be
// nil, those of the message are what they are there.
func (g *Gmail) settle(changed *ScriptBox) {
	trash, spam := g.script.Box(gmailTrash), g.script.Box(gmailSpam)
	for _, m := range g.mails {
		if changed != nil {
			for _, v := range changed.Messages {
				if v.mail == m {
					m.flags = slices.Clone(v.Flags)
				}
			}
		}
		away := g.in(m, trash) || g.in(m, spam)
		if away {
			m.hidden = nil
		}
		if !away && g.in(m, nil) {
			g.view(g.script.Box(gmailAll), m)
		}
		starred := g.script.Box(gmailStarred)
		if has(m.flags, `\Flagged`) && !away && g.in(m, nil) {
			g.view(starred, m)
		}
		for _, b := range g.script.Boxes {
			b.expunge(func(v *ScriptMessage) bool {
				return v.mail == m && (away && b != trash && b != spam || b == starred && !has(m.flags, `\Flagged`))
			})
		}
		labels := g.labelsOf(m)
		for _, b := range g.script.Boxes {
			for _, v := range b.Messages {
				if v.mail == m && (!slices.Equal(v.Flags, m.flags) || !slices.Equal(labels, m.labels)) {
					v.Flags = slices.Clone(m.flags)
					b.ModSeq++
					v.ModSeq = b.ModSeq
				}
			}
		}
		m.labels = labels
	}
}

func has(flags []string, flag string) bool {
	return slices.ContainsFunc(flags, func(f string) bool { return strings.EqualFold(f, flag) })
}

// item answers the items that only Gmail has.
func (g *Gmail) item(c *ScriptConn, m *ScriptMessage, item string) (Att, bool) {
	switch strings.ToUpper(item) {
	case "X-GM-MSGID":
		return Att{"X-GM-MSGID", strconv.FormatUint(m.mail.id, 10)}, true
	case "X-GM-LABELS":
		own := g.labelsOf(m.mail)
		if c.Box.Name != gmailAll {
			own = slices.DeleteFunc(own, func(l string) bool { return l == c.Box.Name || l == `\Inbox` && c.Box.Name == "INBOX" })
		}
		quoted := make([]string, len(own))
		for i, l := range own {
			quoted[i] = Quote(l)
		}
		return Att{"X-GM-LABELS", "(" + strings.Join(quoted, " ") + ")"}, true
	}
	return Att{}, false
}

func (g *Gmail) append(c *ScriptConn, cmd *ScriptCommand) bool {
	b := c.Script.Box(cmd.arg(0))
	added, ok := c.appended(cmd)
	if b == nil || !ok {
		c.Default(cmd)
		return true
	}
	var uids []uint32
	for _, one := range added {
		m := g.mail(one.Raw, one.Date)
		if has(one.Flags, `\Deleted`) {
			b = c.Script.Box(gmailTrash)
		}
		m.flags = one.Flags
		uids = append(uids, g.view(b, m))
	}
	g.settle(nil)
	c.Done("OK [APPENDUID %d %s] (Success)", b.Validity, compact(uids))
	return true
}

// copy is COPY and MOVE.
func (g *Gmail) copy(c *ScriptConn, cmd *ScriptCommand) bool {
	dest := c.Script.Box(cmd.arg(1))
	if c.Box == nil || dest == nil {
		c.Default(cmd)
		return true
	}
	picked, _ := c.Picked(cmd)
	if len(picked) == 0 {
		c.Done("OK nothing to do")
		return true
	}
	var from, to []string
	for _, v := range picked {
		from = append(from, fmt.Sprint(v.UID))
		to = append(to, fmt.Sprint(g.view(dest, v.mail)))
	}
	code := fmt.Sprintf("[COPYUID %d %s %s]", dest.Validity, strings.Join(from, ","), strings.Join(to, ","))
	if cmd.Verb == "UID COPY" || c.Box.Name == gmailAll {
		g.settle(nil)
		c.Done("OK %s (Success)", code)
		return true
	}
	c.Send("OK %s (Success)", code)
	c.sendExpunged(c.Box.expunge(func(v *ScriptMessage) bool { return slices.Contains(picked, v) }))
	g.settle(nil)
	c.Done("OK (Success)")
	return true
}

// expunge takes the label away. In \All it does nothing.
func (g *Gmail) expunge(c *ScriptConn, cmd *ScriptCommand) bool {
	if c.Box != nil && c.Box.Name == gmailAll {
		c.Done("OK (Success)")
		return true
	}
	c.Default(cmd)
	g.settle(nil)
	return true
}
