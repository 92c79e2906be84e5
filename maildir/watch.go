package maildir

import (
	"errors"
	"io/fs"
	"sync"
)

// A pass over the names proves that nobody but us changed a mailbox, and costs what
// the mailbox is large. Where the kernel tells of every name that comes and goes
// (inotify(7), on file systems of this machine), that proof is had without it: the
// names were known at one moment, by a fingerprint, and since then exactly as many came
// and went as this process made come and go, with the same sum.
//
// The kernel queues an event while it holds the lock of the directory, after the
// directory's time was changed. So what a fingerprint covers is in the queue as soon as
// that lock was had once more, which looking for a name that nobody asked for does.
// What is in doubt (an overflow, an event of another kind, a moved directory) leaves the
// pass to do.

// nameWatch tells what happens to the names in directories.
type nameWatch interface {
	// add begins to watch a directory, and answers with a number that events of it
	// have. A directory that is watched already keeps its number.
	add(d Dir) (int, error)
	// read calls fn for each name that came (sign 1) or went (-1) since the last call.
	// lost is called where others may have been missed: of one directory, or with -1 of
	// all. name is valid during the call only.
	read(fn func(dir int, name []byte, sign int64), lost func(dir int)) error
	close() error
}

// maxWatched bounds the directories that are watched: a user has some thousands of
// watches for all programs together.
const maxWatched = 1000

// watched is what a store is told about its mailboxes. The lock of a box may be taken
// while its own is held, never the other way round.
type watched struct {
	mu    sync.Mutex
	watch nameWatch // nil where there is none
	tried bool
	where map[int]watchedDir
}

type watchedDir struct {
	of    *seen
	where subdir
}

// ops are names that came and went, with the sum of them.
type ops struct {
	came, went int
	sum        nameSum
}

func (o *ops) note(where subdir, name []byte, sign int64) {
	o.sum.shift(hashName(where, name), sign)
	if sign > 0 {
		o.came++
	} else {
		o.went++
	}
}

func (o ops) minus(p ops) ops {
	return ops{came: o.came - p.came, went: o.went - p.went, sum: o.sum.minus(p.sum)}
}

// seen is what is known of one mailbox's names, guarded by the lock of watched.
type seen struct {
	dirs  [2]fileStamp // cur/ and new/, without times
	stamp string       // of the moment from which on events count; "" for none
	own   ops          // what this process had done then
	names ops          // what happened since then
}

// watchingFS is an FS whose directories can be watched.
type watchingFS interface {
	watchNames() (nameWatch, error)
}

// begin starts to watch a mailbox. It answers false where that was done before, or
// cannot be done.
func (m *mailbox) begin() bool {
	w := &m.store.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.tried {
		w.tried = true
		if f, ok := m.store.opts.FS.(watchingFS); ok {
			w.watch, _ = f.watchNames() // without it there is the pass
			w.where = map[int]watchedDir{}
		}
	}
	if w.watch == nil || m.box.seen != nil || len(w.where) >= maxWatched {
		return false
	}
	s := &seen{}
	for where, d := range m.sub {
		n, err := w.watch.add(d)
		if err != nil {
			return false
		}
		w.where[n] = watchedDir{s, subdir(where)}
	}
	m.box.seen = s
	return true
}

// drain takes what the kernel tells. The lock of w is held.
func (w *watched) drain() bool {
	if w.watch == nil {
		return false
	}
	err := w.watch.read(func(dir int, name []byte, sign int64) {
		if d, ok := w.where[dir]; ok {
			d.of.names.note(d.where, name, sign)
		}
	}, func(dir int) {
		for n, d := range w.where {
			if dir == n || dir < 0 {
				d.of.stamp = ""
			}
		}
	})
	return err == nil
}

// from lets events count from the fingerprint on: the names at that moment are known.
// It does nothing unless that fingerprint still holds.
func (m *mailbox) from(fp fingerprint) {
	w := &m.store.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	s := m.box.seen
	if s == nil {
		return
	}
	s.stamp = ""
	own := m.box.ownNow()
	if !w.drain() {
		return
	}
	if now, err := m.fingerprint(); err != nil || now != fp || m.settlesIn(fp) != 0 || !fp.local {
		return
	}
	*s = seen{dirs: fp.dirs(), stamp: fp.String(), own: own}
}

// unchanged tells what a pass would, if all that happened to the names since a cursor
// was this process's doing.
func (m *mailbox) unchanged(since cursor) (p passResult, ok bool) {
	w := &m.store.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	s := m.box.seen
	if s == nil || s.stamp == "" || s.stamp != since.stamp {
		return p, false
	}
	own := m.box.ownNow()
	var err error
	if p.before, err = m.fingerprint(); err != nil || p.before.dirs() != s.dirs || m.settlesIn(p.before) != 0 {
		return p, false
	}
	if !m.passLocks() || !w.drain() || s.stamp == "" || s.names != own.minus(s.own) {
		return p, false
	}
	if p.after, err = m.fingerprint(); err != nil || p.after != p.before {
		return p, false
	}
	p.sum, p.quiet = since.sum.plus(s.names.sum), true
	*s = seen{dirs: s.dirs, stamp: p.after.String(), own: own}
	return p, true
}

// passLocks waits until whoever was changing a directory is through with it, and has
// told of it: looking for a name that is not in the kernel's cache takes the lock.
func (m *mailbox) passLocks() bool {
	name, err := m.store.unique()
	if err != nil {
		return false
	}
	for _, d := range m.sub {
		if d == nil {
			return false
		}
		if _, err := d.Lstat("." + name); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// dirs are the identities of the directories.
func (f fingerprint) dirs() [2]fileStamp {
	return [2]fileStamp{{dev: f.cur.dev, ino: f.cur.ino}, {dev: f.new.dev, ino: f.new.ino}}
}

// ownNow is what this process did so far.
func (b *box) ownNow() ops {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.own
}

func (w *watched) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried = true
	if w.watch == nil {
		return nil
	}
	err := w.watch.close()
	w.watch = nil
	return err
}
