package maildir

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postbag/internal/mail"
)

func change(key, add, remove string) mail.FlagChange {
	return mail.FlagChange{Ref: mail.Ref{Key: key}, Delta: mail.FlagDelta{
		Add: mail.ParseFlags(strings.Fields(add)...), Remove: mail.ParseFlags(strings.Fields(remove)...)}}
}

func TestSetFlagsKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	put(t, "0 Known\n", s.path, "INBOX", keywordFile)
	for _, c := range []struct{ dir, name, add, remove, wantDir, want, wantFlags string }{
		{"cur", "a:2,S", `\Flagged`, ``, "cur", "a:2,FS", `\Flagged \Seen`},
		{"cur", "b:2,XSz", `\Flagged`, `\Seen`, "cur", "b:2,FXz", `\Flagged`},
		{"cur", "c:2,SS", `\Flagged`, ``, "cur", "c:2,FS", `\Flagged \Seen`},
		{"cur", "d", `\Seen`, ``, "cur", "d:2,S", `\Seen`},
		{"cur", "e:1,exp", `\Seen`, ``, "cur", "e:2,S:1,exp", `\Seen`},
		{"cur", "f:2,S:x", `\Draft`, ``, "cur", "f:2,DS:x", `\Draft \Seen`},
		{"cur", "g;2,S", `\Draft`, ``, "cur", "g;2,DS", `\Draft \Seen`},
		{"cur", "h!2,S", ``, `\Seen`, "cur", "h!2,", ``},
		{"cur", "i,U=4:2,S,w=5", `\Deleted`, ``, "cur", "i,U=4:2,ST,w=5", `\Deleted \Seen`},
		{"cur", "j:2,Sa", `$Forwarded`, `Known`, "cur", "j:2,PSb", `\Seen $Forwarded`},
		{"cur", "k:2,P", ``, `$forwarded`, "cur", "k:2,", ``},
		{"cur", "l:2,FS", `\Seen`, `\Draft`, "cur", "l:2,FS", `\Flagged \Seen`},
		{"cur", "unsorted:2,SF", `\Seen`, ``, "cur", "unsorted:2,SF", `\Flagged \Seen`},
		{"new", "n", `\Seen`, ``, "cur", "n:2,S", `\Seen`},
		{"new", "o", ``, `\Seen`, "new", "o", ``},
		{"new", "p:2,S", ``, `\Seen`, "new", "p:2,", ``},
		{"new", "q:2,S", `\Flagged`, ``, "cur", "q:2,FS", `\Flagged \Seen`},
		{"cur", "bytes:2,S\xff", `\Flagged`, ``, "cur", "bytes:2,FS\xff", `\Flagged \Seen`},
	} {
		put(t, c.name, s.path, "INBOX", c.dir, c.name)
		key, _, _ := strings.Cut(strings.NewReplacer("!2", ":2", ";2", ":2").Replace(c.name), ":")
		states, err := m.SetFlags(t.Context(), []mail.FlagChange{change(key, c.add, c.remove)})
		if err != nil || len(states) != 1 || !states[0].Flags.Equal(mail.ParseFlags(strings.Fields(c.wantFlags)...)) {
			t.Errorf("%q +%s -%s: %+v, %v, want %q", c.name, c.add, c.remove, states, err, c.wantFlags)
		}
		if body, err := os.ReadFile(boxPath(s, "INBOX", c.wantDir, c.want)); string(body) != c.name {
			t.Errorf("%q +%s -%s: want it in %s/%q: %v; there are %q and %q", c.name, c.add, c.remove, c.wantDir, c.want, err,
				files(t, s.path, "INBOX", "cur"), files(t, s.path, "INBOX", "new"))
		}
	}
	states, err := m.SetFlags(t.Context(), []mail.FlagChange{change("nobody", `\Seen`, ""), change("../../x", `\Seen`, ""), change("", `\Seen`, "")})
	if err != nil || len(states) != 0 {
		t.Errorf("messages that are not there: %+v, %v", states, err)
	}
}

