package export

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/mail"
	"postbag/maildir"
)

// some is a small tree, and what it holds.
func some(t testing.TB) (*maildir.Store, []string) {
	t.Helper()
	var samples []demo.Sample
	for s := range demo.Corpus(9, 40) {
		samples = append(samples, s)
	}
	tree := newTree(t, slices.Values(samples))
	return tree, content(t, tree)
}

// tarOf makes a tar of members; one whose name ends in "@" is a link to the text.
func tarOf(t testing.TB, members ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		h := &tar.Header{Name: members[i], Size: int64(len(members[i+1])), Mode: 0o600}
		if name, link := strings.CutSuffix(members[i], "@"); link {
			h = &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: members[i+1]}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(members[i+1])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zipOf(t testing.TB, members ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		f, err := w.Create(members[i])
		if err == nil {
			_, err = f.Write([]byte(members[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipOf(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What cannot be read is named, and the rest is read: one mail, with the text "one",
// is in each of these that are not refused as a whole.
func TestBadArchives(t *testing.T) {
	t.Parallel()
	const from = "From a@example.org Sat Jan  3 01:05:34 1996\n"
	good := zipOf(t, "a.eml", oneMail, "b.eml", strings.Repeat(oneMail, 50))
	broken := []byte(good)
	copy(broken[bytes.LastIndex(broken[:len(broken)-200], []byte("b.eml"))+10:], "xxxxxxxx")
	encrypted := []byte(zipOf(t, "a.eml", oneMail, "b.eml", oneMail))
	i := bytes.LastIndex(encrypted, []byte("PK\x01\x02"))
	encrypted[i+8] |= 1
	for _, test := range []struct {
		name, file, text string
		messages         int
		want             []string // of the problems
	}{
		{"no From_ line", "a.mbox", oneMail + "\nno mbox\n", 1, nil}, // but a message
		{"no mail at all", "a.mbox", "just a text\n", -1, []string{"it does not begin with a From line, so it is no mbox"}},
		{"nothing known", "a.bin", "\x00\x01\x02", -1, []string{"it is none of mbox"}},
		{"an mbox cut off", "a.mbox", from + oneMail + "\n" + from[:20], 1, nil},
		{"a zip cut off", "a.zip", good[:len(good)-30], -1, []string{"zip: not a valid zip file"}},
		{"a member of a zip that is damaged", "a.zip", string(broken), 1, []string{""}},
		{"a member that is encrypted", "a.zip", string(encrypted), 1, []string{"it is encrypted"}},
		{"a path that leads out of a zip", "a.zip", zipOf(t, "a.eml", oneMail, "../b.eml", oneMail, "/c.eml", oneMail, `..\d.eml`, oneMail), 1,
			[]string{"its path leads out", "its path leads out", "its path leads out"}},
		{"a path that leads out of a tar", "a.tar", tarOf(t, "a.eml", oneMail, "x/../../b.eml", oneMail, "/etc/c.eml", oneMail), 1,
			[]string{"its path leads out", "its path leads out"}},
		{"a link in a tar", "a.tar", tarOf(t, "a.eml", oneMail, "b.eml@", "/etc/passwd"), 1, []string{"it is no plain file"}},
		{"a tar cut off in a member", "a.tar", tarOf(t, "a.eml", oneMail, "b.eml", strings.Repeat("x", 5000))[:3000], 1, []string{"it is cut off", "the tar is damaged or cut off"}},
		{"a tar cut off between members", "a.tar", tarOf(t, "a.eml", oneMail, "b.eml", "Subject: two\r\n\r\n")[:1024], 1, []string{"the tar is damaged or cut off: it has no end"}},
		{"a tar that is damaged", "a.tar", tarOf(t, "a.eml", oneMail)[:1024] + strings.Repeat("garbage ", 200), 1, []string{"the tar is damaged"}},
		{"a gzip cut off", "a.tar.gz", gzipOf(t, tarOf(t, "a.eml", oneMail, "b.eml", strings.Repeat("abc", 100)+fmt.Sprint(rubbish(9000))))[:4000], 1,
			[]string{"it cannot be read to its end", "it is cut off", "the tar is damaged or cut off"}},
		{"a bomb in a zip", "a.zip", zipOf(t, "a.eml", oneMail, "b.eml", strings.Repeat("\x00", bombSize+1)), 1, []string{"it would become more than 200 times as large"}},
		{"a bomb of gzip", "a.tar.gz", gzipOf(t, tarOf(t, "a.eml", oneMail, "b.eml", strings.Repeat("\x00", bombSize*2))), 1,
			[]string{"it becomes more than 200 times as large", "it is cut off", "the tar is damaged or cut off"}},
		{"packed again and again", "a.gz", gzipOf(t, gzipOf(t, gzipOf(t, gzipOf(t, oneMail)))), -1, []string{"it is packed too often"}},
		{"an empty folder in a zip", "a.zip", zipOf(t, "readme.txt", "hello"), -1, []string{"there is no mail in it"}},
		{"an mbox in a zip that is none", "a.zip", zipOf(t, "a.eml", oneMail, "b.mbox", "hello"), 1, []string{"it does not begin with a From line"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, err := OpenArchive(context.Background(), OpenOptions{Paths: []string{put(t, test.file, test.text)}, Temp: t.TempDir()})
			if test.messages < 0 {
				if err == nil || !strings.Contains(err.Error(), test.want[0]) {
					t.Fatalf("got error %v, want %q", err, test.want[0])
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if n, _ := a.Messages(); n != test.messages {
				t.Errorf("got %d messages, want %d", n, test.messages)
			}
			if got := seen(t, a); !strings.Contains(got, "| one/") {
				t.Errorf("got %q", got)
			}
			if len(a.Problems()) != len(test.want) {
				t.Fatalf("got %d problems, want %d: %+v", len(a.Problems()), len(test.want), a.Problems())
			}
			for i, p := range a.Problems() {
				if !strings.Contains(p.Err.Error(), test.want[i]) || p.Name == "" {
					t.Errorf("got problem %q with %q, want %q", p.Err, p.Name, test.want[i])
				}
			}
		})
	}
}

// rubbish are octets that do not become fewer.
func rubbish(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// A manifest that disagrees with the content is believed in nothing: what was
// changed, removed and added is named, and all else comes in with its flags.
func TestManifestDisagrees(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	for _, w := range []way{ways[0], ways[2]} {
		path := write(t, tree, w)
		var what string
		switch w.format {
		case Mbox: // one octet of a message
			octets, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			i := bytes.Index(octets, []byte("Subject: ")) + 9
			octets[i] ^= 1
			if err := os.WriteFile(path, octets, 0o600); err != nil {
				t.Fatal(err)
			}
			what = "its SHA-256 differs"
		case EML: // one file gone, one moved
			list, err := filepath.Glob(filepath.Join(path, "INBOX", "*.eml"))
			if err != nil || len(list) < 3 {
				t.Fatal(list, err)
			}
			if err := os.Remove(list[0]); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(list[1], filepath.Join(path, "Sent", "moved.eml")); err != nil {
				t.Fatal(err)
			}
			what = "it is in the manifest and not in the archive"
		}
		a := open(t, OpenOptions{Paths: []string{path}, Digests: true})
		if len(a.Problems()) != 1 || !strings.Contains(a.Problems()[0].Err.Error(), what) {
			t.Errorf("%s: got problems %+v, want one of %q", w.name, a.Problems(), what)
		}
		got := content(t, a)
		if len(got) != len(want)-1 {
			t.Errorf("%s: got %d messages, want %d", w.name, len(got), len(want)-1)
		}
		for _, l := range got {
			if _, ok := slices.BinarySearch(want, l); !ok {
				t.Errorf("%s: %s was not there before", w.name, l)
			}
		}
	}
}

// A manifest that is cut off, damaged or newer is named, and what it does not tell
// of comes from the messages.
func TestManifestDamaged(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	for name, change := range map[string]func(string) string{
		"the manifest is cut off":                func(s string) string { return s[:strings.LastIndex(s[:len(s)-2], "\n")+1] },
		"1 lines of the manifest cannot be read": func(s string) string { return strings.Replace(s, "{\"mailbox\":\"Sent\",\"name\"", "{broken", 1) },
		"written by a newer postbag":             func(s string) string { return strings.Replace(s, `"version":1`, `"version":2`, 1) },
	} {
		path := write(t, tree, ways[2])
		manifest := filepath.Join(path, ManifestName)
		text, err := os.ReadFile(manifest)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(manifest, []byte(change(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		a := open(t, OpenOptions{Paths: []string{path}})
		if len(a.Problems()) != 1 || !strings.Contains(a.Problems()[0].Err.Error(), name) {
			t.Errorf("got problems %+v, want %q", a.Problems(), name)
		}
		if n, _ := a.Messages(); n != len(want) {
			t.Errorf("%s: got %d messages, want %d", name, n, len(want))
		}
	}
}

// An archive that is changed after it was opened gives an error, and not what it
// never held.
func TestArchiveChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	tree, _ := some(t)
	path := write(t, tree, ways[0])
	a := read(t, path)
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ToUpper(octets), 0o600); err != nil {
		t.Fatal(err)
	}
	mb, err := a.Examine(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	d, err := mb.Changes(t.Context(), "", nothing{}, 10)
	if err != nil || len(d.New) == 0 {
		t.Fatal(d, err)
	}
	err = mb.Fetch(t.Context(), []mail.Ref{d.New[0].Ref}, func(f mail.Fetched) error {
		_, err := new(bytes.Buffer).ReadFrom(f.Body)
		return err
	})
	if e := mail.AsError(err); e == nil || e.Kind != mail.KindIntegrity || e.Scope != mail.ScopeMessage {
		t.Errorf("got %v", err)
	}
}

// FuzzArchive opens whatever comes as an archive. All that it lists can be read, or
// is an error of one message; nothing is written anywhere.
func FuzzArchive(f *testing.F) {
	for _, text := range []string{others["Apple.mbox/mbox"], oneMail, zipOf(f, "a.eml", oneMail, "x/b.mbox", others["Apple.mbox/mbox"]),
		tarOf(f, "a.eml", oneMail, ManifestName, "{\"manifest\":\"postbag\",\"version\":1}\n{\"mailbox\":\"x\",\"name\":\"a.eml\"}\n"), gzipOf(f, tarOf(f, "a.eml", oneMail)),
		"From a Sat Jan  3 01:05:34 1996\nContent-Length: 3\n\na\n\nFrom b Sat Jan  3 01:05:34 1996\nX-Gmail-Labels: a/b,\"c\n\nx"} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, octets []byte) {
		a := &Archive{o: OpenOptions{Temp: dir, Note: func(string, ...any) {}}, ctx: t.Context(), boxes: map[string]*archiveBox{}}
		defer a.Close()
		if err := a.readFile(file{ra: bytes.NewReader(octets), size: int64(len(octets)), name: "a", box: "a"}, 0); err != nil {
			return
		}
		a.settle()
		for _, name := range a.names {
			mb, err := a.Examine(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			d, err := mb.Changes(t.Context(), "", nothing{}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range d.New {
				err := mb.Fetch(t.Context(), []mail.Ref{m.Ref}, func(f mail.Fetched) error {
					if f.Err != nil {
						return f.Err
					}
					n, err := new(bytes.Buffer).ReadFrom(f.Body)
					if err == nil && n != f.Size {
						t.Errorf("%s: got %d octets, want %d", name, n, f.Size)
					}
					return err
				})
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}

// FuzzManifest reads whatever comes as a manifest.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("{\"manifest\":\"postbag\",\"version\":1,\"format\":\"tar\"}\n{\"mailbox\":\"x\",\"octets\":\"/w==\",\"name\":\"a\",\"offset\":3,\"sha256\":\"00\",\"flags\":[\"\\\\Seen\"]}\n{\"end\":true}\n"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		a := &Archive{o: OpenOptions{Note: func(string, ...any) {}}, ctx: t.Context(), boxes: map[string]*archiveBox{}}
		if m, err := a.manifest(bytes.NewReader(octets), "m"); err != nil || m == nil {
			return
		}
		a.settle()
		for _, name := range a.names {
			if name == "" {
				t.Error("a mailbox has no name")
			}
		}
	})
}
