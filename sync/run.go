// Package sync is the engine: it brings two sides together under a policy. A
// side is any mail.Store; backup, mirror, two-way sync and the rest differ in
// their Policy only.
//
// A run lists both sides, skips the mailboxes that are proved to be unchanged,
// asks the others what happened since the last run, plans (purely, see plan.go),
// and carries the plan out: what adds before what takes away, and every step
// written to the journal so that a run that is cut off anywhere is finished by
// the next one. Then it looks again, until there is nothing left to do.
//
// Invariants:
//
//   - A message is durable on its new side before the journal says that it is
//     there, and the journal says so before anything that relies on it is deleted.
//   - A cursor is recorded only when everything up to it has been handled.
//   - Nothing is deleted in a mailbox in which something failed in this run.
//   - A retry is a new look and a new plan.
package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	gosync "sync"
	"time"

	"postbag/internal/mail"
	"postbag/internal/repair"
	"postbag/state"
)

// Progress is told what a run does. Its methods are called from several
// goroutines.
type Progress interface {
	Expect(messages int, bytes int64) // adds to what is to be done, or takes back
	Done(messages int, bytes int64)   // adds to what has been done
	Note(format string, args ...any)  // one line for the verbose
}

// Options say what to run. A, B, Policy and Journal are required.
type Options struct {
	A, B    mail.Store
	Policy  Policy
	Journal Journal
	Command string
	// Match selects mailboxes; nil selects all. Those left out are not touched in
	// any way.
	Match  func(mail.MailboxInfo) bool
	Filter Filter
	DryRun bool // plan, report, change nothing
	// Takes is, for a dry run, how many octets a message may have for a side; 0 where
	// that is not known.
	Takes [2]int64
	// Refill checks every message of side B against its digest first, and copies
	// again what is missing or damaged there.
	Refill bool
	// Restore lines up all that side B has and side A lacks, whatever became of it
	// there.
	Restore bool
	// RestoreOnly chooses among those; nil takes all. mailbox is side B's name.
	RestoreOnly func(mailbox string, row *state.Row) bool
	// Subscriptions merges which mailboxes are subscribed, where both sides can tell.
	Subscriptions bool
	// FailRefused ends the run at the first message that the side it is copied to
	// does not take, with an error of KindRefused that names it. What was copied
	// stays, and the message is tried again by the next run. Without it such
	// messages are problems of the report.
	FailRefused bool
	// Fix are the repairs that are tried on a message that the side it is copied to
	// does not take. What that makes of it is noted in the state, and reported.
	Fix repair.Set

	Guard    Limits
	Workers  int // mailboxes worked on side by side; 4 when 0
	Progress Progress
	Now      func() time.Time
	Sleep    func(context.Context, time.Duration) error // between tries
	Jitter   func(time.Duration) time.Duration          // what a wait is made; up to a quarter longer when nil
	Batch    BatchLimits
	Window   int // new messages listed at a time, by all workers; 20,000 when 0
}

// BatchLimits bound what is on its way at one time, and so what a crash makes
// the next run do again. Zero fields stand for the default.
type BatchLimits struct {
	Messages int           // 500
	Bytes    int64         // 64 MiB
	Age      time.Duration // 2 s
	To       [2]int        // messages on their way to a side, where that is fewer
}

// messages is how many may be in a batch to a side.
func (l BatchLimits) messages(to state.Side) int {
	if n := l.To[to]; n > 0 {
		return min(n, l.Messages)
	}
	return l.Messages
}

const (
	maxPasses   = 8     // passes over the mailboxes that still have something to do
	maxListed   = 50000 // new messages that are listed before the first is copied
	maxFailures = 5     // of these, passes after a failure without any progress
	longestWait = time.Minute
)

