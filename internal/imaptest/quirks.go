package imaptest

import (
	"slices"
	"strings"
)

// Quirk is one way to be odd: what servers have been seen to do, and what
// hostile ones could. Several can be applied to one Script.
type Quirk struct {
	Name  string
	About string // what the server does, in one sentence
	Apply func(*Script)
}

// Quirks are all of them: about FETCH, about flags, dates and UIDs, about the
// mailbox list and SELECT, about commands that change something, about the
// session.
func Quirks() []Quirk {
	return slices.Concat(fetchQuirks, valueQuirks, mailboxQuirks, changeQuirks, sessionQuirks)
}

// ApplyQuirk makes a function for StartScripted of the quirks with these names;
// an unknown name ends the test.
func ApplyQuirk(tb TB, names ...string) func(*Script) {
	tb.Helper()
	var apply []func(*Script)
	for _, name := range names {
		i := slices.IndexFunc(Quirks(), func(q Quirk) bool { return q.Name == name })
		if i < 0 {
			tb.Fatalf("no quirk %q", name)
		}
		apply = append(apply, Quirks()[i].Apply)
	}
	return func(s *Script) {
		for _, fn := range apply {
			fn(s)
		}
	}
}

// onBody hooks the FETCH responses of the odd message that hold its body.
func onBody(s *Script, fn func(c *ScriptConn, m *ScriptMessage, atts []Att, body int) []Att) {
	s.OnFetch(func(c *ScriptConn, m *ScriptMessage, atts []Att) []Att {
		body := slices.IndexFunc(atts, func(a Att) bool { return a.Name == "BODY[]" })
		if body < 0 || m.UID != OddUID || c.Box.Name != "INBOX" {
			return atts
		}
		return fn(c, m, atts, body)
	})
}

// body replaces the value of BODY[] of the odd message.
func body(value func(m *ScriptMessage) string) func(*Script) {
	return func(s *Script) {
		onBody(s, func(_ *ScriptConn, m *ScriptMessage, atts []Att, i int) []Att {
			atts[i].Value = value(m)
			return atts
		})
	}
}

// value replaces the value of an item of the odd message.
func value(name, with string) func(*Script) {
	return func(s *Script) {
		s.OnFetch(func(c *ScriptConn, m *ScriptMessage, atts []Att) []Att {
			for i := range atts {
				if atts[i].Name == name && m.UID == OddUID && c.Box.Name == "INBOX" {
					atts[i].Value = with
				}
			}
			return atts
		})
	}
}

// seqOf is the sequence number of a message of the selected mailbox.
func seqOf(c *ScriptConn, m *ScriptMessage) int { return slices.Index(c.Box.Messages, m) + 1 }

// cutBody sends half of the odd message's body and ends the connection.
func cutBody(end func(*ScriptConn)) func(*Script) {
	return func(s *Script) {
		onBody(s, func(c *ScriptConn, m *ScriptMessage, atts []Att, i int) []Att {
			lit := Literal(m.Raw)
			c.Raw("* 7 FETCH (UID 7 BODY[] " + lit[:len(lit)-len(m.Raw)/2])
			end(c)
			return nil
		})
	}
}

