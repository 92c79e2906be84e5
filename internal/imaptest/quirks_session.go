package imaptest

import (
	"regexp"
	"slices"
	"strings"
)

// ignored answers OK to a verb and does nothing.
func ignored(verb, reply string) func(*Script) {
	return func(s *Script) {
		s.OnCommand(verb, func(c *ScriptConn, _ *ScriptCommand) bool {
			c.Done("%s", reply)
			return true
		})
	}
}

// without takes capabilities away and refuses what they stand for.
func without(verbs []string, caps ...string) func(*Script) {
	return func(s *Script) {
		s.Without(caps...)
		for _, verb := range verbs {
			bad(verb, "")(s)
		}
	}
}

// afterwards does something to the connection when a command of that verb has
// been done, in place of the tagged reply.
func afterwards(verb string, end func(*ScriptConn)) func(*Script) {
	return func(s *Script) {
		s.OnCommand(verb, func(c *ScriptConn, cmd *ScriptCommand) bool {
			c.Default(cmd)
			c.steps = c.steps[:len(c.steps)-1]
			end(c)
			return true
		})
	}
}

var changeQuirks = []Quirk{
	{"store-ignored", "STORE answers OK and does nothing", ignored("UID STORE", "OK done")},
	{"store-drops-keywords", "STORE answers OK and keeps system flags only", func(s *Script) {
		s.OnCommand("UID STORE", func(c *ScriptConn, cmd *ScriptCommand) bool {
			cmd.Args = slices.DeleteFunc(cmd.Args, func(t Token) bool {
				return t.Kind == 'a' && strings.HasPrefix(t.Text, "$")
			})
			return false
		})
	}},
	{"store-no", "STORE answers NO", ignored("UID STORE", "NO [NOPERM] not yours")},
	{"expunge-ignored", "UID EXPUNGE answers OK and does nothing", ignored("UID EXPUNGE", "OK done")},
	{"move-ignored", "MOVE answers OK and does nothing", ignored("UID MOVE", "OK No messages found.")},
	{"move-quota", "MOVE and COPY answer NO [OVERQUOTA]", func(s *Script) {
		ignored("UID MOVE", "NO [OVERQUOTA] full")(s)
		ignored("UID COPY", "NO [OVERQUOTA] full")(s)
	}},
	{"move-no-copyuid", "MOVE and COPY tell no COPYUID", rewrite(`\[COPYUID [^\]]*\] `, "")},
	{"copyuid-zero", "COPYUID holds zeros", rewrite(`\[COPYUID (\d+) [^\]]*\]`, "[COPYUID $1 0 0]")},
	{"copyuid-short", "COPYUID has fewer destinations than sources", rewrite(`\[COPYUID (\d+) \S+ (\d+)[^\]]*\]`, "[COPYUID $1 7:8 $2]")},
	{"copyuid-dynamic", "COPYUID holds 1:*", rewrite(`\[COPYUID (\d+) [^\]]*\]`, "[COPYUID $1 1:* 1:*]")},
	{"create-ignored", "CREATE answers OK and makes nothing", ignored("CREATE", "OK done")},
	{"create-refused", "CREATE answers NO [CANNOT]", ignored("CREATE", "NO [CANNOT] name not allowed")},
	{"append-lost", "APPEND answers OK with a UID, and the message is not there", func(s *Script) {
		s.OnCommand("APPEND", func(c *ScriptConn, cmd *ScriptCommand) bool {
			if b := c.Script.Box(cmd.arg(0)); b != nil {
				c.Done("OK [APPENDUID %d %d] done", b.Validity, b.UIDNext)
				b.UIDNext++
				return true
			}
			return false
		})
	}},
	{"append-alters", "APPEND stores another content than was sent", func(s *Script) {
		s.OnCommand("APPEND", func(_ *ScriptConn, cmd *ScriptCommand) bool {
			last := &cmd.Args[len(cmd.Args)-1]
			last.Text = strings.ReplaceAll(last.Text, "e", "E")
			return false
		})
	}},
	{"append-twice", "APPEND stores each message twice", func(s *Script) {
		s.OnCommand("APPEND", func(c *ScriptConn, cmd *ScriptCommand) bool {
			c.Default(cmd)
			reply := c.steps[len(c.steps)-1]
			c.steps = nil
			c.Default(cmd)
			c.steps = []step{reply}
			return true
		})
	}},
	{"append-no-uid", "APPEND tells no APPENDUID, though UIDPLUS is advertised", rewrite(`\[APPENDUID [^\]]*\] `, "")},
	{"append-uid-zero", "APPENDUID is 0", rewrite(`\[APPENDUID (\d+) \S+\]`, "[APPENDUID $1 0]")},
	{"append-uid-reversed", "APPENDUID has its fields reversed", rewrite(`\[APPENDUID (\d+) (\S+)\]`, "[APPENDUID $2 $1]")},
	{"append-uid-validity", "APPENDUID has another UIDVALIDITY", rewrite(`\[APPENDUID \d+`, "[APPENDUID 4711")},
	{"append-quota", "APPEND answers NO [OVERQUOTA] after the message", ignored("APPEND", "NO [OVERQUOTA] mailbox is full")},
	{"append-refused-early", "APPEND with a synchronising literal is refused before it", func(s *Script) {
		s.Without("LITERAL+", "MULTIAPPEND")
		s.OnLiteral(func(_ *ScriptConn, command string) string {
			if strings.HasPrefix(strings.ToUpper(command), "APPEND") {
				return "NO [TRYCREATE] no such mailbox"
			}
			return ""
		})
	}},
	{"append-one-bad", "APPEND refuses messages that hold the word poison", func(s *Script) {
		s.OnCommand("APPEND", func(c *ScriptConn, cmd *ScriptCommand) bool {
			for _, t := range cmd.Args {
				if t.Kind == 's' && strings.Contains(t.Text, "poison") {
					c.Done("NO [CANNOT] message refused by content filter")
					return true
				}
			}
			return false
		})
	}},
	{"append-cut-after", "APPEND stores the message, and the connection ends before the reply", afterwards("APPEND", (*ScriptConn).Close)},
	{"append-cut-before", "the connection ends instead of storing the message", func(s *Script) {
		s.OnCommand("APPEND", func(c *ScriptConn, _ *ScriptCommand) bool {
			c.Close()
			return true
		})
	}},
	{"move-cut-after", "MOVE is done, and the connection ends before the reply", afterwards("UID MOVE", (*ScriptConn).Close)},
	{"expunge-cut-after", "UID EXPUNGE is done, and the connection ends before the reply", afterwards("UID EXPUNGE", (*ScriptConn).Close)},
	{"store-cut-after", "STORE is done, and the connection ends before the reply", afterwards("UID STORE", (*ScriptConn).Close)},
	{"no-uidplus", "there is no UIDPLUS", without([]string{"UID EXPUNGE"}, "UIDPLUS")},
	{"no-move", "there is no MOVE", without([]string{"UID MOVE"}, "MOVE")},
	{"no-literal-plus", "there is neither LITERAL+ nor MULTIAPPEND", without(nil, "LITERAL+", "MULTIAPPEND")},
	{"bare", "there is nothing but IMAP4rev1", func(s *Script) {
		without([]string{"UID EXPUNGE", "UID MOVE", "ENABLE", "ID", "NAMESPACE", "UNSELECT"}, slices.Clone(s.Caps)...)(s)
		s.Caps = []string{"IMAP4rev1"}
		for _, verb := range []string{"LIST", "UID SEARCH"} {
			bad(verb, "RETURN")(s)
		}
		bad("UID FETCH", "CHANGEDSINCE")(s)
		bad("SELECT", "CONDSTORE")(s)
		bad("EXAMINE", "CONDSTORE")(s)
	}},
}

