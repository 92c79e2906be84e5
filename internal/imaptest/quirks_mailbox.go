package imaptest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rewrite replaces what matches a pattern in all responses.
func rewrite(pattern, with string) func(*Script) {
	re := regexp.MustCompile(pattern)
	return func(s *Script) {
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			return []string{re.ReplaceAllString(r, with)}
		})
	}
}

// drop leaves out the responses that match a pattern.
func drop(pattern string) func(*Script) {
	re := regexp.MustCompile(pattern)
	return func(s *Script) {
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			if re.MatchString(r) {
				return nil
			}
			return []string{r}
		})
	}
}

// listed sends lines with each LIST, ahead of the true ones.
func listed(lines ...string) func(*Script) {
	return func(s *Script) {
		s.OnCommand("LIST", func(c *ScriptConn, _ *ScriptCommand) bool {
			for _, l := range lines {
				c.Raw("* LIST " + l + "\r\n")
			}
			return false
		})
	}
}

// selecting calls fn ahead of each SELECT and EXAMINE of INBOX.
func selecting(fn func(c *ScriptConn, b *ScriptBox)) func(*Script) {
	return func(s *Script) {
		s.OnCommand("", func(c *ScriptConn, cmd *ScriptCommand) bool {
			if (cmd.Verb == "SELECT" || cmd.Verb == "EXAMINE") && strings.EqualFold(cmd.arg(0), "INBOX") {
				fn(c, c.Script.Box("INBOX"))
			}
			return false
		})
	}
}

// bad refuses commands of a verb whose line holds a text, as a server does that
// advertises what it cannot do.
func bad(verb, containing string) func(*Script) {
	return func(s *Script) {
		s.OnCommand(verb, func(c *ScriptConn, cmd *ScriptCommand) bool {
			if !strings.Contains(strings.ToUpper(cmd.Line), containing) {
				return false
			}
			c.Done("BAD unknown command or argument")
			return true
		})
	}
}

