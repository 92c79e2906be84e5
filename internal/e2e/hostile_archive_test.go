package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postbag/internal/imaptest"
)

// hostileMembers are members of an archive, name and content; a name that ends in "@" is a
// link to the content.
var hostileMembers = []struct{ name, text string }{
	{"../out.eml", "Subject: out\r\n\r\n"}, {"a/../../out.eml", "Subject: out\r\n\r\n"}, {"/tmp/out.eml", "Subject: out\r\n\r\n"}, {`..\out.eml`, "Subject: out\r\n\r\n"},
	{"link.eml@", "../secret"}, {"link@", "../"}, {"link/through.eml", "Subject: through\r\n\r\n"},
	{"cur/a.eml", "Subject: a Maildir\r\n\r\n"}, {"tmp/a.eml", "Subject: none\r\n\r\n"},
	{"%2E%2E/b.eml", "Subject: dots\r\n\r\n"}, {"%2Fetc/b.eml", "Subject: slash\r\n\r\n"}, {"%00/b.eml", "Subject: NUL\r\n\r\n"}, {".postbag/state.db", "SQLite format 3\x00"},
	{"B\xfccher/c.eml", "Subject: 8 bit\r\n\r\n\xff\xfe\r\n"}, {"x\x1b[31m\n/c.eml", "Subject: controls\r\n\r\n"},
	{"Work/d.eml", "Subject: case 1\r\n\r\n"}, {"work/d.eml", "Subject: case 2\r\n\r\n"}, {"WORK/d.eml", "Subject: case 3\r\n\r\n"},
	{"Work/d.eml", "Subject: again\r\n\r\n"}, {"inbox/e.eml", "Subject: in the INBOX\r\n\r\n"},
	{strings.Repeat("y", 3000) + "/f.eml", "Subject: a long name\r\n\r\n"}, {strings.Repeat("z/", 300) + "f.eml", "Subject: deep\r\n\r\n"},
	{"g.eml", ""}, {"h.eml", "a: b\r\rc\n\n\x00\x00\r\n\n\r"}, {"i.eml", "Subject: good\r\n\r\none\r\n"},
}

func hostileTar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range hostileMembers {
		h := &tar.Header{Name: m.name, Size: int64(len(m.text)), Mode: 0o600}
		if name, ok := strings.CutSuffix(m.name, "@"); ok {
			h = &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: m.text}
		}
		must(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := w.Write([]byte(m.text))
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

func hostileZip(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range hostileMembers {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate}
		h.SetMode(0o600)
		if name, ok := strings.CutSuffix(m.name, "@"); ok {
			h.Name = name
			h.SetMode(0o777 | os.ModeSymlink)
		}
		f, err := w.CreateHeader(h)
		must(t, err)
		_, err = f.Write([]byte(m.text))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// Whatever the names in an archive are, nothing is written but below the Maildir; what
// is refused is named, with exit code 3, and the rest comes in, octet for octet.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	e := imaptest.StartEmbedded(t, nil)
	a := onTarget(t, e.Target())
	must(t, os.WriteFile(filepath.Join(a.home, "secret"), []byte("Subject: secret\r\n\r\n"), 0o600))
	want := map[string]bool{}
	for _, m := range hostileMembers {
		if !strings.Contains(m.name, "..") && !strings.HasPrefix(m.name, "/") && !strings.HasSuffix(m.name, "@") && !strings.HasPrefix(m.name, "tmp/") && !strings.HasPrefix(m.name, ".") && !strings.HasPrefix(m.name, "z/") {
			want[fmt.Sprintf("%x", sha256.Sum256([]byte(m.text)))] = true
		}
	}
	for name, octets := range map[string][]byte{"hostile.tar": hostileTar(t), "hostile.zip": hostileZip(t)} {
		must(t, os.WriteFile(filepath.Join(a.home, name), octets, 0o600))
	}
	outside := func() string {
		var list []string
		for _, n := range entries(t, a.home) {
			if n != "tar" && n != "zip" && n != ".local" { // which has the record of trees
				list = append(list, n)
			}
		}
		return strings.Join(list, " ")
	}
	before := outside()
	for _, kind := range []string{"tar", "zip"} {
		c := a.run(t, "import", "hostile."+kind, "./"+kind).want(t, 3)
		if n := strings.Count(c.stderr, "its path leads out of the archive"); n != 4 {
			t.Errorf("%s: %d paths lead out, want 4\n%s", kind, n, c)
		}
		if !strings.Contains(c.stderr, "postbag: z/z/") {
			t.Errorf("%s: the mailbox that is too deep is not named\n%s", kind, c)
		}
		if strings.Contains(c.stdout+c.stderr, "\x1b") {
			t.Errorf("%s: a name in the archive reaches the terminal as it is", kind)
		}
		got := digests(treeDump(t, filepath.Join(a.home, kind)))
		have := map[string]bool{}
		for _, d := range got {
			have[d] = true
			if !want[d] {
				t.Errorf("%s: something came in that should not", kind)
			}
		}
		if len(have) < len(want) {
			t.Errorf("%s: %d of %d messages came in\n%s", kind, len(have), len(want), c)
		}
		if after := outside(); after != before {
			t.Errorf("%s: there is %q, and was %q", kind, after, before)
		}
		a.run(t, "import", "hostile."+kind, "./"+kind, "-q").want(t, 3)
		if again := digests(treeDump(t, filepath.Join(a.home, kind))); !slices.Equal(again, got) {
			t.Errorf("%s: a second import made %d messages of %d", kind, len(again), len(got))
		}
	}
}
