package maildir

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/mail"
)

// countingFS counts how often a directory is read, by its path.
type countingFS struct {
	osFS
	reads *atomic.Int64
}

func (f countingFS) OpenRoot(path string) (Dir, error) {
	d, err := f.osFS.OpenRoot(path)
	return countingDir{d, f.reads}, err
}

type countingDir struct {
	Dir
	reads *atomic.Int64
}

func (d countingDir) OpenDir(name string) (Dir, error) {
	sub, err := d.Dir.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return countingDir{sub, d.reads}, nil
}

func (d countingDir) Names(fn func([]byte, fs.FileMode) error) error {
	d.reads.Add(1)
	return d.Dir.Names(fn)
}

func (d countingDir) Rename(name string, to Dir, newName string) error {
	return d.Dir.Rename(name, to.(countingDir).Dir, newName)
}

// refusing is a Known that must not be asked.
type refusing struct{ t *testing.T }

func (r refusing) Count() int { return 1 }

func (r refusing) Each(context.Context, mail.Ref, mail.Ref, func(mail.Ref, mail.Flags) error) error {
	r.t.Error("what is known was read")
	return nil
}

func TestChangesCostsNothingWhenNothingHappened(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	s := openNew(t, Options{FS: countingFS{reads: &reads}})
	m := selected(t, s, "INBOX")
	deliver(t, m, outgoing{body: "a"}, outgoing{body: "b", flags: `\Seen`})
	known := rows{}
	first := changes(t, m, "", known)
	known.take(first)
	if first.Stamp != "" || first.Cursor == "" {
		t.Errorf("a delta with news has the stamp %q, cursor %q", first.Stamp, first.Cursor)
	}
	before := reads.Load()
	second := changes(t, m, first.Cursor, refusing{t})
	if !second.Empty() || second.Stamp == "" {
		t.Errorf("the second look gives %+v", second)
	}
	if n := reads.Load() - before; n != 0 {
		t.Errorf("it read directories %d times", n)
	}
	list, err := s.List(t.Context())
	if err != nil || list[0].Stamp != second.Stamp {
		t.Errorf("List gives the stamp %q, %v, want %q", list[0].Stamp, err, second.Stamp)
	}

	// Touched, but the same: one pass tells.
	settle()
	name := files(t, s.path, "INBOX", "cur")[0]
	cur := boxPath(s, "INBOX", "cur")
	os.Rename(filepath.Join(cur, name), filepath.Join(cur, "x"))
	os.Rename(filepath.Join(cur, "x"), filepath.Join(cur, name))
	third := changes(t, m, second.Cursor, refusing{t})
	if !third.Empty() || third.Stamp == "" || third.Stamp == second.Stamp {
		t.Errorf("after a touch Changes gives %+v", third)
	}
}

