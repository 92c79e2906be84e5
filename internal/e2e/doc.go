// Package e2e holds no code but tests. They run the program as its users do, as
// a process with arguments, an environment and exit codes, against real and
// hostile servers, and look at what it left behind with means of their own:
// package imaptest's client on the server's side, a reader of Maildirs that
// shares no code with the program's (tree_test.go) on the other.
//
// The program is built once, without cgo. By default the places where a run is
// killed, cut off or starved are a sample that takes seconds; with POSTBAG_LONG=1
// they are all that there are. Tests that need Dovecot, strace or mutt are
// skipped where these are missing, and fail when CI=true.
package e2e
