package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// twin is an account and a tree that one program keeps in sync. Each program has
// its own: what one of them does to an account would be work for the other.
type twin struct {
	scene
	name  string
	tree  string
	proxy *imaptest.Proxy
	sync  func() command
	notes map[string]int // the numbers of the small messages in the tree, by key
}

// twins are postbag's and mbsync's.
func (s *scene) twins(samples func() iter.Seq[demo.Sample]) [2]*twin {
	s.b.Helper()
	return [2]*twin{s.twin("postbag", samples), s.twin("mbsync", samples)}
}

// twin fills an account for a program, lets it sync that into a tree, and lets it
// look once more.
func (s *scene) twin(name string, samples func() iter.Seq[demo.Sample]) *twin {
	s.b.Helper()
	t := &twin{scene: *s, name: name, tree: s.tree(name), proxy: imaptest.StartProxy(s.b, s.addr), notes: map[string]int{}}
	t.user, t.addr = s.dovecot.NewUser(), t.proxy.Addr()
	n := t.fill(samples())
	if name == "postbag" {
		t.sync = func() command { return t.postbagSync(t.tree, "--force-deletes") }
		t.sync().must(s.b)
	} else {
		t.sync = func() command { return t.mbsyncBoth(t.tree, true) }
		t.mbsyncBoth(t.tree, false).must(s.b)
	}
	t.holds(t.tree, n)
	settle(s.b)
	t.sync().must(s.b)
	return t
}

// contenders are the twins in a contest. before makes the changes that the
// program is to bring over, and check looks whether it did.
func contenders(b *testing.B, twins [2]*twin, before func(*twin), check func(*twin, result)) []contender {
	var all []contender
	for _, t := range twins {
		t.b = b
		all = append(all, contender{
			name:  t.name,
			run:   func() command { before(t); return t.sync() },
			check: func(r result) { check(t, r) },
		})
	}
	return all
}

// postbagSync is postbag's two-way sync of the account and a tree.
func (s *scene) postbagSync(tree string, flags ...string) command {
	c := s.backup(tree)
	c.Args = append(append([]string{"sync"}, flags...), c.Args[1:]...)
	return c
}

// mbsyncBoth is mbsync's.
func (s *scene) mbsyncBoth(tree string, fsync bool) command {
	s.b.Helper()
	return s.mbsyncWith(tree, fsync, "Sync Pull", "Sync All\nExpunge Both", "Create Near", "Create Both")
}

// mbsyncWith is mbsync with other words in its configuration, given as pairs of
// old and new ones.
func (s *scene) mbsyncWith(tree string, fsync bool, words ...string) command {
	s.b.Helper()
	c := s.mbsync(tree, fsync)
	path := tree + ".mbsyncrc"
	config, err := os.ReadFile(path)
	if err != nil {
		s.b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(words...).Replace(string(config))), 0o600); err != nil {
		s.b.Fatal(err)
	}
	return c
}

// done is what postbag says that it did on one side.
type done struct{ New, Flags, Moved, Deleted int }

// did checks what postbag says that it did on the server and in the tree. mbsync
// says nothing.
func (t *twin) did(r result, server, tree done) {
	t.b.Helper()
	if t.name != "postbag" {
		return
	}
	var sum struct {
		Outcome string
		A, B    done
	}
	lines := bytes.Split(bytes.TrimSpace(r.stdout), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &sum); err != nil {
		t.b.Fatalf("postbag: %v in %q", err, tail(r.stdout))
	}
	if sum.Outcome != "done" || sum.A != server || sum.B != tree {
		t.b.Fatalf("postbag: %s with %+v and %+v, want done with %+v and %+v", sum.Outcome, sum.A, sum.B, server, tree)
	}
}

// client is a connection to the account that goes past the proxy, with a mailbox
// selected. It ends with the call of close.
func (t *twin) client(mailbox string) *imaptest.Client {
	t.b.Helper()
	c, err := imaptest.Dial(t.dovecot.Target(t.user))
	if err != nil {
		t.b.Fatal(err)
	}
	if _, err := c.Do("SELECT " + imaptest.Quote(mailbox)); err != nil {
		t.b.Fatal(err)
	}
	return c
}

// do sends commands in a mailbox of the account.
func (t *twin) do(mailbox string, commands ...string) {
	t.b.Helper()
	c := t.client(mailbox)
	defer c.Close()
	for _, command := range commands {
		if _, err := c.Do(command); err != nil {
			t.b.Fatal(err)
		}
	}
}

// found is how many messages of a mailbox of the account a search finds.
func (t *twin) found(mailbox, search string) int {
	t.b.Helper()
	c := t.client(mailbox)
	defer c.Close()
	lines, err := c.Do("SEARCH RETURN (COUNT) " + search)
	if err != nil {
		t.b.Fatal(err)
	}
	for _, l := range lines {
		var n int
		if _, count, ok := strings.Cut(l.Text, " COUNT "); ok {
			if _, err := fmt.Sscanf(count, "%d", &n); err == nil {
				return n
			}
		}
	}
	t.b.Fatalf("SEARCH told no number: %v", lines)
	return 0
}

// files are the paths of the small messages in the tree's INBOX, by number.
func (t *twin) files() map[int]string {
	t.b.Helper()
	out := make(map[int]string)
	for _, sub := range []string{"cur", "new"} {
		dir := filepath.Join(t.tree, "INBOX", sub)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.b.Fatal(err)
		}
		for _, e := range entries {
			key, _, _ := strings.Cut(e.Name(), ":")
			n, ok := t.notes[key]
			if !ok {
				n = noteNumber(t.b, filepath.Join(dir, e.Name()))
				t.notes[key] = n
			}
			out[n] = filepath.Join(dir, e.Name())
		}
	}
	return out
}

