package imapstore

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// A server of each row of the table plays each of its quirks, and shows what it is in
// the way that the row knows it by. It gets no chance to do harm; and it does when the
// row is taken away, so the row is what it is for.
func TestQuirksPlayed(t *testing.T) {
	t.Parallel()
	for _, row := range Quirks() {
		for _, claim := range claimsOf(row) {
			t.Run(row.Name+"/"+claim, func(t *testing.T) {
				t.Parallel()
				play := plays[claim]
				if play == nil {
					t.Fatalf("nobody plays %s", claim)
				}
				if trouble := play(t, player{row, Quirks()}); trouble != "" {
					t.Error(trouble)
				}
				without := slices.DeleteFunc(Quirks(), func(q Quirk) bool { return q.Name == row.Name })
				if play(t, player{row, without}) == "" {
					t.Error("all is well without the row")
				}
			})
		}
	}
}

// player is a row to be played to a store that has a table.
type player struct {
	Quirk
	table []Quirk
}

// plays are by the field of Quirk that they are about. They answer what went wrong,
// "" when nothing did.
var plays = map[string]func(*testing.T, player) string{
	"MaxConnections":      playConnections,
	"Ahead":               playAhead,
	"Deny":                playDenied,
	"NoSearch":            playSearch,
	"FoldNames":           playFoldNames,
	"NoMailboxID":         playMailboxID,
	"ShowsAtMost":         playShowsAtMost,
	"StoreAfterAppend":    playFlags,
	"KeywordsAfterAppend": playKeywords,
	"AppendLimit":         playAppendLimit,
	"MaxLine":             playMaxLine,
	"FinalCRLF":           playFinalCRLF,
	"DayUp":               func(t *testing.T, p player) string { return playDay(t, p, Up, p.DayUp) },
	"DayDown":             func(t *testing.T, p player) string { return playDay(t, p, Down, p.DayDown) },
	"BadNames":            func(t *testing.T, p player) string { return playName(t, p, strings.ToTitle(p.BadNames[0])) },
	"BadInNames":          func(t *testing.T, p player) string { return playName(t, p, "a"+p.BadInNames[:1]+"b") },
	"NoEdgeSpaces":        func(t *testing.T, p player) string { return playName(t, p, "a ") },
	"NoDoubleSpaces":      func(t *testing.T, p player) string { return playName(t, p, "a  b") },
	"NoInboxChildren":     func(t *testing.T, p player) string { return playName(t, p, "INBOX/a") },
	"Presets":             playPresets,
	"Login":               playLogin,
	"Advice":              playAdvice,
}

// open starts a server that shows what it is in the first way that the row knows, and
// opens an account on it.
func (p player) open(t *testing.T, setup func(*imaptest.Script), change func(*Config)) (*imaptest.Scripted, *Store, error) {
	t.Helper()
	server := imaptest.StartScripted(t, func(s *imaptest.Script) {
		if setup != nil {
			setup(s)
		}
		p.disguise(s)
	})
	dialer := net.Dialer{}
	cfg := Config{TempDir: t.TempDir(), Log: t.Logf, quirks: p.table, Conn: imapconn.Config{
		Addr: "mail.example.org:993", TLS: imapconn.TLSNone, AllowPlaintext: true,
		ClientID: map[string]string{"name": "postbag test"},
		Auth:     imapconn.Auth{User: "u", Secret: func(context.Context) (string, error) { return "p", nil }},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, server.Addr())
		},
	}}
	if len(p.Hosts) > 0 {
		cfg.Conn.Addr = p.Hosts[0] + ":993"
	}
	if change != nil {
		change(&cfg)
	}
	store, err := Open(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { store.Close() })
	}
	return server, store, err
}

// disguise makes the server look like the row.
func (p player) disguise(s *imaptest.Script) {
	s.Without(p.Lacks...)
	switch {
	case len(p.Hosts) > 0:
	case len(p.Caps) > 0:
		s.Caps = append(s.Caps, p.Caps[0])
	case len(p.Greeting) > 0:
		s.Greeting = fmt.Sprintf("* OK [CAPABILITY %s] %s", strings.Join(s.Caps, " "), strings.ToUpper(p.Greeting[0]))
	case len(p.ID) > 0:
		key, text, _ := strings.Cut(p.ID[0], "=")
		s.OnCommand("ID", func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
			c.Send("ID (%q %q)", key, text)
			c.Done("OK done")
			return true
		})
	}
}

