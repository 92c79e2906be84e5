package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"postbag/internal/demo"
	"postbag/internal/mail"
)

// way is one form in which an archive can be written.
type way struct {
	name   string
	format Format
	out    string
	folder bool
}

var ways = []way{
	{"mbox", Mbox, "a.mbox", false}, {"mbox folder", Mbox, "boxes", true}, {"eml", EML, "tree", false},
	{"zip", Zip, "a.zip", false}, {"tar", Tar, "a.tar", false}, {"tar.gz", TarGz, "a.tar.gz", false}, {"tar.zst", TarZst, "a.tar.zst", false},
}

// write exports a store, and answers with the path of the archive.
func write(t testing.TB, s mail.Store, w way, change ...func(*Options)) string {
	t.Helper()
	o := Options{Store: s, Format: w.format, Out: filepath.Join(t.TempDir(), w.out), Folder: w.folder, Progress: quiet{}}
	for _, c := range change {
		c(&o)
	}
	report, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Problems) > 0 {
		t.Fatalf("problems: %v", report.Problems[0].Err)
	}
	return o.Out
}

// read opens archives that have no problems.
func read(t testing.TB, paths ...string) *Archive {
	t.Helper()
	a := open(t, OpenOptions{Paths: paths, Digests: true})
	for _, p := range a.Problems() {
		t.Errorf("%s %s: %v", p.Mailbox, p.Name, p.Err)
	}
	return a
}

func open(t testing.TB, o OpenOptions) *Archive {
	t.Helper()
	o.Temp = t.TempDir()
	a, err := OpenArchive(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// hostile is the torture set, a corpus, messages larger than the memory of a chunk,
// and mail with awkward mailboxes.
func hostile() []demo.Sample {
	list := demo.Torture()
	for s := range demo.Corpus(5, 120) {
		list = append(list, s)
	}
	large := bytes.Repeat([]byte("From the beginning\r\n>From here on\r\n\r\nFrom x\r\n"), chunkMemory/30)
	for i, name := range []string{"INBOX", "a/b%2Fc", "manifest.jsonl", "con/aux.txt", "x.mbox", "x", "x.mbox/child", ".hidden", "Ünïcödé/日本語"} {
		at := demo.Torture()[0].Date
		if i > 0 {
			large = large[:300]
		}
		list = append(list,
			demo.Sample{Mailbox: name, Date: at, Raw: fmt.Appendf(nil, "Subject: large %d\r\n\r\n%s", i, large[:len(large)-i])},
			demo.Sample{Mailbox: name, Date: at, Raw: []byte("Subject: twice\r\n\r\n"), Flags: mail.Flags{System: mail.Seen, Keywords: "a b"}},
			demo.Sample{Mailbox: name, Date: at, Raw: []byte("Subject: twice\r\n\r\n")})
	}
	return list
}

// What goes through an archive comes out as it was: octets, flags, keywords, dates
// and mailboxes, in each format.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	tree := newTree(t, slices.Values(hostile()))
	if err := tree.Create(context.Background(), "Empty", ""); err != nil {
		t.Fatal(err)
	}
	want := content(t, tree)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			a := read(t, write(t, tree, w))
			if diff := differ(content(t, a), want); diff != "" {
				t.Errorf("it differs:\n%s", diff)
			}
			if a.boxes["Empty"] == nil {
				t.Error("the empty mailbox is lost")
			}
		})
	}
}

// The same mail gives the same octets, whatever it was delivered in, and however
// many messages are read at a time.
func TestSameMailSameArchive(t *testing.T) {
	t.Parallel()
	samples := hostile()
	tree := newTree(t, slices.Values(samples))
	slices.Reverse(samples)
	other := newTree(t, slices.Values(samples))
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			want := files(t, write(t, tree, w))
			got := files(t, write(t, other, w, func(o *Options) { o.Workers = 5 }))
			if len(got) != len(want) {
				t.Errorf("got %d files, want %d", len(got), len(want))
			}
			for name, octets := range want {
				if !bytes.Equal(got[name], octets) {
					t.Errorf("%q differs", name)
				}
			}
		})
	}
}

// files are all files of an archive, with what lies beside it.
func files(t testing.TB, path string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(filepath.Dir(path), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		octets, err := os.ReadFile(name)
		rel, _ := filepath.Rel(filepath.Dir(path), name)
		all[rel] = octets
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("there is nothing")
	}
	return all
}

