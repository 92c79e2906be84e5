package maildir

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
)

// subdir is the one of a Maildir's directories that a message is in.
type subdir uint8

const (
	inCur subdir = iota
	inNew
)

func (s subdir) String() string { return [...]string{"cur", "new"}[s] }

// A pass reads the names in new/, cur/, and new/ again when it changed
// meanwhile: a reader moves messages from new/ to cur/, and mutt moves them back
// when they are marked unread. Nothing is opened, and nothing but the names is
// read, unless the directory does not tell what is a regular file.

// pass calls fn for every message's name, maybe twice for one that is renamed
// meanwhile, and tells the sum of the names and whether the pass was quiet: no
// directory changed while it ran, nor so shortly before that the timestamps
// cannot tell. name is valid during the call only.
func (m *mailbox) pass(ctx context.Context, fn func(where subdir, name []byte, keyLen int) error) (p passResult, err error) {
	if p.before, err = m.fingerprint(); err != nil {
		return p, err
	}
	settled := m.settlesIn(p.before) == 0
	names := 0
	for _, where := range []subdir{inNew, inCur} {
		err := m.readSub(ctx, where, func(name []byte, keyLen int) error {
			p.sum.add(where, name)
			names++
			return fn(where, name, keyLen)
		})
		if err != nil {
			return p, err
		}
	}
	m.box.mu.Lock()
	m.box.names = names
	m.box.mu.Unlock()
	if p.after, err = m.fingerprint(); err != nil {
		return p, err
	}
	p.quiet = settled && p.before == p.after
	if p.before.new != p.after.new || !settled {
		err = m.readSub(ctx, inNew, func(name []byte, keyLen int) error { return fn(inNew, name, keyLen) })
	}
	return p, err
}

// passResult is what one pass tells beside the names.
type passResult struct {
	before, after fingerprint
	sum           nameSum
	quiet         bool
}

// readSub reads one directory.
func (m *mailbox) readSub(ctx context.Context, where subdir, fn func(name []byte, keyLen int) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d := m.sub[where]
	if d == nil { // new/ is missing
		return nil
	}
	n := 0
	return d.Names(func(name []byte, typ fs.FileMode) error {
		if n++; n%8192 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		keyLen := keyLength(name)
		if typ == fs.ModeIrregular && name[0] != '.' {
			st, err := d.Lstat(string(name))
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone already
			}
			if err != nil {
				return err // it may well be a message
			}
			typ = st.Mode.Type()
		}
		if keyLen == 0 || typ != 0 || len(name) > maxNameLen {
			if name[0] != '.' {
				m.store.notice("not a message: left alone", m.info.Name, where.String()+"/"+string(name))
			}
			return nil
		}
		return fn(name, keyLen)
	})
}

// scan holds the names of one pass in blocks without pointers: 8 bytes and the
// name for each message, however many there are.
type scan struct {
	passResult
	blocks  [][]byte
	entries []entry
	// doubles are the keys that several files share, with the files' own refs.
	doubles map[string]location // by disambiguated key
}

// entry is one name: where it begins (block number and offset), how long it is,
// and how long the key at its beginning is. The highest bit of key is set in new/.
type entry struct {
	at   uint32
	name uint16
	key  uint16
}

const (
	blockBits  = 20
	blockSize  = 1 << blockBits
	newBit     = 1 << 15
	maxNameLen = newBit - 1
)

// location is where a message's file is.
type location struct {
	where subdir
	name  string
}

func (s *scan) add(where subdir, name []byte, keyLen int) {
	last := len(s.blocks) - 1
	if last < 0 || len(s.blocks[last])+len(name) > blockSize {
		size := blockSize
		if last < 0 { // most mailboxes are small: this one grows
			size = 1 << 10
		}
		s.blocks = append(s.blocks, make([]byte, 0, size))
		last++
	}
	at := len(s.blocks[last])
	s.blocks[last] = append(s.blocks[last], name...)
	e := entry{at: uint32(last<<blockBits | at), name: uint16(len(name)), key: uint16(keyLen)}
	if where == inNew {
		e.key |= newBit
	}
	s.entries = append(s.entries, e)
}

