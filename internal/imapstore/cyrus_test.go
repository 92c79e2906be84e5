package imapstore

import (
	"context"
	"strings"
	"testing"

	"postbag/internal/imapconn"
	"postbag/internal/imaptest"
)

// openOther opens a store for an account of any server, through a proxy that logs.
func openOther(t *testing.T, target imaptest.Target) (*Store, *imaptest.Client, *imaptest.WireLog) {
	t.Helper()
	proxy := imaptest.StartProxy(t, target.Addr)
	log := proxy.WireLog()
	s, err := Open(t.Context(), Config{Account: target.User, TempDir: t.TempDir(), Log: t.Logf, Conn: imapconn.Config{
		Addr: proxy.Addr(), TLS: imapconn.TLSNone, ClientID: map[string]string{"name": "postbag test"},
		Auth: imapconn.Auth{User: target.User, Secret: func(context.Context) (string, error) { return target.Password, nil }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	other, err := imaptest.Dial(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	return s, other, log
}

// Cyrus tells wrong IDs of mailboxes in a listing, two mailboxes the same one. They
// would make one mailbox of two, and every listing one of news: only those that
// SELECT tells are taken.
func TestCyrusMailboxIDs(t *testing.T) {
	t.Parallel()
	cyrus := imaptest.StartCyrus(t, imaptest.CyrusOptions{})
	s, other, log := openOther(t, cyrus.Target("ids"))
	for _, name := range []string{"a", "b", "b/c"} {
		if _, err := other.Do("CREATE " + other.Name(name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		infos, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			if info.ObjectID != "" || info.Stamp == "" {
				t.Errorf("%+v, want a stamp and no ID", info)
			}
		}
	}
	for _, c := range log.Commands() {
		if strings.Contains(c.Line, "MAILBOXID") {
			t.Errorf("it was asked %s", c.Line)
		}
	}
	ids := make(map[string]string)
	for _, name := range []string{"INBOX", "a", "b", "b/c"} {
		m, err := s.Examine(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		id := m.Info().ObjectID
		if id == "" || ids[id] != "" {
			t.Errorf("%s has the ID %q, as has %q", name, id, ids[id])
		}
		ids[id] = name
	}
}

func TestObjectIDs(t *testing.T) {
	t.Parallel()
	for id, good := range map[string]bool{
		"F2212ea87-6097-4256-9d51-71338625": true, "gsyi8tdj5qdxfqqfo14wqij2": true, "a_b": true,
		"4DR\x97+V": false, "a b": false, "a)": false, strings.Repeat("a", 256): false,
	} {
		if got := objectID(id); got != id && good || got != "" && !good {
			t.Errorf("%q became %q", id, got)
		}
	}
}

// An ID that a listing gives to two mailboxes is that of neither.
func TestObjectIDOfTwo(t *testing.T) {
	t.Parallel()
	var s Store
	listing := []*listed{
		{wire: "INBOX", delim: '/', status: &status{mailboxID: "one"}}, {wire: "a", delim: '/', status: &status{mailboxID: "two"}},
		{wire: "b", delim: '/', status: &status{mailboxID: "two"}},
	}
	for _, info := range s.adopt(layout{delim: '/'}, listing, false) {
		if want := map[string]string{"INBOX": "one"}[info.Name]; info.ObjectID != want {
			t.Errorf("%s has the ID %q, want %q", info.Name, info.ObjectID, want)
		}
	}
}
