package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
	"postbag/state"
)

// stored is one message in a Maildir, as an independent reader sees it.
type stored struct {
	imaptest.Entry
	path string
	raw  []byte // wire form; nil when it was not asked for
}

// readTree reads a tree of Maildirs by the rules that the documentation gives: a
// file with a CRLF in it, or whose key is marked, is the wire form; any other has
// LF for CRLF.
func readTree(t testing.TB, root string, keep bool) map[string][]stored {
	t.Helper()
	tree := map[string][]stored{}
	own := ownDir(root)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == own {
			return filepath.SkipDir
		}
		if !d.IsDir() || d.Name() != "cur" {
			return nil
		}
		box := filepath.Dir(path)
		name := mailboxOf(t, root, box)
		tree[name] = nil
		words := keywordsOf(t, box)
		for _, sub := range []string{"cur", "new"} {
			entries, err := os.ReadDir(filepath.Join(box, sub))
			if err != nil {
				return err
			}
			for _, e := range entries {
				tree[name] = append(tree[name], readStored(t, filepath.Join(box, sub, e.Name()), words, keep))
			}
		}
		return filepath.SkipDir
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// mailboxOf is the mailbox of a directory.
func mailboxOf(t testing.TB, root, box string) string {
	t.Helper()
	rel, err := filepath.Rel(root, box)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	for i, p := range parts {
		var b strings.Builder
		for j := 0; j < len(p); j++ {
			if p[j] == '%' && j+2 < len(p) {
				if n, err := strconv.ParseUint(p[j+1:j+3], 16, 8); err == nil {
					b.WriteByte(byte(n))
					j += 2
					continue
				}
			}
			b.WriteByte(p[j])
		}
		parts[i] = b.String()
	}
	return strings.Join(parts, "/")
}

// keywordsOf reads what the lower-case letters of a Maildir mean.
func keywordsOf(t testing.TB, box string) map[byte]string {
	t.Helper()
	words := map[byte]string{}
	data, err := os.ReadFile(filepath.Join(box, "dovecot-keywords"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		number, word, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n > 25 || word == "" {
			t.Fatalf("%s: dovecot-keywords has the line %q", box, line)
		}
		words['a'+byte(n)] = word
	}
	return words
}

var letters = map[byte]string{'S': `\Seen`, 'R': `\Answered`, 'F': `\Flagged`, 'T': `\Deleted`, 'D': `\Draft`, 'P': "$Forwarded"}

func readStored(t testing.TB, path string, words map[byte]string, keep bool) stored {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.Mode().IsRegular() {
		t.Fatalf("%s is no file", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, flags, _ := strings.Cut(filepath.Base(path), ":2,")
	base, _, _ := strings.Cut(key, ",")
	if !bytes.Contains(data, []byte("\r\n")) && !strings.HasSuffix(base, "-raw") {
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	var names []string
	for i := range len(flags) {
		name := letters[flags[i]]
		if name == "" {
			name = words[flags[i]]
		}
		if name == "" {
			t.Errorf("%s: the letter %q means nothing", path, flags[i])
		}
		names = append(names, name)
	}
	m := stored{path: path}
	m.Flags, m.Date, m.Size, m.Digest = mail.ParseFlags(names...), info.ModTime(), int64(len(data)), sha256.Sum256(data)
	if keep {
		m.raw = data
	}
	return m
}

// treeDump is a tree as a dump, to be compared with a server's.
func treeDump(t testing.TB, root string) imaptest.Dump {
	t.Helper()
	d := imaptest.Dump{}
	for name, list := range readTree(t, root, false) {
		box := imaptest.Box{}
		for _, m := range list {
			box.Messages = append(box.Messages, m.Entry)
		}
		d[name] = box
	}
	return d
}

// sameAs fails the test when the tree holds anything else than the server: a
// mailbox, a message, an octet, a flag, a keyword, a date.
func (a *account) sameAs(t testing.TB, server imaptest.Dump) {
	t.Helper()
	if diff := imaptest.Diff(server.Content(), treeDump(t, a.dir).Content()); diff != "" {
		t.Errorf("the Maildir differs from the server (- missing, + extra):\n%s", clip(diff))
	}
}

// sameIn is sameAs for the mailboxes that the server has. It answers with the
// others that the tree has, sorted.
func (a *account) sameIn(t testing.TB, server imaptest.Dump) (extra []string) {
	t.Helper()
	local := treeDump(t, a.dir)
	for name := range local {
		if _, ok := server[name]; !ok {
			extra = append(extra, name)
			delete(local, name)
		}
	}
	slices.Sort(extra)
	if diff := imaptest.Diff(server.Content(), local.Content()); diff != "" {
		t.Errorf("the Maildir differs from the server (- missing, + extra):\n%s", clip(diff))
	}
	return extra
}

// statePath is where the state of a tree is.
func (a *account) statePath() string { return filepath.Join(ownDir(a.dir), "state.db") }

// ownDir is the program's own directory in a tree.
func ownDir(root string) string {
	own := filepath.Join(root, ".postbag")
	if _, err := os.Stat(filepath.Join(own, "root")); err != nil {
		return filepath.Join(root, "postbag") // in the layout of Maildir++
	}
	return own
}

// snapshot is everything below a directory: mode, size, time and content of each
// file, mode and time of each directory. Of the lock file it says only that it is
// there.
func snapshot(t testing.TB, root string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(rel, ".lock") {
			lines = append(lines, fmt.Sprintf("%q", rel))
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := ""
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = fmt.Sprintf(" %d %.8x", len(data), sha256.Sum256(data))
		}
		lines = append(lines, fmt.Sprintf("%q %s %s%s", rel, info.Mode(), info.ModTime().UTC().Format("2006-01-02T15:04:05.000000000"), sum))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n") + "\n"
}

// checkNoop runs a backup that has nothing to do, and fails the test when it
// does something.
func (a *account) checkNoop(t testing.TB) {
	t.Helper()
	before := snapshot(t, a.dir)
	c := a.backup(t, "--json")
	c.want(t, 0)
	c.unchanged(t)
	if diff := imaptest.Diff(before, snapshot(t, a.dir)); diff != "" {
		t.Errorf("a run without anything to do wrote (- before, + after):\n%s\n%s", clip(diff), c)
	}
}

// rows is what the state says of each message, without what differs between two
// runs to the same end: IDs, keys, numbers of runs.
func (a *account) rows(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	db, err := state.Open(ctx, a.statePath(), state.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	boxes, err := db.Mailboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, b := range boxes {
		lines = append(lines, fmt.Sprintf("%q %q gone %v %v", b.Name[0], b.Name[1], b.Gone[0] != 0, b.Gone[1] != 0))
		if err := db.Each(ctx, b.ID, func(r *state.Row) error {
			lines = append(lines, fmt.Sprintf("%q uid %d local %v [%s] [%s] gone %v %v size %d %s %.12s status %d", b.Name[0], r.Ref[0].UID,
				r.Ref[1].Key != "", r.Flags[0], r.Flags[1], r.Gone[0] != 0, r.Gone[1] != 0, r.Size, r.Date.UTC().Format("2006-01-02T15:04:05"),
				r.Ident.Digest, r.Status))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// checkState fails the test when anything in the state is not sound.
func (a *account) checkState(t testing.TB) {
	t.Helper()
	findings, err := state.Check(context.Background(), a.statePath())
	if err != nil {
		t.Errorf("state: %v", err)
	}
	for _, f := range findings {
		t.Errorf("state: %s", f)
	}
}

// copyTree copies a tree with its modes and times, as cp -a does.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	type dirTime struct {
		path string
		info fs.FileInfo
	}
	var dirs []dirTime
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			dirs = append(dirs, dirTime{target, info})
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, data, info.Mode().Perm()); err != nil {
			return err
		}
		return os.Chtimes(target, info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Chtimes(d.path, d.info.ModTime(), d.info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
}
