package sync_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/internal/storetest"
	"postbag/state"
	"postbag/sync"
)

// servers that alter what they take, by what they do.
var altering = map[string]func([]byte) []byte{
	"line ends": func(b []byte) []byte {
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		if !bytes.HasSuffix(b, []byte("\n")) {
			b = append(b, "\r\n"...)
		}
		return b
	},
	"8-bit header": func(b []byte) []byte {
		head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		head = bytes.Map(func(r rune) rune {
			if r > 127 || r < 0 {
				return 'X'
			}
			return r
		}, bytes.ReplaceAll(head, []byte("ä"), []byte("\x80\x80")))
		return slices.Concat(head, []byte("\r\n\r\n"), body)
	},
}

// oddMessages are messages that one or the other alters, with some that none does;
// some have one date, some no Message-ID, and some would become equal.
func oddMessages() (list []storetest.Msg) {
	for i, body := range []string{
		"Message-ID: <1>\r\nSubject: plain\r\n\r\nx\r\n",
		"Message-ID: <2>\r\nSubject: bare\r\n\r\nx\ny\r\n",
		"Message-ID: <3>\r\nSubject: unended\r\n\r\nx",
		"Message-ID: <3>\r\nSubject: unended\r\n\r\nx\r\n",
		"Subject: no id\r\n\r\nx\ny",
		"Subject: no id\r\n\r\nx\r\ny\r\n",
		"Message-ID: <5>\r\nSubject: ä\r\n\r\nx\r\n",
		"Message-ID: <6ä>\r\nSubject: ä\r\n\r\nx\r\n",
		"Subject: ä\r\n\r\nx\r\n",
		"Message-ID: <2>\r\nSubject: another with that id\r\n\r\nx\ny\r\n",
		"Message-ID: <2>\r\nSubject: bare\r\n\r\nx\ny\r\n",
	} {
		list = append(list, storetest.Msg{Body: []byte(body), Date: day.Add(time.Duration(i/4) * time.Hour)})
	}
	return list
}

// Messages that the destination alters are sent once: with the state, without it,
// and after a crash at any step. What was altered is told once.
func TestAlteredMessagesAreSentOnce(t *testing.T) {
	t.Parallel()
	for name, alter := range altering {
		for _, policy := range []sync.Policy{sync.Migrate(), sync.Restore()} {
			t.Run(name+" "+policy.Name, func(t *testing.T) {
				t.Parallel()
				from, to := state.A, state.B
				if policy.Name == "restore" {
					from, to = state.B, state.A
				}
				w := &world{[2]*storetest.Store{storetest.NewStore(false), storetest.NewStore(false)}, storetest.NewJournal(), 0}
				if policy.Name == "restore" {
					w.store[from] = storetest.NewStore(true)
				}
				w.store[to].Alter = alter
				w.store[from].AddBox("X")
				var want []string
				for _, m := range oddMessages() {
					w.store[from].Put("X", m.Flags, m.Date, string(m.Body))
					want = append(want, string(alter(bytes.Clone(m.Body))))
				}
				before := w.clone(-1)
				rep := w.mustRun(t, policy, nil)
				check := func(when string) {
					t.Helper()
					if got := counted(contents(w.store[to], "X")...); got != counted(want...) {
						t.Fatalf("%s: the destination holds\n%s\nwant\n%s", when, got, counted(want...))
					}
				}
				check("after the first run")
				if name == "8-bit header" && len(rep.Problems) != 1 {
					t.Errorf("it says %+v, want one warning", rep.Problems)
				}
				for _, p := range rep.Problems {
					if !p.Warning || !strings.Contains(p.Reason, "altered by the server") || p.Ref.IsZero() {
						t.Errorf("it says %+v", p)
					}
				}
				w.checkQuiet(t, policy)
				crashEverywhere(t, before, policy, w, false)

				w.journal = storetest.NewJournal()
				if rep := w.mustRun(t, policy, nil); rep.Side[to].New != 0 {
					t.Errorf("without the state %d messages were sent again", rep.Side[to].New)
				}
				check("without the state")
				w.checkQuiet(t, policy)
			})
		}
	}
}

// What only looks like an altered copy is none: one octet of difference, another
// date, another mailbox, and there is one for each message only.
func TestNothingElseIsTakenForAltered(t *testing.T) {
	t.Parallel()
	const original = "Message-ID: <1>\r\nSubject: bare\r\n\r\nx\ny"
	for name, test := range map[string]struct {
		there  string
		at     time.Time
		box    string
		copies int
	}{
		"the altered copy": {"Message-ID: <1>\r\nSubject: bare\r\n\r\nx\r\ny\r\n", day, "X", 1},
		"one octet":        {"Message-ID: <1>\r\nSubject: bare\r\n\r\nx\r\nz\r\n", day, "X", 2},
		"a line end more":  {"Message-ID: <1>\r\nSubject: bare\r\n\r\nx\r\ny\r\n\r\n", day, "X", 2},
		"another date":     {"Message-ID: <1>\r\nSubject: bare\r\n\r\nx\r\ny\r\n", day.Add(time.Second), "X", 2},
		"another mailbox":  {"Message-ID: <1>\r\nSubject: bare\r\n\r\nx\r\ny\r\n", day, "Y", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{[2]*storetest.Store{storetest.NewStore(false), storetest.NewStore(false)}, storetest.NewJournal(), 0}
			for _, s := range w.store {
				s.AddBox("X")
				s.AddBox("Y")
			}
			for range 2 {
				w.store[0].Put("X", mail.Flags{}, day, original)
			}
			w.store[1].Put(test.box, mail.Flags{}, test.at, test.there)
			if rep := w.mustRun(t, sync.Migrate(), nil); rep.Side[state.B].New != test.copies {
				t.Errorf("%d were copied, want %d", rep.Side[state.B].New, test.copies)
			}
			w.checkQuiet(t, sync.Migrate())
		})
	}
}

// A deep comparison tells what a server is known to do to messages from what nobody
// can explain.
func TestCompareExplainsWhatWasAltered(t *testing.T) {
	t.Parallel()
	for name, alter := range altering {
		w := &world{[2]*storetest.Store{storetest.NewStore(false), storetest.NewStore(false)}, storetest.NewJournal(), 0}
		w.store[1].Alter = alter
		w.store[0].AddBox("X")
		altered := 0
		for _, m := range oddMessages() {
			w.store[0].Put("X", m.Flags, m.Date, string(m.Body))
			if !bytes.Equal(alter(bytes.Clone(m.Body)), m.Body) {
				altered++
			}
		}
		w.mustRun(t, sync.Migrate(), nil)
		w.store[1].Alter = nil
		w.store[0].Put("X", mail.Flags{}, day, "Message-ID: <9>\r\n\r\nthis\r\n")
		w.store[1].Put("X", mail.Flags{}, day, "Message-ID: <9>\r\n\r\nthat\r\n")
		kinds := map[sync.FindingKind]int{}
		out, err := sync.Compare(t.Context(), sync.CompareOptions{A: w.store[0], B: w.store[1], Deep: true,
			Found: func(f sync.Finding) { kinds[f.Kind]++ }})
		if want := fmt.Sprint(map[sync.FindingKind]int{sync.Altered: altered, sync.Different: 1}); err != nil || fmt.Sprint(kinds) != want {
			t.Errorf("%s: found %v, want %s (%v)", name, kinds, want, err)
		}
		if out.Messages != len(oddMessages()) {
			t.Errorf("%s: %d messages were compared, want %d", name, out.Messages, len(oddMessages()))
		}
	}
}