// mustOpen is open for servers that are to be used: INBOX is open in the mode that
// write says.
func (p player) mustOpen(t *testing.T, setup func(*imaptest.Script), change func(*Config)) (*imaptest.Scripted, *Store, mail.WritableMailbox) {
	t.Helper()
	server, store, err := p.open(t, setup, change)
	if err != nil {
		t.Fatal(err)
	}
	m, err := store.Select(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return server, store, m
}

// said are the commands that hold the text.
func said(server *imaptest.Scripted, text string) []string {
	return slices.DeleteFunc(server.Commands(), func(c string) bool { return !strings.Contains(c, text) })
}

func playConnections(t *testing.T, p player) string {
	_, store, _ := p.mustOpen(t, nil, func(c *Config) { c.Connections = 32 })
	if n := store.Connections(); n != p.MaxConnections {
		return fmt.Sprintf("%d connections, want %d", n, p.MaxConnections)
	}
	return ""
}

// playAhead counts the commands whose replies the client has not seen when it sends
// the next. How soon replies are there is chance, so it takes several tries to see
// that there are too many; that there are not, each of them shows.
func playAhead(t *testing.T, p player) string {
	const tries = 200
	w := &watched{}
	_, _, m := p.mustOpen(t, nil, func(c *Config) {
		dial := c.Conn.Dial
		c.Connections = 1
		c.Conn.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			w.Conn = conn
			return w, err
		}
	})
	for range tries {
		var changes []mail.FlagChange
		for uid := uint32(1); uid <= 10; uid++ {
			word := mail.NewKeywords(fmt.Sprintf("Word%d", uid))
			changes = append(changes, mail.FlagChange{Ref: mail.Ref{UID: uid}, Delta: mail.FlagDelta{Add: mail.Flags{Keywords: word}}})
		}
		if _, err := m.SetFlags(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
		if most := w.most(); most > p.Ahead {
			return fmt.Sprintf("%d commands on their way, want %d", most, p.Ahead)
		}
	}
	return ""
}

// watched counts the STOREs that were sent and not answered yet.
type watched struct {
	net.Conn
	mu            sync.Mutex
	sent, replied int
	peak          int
	rest          []byte // of a line that has not come to its end
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.sent += bytes.Count(p, []byte("UID STORE"))
	w.peak = max(w.peak, w.sent-w.replied)
	w.mu.Unlock()
	return w.Conn.Write(p)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p[:n]...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole {
			return n, err
		}
		// FETCH and other commands are answered as well: replies are never too few.
		if w.sent > w.replied && !bytes.HasPrefix(line, []byte("*")) {
			w.replied++
		}
		w.rest = rest
	}
}

func (w *watched) most() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak
}

func playDenied(t *testing.T, p player) string {
	for _, c := range p.Deny {
		server, _, m := p.mustOpen(t, nil, nil)
		used := ""
		switch c {
		case "QRESYNC":
			used = "ENABLE QRESYNC"
		case "MOVE":
			used = "UID MOVE"
			moved, err := m.Move(t.Context(), []mail.Ref{{UID: 1}}, "Archive")
			if err != nil || len(moved) != 1 {
				return fmt.Sprintf("moved %v, %v", moved, err)
			}
		default:
			t.Fatalf("nobody plays a server on which %s does not work", c)
		}
		if all := said(server, used); len(all) > 0 {
			return fmt.Sprintf("said %q", all)
		}
	}
	return ""
}