// An mbox that lost its manifest still has every message whose line ends are those
// of mail, with its date.
func TestMboxAlone(t *testing.T) {
	t.Parallel()
	var samples []demo.Sample
	for _, s := range demo.Torture() {
		if demo.ServerSafe(s.Raw) && bytes.HasSuffix(s.Raw, []byte("\r\n")) && s.Date.Year() > 0 {
			s.Mailbox, s.Flags = "mail", mail.Flags{}
			samples = append(samples, s)
		}
	}
	if len(samples) < 30 {
		t.Fatalf("only %d samples", len(samples))
	}
	tree := newTree(t, slices.Values(samples))
	path := write(t, tree, way{"", Mbox, "mail.mbox", false})
	if err := os.Remove(path + ManifestEnding); err != nil {
		t.Fatal(err)
	}
	if diff := differ(dropFlags(content(t, read(t, path))), dropFlags(content(t, tree))); diff != "" {
		t.Errorf("it differs:\n%s", diff)
	}
}

// dropFlags takes the flags off the lines of content: headers of the torture set
// tell some.
func dropFlags(lines []string) []string {
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l)[:3], " ")
	}
	slices.Sort(lines)
	return lines
}

// What a stream brings, in whatever pieces, is what the file of the same form holds.
func TestReadStream(t *testing.T) {
	t.Parallel()
	tree := newTree(t, slices.Values(hostile()))
	for _, f := range []Format{Mbox, Zip, Tar, TarGz, TarZst} {
		var b bytes.Buffer
		write(t, tree, way{"", f, "a", false}, func(o *Options) { o.Stdout = &b })
		path := put(t, "INBOX", b.String())
		want := content(t, open(t, OpenOptions{Paths: []string{path}}))
		for _, pieces := range []func(io.Reader) io.Reader{iotest.DataErrReader, iotest.HalfReader} {
			a := open(t, OpenOptions{Paths: []string{Stdin}, Stdin: pieces(bytes.NewReader(b.Bytes()))})
			if d := differ(content(t, a), want); d != "" || len(a.Problems()) > 0 {
				t.Errorf("%s: got problems %+v\n%s", f, a.Problems(), d)
			}
		}
	}
}

// A stream that is empty, none of the forms, or cut off is named; one that gives nothing
// more and has no end is left when the call is interrupted.
func TestBadStreams(t *testing.T) {
	t.Parallel()
	whole := tarOf(t, "a.eml", oneMail, "b.eml", string(rubbish(5000)))
	for text, want := range map[string]string{
		"": "there is nothing in it", "\x00\x01": "it is none of mbox", whole[:3000]: "cut off", gzipOf(t, whole)[:4000]: "it cannot be read to its end",
		zipOf(t, "a.eml", oneMail)[:60]: "zip: not a valid zip file",
	} {
		a, err := OpenArchive(t.Context(), OpenOptions{Paths: []string{Stdin}, Stdin: strings.NewReader(text), Temp: t.TempDir()})
		if err == nil {
			if n, _ := a.Messages(); n != 1 || len(a.Problems()) == 0 {
				t.Errorf("%q: got %d messages, %+v", want, n, a.Problems())
			} else {
				err = a.Problems()[0].Err
			}
			a.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	a, err := OpenArchive(t.Context(), OpenOptions{Paths: []string{Stdin}, Stdin: io.MultiReader(strings.NewReader(whole), iotest.ErrReader(errors.New("no more"))), Temp: t.TempDir()})
	if err != nil || len(a.Problems()) != 1 || !strings.Contains(a.Problems()[0].Err.Error(), "no more") {
		t.Fatalf("a stream that breaks: %v, %+v", err, a)
	}
	a.Close()
	for _, text := range []string{"", whole, gzipOf(t, whole)[:4000]} {
		ctx, cancel := context.WithCancel(t.Context())
		out, in := io.Pipe()
		go func() {
			io.WriteString(in, text)
			cancel()
		}()
		if _, err := OpenArchive(ctx, OpenOptions{Paths: []string{Stdin}, Stdin: out, Temp: t.TempDir()}); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted: got %v", err)
		}
	}
}

// An mbox and a tar on a stream hold the same octets as a file.
func TestStream(t *testing.T) {
	t.Parallel()
	tree := newTree(t, slices.Values(hostile()))
	for _, f := range []Format{Mbox, Zip, Tar, TarGz, TarZst} {
		var b bytes.Buffer
		w := way{"", f, "a", false}
		want, err := os.ReadFile(write(t, tree, w))
		if err != nil {
			t.Fatal(err)
		}
		write(t, tree, w, func(o *Options) { o.Stdout = &b })
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s: the stream differs from the file", f)
		}
	}
}

// Archives with the same mail are one: each message counts as often as the archive
// has it that has most.
func TestArchivesWithTheSameMail(t *testing.T) {
	t.Parallel()
	tree := newTree(t, slices.Values(hostile()))
	a := read(t, write(t, tree, ways[0]), write(t, tree, ways[3]), write(t, tree, ways[2]))
	if diff := differ(content(t, a), content(t, tree)); diff != "" {
		t.Errorf("it differs:\n%s", diff)
	}
}