var fetchQuirks = []Quirk{
	{"fetch-no", "a FETCH of UID 7 sends the other messages and answers NO", func(s *Script) {
		odd := false
		onBody(s, func(*ScriptConn, *ScriptMessage, []Att, int) []Att {
			odd = true
			return nil
		})
		s.OnReply(func(_ *ScriptConn, cmd *ScriptCommand, r string) []string {
			if odd && strings.HasPrefix(r, cmd.Tag+" OK") {
				odd = false
				r = cmd.Tag + " NO [SERVERBUG] some messages could not be read\r\n"
			}
			return []string{r}
		})
	}},
	{"fetch-omits-body", "UID 7 comes without the BODY[] that was asked for", func(s *Script) {
		onBody(s, func(_ *ScriptConn, _ *ScriptMessage, atts []Att, i int) []Att { return slices.Delete(atts, i, i+1) })
	}},
	{"fetch-omits-message", "UID 7 does not come, and the FETCH ends with OK", func(s *Script) {
		onBody(s, func(*ScriptConn, *ScriptMessage, []Att, int) []Att { return nil })
	}},
	{"fetch-nil-body", "the body of UID 7 is NIL", body(func(*ScriptMessage) string { return "NIL" })},
	{"fetch-empty-body", "the body of UID 7 is a literal of no octets", body(func(*ScriptMessage) string { return "{0}\r\n" })},
	{"fetch-quoted-body", "the body of UID 7 is a quoted string", body(func(*ScriptMessage) string { return `"quoted \"body\" \\"` })},
	{"fetch-literal8", "the body of UID 7 is a literal8", body(func(m *ScriptMessage) string { return "~" + Literal(m.Raw) })},
	{"fetch-nonsync-literal", "the body of UID 7 is announced with {n+}", body(func(m *ScriptMessage) string {
		return strings.Replace(Literal(m.Raw), "}", "+}", 1)
	})},
	{"fetch-truncated", "the connection ends in the middle of the body of UID 7", cutBody((*ScriptConn).Close)},
	{"fetch-truncated-reset", "the connection is reset in the middle of the body of UID 7", cutBody((*ScriptConn).Reset)},
	{"fetch-stalls", "nothing more comes in the middle of the body of UID 7", cutBody((*ScriptConn).Hang)},
	{"fetch-long-literal", "the body of UID 7 is longer than announced", body(func(m *ScriptMessage) string { return Literal(m.Raw) + "XXXX" })},
	{"fetch-negative-literal", "the body of UID 7 is a literal of -5 octets", body(func(*ScriptMessage) string { return "{-5}\r\nhello" })},
	{"fetch-huge-literal", "the body of UID 7 is a literal of 9e18 octets", body(func(*ScriptMessage) string { return "{9000000000000000000}\r\nhello" })},
	{"fetch-overflow-literal", "the size of the body of UID 7 does not fit into 64 bits", body(func(*ScriptMessage) string {
		return "{99999999999999999999999}\r\nhello"
	})},
	{"fetch-uid-last", "UID comes after the body, in all messages", func(s *Script) {
		s.OnFetch(func(_ *ScriptConn, _ *ScriptMessage, atts []Att) []Att {
			i := slices.IndexFunc(atts, func(a Att) bool { return a.Name == "UID" })
			if i < 0 {
				return atts
			}
			uid := atts[i]
			return append(slices.Delete(atts, i, i+1), uid)
		})
	}},
	{"fetch-no-uid", "UID 7 comes without its UID", func(s *Script) {
		onBody(s, func(_ *ScriptConn, _ *ScriptMessage, atts []Att, _ int) []Att {
			return slices.DeleteFunc(atts, func(a Att) bool { return a.Name == "UID" })
		})
	}},
	{"fetch-twice", "UID 7 comes twice", func(s *Script) {
		onBody(s, func(c *ScriptConn, m *ScriptMessage, atts []Att, _ int) []Att {
			c.RawFetch(seqOf(c, m), atts)
			return atts
		})
	}},
	{"fetch-split", "the items of UID 7 come in two responses, the body in the second", func(s *Script) {
		onBody(s, func(c *ScriptConn, m *ScriptMessage, atts []Att, i int) []Att {
			c.RawFetch(seqOf(c, m), slices.Delete(slices.Clone(atts), i, i+1))
			return []Att{{"UID", "7"}, atts[i]}
		})
	}},
	{"fetch-other-uid", "a message that was not asked for, UID 99, comes before UID 7", func(s *Script) {
		onBody(s, func(c *ScriptConn, _ *ScriptMessage, atts []Att, _ int) []Att {
			c.RawFetch(99, []Att{{"UID", "99"}, {"BODY[]", Literal([]byte("not yours"))}})
			return atts
		})
	}},
	{"fetch-wrong-uid", "the body of UID 7 comes under the number of UID 6", func(s *Script) {
		onBody(s, func(_ *ScriptConn, _ *ScriptMessage, atts []Att, _ int) []Att {
			for i := range atts {
				if atts[i].Name == "UID" {
					atts[i].Value = "6"
				}
			}
			return atts
		})
	}},
	{"fetch-wrong-section", "UID 7 comes with BODY[HEADER] in place of BODY[]", func(s *Script) {
		onBody(s, func(_ *ScriptConn, m *ScriptMessage, atts []Att, i int) []Att {
			atts[i] = Att{"BODY[HEADER]", Literal(m.header(nil))}
			return atts
		})
	}},
	{"fetch-partial-section", "UID 7 comes as BODY[]<0>", func(s *Script) {
		onBody(s, func(_ *ScriptConn, _ *ScriptMessage, atts []Att, i int) []Att {
			atts[i].Name = "BODY[]<0>"
			return atts
		})
	}},
	{"fetch-extra-items", "items that nobody asked for come along, ahead of the others and behind them", func(s *Script) {
		s.OnFetch(func(_ *ScriptConn, _ *ScriptMessage, atts []Att) []Att {
			out := []Att{{"X-GM-MSGID", "1278455344230334865"}, {"EMAILID", "(M6d99ac3275bb4e)"}}
			return append(append(out, atts...), Att{"X-GM-LABELS", `(\Inbox "a b" {3}` + "\r\n" + `c"d)`})
		})
	}},
	{"fetch-unsolicited-flags", "flags of UID 7 come without its UID ahead of the message", func(s *Script) {
		onBody(s, func(c *ScriptConn, m *ScriptMessage, atts []Att, _ int) []Att {
			c.RawFetch(seqOf(c, m), []Att{{"FLAGS", `(\Seen)`}})
			return atts
		})
	}},
	{"fetch-expunge-between", "EXISTS, RECENT and an EXPUNGE come between the messages", func(s *Script) {
		onBody(s, func(c *ScriptConn, m *ScriptMessage, atts []Att, _ int) []Att {
			c.Send("11 EXISTS")
			c.Send("1 RECENT")
			c.Send("11 EXPUNGE")
			return atts
		})
	}},
	{"fetch-empty", "a FETCH answers OK and nothing else", func(s *Script) {
		s.OnFetch(func(*ScriptConn, *ScriptMessage, []Att) []Att { return nil })
	}},
	{"fetch-unsorted", "messages come in descending order", func(s *Script) {
		s.OnCommand("UID FETCH", func(c *ScriptConn, cmd *ScriptCommand) bool {
			at := len(c.steps)
			c.Default(cmd)
			slices.Reverse(c.steps[at : len(c.steps)-1])
			return true
		})
	}},
	{"fetch-lower-case", "names of items and responses are in lower case", func(s *Script) {
		s.OnFetch(func(_ *ScriptConn, _ *ScriptMessage, atts []Att) []Att {
			for i := range atts {
				atts[i].Name = strings.ToLower(atts[i].Name)
			}
			return atts
		})
	}},
	{"bye-between-messages", "BYE and the end of the connection come ahead of UID 7", func(s *Script) {
		onBody(s, func(c *ScriptConn, _ *ScriptMessage, _ []Att, _ int) []Att {
			c.Send("BYE [UNAVAILABLE] going down for maintenance")
			c.Close()
			return nil
		})
	}},
	{"bye-without-close", "BYE comes ahead of UID 7, and then silence", func(s *Script) {
		onBody(s, func(c *ScriptConn, _ *ScriptMessage, _ []Att, _ int) []Att {
			c.Send("BYE going")
			c.Hang()
			return nil
		})
	}},
}