// A file that is renamed under us is followed, and the other's flag survives.
func TestSetFlagsFollowsRenames(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	cur := boxPath(s, "INBOX", "cur")
	put(t, "x", cur, "a:2,S")
	put(t, "x", cur, "b:2,S")
	changes(t, m, "", rows{}) // the names are remembered
	os.Rename(filepath.Join(cur, "a:2,S"), filepath.Join(cur, "a:2,SXabc"))
	os.Remove(filepath.Join(cur, "b:2,S"))
	states, err := m.SetFlags(t.Context(), []mail.FlagChange{change("a", `\Flagged`, ""), change("b", `\Flagged`, "")})
	if err != nil || len(states) != 1 || states[0].Flags.String() != `\Seen \Flagged` {
		t.Errorf("SetFlags gives %+v, %v", states, err)
	}
	if got := files(t, cur); !slices.Equal(got, []string{"a:2,FSXabc"}) {
		t.Errorf("cur/ holds %q", got)
	}
}

func TestSetFlagsNeverReplaces(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	cur := boxPath(s, "INBOX", "cur")
	put(t, "one", cur, "k:2,")
	key := "k"
	put(t, "two", cur, "k:2,S")
	os.Remove(filepath.Join(cur, "k:2,S"))
	m.hints = map[string]location{key: {inCur, "k:2,"}}
	put(t, "two", cur, "k:2,S")
	states, err := m.SetFlags(t.Context(), []mail.FlagChange{change(key, `\Seen`, "")})
	if err != nil || len(states) != 1 || !states[0].Flags.IsZero() {
		t.Errorf("SetFlags onto a file gives %+v, %v", states, err)
	}
	for name, want := range map[string]string{"k:2,": "one", "k:2,S": "two"} {
		if got, _ := os.ReadFile(filepath.Join(cur, name)); string(got) != want {
			t.Errorf("%q holds %q, want %q", name, got, want)
		}
	}
}

func TestKeywordLetters(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	put(t, "x", s.path, "INBOX", "cur", "stray:2,Scy") // letters without a meaning keep none
	var words []string
	for i := range 30 {
		words = append(words, "Word"+string(rune('A'+i%26))+strings.Repeat("x", i/26))
	}
	put(t, "0 First\n25 Last\nnot a line\n3 bad(word\n", s.path, "INBOX", keywordFile)
	kept := m.Storable(mail.Flags{System: mail.Seen, Keywords: mail.NewKeywords(append(words, "first", "LAST", "$forwarded")...)})
	// 26 letters, of which First, Last, the unusable one and two strays are taken.
	if n := len(kept.Keywords.Words()); n != 21+2+1 || kept.System != mail.Seen {
		t.Fatalf("%d keywords are storable: %q", n, kept)
	}
	key := deliver(t, m, outgoing{body: "x", flags: kept.String()})[0]
	d := changes(t, m, "", rows{})
	for _, msg := range d.New {
		if msg.Ref.Key == key && !msg.Flags.Equal(kept) {
			t.Errorf("stored %q, want %q", msg.Flags, kept)
		}
		if msg.Ref.Key == "stray" && msg.Flags.String() != `\Seen` {
			t.Errorf("the stray letters mean %q", msg.Flags)
		}
	}
	data, _ := os.ReadFile(boxPath(s, "INBOX", keywordFile))
	for _, line := range []string{"0 First\n", "25 Last\n", "3 bad(word\n", "not a line\n"} {
		if !strings.Contains(string(data), line) {
			t.Errorf("the keywords file lost %q:\n%s", line, data)
		}
	}
	if got := m.Storable(mail.ParseFlags("OneMore")); !got.IsZero() {
		t.Errorf("without a letter left %q is storable", got)
	}
	if got := files(t, s.path, "INBOX"); slices.Contains(got, keywordLock) || slices.Contains(got, keywordTempFile) {
		t.Errorf("locks are left: %q", got)
	}
}

