package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"postbag/internal/mail"
)

// Delivery, and what a crash leaves after each step:
//
//	Add      tmp/KEY written, its length checked, its time set: an orphan in tmp/.
//	Prepare  the letters of keywords on the disk, all at once, then all of the
//	         batch: files in tmp/ that Recover can finish.
//	Commit   renamed into new/ or cur/, never over another file, then the
//	         directories made durable: each message is in tmp/ or delivered.
//
// A batch is made durable by one flush of the whole file system, which costs a
// third of an fsync for each file; where somebody else's writes make that slow,
// or the system cannot do it, by an fsync of each file, four at a time.

// slowFlush is how long a flush may take before later batches do without.
const slowFlush = 3 * time.Second

// batch is a group of messages on their way in.
type batch struct {
	m     *mailbox
	tmp   Dir // its own handle, with its own memory of write errors
	flush bool

	mu    sync.Mutex
	files map[string]bool // keys in tmp/ that are not delivered
	words map[string]bool // keywords of the batch, which need letters
	err   error           // set when a flush failed: nothing may be committed
	over  bool
	ready map[string]bool // keys that are durable

	linking sync.Mutex // held by Link, and ahead of mu
	from    sources
}

// Batch begins a delivery. The first one of a mailbox removes what earlier runs
// left in tmp/.
func (m *mailbox) Batch(ctx context.Context) (mail.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, m.fail("deliver", err)
	}
	m.box.mu.Lock()
	sweep := !m.box.swept
	m.box.swept = true
	m.box.mu.Unlock()
	if sweep {
		if err := m.sweep(nil); err != nil {
			return nil, m.fail("deliver", err)
		}
	}
	tmp, err := m.dir.OpenDir("tmp")
	if err != nil {
		return nil, m.fail("deliver", err)
	}
	m.store.mu.Lock()
	flush := !m.store.slowSync && canFlush(tmp)
	m.store.mu.Unlock()
	return &batch{m: m, tmp: tmp, flush: flush, files: map[string]bool{}, words: map[string]bool{}, ready: map[string]bool{}, from: sources{}}, nil
}

// canFlush reports whether a directory lies on a file system that Flush serves.
func canFlush(d Dir) bool {
	f, ok := d.(interface{ CanFlush() bool })
	return ok && f.CanFlush()
}

func (m *mailbox) fail(op string, err error) error {
	return fail(op, m.info.Name, mail.ScopeMailbox, mail.Ref{}, err)
}

// FlushesWith reports whether Prepare makes a file at path durable, too: it
// flushes the file system of the tree, and path lies on it.
func (b *batch) FlushesWith(path string) bool {
	if !b.flush {
		return false
	}
	dir, err := b.m.store.opts.FS.OpenRoot(filepath.Dir(path))
	if err != nil {
		return false
	}
	defer dir.Close()
	there, err1 := dir.Stat()
	here, err2 := b.tmp.Stat()
	return err1 == nil && err2 == nil && there.Dev == here.Dev && there.Dev != 0
}

// Add writes one message into tmp/. See mail.Batch.
func (b *batch) Add(ctx context.Context, msg mail.Message, body io.Reader) (mail.Pending, error) {
	pending, err := b.add(ctx, msg, body)
	if err != nil {
		return mail.Pending{}, fail("deliver", b.m.info.Name, mail.ScopeMailbox, msg.Ref, err)
	}
	return pending, nil
}

