package bench

import (
	"cmp"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// contender is one side of a comparison. The first of a contest is the one that
// the others are compared with.
type contender struct {
	name string
	run  func() command // what to run in the next round
	// check fails the benchmark when the run did not do what it was to do.
	check func(result)
}

// contest runs contenders round by round, for as long as the benchmark wants,
// and reports. before, unless it is nil, comes before each round.
func contest(b *testing.B, before func(), all ...contender) {
	b.Helper()
	taken := make([][]usage, len(all))
	for round := 0; b.Loop(); round++ {
		if before != nil {
			before()
		}
		for i := range all {
			c := &all[(i+round)%len(all)]
			next := c.run()
			settle(b)
			r := next.must(b)
			c.check(r)
			taken[(i+round)%len(all)] = append(taken[(i+round)%len(all)], r.usage)
		}
	}
	b.ReportMetric(0, "ns/op") // that of a round, which means nothing
	for i, c := range all {
		b.ReportMetric(median(taken[i], func(u usage) float64 { return u.Wall.Seconds() }), c.name+"-s")
		b.ReportMetric(median(taken[i], func(u usage) float64 { return u.CPU.Seconds() }), c.name+"-cpu-s")
		most := slices.MaxFunc(taken[i], func(x, y usage) int { return cmp.Compare(x.RSS, y.RSS) })
		b.ReportMetric(float64(most.RSS)/1e6, c.name+"-RSS-MB")
		if i > 0 {
			b.ReportMetric(ratio(taken[0], taken[i]), "vs-"+c.name)
		}
		for round, u := range taken[i] {
			b.Logf("round %d: %s %.3f s, cpu %.3f s, %.1f MB", round, c.name, u.Wall.Seconds(), u.CPU.Seconds(), float64(u.RSS)/1e6)
		}
	}
}

// settle writes out what others left to be written, and lets the timestamps of
// directories become old enough to be believed by a program that looks at them.
func settle(tb testing.TB) {
	tb.Helper()
	d, err := os.Open(os.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		tb.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
}

// median is the value in the middle, or the mean of the two that are.
func median[T any](of []T, value func(T) float64) float64 {
	values := make([]float64, len(of))
	for i, v := range of {
		values[i] = value(v)
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// ratio is the median of what each round says.
func ratio(a, b []usage) float64 {
	rounds := make([]float64, min(len(a), len(b)))
	for i := range rounds {
		rounds[i] = a[i].Wall.Seconds() / b[i].Wall.Seconds()
	}
	return median(rounds, func(f float64) float64 { return f })
}

func TestMedian(t *testing.T) {
	identity := func(f float64) float64 { return f }
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 100, 2}, 3}} {
		if got := median(c.values, identity); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	a := []usage{{Wall: 1}, {Wall: 9}, {Wall: 30}}
	b := []usage{{Wall: 4}, {Wall: 3}, {Wall: 60}}
	if got := ratio(a, b); got != 0.5 {
		t.Errorf("ratio = %v, want 0.5, the median of 1/4, 9/3 and 30/60", got)
	}
}
