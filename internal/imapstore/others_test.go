package imapstore

import (
	"slices"
	"testing"
	"time"

	"postbag/internal/imaptest"
	"postbag/internal/mail"
)

type storeTest struct {
	name string
	fn   func(*testing.T, server)
}

// What holds on a Dovecot holds on Cyrus and on Courier, as far as they can do it.
func TestOtherServers(t *testing.T) {
	t.Parallel()
	common := []storeTest{
		{"Fetch", testFetch}, {"SetFlags", testSetFlags}, {"Remove", testRemove}, {"Keywords", testKeywords},
	}
	for name, s := range map[string]struct {
		start func(*testing.T) server
		tests []storeTest
	}{
		"cyrus": {
			func(t *testing.T) server { return imaptest.StartCyrus(t, imaptest.CyrusOptions{}) },
			append(slices.Clone(common), storeTest{"Ladder", testLadder}, storeTest{"Move", testMove}),
		},
		"courier": {
			func(t *testing.T) server { return imaptest.StartCourier(t) },
			append(slices.Clone(common), storeTest{"Ladder", func(t *testing.T, d server) {
				runLadder(t, d, []rung{{"plain", nil, "UID FETCH 1:4294967295 (UID FLAGS)"}})
			}}, storeTest{"Move", testMove}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := s.start(t)
			t.Run("tests", func(t *testing.T) {
				for _, test := range s.tests {
					t.Run(test.name, func(t *testing.T) {
						t.Parallel()
						test.fn(t, d)
					})
				}
			})
		})
	}
}

// A keyword that the server does not take costs the message nothing else.
func testKeywords(t *testing.T, d server) {
	a := newAccount(t, d, nil)
	flags := mail.ParseFlags(`\Flagged`, "Plain", "x!#&'+,/:;<=>?@^`|", "odd[1", "odd}2", "odd~3")
	m := a.selectMailbox("INBOX")
	b, err := m.Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := add(t, b, mail.Message{Flags: flags, Date: time.Unix(1e9, 0)}, message(1))
	landed, err := b.Commit(t.Context(), []mail.Pending{p})
	if err != nil || len(landed) != 1 || landed[0].Err != nil || landed[0].Ref.IsZero() {
		t.Fatalf("got %+v, %v", landed, err)
	}
	got := a.state("INBOX")[landed[0].Ref.UID]
	if want := mail.ParseFlags(`\Flagged`, "Plain", "x!#&'+,/:;<=>?@^`|"); !got.Intersect(want).Equal(want) {
		t.Errorf("got [%s], want at least [%s]", got, want)
	}
	if lost := flags.Minus(got); !landed[0].Unheld.Equal(lost) {
		t.Errorf("the answer is that [%s] is not held, and it is [%s]", landed[0].Unheld, lost)
	}
}