func TestKeywordsWaitForTheLock(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	put(t, "x", s.path, "INBOX", "cur", "a:2,S")
	lock := put(t, "1:host", s.path, "INBOX", keywordLock)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := m.SetFlags(ctx, []mail.FlagChange{change("a", "Word", "")}); err == nil {
		t.Error("a keyword was set although the lock is held")
	}
	old := time.Now().Add(-staleLock - time.Second)
	os.Chtimes(lock, old, old)
	states, err := m.SetFlags(t.Context(), []mail.FlagChange{change("a", "Word", "")})
	if err != nil || len(states) != 1 || states[0].Flags.String() != `\Seen Word` {
		t.Errorf("with a stale lock: %+v, %v", states, err)
	}
	// The lock of a process of this machine that was killed is nobody's.
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	put(t, fmt.Sprintf("%d:%s", math.MaxInt32, host), s.path, "INBOX", keywordLock)
	states, err = m.SetFlags(t.Context(), []mail.FlagChange{change("a", "Other", "")})
	if err != nil || len(states) != 1 || states[0].Flags.String() != `\Seen Other Word` {
		t.Errorf("with the lock of a dead process: %+v, %v", states, err)
	}
}

func TestMoveBetweenMailboxes(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	from, to := selected(t, s, "From"), selected(t, s, "To")
	put(t, "0 A\n1 B\n", s.path, "From", keywordFile)
	put(t, "0 B\n", s.path, "To", keywordFile)
	cur, fresh := boxPath(s, "From", "cur"), boxPath(s, "From", "new")
	put(t, "words", cur, "words:2,Sabz")
	put(t, "fresh", fresh, "fresh")
	put(t, "junk", cur, "junk,U=5:1,exp")
	put(t, "taken", cur, "taken:2,F")
	put(t, "other", s.path, "To", "cur", "taken:2,S")
	put(t, "a\nb\n", cur, "1.0123456789abcdef0123.postbag-raw:2,S")
	put(t, "c\n", s.path, "To", "new", "1.0123456789abcdef0123.postbag-raw")
	refs := refsOf(changes(t, from, "", rows{}))
	before := contents(t, from)
	moved, err := from.Move(t.Context(), append(refs, mail.Ref{Key: "nobody"}), "To")
	if err != nil || len(moved) != 5 {
		t.Fatalf("Move gives %+v, %v", moved, err)
	}
	got, flags := contents(t, to), map[string]string{}
	for _, msg := range changes(t, to, "", rows{}).New {
		flags[msg.Ref.Key] = msg.Flags.String()
	}
	for _, mv := range moved {
		if got[mv.To.Key] != before[mv.From.Key] {
			t.Errorf("%s arrived as %s with %q, want %q", mv.From, mv.To, got[mv.To.Key], before[mv.From.Key])
		}
		want := map[string]string{"words": `\Seen A B`, "fresh": "", "junk,U=5": "", "taken": `\Flagged`, "1.0123456789abcdef0123.postbag-raw": `\Seen`}[mv.From.Key]
		if flags[mv.To.Key] != want {
			t.Errorf("%s arrived with the flags %q, want %q", mv.From, flags[mv.To.Key], want)
		}
		if taken := strings.Contains(mv.From.Key, "taken") || strings.Contains(mv.From.Key, "raw"); taken == (mv.From == mv.To) {
			t.Errorf("%s arrived as %s", mv.From, mv.To)
		}
	}
	if got["taken"] != "other" || len(got) != 7 {
		t.Errorf("the other mailbox holds %q", got)
	}
	if left := contents(t, from); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	if got := files(t, s.path, "To", "new"); !slices.Contains(got, "fresh") {
		t.Errorf("new/ holds %q, want what was in new/ before", got)
	}
	if _, err := from.Move(t.Context(), refs, "Nowhere"); mail.AsError(err) == nil || mail.AsError(err).Kind != mail.KindGone {
		t.Errorf("Move to nowhere: %v", err)
	}
}