var valueQuirks = []Quirk{
	{"size-too-small", "RFC822.SIZE of UID 7 is smaller than the body", value("RFC822.SIZE", "3")},
	{"size-too-large", "RFC822.SIZE of UID 7 is larger than the body", value("RFC822.SIZE", "4294967295")},
	{"size-negative", "RFC822.SIZE of UID 7 is negative", value("RFC822.SIZE", "-1")},
	{"date-nil", "INTERNALDATE of UID 7 is NIL", value("INTERNALDATE", "NIL")},
	{"date-empty", "INTERNALDATE of UID 7 is empty", value("INTERNALDATE", `""`)},
	{"date-feb-31", "INTERNALDATE of UID 7 is the 31st of February", value("INTERNALDATE", `"31-Feb-2020 00:00:00 +0000"`)},
	{"date-iso", "INTERNALDATE of UID 7 is in ISO 8601", value("INTERNALDATE", `"2020-01-01T00:00:00Z"`)},
	{"date-no-zone", "INTERNALDATE of UID 7 has no zone", value("INTERNALDATE", `"01-Jan-2020 00:00:00"`)},
	{"date-year-0", "INTERNALDATE of UID 7 is all zeros", value("INTERNALDATE", `"00-Jan-0000 00:00:00 +0000"`)},
	{"flags-gmail", "UID 7 has a keyword with brackets and one that begins with one", value("FLAGS", `(\Seen [Gmail] OIB-Seen-[Gmail]/Trash)`)},
	{"flags-backslash", "UID 7 has a flag that is a backslash", value("FLAGS", `(\ \Seen)`)},
	{"flags-quoted", "UID 7 has a flag in quotes", value("FLAGS", `("quoted" \Seen)`)},
	{"flags-percent", "UID 7 has a flag with a percent sign", value("FLAGS", `(100% \Seen)`)},
	{"flags-8bit", "UID 7 has a flag in UTF-8", value("FLAGS", `(É \Seen)`)},
	{"flags-nil", "the flags of UID 7 are NIL", value("FLAGS", "NIL")},
	{"flags-trailing-blank", "there is a blank at the end of the flags of UID 7", value("FLAGS", `(\Seen )`)},
	{"flags-in-select", "FLAGS and PERMANENTFLAGS of SELECT hold names with brackets", func(s *Script) {
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			if strings.HasPrefix(r, "* FLAGS (") || strings.HasPrefix(r, "* OK [PERMANENTFLAGS (") {
				r = strings.Replace(r, "(", "([Gmail] OIB-Seen-[Gmail]/All ", 1)
			}
			return []string{r}
		})
	}},
	{"uid-zero", "UID 7 comes as UID 0", value("UID", "0")},
	{"uid-overflow", "UID 7 comes as a number that does not fit into 32 bits", value("UID", "4294967303")},
	{"uid-duplicate", "UID 7 comes as UID 6", value("UID", "6")},
	{"modseq-zero", "MODSEQ of UID 7 is 0", value("MODSEQ", "(0)")},
	{"same-uid-other-message", "UID 7 is another message than it was, under the same UIDVALIDITY", func(s *Script) {
		selects := 0
		s.OnCommand("", func(c *ScriptConn, cmd *ScriptCommand) bool {
			if cmd.Verb == "SELECT" || cmd.Verb == "EXAMINE" {
				if selects++; selects == 2 {
					for _, m := range c.Script.Box("INBOX").Messages {
						if m.UID == OddUID {
							m.Raw = []byte("Subject: other\r\nMessage-ID: <other@script.example>\r\n\r\nAnother message.\r\n")
						}
					}
				}
			}
			return false
		})
	}},
}
