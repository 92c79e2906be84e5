package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

// share is whose messages an actor changes, by their dates: 0 stands for the even
// ones, 1 for the odd ones, both for all.
type share int

const both share = 2

func (s share) has(date time.Time) bool { return s == both || date.Unix()%2 == int64(s) }

// ledger is what the others wrote and removed while syncs ran: each message has a
// content of its own.
type ledger struct {
	mu      sync.Mutex
	written map[mail.Digest]bool
	removed map[mail.Digest]bool
	moved   map[mail.Digest]string // by whom
	made    int
}

func newLedger(d imaptest.Dump) *ledger {
	l := &ledger{written: map[mail.Digest]bool{}, removed: map[mail.Digest]bool{}, moved: map[mail.Digest]string{}}
	for digest := range placesOf(d) {
		l.written[digest] = true
	}
	return l
}

// compose writes a message that is like no other.
func (l *ledger) compose(by string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	wire := fmt.Appendf(nil, "Message-ID: <%s.%d@example.org>\r\nSubject: %[1]s\r\n\r\n%[2]d\r\n", by, l.made)
	l.written[sha256.Sum256(wire)] = true
	return wire
}

func (l *ledger) remove(d mail.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed[d] = true
}

func (l *ledger) move(d mail.Digest, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(l.moved[d], by) {
		l.moved[d] += by + " "
	}
}

// check fails the test when a message is not there that nobody removed, or is
// there twice. One that both moved while a sync ran may be where each moved it.
func (l *ledger) check(t testing.TB, end imaptest.Dump) {
	t.Helper()
	now := placesOf(end)
	back, twice := 0, 0
	for d := range l.written {
		switch n := len(now[d]); {
		case n == 0 && !l.removed[d]:
			t.Errorf("%.12s is lost", d)
		case n == 2 && strings.Count(l.moved[d], " ") == 2:
			twice++
		case n > 1:
			t.Errorf("%.12s is in {%s}", d, where(now[d]))
		case n == 1 && l.removed[d]:
			back++
		}
	}
	for d := range now {
		if !l.written[d] {
			t.Errorf("nobody wrote %.12s, in {%s}", d, where(now[d]))
		}
	}
	t.Logf("%d messages; %d were removed, %d of these are there all the same; %d that both moved are twice there", len(l.written), len(l.removed), back, twice)
}

// busy runs actors until the function that it answers with is called.
func busy(t testing.TB, actors ...func(*rand.Rand) error) (stop func()) {
	var done atomic.Bool
	var all sync.WaitGroup
	for i, act := range actors {
		all.Go(func() {
			random := rand.New(rand.NewPCG(drawn(), uint64(i)))
			for !done.Load() {
				if err := act(random); err != nil {
					t.Errorf("actor %d: %v", i, err)
					return
				}
			}
		})
	}
	return func() {
		done.Store(true)
		all.Wait()
	}
}

// anyFile picks a message file of the tree as it is at this moment.
func (r *mailUser) anyFile(random *rand.Rand, boxes []string) (box string, m stored, ok bool) {
	box = boxes[random.IntN(len(boxes))]
	dir := filepath.Join(r.box(box), []string{"cur", "cur", "new"}[random.IntN(3)])
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return box, m, false
	}
	return box, stored{path: filepath.Join(dir, entries[random.IntN(len(entries))].Name())}, true
}

// gone takes away the error of a file that another renamed in between.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// act does one thing to the tree. Keywords are left alone, and letters that stand
// for them stay where they mean something.
func (r *mailUser) act(random *rand.Rand, l *ledger, boxes []string, mine share) error {
	box, m, ok := r.anyFile(random, boxes)
	if ok {
		info, err := os.Lstat(m.path)
		if err != nil || !mine.has(info.ModTime()) {
			return gone(err)
		}
	}
	kind := random.IntN(100)
	if !ok || kind < 10 {
		wire := l.compose("maildir")
		return r.deliver(box, r.base(), fileOf(wire, false), mail.Flags{}, dateOf(wire), random.IntN(2) == 0)
	}
	key, info, _ := strings.Cut(filepath.Base(m.path), ":2,")
	upper := strings.TrimRight(info, "abcdefghijklmnopqrstuvwxyz")
	switch {
	case kind < 70:
		flags := ""
		for _, c := range "FRS" {
			if random.IntN(2) == 0 {
				flags += string(c)
			}
		}
		return gone(os.Rename(m.path, filepath.Join(r.box(box), "cur", key+":2,"+flags+info[len(upper):])))
	case kind < 90:
		to := boxes[random.IntN(len(boxes))]
		if random.IntN(2) == 0 {
			key = r.base()
		}
		data, err := os.ReadFile(m.path)
		if err != nil {
			return gone(err)
		}
		l.move(digestOf(data), "reader")
		return gone(os.Rename(m.path, filepath.Join(r.box(to), "cur", key+":2,"+upper)))
	}
	// It is moved aside first: what is read is what is removed.
	aside := filepath.Join(r.root, "..", r.base())
	if err := os.Rename(m.path, aside); err != nil {
		return gone(err)
	}
	data, err := os.ReadFile(aside)
	if err != nil {
		return err
	}
	l.remove(digestOf(data))
	return os.Remove(aside)
}

// digestOf is the digest of a file with LF.
func digestOf(file []byte) mail.Digest {
	return sha256.Sum256(bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n")))
}

// act does one thing to the account. A message may be gone before it is done.
func (c *imapActor) act(random *rand.Rand, l *ledger, boxes []string, mine share) error {
	err := c.change(random, l, boxes, mine)
	if status := (*imaptest.StatusError)(nil); errors.As(err, &status) && strings.Contains(status.Reply, "EXPUNGEISSUED") {
		return nil
	}
	return err
}

func (c *imapActor) change(random *rand.Rand, l *ledger, boxes []string, mine share) error {
	time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
	box := boxes[random.IntN(len(boxes))]
	if random.IntN(100) < 10 {
		wire := l.compose("server")
		return c.deliver(box, wire, mail.Flags{}, dateOf(wire))
	}
	c.selected = "" // the numbers are those of now
	if err := c.in(box); err != nil {
		return err
	}
	lines, err := c.Do("UID SEARCH RETURN (ALL) UNDELETED")
	if err != nil {
		return err
	}
	uid := anyUID(random, lines)
	if uid == 0 {
		return nil
	}
	lines, err = c.Do(fmt.Sprintf("UID FETCH %d (UID FLAGS INTERNALDATE BODY.PEEK[])", uid))
	if err != nil {
		return err
	}
	var digest mail.Digest
	for _, line := range lines {
		date := dateItem.FindStringSubmatch(line.Text)
		if date == nil || len(line.Literals) != 1 {
			continue
		}
		if at, err := time.Parse("_2-Jan-2006 15:04:05 -0700", date[1]); err == nil && mine.has(at) {
			digest = sha256.Sum256(line.Literals[0])
		}
	}
	if !digest.Known() {
		return nil
	}
	switch kind := random.IntN(100); {
	case kind < 60:
		return c.send(fmt.Sprintf("UID STORE %d %cFLAGS.SILENT (%s)", uid, "+-"[random.IntN(2)], someFlags[random.IntN(3)]))
	case kind < 85:
		l.move(digest, "client")
		return c.move(box, uid, boxes[random.IntN(len(boxes))], false)
	}
	l.remove(digest)
	return c.remove(box, uid)
}

var dateItem = regexp.MustCompile(`INTERNALDATE "([^"]*)"`)
