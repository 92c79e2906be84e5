package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/internal/match"
	"postbag/internal/storetest"
)

// odd is a store whose messages fail now and then.
type odd struct {
	mail.Store
	fail  func(box string, n int) error // for the n-th message that is fetched; nil lets it pass
	count atomic.Int32
}

func (o *odd) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	mb, err := o.Store.Examine(ctx, name)
	return oddBox{mb, o}, err
}

type oddBox struct {
	mail.Mailbox
	o *odd
}

func (b oddBox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	var failed error
	err := b.Mailbox.Fetch(ctx, refs, func(f mail.Fetched) error {
		err := b.o.fail(b.Info().Name, int(b.o.count.Add(1)))
		if e, ok := errors.AsType[*mail.Error](err); ok && e.Scope == mail.ScopeMessage {
			f.Body = io.MultiReader(io.LimitReader(f.Body, 10), errorReader{e})
		} else if err != nil {
			failed = err
			return err
		}
		return fn(f)
	})
	if failed != nil {
		return failed
	}
	return err
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// clean fails the test when anything but the named files is in a directory.
func clean(t testing.TB, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, names) {
		t.Errorf("the directory holds %q, want %q", got, names)
	}
}

// A message that cannot be read to its end is left out and named. The archive holds
// all others, and is whole.
func TestMessageFails(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	for _, w := range ways {
		bad := &odd{Store: tree, fail: func(_ string, n int) error {
			if n%7 != 0 {
				return nil
			}
			return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindIntegrity, Temporary: true, Err: errors.New("a bad sector")}
		}}
		o := Options{Store: bad, Format: w.format, Folder: w.folder, Out: filepath.Join(t.TempDir(), w.out), Progress: quiet{}}
		report, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(want) / 7; len(report.Problems) != n || report.Problems[0].Ref.IsZero() || report.Problems[0].Mailbox == "" {
			t.Errorf("%s: got problems %+v, want %d", w.name, report.Problems, n)
		}
		got := content(t, read(t, o.Out))
		if len(got) != len(want)-len(want)/7 {
			t.Errorf("%s: got %d messages", w.name, len(got))
		}
		for _, l := range got {
			if _, ok := slices.BinarySearch(want, l); !ok {
				t.Errorf("%s: %s was not there", w.name, l)
			}
		}
	}
}

// A connection that is lost is made again, and no message is missing or there twice.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	bad := &odd{Store: tree, fail: func(_ string, n int) error {
		if n%9 != 0 {
			return nil
		}
		return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindUnreachable, Temporary: true, Err: errors.New("connection lost")}
	}}
	waits := atomic.Int32{}
	path := write(t, bad, ways[4], func(o *Options) {
		o.Sleep = func(context.Context, time.Duration) error { waits.Add(1); return nil }
	})
	if waits.Load() == 0 {
		t.Error("nothing was lost")
	}
	if diff := differ(content(t, read(t, path)), want); diff != "" {
		t.Errorf("it differs:\n%s", diff)
	}
}

// When all of it fails, by an error of the account, by an interruption or by a disk
// that is full, what was under the name is there still, and nothing else.
func TestExportFails(t *testing.T) {
	t.Parallel()
	tree, _ := some(t)
	for _, w := range ways {
		for name, fail := range map[string]error{
			"the account": &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindLogin, Err: errors.New("refused")},
			"interrupted": context.Canceled,
		} {
			dir := t.TempDir()
			out := filepath.Join(dir, w.out)
			ctx, cancel := context.WithCancel(t.Context())
			bad := &odd{Store: tree, fail: func(_ string, n int) error {
				if n < 30 {
					return nil
				}
				if fail == context.Canceled {
					cancel()
				}
				return fail
			}}
			var before []string
			if !w.folder && w.format != EML {
				if err := os.WriteFile(out, []byte("before"), 0o600); err != nil {
					t.Fatal(err)
				}
				before = []string{w.out}
			}
			_, err := Run(ctx, Options{Store: bad, Format: w.format, Folder: w.folder, Out: out, Progress: quiet{}})
			cancel()
			if !errors.Is(err, fail) {
				t.Errorf("%s, %s: got %v", w.name, name, err)
			}
			clean(t, dir, before...)
			if text, err := os.ReadFile(out); before != nil && string(text) != "before" {
				t.Errorf("%s, %s: got %q, %v", w.name, name, text, err)
			}
		}
	}
}

