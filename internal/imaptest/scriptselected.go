package imaptest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var selectedState = map[string]func(*ScriptConn, *ScriptCommand){
	"FETCH":       (*ScriptConn).fetch,
	"UID FETCH":   (*ScriptConn).fetch,
	"UID STORE":   (*ScriptConn).store,
	"UID SEARCH":  (*ScriptConn).search,
	"UID COPY":    (*ScriptConn).copyOrMove,
	"UID MOVE":    (*ScriptConn).copyOrMove,
	"UID EXPUNGE": (*ScriptConn).uidExpunge,
}

// Picked are the messages of the selected mailbox that the command's set names,
// with the sequence number of each.
func (c *ScriptConn) Picked(cmd *ScriptCommand) (out []*ScriptMessage, seqs []int) {
	set, ok := parseSet(cmd.arg(0))
	if !ok || len(c.Box.Messages) == 0 {
		return nil, nil
	}
	byUID := strings.HasPrefix(cmd.Verb, "UID ")
	last := uint32(len(c.Box.Messages))
	if byUID {
		last = c.Box.Messages[len(c.Box.Messages)-1].UID
	}
	for i, m := range c.Box.Messages {
		n := uint32(i + 1)
		if byUID {
			n = m.UID
		}
		if set.has(n, last) {
			out, seqs = append(out, m), append(seqs, i+1)
		}
	}
	return out, seqs
}

func (c *ScriptConn) fetch(cmd *ScriptCommand) {
	items, rest := list(cmd.Args[1:])
	since, withVanished := modifiers(rest)
	picked, seqs := c.Picked(cmd)
	if withVanished {
		c.sendVanished(cmd, since)
	}
	names := texts(items)
	if strings.HasPrefix(cmd.Verb, "UID ") && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "UID") }) {
		names = append([]string{"UID"}, names...)
	}
	if since > 0 && !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, "MODSEQ") }) {
		names = append(names, "MODSEQ")
	}
	for i, m := range picked {
		if m.ModSeq <= since {
			continue
		}
		var atts []Att
		for _, name := range names {
			att, ok := c.item(m, name)
			if !ok {
				c.Done("BAD unknown item %s", name)
				return
			}
			atts = append(atts, att)
		}
		c.SendFetch(seqs[i], m, atts)
	}
	c.Done("OK done")
}

// item makes one item.
func (c *ScriptConn) item(m *ScriptMessage, name string) (Att, bool) {
	att, ok := m.att(name)
	for i := 0; i < len(c.Script.items) && !ok; i++ {
		att, ok = c.Script.items[i](c, m, name)
	}
	return att, ok
}

// SendFetch sends one FETCH response, through the hooks.
func (c *ScriptConn) SendFetch(seq int, m *ScriptMessage, atts []Att) {
	for _, hook := range c.Script.fetches {
		if atts = hook(c, m, atts); atts == nil {
			return
		}
	}
	c.RawFetch(seq, atts)
}

// RawFetch sends one FETCH response as it is.
func (c *ScriptConn) RawFetch(seq int, atts []Att) {
	parts := make([]string, len(atts))
	for i, a := range atts {
		parts[i] = a.Name + " " + a.Value
	}
	c.Send("%d FETCH (%s)", seq, strings.Join(parts, " "))
}

// modifiers reads (CHANGEDSINCE n VANISHED) of a FETCH.
func modifiers(tokens []Token) (since uint64, vanished bool) {
	inside, _ := list(tokens)
	for i, t := range inside {
		switch strings.ToUpper(t.Text) {
		case "CHANGEDSINCE":
			if i+1 < len(inside) {
				since, _ = strconv.ParseUint(inside[i+1].Text, 10, 64) // 0 lists everything
			}
		case "VANISHED":
			vanished = true
		}
	}
	return since, vanished
}

func (c *ScriptConn) sendVanished(cmd *ScriptCommand, since uint64) {
	set, _ := parseSet(cmd.arg(0))
	var uids []uint32
	for _, v := range c.Box.vanished {
		if v.modSeq > since && set.has(v.uid, c.Box.UIDNext) {
			uids = append(uids, v.uid)
		}
	}
	if slices.Sort(uids); len(uids) > 0 {
		c.Send("VANISHED (EARLIER) %s", compact(uids))
	}
}

// Literal is data as a literal.
func Literal(data []byte) string { return fmt.Sprintf("{%d}\r\n%s", len(data), data) }