var mailboxQuirks = []Quirk{
	{"search-empty", "SEARCH and ESEARCH find nothing, though there are messages", func(s *Script) {
		s.OnCommand("UID SEARCH", func(c *ScriptConn, cmd *ScriptCommand) bool {
			if strings.EqualFold(cmd.arg(0), "RETURN") {
				c.Send(`ESEARCH (TAG "%s") UID`, cmd.Tag)
			} else {
				c.Send("SEARCH")
			}
			c.Done("OK done")
			return true
		})
	}},
	{"search-no-line", "SEARCH answers OK without a SEARCH or ESEARCH line", drop(`^\* E?SEARCH.*`)},
	{"search-misses", "SEARCH leaves UID 7 out", func(s *Script) {
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			if strings.HasPrefix(r, "* ESEARCH") {
				r = strings.Replace(r, "ALL 1:10", "ALL 1:6,8:10", 1)
			} else if strings.HasPrefix(r, "* SEARCH") {
				r = strings.Replace(r, " 7", "", 1)
			}
			return []string{r}
		})
	}},
	{"search-huge-range", "ESEARCH finds a range of four thousand million UIDs", rewrite(`(\* ESEARCH .* ALL )\S+`, "${1}1:4294967295")},
	{"search-split", "SEARCH results come in two lines", func(s *Script) {
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			if first, rest, ok := strings.Cut(r, " 5"); ok && strings.HasPrefix(r, "* SEARCH") {
				return []string{first + "\r\n", "* SEARCH 5" + rest}
			}
			return []string{r}
		})
	}},
	{"esearch-bad", "ESEARCH is advertised, and refused with BAD", bad("UID SEARCH", "RETURN")},
	{"list-status-bad", "LIST-STATUS is advertised, and refused with BAD", bad("LIST", "STATUS")},
	{"condstore-bad", "CONDSTORE is advertised, and refused with BAD", func(s *Script) {
		for _, verb := range []string{"SELECT", "EXAMINE", "ENABLE"} {
			bad(verb, "CONDSTORE")(s)
		}
		bad("UID FETCH", "CHANGEDSINCE")(s)
		bad("UID FETCH", "MODSEQ")(s)
	}},
	{"qresync-bad", "QRESYNC is advertised, and ENABLE refuses it", bad("ENABLE", "QRESYNC")},
	{"status-lies", "STATUS shows one message and one UID less than there are", func(s *Script) {
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			if strings.HasPrefix(r, `* STATUS "INBOX"`) {
				r = strings.NewReplacer("MESSAGES 10", "MESSAGES 9", "UIDNEXT 11", "UIDNEXT 10").Replace(r)
			}
			return []string{r}
		})
	}},
	{"status-missing", "LIST RETURN (STATUS) sends no STATUS for INBOX", drop(`^\* STATUS "INBOX".*`)},
	{"status-other-case", "STATUS spells the name of INBOX in lower case", rewrite(`^\* STATUS "INBOX"`, `* STATUS "inbox"`)},
	{"status-unknown-item", "STATUS holds items that nobody asked for", rewrite(`(\* STATUS .*)\)\r\n$`, "${1} X-SIZE (1 2) X-NAME \"a\")\r\n")},
	{"exists-too-many", "SELECT says that INBOX has one message more than it has", rewrite(`^\* 10 EXISTS`, "* 11 EXISTS")},
	{"exists-too-few", "SELECT says that INBOX has one message less than it has", rewrite(`^\* 10 EXISTS`, "* 9 EXISTS")},
	{"uidvalidity-missing", "SELECT and STATUS tell no UIDVALIDITY", func(s *Script) {
		drop(`^\* OK \[UIDVALIDITY.*`)(s)
		rewrite(` UIDVALIDITY \d+|UIDVALIDITY \d+ ?`, "")(s)
	}},
	{"uidvalidity-zero", "UIDVALIDITY is 0", rewrite(`UIDVALIDITY \d+`, "UIDVALIDITY 0")},
	{"uidvalidity-changes", "UIDVALIDITY is new at each SELECT, UIDs stay", selecting(func(c *ScriptConn, b *ScriptBox) { b.Validity++ })},
	{"uidvalidity-once", "UIDVALIDITY and all UIDs change before the second SELECT", func(s *Script) {
		selects := 0
		selecting(func(_ *ScriptConn, b *ScriptBox) {
			if selects++; selects == 2 {
				b.Renumber()
			}
		})(s)
	}},
	{"uidvalidity-status-differs", "STATUS tells another UIDVALIDITY than SELECT", rewrite(`(\* STATUS .*UIDVALIDITY )`, "${1}9")},
	{"uidnext-missing", "SELECT tells no UIDNEXT", drop(`^\* OK \[UIDNEXT.*`)},
	{"uidnext-zero", "UIDNEXT is 0", rewrite(`UIDNEXT \d+`, "UIDNEXT 0")},
	{"uidnext-low", "UIDNEXT is lower than the last UID", rewrite(`UIDNEXT 11`, "UIDNEXT 5")},
	{"modseq-none", "CONDSTORE is advertised, and SELECT says NOMODSEQ", rewrite(`\[HIGHESTMODSEQ \d+\]`, "[NOMODSEQ]")},
	{"modseq-zero-status", "HIGHESTMODSEQ is 0", rewrite(`HIGHESTMODSEQ \d+`, "HIGHESTMODSEQ 0")},
	{"modseq-regresses", "HIGHESTMODSEQ is 1 from the second SELECT on", func(s *Script) {
		selects := 0
		selecting(func(*ScriptConn, *ScriptBox) { selects++ })(s)
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			if selects > 1 {
				r = regexp.MustCompile(`HIGHESTMODSEQ \d+`).ReplaceAllString(r, "HIGHESTMODSEQ 1")
			}
			return []string{r}
		})
	}},
	{"changedsince-misses", "CHANGEDSINCE reports nothing that changed", func(s *Script) {
		s.OnCommand("UID FETCH", func(c *ScriptConn, cmd *ScriptCommand) bool {
			if !strings.Contains(strings.ToUpper(cmd.Line), "CHANGEDSINCE") {
				return false
			}
			c.Done("OK done")
			return true
		})
	}},
	{"codes-lower-case", "response codes are in lower case", func(s *Script) {
		re := regexp.MustCompile(`^\* OK \[[^\]]*\]`)
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			return []string{re.ReplaceAllStringFunc(r, func(m string) string { return "* OK " + strings.ToLower(m[5:]) })}
		})
	}},
	{"select-refused", "INBOX cannot be selected, with [INUSE]", func(s *Script) {
		for _, verb := range []string{"SELECT", "EXAMINE"} {
			s.OnCommand(verb, func(c *ScriptConn, cmd *ScriptCommand) bool {
				if !strings.EqualFold(cmd.arg(0), "INBOX") {
					return false
				}
				c.Done("NO [INUSE] locked by another session")
				return true
			})
		}
	}},
	{"read-only", "INBOX is read-only, and STORE answers OK and does nothing", func(s *Script) { s.Box("INBOX").ReadOnly = true }},
	{"list-misses", "LIST leaves out Archive, which STATUS can open", func(s *Script) {
		drop(`^\* (LIST .*"/"|STATUS) "Archive".*`)(s)
	}},
	{"list-empty", "LIST answers OK and nothing else", func(s *Script) {
		s.OnCommand("LIST", func(c *ScriptConn, _ *ScriptCommand) bool {
			c.Done("OK done")
			return true
		})
	}},
	{"list-bad-names", "LIST holds names that are no modified UTF-7", listed(`() "/" "A&B"`, `() "/" "&AGE-"`, `() "/" "&2D0-"`,
		"() \"/\" \"caf\xe9\"", `() "/" "&AOk-&AOk-"`)},
	{"list-raw-utf8", "LIST holds a name in raw UTF-8", listed(`() "/" "café"`)},
	{"list-traversal", "LIST holds names that lead out of a directory", listed(`() "/" "../../etc/passwd"`, `() "/" "/abs"`,
		`() "/" "a/../../b"`, `() "/" ".."`, `() "/" "cur"`, `() "/" "a//b"`)},
	{"list-controls", "LIST holds names with NUL, LF, ESC and a right-to-left override", listed(`() "/" "a&AAA-b"`, `() "/" "a&AAo-b"`,
		`() "/" "&ABs-[2J"`, `() "/" "&IC4-evil"`)},
	{"list-odd-syntax", "LIST holds a literal, an unquoted name with brackets, a NIL delimiter and an empty name",
		listed("() \"/\" {7}\r\nfoo\"bar", `() "/" [Gmail]/All`, `() NIL flat`, `(\Noselect) "/" ""`)},
	{"list-broken-syntax", "LIST holds names with a blank and with a backslash, unquoted, and a delimiter of two characters",
		listed(`() "/" Sent Items`, `() "\\" foo\bar`, `() "::" "two"`)},
	{"list-duplicate", "LIST holds Archive twice", listed(`(\HasNoChildren) "/" "Archive"`)},
	{"list-ghosts", "LIST holds names that cannot be selected and do not say so", listed(`() "/" "Ghost"`, `(\NonExistent) "/" "Gone"`,
		`(\Noselect) "/" "Parent"`)},
	{"list-case-twins", "LIST holds names that differ in case or in Unicode normalisation only", func(s *Script) {
		for i, name := range []string{"foo", "Foo", "caf&AOk-", "cafe&AwE-"} {
			s.Boxes = append(s.Boxes, &ScriptBox{Name: name, Validity: uint32(3000 + i), UIDNext: 1, ModSeq: 1})
		}
	}},
	{"list-many", "LIST holds 10,000 names that lead deeper and deeper", func(s *Script) {
		lines := make([]string, 10_000)
		for i := range lines {
			lines[i] = fmt.Sprintf(`(\Noselect) "/" "a%s/%d"`, strings.Repeat("/a", i%50), i)
		}
		listed(lines...)(s)
	}},
}

// Renumber gives the mailbox a new UIDVALIDITY and its messages new UIDs.
func (b *ScriptBox) Renumber() {
	b.Validity++
	old := b.Messages
	b.Messages, b.vanished = nil, nil
	for _, m := range old {
		twin := *m
		twin.Flags = slices.Clone(m.Flags)
		b.add(&twin)
	}
}
