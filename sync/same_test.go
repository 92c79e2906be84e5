package sync_test

import (
	"testing"

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
