package export

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"testing"
)

// A zip written in pieces is, octet for octet, what one zip.Writer writes, also where it
// takes the large form of the end, and where the last member of a piece has its sizes
// behind it.
func TestZipInPieces(t *testing.T) {
	t.Parallel()
	for _, members := range []int{0, 1, zipPiece, zipPiece + 1, 66000} {
		var got, want bytes.Buffer
		s, err := newZipStream(&got, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		one := zip.NewWriter(&want)
		for i := range members {
			next, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			for _, z := range []*zip.Writer{next, one} {
				h := &zip.FileHeader{Name: fmt.Sprintf("box/%d.eml", i)}
				create := z.CreateHeader
				if i%2 == 0 {
					create, h.CRC32, h.CompressedSize64, h.UncompressedSize64 = z.CreateRaw, 0x8c736521, 1, 1
				}
				w, err := create(h)
				if err == nil {
					_, err = io.WriteString(w, "\xff")
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%d members: got %d octets, want %d, and they differ", members, got.Len(), want.Len())
		}
	}
}
