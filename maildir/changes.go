package maildir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postbag/internal/mail"
)

// Changes looks in three steps, and stops at the first that can tell:
//
//  1. Three stats equal the cursor's fingerprint, and that was taken when the
//     timestamps could prove something: nothing happened. No directory is read.
//  2. One pass over the names, quiet, with the cursor's sum (or what stands in for it:
//     see watch.go): nothing happened,
//     and the new fingerprint says so. The same with the sum that the cursor's
//     became by our own writes: the engine takes a delta, writes, and asks again
//     from the delta's cursor, with the state brought up to date in between. What
//     others did meanwhile shows as a third sum.
//  3. The names, sorted by key, are merged with known.
//
// A message of known that a pass did not see is not gone yet: a rename during a
// directory read hides a file. It is gone when two complete passes, one of them
// quiet, did not see it; never quiet in five tries leaves the delta unsettled.
//
// Timestamps need rest to prove something (see fingerprint.go): a mailbox that
// was changed within the last 20 ms is given times of our own, or, open for reading
// only, is waited for once, at most 25 ms, before it is read. On a file system with
// coarse timestamps such a delta has no Stamp.

const (
	maxVouchWait = 25 * time.Millisecond
	maxPasses    = 5
)

// restOfNew is what a delta with More left out: a scan, and how far it was used.
type restOfNew struct {
	scan   *scan
	next   int
	cursor mail.Cursor
}

func (m *mailbox) Changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	d, err := m.changes(ctx, since, known, limit)
	return d, fail("scan", m.info.Name, mail.ScopeMailbox, mail.Ref{}, err)
}

func (m *mailbox) changes(ctx context.Context, since mail.Cursor, known mail.Known, limit int) (mail.Delta, error) {
	if limit <= 0 {
		limit = int(^uint(0) >> 1)
	}
	if rest := m.rest; rest != nil {
		if since == rest.cursor {
			if d, err := m.moreNew(ctx, known, limit); err != nil || d.More {
				return d, err
			}
		}
		m.rest = nil
	}
	from := parseCursor(since)
	fp, err := m.fingerprint()
	if err != nil {
		return mail.Delta{}, err
	}
	if from.valid && from.stamp == fp.String() {
		m.issue(from.sum)
		return mail.Delta{Cursor: since, Stamp: from.stamp}, nil
	}
	if fp, err = m.date(fp); err != nil {
		return mail.Delta{}, err
	}
	if err := m.letSettle(ctx, fp, maxVouchWait); err != nil {
		return mail.Delta{}, err
	}
	m.box.mu.Lock()
	own := m.box.own.sum
	m.box.mu.Unlock()
	if p, ok := m.unchanged(from); ok && m.accountedFor(from, p) {
		m.issueAt(p.sum, own)
		return mail.Delta{Cursor: p.after.cursor(p.sum), Stamp: p.after.String()}, nil
	}
	s, err := m.readNames(ctx)
	if err != nil {
		return mail.Delta{}, err
	}
	if s.quiet {
		m.from(s.after)
	}
	if from.valid && s.quiet && m.accountedFor(from, s.passResult) {
		d := mail.Delta{Cursor: s.after.cursor(s.sum), Stamp: s.after.String()}
		m.issueAt(s.sum, own)
		return d, nil
	}
	if err := m.sort(s); err != nil {
		return mail.Delta{}, err
	}
	return m.diff(ctx, s, own, known, limit)
}

// letSettle waits until the fingerprint proves something, if that is soon.
func (m *mailbox) letSettle(ctx context.Context, fp fingerprint, most time.Duration) error {
	wait := m.settlesIn(fp)
	if wait == 0 || wait > most {
		return nil
	}
	return pause(ctx, wait)
}

// accountedFor reports whether the sum of a scan is the cursor's, as it was or
// after our own writes, and letters mean what they meant.
func (m *mailbox) accountedFor(from cursor, s passResult) bool {
	b := m.box
	b.mu.Lock()
	defer b.mu.Unlock()
	words := s.after.words
	if from.words != (fingerprint{words: words}).wordsString() &&
		!(words == b.ownWords && from.words == (fingerprint{words: b.ownWordsBase}).wordsString()) {
		return false
	}
	if from.sum == s.sum {
		return true
	}
	i := b.issued
	if !i.valid { // the cursor is an earlier run's: all that we did came after it
		i = issue{sum: from.sum}
	}
	return i.sum == from.sum && i.sum.plus(b.own.sum.minus(i.own)) == s.sum
}

// wordsString is the part of String for the keyword file.
func (f fingerprint) wordsString() string {
	s := f.String()
	return s[strings.LastIndexByte(s, ',')+1:]
}

// issue remembers a cursor that is given out now, issueAt one that was taken
// when our own writes stood at own.
func (m *mailbox) issue(sum nameSum) {
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	m.box.issued = issue{sum: sum, own: m.box.own.sum, valid: true}
}

