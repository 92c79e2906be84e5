package imapstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// messageLimit makes a server take no more than n messages in one command (RFC 9738):
// of a FETCH it does the highest, and tells how far it came; anything else it refuses.
func messageLimit(n int) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		s.Caps = append(s.Caps, fmt.Sprintf("MESSAGELIMIT=%d", n))
		limited := map[*imaptest.ScriptConn]string{}
		for _, verb := range []string{"UID FETCH", "UID STORE", "UID COPY", "UID MOVE", "UID EXPUNGE"} {
			s.OnCommand(verb, func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
				picked, _ := c.Picked(cmd)
				switch {
				case len(picked) <= n:
					return false
				case verb != "UID FETCH":
					c.Done("NO [MESSAGELIMIT %d] too many", n)
					return true
				}
				lowest := picked[len(picked)-n].UID
				args := slices.Clone(cmd.Args)
				args[0].Text = fmt.Sprintf("%d:%d", lowest, picked[len(picked)-1].UID)
				part := *cmd
				part.Args = args
				limited[c] = fmt.Sprintf("%s OK [MESSAGELIMIT %d %d] part of it\r\n", cmd.Tag, n, lowest)
				c.Default(&part)
				return true
			})
		}
		s.OnReply(func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand, response string) []string {
			if other := limited[c]; other != "" && strings.HasPrefix(response, cmd.Tag+" OK") {
				delete(limited, c)
				response = other
			}
			return []string{response}
		})
	}
}

// A server that does little at a time gives and gets everything all the same.
func TestMessageLimit(t *testing.T) {
	t.Parallel()
	for _, without := range []string{"", "QRESYNC CONDSTORE"} {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			testMessageLimit(t, strings.Fields(without))
		})
	}
}

func testMessageLimit(t *testing.T, without []string) {
	const n = 25
	server, open := scripted(t, func(s *imaptest.Script) {
		box := s.Box("INBOX")
		for uid := uint32(1); uid <= n; uid++ {
			box.Messages = append(box.Messages, &imaptest.ScriptMessage{UID: 2 * uid, ModSeq: 1, Date: "01-Jan-2024 00:00:00 +0000", Raw: fmt.Appendf(nil, "Subject: %d\r\n\r\n", uid)})
		}
		box.UIDNext = 2*n + 1
		s.Without(without...)
		messageLimit(4)(s)
	})
	store, err := open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	delta, err := m.Changes(t.Context(), "", newKnown(), 1000)
	if err != nil || len(delta.New) != n || delta.Unsettled != "" {
		t.Fatalf("got %d new, %q, %v", len(delta.New), delta.Unsettled, err)
	}
	known := newKnown()
	var refs []mail.Ref
	var changes []mail.FlagChange
	for _, msg := range delta.New {
		known.flags[msg.Ref.UID] = msg.Flags
		refs = append(refs, msg.Ref)
		changes = append(changes, mail.FlagChange{Ref: msg.Ref, Delta: mail.FlagDelta{Add: mail.Flags{System: mail.Seen}}})
	}
	came := 0
	err = m.Fetch(t.Context(), refs, func(f mail.Fetched) error {
		if f.Err == nil {
			came++
		}
		return nil
	})
	if err != nil || came != n {
		t.Errorf("%d messages came, %v", came, err)
	}
	states, err := m.SetFlags(t.Context(), changes)
	if err != nil || len(states) != n {
		t.Fatalf("got %d states, %v", len(states), err)
	}
	for _, s := range states {
		if s.Flags.System != mail.Seen {
			t.Errorf("message %d has %v", s.Ref.UID, s.Flags)
		}
	}
	server.Edit(func(s *imaptest.Script) {
		box := s.Box("INBOX")
		box.Messages = slices.Delete(box.Messages, 2, 3)
		box.ModSeq++
	})
	delta, err = m.Changes(t.Context(), delta.Cursor, known, 1000)
	if err != nil || len(delta.Gone) != 1 || delta.Gone[0].UID != 6 || len(delta.Flags) != n-1 || delta.Unsettled != "" {
		t.Errorf("gone %v, %d flags, %q, %v", delta.Gone, len(delta.Flags), delta.Unsettled, err)
	}
	moved, err := m.Move(t.Context(), refs[5:], "Archive")
	if err != nil || len(moved) != n-5 {
		t.Errorf("moved %d, %v", len(moved), err)
	}
	gone, err := m.Remove(t.Context(), refs[:2])
	if err != nil || len(gone) != 2 {
		t.Errorf("removed %v, %v", gone, err)
	}
}

// A limit that cannot be ends the command, not in a loop.
func TestMessageLimitWithoutProgress(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"4 0", "4 99", "4 x", "4 21"} {
		_, open := scripted(t, func(s *imaptest.Script) {
			box := s.Box("INBOX")
			box.Messages = append(box.Messages, &imaptest.ScriptMessage{UID: 20, ModSeq: 1, Date: "01-Jan-2024 00:00:00 +0000", Raw: []byte("\r\n")})
			box.UIDNext = 21
			s.OnCommand("UID FETCH", func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
				c.Done("OK [MESSAGELIMIT %s] nothing", args)
				return true
			})
		})
		store, err := open()
		if err != nil {
			t.Fatal(err)
		}
		m, err := store.Examine(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		if delta, err := m.Changes(t.Context(), "", newKnown(), 100); err == nil || mail.AsError(err).Kind != mail.KindProtocol {
			t.Errorf("%s: got %+v, %v, want the protocol broken", args, delta, err)
		}
	}
}

func TestUIDSetSplit(t *testing.T) {
	t.Parallel()
	var set imapconn.UIDSet
	set.AddRange(1, 5)
	set.AddRange(9, 9)
	set.AddRange(4294967294, 4294967295)
	for n, want := range map[int]string{
		0: "1 2 3 4 5 9 4294967294 4294967295", 3: "1:3 4:5,9 4294967294:4294967295", 7: "1:5,9,4294967294 4294967295", 8: "1:5,9,4294967294:4294967295",
	} {
		var got []string
		for _, part := range set.Split(n) {
			got = append(got, part.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	for uid, want := range map[uint32]string{0: "", 1: "", 3: "1:2", 9: "1:5", 10: "1:5,9", 4294967295: "1:5,9,4294967294"} {
		if got := set.Below(uid).String(); got != want {
			t.Errorf("below %d: got %q, want %q", uid, got, want)
		}
	}
}

// Nothing is expunged unless everything was marked, and nothing after what could not be
// expunged.
func TestRemoveEndsAtAFailure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		refused  string
		expunges []string
	}{
		{"UID STORE 6", nil},
		{"UID EXPUNGE 6", []string{"UID EXPUNGE 2", "UID EXPUNGE 4", "UID EXPUNGE 6"}},
	} {
		t.Run(test.refused, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, caps: "UIDPLUS MESSAGELIMIT=1"}
			s.answer = func(command string) ([]string, string) {
				if strings.HasPrefix(command, test.refused) {
					return nil, "NO [INUSE] busy"
				}
				return nil, ""
			}
			m, err := s.start(nil).Select(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			if gone, err := m.Remove(t.Context(), refsOf(2, 4, 6, 8, 10, 12, 14, 16)); err == nil || len(gone) > 0 {
				t.Errorf("removed %v, %v", gone, err)
			}
			if got := s.said("UID EXPUNGE"); !slices.Equal(got, test.expunges) {
				t.Errorf("said %q, want %q", got, test.expunges)
			}
		})
	}
}