// playSearch takes a message away where only a list of all shows which it was, on a
// server whose SEARCH leaves messages out.
func playSearch(t *testing.T, p player) string {
	server, _, m := p.mustOpen(t, func(s *imaptest.Script) {
		s.Without("QRESYNC")
		s.OnCommand("UID SEARCH", func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
			c.Send("SEARCH 1 2")
			c.Done("OK done")
			return true
		})
	}, nil)
	first, err := m.Changes(t.Context(), "", newKnown(), 100)
	if err != nil {
		t.Fatal(err)
	}
	known := newKnown()
	for _, msg := range first.New {
		known.flags[msg.Ref.UID] = msg.Flags
	}
	server.Edit(func(s *imaptest.Script) {
		box := s.Box("INBOX")
		box.Messages = slices.Delete(box.Messages, 4, 5)
		box.ModSeq++
	})
	second, err := m.Changes(t.Context(), first.Cursor, known, 100)
	if err != nil || len(second.Gone) != 1 || second.Gone[0].UID != 5 {
		return fmt.Sprintf("gone %v, %v, want 5", second.Gone, err)
	}
	if all := said(server, "UID SEARCH"); len(all) > 0 {
		return fmt.Sprintf("said %q", all)
	}
	return ""
}

func playFoldNames(t *testing.T, p player) string {
	if _, store, _ := p.mustOpen(t, nil, nil); !store.FoldsNames() {
		return "Work and work are two mailboxes"
	}
	return ""
}

func playMailboxID(t *testing.T, p player) string {
	server, store, _ := p.mustOpen(t, func(s *imaptest.Script) { s.Caps = append(s.Caps, "OBJECTID") }, nil)
	if _, err := store.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := said(server, "MAILBOXID"); len(all) > 0 {
		return fmt.Sprintf("said %q", all)
	}
	return ""
}

// playShowsAtMost is a mailbox out of which one message fell when another came.
func playShowsAtMost(t *testing.T, p player) string {
	shown := p.ShowsAtMost[0]
	_, _, m := p.mustOpen(t, func(s *imaptest.Script) {
		box := s.Box("INBOX")
		box.Messages = nil
		for uid := uint32(2); uid < shown+2; uid++ {
			box.Messages = append(box.Messages, &imaptest.ScriptMessage{UID: uid, ModSeq: 1, Date: "01-Jan-2024 00:00:00 +0000", Raw: []byte("\r\n")})
		}
		box.UIDNext = shown + 2
	}, nil)
	known := newKnown()
	for uid := uint32(1); uid < shown+2; uid++ {
		known.flags[uid] = mail.Flags{}
	}
	delta, err := m.Changes(t.Context(), "", known, 1<<20)
	if err != nil || len(delta.Gone) > 0 || delta.Unsettled == "" || delta.Stamp != "" {
		return fmt.Sprintf("gone %v, %q, %v, want nothing, and to be told why", delta.Gone, delta.Unsettled, err)
	}
	return ""
}

// land appends a message, and answers what became of it.
func land(t *testing.T, m mail.WritableMailbox, flags mail.Flags) mail.Landed {
	t.Helper()
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := add(t, b, mail.Message{Flags: flags}, []byte("Subject: x\r\n\r\nhello\r\n"))
	landed, err := b.Commit(t.Context(), []mail.Pending{p})
	if err != nil || len(landed) != 1 {
		t.Fatalf("got %v, %v", landed, err)
	}
	return landed[0]
}

// refuseAppend is a server that takes no message with the text among its arguments.
func refuseAppend(text string) func(*imaptest.Script) {
	return func(s *imaptest.Script) {
		s.OnCommand("APPEND", func(c *imaptest.ScriptConn, cmd *imaptest.ScriptCommand) bool {
			head, _, _ := strings.Cut(cmd.Line, "\n")
			if !strings.Contains(head, text) {
				return false
			}
			c.Done("NO [CANNOT] APPEND contains %s", text)
			return true
		})
	}
}

func playFlags(t *testing.T, p player) string {
	flags := mail.Flags{System: p.StoreAfterAppend | mail.Seen}
	name := mail.Flags{System: p.StoreAfterAppend}.String()
	server, _, m := p.mustOpen(t, refuseAppend(name), nil)
	landed := land(t, m, flags)
	if landed.Err != nil || !landed.Unheld.IsZero() {
		return fmt.Sprintf("%v, not held: %v", landed.Err, landed.Unheld)
	}
	var got []string
	server.Edit(func(s *imaptest.Script) { got = s.Box("INBOX").Messages[10].Flags })
	if have := mail.ParseFlags(got...); !have.Equal(flags) {
		return fmt.Sprintf("got %v, want %v", have, flags)
	}
	return ""
}

