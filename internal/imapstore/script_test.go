package imapstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postbag/internal/imapconn"
)

// script is a server that says what a test wants, to show what a store makes of
// it.
type script struct {
	t *testing.T
	// caps are offered after login.
	caps string
	// answer gives the untagged lines and the tagged status of a command, whose
	// literals are in it as they came. An empty status leaves it to the defaults;
	// "hang up" ends the connection after the lines.
	answer func(command string) (untagged []string, status string)

	mu       sync.Mutex
	commands []string
	conns    int
}

// start starts the server and opens a store for it.
func (s *script) start(change func(*Config)) *Store {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	s.t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	cfg := Config{
		Conn: imapconn.Config{
			Addr: l.Addr().String(), TLS: imapconn.TLSNone,
			Auth:     imapconn.Auth{User: "u", Secret: func(context.Context) (string, error) { return "p", nil }},
			ClientID: map[string]string{"name": "postbag test"},
		},
		TempDir: s.t.TempDir(),
		Log:     s.t.Logf,
	}
	if change != nil {
		change(&cfg)
	}
	store, err := Open(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	store.wait = func(context.Context, time.Duration) error { return nil }
	s.t.Cleanup(func() { store.Close() })
	return store
}

var literal = regexp.MustCompile(`\{(\d+)(\+?)\}$`)

func (s *script) serve(c net.Conn) {
	defer c.Close()
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
	r := bufio.NewReader(c)
	fmt.Fprintf(c, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n")
	for {
		command, err := readCommand(c, r)
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(command, " ")
		untagged, status := s.reply(command)
		for _, line := range untagged {
			fmt.Fprintf(c, "%s\r\n", line)
		}
		if status == "hang up" {
			return
		}
		fmt.Fprintf(c, "%s %s\r\n", tag, status)
	}
}

// readCommand reads a command with its literals.
func readCommand(w io.Writer, r *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		b.WriteString(line)
		m := literal.FindStringSubmatch(line)
		if m == nil {
			return b.String(), nil
		}
		if m[2] == "" {
			fmt.Fprintf(w, "+ go on\r\n")
		}
		n, _ := strconv.Atoi(m[1])
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return "", err
		}
		b.Write(body)
	}
}

func (s *script) reply(command string) ([]string, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	verb, _, _ := strings.Cut(command, " ")
	switch verb {
	case "AUTHENTICATE", "LOGIN":
		return nil, "OK [CAPABILITY IMAP4rev1 " + s.caps + "] in"
	case "LOGOUT":
		return []string{"* BYE"}, "OK bye"
	}
	s.commands = append(s.commands, command)
	if s.answer != nil {
		if untagged, status := s.answer(command); status != "" {
			return untagged, status
		}
	}
	switch verb {
	case "CAPABILITY":
		return []string{"* CAPABILITY IMAP4rev1 " + s.caps}, "OK"
	case "ID":
		return []string{"* ID NIL"}, "OK"
	case "ENABLE":
		return []string{"* ENABLED QRESYNC"}, "OK"
	case "LIST":
		return []string{`* LIST () "/" INBOX`, `* LIST () "/" b`}, "OK"
	case "STATUS":
		name := strings.Fields(command)[1]
		return []string{"* STATUS " + name + " (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 9)"}, "OK"
	case "SELECT", "EXAMINE":
		return selected(5, 6), "OK [READ-WRITE] done"
	}
	return nil, "OK done"
}

// selected is the answer to SELECT of a mailbox with messages.
func selected(exists, next int) []string {
	return []string{
		`* FLAGS (\Seen \Deleted)`, fmt.Sprintf("* %d EXISTS", exists), "* OK [UIDVALIDITY 9] ok", fmt.Sprintf("* OK [UIDNEXT %d] ok", next),
	}
}

// said are the commands that begin with prefix.
func (s *script) said(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, c := range s.commands {
		if strings.HasPrefix(c, prefix) {
			all = append(all, c)
		}
	}
	return all
}

// setOf are the UIDs that a UID command names, of those up to 100.
func setOf(t *testing.T, command string) []uint32 {
	t.Helper()
	set, err := imapconn.ParseUIDSet(strings.Fields(command)[2])
	if err != nil {
		t.Errorf("%s: %v", command, err)
	}
	var all []uint32
	for uid := uint32(1); uid <= 100; uid++ {
		if set.Contains(uid) {
			all = append(all, uid)
		}
	}
	return all
}