func TestRemoveKeepsAndPutsBack(t *testing.T) {
	t.Parallel()
	var later time.Duration
	s := openNew(t, Options{Now: func() time.Time { return time.Now().Add(later) }})
	m := selected(t, s, "A/B")
	date := time.Unix(1_000_000_000, 0)
	keys := deliver(t, m, outgoing{body: "one\r\n", flags: `\Seen Word $Forwarded`, date: date}, outgoing{body: "two\n"}, outgoing{body: "three"})
	refs := []mail.Ref{{Key: keys[0]}, {Key: "nobody"}, {Key: keys[1]}}
	settle()
	gone, err := m.Remove(t.Context(), refs)
	slices.SortFunc(refs, mail.Ref.Compare)
	slices.SortFunc(gone, mail.Ref.Compare)
	if err != nil || !slices.Equal(gone, refs) {
		t.Fatalf("Remove gives %v, %v, want %v", gone, err, refs)
	}
	if left := contents(t, m); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
	trash, err := s.Trash(t.Context())
	if err != nil || len(trash) != 2 {
		t.Fatalf("Trash gives %+v, %v", trash, err)
	}
	var ids []string
	for _, e := range trash {
		ids = append(ids, e.ID)
		if e.Mailbox != "A/B" || e.Key == keys[0] && (e.Flags.String() != `\Seen $Forwarded Word` || !e.Date.Equal(date)) {
			t.Errorf("Trash lists %+v", e)
		}
	}
	if err := s.Delete(t.Context(), "A/B"); err != nil {
		t.Fatal(err)
	}
	if back, err := s.PutBack(t.Context(), ids); err != nil || len(back) != 2 {
		t.Fatalf("PutBack gives %q, %v", back, err)
	}
	again, err := s.Examine(t.Context(), "A/B")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	got := contents(t, again)
	for i, body := range []string{"one\r\n", "two\n"} {
		if got[keys[i]] != body {
			t.Errorf("%s came back with %q, want %q", keys[i], got[keys[i]], body)
		}
	}
	for _, msg := range changes(t, again, "", rows{}).New {
		if msg.Ref.Key == keys[0] && (msg.Flags.String() != `\Seen $Forwarded Word` || !msg.Date.Equal(date)) {
			t.Errorf("it came back as %+v", msg)
		}
	}
	checkEmptying(t, s)
	// After 30 days what is left in the area goes.
	if n, err := s.ExpireTrash(t.Context()); n != 0 || err != nil {
		t.Errorf("at once %d expire, %v", n, err)
	}
	later = DefaultKeepDeleted + time.Minute
	if n, err := s.ExpireTrash(t.Context()); n != 2 || err != nil {
		t.Errorf("after 30 days %d expire, %v, want the message of the deleted mailbox and its keywords", n, err)
	}
	if trash, err := s.Trash(t.Context()); err != nil || len(trash) != 0 {
		t.Errorf("Trash gives %+v, %v", trash, err)
	}
}

// checkEmptying looks at what would be removed for good, in a trash with something
// that was removed just now.
func checkEmptying(t *testing.T, s *Store) {
	t.Helper()
	all, err := s.Trash(t.Context())
	if err != nil || len(all) == 0 {
		t.Fatalf("Trash gives %+v, %v", all, err)
	}
	now := time.Now()
	for before, want := range map[time.Time]int{{}: len(all), now.Add(-time.Hour): 0, now.Add(time.Minute): len(all)} {
		if got, err := s.TrashBefore(t.Context(), before); err != nil || len(got) != want {
			t.Errorf("before %v there are %d, %v; want %d", before, len(got), err, want)
		}
	}
	if n, err := s.EmptyTrash(t.Context(), now.Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("an hour is not over, and %d are removed, %v", n, err)
	}
}

