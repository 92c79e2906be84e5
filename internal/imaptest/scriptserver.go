package imaptest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// dispatch runs the hooks, then the default behaviour.
func (c *ScriptConn) dispatch(cmd *ScriptCommand) {
	for _, hook := range slices.Backward(c.Script.commands) {
		if hook(c, cmd) {
			return
		}
	}
	c.Default(cmd)
}

// Default does what a well-behaved server does for a command.
func (c *ScriptConn) Default(cmd *ScriptCommand) {
	if handler := anyState[cmd.Verb]; handler != nil {
		handler(c, cmd)
		return
	}
	handler := selectedState[cmd.Verb]
	switch {
	case handler == nil:
		c.Done("BAD unknown command")
	case c.Box == nil:
		c.Done("BAD no mailbox is selected")
	case len(cmd.Args) == 0:
		c.Done("BAD arguments are missing")
	default:
		handler(c, cmd)
	}
}

var anyState = map[string]func(*ScriptConn, *ScriptCommand){
	"CAPABILITY": func(c *ScriptConn, _ *ScriptCommand) {
		c.Send("CAPABILITY %s", strings.Join(c.Script.Caps, " "))
		c.Done("OK done")
	},
	"NOOP": func(c *ScriptConn, _ *ScriptCommand) { c.Done("OK done") },
	"LOGIN": func(c *ScriptConn, _ *ScriptCommand) {
		c.Done("OK [CAPABILITY %s] logged in", strings.Join(c.Script.Caps, " "))
	},
	"AUTHENTICATE": (*ScriptConn).authenticate,
	"LOGOUT": func(c *ScriptConn, _ *ScriptCommand) {
		c.Send("BYE bye")
		c.Done("OK done")
		c.Close()
	},
	"ID": func(c *ScriptConn, _ *ScriptCommand) {
		c.Send(`ID ("name" "scripted" "version" "1")`)
		c.Done("OK done")
	},
	"ENABLE": func(c *ScriptConn, cmd *ScriptCommand) {
		for _, t := range cmd.Args {
			c.QResync = c.QResync || strings.EqualFold(t.Text, "QRESYNC")
		}
		c.Send("ENABLED %s", strings.ToUpper(strings.Join(texts(cmd.Args), " ")))
		c.Done("OK done")
	},
	"NAMESPACE": func(c *ScriptConn, _ *ScriptCommand) {
		c.Send(`NAMESPACE (("" "/")) NIL NIL`)
		c.Done("OK done")
	},
	"LIST":        (*ScriptConn).list,
	"STATUS":      (*ScriptConn).status,
	"SELECT":      (*ScriptConn).open,
	"EXAMINE":     (*ScriptConn).open,
	"UNSELECT":    (*ScriptConn).unselect,
	"CLOSE":       (*ScriptConn).unselect,
	"CREATE":      (*ScriptConn).create,
	"DELETE":      (*ScriptConn).delete,
	"RENAME":      (*ScriptConn).rename,
	"SUBSCRIBE":   func(c *ScriptConn, _ *ScriptCommand) { c.Done("OK done") },
	"UNSUBSCRIBE": func(c *ScriptConn, _ *ScriptCommand) { c.Done("OK done") },
	"APPEND":      (*ScriptConn).appendMessages,
}

// authenticate takes any credentials; without an initial response it asks for
// one.
func (c *ScriptConn) authenticate(cmd *ScriptCommand) {
	if len(cmd.Args) < 2 {
		// The exchange is the one place where a command is read within a command.
		c.server.mu.Unlock()
		_, err := c.net.Write([]byte("+ \r\n"))
		if err == nil {
			_, err = c.r.ReadString('\n')
		}
		c.server.mu.Lock()
		if err != nil {
			c.Close()
			return
		}
	}
	c.Done("OK [CAPABILITY %s] logged in", strings.Join(c.Script.Caps, " "))
}

// arg is the nth argument.
func (cmd *ScriptCommand) arg(n int) string {
	if n < len(cmd.Args) {
		return cmd.Args[n].Text
	}
	return ""
}

