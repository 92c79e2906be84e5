package sync_test

import (
	"fmt"
	"testing"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

// A dry run counts all of a mailbox that is listed in several windows, and what is
// too large for the other side apart.
func TestDryRunCountsEveryWindow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.window = 100
	w.store[0].AddBox("X")
	const n = 2345
	var bytes int64
	for i := range n {
		body := fmt.Sprintf("Message-ID: <%d>\r\n\r\nx\r\n", i)
		bytes += int64(len(body))
		w.store[0].Put("X", mail.Flags{}, day, body)
	}
	w.store[0].Put("X", mail.Flags{}, day, fmt.Sprintf("Subject: large\r\n\r\n%0500d\r\n", 1))
	rep, err := w.run(sync.Backup(), func(o *sync.Options) { o.DryRun, o.Takes = true, [2]int64{state.B: 500} })
	if err != nil {
		t.Fatal(err)
	}
	if got := rep.Side[state.B]; got.New != n || got.Bytes != bytes {
		t.Errorf("planned are %+v, want %d messages of %d octets", got, n, bytes)
	}
	if rep.TooLarge.Messages != 1 || rep.TooLarge.Largest < 500 || len(rep.Problems) != 1 {
		t.Errorf("too large are %+v, with %+v", rep.TooLarge, rep.Problems)
	}
	if got := w.mustRun(t, sync.Backup(), nil).Side[state.B].New; got != n+1 {
		t.Errorf("the run copies %d, want all %d", got, n+1)
	}
}
