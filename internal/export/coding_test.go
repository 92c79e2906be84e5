package export

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stored is what lies in an mbox for a message, without the From_ line and the empty
// line, when the message comes in pieces of n octets.
func stored(body []byte, n int) (octets []byte, c coding) {
	c = coding{lf: lfIn(body, new([2]byte)), quote: quotedRD}
	q := quoter{lf: c.lf, out: []byte("\n")}
	for len(body) > 0 {
		k := min(n, len(body))
		q.write(body[:k])
		body = body[k:]
	}
	if c.open = q.end(); c.open {
		q.out = append(q.out, '\n')
	}
	return q.out[1:], c
}

// checkCoding fails the test when a message does not come back as it was, or when a
// line of what is stored would be taken for a From_ line.
func checkCoding(t *testing.T, body []byte) {
	t.Helper()
	whole, c := stored(body, len(body)+1)
	for n := 1; n <= 4; n++ {
		if got, _ := stored(body, n); !bytes.Equal(got, whole) {
			t.Fatalf("%q: in pieces of %d it becomes %q, as a whole %q", body, n, got, whole)
		}
	}
	if strings.Contains("\n"+string(whole), "\n"+fromLine) {
		t.Fatalf("%q becomes %q, which holds a From_ line", body, whole)
	}
	if got := decodeAll(nil, whole, c); !bytes.Equal(got, body) {
		t.Fatalf("%q comes back as %q (%+v)", body, got, c)
	}
	got, err := io.ReadAll(newDecodeReader(iotest.OneByteReader(bytes.NewReader(whole)), c))
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%q comes back as %q, octet by octet (%v)", body, got, err)
	}
}

// Every short message of the octets that matter goes into an mbox and comes back.
func TestMboxCodingOfAllShortMessages(t *testing.T) {
	t.Parallel()
	pieces := []string{">", "From ", "Fro", "F", "\r", "\n", "x"}
	var all func(body string, left int)
	all = func(body string, left int) {
		checkCoding(t, []byte(body))
		for _, p := range pieces {
			if left > 0 {
				all(body+p, left-1)
			}
		}
	}
	all("", 5)
}

func FuzzMboxCoding(f *testing.F) {
	for _, s := range []string{"From x\r\n>From y\r\n", "a\r\r\nb", "a\nFrom ", ">>>>From", "\r", "From From \r\nFrom"} {
		f.Add([]byte(s))
	}
	f.Fuzz(checkCoding)
}

// lfIn sees the same octets in whatever pieces they come.
func TestLineEndsInPieces(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"a\r\nb\r\n", "a\r\r\n", "\n", "\r\n", "a\nb", "\r", "\r\r\n\r\n", "a\r\n\n"} {
		want := lfIn([]byte(body), new([2]byte))
		got, err := canLF(iotest.OneByteReader(strings.NewReader(body)))
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", body, got, err, want)
		}
		for n := 1; n < len(body); n++ {
			var last [2]byte
			if got := lfIn([]byte(body[:n]), &last) && lfIn([]byte(body[n:]), &last); got != want {
				t.Errorf("%q cut at %d: got %v, want %v", body, n, got, want)
			}
		}
	}
}

// The lines that quote a From_ line in each dialect, and what they stand for.
func TestQuoting(t *testing.T) {
	t.Parallel()
	const text = "From a\n>From b\n>>From c\n> From d\nxFrom e\n>Fro\n>"
	for _, test := range []struct {
		quote quoting
		want  string
	}{
		{quotedNot, text},
		{quotedRD, "From a\nFrom b\n>From c\n> From d\nxFrom e\n>Fro\n>"},
		{quotedOnce, "From a\nFrom b\n>>From c\n> From d\nxFrom e\n>Fro\n>"},
	} {
		if got := string(decodeAll(nil, []byte(text), coding{quote: test.quote})); got != test.want {
			t.Errorf("%d: got %q, want %q", test.quote, got, test.want)
		}
	}
}

func TestFromLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"From a@example.org Sat Jan  3 01:05:34 1996":                     "1996-01-03T01:05:34Z",
		"From MAILER-DAEMON Fri Jul  8 12:08:34 2011":                     "2011-07-08T12:08:34Z",
		"From 1234567890@xxx Thu Jan 01 00:00:10 +0000 2015":              "2015-01-01T00:00:10Z",
		"From - Tue Oct 12 10:11:12 2021":                                 "2021-10-12T10:11:12Z",
		"From a Tue Oct 12 10:11 2021 +0200":                              "2021-10-12T08:11:00Z",
		"From a b c Tue Oct 12 10:11:12 PST 2021":                         "2021-10-12T10:11:12Z",
		"From here on nothing is as it was at 10:00 in October 2021":      "",
		"From a@example.org":                                              "",
		"From ":                                                           "",
		"From a Tue Xyz 12 10:11:12 2021":                                 "",
		"From a Tue Oct 32 10:11:12 2021":                                 "",
		"From \"a b\"@example.org Tue Oct 12 10:11:12 2021 remote from x": "2021-10-12T10:11:12Z",
	} {
		at, ok := parseFrom(line)
		got := ""
		if ok {
			got = at.UTC().Format("2006-01-02T15:04:05Z")
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func FuzzFromLine(f *testing.F) {
	f.Add("From a Tue Oct 12 10:11:12 2021")
	f.Fuzz(func(_ *testing.T, line string) { parseFrom(line) })
}