// noise sends octets ahead of each tagged reply after login.
func noise(data string) func(*Script) {
	return func(s *Script) {
		s.OnReply(func(_ *ScriptConn, cmd *ScriptCommand, r string) []string {
			if strings.HasPrefix(r, cmd.Tag+" ") && cmd.Verb != "LOGIN" && cmd.Verb != "AUTHENTICATE" {
				return []string{data, r}
			}
			return []string{r}
		})
	}
}

var codeInReply = regexp.MustCompile(`^(\S+ OK) (\[[^\]]*\] )?`)

var sessionQuirks = []Quirk{
	{"untagged-unknown", "unknown untagged responses come with everything", noise("* XAPPLEPUSHSERVICE \"a\" \"b\"\r\n* 12 XFOO (a {3}\r\n)\r\n b)\r\n* VANISHED 99\r\n")},
	{"untagged-empty", "empty lines and responses without anything come with everything", noise("\r\n* \r\n* OK\r\n* OK [X]\r\n* OK [] empty code\r\n")},
	{"untagged-unclosed", "a response code is never closed", noise("* OK [UNCLOSED code and text\r\n")},
	{"untagged-alert", "an ALERT with terminal codes comes with everything", noise("* NO [ALERT] \x1b[2Jmailbox \x07almost full\r\n")},
	{"untagged-huge", "a response of 2 MiB comes with everything", func(s *Script) {
		noise("* OK " + strings.Repeat("x", 2<<20) + "\r\n")(s)
	}},
	{"untagged-huge-literal", "an untagged response announces a literal of 1 GiB, which does not come", func(s *Script) {
		s.OnCommand("LIST", func(c *ScriptConn, _ *ScriptCommand) bool {
			c.Raw("* LIST () \"/\" {1073741824}\r\nname")
			c.Hang()
			return true
		})
	}},
	{"stray-continuation", "a continuation that nobody waits for comes with everything", noise("+ go ahead\r\n")},
	{"stray-tag", "a reply to an unknown tag comes with everything", noise("Z99 OK who is that\r\n")},
	{"lf-only", "lines outside literals end in LF", func(s *Script) {
		s.OnReply(func(_ *ScriptConn, _ *ScriptCommand, r string) []string {
			if strings.Contains(r, "}\r\n") {
				return []string{r}
			}
			return []string{strings.ReplaceAll(r, "\r\n", "\n")}
		})
	}},
	{"reply-without-text", "tagged replies have no text", func(s *Script) {
		s.OnReply(func(_ *ScriptConn, cmd *ScriptCommand, r string) []string {
			if m := codeInReply.FindString(r); m != "" && strings.HasPrefix(r, cmd.Tag+" ") {
				r = strings.TrimSpace(m) + "\r\n"
			}
			return []string{r}
		})
	}},
	{"bye-greeting", "the greeting is BYE", func(s *Script) {
		s.Greeting = "* BYE [UNAVAILABLE] too many connections from your address"
	}},
	{"preauth", "the greeting is PREAUTH", func(s *Script) {
		s.Greeting = "* PREAUTH [CAPABILITY " + strings.Join(s.Caps, " ") + "] hello"
	}},
	{"greeting-silent", "there is no greeting", func(s *Script) { s.NoGreeting = true }},
	{"login-refused", "the credentials are wrong", refuseLogin("NO [AUTHENTICATIONFAILED] invalid credentials")},
	{"login-unavailable", "login fails for now, with [UNAVAILABLE]", refuseLogin("NO [UNAVAILABLE] user database is down")},
	{"login-limit", "login fails with [LIMIT]: too many connections", refuseLogin("NO [LIMIT] too many simultaneous connections")},
	{"login-expired", "login fails with [EXPIRED]", refuseLogin("NO [EXPIRED] password has expired")},
	{"throttled", "each third FETCH answers NO [THROTTLED] with a time to wait", func(s *Script) {
		n := 0
		s.OnCommand("UID FETCH", func(c *ScriptConn, _ *ScriptCommand) bool {
			if n++; n%3 != 0 {
				return false
			}
			c.Done("NO [THROTTLED] Request is throttled. Suggested Backoff Time: 200 milliseconds")
			return true
		})
	}},
	{"silent", "FETCH is never answered", func(s *Script) {
		s.OnCommand("UID FETCH", func(c *ScriptConn, _ *ScriptCommand) bool {
			c.Hang()
			return true
		})
	}},
	{"first-connection-dies", "the first connection ends at its first FETCH, later ones work", func(s *Script) {
		s.OnCommand("UID FETCH", func(c *ScriptConn, _ *ScriptCommand) bool {
			if c.N == 0 {
				c.Reset()
			}
			return c.N == 0
		})
	}},
	{"garbage", "a FETCH response is no IMAP at all", func(s *Script) {
		onBody(s, func(c *ScriptConn, _ *ScriptMessage, _ []Att, _ int) []Att {
			c.Raw("\x00\xff\xfe<html>502 Bad Gateway</html>\r\n")
			return nil
		})
	}},
	{"http", "the greeting is one of HTTP", func(s *Script) { s.Greeting = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n" }},
}

func refuseLogin(reply string) func(*Script) {
	return func(s *Script) {
		ignored("LOGIN", reply)(s)
		ignored("AUTHENTICATE", reply)(s)
	}
}
