package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/demo"
	"postbag/internal/mail"
	"postbag/maildir"
)

// quiet is a Progress that shows nothing.
type quiet struct{}

func (quiet) Expect(int, int64)   {}
func (quiet) Done(int, int64)     {}
func (quiet) Note(string, ...any) {}

// newTree makes a Maildir tree with samples in it.
func newTree(t testing.TB, samples iter.Seq[demo.Sample]) *maildir.Store {
	t.Helper()
	s, err := maildir.Open(t.TempDir()+"/mail", maildir.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	byBox := map[string][]demo.Sample{}
	for one := range samples {
		byBox[one.Mailbox] = append(byBox[one.Mailbox], one)
	}
	for name, list := range byBox {
		deliver(t, s, name, list)
	}
	return s
}

func deliver(t testing.TB, s mail.Store, name string, list []demo.Sample) {
	t.Helper()
	ctx := context.Background()
	if err := s.Create(ctx, name, ""); err != nil {
		t.Fatal(err)
	}
	mb, err := s.Select(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer mb.Close()
	for part := range slices.Chunk(list, 500) {
		b, err := mb.Batch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var added []mail.Pending
		for _, one := range part {
			p, err := b.Add(ctx, mail.Message{Flags: mb.Storable(one.Flags), Date: one.Date, Size: int64(len(one.Raw))}, bytes.NewReader(one.Raw))
			if err != nil {
				t.Fatal(err)
			}
			p.Message.Flags = one.Flags
			added = append(added, p)
		}
		if err := b.Prepare(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Commit(ctx, added); err != nil {
			t.Fatal(err)
		}
		b.Abort()
	}
}

// content lists what a store holds: a line for each message, with mailbox, digest,
// date and flags, sorted.
func content(t testing.TB, s mail.Store) []string {
	t.Helper()
	ctx := context.Background()
	infos, err := s.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, info := range infos {
		if info.NoSelect {
			continue
		}
		mb, err := s.Examine(ctx, info.Name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := mb.Changes(ctx, "", nothing{}, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		var refs []mail.Ref
		for _, m := range d.New {
			refs = append(refs, m.Ref)
		}
		err = mb.Fetch(ctx, refs, func(f mail.Fetched) error {
			if f.Err != nil {
				return f.Err
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(f.Body); err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%s %x %s %s", info.Name, sha256.Sum256(b.Bytes()), f.Date.UTC().Format(time.RFC3339), f.Flags))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		mb.Close()
	}
	slices.Sort(lines)
	return lines
}

// differ shows the lines that only one of two sorted lists has.
func differ(got, want []string) string {
	var b strings.Builder
	for _, l := range got {
		if _, ok := slices.BinarySearch(want, l); !ok {
			b.WriteString("+ " + l + "\n")
		}
	}
	for _, l := range want {
		if _, ok := slices.BinarySearch(got, l); !ok {
			b.WriteString("- " + l + "\n")
		}
	}
	if b.Len() == 0 && len(got) != len(want) {
		return fmt.Sprintf("got %d lines, want %d", len(got), len(want))
	}
	return b.String()
}

// nothing is a mail.Known without messages: everything is new.
type nothing struct{}

func (nothing) Count() int { return 0 }

func (nothing) Each(context.Context, mail.Ref, mail.Ref, func(mail.Ref, mail.Flags) error) error {
	return nil
}
