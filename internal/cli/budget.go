package cli

import (
	"context"
	"fmt"
	"path/filepath"
	gosync "sync"
	"time"

	"postbag/internal/config"
	"postbag/internal/imapstore"
	"postbag/internal/mail"
	"postbag/state"
)

const (
	// budgetFile is where octets are counted, in the user's state directory.
	budgetFile = "usage.db"
	// unwritten is how much may be counted before it is written down; what a run that
	// is killed forgets.
	unwritten = 4 << 20
	// someRoom is the part of a day's budget that is worth coming back for.
	someRoom = 10
)

// budget counts the octets of one account, over the runs of all its pairs. It is an
// imapstore.Budget; its file is opened when something is first counted.
type budget struct {
	path    string
	account string
	now     func() time.Time

	mu    gosync.Mutex
	usage *state.Usage
	ways  map[imapstore.Way]*spent
}

// spent is what is known of one way.
type spent struct {
	used  int64 // in the last day, with what is not written yet
	fresh int64 // not written yet
	asked time.Time
	hours []state.Hour
}

// newBudget is the budget of an account; nil when there is no place to remember it.
func (s *session) newBudget(a *config.Account) *budget {
	dir := s.env.stateDir()
	if dir == "" {
		return nil
	}
	return &budget{path: filepath.Join(dir, budgetFile), account: a.Server.Identity(), now: s.env.Now, ways: make(map[imapstore.Way]*spent)}
}

// Take counts n octets, unless the limit is reached. After an error they count, or do
// not: nobody sends them.
func (b *budget) Take(ctx context.Context, way imapstore.Way, limit, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.ways[way]
	if w == nil {
		w = &spent{}
		b.ways[way] = w
		if err := b.write(ctx, way, w); err != nil {
			return err
		}
	}
	if w.used >= limit || b.now().Sub(w.asked).Abs() > time.Hour {
		if err := b.write(ctx, way, w); err != nil {
			return err
		}
	}
	if w.used >= limit {
		back := comesBack(w.hours, limit, b.now())
		return &mail.Error{Scope: mail.ScopeAccount, Kind: mail.KindThrottled, RetryAfter: back.Sub(b.now()),
			Err:  fmt.Errorf("the day's budget of %s %s is used up", size(limit), wayText(way)),
			Hint: "--limit-day-up and --limit-day-down set other ones"}
	}
	w.used += n
	w.fresh += n
	if w.fresh >= min(unwritten, limit/100) {
		return b.write(ctx, way, w)
	}
	return nil
}

func wayText(way imapstore.Way) string {
	if way == imapstore.Up {
		return "to this account"
	}
	return "from this account"
}

// write writes down what was counted, and takes in what other processes did.
func (b *budget) write(ctx context.Context, way imapstore.Way, w *spent) error {
	if b.usage == nil {
		u, err := state.OpenUsage(ctx, b.path)
		if err != nil {
			return err
		}
		b.usage = u
	}
	hours, err := b.usage.Add(b.account, string(way), b.now(), w.fresh)
	if err != nil {
		return err
	}
	w.asked, w.fresh, w.hours = b.now(), 0, hours
	w.used = lastDay(hours, b.now())
	return nil
}

// Close writes down what is left.
func (b *budget) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.usage == nil {
		return nil
	}
	var first error
	for way, w := range b.ways {
		if w.fresh > 0 {
			if err := b.write(context.Background(), way, w); err != nil && first == nil {
				first = err
			}
		}
	}
	if err := b.usage.Close(); first == nil {
		first = err
	}
	b.usage = nil
	return first
}

// counts reports whether an hour counts at a time: until a day after its end.
func counts(h state.Hour, now time.Time) bool { return now.Before(h.Start.Add(25 * time.Hour)) }

// lastDay is what was counted in the last 24 hours.
func lastDay(hours []state.Hour, now time.Time) (n int64) {
	for _, h := range hours {
		if counts(h, now) {
			n += h.Octets
		}
	}
	return n
}

// comesBack is when a tenth of the budget is free again.
func comesBack(hours []state.Hour, limit int64, now time.Time) time.Time {
	at := now
	for _, h := range hours {
		if lastDay(hours, at) <= limit-max(limit/someRoom, 1) {
			break
		}
		if end := h.Start.Add(25 * time.Hour); end.After(at) {
			at = end
		}
	}
	return at
}