func (o *Options) defaults() {
	if o.Workers <= 0 {
		o.Workers = 4
	}
	if o.Window <= 0 {
		o.Window = 20000
	}
	if o.Batch.Messages <= 0 {
		o.Batch.Messages = 500
	}
	if o.Batch.Bytes <= 0 {
		o.Batch.Bytes = 64 << 20
	}
	if o.Batch.Age <= 0 {
		o.Batch.Age = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Jitter == nil {
		o.Jitter = jitter
	}
	if o.Progress == nil {
		o.Progress = silent{}
	}
	if o.Match == nil {
		o.Match = func(mail.MailboxInfo) bool { return true }
	}
}

type silent struct{}

func (silent) Expect(int, int64)   {}
func (silent) Done(int, int64)     {}
func (silent) Note(string, ...any) {}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// run is one run in progress.
type run struct {
	Options
	store  [2]mail.Store
	rep    reporter
	boxes  []*box
	damage int // bad entries of the journal that are dealt with
	share  int // of Window, for a mailbox of this pass
	// renames are those done since the mailboxes were listed.
	renames []renamed
	// stuck are the records whose mailbox could not be renamed on a side.
	stuck  [2]map[int64]bool
	late   lateMoves
	losing bool         // see newlyLost
	doubts gosync.Mutex // guards doubt, and the boxes' alters
	doubt  [2]doubt
	links  links
	sent   sendOnce
	// formerly are the names that this run renamed mailboxes from.
	formerly [2][]string
	// broken are the names that a side lists and cannot use.
	broken [2]map[string]bool
}

// Run brings A and B together and answers with what it did, also when it ends
// with an error. An error means that the run as a whole did not get through;
// messages and mailboxes that were left out are problems of the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.defaults()
	r := &run{Options: o, store: [2]mail.Store{o.A, o.B}}
	r.rep.report.Command, r.rep.report.DryRun, r.rep.report.Named = o.Command, o.DryRun, !o.Policy.reads(state.A)
	err := r.run(ctx)
	r.rep.report.Outcome = outcomeOf(ctx, err)
	report := r.rep.finish()
	if !o.DryRun {
		// The end of a run is written down even when the run was interrupted.
		end := r.Journal.Finish(context.WithoutCancel(ctx), string(report.Outcome), report.Summary())
		if err == nil && end != nil {
			report.Outcome, err = Failed, end
		}
	}
	return report, err
}

func outcomeOf(ctx context.Context, err error) Outcome {
	switch {
	case err == nil:
		return ""
	case ctx.Err() != nil || errors.Is(err, context.Canceled):
		return Interrupted
	case mail.AsError(err).Kind == mail.KindGuard:
		return Refused
	}
	return Failed
}

func (r *run) run(ctx context.Context) error {
	if err := r.names(ctx); err != nil {
		return err
	}
	if err := r.subscriptions(ctx); err != nil {
		return err
	}
	if !r.DryRun {
		if err := r.recoverAgain(ctx); err != nil {
			return err
		}
	}
	if err := r.collectRetries(ctx); err != nil {
		return err
	}
	if err := r.passes(ctx); err != nil {
		return err
	}
	if err := r.deleteMailboxes(ctx); err != nil {
		return err
	}
	return r.leftProblems(ctx)
}

// passes looks, plans and acts until no mailbox has anything left to do.
func (r *run) passes(ctx context.Context) error {
	failures := 0
	for pass := 0; pass < maxPasses; pass++ {
		if _, err := r.distrust(ctx); err != nil {
			return err
		}
		todo := r.dirty()
		if len(todo) == 0 {
			return nil
		}
		done := r.rep.progress()
		err := r.pass(ctx, todo)
		if r.rep.progress() != done {
			failures = 0
		}
		if err != nil && !r.paused(ctx, todo, err, failures) {
			return err
		}
		wait, retry := r.judge(todo, failures)
		wait = r.Jitter(wait).Round(time.Millisecond)
		if r.DryRun || !retry && len(r.dirty()) == 0 {
			return nil
		}
		if retry {
			if failures++; r.rep.progress() != done {
				pass = 0
			}
			r.noteRetry(todo, wait)
			if err := r.Sleep(ctx, wait); err != nil {
				return err
			}
			// What a failed landing left on its way is not known to any delta.
			if err := r.recoverAgain(ctx); err != nil {
				return err
			}
		}
	}
	for _, b := range r.dirty() {
		if b.again {
			r.rep.fail(b.name(), state.A, &mail.Error{Scope: mail.ScopeMailbox, Kind: mail.KindOther,
				Err: errors.New("the mailbox kept changing"), Hint: "the next run goes on with it"})
		}
	}
	return nil
}

// judge decides what becomes of the mailboxes that failed in this pass: another
// try after a wait, or the end for them in this run.
func (r *run) judge(boxes []*box, failures int) (wait time.Duration, retry bool) {
	for _, b := range boxes {
		if b.err == nil {
			r.rep.recovered(b.name())
			continue
		}
		e := mail.AsError(b.err)
		r.rep.fail(b.name(), state.A, b.err)
		if !e.Temporary || failures+1 >= maxFailures || e.RetryAfter > longestWait || r.DryRun {
			b.look, b.again = [2]bool{}, false
			b.unline()
			continue
		}
		b.look, retry = [2]bool{true, true}, true
		pause, _ := pauseAfter(e, failures)
		wait = max(wait, pause, e.RetryAfter, min(time.Second<<failures, longestWait))
	}
	return wait, retry
}

func (r *run) dirty() []*box {
	var list []*box
	for _, b := range r.boxes {
		if b.look[0] || b.look[1] || len(b.retry) > 0 {
			list = append(list, b)
		}
	}
	return list
}

