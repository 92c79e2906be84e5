package e2e

import (
	"iter"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// onDovecot is an account of a Dovecot, reached in plaintext, so that a proxy can
// listen.
func onDovecot(t testing.TB, d *imaptest.Dovecot, user string) *account {
	t.Helper()
	return newAccount(t, "imap://"+user+"@"+d.Addr(), imaptest.DovecotPassword, "--allow-plaintext")
}

// onTarget is an account at an address that speaks plaintext.
func onTarget(t testing.TB, target imaptest.Target) *account {
	t.Helper()
	return newAccount(t, "imap://"+target.User+"@"+target.Addr, target.Password, "--allow-plaintext")
}

// into puts samples into the mailboxes given, one after the other.
func into(samples iter.Seq[demo.Sample], mailboxes ...string) iter.Seq[demo.Sample] {
	return func(yield func(demo.Sample) bool) {
		n := 0
		for s := range samples {
			s.Mailbox, s.Use = mailboxes[n%len(mailboxes)], ""
			n++
			if !yield(s) {
				return
			}
		}
	}
}

// client is another client of an account, for changing it.
func client(t testing.TB, target imaptest.Target) *imaptest.Client {
	t.Helper()
	c, err := imaptest.Dial(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// do sends commands that must succeed.
func do(t testing.TB, c *imaptest.Client, commands ...string) {
	t.Helper()
	for _, command := range commands {
		if _, err := c.Do(command); err != nil {
			t.Fatal(err)
		}
	}
}
