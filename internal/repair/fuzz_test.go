package repair

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// essence is what no repair may change: all but NULs, line ends, blanks (which a
// line end may become in a header) and the "=" of soft line breaks.
func essence(b []byte) (rest []byte) {
	for _, c := range b {
		if strings.IndexByte("\x00\r\n =", c) < 0 {
			rest = append(rest, c)
		}
	}
	return rest
}

// FuzzRepair holds the promises: a second repair does nothing; nothing is changed
// unless that is said; the rest of the message is as it was; what is repaired is.
func FuzzRepair(f *testing.F) {
	for _, seed := range []string{
		"", "x", "\r", "\n", "\x00", "From: a\r\n\r\nx", "Hello\nyou\r\r\n", "A: b\n\rC: d\r\r\r\x00\n",
		"Content-Type: multipart/mixed; boundary=b\n\npre\n--b\nContent-Transfer-Encoding: base64\n\nQUJD" + strings.Repeat("QUJD", 300) + "\n--b\n\n" + words(1500) + "\n--b--\npost",
		"Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=C3=A9 ", 300) + "=\n",
		"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\n\x00\r\n--b--",
		"Subject: " + words(3000) + "\r\n -" + strings.Repeat(" -", 800) + "\r\n\r\n" + strings.Repeat("- --b", 400),
		"Content-Transfer-Encoding: binary\n\n\r\r\n\x00",
	} {
		for _, set := range []Set{All, CRLF, NUL, LongLines, From | Date} {
			f.Add([]byte(seed), uint8(set))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, set uint8) {
		want := Set(set) & All
		r := NewReader(bytes.NewReader(raw), want, received)
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if did := r.Done(); did&^want != 0 || did == 0 && !bytes.Equal(out, raw) {
			t.Fatalf("%v of %v was done, and %q became %q", did, want, raw, out)
		}
		if r.Stuck() != "" {
			return
		}
		rest := out
		for _, added := range []string{"From: " + NoSender + "\r\n", "Date: Sat, 03 Feb 2024 04:05:06 +0100\r\n"} {
			if !bytes.Contains(raw, []byte(added)) {
				rest = bytes.Replace(rest, []byte(added), nil, 1)
			}
		}
		if got, want := essence(rest), essence(raw); !bytes.Equal(got, want) {
			t.Fatalf("%q became %q", raw, out)
		}
		if want&NUL != 0 && bytes.IndexByte(out, 0) >= 0 {
			t.Errorf("NULs are left in %q", out)
		}
		if bare := bytes.ReplaceAll(out, crlf, nil); want&CRLF != 0 && (bytes.ContainsAny(bare, "\r\n") || len(out) > 0 && !bytes.HasSuffix(out, crlf)) {
			t.Errorf("bare line ends are left in %q", out)
		}
		if want&LongLines != 0 {
			for _, line := range bytes.Split(out, []byte("\n")) {
				if len(bytes.TrimRight(line, "\r")) > MaxLine {
					t.Errorf("a line of %d octets is left", len(line))
				}
			}
		}
		again := NewReader(bytes.NewReader(out), want, received)
		if twice, err := io.ReadAll(again); err != nil || !bytes.Equal(twice, out) || again.Done() != 0 {
			t.Fatalf("once more (%v) makes %q of %q, %v", again.Done(), twice, out, err)
		}
	})
}
