package cli

import (
	"context"
	"errors"
	"slices"

	"postbag/internal/mail"
	"postbag/sync"
)

// The exit codes. A script may rely on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartial     = 3
	exitGuard       = 4
	exitLogin       = 5
	exitLocked      = 6
	exitUnreachable = 7
	exitThrottled   = 8
	exitInterrupted = 130
)

// exitCodes explains them, for the help.
var exitCodes = []struct {
	code int
	text string
}{
	{exitDone, "done"},
	{exitFailed, "failed"},
	{exitUsage, "wrong usage or configuration"},
	{exitPartial, "done except for some messages or mailboxes"},
	{exitGuard, "refused by a safety check, nothing deleted"},
	{exitLogin, "login refused"},
	{exitLocked, "another run holds the lock"},
	{exitUnreachable, "server unreachable, or connection lost"},
	{exitThrottled, "throttled or over quota, come back later"},
	{exitInterrupted, "interrupted; run it again and it goes on"},
}

// severity is the order in which the code of several accounts is chosen, the
// worst first: what a person must look at before what passes by itself.
var severity = []int{exitInterrupted, exitUsage, exitFailed, exitGuard, exitLogin, exitUnreachable, exitThrottled, exitLocked, exitPartial, exitDone}

// worse is the worse of two exit codes.
func worse(a, b int) int {
	for _, code := range severity {
		if a == code || b == code {
			return code
		}
	}
	return exitFailed
}

// exitError is an error that has been reported already; only its code is left.
type exitError int

func (e exitError) Error() string { return "reported" }

// exitCode is the exit code for an error.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if e, ok := errors.AsType[exitError](err); ok {
		return int(e)
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	switch mail.AsError(err).Kind {
	case mail.KindUsage:
		return exitUsage
	case mail.KindGuard:
		return exitGuard
	case mail.KindLogin:
		return exitLogin
	case mail.KindLocked:
		return exitLocked
	case mail.KindUnreachable:
		return exitUnreachable
	case mail.KindThrottled, mail.KindQuota:
		return exitThrottled
	}
	return exitFailed
}

// reportCode is the exit code of a run that came to an end with err.
func reportCode(r *sync.Report, err error) int {
	switch {
	case r != nil && r.Outcome == sync.Interrupted:
		return exitInterrupted
	case err != nil:
		return exitCode(err)
	case r != nil && r.Outcome == sync.Partial && slices.ContainsFunc(r.Problems, full):
		return exitThrottled
	case r != nil && r.Outcome == sync.Partial:
		return exitPartial
	case r != nil && r.Outcome == sync.Refused:
		return exitGuard
	case r != nil && r.Outcome == sync.Failed:
		return exitFailed
	}
	return exitDone
}

// full reports whether a problem is that a destination is full: all else was done,
// and there is nothing wrong with what was left out.
func full(p sync.Problem) bool { return p.Kind == mail.KindQuota && !p.Warning }

// outcomeOf names the outcome that goes with an exit code.
func outcomeOf(code int) string {
	switch code {
	case exitDone:
		return string(sync.Done)
	case exitPartial:
		return string(sync.Partial)
	case exitGuard:
		return string(sync.Refused)
	case exitInterrupted:
		return string(sync.Interrupted)
	}
	return string(sync.Failed)
}

// kindName is the name of a kind in JSON.
func kindName(k mail.Kind) string {
	names := map[mail.Kind]string{
		mail.KindOther: "other", mail.KindUsage: "usage", mail.KindLogin: "login", mail.KindUnreachable: "unreachable",
		mail.KindThrottled: "throttled", mail.KindQuota: "quota", mail.KindGone: "gone", mail.KindRefused: "refused",
		mail.KindProtocol: "protocol", mail.KindIntegrity: "integrity", mail.KindDisk: "disk", mail.KindLocked: "locked",
		mail.KindGuard: "guard", mail.KindTooLarge: "too-large",
	}
	return names[k]
}
