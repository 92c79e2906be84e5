package maildir

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"postbag/internal/mail"
)

// A fingerprint is what three stats tell of a mailbox: identity and time of
// change of cur/ and new/, and of the file that says what keyword letters mean.
// Every delivery, rename and removal changes one of these times. While two
// fingerprints are equal nothing happened, provided that the times were old
// enough when the first was taken: a change within the granularity of the clock
// leaves the time as it was.
type fingerprint struct {
	cur, new, words fileStamp
	local           bool // the timestamps are those of a file system of this machine
}

// fileStamp identifies one version of a directory or file. All zero stands for
// one that is missing.
type fileStamp struct {
	dev, ino uint64
	mtime    int64 // nanoseconds since 1970
	size     int64 // of a file; 0 for a directory
}

func stampOf(st Stat) fileStamp {
	s := fileStamp{dev: st.Dev, ino: st.Ino, mtime: st.Mtime.UnixNano()}
	if !st.Mode.IsDir() {
		s.size = st.Size
	}
	return s
}

// String is the Stamp of a mailbox. Its form is on record: it must not change.
func (f fingerprint) String() string {
	var b []byte
	for i, s := range []fileStamp{f.cur, f.new, f.words} {
		if i > 0 {
			b = append(b, ',')
		}
		if s == (fileStamp{}) {
			continue
		}
		b = strconv.AppendUint(b, s.dev, 36)
		b = append(b, '.')
		b = strconv.AppendUint(b, s.ino, 36)
		b = append(b, '.')
		b = strconv.AppendInt(b, s.mtime, 36)
		b = append(b, '.')
		b = strconv.AppendInt(b, s.size, 36)
	}
	return string(b)
}

// statBox takes the fingerprint of the mailbox in d. A missing new/ is as good as
// an empty one; a missing cur/ is an error.
func statBox(d Dir) (fingerprint, error) {
	var f fingerprint
	st, err := d.Lstat("cur")
	if err != nil {
		return f, err
	}
	if !st.Mode.IsDir() {
		return f, &fs.PathError{Op: "stat", Path: "cur", Err: errNotDir}
	}
	f.cur = stampOf(st)
	if st, err = d.Lstat("new"); err == nil {
		f.new = stampOf(st)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f.words, err = statWords(d)
	return f, err
}

func statWords(d Dir) (fileStamp, error) {
	st, err := d.Lstat(keywordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fileStamp{}, nil
	}
	if err != nil {
		return fileStamp{}, err
	}
	return stampOf(st), nil
}

// How long a timestamp must be past before it proves anything. Linux stamps with
// the clock of the last timer tick, at most 10 ms old; FAT and old NFS servers
// count in seconds or two.
const (
	fineGrain   = 20 * time.Millisecond
	coarseGrain = 2 * time.Second
)

// settlesIn is how long it takes until the fingerprint proves something; 0 when
// it does already. A time in the future (a clock that was set back) proves
// itself, if it is of this machine: whatever happens now gets another.
func (f fingerprint) settlesIn(now time.Time) time.Duration {
	wait := time.Duration(0)
	for _, s := range []fileStamp{f.cur, f.new, f.words} {
		if s == (fileStamp{}) {
			continue
		}
		grain := coarseGrain
		if f.local && s.mtime%int64(time.Millisecond) != 0 {
			grain = fineGrain
		}
		age := time.Duration(now.UnixNano() - s.mtime)
		switch {
		case age < -coarseGrain && f.local:
		case age < grain:
			wait = max(wait, min(grain-age, coarseGrain))
		}
	}
	return wait
}

// date gives cur/ and new/ the present time when they were changed a moment ago,
// and answers with the fingerprint after that. The kernel stamps with the last tick
// of its clock, we with what lies between two: so whatever happens next leaves
// another time, and nobody has to wait for the tick to pass.
func (m *mailbox) date(f fingerprint) (fingerprint, error) {
	if !m.write || !f.local {
		return f, nil
	}
	dated := false
	for where, one := range []fingerprint{inCur: {cur: f.cur, local: true}, inNew: {new: f.new, local: true}} {
		if m.settlesIn(one) == 0 {
			continue
		}
		now := m.store.opts.Now()
		// It fails where the directory is another user's: then there is the wait.
		if m.dir.SetTime(subdir(where).String(), now) == nil {
			m.box.mu.Lock()
			m.box.dated[where] = now.UnixNano()
			m.box.mu.Unlock()
			dated = true
		}
	}
	if !dated {
		return f, nil
	}
	return m.fingerprint()
}

// settlesIn is fingerprint.settlesIn where our own times prove what they are.
func (m *mailbox) settlesIn(f fingerprint) time.Duration {
	m.box.mu.Lock()
	dated := m.box.dated
	m.box.mu.Unlock()
	if f.local && f.cur.mtime == dated[inCur] {
		f.cur = fileStamp{}
	}
	if f.local && f.new.mtime == dated[inNew] {
		f.new = fileStamp{}
	}
	return f.settlesIn(m.store.opts.Now())
}

// cursor is how far a mailbox has been looked at: the fingerprint of a quiet
// scan, and the sum of its file names.
type cursor struct {
	stamp string
	words string // the part of the stamp for the keyword file
	sum   nameSum
	valid bool
}

const cursorVersion = "m1"

func (f fingerprint) cursor(sum nameSum) mail.Cursor {
	return mail.Cursor(strings.Join([]string{cursorVersion, f.String(),
		strconv.FormatUint(sum.lo, 16), strconv.FormatUint(sum.hi, 16), strconv.FormatInt(sum.count, 10)}, "|"))
}

// parseCursor reads a cursor. What is not one of ours stands for the beginning.
func parseCursor(c mail.Cursor) cursor {
	p := strings.Split(string(c), "|")
	if len(p) != 5 || p[0] != cursorVersion {
		return cursor{}
	}
	lo, err1 := strconv.ParseUint(p[2], 16, 64)
	hi, err2 := strconv.ParseUint(p[3], 16, 64)
	count, err3 := strconv.ParseInt(p[4], 10, 64)
	if errors.Join(err1, err2, err3) != nil || count < 0 {
		return cursor{}
	}
	return cursor{
		stamp: p[1], words: p[1][strings.LastIndexByte(p[1], ',')+1:],
		sum: nameSum{lo: lo, hi: hi, count: count}, valid: true,
	}
}
