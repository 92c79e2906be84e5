package maildir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"
	"postbag/internal/mail"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	file := put(t, "x", dir, "file")
	os.Mkdir(at("empty"), 0o700)
	os.MkdirAll(at("foreign/INBOX/cur"), 0o700)
	os.MkdirAll(at("maildir/cur"), 0o700)
	os.Mkdir(at("open"), 0o700)
	os.Chmod(at("open"), 0o777)
	made, err := Open(at("made"), Options{Create: true, Owner: "me@example.org", Layout: Flat})
	if err != nil {
		t.Fatal(err)
	}
	id := made.RootID()
	if len(id) != 32 || made.Account() != "maildir:"+id || made.StateDir() != at("made/.postbag") || made.Layout() != Flat || made.Owner() != "me@example.org" {
		t.Errorf("a new tree is %+v", made)
	}
	made.Close()
	if err := made.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	os.MkdirAll(at("broken/.postbag"), 0o700)
	put(t, "{", at("broken/.postbag/root"))
	os.MkdirAll(at("newer/.postbag"), 0o700)
	put(t, `{"format":2,"id":"x"}`, at("newer/.postbag/root"))
	for _, c := range []struct {
		path string
		o    Options
		kind mail.Kind
		text string // "" for no error
	}{
		{"missing", Options{}, mail.KindUsage, "there is no directory"},
		{"missing", Options{Adopt: true}, mail.KindUsage, "there is no directory"},
		{"missing", Options{Create: true, ReadOnly: true}, mail.KindUsage, "there is no directory"},
		{"missing", Options{Create: true, RootID: id}, mail.KindGuard, "gone or not mounted"},
		{"empty", Options{Create: true, RootID: id}, mail.KindGuard, "gone or not mounted"},
		{"empty", Options{}, mail.KindUsage, "no marker"},
		{"empty", Options{Create: true, Layout: "x"}, mail.KindUsage, "unknown layout"},
		{"empty", Options{ReadOnly: true}, 0, ""},
		{file, Options{Create: true}, mail.KindUsage, "not a directory"},
		{"foreign", Options{}, mail.KindUsage, "no marker"},
		{"foreign", Options{Adopt: true, Owner: "a"}, 0, ""},
		{"foreign", Options{Owner: "b"}, mail.KindGuard, "belongs to the account"},
		{"maildir", Options{Adopt: true, Layout: Verbatim}, mail.KindUsage, "is a Maildir itself"},
		{"maildir", Options{Adopt: true}, 0, ""},
		{"maildir", Options{Layout: MaildirPP, Owner: "late"}, 0, ""},
		{"maildir", Options{Owner: "other"}, mail.KindGuard, "belongs to the account"},
		{"made", Options{Owner: "me@example.org", RootID: id}, 0, ""},
		{"made", Options{Owner: "you@example.org"}, mail.KindGuard, "belongs to the account"},
		{"made", Options{Layout: Verbatim}, mail.KindUsage, "has the layout flat"},
		{"made", Options{RootID: strings.Repeat("0", 32)}, mail.KindGuard, "another tree"},
		{"broken", Options{Create: true}, mail.KindIntegrity, "marker is damaged"},
		{"newer", Options{Create: true}, mail.KindUsage, "newer postbag"},
		{"open", Options{Create: true}, mail.KindUsage, "anybody may write"},
	} {
		path := c.path
		if !filepath.IsAbs(path) {
			path = at(path)
		}
		if c.path == "open" && runtime.GOOS == "windows" {
			continue
		}
		s, err := Open(path, c.o)
		if s != nil {
			s.Close()
		}
		if (err == nil) != (c.text == "") {
			t.Errorf("Open(%s, %+v): %v, want %q", c.path, c.o, err, c.text)
			continue
		}
		if err == nil {
			continue
		}
		e := mail.AsError(err)
		if e.Kind != c.kind || e.Scope != mail.ScopeAccount || e.Hint == "" || !strings.Contains(e.Error(), c.text) {
			t.Errorf("Open(%s): %+v, want kind %d and %q", c.path, e, c.kind, c.text)
		}
	}
	if _, err := os.Lstat(at("missing")); err == nil {
		t.Error("a root was made where it was refused")
	}
	if got := files(t, at("empty")); len(got) != 0 {
		t.Errorf("a read-only look wrote %q", got)
	}
}

func TestReadOnlyWritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "Box", "cur"), 0o700)
	put(t, "x\n", dir, "Box", "cur", "a:2,S")
	s, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	m, err := s.Examine(t.Context(), "Box")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := contents(t, m)["a"]; got != "x\r\n" {
		t.Errorf("read %q", got)
	}
	_, err1 := s.Select(t.Context(), "Box")
	_, err2 := s.SetAside(t.Context(), "Box", mail.Ref{Key: "a"}, "")
	_, err3 := s.EmptyTrash(t.Context(), time.Time{})
	_, err4 := s.PutBack(t.Context(), []string{"x"})
	for i, err := range []error{err1, err2, err3, err4, s.Create(t.Context(), "x", ""), s.Rename(t.Context(), "Box", "x"), s.Delete(t.Context(), "Box")} {
		if err == nil {
			t.Errorf("change %d succeeds", i)
		}
	}
	if got := append(files(t, dir), files(t, dir, "Box")...); !slices.Equal(got, []string{"Box", "cur"}) {
		t.Errorf("the tree holds %q", got)
	}
}

// Reading touches nothing: no time, no name.
func TestReadingLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	keys := deliver(t, m, outgoing{body: sampleMessage(1)}, outgoing{body: sampleMessage(2), flags: `\Seen`})
	before := snapshot(t, s.path)
	for range 2 {
		r, err := s.Examine(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		contents(t, r)
		err = r.Describe(t.Context(), []mail.Ref{{Key: keys[0]}, {Key: "gone"}}, true, func(m mail.Message) error {
			want := outgoing{body: sampleMessage(1)}.message().ID.Digest
			if m.ID.Digest != want || !m.ID.Described || m.ID.MessageID != mail.HashMessageID("<1@example.org>") || m.Size != int64(len(sampleMessage(1))) {
				t.Errorf("described as %+v", m)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.Close()
		w, err := s.Select(t.Context(), "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	if after := snapshot(t, s.path); !slices.Equal(before, after) {
		t.Errorf("before\n%s\nafter\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

func snapshot(t *testing.T, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		out = append(out, path+" "+info.Mode().String()+" "+info.ModTime().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever a server or another user makes of names and links, nothing outside
// the root is read or written.
func TestNothingLeavesTheRoot(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	os.MkdirAll(filepath.Join(outside, "cur"), 0o700)
	os.MkdirAll(filepath.Join(outside, "new"), 0o700)
	os.MkdirAll(filepath.Join(outside, "tmp"), 0o700)
	put(t, "secret", outside, "cur", "s:2,S")
	s := openNew(t, Options{})
	m := selected(t, s, "Box")
	box := boxPath(s, "Box")
	os.Symlink(outside, boxPath(s, "Link"))
	os.Symlink(filepath.Join(outside, "cur", "s:2,S"), filepath.Join(box, "cur", "s:2,S"))
	os.Symlink(filepath.Join(outside, "planted"), filepath.Join(box, keywordLock))
	os.Symlink(filepath.Join(outside, "planted"), filepath.Join(box, keywordTempFile))
	if got := contents(t, m); len(got) != 0 {
		t.Errorf("through a link: %q", got)
	}
	for _, ref := range []string{"s", "../../x", "../cur/s", "a/b", "."} {
		err := m.Fetch(t.Context(), []mail.Ref{{Key: ref}}, func(f mail.Fetched) error {
			t.Errorf("fetched %q: %+v", ref, f)
			return nil
		})
		if err != nil {
			t.Errorf("Fetch(%q): %v", ref, err)
		}
		if gone, err := m.Remove(t.Context(), []mail.Ref{{Key: ref}}); err != nil && !errors.Is(err, errBadName) {
			t.Errorf("Remove(%q): %v, %v", ref, gone, err)
		}
	}
	for _, name := range []string{"Link", "Link/x", "../" + filepath.Base(outside)} {
		s.Create(t.Context(), name, "")
		if m, err := s.Select(t.Context(), name); err == nil {
			deliver(t, m.(*mailbox), outgoing{body: "x"})
			m.Close()
		}
	}
	// A mailbox whose directories are links.
	for i, sub := range []string{"cur", "new", "tmp"} {
		name := string(rune('A' + i))
		if err := s.Create(t.Context(), name, ""); err != nil {
			t.Fatal(err)
		}
		os.RemoveAll(boxPath(s, name, sub))
		os.Symlink(filepath.Join(outside, sub), boxPath(s, name, sub))
		if m, err := s.Select(t.Context(), name); err == nil {
			m.Close()
			t.Errorf("a mailbox whose %s/ is a link can be opened", sub)
		}
	}
	if got := append(files(t, outside), files(t, outside, "cur")...); !slices.Equal(got, []string{"cur", "new", "tmp", "s:2,S"}) {
		t.Errorf("outside there are %q", got)
	}
}

// foldFS takes names for equal that differ in case or normalisation, as the disks
// of macOS and Windows do, and refuses what Windows refuses.
type foldFS struct{ *memFS }

type foldDir struct{ Dir }

func (f foldFS) OpenRoot(path string) (Dir, error) {
	d, err := f.memFS.OpenRoot(path)
	return foldDir{d}, err
}

func (d foldDir) real(name string) string {
	fold := func(s string) string { return norm.NFC.String(strings.ToLower(s)) }
	all, _ := names(d.Dir, func(n string) bool { return fold(n) == fold(name) })
	if len(all) > 0 {
		return all[0]
	}
	return name
}

func (d foldDir) OpenDir(name string) (Dir, error) {
	sub, err := d.Dir.OpenDir(d.real(name))
	if err != nil {
		return nil, err
	}
	return foldDir{sub}, nil
}
func (d foldDir) Open(name string) (File, error)  { return d.Dir.Open(d.real(name)) }
func (d foldDir) Lstat(name string) (Stat, error) { return d.Dir.Lstat(d.real(name)) }
func (d foldDir) Remove(name string) error        { return d.Dir.Remove(d.real(name)) }
func (d foldDir) Create(name string) (File, error) {
	if strings.ContainsAny(name, `\:*?"<>|`) || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return nil, fs.ErrInvalid
	}
	return d.Dir.Create(d.real(name))
}
func (d foldDir) Mkdir(name string) error {
	if strings.ContainsAny(name, `\:*?"<>|`) || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") || isDevice(name) {
		return fs.ErrInvalid
	}
	return d.Dir.Mkdir(d.real(name))
}
func (d foldDir) Rename(name string, to Dir, newName string) error {
	if strings.ContainsAny(newName, `\:*?"<>|`) {
		return fs.ErrInvalid
	}
	return d.Dir.Rename(d.real(name), to.(foldDir).Dir, to.(foldDir).real(newName))
}

func TestNamesThatDifferInCaseOnly(t *testing.T) {
	t.Parallel()
	for _, layout := range []Layout{Verbatim, MaildirPP, Flat} {
		s, err := Open("/mail", Options{FS: foldFS{newMemFS()}, Create: true, Layout: layout})
		if err != nil {
			t.Fatal(err)
		}
		if !s.fold || !s.esc.portable || s.infoSep != ';' {
			t.Fatalf("%s: the probe finds fold %v, portable %v", layout, s.fold, s.esc.portable)
		}
		keys := map[string]string{}
		for _, name := range oddNames {
			if err := s.Create(t.Context(), name, ""); err != nil {
				t.Errorf("%s: Create(%q): %v", layout, clipName(name), err)
				continue
			}
			m, err := s.Select(t.Context(), name)
			if err != nil {
				t.Errorf("%s: Select(%q): %v", layout, clipName(name), err)
				continue
			}
			keys[name] = deliver(t, m.(*mailbox), outgoing{body: "in " + name, flags: `\Seen`})[0]
			m.Close()
		}
		for _, name := range oddNames {
			m, err := s.Examine(t.Context(), name)
			if err != nil {
				t.Errorf("%s: Examine(%q): %v", layout, clipName(name), err)
				continue
			}
			if got := contents(t, m); len(got) != 1 || got[keys[name]] != "in "+name {
				t.Errorf("%s: %q holds %q", layout, clipName(name), got)
			}
		}
		if _, err := s.Examine(t.Context(), "FOO"); err == nil {
			t.Errorf("%s: FOO is there because Foo is", layout)
		}
	}
}

// splitFS puts every directory on a device of its own.
type splitFS struct{ osFS }
type splitDir struct{ Dir }

func (f splitFS) OpenRoot(path string) (Dir, error) {
	d, err := f.osFS.OpenRoot(path)
	return splitDir{d}, err
}
func (d splitDir) OpenDir(name string) (Dir, error) {
	sub, err := d.Dir.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return splitDir{sub}, nil
}
func (d splitDir) Rename(name string, to Dir, newName string) error {
	a, err := d.Stat()
	if err != nil {
		return err
	}
	if b, err := to.Stat(); err != nil || a.Ino != b.Ino {
		return errors.Join(err, errCrossDevice)
	}
	return d.Dir.Rename(name, to.(splitDir).Dir, newName)
}

func TestAcrossDevices(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{FS: splitFS{}})
	m, other := selected(t, s, "INBOX"), selected(t, s, "Other")
	keys := deliver(t, m, outgoing{body: "a\r\n"}, outgoing{body: "b\n", flags: `\Seen`}, outgoing{body: "c"})
	if _, err := m.SetFlags(t.Context(), []mail.FlagChange{change(keys[0], `\Seen`, "")}); err != nil {
		t.Error(err)
	}
	if moved, err := m.Move(t.Context(), []mail.Ref{{Key: keys[1]}}, "Other"); err != nil || len(moved) != 1 {
		t.Errorf("Move: %v, %v", moved, err)
	}
	if gone, err := m.Remove(t.Context(), []mail.Ref{{Key: keys[2]}}); err != nil || len(gone) != 1 {
		t.Errorf("Remove: %v, %v", gone, err)
	}
	if got := contents(t, m); len(got) != 1 || got[keys[0]] != "a\r\n" {
		t.Errorf("INBOX holds %q", got)
	}
	if got := contents(t, other); len(got) != 1 || got[keys[1]] != "b\n" {
		t.Errorf("Other holds %q", got)
	}
	if trash, err := s.Trash(t.Context()); err != nil || len(trash) != 1 {
		t.Errorf("Trash: %+v, %v", trash, err)
	}
}

// Several goroutines fill batches of one mailbox while it is looked at.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	const batches, adders, each = 3, 4, 10
	var wg sync.WaitGroup
	for b := range batches {
		wg.Go(func() {
			batch, err := m.Batch(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer batch.Abort()
			var mu sync.Mutex
			var all []mail.Pending
			var inner sync.WaitGroup
			for a := range adders {
				inner.Go(func() {
					for i := range each {
						body := sampleMessage(b*1000 + a*100 + i)
						p, err := batch.Add(t.Context(), outgoing{body: body, flags: "Word" + string(rune('A'+b*adders+a))}.message(), strings.NewReader(body))
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						all = append(all, p)
						mu.Unlock()
					}
				})
			}
			inner.Wait()
			if err := batch.Prepare(t.Context()); err != nil {
				t.Error(err)
			}
			if landed, err := batch.Commit(t.Context(), all); err != nil || len(landed) != adders*each {
				t.Errorf("Commit: %d, %v", len(landed), err)
			}
		})
	}
	for range 5 {
		if _, err := m.Changes(t.Context(), "", rows{}, 0); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if got := contents(t, m); len(got) != batches*adders*each {
		t.Errorf("%d messages arrived", len(got))
	}
}

func TestFlushesWith(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	f := b.(mail.Flusher)
	if got, want := f.FlushesWith(filepath.Join(s.StateDir(), "state.db")), runtime.GOOS == "linux" && canFlush(s.root); got != want {
		t.Errorf("beside the mail: %v, want %v", got, want)
	}
	if f.FlushesWith("/proc/state.db") || f.FlushesWith("/nowhere/state.db") {
		t.Error("elsewhere it flushes, too")
	}
}

// A file that changes while it is read is no message that came to its end.
func TestFetchOfChangingFile(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	for _, change := range []int64{-1, -300_000, +1} {
		path := put(t, strings.Repeat("line\n", 100_000), s.path, "INBOX", "cur", "big:2,S")
		err := m.Fetch(t.Context(), []mail.Ref{{Key: "big"}}, func(f mail.Fetched) error {
			if change > 0 {
				h, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				h.WriteString("x")
				h.Close()
			} else if err := os.Truncate(path, 500_000+change); err != nil {
				return err
			}
			n := int64(0)
			buf := make([]byte, 4096)
			for {
				k, err := f.Body.Read(buf)
				n += int64(k)
				if err != nil {
					if e, ok := errors.AsType[*mail.Error](err); !ok || e.Scope != mail.ScopeMessage || e.Kind != mail.KindIntegrity {
						t.Errorf("%+d: after %d of %d octets %v", change, n, f.Size, err)
					}
					return nil
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	s := openNew(t, Options{})
	m := selected(t, s, "Box")
	deliver(t, m, outgoing{body: "x"})
	if got, err := s.Check(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("a sound tree: %q, %v", got, err)
	}
	cur := boxPath(s, "Box", "cur")
	put(t, "1", cur, "k:2,S")
	put(t, "2", cur, "k:2,F")
	put(t, "3", cur, ":2,")
	os.Mkdir(filepath.Join(cur, "dir"), 0o700)
	put(t, "4", s.path, "Box", "tmp", "1700000000.0123456789abcdef0123.postbag")
	put(t, "5", s.path, "Box", "tmp", "1.theirs")
	os.MkdirAll(boxPath(s, "Lost", "new"), 0o700)
	got, err := s.Check(t.Context())
	slices.Sort(got)
	want := []string{
		`"Box": a delivery without an end: "tmp/1700000000.0123456789abcdef0123.postbag"`,
		`"Box": not a message: "cur/:2,"`,
		`"Box": not a message: "cur/dir"`,
		`"Box": one of several files with one key: "cur/k:2,F"`,
		`"Box": one of several files with one key: "cur/k:2,S"`,
		`"Lost": list Lost: the mailbox has lost its directory cur`,
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Check gives\n%s\n%v", strings.Join(got, "\n"), err)
	}
}
