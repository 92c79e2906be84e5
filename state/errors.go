package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	sqlite3 "modernc.org/sqlite/lib"

	"postbag/internal/mail"
)

// moveAway is what helps against a damaged state: nothing in it is needed to
// know which messages are there, only to know what happened since.
const moveAway = "postbag state rebuild makes a new one and keeps this one beside it: messages are paired again by their content, " +
	"nothing that is there is downloaded, and nothing is deleted"

// usage is a refusal that the user can answer.
func usage(hint, format string, args ...any) error {
	return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUsage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// openError is an error of Open, with the path.
func openError(path string, err error) error {
	e := classify(err)
	e.Op = "open state " + path
	return e
}

// wrap is an error of any other call; nil stays nil, and what ended because ctx
// did, or has been wrapped, stays as it is.
func (db *DB) wrap(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := classify(err)
	if e.Op == "" {
		e.Op = op + " state"
	}
	return e
}

// classify gives err its kind and hint.
func classify(err error) *mail.Error {
	if e, ok := errors.AsType[*mail.Error](err); ok {
		return e
	}
	e := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindOther, Err: err}
	switch {
	case errors.Is(err, ErrNoState):
		e.Kind, e.Hint = mail.KindUsage, "there is one after the first sync or backup"
	case errors.Is(err, errDamaged):
		e.Kind, e.Hint = mail.KindIntegrity, moveAway
	case malformed(err):
		e.Kind, e.Hint = mail.KindIntegrity, moveAway
		e.Err = fmt.Errorf("%w: %w", errDamaged, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		e.Kind = mail.KindDisk
	default:
		e.Kind, e.Temporary, e.Hint = classifyCode(code(err))
		if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
			e.Kind = mail.KindDisk
		}
	}
	return e
}

// classifyCode reads an SQLite result code.
func classifyCode(rc int) (kind mail.Kind, temporary bool, hint string) {
	switch {
	case rc == sqlite3.SQLITE_READONLY_ROLLBACK || rc == sqlite3.SQLITE_READONLY_RECOVERY:
		return mail.KindDisk, false, "a run was cut off: the next sync or backup puts the state in order"
	case rc&0xff == sqlite3.SQLITE_BUSY || rc&0xff == sqlite3.SQLITE_LOCKED:
		return mail.KindLocked, true, "another program has the state file open: wait, or close it"
	case rc&0xff == sqlite3.SQLITE_FULL:
		return mail.KindDisk, false, "the disk is full"
	case rc&0xff == sqlite3.SQLITE_READONLY, rc&0xff == sqlite3.SQLITE_IOERR,
		rc&0xff == sqlite3.SQLITE_CANTOPEN, rc&0xff == sqlite3.SQLITE_PERM:
		return mail.KindDisk, false, ""
	}
	return mail.KindOther, false, ""
}
