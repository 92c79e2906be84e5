package sync_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"postbag/internal/mail"
	"postbag/state"
	"postbag/sync"
)

func text(n int) string {
	return fmt.Sprintf("Message-ID: <m%d@x>\r\nSubject: %d\r\n\r\nbody %d\r\n", n, n, n)
}

// filled is a backed-up world with n messages in INBOX.
func filled(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld()
	w.store[0].AddBox("INBOX")
	for i := range n {
		w.store[0].Put("INBOX", mail.Flags{}, day.Add(time.Duration(i)*time.Second), text(i))
	}
	w.mustRun(t, sync.Backup(), nil)
	return w
}

func TestDeletedFromCopyStaysDeletedUntilRefill(t *testing.T) {
	t.Parallel()
	w := filled(t, 6)
	victim := w.store[1].Messages("INBOX")[2]
	w.store[1].Del("INBOX", victim.Ref)
	w.mustRun(t, sync.Backup(), nil)
	if n := len(w.store[1].Messages("INBOX")); n != 5 {
		t.Fatalf("after a backup the copy has %d messages, want 5: the removed one stays away", n)
	}
	w.mustRun(t, sync.Backup(), func(o *sync.Options) { o.Refill = true })
	if n := bodies(w.store[1])[string(victim.Body)]; n != 1 {
		t.Fatalf("after a refill the copy has the message %d times, want once", n)
	}
	w.checkQuiet(t, sync.Backup())
}

func TestRenumberedMailboxIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	w := filled(t, 50)
	removed := w.store[1].Messages("INBOX")[7]
	w.store[1].Del("INBOX", removed.Ref)
	w.mustRun(t, sync.Backup(), nil)
	w.store[0].Renumber("INBOX")
	before := w.store[0].Fetched
	w.mustRun(t, sync.Backup(), nil)
	if got := w.store[0].Fetched - before; got != 0 {
		t.Errorf("%d bodies were fetched again, want none", got)
	}
	if got := len(w.store[1].Messages("INBOX")); got != 49 {
		t.Errorf("the copy has %d messages, want 49: nothing doubled, the removed one not brought back", got)
	}
	w.checkQuiet(t, sync.Backup())
}

func TestUnreadableMessageIsQuarantinedAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].AddBox("INBOX")
	for i := range 10 {
		w.store[0].Put("INBOX", mail.Flags{}, day, text(i))
	}
	w.store[0].Unreadable = func(body []byte) *mail.Error {
		if strings.Contains(string(body), "body 4") {
			return &mail.Error{Scope: mail.ScopeMessage, Kind: mail.KindRefused, Err: errors.New("corrupt item")}
		}
		return nil
	}
	for round := range 3 {
		rep, err := w.run(sync.Backup(), nil)
		if err != nil || rep.Outcome != sync.Partial || len(rep.Problems) != 1 || rep.Problems[0].Reason != "corrupt item" {
			t.Fatalf("round %d: error %v, outcome %s, problems %+v; want one, of the corrupt item", round, err, rep.Outcome, rep.Problems)
		}
		if n := len(w.store[1].Messages("INBOX")); n != 9 {
			t.Fatalf("round %d: %d messages were copied, want the other 9", round, n)
		}
	}
	w.store[0].Unreadable = nil
	w.mustRun(t, sync.Backup(), nil)
	if n := len(w.store[1].Messages("INBOX")); n != 10 {
		t.Fatalf("once it can be read there are %d messages, want 10", n)
	}
	w.checkQuiet(t, sync.Backup())
}

func TestGuardStopsBeforeAnything(t *testing.T) {
	t.Parallel()
	w := filled(t, 30)
	for _, m := range w.store[0].Messages("INBOX") {
		w.store[0].Del("INBOX", m.Ref)
	}
	w.store[0].Put("INBOX", mail.Flags{}, day, text(99))
	before := w.store[1].Content(true)
	rep, err := w.run(sync.Mirror(), func(o *sync.Options) { o.Guard = sync.Limits{} })
	if mail.AsError(err).Kind != mail.KindGuard || rep.Outcome != sync.Refused {
		t.Fatalf("error %v, outcome %s; want the guard's refusal", err, rep.Outcome)
	}
	if got := w.store[1].Content(true); !slices.Equal(got, before) {
		t.Errorf("the guard let something through: %v", got)
	}
	w.mustRun(t, sync.Mirror(), nil) // with the guard off
	if n := len(w.store[1].Messages("INBOX")); n != 1 {
		t.Errorf("forced, the mirror has %d messages, want 1", n)
	}
}

func TestEmptyListingIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []state.Side{state.A, state.B} {
		w := filled(t, 3)
		w.store[s].DropBox("INBOX")
		_, err := w.run(sync.Mirror(), nil)
		if mail.AsError(err).Kind != mail.KindGuard {
			t.Errorf("side %v lists nothing: error %v, want the guard's", s, err)
		}
	}
}

func TestDryRunChangesNothingAndTellsTheTruth(t *testing.T) {
	t.Parallel()
	w := filled(t, 12)
	msgs := w.store[0].Messages("INBOX")
	w.store[0].AddBox("Work")
	w.store[0].MoveMsg("INBOX", msgs[0].Ref, "Work")
	w.store[0].Del("INBOX", msgs[1].Ref)
	w.store[0].Flag("INBOX", msgs[2].Ref, mail.ParseFlags(`\Seen`))
	for i := range 9 {
		w.store[0].Put("INBOX", mail.Flags{}, day, text(100+i))
	}
	c := w.clone(-1)
	dry := c.mustRun(t, sync.Mirror(), func(o *sync.Options) { o.DryRun = true })
	if n := c.store[0].Steps.Count(); n != 0 {
		t.Errorf("a dry run does %d steps, want none", n)
	}
	real := w.mustRun(t, sync.Mirror(), nil)
	if dry.Side != real.Side {
		t.Errorf("the dry run promises %+v, the real one does %+v", dry.Side, real.Side)
	}
}

func TestMoveNeedsNoBody(t *testing.T) {
	t.Parallel()
	w := filled(t, 20)
	w.store[0].AddBox("Work")
	w.mustRun(t, sync.Backup(), nil)
	before := w.store[0].Fetched
	for _, m := range w.store[0].Messages("INBOX")[:5] {
		w.store[0].Flag("INBOX", m.Ref, mail.ParseFlags(`\Seen`))
		w.store[0].MoveMsg("INBOX", m.Ref, "Work")
	}
	rep := w.mustRun(t, sync.Backup(), nil)
	if rep.Side[1].Moved != 5 || w.store[0].Fetched != before {
		t.Errorf("%d messages moved, %d bodies fetched; want 5 and none", rep.Side[1].Moved, w.store[0].Fetched-before)
	}
	if a, b := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(a, b) {
		t.Errorf("after the moves the copy is %v, want %v", b, a)
	}
}

func TestFilterIsWidened(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].AddBox("INBOX")
	for i := range 10 {
		w.store[0].Put("INBOX", mail.Flags{}, day.AddDate(0, 0, i), text(i))
	}
	narrow := func(o *sync.Options) { o.Filter.Since = day.AddDate(0, 0, 7) }
	w.mustRun(t, sync.Mirror(), narrow)
	if n := len(w.store[1].Messages("INBOX")); n != 3 {
		t.Fatalf("with a filter %d messages were copied, want 3", n)
	}
	w.mustRun(t, sync.Mirror(), nil)
	if n := len(w.store[1].Messages("INBOX")); n != 10 {
		t.Fatalf("without it %d messages are there, want 10", n)
	}
	w.mustRun(t, sync.Mirror(), narrow)
	if n := len(w.store[1].Messages("INBOX")); n != 10 {
		t.Fatalf("a filter removed messages: %d are left of 10", n)
	}
}

// flaky fails the first n opens of a mailbox as a lost connection does.
type flaky struct {
	mail.Store
	n *int
}

func (f flaky) Examine(ctx context.Context, name string) (mail.Mailbox, error) {
	if *f.n > 0 {
		*f.n--
		return nil, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindUnreachable, Temporary: true, Err: errors.New("connection reset")}
	}
	return f.Store.Examine(ctx, name)
}

