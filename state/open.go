package state

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// ErrNoState is the reason of Open when there is no state and none may be made.
var ErrNoState = errors.New("no state yet")

// Options say whose state is opened, by whom and for what.
type Options struct {
	Accounts [2]string // Account() of side A and side B; "" = do not check
	RootID   string    // marker of the Maildir root that this state belongs to; "" = none
	Command  string    // for the lock's owner record and runs; without secrets
	ReadOnly bool      // no lock, no write; a missing file is ErrNoState
	NoLock   bool      // the caller sees to it that nobody else writes
	Now      func() time.Time
	Random   io.Reader
}

// DB is an open state. Its methods may be called from several goroutines at
// once; one at a time reaches the file. Errors are *mail.Error, or ctx's own.
//
// What a crash leaves: a commit that returned with durable set is there, one
// that had not returned is there as a whole or not at all, and of several
// without durable the last ones may be missing after a power failure. No lock
// survives its process.
type DB struct {
	path string
	o    Options
	lock *fileLock // nil when read-only or NoLock
	gate chan struct{}

	// All below belong to whoever holds the gate.
	c       *conn
	sum     summer
	journal journal
	unsaved map[string]string // what the next commit writes into meta
	boxes   map[int64]bool    // nil: not loaded
	next    nextIDs
	counts  map[listKey]int
	sent    map[int64]*Sent // nil: not loaded
	ident   bool            // identIndex is there
	run     int64           // 0: this run has no row yet
	damage  damageLog
	failed  error // once set, every call answers with it

	queueMu sync.Mutex
	queue   []*write
}

// Open opens the state at path. When it is missing, it and its directory are
// made, for the user alone. An existing file is not written to before the first
// commit, and no file appears beside it but the lock.
//
// Refused with KindUsage: a state of other accounts or of another root, one
// written by a newer postbag, one that other users can write to. KindLocked:
// another process holds it. KindIntegrity: it is damaged beyond single rows.
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, openError(path, err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	db := &DB{path: path, o: o, gate: make(chan struct{}, 1), counts: make(map[listKey]int)}
	if err := db.open(ctx); err != nil {
		_ = db.drop() // nothing was written that could be lost
		return nil, openError(path, err)
	}
	return db, nil
}

// open does the work of Open; what it acquired is left in db.
func (db *DB) open(ctx context.Context) error {
	if db.o.ReadOnly {
		if _, err := os.Lstat(db.path); errors.Is(err, fs.ErrNotExist) {
			return ErrNoState
		}
	} else if err := makeDir(filepath.Dir(db.path)); err != nil {
		return err
	}
	if err := checkDir(filepath.Dir(db.path)); err != nil {
		return err
	}
	if !db.o.ReadOnly && !db.o.NoLock {
		var err error
		if db.lock, err = takeLock(ctx, db.path+lockSuffix, newOwner(db.o)); err != nil {
			return err
		}
	}
	if !db.o.ReadOnly {
		if err := makeFile(db.path); err != nil {
			return err
		}
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := checkFile(db.path + suffix); err != nil {
			return err
		}
	}
	var err error
	if db.c, err = connect(ctx, db.path, db.o.ReadOnly, false); err != nil {
		return err
	}
	return db.recognise()
}

// recognise finds out what is in the file, and makes it a state when that is
// nothing.
func (db *DB) recognise() error {
	if err := db.journal.look(db.c); err != nil {
		return err
	}
	ours, err := db.checkVersion()
	if err != nil {
		return err
	}
	empty, err := checkSchema(db.c)
	switch {
	case malformed(err):
		return err
	case !ours && !empty:
		return usage("", "it is an SQLite file, but not a state of postbag")
	case err != nil:
		return err
	case ours && empty:
		return fmt.Errorf("%w: it has no tables", errDamaged)
	case empty && db.o.ReadOnly:
		return ErrNoState
	case empty:
		return db.makeNew()
	}
	return db.identify()
}

