package sync

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postbag/state"
)

// told is fn with word for Progress: a line about what was changed in the box
// since the last one, and what was not to be done after all.
func (r *run) told(fn func(context.Context, *box) error) func(context.Context, *box) error {
	return func(ctx context.Context, b *box) error {
		err := fn(ctx, b)
		r.takeBack(b)
		now := r.rep.of(b.name())
		if text := r.changesSince(b.noted, now); text != "" {
			r.Progress.Note("%s: %s", b.name(), text)
		}
		b.noted = now
		return err
	}
}

// changesSince says what was done in a box between two reports: "10 new, 5
// flags". The side is named when both may change.
func (r *run) changesSince(before, now MailboxReport) string {
	both := !r.Policy.reads(state.A) && !r.Policy.reads(state.B)
	var parts []string
	add := func(n int, what string, s state.Side) {
		if n <= 0 {
			return
		}
		if both {
			what += " in " + r.store[s].Account()
		}
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	for _, s := range []state.Side{state.A, state.B} {
		from, to := before.Side[s], now.Side[s]
		add(to.New-from.New, "new", s)
		if n := to.Flags - from.Flags; n == 1 {
			add(n, "flag", s)
		} else {
			add(n, "flags", s)
		}
		add(to.Moved-from.Moved, "moved", s)
		add(to.Deleted-from.Deleted, "deleted", s)
	}
	if n := now.Kept - before.Kept; n > 0 {
		parts = append(parts, fmt.Sprintf("%d kept that the other side deleted", n))
	}
	return strings.Join(parts, ", ")
}

// of is the report of one mailbox so far.
func (r *reporter) of(mailbox string) MailboxReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.boxes[mailbox]; b != nil {
		return *b
	}
	return MailboxReport{}
}

// noteRetry says which boxes failed and when they are tried again. A connection
// that is lost fails several with one reason.
func (r *run) noteRetry(boxes []*box, wait time.Duration) {
	byReason := make(map[string][]string)
	var reasons []string
	for _, b := range boxes {
		if b.err == nil || !b.look[state.A] {
			continue
		}
		text := b.err.Error()
		if byReason[text] == nil {
			reasons = append(reasons, text)
		}
		byReason[text] = append(byReason[text], b.name())
	}
	slices.Sort(reasons)
	const shown = 3
	for _, text := range reasons {
		names := byReason[text]
		list := strings.Join(names[:min(len(names), shown)], ", ")
		if n := len(names) - shown; n > 0 {
			list += fmt.Sprintf(" and %d more", n)
		}
		r.Progress.Note("%s: %s; trying again in %v", list, text, wait)
	}
}
