package maildir

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// stored runs a message through lineStorer and gives the file and its mark.
func storeLines(t testing.TB, wire []byte, body io.Reader) (file []byte, marked bool) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "m"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := lineStorer{file: osFile{f}}
	for {
		p := make([]byte, 7)
		n, err := body.Read(p)
		if err := w.take(p[:n]); err != nil {
			t.Fatal(err)
		}
		if err == io.EOF {
			break
		}
	}
	if marked, err = w.finish(); err != nil {
		t.Fatal(err)
	}
	if w.wire != int64(len(wire)) {
		t.Errorf("took %d octets, want %d", w.wire, len(wire))
	}
	file, err = os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if w.size != int64(len(file)) {
		t.Errorf("thinks that the file has %d octets, it has %d", w.size, len(file))
	}
	return file, marked
}

// checkLines stores and reads back; the way is given by the pieces of body.
func checkLines(t testing.TB, wire []byte, body io.Reader) (file []byte) {
	t.Helper()
	file, marked := storeLines(t, wire, body)
	key := "1.0123456789abcdef0123.postbag"
	if marked {
		key = rawKey(key)
	}
	dir := t.TempDir()
	put(t, string(file), dir, "m")
	d, err := openOSRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := openContent(d, "m", key)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	got, err := io.ReadAll(iotest.OneByteReader(c.reader(func(err error) error { return err })))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, wire) || c.wire != int64(len(wire)) {
		t.Errorf("stored %q as %q (marked %v), read back %q, size %d", clip(wire), clip(file), marked, clip(got), c.wire)
	}
	return file
}

func clip(p []byte) []byte { return p[:min(len(p), 200)] }

func TestStoredLineEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ wire, file string }{
		{"", ""},
		{"a", "a"},
		{"\r\n", "\n"},
		{"a\r\nb\r\n", "a\nb\n"},
		{"a\r\nb", "a\nb"},
		{"a\r", "a\r"},
		{"a\rb\r\n", "a\rb\n"},
		{"\r\r", "\r\r"},
		{"a\n", "a\n"},
		{"\n", "\n"},
		{"a\r\nb\n", "a\r\nb\n"},
		{"a\nb\r\n", "a\nb\r\n"},
		{"a\r\r\nb\r\n", "a\r\r\nb\r\n"},
		{"a\r\n\r\r\n", "a\r\n\r\r\n"},
		{"\x00\r\n\xff", "\x00\n\xff"},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.wire), iotest.OneByteReader(strings.NewReader(c.wire))} {
			if got := checkLines(t, []byte(c.wire), r); string(got) != c.file {
				t.Errorf("stored %q as %q, want %q", c.wire, got, c.file)
			}
		}
	}
}

// A message that turns out late not to allow LF is restored from a file of
// several pieces.
func TestStoredLineEndsOfLargeMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef\r\n", 40_000)
	for _, tail := range []string{"", "x", "\n", "\r\r\n", "\r"} {
		s := openNew(t, Options{})
		m := selected(t, s, "INBOX")
		key := deliver(t, m, outgoing{body: long + tail})[0]
		if got := contents(t, m)[key]; got != long+tail {
			t.Errorf("tail %q: read back %d octets, want %d, equal %v", tail, len(got), len(long+tail), got == long+tail)
		}
	}
}

// Every string over the letters that matter, up to a length.
func TestStoredLineEndsOfAllShortMessages(t *testing.T) {
	t.Parallel()
	const alphabet = "\r\nx"
	n := 6
	if os.Getenv("POSTBAG_LONG") != "" {
		n = 9
	}
	var wires [][]byte
	for length := 0; length <= n; length++ {
		for i := range pow(len(alphabet), length) {
			w := make([]byte, length)
			for j := range w {
				w[j] = alphabet[i%len(alphabet)]
				i /= len(alphabet)
			}
			wires = append(wires, w)
		}
	}
	for _, wire := range wires {
		for piece := 1; piece <= 3; piece++ {
			memory := &memFile{}
			w := lineStorer{file: memory}
			for p := bytes.Clone(wire); len(p) > 0; p = p[min(piece, len(p)):] {
				if err := w.take(p[:min(piece, len(p))]); err != nil {
					t.Fatal(err)
				}
			}
			marked, err := w.finish()
			if err != nil {
				t.Fatal(err)
			}
			if got := wireOf(memory.data, marked); !bytes.Equal(got, wire) {
				t.Fatalf("%q in pieces of %d stored as %q (marked %v) reads as %q", wire, piece, memory.data, marked, got)
			}
		}
	}
}

// wireOf is the rule of reading in its shortest form.
func wireOf(file []byte, marked bool) []byte {
	if marked || bytes.Contains(file, crlf) {
		return file
	}
	return bytes.ReplaceAll(file, []byte("\n"), crlf)
}

func pow(b, n int) int {
	out := 1
	for range n {
		out *= b
	}
	return out
}

// memFile is a File in memory, for the methods that lineStorer needs.
type memFile struct {
	File
	data []byte
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(f.data) {
		f.data = append(f.data, make([]byte, need-len(f.data))...)
	}
	return copy(f.data[off:], p), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.data[min(int(off), len(f.data)):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func FuzzStoredLineEnds(f *testing.F) {
	for _, s := range []string{"", "a\r\nb\r\n", "a\nb", "\r\r\n", "a\r", "a\r\n\n", "\r\n\r\r\n"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, wire []byte, piece uint8) {
		memory := &memFile{}
		w := lineStorer{file: memory}
		size := int(piece) + 1
		for p := bytes.Clone(wire); len(p) > 0; p = p[min(size, len(p)):] {
			if err := w.take(p[:min(size, len(p))]); err != nil {
				t.Fatal(err)
			}
		}
		marked, err := w.finish()
		if err != nil {
			t.Fatal(err)
		}
		if got := wireOf(memory.data, marked); !bytes.Equal(got, wire) {
			t.Fatalf("%q stored as %q (marked %v) reads as %q", wire, memory.data, marked, got)
		}
		got, err := io.ReadAll(newWireReader(bytes.NewReader(memory.data)))
		if want := wireOf(bytes.ReplaceAll(memory.data, crlf, []byte("\n")), false); err == nil &&
			!bytes.Contains(memory.data, crlf) && !bytes.Equal(got, want) {
			t.Fatalf("wireReader: %q, want %q", got, want)
		}
	})
}

// Random messages of line ends and text, larger than any buffer, through a
// mailbox.
func TestRandomMessagesComeBack(t *testing.T) {
	t.Parallel()
	seed := drawn()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	s := openNew(t, Options{})
	m := selected(t, s, "INBOX")
	var out []outgoing
	for range 60 {
		var b strings.Builder
		dirt := r.IntN(3)
		for range r.IntN(1 << r.IntN(16)) {
			switch k := r.IntN(1000); {
			case dirt == 1 && k == 0:
				b.WriteString("\n")
			case dirt == 2 && k < 3:
				b.WriteString("\r")
			case k < 100:
				b.WriteString("\r\n")
			default:
				fmt.Fprintf(&b, "%d ", k)
			}
		}
		out = append(out, outgoing{body: b.String()})
	}
	keys := deliver(t, m, out...)
	got := contents(t, m)
	for i, key := range keys {
		if got[key] != out[i].body {
			t.Errorf("message %d of %d octets came back as %d others", i, len(out[i].body), len(got[key]))
		}
	}
}