func playKeywords(t *testing.T, p player) string {
	_, _, m := p.mustOpen(t, refuseAppend("Sticky:FLAG51135"), nil)
	if landed := land(t, m, mail.Flags{Keywords: mail.NewKeywords("Sticky:FLAG51135")}); landed.Err != nil {
		return landed.Err.Error()
	}
	return ""
}

// refused offers a message that is not to be sent.
func (p player) refused(t *testing.T, kind mail.Kind, size int64, body func(n int) []byte) string {
	t.Helper()
	_, _, m := p.mustOpen(t, nil, nil)
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	offer := func(size int64, text []byte) error {
		if text != nil {
			_, err := b.Add(t.Context(), mail.Message{Size: int64(len(text))}, bytes.NewReader(text))
			return err
		}
		_, err := b.Add(t.Context(), mail.Message{Size: size}, iotest.ErrReader(fmt.Errorf("read")))
		return err
	}
	var text []byte
	if body != nil {
		if err := offer(0, body(0)); err != nil {
			return fmt.Sprintf("a message that is right is refused: %v", err)
		}
		text = body(1)
	}
	err = offer(size, text)
	e := mail.AsError(err)
	if err == nil || e.Scope != mail.ScopeMessage || e.Kind != kind {
		return fmt.Sprintf("got %v, want it refused", err)
	}
	return ""
}

func playAppendLimit(t *testing.T, p player) string {
	return p.refused(t, mail.KindTooLarge, p.AppendLimit+1, nil)
}

func playMaxLine(t *testing.T, p player) string {
	return p.refused(t, mail.KindRefused, 0, func(n int) []byte {
		return []byte("Subject: x\r\n\r\n" + strings.Repeat("x", p.MaxLine+n) + "\r\n")
	})
}

func playFinalCRLF(t *testing.T, p player) string {
	return p.refused(t, mail.KindRefused, 0, func(n int) []byte {
		return []byte("Subject: x\r\n\r\nhello\r\n" + strings.Repeat("x", n))
	})
}

// playDay asks what budget a day has, with nothing configured.
func playDay(t *testing.T, p player, way Way, want int64) string {
	_, store, _ := p.mustOpen(t, nil, nil)
	if got := store.dayLimit(way); got != want {
		return fmt.Sprintf("the budget %s is %d", way, got)
	}
	return ""
}

func playName(t *testing.T, p player, name string) string {
	_, store, _ := p.mustOpen(t, nil, nil)
	if store.NameError(t.Context(), name) == nil {
		return fmt.Sprintf("%q is a name that can be used", name)
	}
	if err := store.NameError(t.Context(), "Work/a b"); err != nil {
		return err.Error()
	}
	return ""
}

// playPresets asks for the row by the name of a preset, on a server that shows nothing.
func playPresets(t *testing.T, p player) string {
	for _, preset := range p.Presets {
		server, ok, _ := findPreset(p.table, strings.ToUpper(preset.Name))
		if !ok || server != preset.Server {
			return fmt.Sprintf("%s is %q, %v", preset.Name, server, ok)
		}
		anonymous := player{Quirk{Name: p.Name}, p.table}
		_, store, _ := anonymous.mustOpen(t, nil, func(c *Config) { c.Provider = preset.Name })
		if !slices.Contains(store.Quirks(), p.Name) {
			return fmt.Sprintf("%s is known for %v", preset.Name, store.Quirks())
		}
	}
	return ""
}

func playLogin(t *testing.T, p player) string {
	_, _, err := p.open(t, func(s *imaptest.Script) {
		s.OnCommand("AUTHENTICATE", func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
			c.Done("NO [AUTHENTICATIONFAILED] no")
			return true
		})
	}, nil)
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindLogin || e.Hint != p.Login {
		return fmt.Sprintf("%v, %q", err, e.Hint)
	}
	return ""
}

func playAdvice(t *testing.T, p player) string {
	_, store, _ := p.mustOpen(t, nil, nil)
	about, err := store.About(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range about.Rows {
		if q.Name == p.Name && slices.Equal(q.Advice, p.Advice) {
			return ""
		}
	}
	return "nobody gives advice"
}