// A stream whose reader went away ends the export with that reason.
func TestStreamBreaks(t *testing.T) {
	t.Parallel()
	tree, _ := some(t)
	for _, f := range []Format{Mbox, Zip, Tar, TarGz, TarZst} {
		_, err := Run(t.Context(), Options{Store: tree, Format: f, Stdout: &broken{left: 10000}, Progress: quiet{}})
		if !errors.Is(err, syscall.EPIPE) || mail.AsError(err).Kind != mail.KindDisk {
			t.Errorf("%s: got %v", f, err)
		}
	}
}

type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, syscall.EPIPE
	}
	return len(p), nil
}

// A mailbox that cannot be opened is named, and the others are written.
func TestMailboxFails(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	bad := &odd{Store: tree, fail: func(box string, _ int) error {
		if box != "Sent" {
			return nil
		}
		return &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindDisk, Err: errors.New("a bad directory")}
	}}
	out := filepath.Join(t.TempDir(), "a.tar")
	report, err := Run(t.Context(), Options{Store: bad, Format: Tar, Out: out, Progress: quiet{}})
	if err != nil || len(report.Problems) != 1 || report.Problems[0].Mailbox != "Sent" {
		t.Fatalf("got %+v, %v", report, err)
	}
	others := slices.DeleteFunc(slices.Clone(want), func(l string) bool { return strings.HasPrefix(l, "Sent ") })
	if diff := differ(content(t, read(t, out)), others); diff != "" || len(others) == len(want) {
		t.Errorf("it differs:\n%s", diff)
	}
}

