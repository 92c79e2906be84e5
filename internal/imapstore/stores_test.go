package imapstore

import (
	"strings"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// TestRefusedFlagsCostNoOther changes flags in more commands than may be on their
// way at one time, of which the server refuses one in the middle: all else is done,
// and so is what it takes of that one when it is asked for each flag.
func TestRefusedFlagsCostNoOther(t *testing.T) {
	t.Parallel()
	const n = 12
	server, open := scripted(t, func(s *imaptest.Script) {
		box := s.Box("INBOX")
		for uid := uint32(1); uid <= n; uid++ {
			box.Messages = append(box.Messages, &imaptest.ScriptMessage{UID: uid, Date: "01-Jan-2024 00:00:00 +0000", Raw: []byte("Subject: x\r\n\r\n")})
		}
		box.UIDNext = n + 1
		s.OnCommand("UID STORE", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
			if !strings.Contains(cmd.Line, "Bad") {
				return false
			}
			c.Done("NO not that word")
			return true
		})
	})
	store, err := open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var changes []mail.FlagChange
	for uid := uint32(1); uid <= n; uid++ {
		add := mail.Flags{System: mail.Seen, Keywords: mail.NewKeywords("Word" + string(rune('A'+uid)))}
		if uid == 3 {
			add.Keywords = mail.NewKeywords("Bad")
		}
		changes = append(changes, mail.FlagChange{Ref: mail.Ref{UID: uid}, Delta: mail.FlagDelta{Add: add}})
	}
	states, err := m.SetFlags(t.Context(), changes)
	if err != nil || len(states) != n {
		t.Fatalf("got %d states, %v, want %d", len(states), err, n)
	}
	for i, s := range states {
		want := changes[i].Delta.Add
		if s.Ref.UID == 3 {
			want.Keywords = ""
		}
		if !s.Flags.Equal(want) {
			t.Errorf("message %d has %q, want %q", s.Ref.UID, s.Flags, want)
		}
	}
	stores := 0
	for _, c := range server.Commands() {
		if strings.HasPrefix(c, "UID STORE") {
			stores++
		}
	}
	if stores != n+2 {
		t.Errorf("got %d STOREs, want %d and one for each flag of the refused one", stores, n)
	}
}
