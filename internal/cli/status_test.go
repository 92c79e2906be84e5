package cli

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/state"
)

func (w *world) out(args ...string) string {
	w.t.Helper()
	var out, errs lockedBuffer
	env := w.env(&out, &errs)
	env.Now = func() time.Time { return time.Now().UTC() }
	if got := Main(args, env); got != 0 {
		w.t.Fatalf("%v: got %d\n%s%s", args, got, out.String(), errs.String())
	}
	return out.String()
}

// With -v status reads every row, and tells how many are damaged.
func TestStatusOfDamagedState(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.mustRun(0, w.args("backup")...)
	path := filepath.Join(w.dir, "mail", ".postbag", stateFile)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE message SET size = size + 1 WHERE id IN (2, 3)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := w.out("status", "mail", "-v"); !strings.Contains(got, "\n  damaged  2 rows of the state;") {
		t.Errorf("got\n%s", got)
	}
}

// Messages that the server deleted at several times, those on their way and those
// with problems are told of each mailbox.
func TestStatusCounts(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	clock := time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)
	run := func(after time.Duration) {
		t.Helper()
		clock = clock.Add(after)
		var out, errs lockedBuffer
		env := w.env(&out, &errs)
		env.Now = func() time.Time { return clock }
		if got := Main(w.args("backup"), env); got != 0 {
			t.Fatalf("got %d\n%s%s", got, out.String(), errs.String())
		}
	}
	run(0)
	w.hook([]string{"expunge", "INBOX", "1"})
	run(24 * time.Hour)
	w.hook([]string{"expunge", "INBOX", "2", "3"})
	run(24 * time.Hour)
	ctx := context.Background()
	db, err := state.Open(ctx, filepath.Join(w.dir, "mail", ".postbag", stateFile), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	boxes, err := db.Mailboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	row := &state.Row{Mailbox: boxes[0].ID, Ref: [2]mail.Ref{{UID: 77}}, Size: 10, Date: clock}
	tx := &state.Tx{
		Rows: []*state.Row{row,
			{Mailbox: boxes[0].ID, Ref: [2]mail.Ref{{UID: 78}, {Key: "k"}}, Size: 10, Date: clock, Status: state.ToB}},
		Problems: []state.Problem{{Of: row, Side: state.B, Kind: mail.KindRefused, Reason: "no\x1b", Tries: 1}},
	}
	if err := db.Commit(ctx, tx, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text := w.out("status", "mail", "-v")
	for _, want := range []string{
		"\n  kept     3 messages that the server deleted\n",
		"\n  left out 1 message on the server only, by a filter or a problem\n",
		"\n  pending  1 message on the way when the last run was cut off; the next one finishes\n",
		"\n  mailbox  INBOX: 5 messages, 5.3 kB, 3 kept that the server deleted, seen 2025-01-02 12:00:00 to 2025-01-03 12:00:00",
		"\n  problems 1\n", ": uid 77 (2025-01-03, 10 B): no\\x1b\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
