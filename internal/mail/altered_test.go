package mail

import (
	"crypto/sha256"
	"testing"
)

// Each alteration is recognised however the message is cut into parts, and nothing
// else is taken for one.
func TestAltering(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		message string
		altered map[Alteration]string // those that change something
	}{
		"nothing to alter": {"A: b\r\n\r\nc\r\n", nil},
		"no last line end": {"A: b\r\n\r\nc", map[Alteration]string{LineEnds: "A: b\r\n\r\nc\r\n"}},
		"empty":            {"", map[Alteration]string{LineEnds: "\r\n"}},
		"bare line feeds":  {"A: b\n\nc\r\n\n", map[Alteration]string{LineEnds: "A: b\r\n\r\nc\r\n\r\n", BareLF: "A: b\r\n\r\nc\r\n\r\n"}},
		"bare CR":          {"A: b\r\n\r\nc\rd\r\r\ne\r", map[Alteration]string{LineEnds: "A: b\r\n\r\ncd\r\ne\r\n"}},
		"LF CR":            {"A: b\r\n\r\nc\n\rd\r\n", map[Alteration]string{LineEnds: "A: b\r\n\r\nc\r\nd\r\n", BareLF: "A: b\r\n\r\nc\r\n\rd\r\n"}},
		"8-bit header":     {"A: \xc3\xa4\r\nB: c\r\n\r\n\xc3\r\n", map[Alteration]string{EightBitHeader: "A: XX\r\nB: c\r\n\r\n\xc3\r\n"}},
		"8-bit body":       {"A: b\r\n\r\n\xc3\xa4\r\n", nil},
		"NUL":              {"A: b\r\n\r\nc\x00d\r\n", map[Alteration]string{NUL: "A: b\r\n\r\nc\x80d\r\n"}},
	} {
		for cut := 1; cut <= len(test.message)+1; cut++ {
			w := NewAltering()
			for rest := test.message; len(rest) > 0; {
				n := min(cut, len(rest))
				w.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if got := w.Digests(); len(got) != len(test.altered) && !(len(got) == 1 && len(test.altered) == 2) {
				t.Errorf("%s in parts of %d: %d alterations, want %d", name, cut, len(got), len(test.altered))
			}
			for how, text := range test.altered {
				if _, ok := w.Find(sha256.Sum256([]byte(text))); !ok {
					t.Errorf("%s in parts of %d: %q is not known as %s", name, cut, text, how)
				}
			}
			if _, ok := w.Find(sha256.Sum256([]byte(test.message))); ok {
				t.Errorf("%s: the message itself counts as altered", name)
			}
			_, same := test.altered[EightBitHeader]
			_, nul := test.altered[NUL]
			if w.SameSize() != (same || nul) {
				t.Errorf("%s: SameSize is %v", name, w.SameSize())
			}
		}
	}
}
