// Postbag backs up, synchronises and moves mail between IMAP accounts and
// Maildir trees.
package main

import (
	"os"

	"postbag/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.System()))
}
