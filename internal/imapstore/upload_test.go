package imapstore

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"postbag/internal/imapconn"
	"postbag/internal/mail"
)

func TestMark(t *testing.T) {
	t.Parallel()
	m := mark{validity: 1, next: 4294967295, index: 3}
	if got, ok := parseMark(m.String()); !ok || got != m {
		t.Errorf("got %v, %v, want %v", got, ok, m)
	}
	for _, bad := range []string{"", "v=1 n=2", "v=1 n=2 i=-1", "v=1 n=2 i=3 ", "v=1 n=2 i=03", "v=1 n=2 i=4294967296"} {
		if _, ok := parseMark(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add("v=1 n=2 i=3")
	f.Fuzz(func(t *testing.T, s string) {
		if m, ok := parseMark(s); ok && m.String() != s {
			t.Errorf("%q became %q", s, m)
		}
	})
}

func TestParseCopyUID(t *testing.T) {
	t.Parallel()
	asked := imapconn.NewUIDSet(1, 2, 3, 7)
	tests := []struct {
		args string
		want map[uint32]uint32
	}{
		{"9 1:3,7 11:14", map[uint32]uint32{1: 11, 2: 12, 3: 13, 7: 14}},
		{"9 7,1:3 20,30:32", map[uint32]uint32{7: 20, 1: 30, 2: 31, 3: 32}},
		{"9 2 5", map[uint32]uint32{2: 5}},
		{"9 1:3 11:12", nil},        // not as many
		{"8 1:3 11:13", nil},        // another mailbox
		{"0 1:3 11:13", nil},        // no UIDVALIDITY
		{"9 1:4 11:14", nil},        // 4 was not asked for
		{"9 1:4294967295 1:5", nil}, // four thousand million
		{"9 1,1 11,12", nil},        // one twice
		{"9 0 11", nil},             // no UID
		{"9 1 0", nil},              //
		{"9 1 *", nil},              //
		{"9 1", nil}, {"", nil}, {"9  ", nil}, {"x 1 2", nil}, {"9 1 2 3", nil}, {"9 , ,", nil},
	}
	for _, test := range tests {
		if got := parseCopyUID(test.args, asked, 9); !maps.Equal(got, test.want) {
			t.Errorf("%q: got %v, want %v", test.args, got, test.want)
		}
	}
	if got := parseCopyUID("8 1 2", asked, 0); got[1] != 2 {
		t.Errorf("got %v when the destination's UIDVALIDITY is not known", got)
	}
}

func FuzzParseCopyUID(f *testing.F) {
	f.Add("9 1:3,7 11:14")
	f.Add("9 1:4294967295 1:5")
	f.Fuzz(func(t *testing.T, args string) {
		asked := imapconn.NewUIDSet(1, 2, 3, 7)
		for from, to := range parseCopyUID(args, asked, 9) {
			if !asked.Contains(from) || to == 0 {
				t.Errorf("%q: %d became %d", args, from, to)
			}
		}
	})
}

func TestSplitFlags(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 51)
	f := mail.Flags{System: mail.Seen | mail.Flagged | 0x80, Keywords: mail.Keywords("a ]x " + long)}
	send, later := splitFlags(f, mail.Flagged, false)
	if got, want := send.String(), `\Seen a`; got != want {
		t.Errorf("got %q with APPEND, want %q", got, want)
	}
	if got, want := later.String(), `\Flagged `+long; got != want {
		t.Errorf("got %q afterwards, want %q", got, want)
	}
}

func TestAppendDate(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("odd", 3600+59)
	tests := []struct {
		date time.Time
		want string
	}{
		{time.Date(2024, 2, 3, 4, 5, 6, 7, time.UTC), `"03-Feb-2024 04:05:06 +0000"`},
		{time.Date(2024, 2, 3, 4, 5, 6, 7, zone), `"03-Feb-2024 03:04:07 +0000"`},
		{time.Time{}, ""},
		{time.Date(1902, 1, 1, 0, 0, 0, 0, time.UTC), ""},
		{time.Date(12024, 1, 1, 0, 0, 0, 0, time.UTC), ""},
	}
	for _, test := range tests {
		if got := appendDate(test.date); got != test.want {
			t.Errorf("%v: got %s, want %s", test.date, got, test.want)
		}
	}
}

// What goes into a spool comes out of it, from several goroutines at once, in
// memory or in the file, with and without a known size.
func TestSpool(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &spool{dir: dir, memory: new(memory)}
	rnd := rand.New(rand.NewPCG(1, 1))
	var bodies [][]byte
	for _, size := range []int{0, 1, 4096, memoryMessage, memoryMessage + 1, 3 << 20} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(rnd.Uint32())
		}
		bodies = append(bodies, body)
	}
	for range 20 { // beyond the budget
		bodies = append(bodies, bytes.Repeat([]byte{byte(rnd.Uint32())}, memoryMessage))
	}
	pieces := make([]*piece, 2*len(bodies))
	var wg sync.WaitGroup
	for i, body := range bodies {
		wg.Go(func() {
			var err error
			if pieces[2*i], err = s.add(int64(len(body)), iotest.DataErrReader(bytes.NewReader(body))); err != nil {
				t.Error(err)
			}
			if pieces[2*i+1], err = s.add(-1, iotest.HalfReader(bytes.NewReader(body))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.memory.used > memoryBudget {
		t.Errorf("%d octets in memory, want at most %d", s.memory.used, memoryBudget)
	}
	for i, p := range pieces {
		if p == nil {
			continue
		}
		for range 2 {
			got, err := io.ReadAll(p.open())
			if err != nil || !bytes.Equal(got, bodies[i/2]) || p.size != int64(len(got)) {
				t.Errorf("piece %d: got %d octets (size %d), %v, want %d", i, len(got), p.size, err, len(bodies[i/2]))
			}
		}
	}
	if runtime.GOOS != "windows" {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("others see the spool: %v, %v", left, err)
		}
	}
	s.close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	s.close()
}

func TestSpoolWhenBodyIsNotAsLongAsSaid(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, size := range []int64{10, memoryMessage + 10} {
		s := &spool{dir: t.TempDir(), memory: new(memory)}
		body := strings.Repeat("x", int(size))
		for _, other := range []string{body + "y", body[1:], ""} {
			_, err := s.add(size, strings.NewReader(other))
			if e, ok := errors.AsType[*errLength](err); !ok || e.want != size {
				t.Errorf("%d octets instead of %d: got %v", len(other), size, err)
			}
		}
		for _, part := range []string{"", body[1:], body} {
			_, err := s.add(size, io.MultiReader(strings.NewReader(part), iotest.ErrReader(broken)))
			if !errors.Is(err, broken) {
				t.Errorf("an error after %d octets: got %v", len(part), err)
			}
		}
		if s.memory.used != 0 || s.held != 0 {
			t.Errorf("%d octets are still reserved", s.memory.used)
		}
		s.close()
	}
}

func TestSpoolWhenDiskFails(t *testing.T) {
	t.Parallel()
	s := &spool{dir: t.TempDir() + "/missing", memory: new(memory)}
	_, err := s.add(memoryMessage+1, strings.NewReader(strings.Repeat("x", memoryMessage+1)))
	if e := mail.AsError(err); err == nil || e.Kind != mail.KindDisk || e.Scope != mail.ScopeAccount {
		t.Errorf("got %v, want an error of the disk", err)
	}
}

func TestStorable(t *testing.T) {
	t.Parallel()
	all := mail.ParseFlags(`\Seen`, `\Flagged`, "$Forwarded", "Junk")
	tests := []struct {
		name  string
		write bool
		sel   imapconn.Selected
		want  string
	}{
		{"read-only", false, imapconn.Selected{}, ""},
		{"READ-ONLY", true, imapconn.Selected{ReadOnly: true}, ""},
		{"nothing told", true, imapconn.Selected{}, all.String()},
		{"none", true, imapconn.Selected{HasPermanent: true}, ""},
		{"some", true, imapconn.Selected{HasPermanent: true, PermanentFlags: mail.ParseFlags(`\Seen`, "junk")}, `\Seen Junk`},
		{"any keyword", true, imapconn.Selected{HasPermanent: true, PermanentAny: true, PermanentFlags: mail.ParseFlags(`\Seen`)}, `\Seen $Forwarded Junk`},
	}
	for _, test := range tests {
		m := &mailbox{write: test.write, sel: test.sel}
		if got := m.Storable(all).String(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestFlagGroups(t *testing.T) {
	t.Parallel()
	m := &mailbox{write: true}
	seen, flagged := mail.ParseFlags(`\Seen`), mail.ParseFlags(`\Flagged`)
	groups := m.flagGroups([]mail.FlagChange{
		{Ref: mail.Ref{UID: 1}, Delta: mail.FlagDelta{Add: seen}},
		{Ref: mail.Ref{UID: 2}, Delta: mail.FlagDelta{Add: seen, Remove: flagged}},
		{Ref: mail.Ref{UID: 3}, Delta: mail.FlagDelta{Remove: flagged}},
		{Ref: mail.Ref{UID: 4}},
	})
	if len(groups) != 2 {
		t.Fatalf("got %d groups, want 2", len(groups))
	}
	if g := groups[0]; !g.add || g.flags != seen || len(g.uids) != 2 {
		t.Errorf("got %+v, want \\Seen added to 1 and 2", g)
	}
	if g := groups[1]; g.add || g.flags != flagged || len(g.uids) != 2 {
		t.Errorf("got %+v, want \\Flagged taken from 2 and 3", g)
	}
}
