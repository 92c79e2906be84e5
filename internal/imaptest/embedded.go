package imaptest

import (
	"context"
	"iter"

	"postbag/internal/demo"
)

// The only user of an Embedded.
const (
	EmbeddedUser     = "ada"
	EmbeddedPassword = "secret"
)

// Embedded is the server of package demo with one account.
type Embedded struct {
	*demo.Server
	Account *demo.Account // the mail of EmbeddedUser
}

// StartEmbedded starts a server with TLS beside plaintext, filled from samples
// (nil for none). It stops at the end of the test.
func StartEmbedded(tb TB, samples iter.Seq[demo.Sample]) *Embedded {
	tb.Helper()
	return StartEmbeddedWith(tb, demo.Options{TLS: true}, samples)
}

// StartEmbeddedWith is StartEmbedded with options; their Users are replaced.
func StartEmbeddedWith(tb TB, o demo.Options, samples iter.Seq[demo.Sample]) *Embedded {
	tb.Helper()
	o.Users = map[string]string{EmbeddedUser: EmbeddedPassword}
	s, err := demo.Start(context.Background(), o)
	if err != nil {
		tb.Fatalf("embedded server: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Logf("embedded server: %v", err)
		}
	})
	e := &Embedded{Server: s, Account: s.Account(EmbeddedUser)}
	if samples != nil {
		if err := e.Account.Fill(samples); err != nil {
			tb.Fatalf("embedded server: %v", err)
		}
	}
	return e
}

// Target is the account, in plaintext.
func (e *Embedded) Target() Target {
	t := Target{Addr: e.Addr(), User: EmbeddedUser, Password: EmbeddedPassword}
	if cert := e.Certificate(); cert != nil {
		t.CA = cert.CA
	}
	return t
}

// TLSTarget is the account, with implicit TLS.
func (e *Embedded) TLSTarget() Target {
	t := e.Target()
	t.Addr, t.TLS = e.TLSAddr(), true
	return t
}
