package repair

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var received = time.Date(2024, 2, 3, 4, 5, 6, 0, time.FixedZone("", 3600))

// fix repairs a message.
func fix(t testing.TB, raw string, want Set) (out string, did Set, stuck string) {
	t.Helper()
	r := NewReader(strings.NewReader(raw), want, received)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), r.Done(), r.Stuck()
}

// words is n octets of text with a blank after each nine.
func words(n int) string { return strings.Repeat("letters9 ", n/9+1)[:n] }

const head = "From: a@example.org\r\nDate: Sat, 03 Feb 2024 04:05:06 +0100\r\n"

// Each repair does what its name says, and no more.
func TestRepairs(t *testing.T) {
	t.Parallel()
	signed := head + "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n"
	for _, test := range []struct {
		name     string
		want     Set
		raw, out string
		did      Set
	}{
		{"last line", CRLF, head + "\r\nbody", head + "\r\nbody\r\n", CRLF},
		{"bare LF", CRLF, "From: a\nTo: b\n\nbody\nmore\n", "From: a\r\nTo: b\r\n\r\nbody\r\nmore\r\n", CRLF},
		{"bare CR in a body", CRLF, head + "\r\none\rtwo\r\n", head + "\r\none\r\ntwo\r\n", CRLF},
		{"bare CR in a header", CRLF, "Subject: hi\rthere\r\n\r\nx\r\n", "Subject: hi there\r\n\r\nx\r\n", CRLF},
		{"CR CR LF", CRLF, "Subject: hi\r\r\nTo: b\r\r\n\r\nx\r\n", "Subject: hi\r\nTo: b\r\n\r\nx\r\n", CRLF},
		{"LF CR", CRLF, "Subject: hi\n\rTo: b\n\r\n\rx\n\r", "Subject: hi\r\nTo: b\r\n\r\n\r\nx\r\n\r\n", CRLF},
		{"CR only", CRLF, "Subject: hi\rTo: b\r\rx\ry\r", "Subject: hi\r\nTo: b\r\n\r\nx\r\ny\r\n", CRLF},
		{"no body", CRLF, "Subject: hi", "Subject: hi\r\n", CRLF},
		{"long last line", CRLF, head + "\r\n" + words(MaxLine+1), head + "\r\n" + words(MaxLine+1) + "\r\n", CRLF},
		{"empty", All, "", "", 0},
		{"NUL", NUL, "Sub\x00ject: hi\r\n\r\nx\x00\x00y\r\x00\n\x00", "Subject: hi\r\n\r\nxy\r\n", NUL},
		{"NUL, not asked for", All &^ NUL, head + "\r\nx\x00y\r\n", head + "\r\nx\x00y\r\n", 0},
		{"long field", LongLines, head + "To: " + words(1500) + "x\r\n\r\n",
			head + ("To: " + words(1500))[:993] + "\r\n" + ("To: " + words(1500))[993:] + "x\r\n\r\n", LongLines},
		{"long text", LongLines, head + "\r\n" + words(2000) + "x\r\n",
			head + "\r\n" + words(990) + "\r\n" + words(990) + "\r\n" + words(2000)[1980:] + "x\r\n", LongLines},
		{"as long as may be", LongLines, head + "\r\n" + strings.Repeat("x", MaxLine) + "\r\n", head + "\r\n" + strings.Repeat("x", MaxLine) + "\r\n", 0},
		{"base64", LongLines, head + "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("QUJD", 250) + "\r\nQUJD\r\n",
			head + "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 13) + strings.Repeat("QUJD", 3) + "\r\nQUJD\r\n", LongLines},
		{"quoted-printable", LongLines, head + "Content-Transfer-Encoding: Quoted-Printable\r\n\r\n" + strings.Repeat("=C3=A9", 170) + "\r\n",
			head + "Content-Transfer-Encoding: Quoted-Printable\r\n\r\n" + strings.Repeat(strings.Repeat("=C3=A9", 12)+"=C3=\r\n=A9"+strings.Repeat("=C3=A9", 12)+"=\r\n", 6) +
				strings.Repeat("=C3=A9", 12) + "=C3=\r\n=A9" + strings.Repeat("=C3=A9", 7) + "\r\n", LongLines},
		{"a boundary is not made", LongLines, head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat("x", 900) + " --b " + words(100) + "\r\n--b--\r\n",
			head + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat("x", 900) + " --b " + words(100)[:90] + "\r\n" + words(100)[90:] + "\r\n--b--\r\n", LongLines},
		{"From", From, "To: b\r\n\r\nx", "To: b\r\nFrom: unknown@unknown.invalid\r\n\r\nx", From},
		{"From is there", From, "To: b\r\nfROM : a\r\n\r\nx", "To: b\r\nfROM : a\r\n\r\nx", 0},
		{"Date", Date, "From: a\r\n\r\nDate: none\r\n", "From: a\r\nDate: Sat, 03 Feb 2024 04:05:06 +0100\r\n\r\nDate: none\r\n", Date},
		{"both, no body", From | Date, "To: b", "To: b\r\nFrom: unknown@unknown.invalid\r\nDate: Sat, 03 Feb 2024 04:05:06 +0100\r\n", From | Date},
		{"no header", From, "Hello\r\n\r\nyou\r\n", "From: unknown@unknown.invalid\r\n\r\nHello\r\n\r\nyou\r\n", From},
		{"empty header", From, "\r\nyou\r\n", "From: unknown@unknown.invalid\r\n\r\nyou\r\n", From},
		{"of mbox", From, "From someone\r\nTo: b\r\n\r\n", "From someone\r\nTo: b\r\nFrom: unknown@unknown.invalid\r\n\r\n", From},
		{"not of parts", From | Date, head + "Content-Type: message/rfc822\r\n\r\nTo: b\r\n\r\nx", head + "Content-Type: message/rfc822\r\n\r\nTo: b\r\n\r\nx", 0},
		{"line ends of what is signed", All, strings.ReplaceAll(signed, "\r\n", "\n") + "x\n--s--\n", signed + "x\r\n--s--\r\n", CRLF},
		{"all", All, "To: b\x00\n\nx\x00" + words(1000) + "y",
			"To: b\r\nFrom: unknown@unknown.invalid\r\nDate: Sat, 03 Feb 2024 04:05:06 +0100\r\n\r\nx" + words(990) + "\r\n" + words(1000)[990:] + "y\r\n", All},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out, did, stuck := fix(t, test.raw, test.want)
			if out != test.out || did != test.did || stuck != "" {
				t.Errorf("got %q (%v, stuck %q)\nwant %q (%v)", out, did, stuck, test.out, test.did)
			}
			if again, did, _ := fix(t, out, test.want); again != out || did != 0 {
				t.Errorf("once more makes %q of it (%v)", again, did)
			}
		})
	}
}