// pass is one round of look, plan, guard and act over some mailboxes.
func (r *run) pass(ctx context.Context, boxes []*box) error {
	for _, b := range boxes {
		b.err, b.again, b.left, b.wrote = nil, false, 0, [2]bool{}
		b.delta, b.heard = [2]mail.Delta{}, [2]bool{}
		b.rows, b.alone, b.known, b.learned = nil, [2][]*state.Row{}, Plan{}, nil
	}
	limit := max(1000, min(r.Window, maxListed/len(boxes)))
	r.share = min(r.Window, max(1000, r.Window/min(r.Workers, len(boxes))))
	r.losing = newlyLost(boxes)
	if err := r.each(ctx, boxes, func(ctx context.Context, b *box) error { return r.look(ctx, b, limit) }); err != nil {
		return err
	}
	if again, err := r.distrust(ctx); again || err != nil {
		return err
	}
	if err := r.moves(ctx, boxes); err != nil {
		return err
	}
	for _, b := range boxes {
		if b.err == nil {
			b.known = PlanKnown(r.input(b))
		}
	}
	if r.DryRun {
		if err := r.pretend(ctx, boxes); err != nil {
			return err
		}
	}
	if err := Guard(r.losses(boxes), r.Guard); err != nil || r.DryRun {
		return err
	}
	acting := r.orphansFirst(boxes)
	r.announce(acting)
	r.late.expect(acting)
	r.links.begin(r.boxes)
	if err := r.each(ctx, viewsLast(acting), r.told(r.add)); err != nil {
		return err
	}
	r.late.hold()
	if err := r.each(ctx, acting, r.told(r.remove)); err != nil {
		return err
	}
	return r.settle(ctx, boxes)
}

// each calls fn for the boxes that have not failed, several at a time, and waits
// for all. An error of mailbox scope is kept in its box; a larger one ends the
// others and is returned.
func (r *run) each(ctx context.Context, boxes []*box, fn func(context.Context, *box) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := make(chan *box)
	results := make(chan error)
	workers := min(r.Workers, len(boxes))
	for range workers {
		go func() {
			var first error
			for b := range queue {
				if b.err != nil || ctx.Err() != nil {
					continue
				}
				err := fn(ctx, b)
				if err == nil {
					continue
				}
				if e := mail.AsError(err); e.Scope == mail.ScopeMailbox && ctx.Err() == nil {
					b.err = err
					continue
				}
				b.err = err
				if first == nil {
					first = err
				}
				cancel(err)
			}
			results <- first
		}()
	}
	for _, b := range boxes {
		queue <- b
	}
	close(queue)
	var first error
	for range workers {
		if err := <-results; err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
	}
	if first == nil {
		first = context.Cause(ctx)
	}
	return first
}

// input is what the planner is told of a box.
func (r *run) input(b *box) Input {
	policy := r.Policy
	if b.orphan {
		policy = b.orphanPolicy(policy)
	}
	return Input{
		Mailbox: b.rec.ID, Policy: policy, Delta: b.delta, Rows: b.rows, Retry: b.retry,
		Alone: b.alone, Ghosts: b.ghost, Trust: b.trust, Pass: r.Filter.Pass,
	}
}

// held is how many messages the state knew of a side of a box when this was first
// asked. Counting takes time in large mailboxes: it is done where it matters only.
func (r *run) held(b *box, s state.Side) int {
	if !b.counted[s] && b.rec.ID > 0 {
		b.count[s] = r.Journal.Known(b.rec.ID, s).Count()
		b.counted[s] = true
	}
	return b.count[s]
}

// losses is what the plans would delete, for the guard; nil when that is nothing.
// Mailboxes that are not part of this pass count with what they hold.
func (r *run) losses(boxes []*box) []Loss {
	if !slices.ContainsFunc(boxes, (*box).loses) {
		return nil
	}
	var list []Loss
	for _, b := range r.boxes {
		for s := range b.known.Removes {
			n := 0
			if slices.Contains(boxes, b) {
				n = len(b.known.Removes[s])
			}
			list = append(list, Loss{Mailbox: b.name(), Side: state.Side(s), Delete: n, Held: r.held(b, state.Side(s))})
		}
	}
	return list
}

// open opens a side of a box: for reading only where the policy changes nothing.
func (r *run) open(ctx context.Context, b *box, s state.Side) (mail.Mailbox, error) {
	if r.Policy.reads(s) || r.DryRun {
		return r.store[s].Examine(ctx, b.rec.Name[s])
	}
	return r.store[s].Select(ctx, b.rec.Name[s])
}

// writable is mb as a mailbox that can be written; open made sure that it is.
func writable(mb mail.Mailbox) (mail.WritableMailbox, error) {
	if w, ok := mb.(mail.WritableMailbox); ok {
		return w, nil
	}
	return nil, fmt.Errorf("mailbox %q is open for reading only", mb.Info().Name)
}