func TestChangesAfterOwnWrites(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m, other := selected(t, s, "INBOX"), selected(t, s, "Other")
	known := rows{}
	keys := deliver(t, m, outgoing{body: "a"}, outgoing{body: "b", flags: `\Seen`}, outgoing{body: "c"}, outgoing{body: "d"})
	d := changes(t, m, "", known)
	known.take(d)

	// What the engine does in a run: it takes a delta, writes, asks again.
	ours := func() {
		t.Helper()
		deliver(t, m, outgoing{body: "e", flags: `\Flagged Word`})
		if _, err := m.SetFlags(t.Context(), []mail.FlagChange{{Ref: mail.Ref{Key: keys[0]}, Delta: mail.FlagDelta{Add: mail.ParseFlags(`\Answered`, "Other")}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Remove(t.Context(), []mail.Ref{{Key: keys[1]}}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Move(t.Context(), []mail.Ref{{Key: keys[2]}}, "Other"); err != nil {
			t.Fatal(err)
		}
	}
	ours()
	after := changes(t, m, d.Cursor, refusing{t})
	if !after.Empty() || after.Stamp == "" {
		t.Errorf("after our own writes Changes gives %+v", after)
	}
	if got := changes(t, other, "", rows{}); len(got.New) != 1 || got.New[0].Ref.Key != keys[2] {
		t.Errorf("the other mailbox holds %+v", got.New)
	}
	// A change of somebody else's in between is seen.
	settle()
	known = rows{}
	d = changes(t, m, "", known)
	known.take(d)
	deliver(t, m, outgoing{body: "f"})
	put(t, "theirs", s.path, "INBOX", "new", "1.theirs.host")
	if got := changes(t, m, d.Cursor, known); len(got.New) != 2 {
		t.Errorf("with a foreign delivery in between there are %d new messages, want 2", len(got.New))
	}
}

// A backup writes to a mailbox that it has not looked at, because nothing had
// changed in it since the run before.
func TestChangesAfterOwnWritesOfALaterRun(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	deliver(t, m, outgoing{body: "a"}, outgoing{body: "b", flags: `\Seen`})
	known := rows{}
	first := changes(t, m, "", known)
	known.take(first)
	cursor := changes(t, m, first.Cursor, known).Cursor
	for _, theirs := range []bool{false, true} {
		later, err := Open(s.path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { later.Close() })
		m := selected(t, later, "INBOX")
		if theirs {
			put(t, "theirs", s.path, "INBOX", "new", "1.theirs.host")
		}
		keys := deliver(t, m, outgoing{body: "c", flags: `\Flagged Word`}, outgoing{body: "d"})
		if theirs {
			if got := changes(t, m, cursor, known); len(got.New) != 3 {
				t.Errorf("with a foreign delivery in between there are %d new messages, want 3", len(got.New))
			}
			continue
		}
		got := changes(t, m, cursor, refusing{t})
		if !got.Empty() || got.Stamp == "" {
			t.Errorf("after our own writes Changes gives %+v", got)
		}
		known[keys[0]], known[keys[1]] = mail.ParseFlags(`\Flagged`, "Word"), mail.Flags{}
		cursor = got.Cursor
	}
}

func TestChangesFindsEverything(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	cur, fresh := boxPath(s, "INBOX", "cur"), boxPath(s, "INBOX", "new")
	put(t, "0 Junk\n1 $Label1\n2 bad word\n", s.path, "INBOX", keywordFile)
	want := map[string]string{}
	for name, flags := range map[string]string{
		"plain": "", "empty:2,": "", "seen:2,S": `\Seen`, "all:2,DFPRST": `\Answered \Flagged \Deleted \Draft \Seen $Forwarded`,
		"unsorted:2,SF": `\Flagged \Seen`, "twice:2,SS": `\Seen`, "words:2,Sab": `\Seen $Label1 Junk`, "unknown:2,SXcz": `\Seen`,
		"one:1,exp": "", "junk:2,S:x": `\Seen`, "bare:": "", "half:2": "", "bytes:2,S\xff": `\Seen`, "semi;2,S": `\Seen`, "bang!2,F": `\Flagged`,
		"sizes,S=4,W=5:2,S": `\Seen`, "mbsync,U=7:2,S": `\Seen`, "other:3,S": "", "k\xff\xfe:2,S": `\Seen`, strings.Repeat("l", 240) + ":2,S": `\Seen`,
	} {
		put(t, "a\nb\n", cur, name)
		key, _, _ := strings.Cut(strings.NewReplacer(";2", ":2", "!2", ":2").Replace(name), ":")
		want[key] = flags
	}
	put(t, "n", fresh, "new")
	put(t, "n", fresh, "newflags:2,S")
	want["new"], want["newflags"] = "", `\Seen`
	// None of these is a message.
	put(t, "x", cur, ".hidden")
	put(t, "x", cur, ":2,S")
	os.Mkdir(filepath.Join(cur, "directory:2,S"), 0o700)
	os.Symlink("seen:2,S", filepath.Join(cur, "link:2,S"))
	makeFIFO(filepath.Join(cur, "fifo:2,S"))

	got := map[string]string{}
	for _, msg := range changes(t, m, "", rows{}).New {
		got[msg.Ref.Key] = msg.Flags.String()
		if msg.Ref.Key == "sizes,S=4,W=5" && msg.Size != 5 {
			t.Errorf("size %d, want 5", msg.Size)
		}
	}
	for key, flags := range want {
		g, ok := got[key]
		if !ok || !mail.ParseFlags(strings.Fields(g)...).Equal(mail.ParseFlags(strings.Fields(flags)...)) {
			t.Errorf("%q: flags %q, there %v, want %q", key, g, ok, flags)
		}
		delete(got, key)
	}
	if len(got) > 0 {
		t.Errorf("these are no messages: %q", got)
	}
	if n := len(contents(t, m)); n != len(want) {
		t.Errorf("%d messages can be read, want %d", n, len(want))
	}

	// Every change is seen against what is known.
	settle()
	known := rows{"gone": {}, "zz": {}}
	for key, flags := range want {
		known[key] = mail.ParseFlags(strings.Fields(flags)...)
	}
	delete(known, "plain")
	known["seen"] = mail.Flags{}
	d := changes(t, m, "", known)
	if len(d.New) != 1 || d.New[0].Ref.Key != "plain" || len(d.Flags) != 1 || d.Flags[0].Ref.Key != "seen" ||
		!slices.Equal(d.Gone, []mail.Ref{{Key: "gone"}, {Key: "zz"}}) || d.Unsettled != "" {
		t.Errorf("Changes gives %+v", d)
	}
	// A letter that gets another meaning changes flags without a rename.
	known.take(d)
	put(t, "0 Other\n", s.path, "INBOX", keywordFile)
	settle()
	d = changes(t, m, d.Cursor, known)
	if len(d.Flags) != 1 || d.Flags[0].Flags.String() != `\Seen Other` {
		t.Errorf("with other keywords Changes gives %+v", d)
	}
}

func TestSeveralFilesWithOneKey(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	cur, fresh := boxPath(s, "INBOX", "cur"), boxPath(s, "INBOX", "new")
	put(t, "linked", cur, "linked:2,S")
	os.Link(filepath.Join(cur, "linked:2,S"), filepath.Join(fresh, "linked"))
	put(t, "first", cur, "k:2,")
	put(t, "second", cur, "k:2,S")
	put(t, "third", cur, "k2:2,S")
	got := contents(t, m)
	if len(got) != 4 || got["k2"] != "third" || got["linked"] != "linked" {
		t.Fatalf("the mailbox holds %q", got)
	}
	known := rows{}
	d := changes(t, m, "", known)
	known.take(d)
	settle()
	if again := changes(t, m, "", known); !again.Empty() {
		t.Errorf("a second look gives %+v", again)
	}
	var first mail.Ref
	for key, body := range got {
		if body == "first" {
			first.Key = key
		}
	}
	states, err := m.SetFlags(t.Context(), []mail.FlagChange{{Ref: first, Delta: mail.FlagDelta{Add: mail.ParseFlags(`\Seen`)}}})
	if err != nil || len(states) != 1 || !states[0].Flags.IsZero() {
		t.Errorf("a flag whose name is taken: %+v, %v, want it not set", states, err)
	}
	states, err = m.SetFlags(t.Context(), []mail.FlagChange{{Ref: first, Delta: mail.FlagDelta{Add: mail.ParseFlags(`\Flagged`)}}})
	if err != nil || len(states) != 1 || states[0].Flags.String() != `\Flagged` {
		t.Errorf("another flag: %+v, %v", states, err)
	}
	if removed, err := m.Remove(t.Context(), []mail.Ref{first}); err != nil || !slices.Equal(removed, []mail.Ref{first}) {
		t.Errorf("Remove gives %v, %v", removed, err)
	}
	left := contents(t, m)
	if left["k"] != "second" || len(left) != 3 {
		t.Errorf("the mailbox holds %q", left)
	}
}

func TestChangesWithLimit(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	var msgs []outgoing
	for i := range 95 {
		msgs = append(msgs, outgoing{body: sampleMessage(i)})
	}
	keys := deliver(t, m, msgs...)
	known := rows{keys[3]: {}, "gone": {}}
	var since mail.Cursor
	for round := 0; ; round++ {
		d, err := m.Changes(t.Context(), since, known, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.New) > 10 || d.More && (len(d.Gone) > 0 || d.Stamp != "") {
			t.Fatalf("round %d gives %d new messages, %+v", round, len(d.New), d)
		}
		for _, msg := range d.New {
			if _, twice := known[msg.Ref.Key]; twice {
				t.Errorf("round %d lists %s again", round, msg.Ref)
			}
		}
		if err := m.Fetch(t.Context(), refsOf(d), func(f mail.Fetched) error { return nil }); err != nil {
			t.Fatal(err)
		}
		known.take(d)
		since = d.Cursor
		if !d.More {
			if round < 9 || !slices.Equal(d.Gone, []mail.Ref{{Key: "gone"}}) {
				t.Errorf("the last round, %d, gives %+v", round, d)
			}
			break
		}
		if round > 20 {
			t.Fatal("no end")
		}
	}
	if len(known) != 95 {
		t.Errorf("%d messages are known, want 95", len(known))
	}
}

// A directory that was replaced, or lost, is no empty mailbox.
func TestChangesOfLostMailbox(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "Box")
	keys := deliver(t, m, outgoing{body: "a"})
	os.Rename(boxPath(s, "Box"), boxPath(s, "elsewhere"))
	if d, err := m.Changes(t.Context(), "", rows{keys[0]: {}}, 0); err != nil || !d.Empty() {
		t.Errorf("a mailbox that was renamed: %+v, %v, want what it was", d, err)
	}
	os.RemoveAll(boxPath(s, "elsewhere"))
	d, err := m.Changes(t.Context(), "", rows{keys[0]: {}}, 0)
	if e := mail.AsError(err); e == nil || e.Scope != mail.ScopeMailbox || e.Kind != mail.KindGone || len(d.Gone) > 0 {
		t.Errorf("a mailbox that was removed: %+v, %v", d, err)
	}
	m = selected(t, s, "Other")
	keys = deliver(t, m, outgoing{body: "a"})
	os.RemoveAll(boxPath(s, "Other", "new"))
	os.Mkdir(boxPath(s, "Other", "new"), 0o700)
	if d, err := m.Changes(t.Context(), "", rows{keys[0]: {}}, 0); err == nil || len(d.Gone) > 0 {
		t.Errorf("a directory that was replaced: %+v, %v", d, err)
	}
}

// renamer renames messages in cur/ until it is stopped, and counts.
func renamer(t *testing.T, cur string, perSecond int) (stop func() int) {
	names := files(t, cur)
	var n int
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		start := time.Now()
		for {
			select {
			case <-done:
				return
			default:
			}
			i := r.IntN(len(names))
			key, flags, _ := strings.Cut(names[i], ":2,")
			next := key + ":2," + []string{"", "F", "FS", "S"}[r.IntN(4)]
			if flags != "" || next != names[i] {
				if os.Rename(filepath.Join(cur, names[i]), filepath.Join(cur, next)) == nil {
					names[i] = next
				}
			}
			if n++; n%16 == 0 {
				if ahead := time.Duration(n)*time.Second/time.Duration(perSecond) - time.Since(start); ahead > 0 {
					time.Sleep(ahead)
				}
			}
		}
	})
	return func() int {
		close(done)
		wg.Wait()
		return n
	}
}

// A reader that renames all the time makes no message new or gone.
func TestScanRace(t *testing.T) {
	for _, c := range []struct{ files, perSecond, scans int }{{500, 1000, 10}, {3000, 30_000, 20}} {
		if os.Getenv("POSTBAG_LONG") != "" {
			c.scans *= 100
		}
		s := openNewIn(t, t.TempDir(), Options{})
		m := selected(t, s, "INBOX")
		cur := boxPath(s, "INBOX", "cur")
		known := rows{}
		for i := range c.files {
			key := fmt.Sprintf("%d.M%dP1.host", 1700000000+i, i)
			put(t, "x", cur, key+":2,S")
			known[key] = mail.ParseFlags(`\Seen`)
		}
		gone := mail.Ref{Key: "1.really.gone"}
		known[gone.Key] = mail.Flags{}
		stop := renamer(t, cur, c.perSecond)
		start := time.Now()
		unsettled := 0
		for range c.scans {
			d, err := m.Changes(t.Context(), "", known, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.New) > 0 {
				t.Fatalf("%d messages are new: %v", len(d.New), d.New[0].Ref)
			}
			if len(d.Gone) > 1 || len(d.Gone) == 1 && d.Gone[0] != gone {
				t.Fatalf("%d messages are gone: %v", len(d.Gone), d.Gone)
			}
			if d.Unsettled != "" {
				unsettled++
			}
			if d.Stamp != "" {
				t.Errorf("a busy mailbox has the stamp %q", d.Stamp)
			}
		}
		took := time.Since(start)
		n := stop()
		t.Logf("%d files, %.0f renames/s, %d looks: %d unsettled", c.files, float64(n)/took.Seconds(), c.scans, unsettled)
		settle()
		if d := changes(t, m, "", known); !slices.Equal(d.Gone, []mail.Ref{gone}) || len(d.New) > 0 {
			t.Errorf("at rest %v are gone, %d new", d.Gone, len(d.New))
		}
	}
}

func TestFingerprintSettles(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 123_456_789)
	at := func(d time.Duration, local bool) fingerprint {
		return fingerprint{cur: fileStamp{ino: 1, mtime: now.Add(-d).UnixNano()}, local: local}
	}
	for _, c := range []struct {
		age   time.Duration
		local bool
		want  time.Duration
	}{
		{time.Hour, true, 0}, {fineGrain, true, 0}, {5 * time.Millisecond, true, 15 * time.Millisecond}, {-time.Millisecond, true, 21 * time.Millisecond},
		{-time.Hour, true, 0}, {-time.Hour, false, coarseGrain}, {time.Second, false, time.Second}, {3 * time.Second, false, 0},
		{456_789, true, coarseGrain - 456_789}, // a timestamp in full milliseconds may be a coarse one
	} {
		if got := at(c.age, c.local).settlesIn(now); got != c.want {
			t.Errorf("age %v, local %v: settles in %v, want %v", c.age, c.local, got, c.want)
		}
	}
}

