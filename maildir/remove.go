package maildir

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"postbag/internal/mail"
)

// Remove takes messages out of the mailbox and keeps them in the retention area
// (see trash.go), or unlinks them when nothing is kept. A crash leaves each
// message in the mailbox or in the area. A message that is in neither place any
// more, because somebody else removed it, counts as removed once two passes, one
// of them quiet, did not see it.
func (m *mailbox) Remove(ctx context.Context, refs []mail.Ref) ([]mail.Ref, error) {
	gone, err := m.remove(ctx, refs)
	if err != nil {
		return nil, m.fail("remove", err)
	}
	return gone, nil
}

func (m *mailbox) remove(ctx context.Context, refs []mail.Ref) ([]mail.Ref, error) {
	f := m.finder()
	if err := f.prepare(ctx, refs); err != nil {
		return nil, err
	}
	words, err := m.words()
	if err != nil {
		return nil, err
	}
	var found []mail.Ref
	var missing []mail.Ref
	for _, ref := range refs {
		if _, ok := f.where[ref.Key]; ok {
			found = append(found, ref)
		} else if ref.Key != "" {
			missing = append(missing, ref)
		}
	}
	removeOne := m.unlink
	finish := func() error { return nil }
	if m.store.opts.KeepDeleted > 0 && len(found) > 0 {
		area, err := m.store.keepFrom(m, f, found, words)
		if err != nil {
			return nil, err
		}
		defer area.close()
		removeOne, finish = area.keep, area.sync
	}
	var touched [2]bool
	var gone []mail.Ref
	for _, ref := range found {
		if err = ctx.Err(); err != nil {
			break
		}
		err = f.follow(ctx, ref, func(l location) error {
			if err := removeOne(ref, l); err != nil {
				return err
			}
			m.box.renamed(&l, nil)
			touched[l.where] = true
			return nil
		})
		if errors.Is(err, errGone) {
			missing = append(missing, ref)
			err = nil
			continue
		}
		if err != nil {
			break
		}
		delete(f.where, ref.Key)
		delete(m.hints, ref.Key)
		gone = append(gone, ref)
	}
	// The area first: a name that is lost on both sides would be a message lost.
	if err = errors.Join(err, finish(), m.syncSubs(touched)); err != nil {
		return nil, err
	}
	return m.addAbsent(ctx, gone, missing)
}

func (m *mailbox) unlink(_ mail.Ref, l location) error { return m.sub[l.where].Remove(l.name) }

// addAbsent adds the refs of messages that are proved to be absent.
func (m *mailbox) addAbsent(ctx context.Context, gone, missing []mail.Ref) ([]mail.Ref, error) {
	if len(missing) == 0 {
		return gone, nil
	}
	words, err := m.words()
	if err != nil {
		return nil, err
	}
	first, err := m.scanNames(ctx)
	if err != nil {
		return nil, err
	}
	var absent []mail.Ref
	for _, ref := range missing {
		if _, there := first.find(ref.Key); !there {
			absent = append(absent, ref)
		}
	}
	var d mail.Delta
	if len(absent) > 0 {
		if err := m.confirmGone(ctx, first, words, absent, &d); err != nil {
			return nil, err
		}
	}
	gone = append(gone, d.Gone...)
	slices.SortFunc(gone, mail.Ref.Compare)
	return gone, nil
}

// retained is what the retention area knows of one file: an entry of an index.
type retained struct {
	File     string    `json:"file"`    // its name in the area
	Name     string    `json:"name"`    // its name in the mailbox
	Mailbox  string    `json:"mailbox"` // the mailbox it was in
	Keywords string    `json:"keywords,omitempty"`
	Removed  time.Time `json:"removed"`
	Reason   string    `json:"reason,omitempty"`
	Whole    bool      `json:"whole,omitempty"` // the file is the directory of a whole mailbox
}

// area is one directory of the retention area, open for one call.
type area struct {
	m       *mailbox
	dirs    []Dir // to be made durable and closed, the innermost last
	entries map[mail.Ref]retained
}

const (
	trashDir   = "trash"
	damagedDir = "damaged"
	indexMark  = ".index-" // a dot file: no reader takes it for a message
)