// What cannot be repaired without harm is said.
func TestStuck(t *testing.T) {
	t.Parallel()
	part := func(kind, body string) string {
		return head + "Content-Type: multipart/" + kind + "; boundary=\"b b\"\r\n\r\n--b b\r\n" + body + "\r\n--b b--\r\n"
	}
	long := strings.Repeat("x", 3000)
	for _, test := range []struct{ name, raw, stuck string }{
		{"long word", head + "\r\n" + long + "\r\n", "without a place to break it"},
		{"long word in a header", head + "To: " + long + "\r\n\r\n", "in the header"},
		{"long name of a field", "To" + strings.Repeat(" ", 1000) + ": x\r\n\r\n", "in the header"},
		{"signed", part("signed", "\r\n"+words(3000)), "signed"},
		{"NUL, signed", part("signed", "\r\nx\x00y"), "signed"},
		{"NUL, signed, deeper", part("signed", "Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\x00y\r\n--c--"), "signed"},
		{"NUL, signed message", part("signed", "Content-Type: message/rfc822\r\n\r\nTo: b\r\n\r\nx\x00y"), "signed"},
		{"binary", part("mixed", "Content-Transfer-Encoding: binary\r\n\r\nx\x00y"), "binary"},
		{"line ends, binary", part("mixed", "Content-Transfer-Encoding: binary\r\n\r\nx\ny"), "binary"},
		{"CR, binary", part("mixed", "Content-Transfer-Encoding: binary\r\n\r\nx\ry"), "binary"},
		{"unknown encoding", part("mixed", "Content-Transfer-Encoding: x-uue\r\n\r\n"+words(3000)), "not known"},
		{"data", part("mixed", "Content-Type: application/json\r\n\r\n"+words(3000)), "neither text nor encoded"},
		{"no boundary", head + "Content-Type: multipart/mixed\r\n\r\n" + words(3000), "not known"},
		{"long header", head + strings.Repeat("X-Long: "+words(900)+"\r\n", 300) + "\r\nx\n", "256 KiB"},
		{"long header line", head + "X-Long: " + strings.Repeat("x", 300<<10) + "\r\n\r\nx\n", "256 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, _, stuck := fix(t, test.raw, All); !strings.Contains(stuck, test.stuck) {
				t.Errorf("stuck %q, want %q", stuck, test.stuck)
			}
		})
	}
	r := NewReader(strings.NewReader("From: a\r\n\r\n"), All, time.Time{})
	if out, err := io.ReadAll(r); err != nil || string(out) != "From: a\r\n\r\n" || r.Stuck() == "" {
		t.Errorf("without INTERNALDATE: %q, %v, stuck %q", out, err, r.Stuck())
	}
	// After a part that cannot be repaired another one can.
	raw := part("mixed", "Content-Transfer-Encoding: binary\r\n\r\nx\r\n--b b\r\n\r\n"+words(1000)+"\r\n--b b\r\nContent-Type: text/html\r\n\r\n<\x00p>")
	if out, did, stuck := fix(t, raw, All); did != LongLines|NUL || stuck != "" || !strings.HasSuffix(out, "<p>\r\n--b b--\r\n") {
		t.Errorf("got %q (%v, stuck %q)", out, did, stuck)
	}
}

