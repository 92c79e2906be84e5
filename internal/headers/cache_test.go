package headers

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/internal/match"
)

func sample() *Cache {
	c := &Cache{Account: "me@h", Mailbox: "INBOX", Validity: "7", Cursor: "12:34"}
	for i := range 50 {
		e := Entry{Ref: mail.Ref{UID: uint32(i + 1)}, Size: int64(i) - 1, Flags: mail.ParseFlags(`\Seen`, fmt.Sprintf("$k%d", i%3)),
			Header: match.Header{From: "Jürgen <j@x>", Subject: fmt.Sprint("subject ", i), To: "a, b", MessageID: "<m@x>"}}
		if i%4 > 0 {
			e.Date = time.Date(2024, 1, 2, 3, 4, i, 0, time.UTC)
			e.Header.Date = time.Date(1960, 1, 2, 3, 4, i, 0, time.FixedZone("", 3600*(i-20)+3600))
		}
		c.Entries = append(c.Entries, e)
	}
	return c
}

// What was saved is loaded as it was; for another mailbox or account it is nothing.
func TestSaveLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "cache")
	if c := Load(path, "me@h", "INBOX"); len(c.Entries) != 0 || c.Mailbox != "INBOX" {
		t.Errorf("got %+v of no file", c)
	}
	want := sample()
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got := Load(path, "me@h", "INBOX")
	for i := range want.Entries { // zones have no names
		for _, at := range []*time.Time{&want.Entries[i].Header.Date, &got.Entries[i].Header.Date} {
			if !at.IsZero() {
				*at = at.Round(0).In(time.UTC)
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got.Entries[:2], want.Entries[:2])
	}
	for _, other := range [][2]string{{"you@h", "INBOX"}, {"me@h", "Work"}} {
		if c := Load(path, other[0], other[1]); len(c.Entries) != 0 || c.Cursor != "" {
			t.Errorf("%q: got %d entries of another mailbox", other, len(c.Entries))
		}
	}
}

// A file with any octet changed, or cut off anywhere, counts as none.
func TestDamaged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cache")
	if err := sample().Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if c := Load(path, "me@h", "INBOX"); len(c.Entries) != 0 || c.Cursor != "" || c.Validity != "" {
			t.Errorf("%s: got %d entries", what, len(c.Entries))
		}
	}
	for i := 0; i < len(data); i += 7 {
		bad := slices.Clone(data)
		bad[i] ^= 0x10
		try(fmt.Sprint("octet ", i), bad)
		try(fmt.Sprint("cut at ", i), data[:i])
	}
}

// box is a mailbox that tells what happened since it was asked last.
type box struct {
	validity string
	deltas   []mail.Delta
	known    [][]mail.Ref // as it was told
	read     int
	lost     mail.Ref // listed, and not there
}

func (b *box) Info() mail.MailboxInfo { return mail.MailboxInfo{Validity: b.validity} }
func (b *box) Close() error           { return nil }

func (b *box) Changes(ctx context.Context, _ mail.Cursor, known mail.Known, _ int) (mail.Delta, error) {
	var refs []mail.Ref
	err := known.Each(ctx, mail.Ref{}, mail.Ref{}, func(ref mail.Ref, _ mail.Flags) error {
		refs = append(refs, ref)
		return nil
	})
	b.known = append(b.known, refs)
	d := b.deltas[0]
	b.deltas = b.deltas[1:]
	return d, err
}

func (b *box) Describe(context.Context, []mail.Ref, bool, func(mail.Message) error) error {
	return io.ErrUnexpectedEOF
}

func (b *box) Fetch(context.Context, []mail.Ref, func(mail.Fetched) error) error {
	return io.ErrUnexpectedEOF
}

func (b *box) Headers(_ context.Context, refs []mail.Ref, fn func(mail.Message, []byte) error) error {
	for _, ref := range refs {
		if ref == b.lost {
			continue
		}
		b.read++
		if err := fn(mail.Message{Ref: ref, Size: 100}, []byte(fmt.Sprintf("Subject: %s\r\n\r\n", ref))); err != nil {
			return err
		}
	}
	return nil
}

func uid(n uint32) mail.Ref { return mail.Ref{UID: n} }

func news(from, to uint32) (list []mail.Message) {
	for n := from; n <= to; n++ {
		list = append(list, mail.Message{Ref: uid(n), Size: -1})
	}
	return list
}

// What came is read, in windows; what went is dropped; flags follow; a mailbox that was
// made anew is read anew; a message that could not be read is asked for again.
func TestUpdate(t *testing.T) {
	t.Parallel()
	seen := mail.ParseFlags(`\Seen`)
	b := &box{validity: "1", deltas: []mail.Delta{
		{New: news(1, 3), More: true, Cursor: "a"}, {New: news(4, 5), Cursor: "b"},
		{New: news(6, 6), Gone: []mail.Ref{uid(2)}, Flags: []mail.FlagState{{Ref: uid(3), Flags: seen}}, Cursor: "c"},
		{Cursor: "c"},
		{New: news(1, 2), Cursor: "d"},
		{New: news(3, 4), Cursor: "e"},
	}}
	c := &Cache{}
	step := func(want bool, cursor mail.Cursor, refs ...uint32) {
		t.Helper()
		changed, err := c.Update(context.Background(), b, nil)
		if err != nil || changed != want || c.Cursor != cursor {
			t.Errorf("got changed %v, cursor %q, %v; want %v, %q", changed, c.Cursor, err, want, cursor)
		}
		var got []uint32
		for _, e := range c.Entries {
			got = append(got, e.Ref.UID)
			if e.Header.Subject != e.Ref.String() || e.Size != 100 {
				t.Errorf("got %+v", e)
			}
		}
		if !slices.Equal(got, refs) {
			t.Errorf("got %v, want %v", got, refs)
		}
	}
	step(true, "b", 1, 2, 3, 4, 5)
	step(true, "c", 1, 3, 4, 5, 6)
	if c.Entries[1].Flags != seen || b.read != 6 {
		t.Errorf("got flags %v after %d headers", c.Entries[1].Flags, b.read)
	}
	step(false, "c", 1, 3, 4, 5, 6)
	b.validity = "2"
	step(true, "d", 1, 2)
	b.lost = uid(4)
	step(true, "", 1, 2, 3)
	if len(b.known[3]) != 5 || len(b.known[4]) != 0 {
		t.Errorf("the mailbox was told of %v", b.known)
	}
}
