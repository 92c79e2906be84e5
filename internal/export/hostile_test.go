package export

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
)

// special makes a tar of one mail and of members of a kind that is no file.
func special(t testing.TB, kinds ...byte) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := func(h *tar.Header) {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	for i, kind := range kinds {
		h := &tar.Header{Name: fmt.Sprintf("x/%d.eml", i), Typeflag: kind, Linkname: "/etc/passwd", Mode: 0o600}
		if kind == tar.TypeXGlobalHeader {
			h = &tar.Header{Name: "pax_global_header", Typeflag: kind, PAXRecords: map[string]string{"comment": "x"}}
		}
		header(h)
	}
	header(&tar.Header{Name: "a.eml", Size: int64(len(oneMail)), Mode: 0o600})
	if _, err := w.Write([]byte(oneMail)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// overlapping is a zip whose members, as many as there are, share the same octets.
func overlapping(t testing.TB, n int, octets []byte) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateRaw(&zip.FileHeader{Name: "0.eml", Method: zip.Store, CRC32: crc32.ChecksumIEEE(octets),
		CompressedSize64: uint64(len(octets)), UncompressedSize64: uint64(len(octets))})
	if err == nil {
		_, err = f.Write(octets)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	at := bytes.LastIndex(whole, []byte("PK\x01\x02"))
	end := bytes.LastIndex(whole, []byte("PK\x05\x06"))
	entry := whole[at:end]
	out := slices.Clone(whole[:at])
	for range n {
		out = append(out, entry...)
	}
	return string(append(out, zipEnd(uint64(n), uint64(n*len(entry)), uint64(at))...))
}

// What an archive claims costs no more than it may, and takes nothing from what else is
// in it. Each holds the mail "one".
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	manifest := "{\"manifest\":\"postbag\",\"version\":1,\"format\":\"tar\"}\n"
	for _, test := range []struct {
		name, file, text string
		messages         int
		want             []string // of the problems
	}{
		{"devices and links in a tar", "a.tar", special(t, tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo), 1,
			slices.Repeat([]string{"it is no plain file"}, 5)},
		{"folders and what git writes in a tar", "a.tar", special(t, tar.TypeXGlobalHeader, tar.TypeDir), 1, nil},
		{"members of one name", "a.tar", tarOf(t, "a.eml", oneMail, "a.eml", oneMail, "a.eml", "Subject: two\r\n\r\n"), 3, nil},
		{"members of one name in a zip", "a.zip", zipOf(t, "a.eml", oneMail, "a.eml", oneMail, "a.eml", "Subject: two\r\n\r\n"), 3, nil},
		{"names that differ in case", "a.zip", zipOf(t, "Work/a.eml", oneMail, "work/a.eml", oneMail, "WORK/A.EML", oneMail), 3, nil},
		{"names in no UTF-8", "a.tar", tarOf(t, "B\xfccher/\xe9.eml", oneMail, "\xff\xfe.eml", oneMail), 2, nil},
		{"names with controls", "a.zip", zipOf(t, "a\x1b[31m\n/b\r.eml", oneMail), 1, nil},
		{"a name of many levels", "a.zip", zipOf(t, strings.Repeat("x/", 2000)+"a.eml", oneMail), 1, nil},
		{"a name that is long", "a.tar", tarOf(t, strings.Repeat("x", 60000)+"/a.eml", oneMail), 1, nil},
		{"a name with a NUL", "a.zip", zipOf(t, "a.eml", oneMail, "b\x00/c.eml", oneMail), 1, []string{"its path leads out"}},
		{"messages of nothing", "a.tar", tarOf(t, "a.eml", oneMail, "b.eml", "", "c.eml", "\r\n"), 3, nil},
		{"messages of NUL and line ends", "a.zip", zipOf(t, "a.eml", oneMail, "b.eml", "a: b\r\rc\n\n\x00\x00\r\n\n\r", "c.eml", "\r\r\r", "d.eml", "\x00"), 4, nil},
		{"a header without an end", "a.tar", tarOf(t, "a.eml", oneMail, "b.eml", strings.Repeat("X: "+strings.Repeat("y", 70)+"\r\n ", 1<<16)), 2, nil},
		{"a line without an end", "a.mbox", "From a@example.org Sat Jan  3 01:05:34 1996\n" + oneMail + "\nFrom b@example.org Sat Jan  3 01:05:34 1996\nSubject: " + strings.Repeat("y", 3<<20), 2, nil},
		{"a length that is none", "a.mbox", "From a@example.org Sat Jan  3 01:05:34 1996\nContent-Length: 99999999999999999999\n" + oneMail, 1, nil},
		{"members that share their octets", "a.zip", overlapping(t, 4000, []byte(oneMail+strings.Repeat("x", 100000))), -671,
			[]string{"it becomes more than 200 times as large"}},
		{"a manifest with lines of one member", "a.tar", tarOf(t, "a.eml", oneMail, ManifestName, manifest+strings.Repeat("{\"mailbox\":\"INBOX\",\"name\":\"a.eml\",\"sha256\":\""+sha(oneMail)+"\"}\n", 2)+"{\"end\":true}\n"), 1,
			[]string{"it is in the manifest and not in the archive"}},
		{"a manifest of nonsense", "a.tar", tarOf(t, "a.eml", oneMail, ManifestName, manifest+"{\"mailbox\":\"../../x\\u0000\",\"name\":\"a.eml\",\"size\":-5,\"offset\":-1,\"date\":\"99999\",\"flags\":[\"\",\"(\"],\"sha256\":\""+sha(oneMail)+"\"}\n{\"end\":true}\n"), 1, nil},
		{"two manifests", "a.tar", tarOf(t, "a.eml", oneMail, ManifestName, manifest+"{\"end\":true}\n", ManifestName, "{"), 1, nil},
		{"a manifest with a line without an end", "a.tar", tarOf(t, "a.eml", oneMail, ManifestName, manifest+strings.Repeat("x", 5<<20)), 1, []string{"token too long"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := open(t, OpenOptions{Paths: []string{put(t, test.file, test.text)}})
			n, _ := a.Messages()
			if test.messages >= 0 && n != test.messages || n > max(test.messages, -test.messages)*2 || n == 0 {
				t.Errorf("got %d messages, want %d", n, test.messages)
			}
			if n < 100 && !strings.Contains(seen(t, a), "one") {
				t.Errorf("the mail is not there: %q", seen(t, a))
			}
			if len(a.Problems()) != len(test.want) {
				t.Fatalf("got %d problems, want %d: %+v", len(a.Problems()), len(test.want), a.Problems())
			}
			for i, p := range a.Problems() {
				if !strings.Contains(p.Err.Error(), test.want[i]) {
					t.Errorf("got problem %q, want %q", p.Err, test.want[i])
				}
			}
		})
	}
}

func sha(text string) string {
	p := part{mem: []byte(text)}
	d, _, _, _ := (&Archive{}).digest(&p, coding{lf: true})
	return d.String()
}