// list lists all mailboxes, whatever the pattern.
func (c *ScriptConn) list(cmd *ScriptCommand) {
	var items []string
	for i, t := range cmd.Args {
		if strings.EqualFold(t.Text, "STATUS") {
			inside, _ := list(cmd.Args[i+1:])
			items = texts(inside)
		}
	}
	if n := len(cmd.Args); n == 2 && cmd.Args[1].Text == "" {
		c.Send(`LIST (\Noselect) "/" ""`)
		c.Done("OK done")
		return
	}
	for _, b := range c.Script.Boxes {
		c.Send(`LIST (%s) "/" %s`, strings.Join(b.Attrs, " "), Quote(b.Name))
		if items != nil && !slices.Contains(b.Attrs, `\Noselect`) {
			c.Send("STATUS %s (%s)", Quote(b.Name), c.statusItems(b, items))
		}
	}
	c.Done("OK done")
}

func (c *ScriptConn) status(cmd *ScriptCommand) {
	b := c.Script.Box(cmd.arg(0))
	if b == nil || len(cmd.Args) < 2 {
		c.Done("NO [NONEXISTENT] no such mailbox")
		return
	}
	items, _ := list(cmd.Args[1:])
	c.Send("STATUS %s (%s)", Quote(cmd.arg(0)), c.statusItems(b, texts(items)))
	c.Done("OK done")
}

func (c *ScriptConn) statusItems(b *ScriptBox, items []string) string {
	var out []string
	for _, item := range items {
		var n uint64
		switch item = strings.ToUpper(item); item {
		case "MESSAGES":
			n = uint64(len(b.Messages))
		case "UIDNEXT":
			n = uint64(b.UIDNext)
		case "UIDVALIDITY":
			n = uint64(b.Validity)
		case "HIGHESTMODSEQ":
			n = b.ModSeq
		case "UNSEEN":
			for _, m := range b.Messages {
				if !m.has(`\Seen`) {
					n++
				}
			}
		case "SIZE":
			for _, m := range b.Messages {
				n += uint64(len(m.Raw))
			}
		}
		out = append(out, item+" "+strconv.FormatUint(n, 10))
	}
	return strings.Join(out, " ")
}

func (c *ScriptConn) open(cmd *ScriptCommand) {
	b := c.Script.Box(cmd.arg(0))
	if c.Box != nil && c.QResync {
		c.Send("OK [CLOSED] previous mailbox closed")
	}
	c.Box = nil
	if b == nil {
		c.Done("NO [NONEXISTENT] no such mailbox")
		return
	}
	c.Box, c.ReadOnly = b, cmd.Verb == "EXAMINE" || b.ReadOnly
	c.Selects++
	c.Send(`FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`)
	permanent := `\Answered \Flagged \Deleted \Seen \Draft \*`
	if c.ReadOnly {
		permanent = ""
	}
	c.Send("OK [PERMANENTFLAGS (%s)] permanent", permanent)
	c.Send("%d EXISTS", len(b.Messages))
	c.Send("0 RECENT")
	c.Send("OK [UIDVALIDITY %d] valid", b.Validity)
	c.Send("OK [UIDNEXT %d] next", b.UIDNext)
	if c.Script.Has("CONDSTORE") {
		c.Send("OK [HIGHESTMODSEQ %d] highest", b.ModSeq)
	}
	code := "READ-WRITE"
	if c.ReadOnly {
		code = "READ-ONLY"
	}
	c.Done("OK [%s] done", code)
}

func (c *ScriptConn) unselect(cmd *ScriptCommand) {
	if c.Box == nil {
		c.Done("BAD no mailbox is selected")
		return
	}
	if cmd.Verb == "CLOSE" && !c.ReadOnly {
		c.Box.expunge(func(m *ScriptMessage) bool { return m.has(`\Deleted`) })
	}
	c.Box = nil
	c.Done("OK done")
}

