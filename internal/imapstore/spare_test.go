package imapstore

import (
	"slices"
	"strings"
	"testing"
)

// Who has a session gets another one only when nobody else has it: two that wait
// for each other's would wait for ever.
func TestSpareDoesNotWait(t *testing.T) {
	t.Parallel()
	s := (&script{t: t}).start(func(c *Config) { c.Connections = 2 })
	first, err := s.ready(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	second := s.spare(t.Context(), "INBOX")
	if second == nil || second == first {
		t.Fatalf("got %p beside %p, want a second session", second, first)
	}
	if third := s.spare(t.Context(), "INBOX"); third != nil {
		t.Errorf("got a third session where two are allowed")
	}
	s.pool.give(second)
	if again := s.spare(t.Context(), "INBOX"); again != second {
		t.Errorf("got %p, want the idle session %p", again, second)
	}
	s.Close()
	if late := s.spare(t.Context(), "INBOX"); late != nil {
		t.Error("got a session of a closed account")
	}
}

// Connections that are dialled ahead are no more than allowed, and closing the
// account waits for those on their way.
func TestCreateDialsAhead(t *testing.T) {
	t.Parallel()
	server, open := scripted(t, nil)
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := s.Create(t.Context(), name, ""); err != nil {
			t.Error(err)
		}
	}
	s.pool.warming.Wait()
	if got, want := server.Connections(), DefaultConnections; got != want {
		t.Errorf("got %d connections, want %d", got, want)
	}
	s.pool.warm()
	s.Close()
	s.pool.warm()
	if got := server.Connections(); got > DefaultConnections {
		t.Errorf("got %d connections", got)
	}
	var names []string
	for _, c := range server.Commands() {
		if name, ok := strings.CutPrefix(c, "SUBSCRIBE "); ok {
			names = append(names, strings.Trim(name, `"`))
		}
	}
	if want := []string{"a", "b", "c", "d", "e", "f"}; !slices.Equal(names, want) {
		t.Errorf("subscribed to %q, want %q", names, want)
	}
}

// A mailbox that is not made is not subscribed to either, and one that was there
// is; a refused subscription does not matter.
func TestCreateAndSubscribe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, create, subscribe string
		exists                  bool
		fails                   bool
		want                    []string // commands about subscriptions
	}{
		{name: "made", create: "OK", subscribe: "OK", want: []string{"SUBSCRIBE"}},
		{name: "was there", create: "NO [ALREADYEXISTS] x", subscribe: "OK", exists: true, want: []string{"SUBSCRIBE"}},
		{name: "refused", create: "NO [NOPERM] x", subscribe: "OK", fails: true, want: []string{"SUBSCRIBE", "UNSUBSCRIBE"}},
		{name: "subscription refused", create: "OK", subscribe: "NO x", want: []string{"SUBSCRIBE", "SUBSCRIBE"}},
		{name: "both refused", create: "NO x", subscribe: "NO x", fails: true, want: []string{"SUBSCRIBE"}},
	}
	for _, test := range tests {
		s := &script{t: t}
		s.answer = func(command string) ([]string, string) {
			switch verb, _, _ := strings.Cut(command, " "); {
			case verb == "CREATE":
				return nil, test.create
			case verb == "SUBSCRIBE":
				return nil, test.subscribe
			case verb == "LIST" && test.exists && len(s.commands) > 2:
				return []string{`* LIST () "/" new`}, "OK"
			case verb == "LIST" && len(s.commands) > 2:
				return nil, "OK"
			}
			return nil, ""
		}
		err := s.start(func(c *Config) { c.Connections = 1 }).Create(t.Context(), "new", "")
		if (err != nil) != test.fails {
			t.Errorf("%s: got %v", test.name, err)
		}
		var got []string
		for _, c := range append(s.said("SUBSCRIBE"), s.said("UNSUBSCRIBE")...) {
			verb, _, _ := strings.Cut(c, " ")
			got = append(got, verb)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: said %q, want %q", test.name, got, test.want)
		}
	}
}