func (m *mailbox) issueAt(sum, own nameSum) {
	m.box.mu.Lock()
	defer m.box.mu.Unlock()
	m.box.issued = issue{sum: sum, own: own, valid: true}
}

// errLimit ends a merge at the limit.
var errLimit = errors.New("limit reached")

// diff merges a scan with what is known.
func (m *mailbox) diff(ctx context.Context, s *scan, own nameSum, known mail.Known, limit int) (mail.Delta, error) {
	words, err := m.words()
	if err != nil {
		return mail.Delta{}, err
	}
	g := merger{m: m, scan: s, words: words, limit: limit, hints: map[string]location{}}
	err = known.Each(ctx, mail.Ref{}, mail.Ref{}, g.known)
	if err == nil {
		err = g.finish()
	}
	m.hints, m.index, m.passes = g.hints, nil, 0
	if errors.Is(err, errLimit) {
		m.rest = &restOfNew{scan: s, next: g.at, cursor: moreCursor(g.at)}
		sortDelta(&g.delta)
		g.delta.More, g.delta.Cursor = true, m.rest.cursor
		return g.delta, nil
	}
	if err != nil {
		return mail.Delta{}, err
	}
	if len(g.missing) > 0 {
		if err := m.confirmGone(ctx, s, words, g.missing, &g.delta); err != nil {
			return mail.Delta{}, err
		}
	}
	sortDelta(&g.delta)
	// A quiet scan is what the mailbox was at one moment, and whatever comes later
	// has other timestamps. Anything else is no ground for the next look, nor is a
	// scan without a message that was back a moment later.
	if s.quiet && g.delta.Unsettled == "" && len(g.delta.Gone) == len(g.missing) {
		g.delta.Cursor = s.after.cursor(s.sum)
		if g.delta.Empty() {
			g.delta.Stamp = s.after.String()
		}
		m.issueAt(s.sum, own)
	}
	return g.delta, nil
}

func sortDelta(d *mail.Delta) {
	slices.SortFunc(d.New, func(a, b mail.Message) int { return a.Ref.Compare(b.Ref) })
	slices.SortFunc(d.Flags, func(a, b mail.FlagState) int { return a.Ref.Compare(b.Ref) })
	slices.SortFunc(d.Gone, mail.Ref.Compare)
}

// merger walks the entries of a scan beside the messages of known, both in the
// order of their keys.
type merger struct {
	m       *mailbox
	scan    *scan
	words   *keywordTable
	limit   int
	at      int // the next entry
	delta   mail.Delta
	missing []mail.Ref
	seen    map[string]bool // doubles that are known
	hints   map[string]location
}

// known takes the next known message.
func (g *merger) known(ref mail.Ref, flags mail.Flags) error {
	if isDouble(ref.Key) {
		l, ok := g.scan.doubles[ref.Key]
		if !ok {
			g.missing = append(g.missing, ref)
			return nil
		}
		if g.seen == nil {
			g.seen = map[string]bool{}
		}
		g.seen[ref.Key] = true
		g.compare(ref, l, flags)
		return nil
	}
	for g.at < len(g.scan.entries) {
		c := compareKey(g.scan.key(g.scan.entries[g.at]), ref.Key)
		if c > 0 {
			break
		}
		if c == 0 {
			g.compareEntry(ref, g.scan.entries[g.at], flags)
			g.at++
			return nil
		}
		if err := g.newEntry(); err != nil {
			return err
		}
	}
	g.missing = append(g.missing, ref)
	return nil
}

// finish takes what is left after the last known message.
func (g *merger) finish() error {
	for g.at < len(g.scan.entries) {
		if err := g.newEntry(); err != nil {
			return err
		}
	}
	for key, l := range g.scan.doubles {
		if !g.seen[key] {
			g.addNew(key, l)
		}
	}
	return nil
}

func (g *merger) newEntry() error {
	if len(g.delta.New) >= g.limit {
		return errLimit
	}
	e := g.scan.entries[g.at]
	g.addNew(string(g.scan.key(e)), g.scan.location(e))
	g.at++
	return nil
}

// addNew lists a message that is not known. One that was renamed since the scan
// is listed without what only a stat can tell.
func (g *merger) addNew(key string, l location) {
	msg := mail.Message{Ref: mail.Ref{Key: key}, Size: -1}
	if f, ok := parseName(l.name); ok {
		msg.Flags = flagsOf(f.letters, g.words)
	}
	if st, err := g.m.sub[l.where].Lstat(l.name); err == nil {
		if !st.Mode.IsRegular() {
			return
		}
		msg.Date = st.Mtime
		if file, wire := sizeFields(key); file == st.Size && wire >= file {
			msg.Size = wire
		}
	}
	g.delta.New = append(g.delta.New, msg)
	g.hints[key] = l
}