// att makes one item.
func (m *ScriptMessage) att(item string) (Att, bool) {
	upper := strings.ToUpper(item)
	name := strings.Replace(upper, "BODY.PEEK[", "BODY[", 1)
	switch {
	case upper == "UID":
		return Att{name, strconv.FormatUint(uint64(m.UID), 10)}, true
	case upper == "FLAGS":
		return Att{name, "(" + strings.Join(m.Flags, " ") + ")"}, true
	case upper == "INTERNALDATE":
		return Att{name, Quote(m.Date)}, true
	case upper == "RFC822.SIZE":
		return Att{name, strconv.Itoa(len(m.Raw))}, true
	case upper == "MODSEQ":
		return Att{name, "(" + strconv.FormatUint(m.ModSeq, 10) + ")"}, true
	case name == "BODY[]":
		return Att{name, Literal(m.Raw)}, true
	case name == "BODY[HEADER]":
		return Att{name, Literal(m.header(nil))}, true
	case strings.HasPrefix(name, "BODY[HEADER.FIELDS (") && strings.HasSuffix(name, ")]"):
		fields := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(name, "BODY[HEADER.FIELDS ("), ")]"))
		return Att{name, Literal(m.header(fields))}, true
	}
	return Att{}, false
}

// header is the header with its empty line, or only some fields of it.
func (m *ScriptMessage) header(fields []string) []byte {
	var out []byte
	take := false
	for line := range bytes.Lines(m.Raw) {
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, _ := strings.Cut(string(line), ":")
			take = fields == nil || slices.Contains(fields, strings.ToUpper(strings.TrimSpace(name)))
		}
		if take {
			out = append(out, line...)
		}
	}
	return append(out, "\r\n"...)
}

// store is UID STORE with +FLAGS, -FLAGS and FLAGS, .SILENT and UNCHANGEDSINCE.
func (c *ScriptConn) store(cmd *ScriptCommand) {
	if c.ReadOnly {
		c.Done("OK ignored: the mailbox is read-only")
		return
	}
	rest := cmd.Args[1:]
	unchanged, conditional := uint64(0), false
	if len(rest) > 0 && rest[0].Kind == '(' {
		var inside []Token
		inside, rest = list(rest)
		if len(inside) == 2 {
			n, err := strconv.ParseUint(inside[1].Text, 10, 64)
			unchanged, conditional = n, err == nil
		}
	}
	if len(rest) < 2 {
		c.Done("BAD flags are missing")
		return
	}
	item := strings.ToUpper(rest[0].Text)
	flags, _ := list(rest[1:])
	picked, seqs := c.Picked(cmd)
	var modified []uint32
	for i, m := range picked {
		if conditional && m.ModSeq > unchanged {
			modified = append(modified, m.UID)
			continue
		}
		m.change(item, texts(flags))
		c.Box.ModSeq++
		m.ModSeq = c.Box.ModSeq
		atts := []Att{{"UID", strconv.Itoa(int(m.UID))}}
		if !strings.HasSuffix(item, ".SILENT") {
			flags, _ := m.att("FLAGS")
			atts = append(atts, flags)
		} else if !conditional {
			continue
		}
		if c.Script.Has("CONDSTORE") {
			modSeq, _ := m.att("MODSEQ")
			atts = append(atts, modSeq)
		}
		c.SendFetch(seqs[i], m, atts)
	}
	if len(modified) > 0 {
		c.Done("OK [MODIFIED %s] some had changed", compact(modified))
		return
	}
	c.Done("OK done")
}

func (m *ScriptMessage) change(item string, flags []string) {
	if !strings.HasPrefix(item, "+") && !strings.HasPrefix(item, "-") {
		m.Flags = slices.Clone(flags)
		return
	}
	for _, f := range flags {
		m.Flags = remove(m.Flags, f)
		if item[0] == '+' {
			m.Flags = append(m.Flags, f)
		}
	}
}

