package imapstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// Whatever a server wants to have put off before there is any mailbox to work on is
// asked for again after the pause that it wants: at the login, when mailboxes are
// listed, made, renamed and deleted, for subscriptions and the quota. A pause of more
// than a minute, or one too many, ends it with the server's word.
func TestPatience(t *testing.T) {
	t.Parallel()
	const said = "NO [THROTTLED] Suggested Backoff Time: 2500 milliseconds"
	secs := func(all ...float64) (list []time.Duration) {
		for _, n := range all {
			list = append(list, time.Duration(n*float64(time.Second)))
		}
		return list
	}
	replies := []struct {
		name, reply string
		times       int
		waits       []time.Duration
		kind        mail.Kind // of the error, 0 for none
	}{
		{"said", said, 2, secs(2.5, 2.5), 0},
		{"throttled", "NO [THROTTLED] slow down", 3, secs(8, 16, 32), 0},
		{"unavailable", "NO [UNAVAILABLE] back soon", 4, secs(8, 16, 32, 60), 0},
		{"in use", "NO [INUSE] locked", 1, secs(8), 0},
		{"limit", "NO [LIMIT] too many connections", 1, secs(8), 0},
		{"exchange", "BAD Request is throttled. Suggested Backoff Time: 100 milliseconds", 1, secs(0.1), 0},
		{"too often", said, 5, secs(2.5, 2.5, 2.5, 2.5), mail.KindThrottled},
		{"too long", "NO [THROTTLED] Suggested Backoff Time: 61000 milliseconds", 1, nil, mail.KindThrottled},
	}
	steps := []struct {
		name, verb string
		do         func(*Store) error
	}{
		{"login", "AUTHENTICATE", nil},
		{"list", "LIST", func(s *Store) error { return second(s.List(context.Background())) }},
		{"create", "CREATE", func(s *Store) error { return s.Create(context.Background(), "Fresh", "") }},
		{"rename", "RENAME", func(s *Store) error { return s.Rename(context.Background(), "Archive", "Old") }},
		{"delete", "DELETE", func(s *Store) error { return s.Delete(context.Background(), "Archive") }},
		{"subscribe", "SUBSCRIBE", func(s *Store) error {
			refusals, err := s.Subscribe(context.Background(), map[string]bool{"Archive": true})
			if e := refusals["Archive"]; e != nil && err == nil {
				return e
			}
			return err
		}},
		{"quota", "GETQUOTAROOT", func(s *Store) error { return second(s.Quota(context.Background())) }},
	}
	for _, step := range steps {
		for _, r := range replies {
			t.Run(step.name+" "+r.name, func(t *testing.T) {
				t.Parallel()
				var waits []time.Duration
				left := 0
				server := imaptest.StartScripted(t, func(s *imaptest.Script) {
					s.Caps = append(s.Caps, "QUOTA")
					refuse := func(c *imaptest.ScriptConn, _ *imaptest.ScriptCommand) bool {
						if left == 0 {
							return false
						}
						left--
						c.Done("%s", r.reply)
						return true
					}
					s.OnCommand(step.verb, refuse)
					if step.verb == "AUTHENTICATE" {
						s.OnCommand("LOGIN", refuse)
					}
				})
				s := newStore(Config{Log: t.Logf, Connections: 1, Conn: imapconn.Config{
					Addr: server.Addr(), TLS: imapconn.TLSNone,
					Auth: imapconn.Auth{User: "u", Secret: func(context.Context) (string, error) { return "p", nil }},
				}})
				s.jitter = func(d time.Duration) time.Duration { return d }
				s.wait = func(_ context.Context, d time.Duration) error {
					waits = append(waits, d)
					return nil
				}
				t.Cleanup(func() { s.Close() })
				if step.do == nil {
					left = r.times
				}
				err := s.login(t.Context())
				if step.do != nil && err == nil {
					if _, err = s.List(t.Context()); err == nil {
						server.Edit(func(*imaptest.Script) { left = r.times })
						err = step.do(s)
					}
				}
				if (err != nil) != (r.kind != 0) || err != nil && mail.AsError(err).Kind != r.kind {
					t.Errorf("got %v, want kind %d", err, r.kind)
				}
				if !slices.Equal(waits, r.waits) {
					t.Errorf("waited %v, want %v", waits, r.waits)
				}
			})
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A wait that is interrupted ends at once, and what the pause is for is said.
func TestPatienceIsInterrupted(t *testing.T) {
	t.Parallel()
	var log []string
	s := newStore(Config{Log: func(format string, args ...any) { log = append(log, format) }})
	s.wait = func(context.Context, time.Duration) error { return context.Canceled }
	err := s.patiently(t.Context(), func() error {
		return &mail.Error{Kind: mail.KindThrottled, Temporary: true, Err: &imapconn.StatusError{Status: imapconn.Status{Type: "NO", Code: "THROTTLED"}}}
	})
	if !errors.Is(err, context.Canceled) || len(log) != 1 || !strings.Contains(log[0], "trying again") {
		t.Errorf("got %v, log %q", err, log)
	}
}

// Pauses are made up to a quarter longer, never shorter.
func TestJitter(t *testing.T) {
	t.Parallel()
	for range 1000 {
		if d := jitter(8 * time.Second); d < 8*time.Second || d > 10*time.Second {
			t.Fatalf("8 seconds became %v", d)
		}
	}
	if d := jitter(0); d != 0 {
		t.Errorf("no pause became %v", d)
	}
}