func (b *batch) add(ctx context.Context, msg mail.Message, body io.Reader) (mail.Pending, error) {
	if err := ctx.Err(); err != nil {
		return mail.Pending{}, err
	}
	key, f, err := b.create()
	if err != nil {
		return mail.Pending{}, err
	}
	size, marked, err := b.write(f, msg, body)
	if err == nil && syncBeforeClose {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil && marked {
		err = b.tmp.Rename(key, b.tmp, rawKey(key))
		if err == nil {
			key = b.rename(key, rawKey(key))
		}
	}
	if err == nil {
		err = setDate(b.tmp, key, msg.Date)
	}
	if err != nil {
		b.drop(key)
		return mail.Pending{}, firstMailError(err)
	}
	b.keep(msg.Flags.Keywords.Words())
	msg.Ref = mail.Ref{Key: key}
	msg.Size = size
	return mail.Pending{Ref: msg.Ref, Message: msg}, nil
}

// firstMailError picks the classified error of a join, whose text is the whole
// story.
func firstMailError(err error) error {
	if e, ok := errors.AsType[*mail.Error](err); ok {
		return e
	}
	return err
}

// create makes the file under a key that no message has.
func (b *batch) create() (string, File, error) {
	for try := 0; ; try++ {
		key, err := b.m.store.unique()
		if err != nil {
			return "", nil, err
		}
		f, err := b.tmp.Create(key)
		if errors.Is(err, fs.ErrExist) && try < 10 {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.over {
			f.Close()
			b.m.tmp.Remove(key)
			return "", nil, b.err
		}
		b.files[key] = true
		return key, f, nil
	}
}

// write stores the body and checks its length.
func (b *batch) write(f File, msg mail.Message, body io.Reader) (size int64, marked bool, err error) {
	limit := int64(-1)
	if msg.Size >= 0 {
		limit = msg.Size
	}
	w := lineStorer{file: f}
	readErr, err := w.copyFrom(body, limit)
	if err == nil && readErr != nil {
		if _, ok := errors.AsType[*mail.Error](readErr); !ok {
			readErr = &mail.Error{Scope: mail.ScopeMessage, Temporary: true, Op: "deliver", Mailbox: b.m.info.Name,
				Ref: msg.Ref, Err: fmt.Errorf("reading the message: %w", readErr)}
		}
		return 0, false, readErr
	}
	if err == nil && limit >= 0 && w.wire != limit {
		return 0, false, &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindIntegrity, Temporary: true, Op: "deliver",
			Mailbox: b.m.info.Name, Ref: msg.Ref, Err: lengthError(w.wire, limit)}
	}
	if err == nil {
		marked, err = w.finish()
	}
	if isAny(err, errsTooLarge) {
		err = fail("deliver", b.m.info.Name, mail.ScopeMessage, msg.Ref, err)
	}
	return w.wire, marked, err
}

func lengthError(got, want int64) error {
	if got > want {
		return fmt.Errorf("the message is longer than the %d octets that were announced", want)
	}
	return fmt.Errorf("the message ended after %d of %d octets", got, want)
}

// keep remembers keywords until Prepare.
func (b *batch) keep(words []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range words {
		b.words[w] = true
	}
}

func (b *batch) rename(from, to string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.files, from)
	b.files[to] = true
	return to
}

// drop removes a file of the batch from tmp/.
func (b *batch) drop(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.files, key)
	delete(b.ready, key)
	b.tmp.Remove(key)
}

// setDate sets a message's time. A date that no file can have is moved to the
// nearest one that every file system can hold; no date leaves the time as it is.
func setDate(d Dir, name string, date time.Time) error {
	if date.IsZero() {
		return nil
	}
	date = fileDate(date)
	err := d.SetTime(name, date)
	if isAny(err, errsBadTime) && date.Unix() > math.MaxInt32 {
		err = d.SetTime(name, time.Unix(math.MaxInt32, 0))
	}
	return err
}

// Prepare makes the batch durable. When that fails, the batch is lost: what the
// system could not write it may have thrown away, whatever a second try says.
func (b *batch) Prepare(ctx context.Context) error {
	b.linking.Lock()
	defer b.linking.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	keys := make([]string, 0, len(b.files))
	for key := range b.files {
		keys = append(keys, key)
	}
	err := ctx.Err()
	if err == nil && len(keys) > 0 {
		err = b.m.assign(ctx, slices.Sorted(maps.Keys(b.words)))
	}
	if err == nil && len(keys) > 0 && !syncBeforeClose {
		if b.flush {
			err = b.flushAll()
		} else {
			err = b.syncEach(ctx, keys)
		}
	}
	if err != nil {
		b.err = b.m.fail("deliver", err)
		b.removeAll()
		return b.err
	}
	for _, key := range keys {
		b.ready[key] = true
	}
	return nil
}