func (c *ScriptConn) search(cmd *ScriptCommand) {
	args := cmd.Args
	var results []string
	extended := len(args) > 0 && strings.EqualFold(args[0].Text, "RETURN")
	if extended {
		var inside []Token
		inside, args = list(args[1:])
		results = texts(inside)
	}
	var found []uint32
	for i, m := range c.Box.Messages {
		match, ok := c.matches(m, i+1, args)
		if !ok {
			c.Done("BAD unknown search key")
			return
		}
		if match {
			found = append(found, m.UID)
		}
	}
	if !extended {
		line := "SEARCH"
		for _, uid := range found {
			line += " " + strconv.FormatUint(uint64(uid), 10)
		}
		c.Send("%s", line)
	} else {
		c.Send(`ESEARCH (TAG "%s") UID%s`, cmd.Tag, esearch(results, found))
	}
	c.Done("OK done")
}

func esearch(results []string, found []uint32) (out string) {
	if len(results) == 0 {
		results = []string{"ALL"}
	}
	for _, r := range results {
		switch r = strings.ToUpper(r); {
		case r == "COUNT":
			out += " COUNT " + strconv.Itoa(len(found))
		case len(found) == 0:
		case r == "ALL":
			out += " ALL " + compact(found)
		case r == "MIN":
			out += " MIN " + strconv.FormatUint(uint64(found[0]), 10)
		case r == "MAX":
			out += " MAX " + strconv.FormatUint(uint64(found[len(found)-1]), 10)
		}
	}
	return out
}

// matches evaluates the search keys that clients of one-shot tools use.
func (c *ScriptConn) matches(m *ScriptMessage, seq int, args []Token) (match, ok bool) {
	match = true
	last := c.Box.Messages[len(c.Box.Messages)-1].UID
	for i := 0; i < len(args); i++ {
		next := func() string {
			if i++; i < len(args) {
				return args[i].Text
			}
			return ""
		}
		switch key := strings.ToUpper(args[i].Text); key {
		case "ALL":
		case "SEEN", "ANSWERED", "FLAGGED", "DELETED", "DRAFT":
			match = match && m.has(`\`+key)
		case "UNSEEN", "UNANSWERED", "UNFLAGGED", "UNDELETED", "UNDRAFT":
			match = match && !m.has(`\`+key[2:])
		case "KEYWORD":
			match = match && m.has(next())
		case "UNKEYWORD":
			match = match && !m.has(next())
		case "UID":
			set, valid := parseSet(next())
			if !valid {
				return false, false
			}
			match = match && set.has(m.UID, last)
		case "HEADER":
			name, value := strings.ToUpper(next()), strings.ToLower(next())
			match = match && strings.Contains(strings.ToLower(string(m.header([]string{name}))), value)
		default:
			set, valid := parseSet(key)
			if !valid {
				return false, false
			}
			match = match && set.has(uint32(seq), uint32(len(c.Box.Messages)))
		}
	}
	return match, true
}

func (c *ScriptConn) copyOrMove(cmd *ScriptCommand) {
	dest := c.Script.Box(cmd.arg(1))
	if dest == nil {
		c.Done("NO [TRYCREATE] no such mailbox")
		return
	}
	picked, _ := c.Picked(cmd)
	if len(picked) == 0 {
		c.Done("OK no messages found")
		return
	}
	var from, to []uint32
	for _, m := range picked {
		twin := *m
		twin.Flags = slices.Clone(m.Flags)
		from, to = append(from, m.UID), append(to, dest.add(&twin).UID)
	}
	code := fmt.Sprintf("[COPYUID %d %s %s]", dest.Validity, compact(from), compact(to))
	if cmd.Verb == "UID COPY" {
		c.Done("OK %s done", code)
		return
	}
	c.Send("OK %s moved", code)
	c.sendExpunged(c.Box.expunge(func(m *ScriptMessage) bool { return slices.Contains(picked, m) }))
	c.Done("OK done")
}

func (c *ScriptConn) uidExpunge(cmd *ScriptCommand) {
	if c.ReadOnly {
		c.Done("NO the mailbox is read-only")
		return
	}
	picked, _ := c.Picked(cmd)
	c.sendExpunged(c.Box.expunge(func(m *ScriptMessage) bool {
		return m.has(`\Deleted`) && slices.Contains(picked, m)
	}))
	c.Done("OK done")
}

func (c *ScriptConn) sendExpunged(gone []*ScriptMessage, seqs []int) {
	if !c.QResync {
		for _, seq := range seqs {
			c.Send("%d EXPUNGE", seq)
		}
		return
	}
	var uids []uint32
	for _, m := range gone {
		uids = append(uids, m.UID)
	}
	if len(uids) > 0 {
		c.Send("VANISHED %s", compact(uids))
	}
}
