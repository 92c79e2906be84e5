// Package imaptest has the servers that tests and benchmarks run against: a
// private Dovecot, the embedded server of package demo, a scripted server that
// plays the odd ones, and a proxy that delays, cuts and corrupts. It also looks
// at them with an IMAP client of its own, which shares no code with the one that
// is being tested, and checks what a client said on the wire.
package imaptest

import (
	"os"
	"testing"
)

// TB is what the helpers need of testing.TB. Programs that are not tests can
// implement it: Fatalf and Skipf must not return, Cleanup runs its functions at
// the end, the last registered first.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(func())
	TempDir() string
}

var _ TB = testing.TB(nil)

// missing skips a test for want of a program; in continuous integration, where
// it has to be there, the test fails.
func missing(tb TB, what, install string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s is not installed: %s", what, install)
	}
	tb.Skipf("%s is not installed: %s", what, install)
}