// A run's removals go together, when the last of them is old enough; and a message
// that was marked as deleted comes back without the mark. Until then it can be
// read.
func TestEmptyTrashBefore(t *testing.T) {
	t.Parallel()
	begin := time.Now().Add(-10 * time.Hour)
	clock := begin
	s := openNew(t, Options{Now: func() time.Time { return clock }})
	m := selected(t, s, "INBOX")
	keys := deliver(t, m, outgoing{body: "Subject: one\r\n", flags: `\Seen \Deleted`}, outgoing{body: "two\r\n"})
	for _, key := range keys {
		clock = clock.Add(time.Hour)
		if gone, err := m.Remove(t.Context(), []mail.Ref{{Key: key}}); err != nil || len(gone) != 1 {
			t.Fatalf("Remove gives %v, %v", gone, err)
		}
	}
	all, err := s.Trash(t.Context())
	if err != nil || len(all) != 2 || all[0].Run() != all[1].Run() {
		t.Fatalf("Trash gives %+v, %v", all, err)
	}
	if n, err := s.EmptyTrash(t.Context(), begin.Add(90*time.Minute)); n != 0 || err != nil {
		t.Errorf("one of the run is not old enough, and %d are removed, %v", n, err)
	}
	f, err := s.OpenTrashed(all[0])
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil || string(text) != "Subject: one\n" || f.Close() != nil {
		t.Errorf("got %q, %v", text, err)
	}
	for _, id := range []string{"", "x", "a/b/c", all[0].Run() + "/INBOX/x", all[0].Run() + "/../x", "../../root"} {
		if f, err := s.OpenTrashed(Trashed{ID: id}); err == nil {
			f.Close()
			t.Errorf("%q can be opened", id)
		}
	}
	if back, err := s.PutBack(t.Context(), []string{all[0].ID}); err != nil || len(back) != 1 {
		t.Fatalf("PutBack gives %q, %v", back, err)
	}
	for _, msg := range changes(t, m, "", rows{}).New {
		if msg.Flags.String() != `\Seen` {
			t.Errorf("it came back with %s", msg.Flags)
		}
	}
	if n, err := s.EmptyTrash(t.Context(), begin.Add(3*time.Hour)); n != 1 || err != nil {
		t.Errorf("%d are removed, %v; want 1", n, err)
	}
	if left, err := s.Trash(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("Trash gives %+v, %v", left, err)
	}
}

// Two messages that had the same key, one after the other, come back as two.
func TestPutBackOfEqualKeys(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	first := deliver(t, m, outgoing{body: "one\r\n", flags: `\Seen`})[0]
	remove := func(key string) {
		t.Helper()
		if gone, err := m.Remove(t.Context(), []mail.Ref{{Key: key}}); err != nil || len(gone) != 1 {
			t.Fatalf("Remove gives %v, %v", gone, err)
		}
	}
	remove(first)
	path := filepath.Join(s.Path(), "INBOX", "cur", first+":2,S")
	for _, text := range []string{"two\n", "three\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if text == "two\n" {
			remove(first)
		}
	}
	all, err := s.Trash(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("Trash gives %+v, %v", all, err)
	}
	if back, err := s.PutBack(t.Context(), []string{all[0].ID, all[1].ID}); err != nil || len(back) != 2 {
		t.Fatalf("PutBack gives %q, %v", back, err)
	}
	var bodies []string
	for _, body := range contents(t, m) {
		bodies = append(bodies, body)
	}
	slices.Sort(bodies)
	if want := []string{"one\r\n", "three\r\n", "two\r\n"}; !slices.Equal(bodies, want) {
		t.Errorf("got %q, want %q", bodies, want)
	}
}

func TestRemoveWithoutKeeping(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{KeepDeleted: -1})
	m := selected(t, s, "INBOX")
	key := deliver(t, m, outgoing{body: "one"})[0]
	if gone, err := m.Remove(t.Context(), []mail.Ref{{Key: key}}); err != nil || len(gone) != 1 {
		t.Fatalf("Remove gives %v, %v", gone, err)
	}
	if trash, err := s.Trash(t.Context()); err != nil || len(trash) != 0 || len(contents(t, m)) != 0 {
		t.Errorf("Trash gives %+v, %v", trash, err)
	}
}

