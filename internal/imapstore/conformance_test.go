package imapstore_test

import (
	"context"
	"testing"

	"postbag/internal/imapconn"
	"postbag/internal/imapstore"
	"postbag/internal/imaptest"
	"postbag/internal/mail"
	"postbag/internal/storetest"
)

// The promises of package mail hold on a real server with every rung of the
// change ladder, and on the embedded one, which has none of them.
func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		runSuite(t, imaptest.StartEmbedded(t, nil).Target(), nil, false)
	})
	for name, start := range map[string]func(*testing.T) (target imaptest.Target, stamps bool){
		"cyrus": func(t *testing.T) (imaptest.Target, bool) {
			return imaptest.StartCyrus(t, imaptest.CyrusOptions{}).Target("suite"), true
		},
		"cyrus old face": func(t *testing.T) (imaptest.Target, bool) {
			return imaptest.StartCyrus(t, imaptest.CyrusOptions{OldFace: true}).Target("suite"), true
		},
		"courier": func(t *testing.T) (imaptest.Target, bool) {
			c := imaptest.StartCourier(t)
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(c.Log())
				}
			})
			return c.Target("suite"), false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, stamps := start(t)
			runSuite(t, target, nil, stamps)
		})
	}
	d := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	for name, rung := range map[string]struct {
		noCaps []string
		stamps bool
	}{
		"qresync":   {nil, true},
		"condstore": {[]string{"QRESYNC"}, true},
		"plain":     {[]string{"QRESYNC", "CONDSTORE", "ESEARCH", "LIST-STATUS", "LITERAL+", "MULTIAPPEND", "MOVE"}, false},
	} {
		t.Run(name, func(t *testing.T) { runSuite(t, d.Target("conformance-"+name), rung.noCaps, rung.stamps) })
	}
}

func runSuite(t *testing.T, target imaptest.Target, noCaps []string, stamps bool) {
	storetest.Run(t, storetest.Config{Stamps: stamps, Open: func(t *testing.T) mail.Store {
		cleanSuite(t, target)
		s, err := imapstore.Open(t.Context(), imapstore.Config{Account: "suite", Conn: imapconn.Config{
			Addr: target.Addr, TLS: imapconn.TLSNone, NoCaps: noCaps,
			Auth: imapconn.Auth{User: target.User, Secret: func(context.Context) (string, error) { return target.Password, nil }},
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}})
}

// cleanSuite removes what an earlier test of the suite left.
func cleanSuite(t *testing.T, target imaptest.Target) {
	t.Helper()
	c, err := imaptest.Dial(target)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names, err := c.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	for i := len(names) - 1; i >= 0; i-- {
		if names[i] != "INBOX" {
			if _, err := c.Do("DELETE " + c.Name(names[i])); err != nil {
				t.Error(err)
			}
		}
	}
}
