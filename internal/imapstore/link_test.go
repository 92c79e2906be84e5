package imapstore

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// linkArchive links both messages of the scripted account's Archive into its empty
// INBOX, the second one as read, and answers with what landed.
func linkArchive(t *testing.T, store *Store) ([]mail.Pending, []mail.Landed, error) {
	t.Helper()
	archive, err := store.Examine(t.Context(), "Archive")
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	b, err := inbox.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	var added []mail.Pending
	for n, m := range imaptest.DefaultScript().Box("Archive").Messages {
		date := time.Date(2024, 1, n+1, 10, 0, 0, 0, time.UTC)
		msg := mail.Message{Size: int64(len(m.Raw)), Date: date,
			ID: mail.Identity{Digest: sha256.Sum256(m.Raw), MessageID: mail.MessageIDOf(m.Raw), Described: true}}
		if n == 1 {
			msg.Flags = mail.ParseFlags(`\Seen`)
		}
		at := mail.Place{Mailbox: "Archive", Validity: archive.Info().Validity, Ref: mail.Ref{UID: m.UID}, Date: date}
		p, err := b.(mail.Linker).Link(t.Context(), msg, at)
		if err != nil {
			t.Fatal(err)
		}
		added = append(added, p)
	}
	landed, err := b.Commit(t.Context(), added)
	return added, landed, err
}

// Whatever a server says of the UIDs of copies: each message is there once and found,
// or is answered as one that has to be sent. No body is sent.
func TestLinkOnOddServers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		quirk  string
		copied int
	}{
		{"", 2}, {"move-no-copyuid", 2}, {"copyuid-zero", 2}, {"copyuid-short", 2}, {"copyuid-dynamic", 2}, {"move-quota", 0}, {"store-ignored", 2},
	} {
		t.Run("quirk "+test.quirk, func(t *testing.T) {
			t.Parallel()
			server, open := scripted(t, func(s *imaptest.Script) {
				if test.quirk != "" {
					imaptest.ApplyQuirk(t, test.quirk)(s)
				}
			})
			store, err := open()
			if err != nil {
				t.Fatal(err)
			}
			_, landed, err := linkArchive(t, store)
			if err != nil {
				t.Fatal(err)
			}
			there := stored(server)
			if len(there) != test.copied {
				t.Errorf("INBOX holds %d messages, want %d", len(there), test.copied)
			}
			for n, l := range landed {
				raw := imaptest.DefaultScript().Box("Archive").Messages[n].Raw
				switch {
				case test.copied == 0 && (l.Err == nil || l.Err.Scope != mail.ScopeMessage):
					t.Errorf("message %d is answered with %+v, want that it was refused", n, l)
				case test.copied > 0 && there[l.Ref.UID] != mail.Digest(sha256.Sum256(raw)):
					t.Errorf("message %d is said to be %v, and there is %v", n, l.Ref, there)
				}
			}
			if unheld := landed[1].Unheld.String(); (unheld != "") != (test.quirk == "store-ignored") {
				t.Errorf("the flags that were not taken are %q", unheld)
			}
			if slices.ContainsFunc(server.Commands(), func(c string) bool { return c[:min(6, len(c))] == "APPEND" }) {
				t.Errorf("a message was sent: %q", server.Commands())
			}
		})
	}
}

// When the connection is lost over a COPY, before or after it was done, what is there
// is found by the next run, once, with its flags.
func TestLinkCutOff(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		t.Run(fmt.Sprint("done ", done), func(t *testing.T) {
			t.Parallel()
			var cut atomic.Bool
			server, open := scripted(t, func(s *imaptest.Script) {
				s.OnCommand("UID COPY", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
					if !cut.CompareAndSwap(false, true) {
						return false
					}
					if done {
						c.Default(cmd)
						for _, m := range c.Script.Box("INBOX").Messages {
							m.Flags = []string{`\Flagged`}
						}
					}
					c.Reset()
					return true
				})
				s.OnReply(func(_ *imaptest.ScriptConn, cmd *imaptest.ScriptCommand, r string) []string {
					if cmd.Verb == "UID COPY" {
						return nil
					}
					return []string{r}
				})
			})
			store, err := open()
			if err != nil {
				t.Fatal(err)
			}
			added, _, err := linkArchive(t, store)
			if err == nil {
				t.Fatal("the connection was lost, and there is no error")
			}
			inbox, err := store.Select(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			landed, err := inbox.Recover(t.Context(), added, nil)
			if err != nil {
				t.Fatal(err)
			}
			there := stored(server)
			for n, l := range landed {
				if l.Ref.IsZero() == done || done && there[l.Ref.UID] != added[n].Message.ID.Digest {
					t.Errorf("message %d is answered with %+v, and there is %v", n, l, there)
				}
			}
			server.Edit(func(s *imaptest.Script) {
				if text := s.Box("INBOX").String(); done && text != `INBOX: 11[] 12[\Seen]` {
					t.Errorf("there is %s", text)
				}
			})
		})
	}
}

// When the connection is lost after the COPY, before the flags of the copies are what
// they are to be, no copy is answered as arrived with flags that it does not have: the
// next run finds it and sets them.
func TestLinkCutOffBeforeFlags(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"UID FETCH", "UID STORE"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			var copied, cut atomic.Bool
			server, open := scripted(t, func(s *imaptest.Script) {
				s.OnCommand("UID COPY", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
					copied.Store(true)
					c.Default(cmd)
					for _, m := range c.Script.Box("INBOX").Messages {
						m.Flags = []string{`\Flagged`}
					}
					return true
				})
				s.OnCommand(at, func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
					if !copied.Load() || !cut.CompareAndSwap(false, true) {
						return false
					}
					c.Reset()
					return true
				})
			})
			store, err := open()
			if err != nil {
				t.Fatal(err)
			}
			added, landed, err := linkArchive(t, store)
			if err == nil || !cut.Load() {
				t.Fatalf("Commit: %v, cut %v: want an error, since the connection was lost", err, cut.Load())
			}
			for n, l := range landed {
				if !l.Ref.IsZero() {
					t.Errorf("message %d is answered as arrived, and its flags are those of another: %+v", n, l)
				}
			}
			inbox, err := store.Select(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			landed, err = inbox.Recover(t.Context(), added, nil)
			if err != nil {
				t.Fatal(err)
			}
			for n, l := range landed {
				if l.Ref.IsZero() {
					t.Errorf("message %d was not found: it would be there twice", n)
				}
			}
			server.Edit(func(s *imaptest.Script) {
				if text := s.Box("INBOX").String(); text != `INBOX: 11[] 12[\Seen]` {
					t.Errorf("there is %s", text)
				}
			})
		})
	}
}
