package sync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/sync"
)

// A message of the Maildir that was not on the server is flagged, and at the same
// time a client puts the same message on the server. Only reading it tells that the
// two are one. Their flags are added up: none is taken away, for nothing was agreed
// on before.
func TestFlagsOfAMessageThatTurnsOutToBeThere(t *testing.T) {
	t.Parallel()
	const nameless = "Subject: no id\r\n\r\nbody\r\n"
	for _, p := range []sync.Policy{sync.Backup(), sync.TwoWay()} {
		w := newWorld()
		for _, st := range w.store {
			st.AddBox("INBOX")
		}
		w.mustRun(t, sync.Backup(), nil)
		ref := w.store[1].Put("INBOX", mail.ParseFlags(`\Seen`), day, nameless)
		w.mustRun(t, sync.Backup(), nil) // a backup leaves it where it is, and knows it
		w.store[1].Flag("INBOX", ref, mail.ParseFlags(`\Flagged`))
		w.store[0].Put("INBOX", mail.ParseFlags(`\Seen`), day, nameless)
		before := w.clone(-1)
		w.mustRun(t, p, nil)
		want := mail.ParseFlags(`\Seen`, `\Flagged`)
		if got := w.store[1].Messages("INBOX"); len(got) != 1 || !got[0].Flags.Equal(want) {
			t.Errorf("%s: the Maildir holds %v, want one message with %v", p.Name, got, want)
		}
		if got := w.store[0].Messages("INBOX"); len(got) != 1 || got[0].Flags.Intersect(want).Minus(mail.ParseFlags(`\Flagged`)).IsZero() {
			t.Errorf(`%s: the server holds %v, want one message that is \Seen still`, p.Name, got)
		}
		w.checkQuiet(t, p)
		crashEverywhere(t, before, p, w, true)
	}
}

// A message without a Message-ID is on the server and in the Maildir, and the state
// does not know it: it was lost, or both came since. A restore does not put it on the
// server once more, though nothing but the content tells; one that looks the same it
// puts there. Of the server's messages only that one is read.
func TestRestoreOfAMessageThatIsThere(t *testing.T) {
	t.Parallel()
	nameless := func(n int) string { return fmt.Sprintf("Subject: no id\r\n\r\nbody %d\r\n", n) }
	for _, based := range []bool{false, true} {
		w := newWorld()
		for _, st := range w.store {
			st.AddBox("INBOX")
		}
		if based {
			w.mustRun(t, sync.Restore(), nil)
		}
		w.store[0].Put("INBOX", mail.Flags{}, day, nameless(1))
		w.store[0].Put("INBOX", mail.Flags{}, day, text(5))
		w.store[1].Put("INBOX", mail.Flags{}, day.Add(time.Hour), nameless(1))
		w.store[1].Put("INBOX", mail.Flags{}, day.Add(time.Hour), nameless(2))
		before := w.clone(-1)
		fetched := w.store[0].Fetched
		w.mustRun(t, sync.Restore(), nil)
		want := counted(nameless(1), nameless(2), text(5))
		if got := counted(contents(w.store[0], "INBOX")...); got != want {
			t.Errorf("with a base %v: the server holds\n%s\nwant\n%s", based, got, want)
		}
		if n := w.store[0].Fetched - fetched; n != 1 {
			t.Errorf("with a base %v: %d messages of the server were read, want 1", based, n)
		}
		w.checkQuiet(t, sync.Restore())
		crashEverywhere(t, before, sync.Restore(), w, true)
	}
}

// Of several equal messages on the server, of which the Maildir has one, it is always
// the first that is that one, and gets its flags.
func TestFirstOfEqualMessagesIsPaired(t *testing.T) {
	t.Parallel()
	nameless := "Subject: no id\r\n\r\n" + strings.Repeat("body\r\n", 10000)
	for range 60 {
		w := newWorld()
		for _, st := range w.store {
			st.AddBox("INBOX")
		}
		w.mustRun(t, sync.TwoWay(), nil)
		for range 4 {
			w.store[0].Put("INBOX", mail.Flags{}, day, nameless)
		}
		w.store[1].Put("INBOX", mail.ParseFlags(`\Flagged`), day, nameless)
		w.mustRun(t, sync.TwoWay(), nil)
		for i, m := range w.store[0].Messages("INBOX") {
			if flagged := !m.Flags.IsZero(); flagged != (i == 0) {
				t.Fatalf("message %d on the server has %v", i+1, m.Flags)
			}
		}
	}
}

// Two equal messages with flags of their own are on their way to the server when the
// run is cut off: one of them known to the state for long, the other new and sent
// first. Each keeps its flags.
func TestEqualMessagesKeepTheirFlagsThroughACrash(t *testing.T) {
	t.Parallel()
	w := newWorld()
	for _, box := range []string{"Archive", "Work"} {
		for _, st := range w.store {
			st.AddBox(box)
		}
	}
	first := w.store[1].Put("Archive", mail.ParseFlags(`\Flagged`), day, text(1))
	w.store[1].Put("Work", mail.ParseFlags(`\Seen`), day, text(1))
	w.mustRun(t, sync.Backup(), nil) // leaves them where they are
	w.store[1].MoveMsg("Archive", first, "Work")
	before := w.clone(-1)
	w.mustRun(t, sync.TwoWay(), nil)
	if a, b := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(a, b) || len(a) != 2 {
		t.Errorf("the sides hold %v and %v, want the same two messages", a, b)
	}
	w.checkQuiet(t, sync.TwoWay())
	crashEverywhere(t, before, sync.TwoWay(), w, true)
}