// noteNumber reads the number of a small message, which is in its Message-ID.
func noteNumber(tb testing.TB, path string) (n int) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 300))
	if err != nil {
		tb.Fatal(err)
	}
	_, id, _ := strings.Cut(string(head), "Message-ID: <")
	if _, err := fmt.Sscanf(id, "%d.note@", &n); err != nil {
		tb.Fatalf("%s has no number: %v", path, err)
	}
	return n
}

// uids writes numbers as a set. Those of small messages are their UIDs, since
// they are the first that the account got.
func uids(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	return strings.Join(words, ",")
}

// every lists n numbers, from first on, step apart.
func every(first, step, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i*step
	}
	return out
}

// BenchmarkSync100k syncs 100,000 messages of one mailbox both ways: when nothing
// has changed, and when 1,000 flags were changed on the server and 1,000 in the
// Maildir, spread over the mailbox.
func BenchmarkSync100k(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	const n, changes = 100_000, 1000
	far, near := every(1, n/changes, changes), every(n/changes/2, n/changes, changes)
	twins := s.twins(func() iter.Seq[demo.Sample] { return small(1, n) })
	b.Run("Nothing", func(b *testing.B) { syncNothing(b, twins) })
	on := false
	change := func(t *twin) {
		sign := map[bool]string{true: "+", false: "-"}[on]
		t.do("INBOX", "UID STORE "+uids(far)+" "+sign+`FLAGS.SILENT (\Flagged)`)
		files := t.files()
		for _, i := range near {
			t.flag(files[i], on)
		}
	}
	b.Run("Flags", func(b *testing.B) {
		contest(b, func() { on = !on }, contenders(b, twins, change, func(t *twin, r result) {
			t.did(r, done{Flags: changes}, done{Flags: changes})
			want := 0
			if on {
				want = 2 * changes
			}
			if far, near := t.found("INBOX", "FLAGGED"), t.flagged(); far != want || near != want {
				b.Fatalf("%s: %d messages are flagged on the server and %d in the tree, want %d", t.name, far, near, want)
			}
		})...)
	})
}

// flag renames a message of a Maildir so that it is flagged, or not.
func (t *twin) flag(path string, on bool) {
	t.b.Helper()
	base, letters, _ := strings.Cut(filepath.Base(path), ":2,")
	letters = strings.ReplaceAll(letters, "F", "")
	if on {
		all := append([]byte(letters), 'F')
		slices.Sort(all)
		letters = string(all)
	}
	if err := os.Rename(path, filepath.Join(t.tree, "INBOX", "cur", base+":2,"+letters)); err != nil {
		t.b.Fatal(err)
	}
}

// flagged counts the flagged messages of the tree.
func (t *twin) flagged() (n int) {
	for _, path := range t.files() {
		if _, letters, _ := strings.Cut(filepath.Base(path), ":2,"); strings.Contains(letters, "F") {
			n++
		}
	}
	return n
}

// BenchmarkDeletes brings over 1,000 deletions that were made on the server and
// 1,000 that were made in the Maildir, spread over 20,000 messages of one mailbox,
// which gets as many new ones before each round.
func BenchmarkDeletes(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	const n, deletes = 20_000, 1000
	twins := s.twins(func() iter.Seq[demo.Sample] { return small(1, n) })
	alive, last := every(1, 1, n), n
	var far, near []int
	before := func() {
		if far != nil {
			for _, t := range twins {
				t.fill(small(last+1, last+2*deletes))
				settle(b)
				t.sync().must(b)
			}
			alive = append(alive, every(last+1, 1, 2*deletes)...)
			last += 2 * deletes
		}
		far, near = nil, nil
		for i, number := range alive {
			switch i % (n / deletes) {
			case 0:
				far = append(far, number)
			case n / deletes / 2:
				near = append(near, number)
			}
		}
		alive = slices.DeleteFunc(alive, func(i int) bool { return slices.Contains(far, i) || slices.Contains(near, i) })
	}
	remove := func(t *twin) {
		t.do("INBOX", "UID STORE "+uids(far)+` +FLAGS.SILENT (\Deleted)`, "EXPUNGE")
		files := t.files()
		for _, i := range near {
			if err := os.Remove(files[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	contest(b, before, contenders(b, twins, remove, func(t *twin, r result) {
		t.did(r, done{Deleted: deletes}, done{Deleted: deletes})
		t.holds(t.tree, len(alive))
		if got := t.found("INBOX", "ALL"); got != len(alive) {
			b.Fatalf("%s: the server holds %d messages, want %d", t.name, got, len(alive))
		}
	})...)
}

// BenchmarkSyncNothing200Boxes40ms looks for changes on both sides in 200 mailboxes
// of an account that is 40 ms away, and there are none.
func BenchmarkSyncNothing200Boxes40ms(b *testing.B) {
	s := newScene(b, imaptest.DovecotOptions{})
	twins := s.twins(func() iter.Seq[demo.Sample] { return spread(1000, 200) })
	for _, t := range twins {
		t.proxy.RTT(40 * time.Millisecond)
	}
	syncNothing(b, twins)
}

// syncNothing compares two-way runs that find nothing to do.
func syncNothing(b *testing.B, twins [2]*twin) {
	contest(b, nil, contenders(b, twins, func(*twin) {}, func(t *twin, r result) { t.did(r, done{}, done{}) })...)
}
