package cli

import (
	"os"
	"testing"
	"time"
)

// TestMain has the tests run in UTC, wherever that is: dates of files are shown in the
// zone of the system.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}