func TestSetAside(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	key := deliver(t, m, outgoing{body: "bad"})[0]
	for i, want := range []bool{true, false} {
		if done, err := s.SetAside(t.Context(), "INBOX", mail.Ref{Key: key}, "digest differs"); done != want || err != nil {
			t.Errorf("try %d: %v, %v", i, done, err)
		}
	}
	names := files(t, s.StateDir(), "damaged", "INBOX")
	if len(names) != 2 || len(contents(t, m)) != 0 {
		t.Errorf("damaged holds %q", names)
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"a", "a:2,S", "a:1,x", "a;2,F", "a!2,F", ":2,S", ".a", "a,S=1,W=2:2,Sab", "a:2,S:x", "a:", "a:2", "é:2,é", "a:2,S\xff"} {
		f.Add(s, uint8(3))
	}
	words := &keywordTable{}
	words.parse("0 One\n2 Two\n5 One\n")
	f.Fuzz(func(t *testing.T, name string, flags uint8) {
		n, ok := parseName(name)
		if !ok {
			if name != "" && name[0] != '.' && name[0] != ':' {
				t.Fatalf("%q is no message", name)
			}
			return
		}
		if n.key == "" || strings.Contains(n.key, ":") || !strings.HasPrefix(name, n.key) {
			t.Fatalf("%q has the key %q", name, n.key)
		}
		want := mail.Flags{System: mail.System(flags & 31)}
		if flags&32 != 0 {
			want.Keywords = mail.NewKeywords("One", forwarded)
		}
		next := n.withLetters(lettersOf(want, n.letters, words), ':')
		got, ok := parseName(next)
		if !ok || got.key != n.key || got.rest != n.rest {
			t.Fatalf("%q became %q: %+v, was %+v", name, next, got, n)
		}
		if f := flagsOf(got.letters, words); !f.Equal(want) {
			t.Fatalf("%q became %q with the flags %q, want %q", name, next, f, want)
		}
		for _, c := range n.letters {
			if flagsOf(string(c), words).IsZero() && !strings.ContainsRune(got.letters, c) {
				t.Fatalf("%q became %q and lost %q", name, next, c)
			}
		}
		if again := got.withLetters(lettersOf(want, got.letters, words), ':'); again != next {
			t.Fatalf("%q became %q, then %q", name, next, again)
		}
	})
}

func FuzzKeywords(f *testing.F) {
	f.Add("0 A\n1 B\n")
	f.Add("25 Z\r\n26 x\nx\n\n0 \n")
	f.Fuzz(func(t *testing.T, data string) {
		var a, b keywordTable
		a.parse(data)
		b.parse(string(a.format()))
		if a.words != b.words || !slices.Equal(a.extra, b.extra) {
			t.Fatalf("%q reads %q %q, written and read again %q %q", data, a.words, a.extra, b.words, b.extra)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("m1|a,b,c|1|2|3")
	f.Fuzz(func(t *testing.T, s string) { parseCursor(mail.Cursor(s)) })
}

// TestManyFlagsInLargeMailbox changes more messages than names are guessed for in a
// small mailbox: in one that a pass has shown to be large, no directory is read.
func TestManyFlagsInLargeMailbox(t *testing.T) {
	t.Parallel()
	const messages, changed = 4000, fewGuesses + 10
	var reads atomic.Int64
	s := openNew(t, Options{FS: countingFS{reads: &reads}})
	m := selected(t, s, "INBOX")
	var list []mail.FlagChange
	for i := range messages {
		key := fmt.Sprintf("1.M%d.here", i)
		if err := os.WriteFile(boxPath(s, "INBOX", "cur", key+":2,S"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if i < changed {
			list = append(list, mail.FlagChange{Ref: mail.Ref{Key: key}, Delta: mail.FlagDelta{Add: mail.Flags{System: mail.Flagged}}})
		}
	}
	changes(t, m, "", rows{})
	before := reads.Load()
	states, err := selected(t, s, "INBOX").SetFlags(t.Context(), list)
	if err != nil || len(states) != changed {
		t.Fatalf("%d messages are answered for, %v, want %d", len(states), err, changed)
	}
	for _, f := range states {
		if want := mail.Seen | mail.Flagged; f.Flags.System != want {
			t.Errorf("%v has flags %v, want %v", f.Ref, f.Flags.System, want)
		}
	}
	if n := reads.Load() - before; n != 0 {
		t.Errorf("directories were read %d times", n)
	}
}