// keepFrom opens the place in the retention area for messages of m and writes
// down, durably, what they are: before they move, so that nothing ever lies there
// without a name.
func (s *Store) keepFrom(m *mailbox, f *finder, refs []mail.Ref, words *keywordTable) (*area, error) {
	a := &area{m: m, entries: map[mail.Ref]retained{}}
	var list []retained
	tag, err := s.tag()
	if err != nil {
		return nil, err
	}
	for _, ref := range refs {
		l := f.where[ref.Key]
		name, _ := parseName(l.name)
		e := retained{File: l.name, Name: l.name, Mailbox: m.info.Name, Removed: s.opts.Now().UTC(),
			Keywords: string(flagsOf(name.letters, words).Keywords)}
		if len(l.name) < 230 {
			// The same name may be removed twice, and differ in info when it is.
			e.File = fmt.Sprintf("%s.%s", tag, name.key)
		}
		a.entries[ref] = e
		list = append(list, e)
	}
	if a.dirs, err = s.openArea(trashDir, s.started.UTC().Format(trashTime), areaName(m.info.Name)); err != nil {
		return nil, err
	}
	if err := writeIndex(a.dir(), tag, list); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// areaName is one directory name for a mailbox, whatever the layout.
func areaName(mailbox string) string { return Flat.dirName(escaper{portable: true}, mailbox) }

// trashTime is how the directories of the area are named: by the start of the
// run, in UTC, in an order that sorts.
const trashTime = "20060102T150405Z"

// openArea opens nested directories of the state directory and makes them.
func (s *Store) openArea(path ...string) (dirs []Dir, err error) {
	d, err := s.root.OpenDir(s.layout.stateDir())
	if err != nil {
		return nil, err
	}
	dirs = []Dir{d}
	for _, name := range path {
		if d, err = makeDir(d, name); err != nil {
			closeAll(dirs)
			return nil, err
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

func closeAll(dirs []Dir) {
	for _, d := range dirs {
		d.Close()
	}
}

// tag is a short random word.
func (s *Store) tag() (string, error) {
	var r [6]byte
	s.uniqueMu.Lock()
	defer s.uniqueMu.Unlock()
	_, err := io.ReadFull(s.opts.Rand, r[:])
	return hex.EncodeToString(r[:]), err
}

func writeIndex(d Dir, tag string, list []retained) error {
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := writeSmall(d, indexMark+tag+".json", data); err != nil {
		return err
	}
	return d.Sync()
}

func (a *area) dir() Dir { return a.dirs[len(a.dirs)-1] }

// keep moves one message into the area.
func (a *area) keep(ref mail.Ref, l location) error {
	return moveFile(a.m.sub[l.where], l.name, a.dir(), a.entries[ref].File)
}

func (a *area) sync() error { return a.dir().Sync() }

func (a *area) close() { closeAll(a.dirs) }

// SetAside moves a damaged message out of the mailbox to "damaged" in the state
// directory, with the reason beside it, where nothing expires. It tells whether
// the message was there.
func (s *Store) SetAside(ctx context.Context, mailbox string, ref mail.Ref, reason string) (bool, error) {
	if err := s.writable("set aside", mailbox); err != nil {
		return false, err
	}
	m, err := s.openMailbox(ctx, "set aside", mailbox, true)
	if err != nil {
		return false, err
	}
	defer m.Close()
	done, err := m.setAside(ctx, ref, reason)
	return done, fail("set aside", mailbox, mail.ScopeMailbox, ref, err)
}

func (m *mailbox) setAside(ctx context.Context, ref mail.Ref, reason string) (bool, error) {
	f := m.finder()
	if err := f.prepare(ctx, []mail.Ref{ref}); err != nil {
		return false, err
	}
	l, ok := f.where[ref.Key]
	if !ok {
		return false, nil
	}
	words, err := m.words()
	if err != nil {
		return false, err
	}
	name, _ := parseName(l.name)
	tag, err := m.store.tag()
	if err != nil {
		return false, err
	}
	dirs, err := m.store.openArea(damagedDir, areaName(m.info.Name))
	if err != nil {
		return false, err
	}
	defer closeAll(dirs)
	dir := dirs[len(dirs)-1]
	entry := retained{File: tag + "." + name.key, Name: l.name, Mailbox: m.info.Name, Reason: reason,
		Removed: m.store.opts.Now().UTC(), Keywords: string(flagsOf(name.letters, words).Keywords)}
	if err := writeIndex(dir, tag, []retained{entry}); err != nil {
		return false, err
	}
	err = f.follow(ctx, ref, func(l location) error {
		if err := moveFile(m.sub[l.where], l.name, dir, entry.File); err != nil {
			return err
		}
		m.box.renamed(&l, nil)
		return errors.Join(dir.Sync(), m.sub[l.where].Sync())
	})
	if errors.Is(err, errGone) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
