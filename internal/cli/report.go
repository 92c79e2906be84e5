package cli

import (
	"strings"

	"postbag/sync"
)

// maxProblems is how many problems of a run are told one by one in text. JSON
// has them all.
const maxProblems = 50

// report tells what a run did: one line for each mailbox in which something
// happened, then one for all of it; and what it left out.
func (o *output) report(label string, r *sync.Report, code int) {
	prefix := ""
	if label != "" {
		prefix = label + ": "
	}
	for _, m := range r.Details {
		o.mailbox(label, prefix, m, r.Named)
	}
	shown, hint := 0, ""
	for _, p := range r.Problems {
		if shown++; shown > maxProblems {
			o.warn("%s%d more; --json lists them all", prefix, len(r.Problems)-maxProblems)
			break
		}
		o.warn("%s%s", prefix, problemText(p))
		if p.Hint != hint { // one hint for many alike
			o.hint(p.Hint)
		}
		hint = p.Hint
	}
	o.tooLarge(prefix, r.TooLarge)
	ended := outcomeOf(code)
	if r.Outcome == sync.Partial { // whatever its exit code is
		ended = string(r.Outcome)
	}
	if o.quiet || code != exitDone && r.Outcome != sync.Partial {
		return
	}
	all := both(r.Side, r.Kept, r.Named)
	if n := r.Mailboxes.Made; all == "" && n > 0 {
		all = count(n, "mailbox") + " made"
	}
	switch {
	case r.Command == "export": // also when that is nothing
		tell := o.result
		if o.diverted {
			tell = o.note
		}
		tell("%s%s: wrote %s: %s (%s) from %d of %s, %s", prefix, ended, o.archive, count(r.Side[1].New, "message"), size(r.Side[1].Bytes),
			r.Mailboxes.Changed, count(r.Mailboxes.Total, "mailbox"), elapsed(o.elapsed()))
	case all == "" && code == exitDone:
		o.result("%snothing to do", prefix)
	case r.DryRun:
		o.result("%sdry run, nothing was changed: %s in %d of %s%s", prefix, orNothing(all), r.Mailboxes.Changed, count(r.Mailboxes.Total, "mailbox"), planned(r))
	default:
		o.result("%s%s: %s in %d of %s, %s", prefix, ended, orNothing(all), r.Mailboxes.Changed,
			count(r.Mailboxes.Total, "mailbox"), elapsed(o.elapsed()))
	}
}

func orNothing(changes string) string {
	if changes == "" {
		return "nothing changed"
	}
	return changes
}

// both is what was done on both sides. Of a command that changes the Maildir only,
// the side needs no name.
func both(side [2]sync.Counts, kept int, named bool) string {
	b := changes(side[1], kept)
	a := changes(side[0], 0)
	if !named {
		return b
	}
	var parts []string
	for _, p := range []struct{ name, text string }{{"Maildir", b}, {"server", a}} {
		if p.text != "" {
			parts = append(parts, p.name+": "+p.text)
		}
	}
	return strings.Join(parts, "; ")
}

func (o *output) mailbox(label, prefix string, m sync.MailboxReport, named bool) {
	text := both(m.Side, m.Kept, named)
	if text == "" && m.Made {
		text = "made"
	}
	if text != "" && !o.quiet {
		o.result("%s%s: %s", prefix, m.Name, text)
	}
	o.event(changeEvent{"mailbox", label, valid(m.Name), m.Side[0], m.Side[1], m.Kept})
}

// account adds what one account came to up to the summary, and writes an object
// of its own for it when there are several.
func (o *output) account(label string, r *sync.Report, code int) {
	one := summary{Event: "account", Command: o.summary.Command, Account: label, Exit: code, Outcome: outcomeOf(code),
		ElapsedMS: o.elapsed().Milliseconds(), Problems: []problem{}}
	if r != nil {
		one.DryRun, one.Mailboxes, one.A, one.B, one.Kept = r.DryRun, r.Mailboxes, r.Side[0], r.Side[1], r.Kept
		one.EstimateMS = r.Estimate.Milliseconds()
		one.TooLarge, one.Largest, one.SizeLimit = r.TooLarge.Messages, r.TooLarge.Largest, r.TooLarge.Limit
		for _, p := range r.Problems {
			one.Problems = append(one.Problems, problemJSON(label, p))
		}
	}
	o.mu.Lock()
	one.reason, o.reason = o.reason, ""
	one.Verified, o.checked = o.checked, nil
	o.last = one
	o.mu.Unlock()
	if label != "" {
		o.event(one)
	}
	sum := &o.summary
	sum.DryRun = one.DryRun
	sum.Mailboxes.Total += one.Mailboxes.Total
	sum.Mailboxes.Changed += one.Mailboxes.Changed
	sum.Mailboxes.Skipped += one.Mailboxes.Skipped
	sum.Mailboxes.Made += one.Mailboxes.Made
	sum.Mailboxes.Failed += one.Mailboxes.Failed
	add(&sum.A, one.A)
	add(&sum.B, one.B)
	sum.Kept += one.Kept
	sum.EstimateMS += one.EstimateMS
	sum.TooLarge += one.TooLarge
	sum.Largest, sum.SizeLimit = max(sum.Largest, one.Largest), max(sum.SizeLimit, one.SizeLimit)
	sum.Problems = append(sum.Problems, one.Problems...)
}

func add(to *sync.Counts, c sync.Counts) {
	to.New += c.New
	to.Flags += c.Flags
	to.Moved += c.Moved
	to.Deleted += c.Deleted
	to.Bytes += c.Bytes
}
