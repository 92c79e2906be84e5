package maildir

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"postbag/internal/mail"
)

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}

// fail makes a *mail.Error of what went wrong. The scope given is the smallest
// that the caller can vouch for; reasons that concern the whole tree (a full
// disk, an I/O error, too many open files) widen it. An error that already is a
// *mail.Error, or that says that the run was stopped, passes unchanged.
func fail(op, mailbox string, scope mail.Scope, ref mail.Ref, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*mail.Error](err); ok {
		return e
	}
	out := &mail.Error{Scope: scope, Kind: mail.KindDisk, Op: op, Mailbox: mailbox, Ref: ref, Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.Kind, out.Scope, out.Temporary = mail.KindOther, mail.ScopeAccount, true
	case isAny(err, errsFull):
		out.Scope = mail.ScopeAccount
		out.Hint = "the disk or the quota is full: make room and run again, nothing is lost"
	case isAny(err, errsTooLarge):
		out.Hint = "the file system or a limit (ulimit -f) refuses a file of this size"
	case isAny(err, errsIO):
		out.Scope = mail.ScopeAccount
		out.Hint = "the disk fails or is read-only: look at the system's log"
	case isAny(err, errsBusy):
		out.Scope, out.Temporary = mail.ScopeAccount, true
		out.Hint = "too many open files or too little memory: raise the limit (ulimit -n) or use fewer connections"
	case isAny(err, errsName):
		out.Hint = "the file system refuses a name of this length or these characters"
	case errors.Is(err, fs.ErrPermission):
		out.Hint = "postbag has no permission there: check the owner and the mode of the directory"
	case errors.Is(err, fs.ErrNotExist) && scope == mail.ScopeMailbox:
		out.Kind = mail.KindGone
	}
	return out
}

// boxError is an error of mailbox scope of another kind than a failed disk.
func boxError(op, mailbox string, kind mail.Kind, hint string, err error) *mail.Error {
	return &mail.Error{Scope: mail.ScopeMailbox, Kind: kind, Op: op, Mailbox: mailbox, Err: err, Hint: hint}
}