// compareEntry compares flags without making a string of the name, which most
// often has what is known.
func (g *merger) compareEntry(ref mail.Ref, e entry, flags mail.Flags) {
	name := g.scan.name(e)
	if plainFlags(name[e.key&^newBit:]) == flags {
		return
	}
	g.compare(ref, g.scan.location(e), flags)
}

// plainFlags reads an info part that holds system flags only; anything else
// gives flags that no message has.
func plainFlags(info []byte) (f mail.Flags) {
	if len(info) == 0 {
		return f
	}
	if len(info) < 3 || info[1] != '2' || info[2] != ',' {
		return mail.Flags{Keywords: "\x00"}
	}
next:
	for _, c := range info[3:] {
		for _, s := range systemLetters {
			if s.letter == c {
				f.System |= s.flag
				continue next
			}
		}
		return mail.Flags{Keywords: "\x00"}
	}
	return f
}

func (g *merger) compare(ref mail.Ref, l location, flags mail.Flags) {
	f, _ := parseName(l.name)
	if now := flagsOf(f.letters, g.words); !now.Equal(flags) {
		g.delta.Flags = append(g.delta.Flags, mail.FlagState{Ref: ref, Flags: now})
		g.hints[ref.Key] = l
	}
}

// moreCursor means something to the mailbox that gave it out only; to all others
// it is the beginning.
func moreCursor(next int) mail.Cursor { return mail.Cursor(fmt.Sprintf("more|%d", next)) }

// moreNew lists further new messages of the scan that a delta with More began.
// Flags and gone messages wait for the full look that comes after the last.
func (m *mailbox) moreNew(ctx context.Context, known mail.Known, limit int) (mail.Delta, error) {
	words, err := m.words()
	if err != nil {
		return mail.Delta{}, err
	}
	rest := m.rest
	all := rest.scan.entries
	if rest.next >= len(all) {
		return mail.Delta{}, nil
	}
	g := merger{m: m, scan: rest.scan, words: words, limit: limit, at: rest.next, hints: map[string]location{}}
	from := mail.Ref{Key: string(rest.scan.key(all[g.at]))}
	err = known.Each(ctx, from, mail.Ref{}, g.known)
	if err == nil {
		for err == nil && g.at < len(all) {
			err = g.newEntry()
		}
	}
	if err != nil && !errors.Is(err, errLimit) {
		return mail.Delta{}, err
	}
	rest.next = g.at
	if len(g.delta.New) == 0 {
		return mail.Delta{}, nil
	}
	m.hints = g.hints
	rest.cursor = moreCursor(rest.next)
	return mail.Delta{New: g.delta.New, More: true, Cursor: rest.cursor}, nil
}

// confirmGone looks again for messages that the first scan did not see.
func (m *mailbox) confirmGone(ctx context.Context, first *scan, words *keywordTable, missing []mail.Ref, d *mail.Delta) error {
	absent := make(map[string]bool, len(missing))
	var doubles []string
	for _, ref := range missing {
		if isDouble(ref.Key) {
			doubles = append(doubles, ref.Key)
		} else {
			absent[ref.Key] = true
		}
	}
	quiet := first.quiet
	for passes := 1; passes < 2 || !quiet; passes++ {
		if passes == maxPasses {
			d.Unsettled = "changed during five scans"
			return nil
		}
		if err := m.settleBefore(ctx, quiet); err != nil {
			return err
		}
		p, err := m.pass(ctx, func(where subdir, name []byte, keyLen int) error {
			if absent[string(name[:keyLen])] {
				delete(absent, string(name[:keyLen]))
				f, _ := parseName(string(name))
				d.Flags = append(d.Flags, mail.FlagState{Ref: mail.Ref{Key: f.key}, Flags: flagsOf(f.letters, words)})
			}
			return nil
		})
		if err != nil {
			return err
		}
		quiet = quiet || p.quiet
	}
	for key := range absent {
		d.Gone = append(d.Gone, mail.Ref{Key: key})
	}
	return m.confirmDoubles(ctx, doubles, d)
}

// settleBefore lets the timestamps settle before a pass that should be quiet. Where
// they are coarse that takes up to two seconds, which a deletion is worth.
func (m *mailbox) settleBefore(ctx context.Context, quiet bool) error {
	if quiet {
		return nil
	}
	fp, err := m.fingerprint()
	if err != nil {
		return err
	}
	return m.letSettle(ctx, fp, coarseGrain)
}

// confirmDoubles looks for the single files of keys that several files share:
// after a rename of one of them all were in another place for a moment.
func (m *mailbox) confirmDoubles(ctx context.Context, keys []string, d *mail.Delta) error {
	if len(keys) == 0 {
		return nil
	}
	s, err := m.scanNames(ctx)
	if err != nil {
		return err
	}
	if !s.quiet {
		d.Unsettled = "files with one key changed during the scan"
		return nil
	}
	for _, key := range keys {
		if _, ok := s.doubles[key]; !ok {
			d.Gone = append(d.Gone, mail.Ref{Key: key})
		}
	}
	return nil
}