// An error of the source is told as it is, after what came before it, and never
// taken for the end.
func TestReadError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, n := range []int{0, 100, window, window + 1, 3 * window} {
		src := io.MultiReader(strings.NewReader(head+"\r\n"+strings.Repeat("x\r\n", n/3)), iotest.ErrReader(broken), strings.NewReader("more"))
		r := NewReader(src, All, received)
		if out, err := io.ReadAll(r); !errors.Is(err, broken) || strings.Contains(string(out), "more") {
			t.Errorf("%d octets: error %v, and %q at the end", n, err, string(out[max(0, len(out)-10):]))
		}
	}
}

// How the octets come does not matter.
func TestPieces(t *testing.T) {
	t.Parallel()
	raw := "To: b\x00\n\nx\x00\r\r" + words(200000) + "y\r"
	want, _, _ := fix(t, raw, All)
	for name, src := range map[string]io.Reader{
		"one by one": iotest.OneByteReader(strings.NewReader(raw)), "halves": iotest.HalfReader(strings.NewReader(raw)),
		"error with data": iotest.DataErrReader(strings.NewReader(raw)),
	} {
		if out, err := io.ReadAll(NewReader(src, All, received)); err != nil || string(out) != want {
			t.Errorf("%s: %v, the same: %v", name, err, string(out) == want)
		}
	}
}

// Names are read as they are written.
func TestParse(t *testing.T) {
	t.Parallel()
	for s := range All + 1 {
		if got, bad := Parse(s.Names()...); got != s || bad != "" {
			t.Errorf("%v: got %v, %q", s, got, bad)
		}
	}
	if got, bad := Parse(" CRLF", "all"); got != All || bad != "" {
		t.Errorf("got %v, %q", got, bad)
	}
	if _, bad := Parse("crlf", "crfl"); bad != "crfl" {
		t.Errorf("got %q", bad)
	}
}