// A stamp is given right after our own writes, and whatever happens right after
// that shows.
func TestStampNeedsNoRest(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	known := rows{}
	var cursor mail.Cursor
	for i := range 100 {
		for _, key := range deliver(t, m, outgoing{body: "a", flags: `\Seen`}, outgoing{body: "b"}) {
			known[key] = mail.Flags{}
		}
		d := changes(t, m, cursor, known)
		known.take(d)
		d = changes(t, m, d.Cursor, known)
		cursor = d.Cursor
		put(t, "theirs", s.path, "INBOX", []string{"cur", "new"}[i%2], fmt.Sprintf("%d.theirs.host", i))
		if list, err := s.List(t.Context()); err != nil || d.Stamp == "" || list[0].Stamp == d.Stamp {
			t.Fatalf("round %d: List gives %+v, %v after a delivery, with the stamp %q before it", i, list, err, d.Stamp)
		}
	}
}

func TestCursorSurvives(t *testing.T) {
	t.Parallel()
	f := fingerprint{cur: fileStamp{1, 2, 3, 0}, words: fileStamp{4, 5, -6, 7}}
	sum := nameSum{1, ^uint64(0), 42}
	got := parseCursor(f.cursor(sum))
	if want := (cursor{stamp: f.String(), words: "4.5.-6.7", sum: sum, valid: true}); got != want {
		t.Errorf("cursor reads %+v, want %+v", got, want)
	}
	for _, bad := range []mail.Cursor{"", "m1", "m2|a|1|2|3", "m1|a|x|2|3", "m1|a|1|2|-3", "m1|a|1|2|3|4", "more|3"} {
		if got := parseCursor(bad); got.valid {
			t.Errorf("%q is a cursor: %+v", bad, got)
		}
	}
}

// The hash is part of cursors on record.
func TestHashNameIsForGood(t *testing.T) {
	t.Parallel()
	got := fmt.Sprintf("%x %x %x", hashName(inCur, nil), hashName(inCur, []byte("1700000000.M1.host:2,S")), hashName(inNew, []byte("a")))
	const want = "[fab45f3beda6daf9 4e1e0715ae1819b6] [d5135b0eac585de3 aeb7a9f94503fc23] [65acdaba1701b04a 917689a04c276e14]"
	if got != want {
		t.Errorf("hashes are %s, want %s", got, want)
	}
	seen := map[[2]uint64]bool{}
	for i := range 50_000 {
		h := hashName(subdir(i%2), fmt.Appendf(nil, "%d.M%d.host:2,%s", i/1000, i, []string{"", "S", "F"}[i%3]))
		if seen[h] || seen[[2]uint64{h[0]}] || seen[[2]uint64{0, h[1]}] {
			t.Fatalf("name %d collides", i)
		}
		seen[h], seen[[2]uint64{h[0]}], seen[[2]uint64{0, h[1]}] = true, true, true
	}
}
