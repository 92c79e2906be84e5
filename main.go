// Postbag backs up, synchronises and moves mail between IMAP accounts and
// Maildir trees.
package main

import (
	"os"
	"runtime/debug"

	"postbag/internal/cli"
)

// gcPercent is half of the usual: it costs a few per cent of the processor time
// of a long run, and saves a tenth of its memory.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(cli.Main(os.Args[1:], cli.System()))
}
