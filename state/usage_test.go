package state

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Several counters of one file, as several processes have, count together, by account,
// way and hour, and forget what is old.
func TestUsage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "home", "usage.db")
	now := time.Date(2026, 11, 25, 10, 30, 0, 0, time.UTC)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			u, err := OpenUsage(context.Background(), path)
			if err != nil {
				t.Error(err)
				return
			}
			for range 25 {
				if _, err := u.Add("me@example.org", "up", now, 100); err != nil {
					t.Error(err)
				}
			}
			if err := u.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	u, err := OpenUsage(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, step := range []struct {
		account, way string
		after        time.Duration
		add          int64
		want         []Hour
	}{
		{"me@example.org", "up", 0, 0, []Hour{{now.Truncate(time.Hour), 10000}}},
		{"me@example.org", "down", 0, 5, []Hour{{now.Truncate(time.Hour), 5}}},
		{"you@example.org", "up", 0, 0, nil},
		{"me@example.org", "up", time.Hour, 7, []Hour{{now.Truncate(time.Hour), 10000}, {now.Add(time.Hour).Truncate(time.Hour), 7}}},
		{"me@example.org", "up", 48 * time.Hour, 0, []Hour{{now.Add(time.Hour).Truncate(time.Hour), 7}}},
	} {
		got, err := u.Add(step.account, step.way, now.Add(step.after), step.add)
		if err != nil || len(got) != len(step.want) {
			t.Errorf("%+v: got %v, %v", step, got, err)
			continue
		}
		for i := range got {
			if !got[i].Start.Equal(step.want[i].Start) || got[i].Octets != step.want[i].Octets {
				t.Errorf("%+v: got %v", step, got)
			}
		}
	}
}

// What was counted while the clock was ahead counts as of now once it is right again,
// for all accounts and ways, and is forgotten as everything else.
func TestUsageAfterAWrongClock(t *testing.T) {
	t.Parallel()
	u, err := OpenUsage(context.Background(), filepath.Join(t.TempDir(), "home", "usage.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	now := time.Date(2026, 11, 25, 10, 30, 0, 0, time.UTC)
	add := func(way string, at time.Time, octets int64) []Hour {
		t.Helper()
		hours, err := u.Add("me@example.org", way, at, octets)
		if err != nil {
			t.Fatal(err)
		}
		return hours
	}
	add("up", now, 1)
	add("up", now.Add(24*time.Hour), 20)
	add("up", now.Add(26*time.Hour), 300)
	add("down", now.Add(26*time.Hour), 4)
	for _, way := range []struct {
		way  string
		want int64
	}{{"up", 5321}, {"down", 5004}} {
		got := add(way.way, now, 5000)
		if len(got) != 1 || !got[0].Start.Equal(now.Truncate(time.Hour)) || got[0].Octets != way.want {
			t.Errorf("%s: got %v, want %d octets in this hour", way.way, got, way.want)
		}
	}
	if got := add("up", now.Add(48*time.Hour), 0); len(got) != 0 {
		t.Errorf("two days later: %v", got)
	}
}
