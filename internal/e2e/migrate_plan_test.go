package e2e

import (
	"strings"
	"testing"

	"postbag/internal/demo"
	"postbag/internal/imaptest"
)

// A dry run of a migration tells how much is to be copied and, where a limit or an
// earlier run tells, about how long that takes; without a measurement it says nothing.
func TestMigratePlanEstimates(t *testing.T) {
	t.Parallel()
	_, _, m := twoDovecots(t, 100)
	n := m.from.MustDump(t).Count()
	if c := m.migrate(t, "--dry-run").want(t, 0); strings.Contains(c.stdout, "about") {
		t.Errorf("nothing was measured, and it says\n%s", c)
	}
	plan := m.migrate(t, "--dry-run", "--json", "--limit-messages", "2").want(t, 0).summary(t)
	if want := int64(n) * 500; plan.B.New != n || plan.B.Bytes == 0 || plan.EstimateMS != want {
		t.Errorf("planned are %+v in %d ms, want %d messages in %d ms", plan.B, plan.EstimateMS, n, want)
	}
	m.migrate(t, "--limit-messages", "60").want(t, 0)
	if _, err := m.from.Fill(into(demo.Corpus(92, 60), "INBOX", "Later")); err != nil {
		t.Fatal(err)
	}
	plan = m.migrate(t, "--dry-run", "--json").want(t, 0).summary(t)
	if plan.B.New != 60 || plan.EstimateMS < 300 || plan.EstimateMS > 20000 {
		t.Errorf("after a run of at most 60 messages a second, 60 are planned as %+v in %d ms", plan.B, plan.EstimateMS)
	}
	c := m.migrate(t, "--dry-run").want(t, 0)
	if !strings.Contains(c.stdout, "60 new (") || !strings.Contains(c.stdout, ", about ") || !strings.Contains(c.stdout, " as the run of 20") {
		t.Errorf("it says\n%s", c)
	}
}

// A dry run names the messages that the new server would refuse for their size, and
// counts none of them as copied; the run leaves out the same ones.
func TestMigratePlanNamesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	from := imaptest.StartDovecot(t, imaptest.DovecotOptions{})
	user := from.NewUser()
	from.Fill(user, into(demo.Corpus(93, 60), "INBOX", "Work"))
	source := from.Target(user)
	const limit = 3000
	total, large, largest := 0, 0, int64(0)
	for _, box := range source.MustDump(t) {
		for _, e := range box.Messages {
			if total++; e.Size > limit {
				large++
				largest = max(largest, e.Size)
			}
		}
	}
	to := imaptest.StartEmbeddedWith(t, demo.Options{TLS: true, MaxMessage: limit}, nil)
	m := newMoving(t, source, to.Target())
	plan := m.migrate(t, "--dry-run", "--json").want(t, 3).summary(t)
	if plan.TooLarge != large || plan.Largest != largest || plan.SizeLimit != limit {
		t.Errorf("too large are %d of up to %d octets, want %d of up to %d", plan.TooLarge, plan.Largest, large, largest)
	}
	s := m.migrate(t, "--json").want(t, 3).summary(t)
	if plan.B.New != total-large || s.B.New != plan.B.New || len(s.Problems) != len(plan.Problems) || len(plan.Problems) != large {
		t.Errorf("%d were planned and %d copied, with %d and %d problems; %d of %d are too large", plan.B.New, s.B.New, len(plan.Problems), len(s.Problems), large, total)
	}
	if c := m.migrate(t, "--dry-run").want(t, 3); !strings.Contains(c.stderr, "larger than the 3.0 kB that the server takes") || !strings.Contains(c.stderr, "the message has ") {
		t.Errorf("it says\n%s", c)
	}
}
