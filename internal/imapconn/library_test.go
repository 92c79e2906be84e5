package imapconn

import (
	"testing"

	"github.com/emersion/go-imap/v2"
)

// The library takes IMAP4rev2 for leave to send UTF-8, which it is only once
// enabled.
func TestLibraryCapabilities(t *testing.T) {
	t.Parallel()
	c := dialPeer(t, testCaps+" IMAP4rev2 MOVE", (*peer).rest)
	caps := c.Client().Caps()
	_, rev2 := caps[imap.CapIMAP4rev2]
	if _, move := caps[imap.CapMove]; rev2 || !move || !c.Has("IMAP4rev2") || !c.Has("MOVE") {
		t.Errorf("the library has %v, we have %v", caps, c.Caps())
	}
}