// What an export left that was killed is removed by the next one; one that is still
// at work is not disturbed.
func TestPartsThatAreLeft(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	for _, w := range []way{ways[2], ways[4]} {
		dir := t.TempDir()
		out := filepath.Join(dir, w.out)
		part := partOf(out)
		o := Options{Store: tree, Format: w.format, Out: out, Progress: quiet{}}
		if w.format == EML {
			if err := os.MkdirAll(filepath.Join(part, "INBOX"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(part, map[bool]string{true: "x.eml"}[w.format == EML]), bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		clean(t, dir, w.out)
		if diff := differ(content(t, read(t, out)), want); diff != "" {
			t.Errorf("%s differs:\n%s", w.name, diff)
		}
		if w.format == EML {
			continue
		}
		first, err := stageFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o); noFollow != 0 && mail.AsError(err).Kind != mail.KindLocked {
			t.Errorf("%s: beside another one: got %v", w.name, err)
		}
		first.abort()
	}
}

// Of two that lock one path the second is told so; when the first is done there is
// nothing left, and it can be locked again.
func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	for range 2 {
		first, err := Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := Lock(path); noFollow != 0 && mail.AsError(err).Kind != mail.KindLocked {
			t.Errorf("got %v, %v", second, err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		clean(t, filepath.Dir(path))
	}
}

// A folder that holds something is not written into.
func TestFolderIsNotEmpty(t *testing.T) {
	t.Parallel()
	tree, _ := some(t)
	dir := filepath.Dir(put(t, "there", "x"))
	_, err := Run(t.Context(), Options{Store: tree, Format: EML, Out: dir, Progress: quiet{}})
	if e := mail.AsError(err); e == nil || e.Kind != mail.KindUsage || !strings.Contains(e.Error(), "is not empty") {
		t.Errorf("got %v", err)
	}
	clean(t, dir, "there")
}

// What is chosen by header, flags, date and size is written, and nothing else.
func TestChosenMessages(t *testing.T) {
	t.Parallel()
	box := put(t, "a/b.mbox", "")
	var text strings.Builder
	for i, head := range []string{
		"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\nTo: a@example.org\nSubject: one\nStatus: R\n",
		"From: a@example.org\nCc: \"Jürgen\" <j@example.org>\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\n zwei\nX-Status: F\n",
		"From: b@example.org\nTo: c@example.org\nBcc: d@example.org\nSubject: drei\nX-Keywords: work\n",
	} {
		fmt.Fprintf(&text, "From a Sat Jan  %d 01:05:34 1996\n%sX-Number: %d\n\nx\n\n", i+1, head, i+1)
	}
	if err := os.WriteFile(box, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	store := read(t, box)
	for _, test := range []struct {
		rule match.Rule
		want string
	}{
		{match.Rule{}, "1 2 3"}, {match.Rule{From: []string{"JÜRGEN"}}, "1"}, {match.Rule{To: []string{"jürgen"}}, "2"}, {match.Rule{To: []string{"D@"}}, "3"},
		{match.Rule{Subject: []string{"grüße ZWEI"}}, "2"}, {match.Rule{Subject: []string{"drei", "one"}}, "1 3"},
		{match.Rule{Subject: []string{"drei"}, From: []string{"a@"}}, ""}, {match.Rule{Flags: mail.ParseFlags(`\Seen`)}, "1"},
		{match.Rule{Without: mail.ParseFlags(`\Seen`)}, "2 3"}, {match.Rule{Flags: mail.ParseFlags("WORK")}, "3"},
		{match.Rule{Flags: mail.ParseFlags(`\Flagged`), Without: mail.ParseFlags("work")}, "2"},
	} {
		var out bytes.Buffer
		write(t, store, ways[4], func(o *Options) { o.Rule, o.Stdout = test.rule, &out })
		var got []string
		for i := 1; i <= 3; i++ {
			if strings.Contains(out.String(), fmt.Sprintf("X-Number: %d\r\n", i)) {
				got = append(got, fmt.Sprint(i))
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%+v: got %q, want %q", test.rule, got, test.want)
		}
	}
}

// heads is a store that can read headers alone.
type heads struct {
	mail.Store
	fetched *atomic.Int32
}

func (h heads) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	mb, err := h.Store.Examine(ctx, name)
	return headsBox{mb, h}, err
}

type headsBox struct {
	mail.Mailbox
	h heads
}

func (b headsBox) Headers(ctx context.Context, refs []mail.Ref, fn func(mail.Message, []byte) error) error {
	return b.Mailbox.Fetch(ctx, refs, func(f mail.Fetched) error {
		whole, err := io.ReadAll(f.Body)
		if err != nil {
			return err
		}
		return fn(f.Message, whole[:headerEnd(whole)])
	})
}

func (b headsBox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	b.h.fetched.Add(int32(len(refs)))
	return b.Mailbox.Fetch(ctx, refs, fn)
}

// Where headers can be read alone, no message is fetched that they leave out.
func TestHeadersChoose(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	var fetched atomic.Int32
	rule := func(o *Options) { o.Rule = match.Rule{Subject: []string{"e"}, From: []string{"a"}} }
	all := content(t, read(t, write(t, tree, ways[4], rule)))
	got := content(t, read(t, write(t, heads{tree, &fetched}, ways[4], rule)))
	if len(got) == 0 || len(got) == len(want) || int(fetched.Load()) != len(got) || !slices.Equal(got, all) {
		t.Errorf("got %d of %d messages, %d were fetched, want %d", len(got), len(want), fetched.Load(), len(all))
	}
}

// An archive tells what is new, gone and flagged otherwise, in windows of any size.
func TestArchiveChanges(t *testing.T) {
	t.Parallel()
	tree, want := some(t)
	a := read(t, write(t, tree, ways[3]))
	total := 0
	for _, name := range a.names {
		mb, err := a.Examine(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		known := storetest.KnownMap{}
		for since := mail.Cursor(""); ; {
			d, err := mb.Changes(t.Context(), since, known, 3)
			if err != nil {
				t.Fatal(err)
			}
			if len(d.New) > 3 || d.More && len(d.New) == 0 {
				t.Fatalf("got %d new", len(d.New))
			}
			for _, m := range d.New {
				known[m.Ref] = m.Flags
				total++
			}
			if since = d.Cursor; !d.More {
				break
			}
		}
		if len(known) != mb.Info().Messages {
			t.Errorf("%s: got %d messages, want %d", name, len(known), mb.Info().Messages)
		}
		for ref := range known {
			known[ref] = mail.Flags{Keywords: "other"}
			break
		}
		known[mail.Ref{Key: "0"}], known[mail.Ref{Key: "z"}] = mail.Flags{}, mail.Flags{}
		d, err := mb.Changes(t.Context(), "all", known, 3)
		if err != nil || len(d.New) > 0 || len(d.Flags) != 1 || len(d.Gone) != 2 {
			t.Errorf("%s: got %+v, %v", name, d, err)
		}
	}
	if total != len(want) {
		t.Errorf("got %d messages, want %d", total, len(want))
	}
}
