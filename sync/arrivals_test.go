package sync_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// strangers puts messages in X of both sides that know nothing of each other yet.
func strangers(a, b []string) *world {
	w := newWorld()
	for s, list := range [][]string{a, b} {
		w.store[s].AddBox("X")
		for i, content := range list {
			w.store[s].Put("X", mail.Flags{}, day.Add(time.Duration(100*s+i)*time.Hour), content)
		}
	}
	return w
}

// counted is a multiset of contents as lines "3 x content".
func counted(list ...string) string {
	n := make(map[string]int)
	for _, c := range list {
		n[c]++
	}
	var lines []string
	for c, k := range n {
		lines = append(lines, fmt.Sprintf("%d x %q", k, c))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func contents(st *storetest.Store, box string) []string {
	var list []string
	for _, m := range st.Messages(box) {
		list = append(list, string(m.Body))
	}
	return list
}

// Mail with hostile or missing Message-IDs: one line each. Those of one kind have
// one size, and nothing but their content tells them apart.
var lookalikes = map[string]func(n int) string{
	"its own Message-ID":     func(n int) string { return fmt.Sprintf("Message-ID: <%d@x>\r\n\r\nsame\r\n", n) },
	"one Message-ID for all": func(n int) string { return fmt.Sprintf("Message-ID: <x@x>\r\n\r\nbody %d\r\n", n) },
	"none":                   func(n int) string { return fmt.Sprintf("Subject: x\r\n\r\nbody %d\r\n", n) },
	"an empty one":           func(n int) string { return fmt.Sprintf("Message-ID:\r\n\r\nbody %d\r\n", n) },
	"one of 10 kB": func(n int) string {
		return fmt.Sprintf("Message-ID: <%s@x>\r\n\r\nbody %d\r\n", strings.Repeat("y", 10000), n)
	},
	"a folded one":            func(n int) string { return fmt.Sprintf("Message-ID:\r\n <x@x>\r\n\r\nbody %d\r\n", n) },
	"two of them":             func(n int) string { return fmt.Sprintf("Message-ID: <x@x>\r\nMessage-ID: <y%d@x>\r\n\r\nbody\r\n", n) },
	"8-bit octets in it":      func(n int) string { return fmt.Sprintf("Message-ID: <\xff\x00@x>\r\n\r\nbody %d\r\n", n) },
	"no header and no body":   func(n int) string { return []string{"\r\n", "\r\n\r\n", "x\r\n", "", "\r"}[n%5] },
	"bare line feeds in them": func(n int) string { return fmt.Sprintf("Message-ID: <x@x>\n\nbody %d\n", n) },
}

// k equal messages on one side and m on the other are max(k, m) on both: none is
// doubled, none is taken for another, whatever their Message-ID is worth, on the
// first run and later.
func TestEqualMessagesStayAsManyAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, content := range lookalikes {
		for k := range 4 {
			for m := range 4 {
				for _, first := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/%d and %d, first run %v", name, k, m, first), func(t *testing.T) {
						t.Parallel()
						var a, b, want []string
						for i := range max(k, m) {
							want = append(want, content(1))
							if i < k {
								a = append(a, content(1))
							}
							if i < m {
								b = append(b, content(1))
							}
						}
						onA, onB := content(2), content(3)
						if first { // then a Message-ID and a size that are one of a kind are believed
							onA, onB = content(22), content(333)
						}
						a, b, want = append(a, onA), append(b, onB), append(want, onA, onB)
						w := strangers(a, b)
						if !first {
							w = strangers(nil, nil)
							w.mustRun(t, sync.TwoWay(), nil)
							for s, list := range [][]string{a, b} {
								for i, c := range list {
									w.store[s].Put("X", mail.Flags{}, day.Add(time.Duration(100*s+i)*time.Hour), c)
								}
							}
						}
						before := w.clone(-1)
						w.mustRun(t, sync.TwoWay(), nil)
						for s, st := range w.store {
							if got := counted(contents(st, "X")...); got != counted(want...) {
								t.Fatalf("side %v holds\n%.300s\nwant\n%.300s", state.Side(s), got, counted(want...))
							}
						}
						w.checkQuiet(t, sync.TwoWay())
						crashEverywhere(t, before, sync.TwoWay(), w, true)
					})
				}
			}
		}
	}
}

// Two messages without a Message-ID that came in the same second and have the
// same size are two: on a first run nothing but their content can pair them.
func TestDateAndSizeAreNoIdentity(t *testing.T) {
	t.Parallel()
	a, b := lookalikes["none"](1), lookalikes["none"](2)
	w := newWorld()
	for s, content := range []string{a, b} {
		w.store[s].AddBox("X")
		w.store[s].Put("X", mail.Flags{}, day, content)
	}
	w.mustRun(t, sync.TwoWay(), nil)
	for s, st := range w.store {
		if got := counted(contents(st, "X")...); got != counted(a, b) {
			t.Errorf("side %v holds\n%s\nwant both:\n%s", state.Side(s), got, counted(a, b))
		}
	}
}

