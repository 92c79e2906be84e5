//go:build !linux

package e2e

import "testing"

// runMeasured only runs the call where nobody counts memory.
func (a *account) runMeasured(t testing.TB, args ...string) *call {
	t.Helper()
	return a.run(t, args...)
}
