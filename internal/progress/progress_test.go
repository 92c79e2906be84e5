package progress

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { c.t = c.t.Add(patience); return c.t }

func escape(s string) string { return strings.ReplaceAll(s, "\x1b", `\x1b`) }

func TestBar(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := New(Options{Out: &out, Bar: true, Escape: escape, Now: (&clock{}).now, Width: func() int { return 100 }})
	d.Expect(10, 10_000)
	if out.Len() > 0 {
		t.Errorf("drawn before anything was done: %q", out.String())
	}
	d.Done(4, 4_000)
	got := strings.TrimPrefix(out.String(), clearLine)
	want := regexp.MustCompile(`^4/10 messages +(39|40)% \|█+ +\|  ?\(4\.0/10 kB.*\) \[\d+s:\d+s\]$`)
	if !want.MatchString(got) {
		t.Errorf("got %q, want %s", got, want)
	}
	// More is found to do after all was done: the bar goes on.
	d.Done(6, 6_000)
	d.Expect(10, 10_000)
	out.Reset()
	d.Done(1, 1_000)
	if got := out.String(); !strings.Contains(got, "11/20 messages") || !strings.Contains(got, "55%") {
		t.Errorf("after more: got %q", got)
	}
	// More is done than was expected.
	d.Done(30, 90_000)
	if got := out.String(); !strings.Contains(got, "41/41 messages") {
		t.Errorf("beyond what was expected: got %q", got)
	}
	out.Reset()
	d.Close()
	d.Close()
	if got := out.String(); got != clearLine {
		t.Errorf("Close: got %q, want %q", got, clearLine)
	}
}

func TestBarIsDrawnSeldom(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(1e9, 0)
	d := New(Options{Out: &out, Bar: true, Escape: escape, Now: func() time.Time { return now }})
	d.Expect(100_000, 1e9)
	d.Done(1, 1000)
	if out.Len() > 0 {
		t.Errorf("drawn at once: %q", out.String())
	}
	now = now.Add(patience)
	for range 1000 {
		d.Done(1, 1000)
	}
	if got := strings.Count(out.String(), clearLine); got != 1 {
		t.Errorf("drawn %d times within no time, want once", got)
	}
}

func TestBarNeverWraps(t *testing.T) {
	t.Parallel()
	for _, width := range []int{1, 2, 10, 40, 79, 0, -1, 300} {
		var out bytes.Buffer
		d := New(Options{Out: &out, Bar: true, Escape: escape, Now: (&clock{}).now, Width: func() int { return width }})
		d.Expect(1_000_000, 1e12)
		d.Done(999_999, 1e11)
		line := strings.TrimPrefix(out.String(), clearLine)
		limit := width
		if width <= 0 {
			limit = 80
		}
		if got := len([]rune(line)); got >= limit {
			t.Errorf("width %d: the line has %d columns", width, got)
		}
	}
}

func TestNote(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		bar, verbose bool
		want         string
	}{
		{false, false, ""},
		{false, true, "a\\x1b[31m: 1 new\n100%s\n"},
		{true, false, "BAR"},
		{true, true, "a\\x1b[31m: 1 new\nBAR" + clearLine + "100%s\nBAR"},
	} {
		var out bytes.Buffer
		d := New(Options{Out: &out, Bar: test.bar, Verbose: test.verbose, Escape: escape, Now: (&clock{}).now})
		d.Note("%s: %d new", "a\x1b[31m", 1)
		d.Expect(2, 2)
		d.Done(1, 1)
		d.Note("%s", "100%s")
		got := regexp.MustCompile(regexp.QuoteMeta(clearLine)+`1/2 messages[^\x1b\r]*`).ReplaceAllString(out.String(), "BAR")
		if got != test.want {
			t.Errorf("bar %v, verbose %v: got %q, want %q", test.bar, test.verbose, got, test.want)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	d := New(Options{Out: &out, Bar: true, Verbose: true, Escape: escape, Now: time.Now})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				d.Expect(1, 100)
				d.Done(1, 100)
			}
			d.Note("worker %d", i)
		})
	}
	wg.Wait()
	if got, want := fmt.Sprint(d.messages, d.bytes), "[1600 1600] [160000 160000]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func BenchmarkDone(b *testing.B) {
	var out bytes.Buffer
	d := New(Options{Out: &out, Bar: true, Escape: escape, Now: time.Now})
	d.Expect(b.N, int64(b.N)*1000)
	for b.Loop() {
		d.Done(1, 1000)
	}
}

// Lines of others on the same terminal stand above the bar, each on its own.
func TestBeside(t *testing.T) {
	t.Parallel()
	var out, results bytes.Buffer
	d := New(Options{Out: &out, Bar: true, ASCII: true, Escape: escape, Now: (&clock{}).now})
	w := d.Beside(&results)
	fmt.Fprintln(w, "before")
	if got := out.String(); got != "" {
		t.Errorf("before there was a bar: got %q", got)
	}
	d.Expect(2, 2_000)
	d.Done(1, 1_000)
	out.Reset()
	fmt.Fprintln(w, "while")
	if got := out.String(); !strings.HasPrefix(got, clearLine+clearLine+"1/2 messages") || !strings.Contains(got, "[=") {
		t.Errorf("got %q, want the bar taken away and drawn again", got)
	}
	if n, err := w.Write([]byte("more\n")); n != 5 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if got, want := results.String(), "before\nwhile\nmore\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	d.Expect(-1, -1_000)
	out.Reset()
	d.Done(0, 0)
	if got := out.String(); !strings.Contains(got, "1/1 messages") {
		t.Errorf("after some was taken back: got %q", got)
	}
	d.Close()
	out.Reset()
	fmt.Fprintln(w, "after")
	if got := out.String(); got != "" {
		t.Errorf("after the end: got %q", got)
	}
}