// On a first run a Message-ID and a size tell which message is which, but not
// where several have them in common: those are read.
func TestFirstRunReadsWhatIsNotOneOfAKind(t *testing.T) {
	t.Parallel()
	c := lookalikes["one Message-ID for all"]
	for _, tt := range []struct{ a, b, want []string }{
		{[]string{c(1), c(2), c(3)}, []string{c(3)}, []string{c(1), c(2), c(3)}},
		{[]string{c(3)}, []string{c(1), c(2), c(3)}, []string{c(1), c(2), c(3)}},
		{[]string{c(1), c(2)}, []string{c(3), c(3)}, []string{c(1), c(2), c(3), c(3)}},
		{[]string{c(1), c(1), c(2)}, []string{c(1), c(2), c(2)}, []string{c(1), c(1), c(2), c(2)}},
	} {
		w := strangers(tt.a, tt.b)
		before := w.clone(-1)
		w.mustRun(t, sync.TwoWay(), nil)
		for s, st := range w.store {
			if got := counted(contents(st, "X")...); got != counted(tt.want...) {
				t.Errorf("A %q, B %q: side %v holds\n%s\nwant\n%s", tt.a, tt.b, state.Side(s), got, counted(tt.want...))
			}
		}
		w.checkQuiet(t, sync.TwoWay())
		crashEverywhere(t, before, sync.TwoWay(), w, true)
	}
}

// A tree that another program filled is taken over without reading one body from
// the server, whatever dates it gave to the files.
func TestFirstRunOnTwoFullSidesReadsNoBody(t *testing.T) {
	t.Parallel()
	var all []string
	for i := range 40 {
		all = append(all, text(i))
	}
	w := strangers(all[:30], all[10:])
	before := w.clone(-1)
	w.mustRun(t, sync.TwoWay(), nil)
	for s, st := range w.store {
		if got := counted(contents(st, "X")...); got != counted(all...) {
			t.Errorf("side %v holds\n%s\nwant each once", state.Side(s), got)
		}
		if st.Fetched != 10 {
			t.Errorf("side %v gives %d bodies, want the 10 that the other lacks", state.Side(s), st.Fetched)
		}
		if st.Did["remove"]+st.Did["flags"]+st.Did["move"] != 0 {
			t.Errorf("side %v is told %v, want only new messages", state.Side(s), st.Did)
		}
	}
	w.checkQuiet(t, sync.TwoWay())
	crashEverywhere(t, before, sync.TwoWay(), w, true)
}

// meddler is a store with somebody else at work: before a message is given out,
// meddle may change the store, and decide what is read.
type meddler struct {
	*storetest.Store
	meddle func(mail.Fetched) mail.Fetched
	before func()
}

type meddledBox struct {
	mail.WritableMailbox
	m meddler
}

func (m meddler) Select(ctx context.Context, name string) (mail.WritableMailbox, error) {
	mb, err := m.Store.Select(ctx, name)
	return meddledBox{mb, m}, err
}

func (b meddledBox) Fetch(ctx context.Context, refs []mail.Ref, fn func(mail.Fetched) error) error {
	if b.m.before != nil {
		b.m.before()
	}
	return b.WritableMailbox.Fetch(ctx, refs, func(f mail.Fetched) error {
		if b.m.meddle != nil {
			f = b.m.meddle(f)
		}
		return fn(f)
	})
}

// A message that is deleted between its listing and its reading is nobody's
// failure, from either side.
func TestMessageVanishesBeforeItIsRead(t *testing.T) {
	t.Parallel()
	for s := range 2 {
		w := paired(t, "S", nil)
		for i := range 5 {
			w.store[s].Put("Y", mail.Flags{}, day, text(i))
		}
		victim := w.store[s].Messages("Y")[2]
		meddled := meddler{Store: w.store[s], before: func() { w.store[s].Del("Y", victim.Ref) }}
		w.mustRun(t, sync.TwoWay(), func(o *sync.Options) {
			if o.A = meddled; s == 1 {
				o.A, o.B = w.store[0], meddled
			}
		})
		for o, st := range w.store {
			if got := contents(st, "Y"); len(got) != 4 || slices.Contains(got, string(victim.Body)) {
				t.Errorf("vanished on %v: side %v holds %q, want the other four", state.Side(s), state.Side(o), got)
			}
		}
		w.checkQuiet(t, sync.TwoWay())
	}
}

// A file that shrinks or grows while it is read is not delivered in part. It is
// reported, and copied once it keeps still.
func TestMessageChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(string) string{
		"shorter": func(s string) string { return s[:len(s)-3] },
		"longer":  func(s string) string { return s + "more" },
		"empty":   func(string) string { return "" },
	} {
		for s := range 2 {
			w := paired(t, "S", nil)
			for i := range 5 {
				w.store[s].Put("Y", mail.Flags{}, day, text(i))
			}
			meddled := meddler{Store: w.store[s], meddle: func(f mail.Fetched) mail.Fetched {
				if body, _ := io.ReadAll(f.Body); strings.Contains(string(body), "body 2") {
					f.Body = strings.NewReader(change(string(body)))
				} else {
					f.Body = strings.NewReader(string(body))
				}
				return f
			}}
			rep, err := w.run(sync.TwoWay(), func(o *sync.Options) {
				if o.A = meddled; s == 1 {
					o.A, o.B = w.store[0], meddled
				}
			})
			if err != nil || rep.Outcome != sync.Partial {
				t.Errorf("%s on %v: error %v, outcome %s; want all but that one", name, state.Side(s), err, rep.Outcome)
			}
			want := []string{text(0), text(1), text(3), text(4)}
			if got := contents(w.store[1-s], "Y"); counted(got...) != counted(want...) {
				t.Errorf("%s on %v: the other side holds %q, want the four that kept still", name, state.Side(s), got)
			}
			w.mustRun(t, sync.TwoWay(), nil)
			if got := contents(w.store[1-s], "Y"); counted(got...) != counted(append(want, text(2))...) {
				t.Errorf("%s on %v: once it keeps still the other side holds %q", name, state.Side(s), got)
			}
			w.checkQuiet(t, sync.TwoWay())
		}
	}
}
