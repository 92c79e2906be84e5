package export

import (
	"context"
	"path/filepath"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/mail"
	"postbag/maildir"
)

// benchTree is a tree of 3,000 messages of 10 KB in one mailbox.
func benchTree(b *testing.B) (s *maildir.Store, bytes int64) {
	b.Helper()
	s = newTree(b, func(yield func(demo.Sample) bool) {
		for one := range demo.Corpus(3, 3000) {
			one.Mailbox = "INBOX"
			bytes += int64(len(one.Raw))
			if !yield(one) {
				return
			}
		}
	})
	return s, bytes
}

// BenchmarkExport writes each format, without a disk that has to be waited for.
func BenchmarkExport(b *testing.B) {
	s, bytes := benchTree(b)
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			b.SetBytes(bytes)
			b.ReportAllocs()
			for b.Loop() {
				write(b, s, w)
			}
		})
	}
}

// BenchmarkOpenArchive finds out what is in each format.
func BenchmarkOpenArchive(b *testing.B) {
	s, bytes := benchTree(b)
	for _, w := range ways {
		path := write(b, s, w)
		b.Run(w.name, func(b *testing.B) {
			b.SetBytes(bytes)
			b.ReportAllocs()
			for b.Loop() {
				a, err := OpenArchive(context.Background(), OpenOptions{Paths: []string{path}, Temp: filepath.Dir(path)})
				if err != nil {
					b.Fatal(err)
				}
				if err := a.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadMbox decodes every message of an mbox.
func BenchmarkReadMbox(b *testing.B) {
	s, bytes := benchTree(b)
	a := read(b, write(b, s, ways[0]))
	mb, err := a.Examine(b.Context(), "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	d, err := mb.Changes(b.Context(), "", nothing{}, 1<<30)
	if err != nil {
		b.Fatal(err)
	}
	var refs []mail.Ref
	for _, m := range d.New {
		refs = append(refs, m.Ref)
	}
	b.SetBytes(bytes)
	buf := make([]byte, 64<<10)
	for b.Loop() {
		err := mb.Fetch(b.Context(), refs, func(f mail.Fetched) error {
			for {
				if _, err := f.Body.Read(buf); err != nil {
					return nil
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