// checkVersion reports whether the file's header says that it is a state, and
// brings one of an older version up to date.
func (db *DB) checkVersion() (ours bool, err error) {
	app, err := db.c.number("PRAGMA application_id")
	if err != nil {
		return false, err
	}
	v, err := db.c.number("PRAGMA user_version")
	switch {
	case err != nil || app == 0 && v == 0:
		return false, err
	case app != appID:
		return false, usage("", "it is an SQLite file, but not a state of postbag")
	case v > version():
		return true, usage("use the newer one", "its version is %d, this postbag knows %d: it was written by a newer postbag", v, version())
	case v < 1:
		return true, fmt.Errorf("%w: its version is %d", errDamaged, v)
	case v == version():
		return true, nil
	case db.o.ReadOnly:
		return true, usage("run a sync or backup first, which brings it up to date", "its version is %d, from an older postbag", v)
	}
	return true, migrate(db.c, v, migrations)
}

// makeNew writes the tables and whose state this is.
func (db *DB) makeNew() error {
	var id [16]byte
	if _, err := io.ReadFull(db.o.Random, id[:]); err != nil {
		return err
	}
	meta := map[string]string{
		metaAccount(A): db.o.Accounts[A],
		metaAccount(B): db.o.Accounts[B],
		metaRoot:       db.o.RootID,
		metaID:         hex.EncodeToString(id[:]),
		metaCreated:    strconv.FormatInt(db.o.Now().Unix(), 10),
	}
	if err := db.journal.enter(db.c, db.path); err != nil {
		return err
	}
	if err := create(db.c, meta); err != nil {
		return err
	}
	return syncDir(filepath.Dir(db.path))
}

// identify compares whose state this is with whose it should be.
func (db *DB) identify() error {
	all, err := db.readMeta()
	if err != nil {
		return err
	}
	db.unsaved = make(map[string]string)
	if all[metaVersion] != strconv.FormatInt(version(), 10) {
		return fmt.Errorf("%w: its version is not certain", errDamaged)
	}
	for _, want := range []struct{ key, value, what string }{
		{metaAccount(A), db.o.Accounts[A], "side A is"},
		{metaAccount(B), db.o.Accounts[B], "side B is"},
		{metaRoot, db.o.RootID, "the Maildir root's marker is"},
	} {
		have, ok := all[want.key]
		switch {
		case !ok:
			return fmt.Errorf("%w: what %s on record is not readable", errDamaged, want.what)
		case want.value == "" || want.value == have:
		case have == "": // nobody told so far
			db.unsaved[want.key] = want.value
		default:
			return usage("use a state of its own for each pair, or correct the configuration",
				"it belongs to another pair: %s %s, on record is %s", want.what, want.value, have)
		}
	}
	return nil
}

// Path is where the state is, as an absolute path.
func (db *DB) Path() string { return db.path }

// Close gives the lock back. After commits it also moves the write-ahead log
// into the file, so that at rest a state is one file and nothing beside it; a
// failure there loses no commit. It may be called twice.
func (db *DB) Close() error {
	db.gate <- struct{}{}
	defer db.release()
	if db.c == nil {
		return nil
	}
	var err error
	if !db.o.ReadOnly {
		err = db.journal.leave(db.c)
	}
	if derr := db.drop(); err == nil {
		err = derr
	}
	db.failed = db.wrap("use", fs.ErrClosed)
	return db.wrap("close", err)
}

// drop closes what is open.
func (db *DB) drop() error {
	var errs []error
	if db.c != nil {
		errs = append(errs, db.c.close())
		db.c = nil
	}
	if db.lock != nil {
		errs = append(errs, db.lock.release())
		db.lock = nil
	}
	return errors.Join(errs...)
}

// hold waits for the connection; release must follow when it answers nil.
func (db *DB) hold(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case db.gate <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if db.failed != nil {
		defer db.release()
		return db.failed
	}
	return nil
}

func (db *DB) release() { <-db.gate }
