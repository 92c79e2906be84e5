package cli

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/state"
)

// A day's budget holds over several runs, also at one time, for each account and way by
// itself; the error says when a tenth of it is free again, and then it is.
func TestBudget(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "postbag", budgetFile)
	now := time.Date(2026, 11, 25, 10, 20, 0, 0, time.UTC)
	runs := func(account string) *budget {
		b := &budget{path: path, account: account, now: func() time.Time { return now }, ways: make(map[imapstore.Way]*spent)}
		t.Cleanup(func() { b.Close() })
		return b
	}
	ctx := context.Background()
	const limit = 1000
	take := func(b *budget, way imapstore.Way, n int64) time.Duration {
		t.Helper()
		err := b.Take(ctx, way, limit, n)
		if err == nil {
			return 0
		}
		e := mail.AsError(err)
		if e.Kind != mail.KindThrottled || e.Scope != mail.ScopeAccount || e.RetryAfter <= 0 {
			t.Fatalf("got %+v", e)
		}
		return e.RetryAfter
	}
	first := runs("me@example.org")
	for range 6 {
		if d := take(first, imapstore.Up, 100); d != 0 {
			t.Fatalf("refused for %v while there is some", d)
		}
	}
	second := runs("me@example.org") // beside it
	if d := take(second, imapstore.Up, 500); d != 0 {
		t.Errorf("400 are left, and the last message may pass the limit: %v", d)
	}
	if d := take(second, imapstore.Up, 1); d == 0 {
		t.Error("1100 of 1000 are used, and there is more")
	}
	if d := take(runs("you@example.org"), imapstore.Up, 1); d != 0 {
		t.Error("another account is refused")
	}
	if d := take(second, imapstore.Down, 1); d != 0 {
		t.Error("the other way is refused")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third := runs("me@example.org")
	d := take(third, imapstore.Up, 1)
	if want := 24*time.Hour + 40*time.Minute; d != want { // until a day after the end of the hour
		t.Errorf("come back in %v, want %v", d, want)
	}
	now = now.Add(d - time.Minute)
	if take(runs("me@example.org"), imapstore.Up, 1) == 0 {
		t.Error("there is some a minute early")
	}
	now = now.Add(time.Minute)
	if d := take(third, imapstore.Up, 1); d != 0 {
		t.Errorf("at the time that it said it says %v", d)
	}
}

// What a run that is killed forgets is less than what may stay unwritten, also when its
// messages are larger.
func TestBudgetOfAKilledRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "postbag", budgetFile)
	now := time.Date(2026, 11, 25, 10, 20, 0, 0, time.UTC)
	used := func(take ...int64) int64 {
		t.Helper()
		b := &budget{path: path, account: "me@example.org", now: func() time.Time { return now }, ways: make(map[imapstore.Way]*spent)}
		for _, n := range take {
			if err := b.Take(context.Background(), imapstore.Up, 1<<40, n); err != nil {
				t.Fatal(err)
			}
		}
		defer b.usage.Close() // and not b, as when it is killed
		hours, err := b.usage.Add(b.account, string(imapstore.Up), now, 0)
		if err != nil {
			t.Fatal(err)
		}
		return lastDay(hours, now)
	}
	const small, large = unwritten - 1, 30 << 20
	if got := used(small, large); got != small+large {
		t.Errorf("%d octets are on record, want %d", got, small+large)
	}
	if got := used(small); got != small+large {
		t.Errorf("%d octets are on record, want %d", got, small+large)
	}
}

// When to come back: as soon as a tenth is free, whatever hours it takes.
func TestComesBack(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	hours := []state.Hour{{Start: at, Octets: 5}, {Start: at.Add(time.Hour), Octets: 50}, {Start: at.Add(5 * time.Hour), Octets: 945}}
	now := at.Add(6 * time.Hour)
	for limit, want := range map[int64]time.Duration{
		1000: 30 * time.Hour, // 55 are not a tenth
		940:  30 * time.Hour,
		1056: 26 * time.Hour,
		2000: 6 * time.Hour,
	} {
		if got := comesBack(hours, limit, now).Sub(at); got != want {
			t.Errorf("with %d: after %v, want %v", limit, got, want)
		}
	}
}