func (c *ScriptConn) create(cmd *ScriptCommand) {
	name := strings.TrimSuffix(cmd.arg(0), "/")
	if name == "" || c.Script.Box(name) != nil {
		c.Done("NO [ALREADYEXISTS] exists")
		return
	}
	c.Script.created++
	c.Script.Boxes = append(c.Script.Boxes, &ScriptBox{
		Name: name, Attrs: []string{`\HasNoChildren`}, Validity: 2000 + c.Script.created, UIDNext: 1, ModSeq: 1,
	})
	c.Done("OK done")
}

func (c *ScriptConn) delete(cmd *ScriptCommand) {
	b := c.Script.Box(cmd.arg(0))
	if b == nil || b.Name == "INBOX" {
		c.Done("NO [NONEXISTENT] cannot be deleted")
		return
	}
	c.Script.Boxes = slices.DeleteFunc(c.Script.Boxes, func(o *ScriptBox) bool { return o == b })
	c.Done("OK done")
}

func (c *ScriptConn) rename(cmd *ScriptCommand) {
	from, to := cmd.arg(0), cmd.arg(1)
	if c.Script.Box(from) == nil || to == "" || c.Script.Box(to) != nil {
		c.Done("NO cannot be renamed")
		return
	}
	for _, b := range c.Script.Boxes {
		if rest, ok := strings.CutPrefix(b.Name, from); ok && (rest == "" || rest[0] == '/') {
			b.Name = to + rest
		}
	}
	c.Done("OK done")
}

// appendMessages is APPEND and MULTIAPPEND.
func (c *ScriptConn) appendMessages(cmd *ScriptCommand) {
	b := c.Script.Box(cmd.arg(0))
	if b == nil {
		c.Done("NO [TRYCREATE] no such mailbox")
		return
	}
	added, ok := c.appended(cmd)
	if !ok {
		c.Done("BAD a message is missing")
		return
	}
	var uids []uint32
	for _, m := range added {
		uids = append(uids, b.add(m).UID)
	}
	if !c.Script.Has("UIDPLUS") {
		c.Done("OK done")
		return
	}
	c.Done("OK [APPENDUID %d %s] done", b.Validity, compact(uids))
}

// appended are the messages of an APPEND; false when one is missing.
func (c *ScriptConn) appended(cmd *ScriptCommand) (added []*ScriptMessage, ok bool) {
	if len(cmd.Args) == 0 {
		return nil, false
	}
	for rest := cmd.Args[1:]; len(rest) > 0; {
		m := &ScriptMessage{Date: "01-Jan-2025 00:00:00 +0000"}
		if rest[0].Kind == '(' {
			var flags []Token
			flags, rest = list(rest)
			m.Flags = texts(flags)
		}
		if len(rest) > 1 && rest[0].Kind == 's' && rest[1].Kind == 's' {
			m.Date, rest = rest[0].Text, rest[1:]
		}
		if len(rest) == 0 || rest[0].Kind != 's' {
			return nil, false
		}
		m.Raw, rest = []byte(rest[0].Text), rest[1:]
		added = append(added, m)
	}
	return added, true
}

func (m *ScriptMessage) has(flag string) bool {
	return has(m.Flags, flag)
}

// expunge removes messages and answers with them and the sequence numbers that
// EXPUNGE responses give them.
func (b *ScriptBox) expunge(which func(*ScriptMessage) bool) (gone []*ScriptMessage, seqs []int) {
	kept := b.Messages[:0:0]
	for _, m := range b.Messages {
		if !which(m) {
			kept = append(kept, m)
			continue
		}
		b.ModSeq++
		b.vanished = append(b.vanished, vanished{m.UID, b.ModSeq})
		gone, seqs = append(gone, m), append(seqs, len(kept)+1)
	}
	b.Messages = kept
	return gone, seqs
}

// String is for the messages of tests.
func (b *ScriptBox) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s:", b.Name)
	for _, m := range b.Messages {
		fmt.Fprintf(&out, " %d%v", m.UID, m.Flags)
	}
	return out.String()
}
