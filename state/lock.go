package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"postbag/internal/mail"
)

// lockSuffix makes the name of the lock file, which stays there between runs:
// removing it would let two processes lock two files of one name.
const lockSuffix = ".lock"

// owner is what a process writes into the lock file for the next one to tell
// its user. It is no part of the lock: the kernel is, and lets go when the
// process ends, however it ends.
type owner struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Boot    string    `json:"boot,omitempty"` // differs after each start of the machine
	Since   time.Time `json:"since"`
	Command string    `json:"command"`
}

// maxOwner bounds what is read of a lock file.
const maxOwner = 64 << 10

func newOwner(o Options) owner {
	host, _ := os.Hostname() // without one, the record is less telling
	return owner{PID: os.Getpid(), Host: host, Boot: bootID(), Since: o.Now().Truncate(time.Second), Command: o.Command}
}

// fileLock is a lock that is held.
type fileLock struct{ f *os.File }

// errHeld is the answer of tryLock when another process has the lock.
var errHeld = errors.New("held by another process")

// takeLock takes the lock or says who has it. It does not wait for it.
func takeLock(ctx context.Context, path string, me owner) (*fileLock, error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	if err = tryLock(f); err == nil {
		if err = writeOwner(f, me); err == nil {
			return &fileLock{f}, nil
		}
		err = errors.Join(err, unlock(f))
	} else if errors.Is(err, errHeld) {
		err = held(ctx, f, me)
	} else {
		err = &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindDisk, Err: fmt.Errorf("cannot lock %s: %w", path, err),
			Hint: "put the state on a filesystem that has locks"}
	}
	return nil, errors.Join(err, f.Close())
}

// writeOwner replaces the record. It need not reach the disk: after a power
// failure nobody holds the lock.
func writeOwner(f *os.File, o owner) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(b, '\n'), 0)
	return err
}

// held is the error that names the owner. One that has just taken the lock has
// perhaps not signed yet, so the record is read again while it is empty or that
// of a process which is gone.
func held(ctx context.Context, f *os.File, me owner) error {
	var o owner
	for try := 0; try < 10; try++ {
		var err error
		if o, err = readOwner(f); err == nil && !stale(o, me) {
			break
		}
		o = owner{}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	e := &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindLocked, Temporary: true,
		Err: errors.New("another run holds the lock"), Hint: "wait until it has ended, or stop it"}
	if o.PID != 0 {
		e.Err = fmt.Errorf("another run holds the lock: process %d on %s, since %s: %q",
			o.PID, o.Host, o.Since.Format(time.RFC3339), o.Command)
	}
	return e
}

func readOwner(f *os.File) (owner, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxOwner))
	if err != nil {
		return owner{}, err
	}
	var o owner
	err = json.Unmarshal(b, &o)
	return o, err
}

// stale reports whether o, seen by me, is the record of a process that ended.
// It cannot be known of other machines.
func stale(o, me owner) bool {
	return o.Host == me.Host && (o.Boot != me.Boot || !alive(o.PID))
}

// release gives the lock back. The record goes first, while it is ours.
func (l *fileLock) release() error {
	return errors.Join(l.f.Truncate(0), unlock(l.f), l.f.Close())
}