func TestLostConnectionIsTriedAgain(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]sync.Outcome{2: sync.Done, 100: sync.Partial} {
		w := newWorld()
		w.store[0].AddBox("INBOX")
		w.store[0].Put("INBOX", mail.Flags{}, day, text(1))
		n := failures
		rep, err := w.run(sync.Backup(), func(o *sync.Options) { o.A = flaky{w.store[0], &n} })
		if err != nil || rep.Outcome != want {
			t.Errorf("after %d failures: error %v, outcome %s, problems %+v; want %s", failures, err, rep.Outcome, rep.Problems, want)
		}
	}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := filled(t, 8)
	msgs := w.store[1].Messages("INBOX")
	w.store[1].Del("INBOX", msgs[1].Ref)
	w.store[1].Messages("INBOX")
	msgs[3].Body[20] ^= 1 // shared with the store: a flipped bit
	w.store[0].Put("INBOX", mail.Flags{}, day, text(50))
	w.store[1].Put("INBOX", mail.Flags{}, day, text(60))
	w.store[0].Del("INBOX", w.store[0].Messages("INBOX")[5].Ref)
	got := make(map[sync.FindingKind]int)
	v, err := sync.Verify(context.Background(), sync.VerifyOptions{A: w.store[0], B: w.store[1], Journal: w.journal, Deep: true,
		Found: func(f sync.Finding) { got[f.Kind]++ }})
	if err != nil {
		t.Fatal(err)
	}
	want := map[sync.FindingKind]int{sync.Missing: 3, sync.Damaged: 1, sync.Extra: 1}
	if fmt.Sprint(got) != fmt.Sprint(want) || v.Findings != 5 {
		t.Errorf("findings %v (%d), want %v", got, v.Findings, want)
	}
}

// A batch that cannot be made durable leaves rows on their way. The next pass of
// the same run must find out about them, or it would end "done" without them.
func TestFailedLandingIsFinishedInTheSameRun(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].AddBox("INBOX")
	for i := range 10 {
		w.store[0].Put("INBOX", mail.Flags{}, day, text(i))
	}
	w.store[1].AddBox("INBOX")
	w.store[1].PrepareFails = 1
	w.mustRun(t, sync.Backup(), nil)
	if a, b := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(a, b) {
		t.Errorf("after a failed landing the copy is %v, want %v", b, a)
	}
	w.checkQuiet(t, sync.Backup())
}

func TestMailboxGoneFromCopyIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := filled(t, 4)
	w.store[0].AddBox("Work")
	w.store[0].Put("Work", mail.Flags{}, day, text(50))
	w.mustRun(t, sync.Backup(), nil)
	w.store[1].DropBox("Work")
	w.store[0].Put("Work", mail.Flags{}, day, text(51))
	rep := w.mustRun(t, sync.Backup(), nil)
	if n := len(w.store[1].Messages("Work")); n != 1 || len(rep.Problems) != 1 || !rep.Problems[0].Warning {
		t.Errorf("the mailbox holds %d messages, problems %+v; want the new one only, and a warning", n, rep.Problems)
	}
	w.checkQuiet(t, sync.Backup())
	w.mustRun(t, sync.Backup(), func(o *sync.Options) { o.Refill = true })
	if a, b := w.store[0].Content(true), w.store[1].Content(true); !slices.Equal(a, b) {
		t.Errorf("after a refill the copy is %v, want %v", b, a)
	}
}

func TestLostStateDownloadsNothing(t *testing.T) {
	t.Parallel()
	w := filled(t, 30)
	w.journal = newWorld().journal
	before := w.store[0].Fetched
	w.mustRun(t, sync.Backup(), nil)
	if n := w.store[0].Fetched - before; n != 0 || len(w.store[1].Messages("INBOX")) != 30 {
		t.Errorf("%d bodies were fetched, and the copy has %d messages; want none and 30", n, len(w.store[1].Messages("INBOX")))
	}
	w.checkQuiet(t, sync.Backup())
}

// A message that ends every fetch it is part of must not keep the others, before
// and after it, from being copied.
func TestPoisonMessageIsLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.store[0].AddBox("INBOX")
	for i := range 10 {
		w.store[0].Put("INBOX", mail.Flags{}, day, text(i))
	}
	w.store[0].Poison = func(body []byte) bool { return strings.Contains(string(body), "body 4") }
	for round := range 2 {
		rep, err := w.run(sync.Backup(), nil)
		if err != nil || rep.Outcome != sync.Partial || len(rep.Problems) != 1 || rep.Problems[0].Ref.UID != 5 {
			t.Fatalf("round %d: error %v, outcome %s, problems %+v; want one, of uid 5", round, err, rep.Outcome, rep.Problems)
		}
		if n := len(w.store[1].Messages("INBOX")); n != 9 {
			t.Fatalf("round %d: %d messages were copied, want the other 9", round, n)
		}
	}
	w.store[0].Poison = nil
	w.mustRun(t, sync.Backup(), nil)
	if n := len(w.store[1].Messages("INBOX")); n != 10 {
		t.Fatalf("once it can be fetched there are %d messages, want 10", n)
	}
}