func (b *batch) flushAll() error {
	s := b.m.store
	start := time.Now()
	err := b.tmp.Flush()
	if took := time.Since(start); took > slowFlush || err != nil {
		s.mu.Lock()
		s.slowSync = true
		s.mu.Unlock()
	}
	return err
}

// syncEach makes each file durable. Each is opened anew: the system reports a
// write error to whoever asks first.
func (b *batch) syncEach(ctx context.Context, keys []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, key := range keys {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return syncFile(b.tmp, key)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return b.tmp.Sync()
}

func syncFile(d Dir, name string) error {
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Commit makes messages visible. It stops at the first failure that concerns
// more than one message; what it had renamed by then is in place, and Recover
// finds it.
func (b *batch) Commit(ctx context.Context, added []mail.Pending) ([]mail.Landed, error) {
	b.linking.Lock()
	defer b.linking.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.removeAll()
	if b.err != nil {
		return nil, b.err
	}
	words, err := b.m.words()
	if err != nil {
		return nil, b.m.fail("deliver", err)
	}
	landed := make([]mail.Landed, len(added))
	var touched [2]bool
	for i, p := range added {
		if err := ctx.Err(); err != nil {
			return nil, b.m.fail("deliver", err)
		}
		if !b.ready[p.Ref.Key] {
			landed[i].Err = &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindOther, Temporary: true, Op: "deliver",
				Mailbox: b.m.info.Name, Ref: p.Ref, Err: errors.New("it is not part of what was prepared")}
			continue
		}
		to := b.m.target(p.Ref.Key, p.Message.Flags, words)
		err := moveFile(b.tmp, p.Ref.Key, b.m.sub[to.where], to.name)
		if errors.Is(err, fs.ErrExist) {
			landed[i].Err = mail.AsError(fail("deliver", b.m.info.Name, mail.ScopeMessage, p.Ref, err))
			continue
		}
		if err != nil {
			return nil, b.m.fail("deliver", err)
		}
		delete(b.files, p.Ref.Key)
		delete(b.ready, p.Ref.Key)
		b.m.box.renamed(nil, &to)
		touched[to.where] = true
		landed[i].Ref = p.Ref
	}
	if err := b.m.syncSubs(touched); err != nil {
		return nil, b.m.fail("deliver", err)
	}
	return landed, nil
}

// target is the place for a message with these flags: new/ for one that nobody
// has seen and that has no flag, so that readers announce it.
func (m *mailbox) target(key string, flags mail.Flags, words *keywordTable) location {
	letters := lettersOf(flags, "", words)
	if letters == "" && flags.System == 0 {
		return location{inNew, key}
	}
	return location{inCur, fileName{key: key}.withLetters(letters, m.store.infoSep)}
}

// syncSubs makes renames in cur/ and new/ durable, side by side: most file systems
// then write both at once.
func (m *mailbox) syncSubs(touched [2]bool) error {
	var g errgroup.Group
	for where, d := range m.sub {
		if touched[where] && d != nil {
			g.Go(d.Sync)
		}
	}
	return g.Wait()
}

// Abort removes what was not committed.
func (b *batch) Abort() {
	b.linking.Lock()
	defer b.linking.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removeAll()
}

// removeAll removes what is left in tmp/ and ends the batch.
func (b *batch) removeAll() {
	for key := range b.files {
		b.tmp.Remove(key)
	}
	clear(b.files)
	clear(b.ready)
	b.from.close()
	if !b.over {
		b.over = true
		b.tmp.Close()
	}
	if b.err == nil {
		b.err = b.m.fail("deliver", errors.New("the batch is over"))
	}
}