func (s *scan) name(e entry) []byte {
	b := s.blocks[e.at>>blockBits][e.at&(blockSize-1):]
	return b[:e.name:e.name]
}

func (s *scan) key(e entry) []byte { return s.name(e)[:e.key&^newBit] }

func (e entry) where() subdir {
	if e.key&newBit != 0 {
		return inNew
	}
	return inCur
}

func (s *scan) location(e entry) location { return location{e.where(), string(s.name(e))} }

// find looks a key up in a sorted scan.
func (s *scan) find(key string) (location, bool) {
	if l, ok := s.doubles[key]; ok {
		return l, true
	}
	i, ok := slices.BinarySearchFunc(s.entries, key, func(e entry, key string) int {
		return compareKey(s.key(e), key)
	})
	if !ok {
		return location{}, false
	}
	return s.location(s.entries[i]), true
}

func compareKey(a []byte, b string) int {
	if string(a) < b {
		return -1
	} else if string(a) > b {
		return 1
	}
	return 0
}

// scanNames makes a pass and keeps the names, in the order of their keys, one for
// each message.
func (m *mailbox) scanNames(ctx context.Context) (*scan, error) {
	s, err := m.readNames(ctx)
	if err != nil {
		return nil, err
	}
	return s, m.sort(s)
}

// readNames makes a pass and keeps the names as they come.
func (m *mailbox) readNames(ctx context.Context) (*scan, error) {
	s := &scan{}
	var err error
	s.passResult, err = m.pass(ctx, func(where subdir, name []byte, keyLen int) error {
		s.add(where, name, keyLen)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// sort puts the entries in the order of their keys, and leaves one for each
// message.
func (m *mailbox) sort(s *scan) error {
	slices.SortFunc(s.entries, func(a, b entry) int {
		if c := bytes.Compare(s.key(a), s.key(b)); c != 0 {
			return c
		}
		return bytes.Compare(s.name(a), s.name(b))
	})
	return m.merge(s)
}

// merge leaves one entry for each message: two names of one file (seen before
// and after a rename, or hard links) are one message. Files that share a key but
// are not one file leave the entries and go to doubles.
func (m *mailbox) merge(s *scan) (err error) {
	out := s.entries[:0]
	for i := 0; i < len(s.entries); {
		end := i + 1
		for end < len(s.entries) && bytes.Equal(s.key(s.entries[end]), s.key(s.entries[i])) {
			end++
		}
		if end == i+1 {
			out = append(out, s.entries[i])
		} else {
			if out, err = m.mergeKey(s, out, s.entries[i:end]); err != nil {
				return err
			}
		}
		i = end
	}
	s.entries = out
	return nil
}

// mergeKey sorts out entries with one key. It may write to out, which lies before
// them in the same array.
func (m *mailbox) mergeKey(s *scan, out, same []entry) ([]entry, error) {
	type file struct {
		entry entry
		ino   uint64
	}
	var files []file
	for _, e := range same {
		l := s.location(e)
		st, err := m.sub[l.where].Lstat(l.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the old name
		}
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(files, func(f file) bool { return f.ino == st.Ino }) {
			files = append(files, file{e, st.Ino})
		}
	}
	switch len(files) {
	case 0:
		// Renamed or removed since. The key was there a moment ago: the last name
		// will do, and who opens it looks again.
		return append(out, same[len(same)-1]), nil
	case 1:
		return append(out, files[0].entry), nil
	}
	for _, f := range files {
		if s.doubles == nil {
			s.doubles = map[string]location{}
		}
		s.doubles[doubleKey(string(s.key(f.entry)), f.ino)] = s.location(f.entry)
	}
	m.store.notice("several files with one key", m.info.Name, string(s.key(files[0].entry)))
	return out, nil
}

// doubleSep cannot be in a key, which ends at the first colon.
const doubleSep = ":#"

// isDouble reports whether a key is one that doubleKey made.
func isDouble(key string) bool { return strings.Contains(key, doubleSep) }
